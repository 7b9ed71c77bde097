// SPDX-License-Identifier: MIT

package kcp

import "time"

// advanceLocked moves the session on in its life, as far as that has become due at now. s.mu must
// be held.
func (s *UDPSession) advanceLocked(now millis) {
	s.noteProgressLocked(now)
	s.giveUpClosingLocked(now)
	c := &s.core
	switch {
	case c.ctl.wasReset(), c.gone():
		s.failLocked(errReset)
	case c.life.overdue(c.deadAt(), now):
		s.failLocked(errPeerDead)
	case c.life.overdue(c.idleAt(), now):
		s.failLocked(errIdle)
	case now >= s.keys.limitAt():
		if c.ctl.makesKeys() {
			s.failLocked(errPeerDead)
		} else {
			s.failLocked(errNoKeys)
		}
	case s.life.headless() && now >= s.life.lingerAt:
		s.failLocked(errReset)
	case s.life.closed() && s.doneClosingLocked(now):
		s.failLocked(errClosed)
	case s.life.closed() && (now >= s.life.lingerAt && !c.ctl.resetDue() || c.ctl.resetSent()):
		s.failLocked(errClosed)
	case c.ctl.resetSent():
		s.failLocked(errProtocol)
	}
}

// refuseUnkeyedLocked is called for a peer that makes no keys. If keys are required, the session
// ends. s.mu must be held.
func (s *UDPSession) refuseUnkeyedLocked() {
	switch {
	case !s.keys.required():
		s.keys.refuse()
	case s.core.ctl.known():
		s.life.setErrors(errNoKeys)
		s.core.ctl.sendReset(resetRefused)
	default:
		s.failLocked(errNoKeys)
	}
}

// failLocked takes the session off the network. What was received stays readable; what was to be
// sent is given up. s.mu must be held.
func (s *UDPSession) failLocked(err error) {
	if s.core.trace != nil && !s.life.ended() {
		s.core.trace.event(s.env.clock.now(), traceClosed, traceReason(err))
	}
	s.life.fail(err)
}

// lingerTimeLocked returns how long a closed session goes on from now without progress, or, if
// SetLinger was called, from Close on. s.mu must be held.
func (s *UDPSession) lingerTimeLocked() time.Duration {
	switch {
	case s.life.linger != lingerByProgress:
		return s.life.linger
	case s.core.stats.segsIn == 0:
		return lingerUnheard
	}
	return lingerDefault
}

// noteProgressLocked prolongs the linger time of a closed session if the peer has acknowledged
// something. s.mu must be held.
func (s *UDPSession) noteProgressLocked(now millis) {
	if !s.core.ctl.takeProgress() {
		return
	}
	if s.life.closed() && s.life.linger == lingerByProgress {
		s.life.lingerUntil(now + toMillis(s.lingerTimeLocked()))
	}
}

const (
	// lingerDefault is how long a closed session goes on without progress.
	lingerDefault = 10 * time.Second
	// lingerUnheard is the same for a session that has never received anything: its peer is most
	// likely not there.
	lingerUnheard = time.Second
)

// finWait is how long a closed session that has delivered everything waits for the peer's FIN. It
// acknowledges the FIN and answers data with a RESET, where no time-wait record of a listener would
// do so. A program takes about that long to see the end of the stream and to close its side.
const finWait millis = 3000

// finWaitLent is finWait where the socket is the caller's and is read for this session alone: the
// caller has other uses for it.
const finWaitLent millis = 150

// waitsForFIN returns how long the session waits for the peer's FIN.
func (s *UDPSession) waitsForFIN() millis {
	if s.env.owned() || s.opener != byDial {
		return finWait
	}
	return finWaitLent
}

// doneClosingLocked reports whether nothing is left to do for a closed session. s.mu must be held.
func (s *UDPSession) doneClosingLocked(now millis) bool {
	c := &s.core
	if !c.writeDone() || !c.peerSettled(now) {
		s.life.delivering()
		return false
	}
	if !c.ctl.known() || c.peerDone() && !c.ctl.due.has(ctlFinAck) {
		return true
	}
	s.life.awaitFIN(now + s.waitsForFIN())
	return false
}

