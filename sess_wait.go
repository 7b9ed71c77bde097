// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"time"
)

// blockedCalls is what calls of a session wait with, and their deadlines. Few sessions of many need
// it: without blocked calls and deadlines it costs a pointer. The session's lock guards it. A nil
// one has no deadline.
type blockedCalls struct {
	ready            *readyEntry // the session's place in a ReadyQueue, or nil
	readers, writers waiters
	deadlines        *callDeadlines // nil until one was set
	done             chan struct{}  // what Done has returned
}

// callDeadlines are those of Read and Write.
type callDeadlines struct{ read, write deadline }

// blockedLocked returns the session's blockedCalls, which it makes when they are first needed. s.mu
// must be held.
func (s *UDPSession) blockedLocked() *blockedCalls {
	if s.calls == nil {
		s.calls = new(blockedCalls)
		s.calls.readers.L, s.calls.writers.L = &s.mu, &s.mu
	}
	return s.calls
}

// wakeReadersLocked wakes the calls that wait to read. s.mu must be held.
func (s *UDPSession) wakeReadersLocked() {
	if c := s.calls; c != nil {
		c.readers.Broadcast()
		if c.ready != nil {
			c.ready.changedLocked()
		}
	}
}

// wakeWritersLocked wakes the calls that wait to write. s.mu must be held.
func (s *UDPSession) wakeWritersLocked() {
	if s.calls != nil {
		s.calls.writers.Broadcast()
	}
}

// resetWoken forgets which calls have been woken.
func (c *blockedCalls) resetWoken() {
	if c != nil {
		c.readers.woken, c.writers.woken = false, false
	}
}

// wereWoken reports whether any calls have been woken since resetWoken.
func (c *blockedCalls) wereWoken() bool { return c != nil && (c.readers.woken || c.writers.woken) }

func (c *blockedCalls) readPassed() bool {
	return c != nil && c.deadlines != nil && c.deadlines.read.passed()
}

func (c *blockedCalls) writePassed() bool {
	return c != nil && c.deadlines != nil && c.deadlines.write.passed()
}

// armRead makes the deadline of Read, if there is one, wake the readers.
func (c *blockedCalls) armRead() {
	if c.deadlines != nil {
		c.deadlines.read.arm(&c.readers)
	}
}

// armWrite makes the deadline of Write, if there is one, wake the writers.
func (c *blockedCalls) armWrite() {
	if c.deadlines != nil {
		c.deadlines.write.arm(&c.writers)
	}
}

// setDeadlines sets the deadline of Read, or of Write, or both.
func (c *blockedCalls) setDeadlines(t time.Time, read, write bool) {
	if c.deadlines == nil {
		if t.IsZero() {
			return
		}
		c.deadlines = new(callDeadlines)
		c.setReady(c.ready)
	}
	if read {
		c.deadlines.read.set(t)
	}
	if write {
		c.deadlines.write.set(t)
	}
}

// setReady sets the session's place in a ReadyQueue, which learns of the deadline of Read too.
func (c *blockedCalls) setReady(e *readyEntry) {
	c.ready = e
	if c.deadlines == nil {
		return
	}
	if c.deadlines.read.passes = nil; e != nil {
		c.deadlines.read.passes = e.changedLocked
	}
}

// readFailed notes that Read has returned err.
func (c *blockedCalls) readFailed(err error) {
	if c != nil && c.ready != nil {
		c.ready.told = err
	}
}

// disarm stops the timers of both deadlines.
func (c *blockedCalls) disarm() {
	if c != nil && c.deadlines != nil {
		c.deadlines.read.disarm()
		c.deadlines.write.disarm()
	}
}

// waitLocked blocks until the session may have changed; the caller checks what it waits for. It
// reports whether the call has read the socket. s.mu must be held, and is released meanwhile.
func (s *UDPSession) waitLocked(w *waiters) (read bool) {
	p := s.env.host.poll()
	if !p.acquire(s) {
		w.Wait()
		return false
	}
	w.polls = p
	s.mu.Unlock()
	n := p.read()
	s.mu.Lock()
	w.polls = nil
	s.mu.Unlock()
	p.process(n)
	s.mu.Lock()
	p.release(s)
	// The role is free for a call of another kind.
	s.wakeReadersLocked()
	s.wakeWritersLocked()
	return true
}

// awaitPeer waits, if the options ask for it, until the peer has opened the session. If the peer
// does not in time, or refuses, it closes the session. A challenge that validates the address is no
// answer.
func (s *UDPSession) awaitPeer(ctx context.Context, o *options) error {
	if !o.dialModes.has(dialWaits) {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.wakeReadersLocked()
		s.mu.Unlock()
	})
	defer stop()
	s.mu.Lock()
	s.core.life.connect(s.now())
	s.unlockAndSend(true)
	s.mu.Lock()
	for !s.core.ctl.met && s.life.readErr == nil && ctx.Err() == nil {
		s.waitLocked(&s.blockedLocked().readers)
	}
	err := s.life.readErr
	if err == nil && !s.core.ctl.met {
		err = ctx.Err()
	}
	s.core.life.endConnect()
	s.mu.Unlock()
	if err != nil {
		s.SetLinger(0)
		_ = s.Close()
	}
	return err
}

// SetDeadline sets the deadlines of Read and Write, also for calls that are blocked already. The
// zero time means no deadline. After Close the error matches net.ErrClosed.
func (s *UDPSession) SetDeadline(t time.Time) error {
	return s.setDeadlines(t, true, true)
}

// SetReadDeadline sets the deadline of Read, as SetDeadline does.
func (s *UDPSession) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, true, false) }

// SetWriteDeadline sets the deadline of Write, as SetDeadline does. Data that was queued before it
// passes is sent.
func (s *UDPSession) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, false, true) }

func (s *UDPSession) setDeadlines(t time.Time, read, write bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.closed() {
		return errClosed
	}
	if s.calls == nil && t.IsZero() {
		return nil
	}
	c := s.blockedLocked()
	c.setDeadlines(t, read, write)
	if read {
		c.readFailed(nil)
	}
	s.wakeReadersLocked()
	s.wakeWritersLocked()
	return nil
}
