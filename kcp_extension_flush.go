// SPDX-License-Identifier: MIT

package kcp

// controlEvent returns when a FIN or a request for HELLO is sent next.
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

// closeWrite ends the stream after what has been queued.
func (c *core) closeWrite(now millis) {
	if c.ctl.finWanted() {
		return
	}
	c.ctl.due.add(ctlFin)
	c.ctl.fin.at = now
	c.endDelay() // there is nothing to wait for
}

// writeDone reports whether everything written has been acknowledged, including the end of the
// stream if the peer supports that.
func (c *core) writeDone() bool {
	return c.sendUna == c.sendEnd && (!c.ctl.due.has(ctlFin) || !c.ctl.known())
}

// helloAsks bounds the requests for HELLO. A peer whose HELLO was lost is never sent the end of the
// stream. So a side that has closed its stream and has seen no HELLO sends a WASK. The answer of a
// peer with the extension carries its HELLO; an answer without one shows that the peer has no
// extension. With their back-off the requests take the linger time.
const helloAsks = 12

// peerSettled reports whether it is known, as far as possible, which extension the peer supports.
func (c *core) peerSettled(now millis) bool {
	ctl := &c.ctl
	if ctl.known() || !c.begun() || ctl.asking.acked && !ctl.hasPeerFinal() {
		return true
	}
	return ctl.asking.tries >= helloAsks && now >= ctl.asking.at
}

// asksHello reports whether the peer's HELLO is to be requested: everything but the end of the
// stream has been delivered.
func (c *core) asksHello() bool {
	ctl := &c.ctl
	return ctl.finWanted() && !ctl.known() && (!ctl.asking.acked || ctl.hasPeerFinal()) &&
		c.sendUna == c.sendEnd && c.begun() && ctl.asking.tries < helloAsks
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
	f.report()
	sending := f.w.isOpen() || len(f.w.packets) > 0 || f.w.rider.state == riderDue
	if fin := c.finReady() && f.now >= ctl.fin.at; fin {
		m.has[ctlFin], m.final = true, c.sendEnd
	}
	if ctl.known() { // S4.4
		m.has[ctlFinAck], m.finalAcked = ctl.due.has(ctlFinAck), ctl.peerFinal
		m.has[ctlPing], m.ping = ctl.due.has(ctlPing), ctl.pingNumber
		m.has[ctlPong], m.pong = ctl.due.has(ctlPong), ctl.pong
	}
	m.has[ctlReset] = ctl.resetDue() && ctl.known()
	m.resetCode, m.resetFor = ctl.resetCode, ctl.peer
	switch {
	case ctl.challenge.state == peerGone && ctl.replacement != 0:
		m.resetFor, f.hdr.una = ctl.replacement, 0 // nothing of it was acknowledged
	case m.has[ctlReset]:
		f.hdr.una = c.acknowledgedTo()
	}
	// A RESET and a question about the session name the session that they are for.
	named := m.has[ctlReset] && ctl.keyed || m.has[ctlPing] && c.suspicious()
	if named || (sending || !m.empty()) && c.helloDue(f.now, m.has[ctlFin]) {
		c.fillHello(&m)
	}
	if m.empty() {
		ctl.due.remove(ctlReset)
		return f.ride(false)
	}
	var buf [maxControl]byte
	if !f.put(cmdWins, 0, controlVersion, controlMagic, appendControl(buf[:0], &m)) {
		if c.addr.heldBack() && m.has[ctlReset] {
			f.resetReserved(&m)
			// The session ends without a RESET rather than wait for allowance.
			ctl.sent.add(ctlReset)
			ctl.due.remove(ctlReset)
		}
		return false
	}
	c.controlSent(&m, f.now)
	return f.ride(m.has[ctlHello])
}

// ride adds the message of a key exchange, if it is due, behind everything else. hello reports
// whether a HELLO is in front.
func (f *flusher) ride(hello bool) bool {
	r := &f.w.rider
	switch {
	case r.state == riderWithHello && hello, r.state == riderDue,
		r.state == riderAlong && (f.w.isOpen() || len(f.w.packets) > 0):
	default:
		return true
	}
	var buf [2 + kexMost]byte
	if !f.put(cmdWins, 0, controlVersion, controlMagic, r.append(buf[:0])) {
		return f.c.addr.heldBack() // it waits for the validation
	}
	r.state = riderLeft
	return true
}

// reportParity makes a report on the peer's parity due. The peer reads it.
func (c *core) reportParity(r *parityReport, now millis) {
	c.ctl.expectReports()
	c.ctl.reports.send(r, now)
}

// report adds the report on parity that is due to a datagram that leaves anyway.
func (f *flusher) report() {
	r := f.c.ctl.reports
	if !r.has(reportDue) || f.w.room() < segmentHeaderSize+2+reportLen {
		return
	}
	var buf [2 + reportLen]byte
	if f.put(cmdWins, 0, controlVersion, controlMagic, r.due.append(buf[:0])) {
		r.sent()
	}
}

