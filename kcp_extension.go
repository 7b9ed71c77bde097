// SPDX-License-Identifier: MIT

package kcp

// extension is a session's part of the control messages (docs/protocol.md section 4). With an incarnation of zero it is off
// and nothing of it is sent or taken in. Its fields are assigned in kcp_extension.go and kcp_challenge.go.
type extension struct {
	incarnation uint64 // this side's, random
	peer        uint64 // the peer's, 0 until its HELLO comes
	stranger    uint64 // whom a dialled session has found in its peer's place
	challenge   challenge
	pingNumber  uint64 // of the PING that waits for its PONG, 0 for none
	pong        uint64

	hello       announcement // acknowledged by a HELLO that names this side's incarnation
	asking      announcement // of a closing side for who the peer is; acknowledged by a window after the second question
	fin         announcement // acknowledged by FINACK
	helloSentAt millis

	due      messageSet // leave with the next flush; FIN stays until it is acknowledged
	sent     messageSet
	received messageSet

	role      role
	stage     closingStage
	marking   marking
	flags     uint8  // told in HELLO
	peerFlags uint8  // told in the peer's HELLO
	peerMost  uint16 // bytes of the largest datagram that the peer can receive, 0 if its HELLO does not say
	resetCode uint16
	peerFinal seqNum // where the peer's stream ends, if it has said so

	keyed        bool // every packet that comes in was authenticated by a key
	met          bool // the peer has answered: with its window, a HELLO or data
	peerSure     bool // the peer needs no proof of this side's address
	progressed   bool // the peer has acknowledged something since the owner last looked
	clockDoubted bool // a PUSH has borne a clock that does not fit the peer's
}

// announcement is what is repeated until it has been acknowledged.
type announcement struct {
	at    millis // it is not repeated before
	tries uint8  // how often it has left, up to a bound
	acked bool
}

// left notes that it has left, and is not to be repeated before at.
func (a *announcement) left(at millis, most uint8) { a.at, a.tries = at, min(a.tries+1, most) }

// messageSet is a set of control messages.
type messageSet uint8

func (m messageSet) has(kind int) bool { return m&(1<<kind) != 0 }
func (m *messageSet) add(kind int)     { *m |= 1 << kind }
func (m *messageSet) remove(kind int)  { *m &^= 1 << kind }

// role is how a session has come about.
type role uint8

const (
	roleNone     role = iota
	roleDialled       // the peer is a listener, which this side has found
	roleAccepted      // this side is a listener, to which addresses are proved
)

// closingStage is how far a session is that may have been closed.
type closingStage uint8

const (
	stageOpen    closingStage = iota
	stageUnheard              // Close was called before anything had come, and nothing has since
	stageClosing              // Close was called: all that is left to do is to deliver
	stageUnread               // and data has come since, which nobody will read
)

// helloLimit bounds what a peer that does not know the extension sees of it.
const helloLimit = 5

// helloBlind is how many of them go out without a word from the peer in between: an outage shall not take them all.
const helloBlind = 2

func (s *extension) init() { s.fin.at = never }

// begin switches the extension on. keyed says that a key authenticates packets, marks that nonces show who has sent them.
func (s *extension) begin(incarnation uint64, keyed, marks bool) {
	s.incarnation, s.keyed = incarnation, keyed
	if marks {
		s.flags |= helloMarks
	}
}

// shareAddress makes HELLO say that several sessions share this address on purpose.
func (s *extension) shareAddress() { s.flags |= helloShared }

// dial and accept say how the session has come about.
func (s *extension) dial()   { s.role = roleDialled }
func (s *extension) accept() { s.role = roleAccepted }

func (s *extension) dialled() bool  { return s.role == roleDialled }
func (s *extension) accepted() bool { return s.role == roleAccepted }

// known reports whether the peer speaks the extension.
func (s *extension) known() bool { return s.peer != 0 }

// addressShared reports whether either side says that several sessions share its address.
func (s *extension) addressShared() bool { return (s.flags|s.peerFlags)&helloShared != 0 }

// bothMark reports whether the nonces of both sides show who has sent a packet.
func (s *extension) bothMark() bool { return s.flags&s.peerFlags&helloMarks != 0 }

// closing reports whether Close was called, unheard whether nothing has come from the peer besides.
func (s *extension) closing() bool { return s.stage != stageOpen }
func (s *extension) unheard() bool { return s.stage == stageUnheard }

// close notes that all that is left to do is to deliver.
func (s *extension) close(unheard bool) {
	s.stage = stageClosing
	if unheard {
		s.stage = stageUnheard
	}
}

// heard notes that a datagram has come.
func (s *extension) heard() {
	if s.stage == stageUnheard {
		s.stage, s.progressed = stageClosing, true
	}
}

