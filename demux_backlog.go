// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"net"
	"sync"
	"time"
)

// A backlog is a listener's share of a demux: the settings of new sessions, and the queue of
// sessions that wait for Accept.
type backlog struct {
	demux  *demux
	opts   options
	number uint32 // among the listeners that the sockets have had

	mu       sync.Mutex // guards what follows; may be taken with the demux's lock held
	cond     waiters
	deadline deadline
	waiting  RingBuffer[*UDPSession]
	state    backlogState
	failure  error // of the socket, if failed
	refused  uint64
}

type backlogState uint8

const (
	backlogOpen   backlogState = iota
	backlogFailed              // the socket is gone, but waiting sessions may be accepted
	backlogClosed              // by the program
)

func newBacklog(d *demux, o *options) *backlog {
	b := &backlog{demux: d, opts: *o}
	b.cond.L = &b.mu
	return b
}

// accept waits for the next session.
func (b *backlog) accept() (*UDPSession, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.state == backlogClosed:
			return nil, errClosed
		case b.deadline.passed():
			return nil, errTimeout
		}
		if s, ok := b.waiting.Pop(); ok {
			s.marks.add(markHandedOut)
			return s, nil
		}
		if b.state == backlogFailed {
			return nil, b.failure
		}
		b.deadline.arm(&b.cond)
		b.cond.Wait()
	}
}

// offer lets accept return a new session. It returns false if the queue is full or the listener is
// closed.
func (b *backlog) offer(s *UDPSession) bool { return b.push(s, b.opts.backlog) }

// offerLate is like offer, for a session whose first segment arrived late. The queue has no limit
// for it: data of the session has been acknowledged already.
func (b *backlog) offerLate(s *UDPSession) bool { return b.push(s, math.MaxInt) }

func (b *backlog) push(s *UDPSession, most int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == backlogClosed || b.waiting.Len() >= most {
		b.refused++
		return false
	}
	b.waiting.Push(s)
	b.cond.Signal()
	return true
}

// room returns how much room the queue has, before a session is made for it.
func (b *backlog) room() acceptRoom {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch n := b.waiting.Len(); {
	case b.state == backlogClosed || n >= b.opts.backlog:
		return acceptFull
	case n > b.opts.backlog/2:
		return acceptScarce
	}
	return acceptPlenty
}

// refuse counts a session that was not opened because the queue was full.
func (b *backlog) refuse() {
	b.mu.Lock()
	b.refused++
	b.mu.Unlock()
}

// close stops accepting: blocked calls return, and sessions that were not accepted are reset.
func (b *backlog) close() error {
	b.mu.Lock()
	if b.state == backlogClosed {
		b.mu.Unlock()
		return errClosed
	}
	b.state = backlogClosed
	b.deadline.disarm()
	b.cond.Broadcast()
	var waiting []*UDPSession
	for s, ok := b.waiting.Pop(); ok; s, ok = b.waiting.Pop() {
		waiting = append(waiting, s)
	}
	b.mu.Unlock()
	for s := range b.sessions {
		if s.isHeadless() {
			waiting = append(waiting, s)
		}
	}
	for _, s := range waiting {
		s.closeUnaccepted()
	}
	b.demux.leave(func() {
		if b.demux.backlog == b {
			b.demux.backlog = nil
		}
	})
	return nil
}

// fail is called when another owner has closed the socket.
func (b *backlog) fail(err error) {
	b.mu.Lock()
	if b.state == backlogOpen {
		b.state = backlogFailed
	}
	b.failure = err
	b.cond.Broadcast()
	b.mu.Unlock()
}

// setDeadline sets the deadline of accept, for blocked calls too.
func (b *backlog) setDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == backlogClosed {
		return errClosed
	}
	b.deadline.set(t)
	b.cond.Broadcast()
	return nil
}

// sessions yields the sessions that the listener has opened and that have not ended.
func (b *backlog) sessions(yield func(*UDPSession) bool) {
	b.demux.sessions.all(func(s *UDPSession) bool {
		return s.opener != byListener || s.listener != b.number || yield(s)
	})
}

// open makes the session of a new peer and puts it into the table. It returns nil if the sockets
// are about to close. validated is true if the peer's address has been validated by a challenge.
func (b *backlog) open(
	ep *endpoint, key *sessionKey, custom net.Addr, shared, validated bool,
) *UDPSession {
	d := b.demux
	s := newAccepted(&ep.sessionEnv, key, custom, &b.opts, b.number)
	if shared {
		s.sharesAddress.Store(true) // before it is in the list of its peer's sessions
	}
	if !validated {
		s.demandProof(b.opts.amplification)
	}
	if d.add(s) != nil {
		d.mu.Lock()
		d.admission.sessionEnded(&key.peer)
		d.mu.Unlock()
		return nil
	}
	DefaultSnmp.connOpened(false)
	return s
}
