// SPDX-License-Identifier: MIT

package kcp

// proofDuty is a dialled session's part in the proof of its address. The peer may have spent what it is allowed to send
// to an address that is not proved, and it cannot tell a lost proof from a peer that is not there. So the side that
// dialled is responsible for it (RFC 9002 section 6.2.2.1): from the peer's first word until it knows that its address
// is proved it asks after each silence of an RTO, which doubles, although it has nothing in flight.
//
// A question is an ACK of the newest PUSH with its very sn and ts, a WASK and a HELLO; each of the first and the last
// is a proof. A peer that is not known to speak the extension most likely needs none: it is asked for its window, which
// settles that, and is sent no ACK twice, for it would take that for a round-trip time.
type proofDuty struct {
	at    millis // when it asks next
	order uint64 // transmissions made when the newest PUSH came
	sn    seqNum // of the newest PUSH
	ts    timestamp
	tries uint8
	heard uint8 // windows told since the first question
	push  bool  // there was one
}

const (
	// proofPatience is for how many questions the wait stays within lingerBackoff: where many packets are lost the answer
	// that waits for the proof shall not wait for minutes.
	proofPatience = 40
	// proofBlind is the same for a peer that is not known to speak the extension. proofBlindMost is how often it is asked
	// in all, which takes some ten minutes: an outage may have taken its HELLO, and the answer waits for the proof.
	proofBlind     = 6
	proofBlindMost = proofBlind + 14
	// proofHeard is how many windows such a peer has to tell until it is taken for one that needs no proof.
	proofHeard = 4
)

// proofOwed returns what there is to prove, nil if there is nothing.
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

// heardOfProof notes a HELLO of the peer, which says whether this side's address is proved. The first one tells that the
// peer is not one that needs no proof.
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

// heardWindow notes a WINS: the answer to a question, behind the proof that went along with it. A peer whose HELLO was
// lost has got no proof along with the question, but may ask for one now: it is asked some more times.
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

// heardOfData notes that data was acknowledged. Of a peer that is not known to want a proof it is enough that it has
// heard what was sent behind its newest PUSH.
func (c *core) heardOfData() {
	if c.duty != nil && !c.ctl.known() && c.delivered > c.duty.order {
		c.proofDone() // S1.72
	}
}

// proofEvent returns when the peer is asked next. A stream that has come to its end waits for nothing.
func (c *core) proofEvent() millis {
	if c.duty == nil || c.life.connecting() || c.ctl.closing() || c.peerDone() {
		return never
	}
	return c.duty.at
}

// proofTick makes the question due.
func (c *core) proofTick(now millis) {
	if now < c.proofEvent() {
		return
	}
	d := c.duty
	if !c.ctl.known() && d.tries >= proofBlindMost {
		c.proofDone()
		return
	}
	d.tries = min(d.tries+1, proofPatience+maxLevel)
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

// proofWait is the wait after so many questions.
func (c *core) proofWait(tries uint8) millis {
	often := uint8(proofPatience)
	if !c.ctl.known() {
		often = proofBlind
	}
	if tries < often {
		return min(backoff(c.rto(), tries, false), max(c.rto(), lingerBackoff))
	}
	return backoff(max(c.rto(), lingerBackoff), tries-often, false)
}
