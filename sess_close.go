// SPDX-License-Identifier: MIT

package kcp

import "time"

const (
	// lingerDefault is how long a closed session goes on without progress.
	lingerDefault = 10 * time.Second
	// lingerUnheard is the same for a session that has never received anything: its peer is most likely not there.
	lingerUnheard = time.Second
)

// Close closes the session and returns at once. What has been written is still delivered in the background, for as long
// as the peer goes on acknowledging it: the session is given up, and the peer reset, after 10 s without progress, or
// after 1 s if nothing was ever received from the peer, or sooner if such sessions hold half of the files that the process
// may open. SetLinger sets a fixed bound instead. Once all is delivered the
// peer reads io.EOF. Blocked calls return. Read still gives what has arrived in order and was not read, whatever its
// deadline, and fails then; what arrives later is dropped. The handler of out-of-band packets is called no more. Closing a
// second time gives an error that matches net.ErrClosed.
func (s *UDPSession) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	now := s.now()
	if !s.readClosed {
		s.unread = new(unreadData)
	}
	s.closed, s.readClosed = true, true
	s.readErr, s.writeErr = errClosed, errClosed
	s.calls.disarm()
	s.oob.Load().close()
	s.wakeWriters()
	leaving, unheardOf := s, false
	switch {
	case s.ended:
	case s.linger != 0:
		s.core.closeWrite(now)
		s.core.ctl.close(s.core.stats.segsIn == 0)
		s.lingerAt = now + toMillis(s.lingerTime())
		leaving = nil
		unheardOf = s.core.ctl.unheard() && s.linger == lingerByProgress && s.ownsSocket()
	default:
		s.core.ctl.sendReset(resetAborted)
		s.lingerAt = now
	}
	s.keepUnread()
	s.releaseReading()
	s.wakeReaders()
	ended := s.ended
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

// CloseWrite ends the stream that this side writes: the peer reads all that was written and then io.EOF. Reading goes
// on. A deployed peer without this extension learns nothing of it. Errors are those of Write; a second time it is that of a
// closed session.
func (s *UDPSession) CloseWrite() error {
	s.mu.Lock()
	if s.closed || s.writeErr != nil || s.core.ctl.finWanted() {
		err := s.writeErr
		s.mu.Unlock()
		if err == nil {
			err = errClosed
		}
		return err
	}
	s.core.closeWrite(s.now())
	s.wakeWriters()
	s.mu.Unlock()
	s.flushNow()
	return nil
}

// CloseRead ends reading: blocked and later Reads return io.EOF, and what the peer sends is acknowledged and thrown
// away, as it is on a *net.TCPConn. Writing goes on. After Close the error matches net.ErrClosed.
func (s *UDPSession) CloseRead() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	s.readClosed = true
	s.discardReceived()
	if !s.reading {
		s.releasePartial()
	}
	s.wakeReaders()
	due := s.core.tellWindow && !s.ended
	s.mu.Unlock()
	if due {
		s.flushNow()
	}
	return nil
}

// SetLinger bounds how long Close goes on delivering in the background. The bound counts from Close and is kept even
// while the peer goes on acknowledging; what is undelivered then is dropped, and the peer reset. With 0, Close resets the
// session at once; a socket that the library opened stays open for a second more, or three on a slow path, to repeat the
// RESET. A negative value restores the default: as long as there is progress, as Close describes. More than 100 years
// count as 100 years.
func (s *UDPSession) SetLinger(d time.Duration) {
	s.mu.Lock()
	s.linger = max(d, lingerByProgress)
	s.mu.Unlock()
}

// lingerByProgress is the linger time of a session for which SetLinger has set none.
const lingerByProgress time.Duration = -1

// lingerTime is how long a closed session lives on from now without progress, or from Close on if SetLinger has said so.
func (s *UDPSession) lingerTime() time.Duration {
	switch {
	case s.linger != lingerByProgress:
		return s.linger
	case s.core.stats.segsIn == 0:
		return lingerUnheard
	}
	return lingerDefault
}

// noteProgress prolongs the linger time of a closed session whose peer has acknowledged something.
func (s *UDPSession) noteProgress(now millis) {
	if !s.core.ctl.takeProgress() {
		return
	}
	if s.closed && s.linger == lingerByProgress {
		s.lingerAt = now + toMillis(s.lingerTime())
	}
}

// finWait is how long a closed session that has delivered everything waits for the peer's FIN, to acknowledge it and to
// answer data with a RESET, where no listener's time-wait record would do it: about what a program takes to see the end
// of the stream and close its side.
const finWait millis = 3000

// finWaitLent is finWait where the socket is the caller's and read for this session alone, which has other uses for it.
const finWaitLent millis = 150

// waitsForFIN returns how long the session waits for the peer's FIN.
func (s *UDPSession) waitsForFIN() millis {
	if s.env.owned || s.accepted || s.guest {
		return finWait
	}
	return finWaitLent
}

// Done returns a channel that is closed when the session has ended and sends and receives no more: after Close once all is
// delivered or given up, or when the session has failed. A net.PacketConn that is the caller's, and was used by this session
// alone, is not read any more then, but for one without read deadlines: what arrives is left in it for the next session.
func (s *UDPSession) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.blocked()
	if c.done == nil {
		c.done = make(chan struct{})
		if s.finished {
			go s.announceEnd(c.done)
		}
	}
	return c.done
}

// announceEnd closes what Done has returned, once the sockets are let go of.
func (s *UDPSession) announceEnd(done chan struct{}) {
	s.env.host.waitStopped(s)
	close(done)
}

// doneClosing reports whether nothing is left to do for a closed session.
func (s *UDPSession) doneClosing(now millis) bool {
	c := &s.core
	if !c.writeDone() || !c.peerSettled(now) {
		s.finWaitAt = never
		return false
	}
	if !c.ctl.known() || c.peerDone() && !c.ctl.due.has(ctlFinAck) {
		return true
	}
	if s.finWaitAt == never {
		s.finWaitAt = now + s.waitsForFIN()
	}
	return false
}

// giveUpClosing makes a session whose time to close is up take its leave with a RESET: of a peer that has not taken all
// that was written, and of one that has not ended its own stream, which nobody will read nor answer from here on. A peer
// that goes on sending is told as soon as it has all.
func (s *UDPSession) giveUpClosing(now millis) {
	ctl, life := &s.core.ctl, &s.core.life
	if s.closed && s.linger != 0 && life.late(s.lingerAt, now) {
		s.lingerAt = life.graceUntil
	}
	if life.late(s.finWaitAt, now) {
		s.finWaitAt = life.graceUntil
	}
	if s.closed && now >= s.lingerAt && ctl.closing() && !ctl.resetSent() && s.linger == lingerByProgress && s.core.asksForProof() {
		// What is left may need the proof alone, and the questions for it come to an end.
		s.lingerAt = now + toMillis(s.lingerTime())
	}
	switch {
	case !s.closed || ctl.resetDue() || ctl.resetSent() || !ctl.known():
	case now >= s.lingerAt && !s.core.writeDone():
		ctl.sendReset(resetAborted)
	case (ctl.unread && s.core.writeDone() || now >= min(s.finWaitAt, s.lingerAt)) && !s.core.peerDone():
		ctl.sendReset(resetClosed)
	}
}

// releaseSending gives back what can no longer be sent.
func (s *UDPSession) releaseSending() {
	s.core.releaseSending()
	if s.decoder != nil {
		done := s.decoder.stats()
		s.fecDone = &done
		s.decoder.release()
		s.decoder = nil
	}
	if !s.turns.busy() {
		s.turns.releaseEncoder()
	}
}
