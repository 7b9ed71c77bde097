// SPDX-License-Identifier: MIT

package kcp

// challengeQuestions is how many questions the peer is asked, two in each RTO. At a loss of 20 %
// each way all of them fail in one case of 460.
const challengeQuestions = 6

// suspect notes an indication that the session is gone at the peer. replacement is the incarnation
// found in its place, 0 if there is none.
func (c *core) suspect(replacement uint64, now millis) {
	ch := &c.ctl.challenge
	switch {
	case ch.state == peerSuspected:
		ch.state = peerDenied
	case ch.state != peerTrusted:
	case now < ch.at || c.ctl.closing() && !c.ctl.known():
		// One suspicion an RTO bounds the cost of repeated indications. A closing session asks no
		// legacy peer, which might open a session for the question.
		return
	default:
		c.ctl.pingNumber = 0 // draws a new one
		*ch = challenge{state: peerSuspected}
		c.question(now)
	}
	c.ctl.replacement = replacement
}

// questionClock checks the peer by a PING after a PUSH whose ts does not fit the peer's clock
// (S4.27). The PUSH may be that of a restarted peer, or one of the machines has slept. A restarted
// peer has not heard this side, so it does not answer. The ts of the next PUSH after the PONG sets
// the peer's clock.
func (c *core) questionClock(now millis) {
	ctl := &c.ctl
	ctl.clockDoubted = true
	if ch := &ctl.challenge; ch.state == peerTrusted && now >= ch.at {
		ch.at = now + c.rto() // like a suspicion
		c.freshPing()
	}
}

// question asks the peer whether it still has the session (S4.28).
func (c *core) question(now millis) {
	ch := &c.ctl.challenge
	ch.asked++
	ch.at = now + (c.rto()+1)/2
	if c.ctl.known() {
		c.ping()
	} else {
		c.askForWindow()
	}
}

// freshPing sends a PING with a number that no earlier PING had.
func (c *core) freshPing() {
	c.ctl.pingNumber = 0
	c.ping()
}

// ping asks for a PONG with a number of 64 random bits (S4.26).
func (c *core) ping() {
	ctl := &c.ctl
	c.thin.asked = 0 // the answer to a repeated PING is no measure
	for ctl.pingNumber == 0 {
		ctl.pingNumber = c.draw()
	}
	ctl.due.add(ctlPing)
}

// trust ends a suspicion: the peer has the session. The next suspicion begins an RTO later at the
// earliest (S4.29).
func (c *core) trust(now millis) {
	if ch := &c.ctl.challenge; ch.state == peerSuspected || ch.state == peerDenied {
		*ch = challenge{at: now + c.rto()}
		c.ctl.replacement = 0
	}
}

// suspicious reports whether the peer has been asked whether it still has the session.
func (c *core) suspicious() bool {
	ch := &c.ctl.challenge
	return ch.state == peerSuspected || ch.state == peerDenied
}

// challengeEvent returns when challengeTick is next due.
func (c *core) challengeEvent() millis {
	if !c.suspicious() {
		return never
	}
	return c.ctl.challenge.at
}

// challengeTick repeats the question, or decides after 3 RTO without an answer. The session ends
// only if the cause of the suspicion came again since the first question (S4.30). Total silence is
// for the dead timeout to handle.
func (c *core) challengeTick(now millis) {
	ctl := &c.ctl
	switch ch := &ctl.challenge; {
	case now < c.challengeEvent():
	case ch.asked < challengeQuestions:
		c.question(now)
	case ch.state == peerSuspected:
		c.trust(now)
	default:
		ch.state = peerGone
		if ctl.replacement != 0 {
			// The listener has another session under this name, because it was restarted or this
			// side's address has changed on the way. That session has no beginning and gets a RESET
			// (S4.31).
			ctl.sendReset(resetUnknown)
		}
	}
}

// gone reports whether the peer has no session any more and the RESET for the session in its place,
// if any, has been sent.
func (c *core) gone() bool {
	return c.ctl.challenge.state == peerGone && (c.ctl.replacement == 0 || c.ctl.resetSent())
}