// hello adds a HELLO that is due to the open packet, which has no room for the next segment. It
// belongs into the first datagram of several, so that a peer with another session in its table
// recognises the new one at once.
func (f *flusher) hello() {
	c := f.c
	if c.ctl.incarnation == 0 || f.w.room() < helloSegment || !c.helloDue(f.now, false) {
		return
	}
	var m controlSet
	var buf [helloSegment]byte
	c.fillHello(&m)
	f.put(cmdWins, 0, controlVersion, controlMagic, appendControl(buf[:0], &m))
	c.helloLeft(f.now)
	if f.w.rider.state == riderWithHello {
		f.w.rider.state = riderDue // behind the rest
	}
}

// probePath sends a probe of the path's MTU that is due, in a datagram of its own. It waits for the
// pace like data, but is no part of what the controller looks at.
func (f *flusher) probePath() bool {
	c, p := f.c, f.c.path
	if p == nil || !c.mayProbe() || f.now < p.event() || !c.mayLeave(f.at) {
		return true
	}
	size := p.due(f.now)
	if size == 0 {
		return true
	}
	f.w.finish()
	b := f.w.next(max(size-int(p.overhead), probeLeast))
	if b == nil {
		return false
	}
	number := c.draw() | 1
	putProbe(b, &f.hdr, number)
	f.w.probes()
	f.said(len(b) - segmentHeaderSize)
	p.sent(number, f.now, c.pathTiming())
	if c.flow != nil {
		c.flow.charge(f.at, int64(size))
	}
	return true
}

// fillHello fills in a HELLO.
func (c *core) fillHello(m *controlSet) {
	s := &c.ctl
	m.has[ctlHello] = true
	m.incarnation, m.heard, m.largest = s.incarnation, s.peer, largestDatagram
	m.flags = s.announces()
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
		if c.life.connecting() && !ctl.met || c.opensShared(now) {
			return true // it opens the session
		}
		return ctl.hello.tries < helloLimit && now >= ctl.hello.at &&
			(ctl.hello.tries < helloBlind || c.life.heardAt > ctl.helloSentAt ||
				ctl.asking.tries > 0)
	}
	// A peer that still asks is answered at once; it asks once an RTO of its own. A peer that has
	// not named this side cannot answer a FIN, so HELLO goes along with it.
	return ctl.due.has(ctlHello) || !ctl.hello.acked && (withFin || now >= ctl.hello.at)
}

// opensShared reports whether a flush at now has sent the first segment of a session that shares
// its address, and no HELLO yet. Any of its transmissions may open the session at the listener,
// such as the one after a challenge. Without the HELLO it would end the others of the address
// (S4.8).
func (c *core) opensShared(now millis) bool {
	return c.ctl.flags&helloShared != 0 && c.ctl.helloSentAt != now &&
		c.sendUna == 0 && c.sendNxt != 0 && c.ring.at(0).sentAt == now
}

// opening reports whether the first data of a session has been sent and nothing is known of the
// peer's session, which may not be open yet.
func (c *core) opening() bool {
	return !c.ctl.known() && c.ring != nil && c.sendNxt != 0 && c.sendUna == 0 && c.delivered == 0
}

func (c *core) helloLeft(now millis) {
	ctl := &c.ctl
	ctl.helloLeft(now, now+c.rto())
}

func (c *core) controlSent(m *controlSet, now millis) {
	ctl := &c.ctl
	if m.has[ctlHello] {
		c.helloLeft(now)
	}
	if m.has[ctlFin] {
		if ctl.fin.tries == 0 && c.sendUna == c.sendNxt {
			c.life.expect(now)
		}
		ctl.fin.left(now+c.shortBackoff(ctl.fin.tries), maxLevel)
	}
	ctl.left(m.has[ctlReset])
}

// skipPause is the least time between two SKIPs. Messages whose deadlines pass one by one share
// them then.
const skipPause millis = 10

// skipsAt returns when a SKIP leaves, never if none is due.
func (c *core) skipsAt() millis {
	if c.ring == nil || c.ring.skipping() == 0 {
		return never
	}
	return c.ring.timed.skipAt
}

// skips tells the peer which messages it is to skip. A SKIP takes the place of another transmission
// of their segments: it is repeated and acknowledged like one. It also goes along with a datagram
// that leaves with new data and has room for it, until it has been acknowledged.
func (f *flusher) skips(sentNew bool) bool {
	c := f.c
	rides := sentNew && c.mayRepeatSkips(f.now) && f.w.isOpen()
	if f.now < c.skipsAt() && !rides || c.addr.heldBack() {
		return true
	}
	var due skipRuns
	if !c.dueSkips(&due, true) {
		due = skipRuns{}
		c.dueSkips(&due, false)
	}
	if due.n == 0 || f.now < c.skipsAt() && f.w.room() < segmentHeaderSize+skipLargest {
		return true
	}
	c.repeatSkips(&due, f.at)
	sn, _ := c.newestSkipped(&due)
	var buf [skipLargest]byte
	ts := c.ts(f.now)
	if !f.put(cmdWins, 0, controlVersion, controlMagic, appendSkip(buf[:0], ts, sn, &due)) {
		return false
	}
	c.skipsSent(&due, ts, f.at)
	return true
}
