// SPDX-License-Identifier: MIT

package kcp

// blockedCalls is what calls of a session wait with, and their deadlines. Few sessions of many need it: one that has
// nobody waiting and no deadline costs a pointer. The session's lock guards it. A nil one has no deadline.
type blockedCalls struct {
	readers, writers            waiters
	readDeadline, writeDeadline deadline
	done                        chan struct{} // what Done has returned
}

// blocked returns the session's, made when it is first asked for.
func (s *UDPSession) blocked() *blockedCalls {
	if s.calls == nil {
		s.calls = new(blockedCalls)
		s.calls.readers.L, s.calls.writers.L = &s.mu, &s.mu
	}
	return s.calls
}

// wakeReaders makes the calls that wait to read look again.
func (s *UDPSession) wakeReaders() {
	if s.calls != nil {
		s.calls.readers.Broadcast()
	}
}

// wakeWriters makes the calls that wait to write look again.
func (s *UDPSession) wakeWriters() {
	if s.calls != nil {
		s.calls.writers.Broadcast()
	}
}

// resetWoken begins to watch for calls that are woken.
func (c *blockedCalls) resetWoken() {
	if c != nil {
		c.readers.woken, c.writers.woken = false, false
	}
}

// wereWoken reports whether any have been since.
func (c *blockedCalls) wereWoken() bool { return c != nil && (c.readers.woken || c.writers.woken) }

func (c *blockedCalls) readPassed() bool { return c != nil && c.readDeadline.passed() }

func (c *blockedCalls) writePassed() bool { return c != nil && c.writeDeadline.passed() }

// disarm stops the timers of both deadlines.
func (c *blockedCalls) disarm() {
	if c != nil {
		c.readDeadline.disarm()
		c.writeDeadline.disarm()
	}
}
