// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
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
	able bool                       // calls can be interrupted while they wait in the poller
	sole atomic.Pointer[UDPSession] // the one session of the socket; nil if there are several, or none

	mu      sync.Mutex // guards what follows; may be taken with a session's lock held
	holder  roleHolder
	stopped bool          // the endpoint's goroutine is to have it and to end
	wake    chan struct{} // hands the role back to the endpoint's goroutine
	freed   uint32        // how often nobody was left with it
	seen    uint32        // freed, when the timer was set
	pause   time.Duration // the timer's: from roleGrace up to roleLook
	lentAt  instant       // when the endpoint's goroutine last woke a call
	quick   int           // negative: how often a call has to come back in time before the role is lent
	timer   *time.Timer
	armed   bool
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

// initRole finds out whether calls may read the socket: one that the library opened, whose deadlines nobody else uses.
func (e *endpoint) initRole() {
	_, udp := e.conn.(*net.UDPConn)
	e.handoff.able = udp && e.owned
	e.handoff.wake = make(chan struct{}, 1)
}

// takeRole makes the calling Read or Write of s the reader, if nobody is.
func (e *endpoint) takeRole(s *UDPSession) bool {
	q := &e.handoff
	if !q.able || q.sole.Load() != s {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.holder != roleNobody || q.stopped {
		if q.quick < 0 && q.lentAt != 0 && e.sched.now()-q.lentAt < instant(roleGrace) {
			q.quick++
		}
		q.lentAt = 0
		return false
	}
	q.holder = roleCall
	return true
}

// leaveRole is called by a Read or Write of s that has read the socket.
func (e *endpoint) leaveRole(s *UDPSession, failed bool) {
	q := &e.handoff
	q.mu.Lock()
	defer q.mu.Unlock()
	if failed || q.stopped || q.quick < 0 || q.sole.Load() != s {
		e.giveBackRole()
		return
	}
	e.freeRole()
}

// lendRole leaves the role with nobody after a batch that a call of s was waiting for. It reports false if the endpoint's
// goroutine keeps it.
func (e *endpoint) lendRole(s *UDPSession) bool {
	q := &e.handoff
	if !q.able || s == nil || q.sole.Load() != s {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lentAt = e.sched.now()
	if q.stopped || q.quick < 0 {
		return false
	}
	e.freeRole()
	return true
}

// freeRole leaves the role with nobody, for a time. The role's lock is held.
func (e *endpoint) freeRole() {
	q := &e.handoff
	q.holder = roleNobody
	if q.freed++; !q.armed {
		q.pause = max(q.pause, roleGrace)
		e.watchRole(q.pause)
	}
}

// watchRole sees to it that the endpoint's goroutine looks whether nobody has the role. The role's lock is held.
func (e *endpoint) watchRole(after time.Duration) {
	q := &e.handoff
	q.armed, q.seen = true, q.freed
	if q.timer == nil {
		q.timer = time.AfterFunc(after, e.reclaimRole)
	} else {
		q.timer.Reset(after)
	}
}

// reclaimRole ends a time in which nobody had the role.
func (e *endpoint) reclaimRole() {
	q := &e.handoff
	q.mu.Lock()
	defer q.mu.Unlock()
	q.armed = false
	switch {
	case q.holder == roleNobody && q.freed == q.seen:
		q.quick, q.pause = -roleProof, 0
		e.giveBackRole()
		return
	case q.holder == roleNobody:
		e.watchRole(roleGrace) // it may just have been left
	}
	q.pause = min(2*q.pause, roleLook)
}

// giveBackRole makes the endpoint's goroutine the reader again. The role's lock is held.
func (e *endpoint) giveBackRole() {
	if e.handoff.holder != roleReader {
		e.handoff.holder = roleReader
		e.handoff.wake <- struct{}{} // it has room: the goroutine waits, or is about to
	}
}

// stopRole makes sure that the endpoint's goroutine learns of the end.
func (e *endpoint) stopRole() {
	q := &e.handoff
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	if q.holder == roleNobody {
		e.giveBackRole()
	}
}

// interrupt wakes the call that waits in the poller for the socket.
func (e *endpoint) interrupt() {
	q := &e.handoff
	q.mu.Lock()
	defer q.mu.Unlock()
	_ = e.conn.SetReadDeadline(past) // it fails on a closed socket, which wakes too
}

// wasInterrupted reports whether err comes from interrupt, or from a deadline that the program has set through Control, and
// lets the socket be read again.
func (e *endpoint) wasInterrupted(err error) bool {
	q := &e.handoff
	if !q.able || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	_ = e.conn.SetReadDeadline(time.Time{})
	return true
}