// giveUpClosingLocked schedules a RESET for a closing session that has run out of time. Either the
// peer has not acknowledged all data, or it has not sent its FIN. A peer that goes on sending after
// all is delivered is reset at once. S4.25 lists who sends a RESET. s.mu must be held.
func (s *UDPSession) giveUpClosingLocked(now millis) {
	ctl := &s.core.ctl
	s.life.grace(&s.core.life, now)
	if s.life.closed() && now >= s.life.lingerAt && ctl.closing() && !ctl.resetSent() &&
		s.life.linger == lingerByProgress && s.core.asksForProof() {
		// Only the validation of the address may be missing, and the requests for it come to an
		// end.
		s.life.lingerUntil(now + toMillis(s.lingerTimeLocked()))
	}
	switch {
	case !s.life.closed() || ctl.resetDue() || ctl.resetSent() || !ctl.known():
	case now >= s.life.lingerAt && !s.core.writeDone():
		ctl.sendReset(resetAborted)
	case s.core.peerDone():
	case ctl.unread() && s.core.writeDone(), now >= min(s.life.finWaitAt, s.life.lingerAt):
		ctl.sendReset(resetClosed)
	}
}

// finish takes an ended session off its socket, once. s.mu must not be held.
func (s *UDPSession) finish() {
	s.mu.Lock()
	if !s.life.setState(sessionRemoved) {
		s.mu.Unlock()
		return
	}
	s.setPendingLocked(false)
	sending := s.turns.busy()
	if !sending {
		s.endTraceLocked()
	}
	record, bye, ids := s.endedRecordLocked(), s.farewellLocked(), s.keys.ids()
	s.releaseSendingLocked()
	if s.life.closed() || s.life.shut.has(sideNoProgram) {
		s.releaseReadingLocked() // no program has it to read
	}
	s.chargeLocked()
	var done chan struct{}
	if s.calls != nil {
		done = s.calls.done
	}
	s.mu.Unlock()
	s.timer.stop()
	s.oob.Load().close()
	s.env.host.remove(s, &record, bye, sending)
	s.env.host.endKeys(ids, record.outcome)
	if done != nil {
		go s.announceEnd(done)
	}
	unheard.remove(s)
	DefaultSnmp.connClosed()
}

// endedRecordLocked returns what late packets are to be compared with. s.mu must be held.
func (s *UDPSession) endedRecordLocked() endedSession {
	c := &s.core
	outcome := endedRegular
	switch {
	case c.stats.segsIn == 0:
		outcome = endedUnheard
	case s.abortedLocked():
		outcome = endedAborted
	}
	return endedSession{
		outcome:     outcome,
		peer:        c.ctl.peer,
		incarnation: c.ctl.incarnation,
		rcvNxt:      c.acknowledgedTo(),
		newestTS:    c.newestTS,
		newestAt:    c.newestAt,
		born:        s.now(),
	}
}

// releaseSendingLocked releases what can no longer be sent. s.mu must be held.
func (s *UDPSession) releaseSendingLocked() {
	s.core.releaseSending()
	s.releaseDecoderLocked()
	if !s.turns.busy() {
		s.turns.releaseEncoder()
	}
}

// replaced ends a session because its peer has opened another one.
func (s *UDPSession) replaced() {
	s.mu.Lock()
	if !s.life.ended() {
		s.failLocked(errReset)
		s.wakeReadersLocked()
		s.wakeWritersLocked()
	}
	s.mu.Unlock()
	s.finish()
}

// replacedIfClosed ends a session that lingers after Close, to make room for another one of the
// same name.
func (s *UDPSession) replacedIfClosed() {
	s.mu.Lock()
	closed := s.life.closed()
	s.mu.Unlock()
	if closed {
		s.replaced()
	}
}

// lostSocket ends a session because its socket is lost.
func (s *UDPSession) lostSocket(err error) {
	s.mu.Lock()
	s.failLocked(err)
	s.wakeReadersLocked()
	s.wakeWritersLocked()
	s.mu.Unlock()
	s.finish()
}

// abandon ends a session because its socket is about to be closed, and resets its peer.
func (s *UDPSession) abandon() {
	s.mu.Lock()
	s.life.setErrors(errSocketClosed)
	s.core.ctl.sendReset(resetAborted)
	s.unlockAndSend(true)
	s.replaced() // if the RESET could not be sent
}

// superseded is called when another session has opened from the peer's address. A restarted peer
// has left this session behind. But the opening packet may be a replay where packets are
// authenticated by a key alone: from another listener, or from before a restart. The peer is asked
// then, and the session ends if there is no answer.
func (s *UDPSession) superseded(now millis) {
	if !s.core.ctl.keyed {
		s.replaced()
		return
	}
	s.mu.Lock()
	if !s.life.ended() {
		s.core.suspect(0, now)
		s.core.suspect(0, now) // the new session is there
		s.armLocked(now)
	}
	s.mu.Unlock()
}
