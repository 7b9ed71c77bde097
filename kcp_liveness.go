// SPDX-License-Identifier: MIT

package kcp

// liveness decides when a peer is dead, when it is to be asked, and when nothing has been said for too long. A zero
// duration switches a rule off.
type liveness struct {
	deadTimeout millis
	keepAlive   millis
	idleTimeout millis

	heardAt    millis // the last datagram from the peer's session
	expectedAt millis // since when the peer has owed an answer
	askedAt    millis // the last keepalive probe
	graceUntil millis // no deadline counts before: see late
	asking     bool   // a probe is unanswered

	opening announcement // asks for the window until the peer answers at all; never due otherwise
}

const (
	// lateBound is how late a deadline is judged by a process that runs: its timers are not later on a busy machine.
	lateBound millis = 20
	// wakeGrace is how long a process that did not run has for reading what has come meanwhile.
	wakeGrace millis = 250
)

// late reports whether a deadline is to be judged anew after a while: when it is found to have passed long ago, the
// process has been stopped or the machine has slept, and answers may wait in the socket. Once is enough for each deadline.
func (l *liveness) late(at, now millis) bool {
	if now-at <= lateBound {
		return false
	}
	if l.graceUntil < at {
		l.graceUntil = now + wakeGrace
	}
	return now < l.graceUntil
}

// overdue reports whether a deadline has passed, and has been judged after what waited in the socket was read.
func (l *liveness) overdue(at, now millis) bool {
	return now >= at && !l.late(at, now) && now >= l.graceUntil
}

func (l *liveness) init(now millis) {
	l.heardAt, l.expectedAt, l.askedAt, l.opening.at = now, now, now, never
}

// setTimeouts sets the times of the rules, 0 for those that are off.
func (l *liveness) setTimeouts(dead, keepAlive, idle millis) {
	l.deadTimeout, l.keepAlive, l.idleTimeout = dead, keepAlive, idle
}

// expect begins a wait for the peer.
func (l *liveness) expect(now millis) { l.expectedAt = now }

// heard notes a datagram that the peer's session has sent. While data is in flight only its acknowledgement counts as an answer.
func (l *liveness) heard(now millis, progress, inFlight bool) {
	l.heardAt = now
	l.asking = false
	if progress || !inFlight {
		l.expectedAt = now
	}
}

// ask notes that the peer is asked for an answer.
func (c *core) ask(now millis) {
	if !c.life.asking && (c.sendUna == c.sendNxt || c.rmtWnd == 0) {
		c.life.expect(now)
	}
	c.life.asking = true
}

// deadAt returns when what the peer owes is overdue, never if it owes nothing. While its window is closed it owes no
// acknowledgement, only answers to probes.
func (c *core) deadAt() millis {
	owes := c.sendUna != c.sendNxt && c.rmtWnd > 0 || c.life.asking || c.ctl.finUnanswered()
	if c.life.deadTimeout == 0 || !owes {
		return never
	}
	return c.life.expectedAt + c.life.deadTimeout
}

// idleAt returns when the session has been silent for too long.
func (c *core) idleAt() millis {
	if c.life.idleTimeout == 0 {
		return never
	}
	return c.life.heardAt + c.life.idleTimeout
}

// lifeEvent returns when one of the rules next asks for something.
func (c *core) lifeEvent() millis {
	at := min(max(min(c.deadAt(), c.idleAt()), c.life.graceUntil), c.challengeEvent())
	if c.life.keepAlive > 0 && c.spoken() {
		at = min(at, max(c.life.heardAt, c.life.askedAt)+c.life.keepAlive)
	}
	return at
}

// spoken reports whether anything has been sent or received yet: a session that has said nothing does not exist for
// its peer, so there is nothing to keep alive.
func (c *core) spoken() bool { return c.order > 0 || c.stats.segsIn > 0 }

// begun reports whether data has gone either way: before, the peer has no session that could be ended.
func (c *core) begun() bool { return c.order > 0 || c.newestAt >= 0 }

// connect begins to ask for the peer's window, which any peer that is there answers.
func (l *liveness) connect(now millis) { l.opening.at = now }

// endConnect ends it.
func (l *liveness) endConnect() { l.opening.at = never }

// connecting reports whether the peer is still to answer at all.
func (l *liveness) connecting() bool { return l.opening.at != never }

// connectTick asks once more, with back-off up to a second.
func (c *core) connectTick(now millis) {
	l := &c.life
	if now < l.opening.at {
		return
	}
	c.askForWindow()
	l.opening.left(now+min(backoff(c.rto(), l.opening.tries, c.noDelay()), 1000), maxLevel)
}

// lifeTick asks a silent peer whether it is there, with a PING where that is understood and with a WASK otherwise.
func (c *core) lifeTick(now millis) {
	l := &c.life
	c.challengeTick(now)
	if l.keepAlive == 0 || !c.spoken() || now < max(l.heardAt, l.askedAt)+l.keepAlive {
		return
	}
	c.ask(now)
	l.askedAt = now
	if c.ctl.known() {
		c.ping()
	} else {
		c.askForWindow()
	}
}
