// SPDX-License-Identifier: MIT

package kcp

// controlEvent returns when a FIN is to be sent next.
func (c *core) controlEvent() millis {
	if c.finReady() {
		return c.ctl.fin.at
	}
	if c.asksHello() {
		return c.ctl.asking.at
	}
	return never
}

// finReady reports whether the FIN may be sent: all data before it has been sent, and the peer
// knows what it means (S4.15).
func (c *core) finReady() bool {
	return c.ctl.due.has(ctlFin) && c.ctl.known() && c.sendNxt == c.sendEnd
}

// closeWrite ends the stream behind what has been queued.
func (c *core) closeWrite(now millis) {
	if c.ctl.finWanted() {
		return
	}
	c.ctl.due.add(ctlFin)
	c.ctl.fin.at = now
	c.endDelay() // there is nothing to wait for
}

// writeDone reports whether all that was written has been acknowledged, the end of the stream included where the
// peer knows of it.
func (c *core) writeDone() bool {
	return c.sendUna == c.sendEnd && (!c.ctl.due.has(ctlFin) || !c.ctl.known())
}

// A peer whose HELLO was lost would never learn of the end of the stream. So a side that has closed its stream and has
// not seen one asks for the window: the answer of a peer that knows the extension carries its HELLO, an answer without
// settles that it does not know it. helloAsks bounds the questions: with their back-off they take the linger time.
const helloAsks = 12

// peerSettled reports whether it is known, as far as it can be, which extension the peer speaks.
func (c *core) peerSettled(now millis) bool {
	ctl := &c.ctl
	if ctl.known() || !c.begun() || ctl.asking.acked && !ctl.hasPeerFinal() {
		return true
	}
	return ctl.asking.tries >= helloAsks && now >= ctl.asking.at
}

// asksHello reports whether the peer is to be asked who it is: all has been delivered to it but the end of the stream.
func (c *core) asksHello() bool {
	ctl := &c.ctl
	return ctl.finWanted() && !ctl.known() && (!ctl.asking.acked || ctl.hasPeerFinal()) && c.sendUna == c.sendEnd && c.begun() &&
		ctl.asking.tries < helloAsks
}

// askHello asks a peer without a HELLO whether it knows the extension (S4.19).
func (c *core) askHello(now millis) {
	ctl := &c.ctl
	if !c.asksHello() || now < ctl.asking.at {
		return
	}
	ctl.hello.at = min(ctl.hello.at, now)
	ctl.asking.left(now+c.shortBackoff(ctl.asking.tries), helloAsks)
	c.askForWindow()
}

// control writes the messages that are due, behind everything else (S4.3).
func (f *flusher) control() bool {
	c, ctl := f.c, &f.c.ctl
	if ctl.incarnation == 0 {
		ctl.due.remove(ctlReset)
		return true
	}
	var m controlSet
	sending := f.w.isOpen() || len(f.w.packets) > 0
	if fin := c.finReady() && f.now >= ctl.fin.at; fin {
		m.has[ctlFin], m.final = true, c.sendEnd
	}
	if ctl.known() { // S4.4
		m.has[ctlFinAck], m.finalAcked = ctl.due.has(ctlFinAck), ctl.peerFinal
		m.has[ctlPing], m.ping = ctl.due.has(ctlPing), ctl.pingNumber
		m.has[ctlPong], m.pong = ctl.due.has(ctlPong), ctl.pong
	}
	m.has[ctlReset], m.resetCode, m.resetFor = ctl.resetDue() && ctl.known(), ctl.resetCode, ctl.peer
	if ctl.challenge.state == peerGone && ctl.stranger != 0 {
		m.resetFor, f.hdr.una = ctl.stranger, 0 // nothing of it was acknowledged
	}
	// A RESET and a question about the session say whose it is.
	named := m.has[ctlReset] && ctl.keyed || m.has[ctlPing] && c.suspicious()
	if named || (sending || !m.empty()) && c.helloDue(f.now, m.has[ctlFin]) {
		c.sayHello(&m)
	}
	if m.empty() {
		ctl.due.remove(ctlReset)
		return true
	}
	var buf [maxControl]byte
	if !f.put(cmdWins, 0, controlVersion, controlMagic, appendControl(buf[:0], &m)) {
		if c.addr.heldBack() && m.has[ctlReset] {
			f.resetReserved(&m)
			// The session ends without a word: it must not wait for leave to say it.
			ctl.sent.add(ctlReset)
			ctl.due.remove(ctlReset)
		}
		return false
	}
	c.controlSent(&m, f.now)
	return true
}

// hello puts a HELLO that is due into the open packet, which has no room for what comes next: it belongs into the first
// datagram of several, so that a peer with another session in its table sees at once that this is a new one.
func (f *flusher) hello() {
	c := f.c
	if c.ctl.incarnation == 0 || f.w.room() < helloSegment || !c.helloDue(f.now, false) {
		return
	}
	var m controlSet
	var buf [helloSegment]byte
	c.sayHello(&m)
	f.put(cmdWins, 0, controlVersion, controlMagic, appendControl(buf[:0], &m))
	c.helloSaid(f.now)
}

// sayHello fills in a HELLO.
func (c *core) sayHello(m *controlSet) {
	s := &c.ctl
	m.has[ctlHello], m.incarnation, m.heard, m.largest = true, s.incarnation, s.peer, largestDatagram
	m.flags = uint32(s.flags)
	if c.life.connecting() {
		m.flags |= helloOpens
	}
	if s.accepted() && c.addr == nil {
		m.flags |= helloProved
	}
}

// helloDue reports whether a HELLO goes along with a datagram that leaves now (S4.8).
func (c *core) helloDue(now millis, withFin bool) bool {
	ctl := &c.ctl
	if !ctl.known() {
		if c.life.connecting() && !ctl.met {
			return true // it opens the session
		}
		return ctl.hello.tries < helloLimit && now >= ctl.hello.at &&
			(ctl.hello.tries < helloBlind || c.life.heardAt > ctl.helloSentAt || ctl.asking.tries > 0)
	}
	// A peer that still asks is answered, however soon: it asks once an RTO of its own. One that has not named this
	// side cannot answer a FIN, so it is told again along with it.
	return ctl.due.has(ctlHello) || !ctl.hello.acked && (withFin || now >= ctl.hello.at)
}

func (c *core) helloSaid(now millis) {
	ctl := &c.ctl
	ctl.hello.left(now+c.rto(), helloLimit)
	ctl.helloSentAt = now
	ctl.due.remove(ctlHello)
}

func (c *core) controlSent(m *controlSet, now millis) {
	ctl := &c.ctl
	if m.has[ctlHello] {
		c.helloSaid(now)
	}
	if m.has[ctlFin] {
		if ctl.fin.tries == 0 && c.sendUna == c.sendNxt {
			c.life.expect(now)
		}
		ctl.fin.left(now+c.shortBackoff(ctl.fin.tries), maxLevel)
	}
	if m.has[ctlReset] {
		ctl.sent.add(ctlReset)
	}
	ctl.due &= 1<<ctlHello | 1<<ctlFin
}
