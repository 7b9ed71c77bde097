// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// handoff says who reads an endpoint's socket. There is one reader at a time: the endpoint's own goroutine, or, where
// the socket has one session alone, a Read or Write of that session which would wait otherwise. The latter saves the
// hand-over from one goroutine to another, which takes several times as long as all the work on a packet, and keeps the
// bytes in one processor's cache.
//
// The endpoint's goroutine lends the role after a batch that a waiting call was waiting for. A call that has what it
// wants leaves the role with nobody, for the next call to take. If none comes within roleGrace the endpoint's goroutine
// goes on, and lends it again only once the program has shown that it comes back soon.
type handoff struct {
	ep     *endpoint
	reader *reader // of whoever has the role
	able   bool    // calls can be interrupted while they wait in the poller

	mu     sync.Mutex // guards what follows; may be taken with a session's lock held
	holder roleHolder
	halted bool          // the endpoint's goroutine is to have it and to end
	wake   chan struct{} // hands the role back to the endpoint's goroutine
	freed  uint32        // how often nobody was left with it
	seen   uint32        // freed, when the timer was set
	pause  time.Duration // the timer's: from roleGrace up to roleLook
	lentAt instant       // when the endpoint's goroutine last woke a call
	quick  int           // negative: how often a call has to come back in time before the role is lent
	timer  *time.Timer
	armed  bool
}

type roleHolder uint8

const (
	roleReader roleHolder = iota // the endpoint's goroutine
	roleCall                     // a Read or Write
	roleNobody
)

const (
	// roleGrace is how long the role may be with nobody. What arrives meanwhile waits in the socket's buffer; the runtime
	// may take a millisecond instead when all processors sleep. A program that echoes comes back within 2 µs.
	roleGrace = 100 * time.Microsecond
	// roleLook is the longest time, beside roleGrace, until it is noticed that nobody has the role any more, where calls
	// have come back for long. Each look wakes a goroutine, and mostly a processor for it.
	roleLook = 8 * roleGrace
	// roleProof is how many returns in time make up for one that was not.
	roleProof = 16
)

// newIngress returns what reads the socket of e. Calls may read one that the library opened: nobody else uses its
// deadlines.
func newIngress(e *endpoint) ingress {
	_, udp := e.conn.(*net.UDPConn)
	return &handoff{ep: e, able: udp && e.owned(), wake: make(chan struct{}, 1)}
}

// acquire makes the calling Read or Write of s the reader, if nobody is.
func (q *handoff) acquire(s *UDPSession) bool {
	if !q.able || q.ep.sole.Load() != s {
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

// read waits for datagrams, or for an interruption, in a call that has the role. process does with them what is to be done,
// with no lock held.
func (q *handoff) read() {
	r := q.reader
	r.got, r.err = q.ep.io.readBatch(r.msgs)
}

func (q *handoff) process() {
	r := q.reader
	if r.got > 0 {
		r.batch(r.msgs[:r.got])
	}
	if r.err != nil && q.wasInterrupted(r.err) {
		r.err = nil
	}
	if r.err != nil && !errors.Is(r.err, net.ErrClosed) {
		q.ep.errors.reads.Add(1)
		q.ep.errors.note(socketRead, r.err)
	}
}

// release is called by a Read or Write of s that has read the socket.
func (q *handoff) release(s *UDPSession) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.reader.err != nil || q.halted || q.quick < 0 || q.ep.sole.Load() != s {
		q.giveBack()
		return
	}
	q.free()
}

// lend leaves the role with nobody after a batch that a call of s was waiting for. It reports false if the endpoint's
// goroutine keeps it.
func (q *handoff) lend(s *UDPSession) bool {
	if !q.able || s == nil || q.ep.sole.Load() != s {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lentAt = q.ep.sched.now()
	if q.halted || q.quick < 0 {
		return false
	}
	q.free()
	return true
}

// free leaves the role with nobody, for a time. The role's lock is held.
func (q *handoff) free() {
	q.holder = roleNobody
	if q.freed++; !q.armed {
		q.pause = max(q.pause, roleGrace)
		q.watch(q.pause)
	}
}

// watch sees to it that the endpoint's goroutine looks whether nobody has the role. The role's lock is held.
func (q *handoff) watch(after time.Duration) {
	q.armed, q.seen = true, q.freed
	if q.timer == nil {
		q.timer = time.AfterFunc(after, q.reclaim)
	} else {
		q.timer.Reset(after)
	}
}

// reclaim ends a time in which nobody had the role.
func (q *handoff) reclaim() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.armed = false
	switch {
	case q.holder == roleNobody && q.freed == q.seen:
		q.quick, q.pause = -roleProof, 0
		q.giveBack()
		return
	case q.holder == roleNobody:
		q.watch(roleGrace) // it may just have been left
	}
	q.pause = min(2*q.pause, roleLook)
}

// giveBack makes the endpoint's goroutine the reader again. The role's lock is held.
func (q *handoff) giveBack() {
	if q.holder != roleReader {
		q.holder = roleReader
		q.wake <- struct{}{} // it has room: the goroutine waits, or is about to
	}
}

// stopped makes sure that the endpoint's goroutine learns of the end.
func (q *handoff) stopped() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.halted = true
	if q.holder == roleNobody {
		q.giveBack()
	}
}

// interrupt wakes the call that waits in the poller for the socket.
func (q *handoff) interrupt() {
	q.mu.Lock()
	defer q.mu.Unlock()
	_ = q.ep.conn.SetReadDeadline(past) // it fails on a closed socket, which wakes too
}

// wasInterrupted reports whether err comes from interrupt, or from a deadline that the program has set through Control, and
// lets the socket be read again.
func (q *handoff) wasInterrupted(err error) bool {
	if !q.able || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	_ = q.ep.conn.SetReadDeadline(time.Time{})
	return true
}
