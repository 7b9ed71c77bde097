// SPDX-License-Identifier: MIT

package kcp

// inputControl processes the messages of a control segment. It reports whether they can be of the
// peer's session. Nothing beside the HELLO of another incarnation is (S4.14), nor is a RESET: no
// living session has sent it (S4.24).
func (c *core) inputControl(ctx *inputContext, s *segment, now millis) (fromPeer bool) {
	ctl := &c.ctl
	if ctl.incarnation == 0 {
		return true
	}
	m, ok := parseControl(s.data)
	if !ok {
		c.stats.badFields++
		return true
	}
	if m.has[ctlHello] && !c.inputHello(&m, now) {
		return false
	}
	if k := findKex(s.data); k.kind != 0 {
		ctx.kex = k
	}
	if r, ok := findReport(s.data); ok {
		c.inputReport(r)
	}
	if m.has[ctlReset] {
		c.inputReset(s, &m, now)
		return false
	}
	if m.has[ctlFin] {
		c.inputFin(m.final, ctx.cache)
	}
	if m.has[ctlFinAck] && ctl.fin.tries > 0 && m.finalAcked == c.sendEnd {
		ctl.finAcked()
		c.life.expect(now)
	}
	if m.has[ctlPing] {
		ctl.pinged(m.ping)
	}
	if m.has[ctlPong] && ctl.pingNumber != 0 && m.pong == ctl.pingNumber {
		c.pathMeasured(now)
		if ctl.ponged() {
			c.forgetClock()
		}
		c.proved()
		c.trust(now)
	}
	if m.has[ctlPong] && c.path != nil {
		c.path.answered(m.pong, now, c.pathTiming())
	}
	return true
}

// inputReport takes a report on this side's parity. The owner decides whether it can be about what
// was sent.
func (c *core) inputReport(r parityReport) {
	if c.ctl.reports == nil || !c.ctl.known() || !r.plausible() {
		c.stats.badFields++
		return
	}
	c.ctl.reports.hear(r)
}

// refuseReport counts a report that is not about what was sent.
func (c *core) refuseReport() { c.stats.badFields++ }

// inputHello processes a HELLO and reports whether it is the peer's.
func (c *core) inputHello(m *controlSet, now millis) bool {
	ctl := &c.ctl
	switch {
	case m.incarnation == 0,
		m.incarnation == ctl.incarnation, // this side's own, sent back
		// It is for an earlier session (S4.13).
		ctl.dialled() && !ctl.known() && m.heard != 0 && m.heard != ctl.incarnation:
		c.stats.badFields++
		return false
	case ctl.known() && m.incarnation != ctl.peer:
		c.stats.badFields++
		if ctl.dialled() {
			c.suspect(m.incarnation, now)
		}
		return false
	}
	first := !ctl.known()
	ctl.meet()
	if first {
		ctl.learn(m)
	}
	c.heardOfProof(m.flags&helloProved != 0, first, now)
	if m.heard == ctl.incarnation {
		ctl.hello.acked = true
		c.proved()
	} else {
		ctl.wantHello() // the peer has repeated its HELLO without naming this side (S4.12)
	}
	return true
}

// inputReset judges a RESET. It answers something that was sent if its una is within what is in
// flight, or it echoes a PING or a FIN (S4.22). With the right incarnation it ends the session
// (S4.23).
//
// If a key authenticates packets, the peer's HELLO must be beside it, unless that peer never adds
// one. Another listener with the key, to which an observer has passed the session's packets, knows
// the incarnation too. A RESET with incarnation 0 is a suspicion at most (S4.24).
func (c *core) inputReset(s *segment, m *controlSet, now millis) {
	ctl := &c.ctl
	answers := !s.una.before(c.sendUna) && !c.sendNxt.before(s.una) || m.echo != 0 &&
		(m.echo == ctl.pingNumber || ctl.fin.tries > 0 && m.echo == uint64(c.sendEnd))
	switch {
	case answers && m.resetFor == ctl.incarnation &&
		(!ctl.keyed || ctl.peerMost == 0 || m.has[ctlHello]):
		ctl.received.add(ctlReset)
	case answers && m.resetFor == ctl.incarnation,
		// Without an echo, the first version of RESET answers PING and FIN by an una of this side.
		(answers || s.una == c.rcvNxt) && m.resetFor == 0 && ctl.keyed:
		c.suspect(0, now)
	default:
		c.stats.badFields++
	}
}

// inputFin notes the end of the peer's stream, which is answered by a FINACK (S4.16). A FIN is an
// error if it is below what has been received, beyond what could have been sent, or has moved. It
// is answered by a RESET if a key authenticated the packet. Otherwise it may be forged, and is only
// counted (S4.17).
func (c *core) inputFin(final seqNum, cache *bufferCache) {
	ctl := &c.ctl
	moved := ctl.hasPeerFinal() && final != ctl.peerFinal
	if moved || final.before(c.rcvNxt) || (c.rcvNxt + 2*wndMax).before(final) {
		c.stats.badFields++
		if ctl.keyed && ctl.known() {
			ctl.sendReset(resetProtocol)
		}
		return
	}
	if !ctl.hasPeerFinal() {
		c.discardFrom(final, cache)
	}
	ctl.peerEnds(final)
}

// refuse reports whether a PUSH is for a session that is not read any more. A peer that supports
// the extension is sent a RESET, but not before everything written here has been delivered. Until
// then its data is accepted and dropped. A peer that reads nothing before it has written would
// otherwise block both sides.
func (c *core) refuse(s *segment) bool {
	if !c.ctl.closing() || !c.ctl.known() || s.sn.before(c.rcvNxt) {
		return false
	}
	c.ctl.noteUnread()
	return c.writeDone()
}

// peerDone reports whether the peer has closed its write side and everything before has arrived.
func (c *core) peerDone() bool { return c.ctl.hasPeerFinal() && c.rcvNxt == c.ctl.peerFinal }

// endOfStream reports whether the peer has closed its write side and all before that has been read
// (S4.16).
func (c *core) endOfStream() bool {
	return c.ctl.hasPeerFinal() && c.readNxt == c.ctl.peerFinal
}

// cutShort reports whether the stream ends within a message, which can never become complete.
func (c *core) cutShort() bool {
	return c.peerDone() && c.readable() > 0 && c.peekSegments() == 0
}
