// SPDX-License-Identifier: MIT

package kcp

import "time"

// Close closes the session and returns at once. What has been written is still delivered in the
// background, for as long as the peer acknowledges it. Once all is delivered the peer reads io.EOF.
//
// The session is given up, and the peer reset, after 10 s without progress. If nothing was ever
// received from the peer, it is given up after 1 s. That is sooner while such sessions hold half of
// the files that the process may open. SetLinger sets a fixed bound instead.
//
// Blocked calls return. Read still returns the data that has arrived in order and was not read,
// whatever its deadline, and fails then. Data that arrives later is dropped. The handler of
// out-of-band packets is not called any more. A second Close returns an error that matches
// net.ErrClosed.
func (s *UDPSession) Close() error {
	s.mu.Lock()
	if s.life.closed() {
		s.mu.Unlock()
		return errClosed
	}
	now := s.now()
	if !s.life.readShut() {
		s.beginUnreadLocked()
	}
	s.life.close()
	if s.core.trace != nil {
		s.core.trace.event(s.env.clock.now(), traceClosing, 0)
	}
	s.leaveReadyLocked()
	s.calls.disarm()
	s.oob.Load().close()
	s.wakeWritersLocked()
	leaving, unheardOf := s, false
	switch {
	case s.life.ended():
	case s.life.linger != 0:
		s.core.closeWrite(now)
		s.core.ctl.close(s.core.stats.segsIn == 0)
		s.life.lingerUntil(now + toMillis(s.lingerTimeLocked()))
		leaving = nil
		unheardOf = s.core.ctl.unheard() && s.life.linger == lingerByProgress && s.ownsSocket()
	default:
		s.core.ctl.sendReset(resetAborted)
		s.life.lingerUntil(now)
	}
	s.keepUnreadLocked()
	s.releaseReadingLocked()
	s.wakeReadersLocked()
	ended := s.life.ended()
	s.mu.Unlock()
	if ended {
		s.finish()
	} else {
		s.flushNow()
	}
	if unheardOf && !ended {
		unheard.add(s)
	}
	s.env.host.waitStopped(leaving)
	return nil
}

// CloseWrite ends the stream that this side writes: the peer reads all that was written and then
// io.EOF. Reading goes on. A legacy peer is not notified. Errors are those of Write; a second call
// returns the error of a closed session.
func (s *UDPSession) CloseWrite() error {
	s.mu.Lock()
	if s.life.closed() || s.life.writeErr != nil || s.core.ctl.finWanted() {
		err := s.life.writeErr
		s.mu.Unlock()
		if err == nil {
			err = errClosed
		}
		return err
	}
	s.core.closeWrite(s.now())
	s.wakeWritersLocked()
	s.unlockAndSend(true)
	return nil
}

// CloseRead ends reading. Blocked and later Reads return io.EOF, and what the peer sends is
// acknowledged and discarded, as it is on a *net.TCPConn. Writing goes on. After Close the error
// matches net.ErrClosed.
func (s *UDPSession) CloseRead() error {
	s.mu.Lock()
	if s.life.closed() {
		s.mu.Unlock()
		return errClosed
	}
	s.life.shutRead()
	s.discardReceivedLocked()
	if !s.busy.has(sideRead) {
		s.releasePartialLocked()
	}
	s.wakeReadersLocked()
	due := s.core.windowDue && !s.life.ended()
	s.unlockAndSend(due)
	return nil
}

// SetLinger bounds how long Close goes on delivering in the background. The bound counts from
// Close, and is kept even while the peer acknowledges data. What is undelivered then is dropped,
// and the peer is reset.
//
// With 0, Close resets the session at once. A socket that the library opened stays open for a
// second more, or three on a slow path, to repeat the RESET. A negative value restores the default:
// as long as there is progress, as Close describes. Values above 100 years count as 100 years.
func (s *UDPSession) SetLinger(d time.Duration) {
	s.mu.Lock()
	s.life.setLinger(max(d, lingerByProgress))
	s.mu.Unlock()
}

// Done returns a channel that is closed when the session has ended and sends and receives no more.
// That is after Close, once all is delivered or given up, or when the session has failed. A
// net.PacketConn that is the caller's, and was used by this session alone, is not read any more
// then. The exception is a connection without read deadlines. Packets that arrive later are left in
// it for the next session.
func (s *UDPSession) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.blockedLocked()
	if c.done == nil {
		c.done = make(chan struct{})
		if s.life.removed() {
			go s.announceEnd(c.done)
		}
	}
	return c.done
}

// announceEnd closes the channel of Done once the sockets are not used any more.
func (s *UDPSession) announceEnd(done chan struct{}) {
	s.env.host.waitStopped(s)
	close(done)
}

// ownsSocket reports whether the socket is open for this session alone.
func (s *UDPSession) ownsSocket() bool {
	return s.env.owner == connOwn && s.opener == byDial
}

// giveUpUnheard implements unheardSession.
func (s *UDPSession) giveUpUnheard() {
	s.mu.Lock()
	if s.core.stats.segsIn == 0 {
		s.life.lingerUntil(s.now())
	}
	s.unlockAndSend(true)
}

// isRemoved implements unheardSession.
func (s *UDPSession) isRemoved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life.removed()
}
