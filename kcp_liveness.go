// SPDX-License-Identifier: MIT

package kcp

// liveness implements Config.DeadTimeout, KeepAlive and IdleTimeout. A zero duration disables a
// rule.
type liveness struct {
	deadTimeout millis
	keepAlive   millis
	idleTimeout millis

	heardAt    millis // time of the last datagram of the peer's session
	expectedAt millis // since when the peer owes an answer
	askedAt    millis // time of the last keepalive probe
	graceUntil millis // no deadline counts before; see late
	asking     bool   // a probe is unanswered

	opening announcement // WASKs until the peer first answers; never due otherwise
}

const (
	// lateBound is how late a deadline may be detected by a process that runs. Timers of a busy
	// machine are not later.
	lateBound millis = 20
	// wakeGrace is how long a process that did not run may read what has arrived meanwhile before
	// deadlines count.
	wakeGrace millis = 250
)

// late reports whether a deadline is to be checked again later. A deadline that passed long ago
// means that the process was stopped or the machine has slept, and answers may wait in the socket.
// Each deadline is postponed once.
func (l *liveness) late(at, now millis) bool {
	if now-at <= lateBound {
		return false
	}
	if l.graceUntil < at {
		l.graceUntil = now + wakeGrace
	}
	return now < l.graceUntil
}

// overdue reports whether a deadline has passed and what waited in the socket has been read.
func (l *liveness) overdue(at, now millis) bool {
	return now >= at && !l.late(at, now) && now >= l.graceUntil
}

func (l *liveness) init(now millis) {
	l.heardAt, l.expectedAt, l.askedAt, l.opening.at = now, now, now, never
}

// setTimeouts sets the durations of the rules, 0 for a rule that is off.
func (l *liveness) setTimeouts(dead, keepAlive, idle millis) {
	l.deadTimeout, l.keepAlive, l.idleTimeout = dead, keepAlive, idle
}

// expect begins a wait for the peer.
func (l *liveness) expect(now millis) { l.expectedAt = now }

// heard notes a datagram of the peer's session. While data is in flight only its acknowledgement
// counts as an answer.
func (l *liveness) heard(now millis, progress, inFlight bool) {
	l.heardAt = now
	l.asking = false
	if progress || !inFlight {
		l.expectedAt = now
	}
}

// ask notes that the peer has been asked for an answer.
func (c *core) ask(now millis) {
	if !c.life.asking && (c.sendUna == c.sendNxt || c.rmtWnd == 0) {
		c.life.expect(now)
	}
	c.life.asking = true
}

// deadAt returns when the answer that the peer owes is overdue, never if it owes none. While its
// window is closed it owes no acknowledgement, only answers to probes.
func (c *core) deadAt() millis {
	if c.life.deadTimeout == 0 || !c.owed() {
		return never
	}
	return c.life.expectedAt + c.life.deadTimeout
}

// owed reports whether the peer owes an answer.
func (c *core) owed() bool {
	return c.sendUna != c.sendNxt && c.rmtWnd > 0 || c.life.asking || c.ctl.finUnanswered()
}

// missedAt returns when an answer that the peer owes is an RTO late, never if it owes none.
func (c *core) missedAt() millis {
	if !c.owed() || c.addr != nil {
		return never
	}
	return c.life.expectedAt + c.rto()
}

// idleAt returns when the session has been idle for too long.
func (c *core) idleAt() millis {
	if c.life.idleTimeout == 0 {
		return never
	}
	return c.life.heardAt + c.life.idleTimeout
}

// lifeEvent returns when one of the rules is next due.
func (c *core) lifeEvent() millis {
	at := min(max(min(c.deadAt(), c.idleAt()), c.life.graceUntil), c.challengeEvent())
	if c.life.keepAlive > 0 && c.spoken() {
		at = min(at, max(c.life.heardAt, c.life.askedAt)+c.life.keepAlive)
	}
	return at
}

// spoken reports whether anything has been sent or received. Before that the session does not exist
// for the peer, and there is nothing to keep alive.
func (c *core) spoken() bool { return c.order > 0 || c.stats.segsIn > 0 }

// begun reports whether data has been sent or received. Before that the peer has no session that
// could be ended.
func (c *core) begun() bool { return c.order > 0 || c.newestAt >= 0 }

// connect begins to send WASK, which any peer that is there answers.
func (l *liveness) connect(now millis) { l.opening.at = now }

// endConnect stops that.
func (l *liveness) endConnect() { l.opening.at = never }

// connecting reports whether the peer has still to answer.
func (l *liveness) connecting() bool { return l.opening.at != never }

// connectTick sends the next WASK, with back-off up to a second.
func (c *core) connectTick(now millis) {
	l := &c.life
	if now < l.opening.at {
		return
	}
	c.askForWindow()
	l.opening.left(now+min(backoff(c.rto(), l.opening.tries, c.noDelay()), 1000), maxLevel)
}

// lifeTick checks on a silent peer, with a PING if the peer supports that and with a WASK
// otherwise.
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