// noteUnread notes that data has come since Close was called.
func (s *extension) noteUnread() {
	s.heard()
	s.stage = stageUnread
}

// unread reports whether data has come since Close was called.
func (s *extension) unread() bool { return s.stage == stageUnread }

// takeProgress reports whether the peer has acknowledged something since it was last called.
func (s *extension) takeProgress() (progressed bool) {
	progressed, s.progressed = s.progressed, false
	return progressed
}

// noteProgress notes that the peer has acknowledged something.
func (s *extension) noteProgress() { s.progressed = true }

// finWanted reports whether the write side is closed, at sendEnd.
func (s *extension) finWanted() bool { return s.due.has(ctlFin) || s.fin.acked }

// finUnanswered reports whether the end of the stream has been sent and not acknowledged.
func (s *extension) finUnanswered() bool { return s.fin.tries > 0 && !s.fin.acked }

// hasPeerFinal reports whether the peer has told the end of its stream.
func (s *extension) hasPeerFinal() bool { return s.received.has(ctlFin) }

// wasReset reports whether a valid RESET has come in.
func (s *extension) wasReset() bool { return s.received.has(ctlReset) }

func (s *extension) resetDue() bool  { return s.due.has(ctlReset) }
func (s *extension) resetSent() bool { return s.sent.has(ctlReset) }

// sendReset makes a RESET due.
func (s *extension) sendReset(code uint16) {
	s.due.add(ctlReset)
	s.resetCode = code
}

// wantHello makes a HELLO go along with the next datagram.
func (s *extension) wantHello() { s.due.add(ctlHello) }

// meet notes that the peer has answered.
func (s *extension) meet() { s.met = true }

// settleProof notes whether the peer needs no proof of this side's address.
func (s *extension) settleProof(sure bool) { s.peerSure = sure }

// asked notes a WASK, which may come in order to learn who this side is. confirm says that the peer's address is proved.
func (s *extension) asked(now millis, confirm bool) {
	s.hello.at = min(s.hello.at, now)
	if confirm {
		s.wantHello()
	}
}

// windowHeard notes a WINS. The first answer may come without a HELLO because one was sent shortly before.
func (s *extension) windowHeard() { s.asking.acked = s.asking.acked || s.asking.tries > 1 }

// urgent reports whether a message wants to leave now. HELLO and FIN never do.
func (s *extension) urgent() bool {
	return s.resetDue() || s.known() && s.due&(1<<ctlFinAck|1<<ctlPing|1<<ctlPong) != 0
}

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

// finReady reports whether the FIN may be sent: all before it has left, and the peer knows what it means.
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

// askHello asks who the peer is.
func (c *core) askHello(now millis) {
	ctl := &c.ctl
	if !c.asksHello() || now < ctl.asking.at {
		return
	}
	ctl.hello.at = min(ctl.hello.at, now)
	ctl.asking.left(now+c.shortBackoff(ctl.asking.tries), helloAsks)
	c.askForWindow()
}

// refuse reports whether a PUSH is for a session that nobody reads any more. A peer that knows the extension is told by
// a RESET, but not before it has all that was written here. Until then its data is taken and thrown away: a peer that
// reads nothing before it has written would wait for this side, and this side for it.
func (c *core) refuse(s *segment) bool {
	if !c.ctl.closing() || !c.ctl.known() || s.sn.before(c.rcvNxt) {
		return false
	}
	c.ctl.noteUnread()
	return c.writeDone()
}

// peerDone reports whether the peer has closed its write side and all before that has arrived.
func (c *core) peerDone() bool { return c.ctl.hasPeerFinal() && c.rcvNxt == c.ctl.peerFinal }

// endOfStream reports whether the peer has closed its write side and all before that has been read.
func (c *core) endOfStream() bool {
	return c.ctl.hasPeerFinal() && c.readNxt == c.ctl.peerFinal
}

// cutShort reports whether the stream ends within a message, whose other fragments the peer will never send.
func (c *core) cutShort() bool {
	return c.peerDone() && c.readable() > 0 && c.peekSegments() == 0
}

// inputControl takes in the messages of a control segment. It reports whether they can be of the peer's session: what
// stands beside another's HELLO is not, nor is a RESET, which no session that goes on sends.
func (c *core) inputControl(ctx *inputContext, s *segment) (fromPeer bool) {
	ctl, now := &c.ctl, ctx.now.ms()
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
	if m.has[ctlReset] {
		c.inputReset(s, &m, now)
		return false
	}
	if m.has[ctlFin] {
		c.inputFin(m.final, ctx.cache)
	}
	if m.has[ctlFinAck] && ctl.fin.tries > 0 && m.finalAcked == c.sendEnd {
		ctl.fin.acked = true
		ctl.due.remove(ctlFin)
		c.life.expect(now)
	}
	if m.has[ctlPing] {
		ctl.due.add(ctlPong)
		ctl.pong = m.ping
	}
	if m.has[ctlPong] && ctl.pingNumber != 0 && m.pong == ctl.pingNumber {
		ctl.pingNumber = 0
		c.thin.answered(now, c.newestAt, c.newestTS)
		if ctl.clockDoubted {
			ctl.clockDoubted = false
			c.forgetClock()
		}
		c.proved()
		c.trust(now)
	}
	return true
}

