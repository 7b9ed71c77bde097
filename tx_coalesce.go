// SPDX-License-Identifier: MIT

package kcp

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// coalescer gathers the Writes of many sessions of one socket. If each of them sends by itself,
// small messages cost a system call each, and most of the call is overhead of the kernel. While
// many sessions are busy a Write leaves its session here instead. A scheduler worker, which is
// woken at once, sends for all sessions that are there when it runs. They are few on an idle
// machine, and the more the busier it is.
type coalescer struct {
	socket *txSocket
	busy   atomic.Bool // written by the socket's reader
	entry  timerEntry

	mu      sync.Mutex // guards what follows; taken with an owner's lock held
	waiting []coalesced
	spare   []coalesced // the array to fill next
}

// coalesced is an owner that waits for its turn.
type coalesced struct {
	owner    turnOwner
	peerHash uint32
}

// Coalescing begins with a batch that has data for coalesceBegins sessions, and ends with one that
// has data for at most coalesceEnds. With fewer sessions the wake-up of the worker costs more than
// the system calls that it saves.
const (
	coalesceBegins = 8
	coalesceEnds   = 2
)

// noteBatch looks at how many sessions a batch had data for.
func (c *coalescer) noteBatch(sessions int) {
	switch busy := c.busy.Load(); {
	case !busy && sessions >= coalesceBegins:
		c.busy.Store(true)
	case busy && sessions <= coalesceEnds:
		c.busy.Store(false)
	}
}

// coalesce leaves the flush of o to a worker. The lock of o is held. It returns false if the caller
// is to flush itself.
func (k *txSocket) coalesce(o turnOwner, peerHash uint32) bool {
	c := &k.coalescer
	if !c.busy.Load() {
		return false
	}
	c.mu.Lock()
	c.waiting = append(c.waiting, coalesced{o, peerHash})
	first := len(c.waiting) == 1
	c.mu.Unlock()
	if first {
		c.entry.schedule(1)
	}
	return true
}

// runTimed flushes all that wait, one peer's sessions in a row: what goes to one address leaves in
// one piece.
func (c *coalescer) runTimed(_ instant, b *timedBatch) {
	tx := scratchOf(b)
	// Callers that have been woken to write do so first: the busier the machine, the more leave
	// together.
	runtime.Gosched()
	c.mu.Lock()
	all := c.waiting
	c.waiting, c.spare = c.spare[:0], nil
	c.mu.Unlock()
	slices.SortStableFunc(all, func(a, b coalesced) int {
		return cmp.Compare(a.peerHash, b.peerHash)
	})
	for i := range all {
		tx.flush(c.socket, all[i].owner)
	}
	clear(all) // keep no ended session alive
	if cap(all) > coalesceKeeps {
		return
	}
	c.mu.Lock()
	c.spare = all[:0]
	c.mu.Unlock()
}

// coalesceKeeps is the longest array that is kept for the next time.
const coalesceKeeps = 4096
