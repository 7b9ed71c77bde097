// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// handoff decides which goroutine reads an endpoint's socket. There is one reader at a time: a
// goroutine of the library, or a blocked Read or Write of the socket's only session. The latter
// saves a switch between goroutines, which costs several times the work on a packet. It also keeps
// the bytes in one processor's cache.
//
// The library's goroutine is the endpoint's own one, or one of those that read the sockets of all
// dialled sessions (readWorker). It frees the role after a batch that a blocked call waited for. A
// call that has what it wants frees the role for the next call. If none comes within roleGrace, the
// library's goroutine reads again. It then frees the role only once the program has shown that it
// calls again soon.
type handoff struct {
	ep      *endpoint
	by      readBy       // which goroutine of the library reads
	reader  *reader      // of whoever has the role, between borrow and restore
	err     error        // of a call that has read
	backoff *readBackoff // of whoever has the role; nil while there are no errors

	mu     sync.Mutex // guards what follows; may be taken with a session's lock held
	holder roleHolder
	halted bool          // the endpoint's goroutine is to return
	wake   chan struct{} // returns the role to the endpoint's goroutine
	slot   pollSlot      // where a readWorker keeps the socket
	freed  uint32        // how often the role has become free
	seen   uint32        // freed when the timer was set
	pause  time.Duration // of the timer: from roleGrace up to roleLook
	lentAt instant       // when the library's goroutine last woke a call
	quick  int           // negative: calls in time until the role is lent again
	timer  *time.Timer
	armed  bool
}

// readBy is the goroutine of the library that reads a socket, and whether calls may read it too.
type readBy uint8

const (
	readByOwner   readBy = iota // the endpoint's own alone: a call could not be interrupted
	readByEither                // the endpoint's own, or a call
	readByWorkers               // a readWorker, or a call
)

type roleHolder uint8

const (
	roleReader roleHolder = iota // the library's goroutine
	roleCall                     // a Read or Write
	roleNobody
)

const (
	// roleGrace is how long the role may be free. Datagrams wait in the socket's buffer in that
	// time. If all processors sleep, the runtime may take a millisecond instead. A program that
	// echoes calls again within 2 µs.
	roleGrace = 100 * time.Microsecond
	// roleLook is the longest time, besides roleGrace, until a free role is noticed where calls
	// have come in time for long. Each check wakes a goroutine, and usually a processor for it.
	roleLook = 8 * roleGrace
	// roleProof is how many calls in time outweigh one that was late.
	roleProof = 16
	// rolePolledProof is how many calls in time a socket has to show that a readWorker reads: to
	// take it out of the worker's set and to put it back costs a microsecond each.
	rolePolledProof = 4
)

// newIngress returns what reads the socket of e on a goroutine of its own. Blocked calls may read a
// socket that the library has opened, because nothing else uses its deadlines.
func newIngress(e *endpoint) ingress { return newHandoff(e) }

func newHandoff(e *endpoint) *handoff {
	q := &handoff{ep: e}
	if _, udp := e.conn.(*net.UDPConn); udp && e.owned() {
		q.by = readByEither
	}
	return q
}

// acquire makes the calling Read or Write of s the reader, if the role is free.
func (q *handoff) acquire(s *UDPSession) bool {
	if q.by == readByOwner || q.ep.sole.Load() != s {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.holder != roleNobody || q.halted {
		if q.quick < 0 && q.lentAt != 0 && q.ep.sched.now()-q.lentAt < instant(roleGrace) {
			q.quick++
		}
		q.lentAt = 0
		return false
	}
	q.holder = roleCall
	return true
}

// read waits for datagrams or an interruption, in a call that has the role. process then feeds the
// datagrams; no lock is held.
func (q *handoff) read() (n int) {
	n, q.err = q.ep.io.readBatch(q)
	return n
}

func (q *handoff) process(n int) {
	if n > 0 {
		q.feed(q.reader, n)
	}
	q.restore()
	if q.err != nil && q.wasInterrupted(q.err) {
		q.err = nil
	}
	if q.err != nil && !errors.Is(q.err, net.ErrClosed) {
		q.ep.errors.reads.Add(1)
		q.ep.errors.note(socketRead, q.err)
	}
}

// release is called by a Read or Write of s that has read the socket.
func (q *handoff) release(s *UDPSession) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil || q.halted || q.quick < 0 || q.ep.sole.Load() != s {
		q.giveBack()
		return
	}
	q.free()
}

// lend frees the role after a batch that a call of s waited for. It returns false if the library's
// goroutine keeps it.
func (q *handoff) lend(s *UDPSession) bool {
	if q.by == readByOwner || s == nil || q.ep.sole.Load() != s {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lentAt = q.ep.sched.now()
	if q.halted || q.quick < 0 {
		return false
	}
	if q.by == readByWorkers {
		q.slot.pause(q.ep.conn)
	}
	q.free()
	return true
}

// free frees the role for a time. q.mu must be held.
func (q *handoff) free() {
	q.holder = roleNobody
	if q.freed++; !q.armed {
		q.pause = max(q.pause, roleGrace)
		q.watch(q.pause)
	}
}

// watch makes the library check later whether the role is free. q.mu must be held.
func (q *handoff) watch(after time.Duration) {
	q.armed, q.seen = true, q.freed
	if q.timer == nil {
		q.timer = time.AfterFunc(after, q.reclaim)
	} else {
		q.timer.Reset(after)
	}
}

// reclaim ends a time in which the role was free.
func (q *handoff) reclaim() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.armed = false
	switch {
	case q.holder == roleNobody && q.freed == q.seen:
		q.quick, q.pause, q.timer = -roleProof, 0, nil
		q.giveBack()
		return
	case q.holder == roleNobody:
		q.watch(roleGrace) // it may have become free just now
	}
	q.pause = min(2*q.pause, roleLook)
}

// giveBack makes the library's goroutine the reader again. q.mu must be held.
func (q *handoff) giveBack() {
	if q.holder == roleReader {
		return
	}
	q.holder = roleReader
	switch {
	case q.by != readByWorkers:
		q.wake <- struct{}{} // does not block: the goroutine waits for it, or is about to
	case !q.halted:
		q.resume()
	}
}

// stopped makes the endpoint's goroutine return, even if a call has the role or it is free.
func (q *handoff) stopped() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.halted {
		return
	}
	q.halted = true
	if q.by == readByWorkers {
		q.slot.leave(q.ep.conn)
		close(q.ep.done)
	}
	if q.holder == roleNobody {
		q.giveBack()
	}
}

// interrupt wakes the call that reads the socket.
func (q *handoff) interrupt() {
	q.mu.Lock()
	defer q.mu.Unlock()
	_ = q.ep.conn.SetReadDeadline(past) // it fails on a closed socket, which wakes the call too
}

// wasInterrupted reports whether err comes from interrupt, or from a deadline that the program has
// set through Control. If so, it makes the socket readable again.
func (q *handoff) wasInterrupted(err error) bool {
	if q.by == readByOwner || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	_ = q.ep.conn.SetReadDeadline(time.Time{})
	return true
}
