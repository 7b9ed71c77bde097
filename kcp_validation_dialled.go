// SPDX-License-Identifier: MIT

package kcp

// proofDuty is a dialled session's part in the validation of its address. The peer may have used up
// its allowance, and it cannot tell a lost answer from a peer that is not there. So the side that
// dialled is responsible (RFC 9002 section 6.2.2.1). From the peer's first segment until its
// address is known to be validated, it sends a request after each silence of an RTO. That wait
// doubles. It does so even with nothing in flight.
//
// A request is an ACK of the newest PUSH with its sn and ts, a WASK, and a HELLO. The ACK and the
// HELLO each validate the address. A peer that is not known to support the extension most likely
// needs no validation. It is sent a WASK only, which settles that, and no ACK twice, because it
// would take the repetition for a round-trip time.
type proofDuty struct {
	at    millis // when the next request is due
	order uint64 // transmissions made when the newest PUSH arrived
	sn    seqNum // of the newest PUSH
	ts    timestamp
	tries uint8
	heard uint8 // WINS received since the first request
	push  bool  // a PUSH has arrived
}

const (
	// proofLinear is for how many requests the wait stays within lingerBackoff. Where many packets
	// are lost, the data that waits for the validation must not wait for minutes.
	proofLinear = 40
	// proofBlind is the same for a peer that is not known to support the extension. proofBlindMost
	// is how many requests it is sent in total. They take some ten minutes, because an outage may
	// have taken its HELLO.
	proofBlind     = 6
	proofBlindMost = proofBlind + 14
	// proofHeard is how many WINS such a peer has to send before it is assumed to need no
	// validation.
	proofHeard = 4
)

// proofOwed returns the duty, nil if this side has nothing to validate.
func (c *core) proofOwed() *proofDuty {
	if !c.ctl.dialled() || c.ctl.incarnation == 0 || c.ctl.peerSure {
		return nil
	}
	if c.duty == nil {
		c.duty = new(proofDuty)
	}
	return c.duty
}

// proofDone ends the duty.
func (c *core) proofDone() {
	c.duty = nil
	c.ctl.settleProof(true)
}

// owesProof notes a PUSH that is to be acknowledged.
func (c *core) owesProof(s *segment, now millis) {
	if !c.isProbe(s) {
		c.ctl.meet()
	}
	if d := c.proofOwed(); d != nil {
		if !s.sn.before(c.rcvNxt) {
			d.tries = 0
		}
		d.sn, d.ts, d.push, d.order = s.sn, s.ts, true, c.order
		d.at = now + c.rto()
	}
}

// heardOfProof notes a HELLO of the peer, which says whether this side's address is validated. The
// first one shows that the peer is not a legacy peer, which needs no validation.
func (c *core) heardOfProof(proved, first bool, now millis) {
	switch {
	case proved:
		c.proofDone()
	case first && c.duty == nil:
		c.ctl.settleProof(false)
		if d := c.proofOwed(); d != nil {
			d.at = now + c.rto()
		}
	}
}

// heardWindow notes a WINS: the answer to a request, which the validation came with. A peer whose
// HELLO was lost has received no ACK with the request, but may need one now. So it is sent some
// more requests.
func (c *core) heardWindow() {
	c.ctl.meet()
	d := c.duty
	if d == nil || d.tries == 0 {
		return
	}
	if d.heard++; c.ctl.known() || d.heard >= proofHeard {
		c.proofDone() // S1.71
	}
}

// heardOfData notes that data was acknowledged. For a peer that is not known to validate addresses
// it is enough that it has received what was sent after its newest PUSH.
func (c *core) heardOfData() {
	if c.duty != nil && !c.ctl.known() && c.delivered > c.duty.order {
		c.proofDone() // S1.72
	}
}

// proofEvent returns when the next request is due. A stream that has ended needs none. Neither does
// a session that may not be open yet: its first data is repeated, and is answered.
func (c *core) proofEvent() millis {
	if c.duty == nil || c.life.connecting() || c.ctl.closing() || c.peerDone() || c.opening() {
		return never
	}
	return c.duty.at
}

// proofTick makes the request due.
func (c *core) proofTick(now millis) {
	if now < c.proofEvent() {
		return
	}
	d := c.duty
	if !c.ctl.known() && d.tries >= proofBlindMost {
		c.proofDone()
		return
	}
	d.tries = min(d.tries+1, proofLinear+maxLevel)
	d.at = now + c.proofWait(d.tries) // S1.69
	c.askForWindow()                  // S1.70
	if !c.ctl.known() {
		return
	}
	c.ask(now)
	c.ctl.wantHello()
	if d.push {
		c.ackAgain(d.sn, d.ts)
	}
	if len(c.acks) > 0 {
		c.ackNow(now)
	}
}

// proofWait returns the wait after so many requests.
func (c *core) proofWait(tries uint8) millis {
	often := uint8(proofLinear)
	if !c.ctl.known() {
		often = proofBlind
	}
	if tries < often {
		return min(backoff(c.rto(), tries, false), max(c.rto(), lingerBackoff))
	}
	return backoff(max(c.rto(), lingerBackoff), tries-often, false)
}