// inputHello reports whether the HELLO is the peer's.
func (c *core) inputHello(m *controlSet, now millis) bool {
	ctl := &c.ctl
	switch {
	case m.incarnation == 0,
		m.incarnation == ctl.incarnation,                                            // this side's own, sent back
		ctl.dialled() && !ctl.known() && m.heard != 0 && m.heard != ctl.incarnation: // a session before this one is meant
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
	ctl.met = true
	if first {
		ctl.peer, ctl.peerMost, ctl.peerFlags = m.incarnation, m.largest, uint8(m.flags)
		ctl.wantHello()
	}
	c.heardOfProof(m.flags&helloProved != 0, first, now)
	if m.heard == ctl.incarnation {
		ctl.hello.acked = true
		c.proved()
	} else {
		ctl.wantHello() // the peer has repeated its HELLO without naming this side
	}
	return true
}

// inputReset applies docs/protocol.md's rules. A RESET answers something that was sent: it has an una within what is in
// flight, or the number of a PING or a FIN. What has the right incarnation ends the session. With a key that is so only
// beside the peer's HELLO, if the peer is one that adds it: another listener with the key, to which an observer has
// passed the session's packets, knows the incarnation too.
func (c *core) inputReset(s *segment, m *controlSet, now millis) {
	ctl := &c.ctl
	answers := !s.una.before(c.sendUna) && !c.sendNxt.before(s.una) || m.echo != 0 &&
		(m.echo == ctl.pingNumber || ctl.fin.tries > 0 && m.echo == uint64(c.sendEnd))
	switch {
	case answers && m.resetFor == ctl.incarnation && (!ctl.keyed || ctl.peerMost == 0 || m.has[ctlHello]):
		ctl.received.add(ctlReset)
	case answers && m.resetFor == ctl.incarnation,
		// Without an echo the first version of RESET answers PING and FIN by an una of this side's.
		(answers || s.una == c.rcvNxt) && m.resetFor == 0 && ctl.keyed:
		c.suspect(0, now)
	default:
		c.stats.badFields++
	}
}

// inputFin notes the end of the peer's stream. One that lies below what has been received, beyond what could have
// been sent, or that moves is no end. From a peer whose packets a key vouches for that is a protocol error, which
// resets the session; from anybody else it may be forged and is counted only.
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
	ctl.peerFinal = final
	ctl.received.add(ctlFin)
	ctl.due.add(ctlFinAck)
}

// control writes the messages that are due, behind everything else.
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
	if ctl.known() {
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

// helloDue reports whether a HELLO goes along with a datagram that leaves now.
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

// marking is how a session tells what it has sent itself from what its peer has sent.
type marking uint8

const (
	// markNone: the peer has not said that it marks its nonces. Those of what is sent are remembered.
	markNone marking = iota
	// markRole: one side has dialled and the other accepted, which their marks show.
	markRole
	// markUpper: both sides have dialled, and this one's incarnation is the greater. It sends with the mark of an accepted
	// session from now on. What bears no mark may be its own of before, whose nonces it has kept, or the peer's.
	markUpper
	// markLower: both have dialled, and the peer's incarnation is the greater. Nonces are remembered until it has shown
	// that it knows.
	markLower
	// markLowerKnown: it has. From now on all of the peer's packets bear the mark.
	markLowerKnown
)

// remembers reports whether the nonces of what is sent are to be kept.
func (m marking) remembers() bool { return m == markNone || m == markLower }

// chooseMarks finds how a session and its peer, which has just said that it marks its nonces, are told apart. marked says
// what the packet bears that the peer said it in. Two accepted sessions are not told apart by their marks.
func (s *extension) chooseMarks(marked bool) {
	switch {
	case marked == s.dialled():
		s.marking = markRole
	case !s.dialled():
	case s.incarnation > s.peer:
		s.marking = markUpper
	default:
		s.marking = markLower
	}
}

// peerIsMarked notes that the peer, whose packets are to be marked, has begun to mark them.
func (s *extension) peerIsMarked() { s.marking = markLowerKnown }

// strangerIn reports whether the HELLO in a packet is neither this side's nor its peer's.
func (s *extension) strangerIn(p *packet) bool {
	if p.kind != packetPlain && p.kind != packetData {
		return false
	}
	m := findControl(p.segments)
	return m.has[ctlHello] && m.incarnation != s.incarnation && m.incarnation != s.peer
}
