// SPDX-License-Identifier: MIT

package kcp

// controlState is a session's part of the control messages (docs/protocol.md section 4). With an incarnation of zero the
// extension is off and nothing of it is sent or heeded.
type controlState struct {
	incarnation uint64 // this side's, random
	peer        uint64 // the peer's, 0 until its HELLO comes
	stranger    uint64 // whom a dialled session has found in its peer's place
	challenge   challenge
	pingNumber  uint64 // of the PING that waits for its PONG, 0 for none
	pong        uint64
	helloAt     millis // HELLO is not repeated before
	helloSentAt millis
	finAt       millis // the FIN is due
	askHelloAt  millis

	dialled    bool // the peer is a listener, which this side has found
	shared     bool // told in HELLO: several sessions share this address on purpose
	peerShared bool
	marks      bool // told in HELLO: nonces tell which side has sent a packet
	peerMarks  bool
	marking    marking
	keyed      bool // every packet that comes in was authenticated by a key

	helloSent   uint8
	helloHeard  bool   // a HELLO with the peer's incarnation in it has been sent
	confirmed   bool   // the peer has named this side's incarnation: it receives at its address
	peerAsks    bool   // the peer has repeated its HELLO without naming this side
	helloWanted bool   // there is something to say with it
	accepted    bool   // this side is a listener, to which addresses are proved
	met         bool   // the peer has answered: with its window, a HELLO or data
	peerSure    bool   // the peer needs no proof of this side's address
	peerLargest uint16 // bytes of the largest datagram that the peer can receive, 0 if its HELLO does not say

	peerFinal    seqNum
	hasPeerFinal bool
	finWanted    bool // the write side is closed, at sendEnd
	finAcked     bool
	finSent      uint8
	finAckDue    bool

	closing    bool  // Close was called: all that is left to do is to deliver
	unheard    bool  // nothing had come when it was called, nor has since
	progressed bool  // the peer has acknowledged something since the owner last looked
	unread     bool  // data has come since
	askedHello uint8 // how often a closing side has asked who the peer is
	answered   bool  // the window has been told since the second question

	pingDue, pongDue bool
	clockDoubted     bool // a PUSH has borne a clock that does not fit the peer's

	resetDue  bool
	resetSent bool
	wasReset  bool // a valid RESET came in
	resetCode uint16
}

// helloLimit bounds what a peer that does not know the extension sees of it.
const helloLimit = 5

// helloBlind is how many of them go out without a word from the peer in between: an outage shall not take them all.
const helloBlind = 2

func (s *controlState) init() { s.finAt = never }

// known reports whether the peer speaks the extension.
func (s *controlState) known() bool { return s.peer != 0 }

// urgent reports whether a message wants to leave now. HELLO never does.
func (s *controlState) urgent() bool {
	return s.resetDue || s.known() && (s.finAckDue || s.pingDue || s.pongDue)
}

// controlEvent returns when a FIN is to be sent next.
func (c *core) controlEvent() millis {
	if c.finReady() {
		return c.ctl.finAt
	}
	if c.asksHello() {
		return c.ctl.askHelloAt
	}
	return never
}

// finReady reports whether the FIN may be sent: all before it has left, and the peer knows what it means.
func (c *core) finReady() bool {
	return c.ctl.finWanted && !c.ctl.finAcked && c.ctl.known() && c.sendNxt == c.sendEnd
}

// closeWrite ends the stream behind what has been queued.
func (c *core) closeWrite(now millis) {
	if c.ctl.finWanted {
		return
	}
	c.ctl.finWanted = true
	c.ctl.finAt = now
	c.endDelay() // there is nothing to wait for
}

// writeDone reports whether all that was written has been acknowledged, the end of the stream included where the
// peer knows of it.
func (c *core) writeDone() bool {
	return c.sendUna == c.sendEnd && (!c.ctl.finWanted || c.ctl.finAcked || !c.ctl.known())
}

// A peer whose HELLO was lost would never learn of the end of the stream. So a side that has closed its stream and has
// not seen one asks for the window: the answer of a peer that knows the extension carries its HELLO, an answer without
// settles that it does not know it. helloAsks bounds the questions: with their back-off they take the linger time.
const helloAsks = 12

// peerSettled reports whether it is known, as far as it can be, which extension the peer speaks.
func (c *core) peerSettled(now millis) bool {
	ctl := &c.ctl
	if ctl.known() || !c.begun() || ctl.answered && !ctl.hasPeerFinal {
		return true
	}
	return ctl.askedHello >= helloAsks && now >= ctl.askHelloAt
}

// asksHello reports whether the peer is to be asked who it is: all has been delivered to it but the end of the stream.
func (c *core) asksHello() bool {
	ctl := &c.ctl
	return ctl.finWanted && !ctl.known() && (!ctl.answered || ctl.hasPeerFinal) && c.sendUna == c.sendEnd && c.begun() && ctl.askedHello < helloAsks
}

// askHello asks who the peer is.
func (c *core) askHello(now millis) {
	ctl := &c.ctl
	if !c.asksHello() || now < ctl.askHelloAt {
		return
	}
	ctl.helloAt = min(ctl.helloAt, now)
	ctl.askHelloAt = now + c.shortBackoff(ctl.askedHello)
	ctl.askedHello++
	c.askForWindow()
}

// refuse reports whether a PUSH is for a session that nobody reads any more. A peer that knows the extension is told by
// a RESET, but not before it has all that was written here. Until then its data is taken and thrown away: a peer that
// reads nothing before it has written would wait for this side, and this side for it.
func (c *core) refuse(s *segment) bool {
	if !c.ctl.closing || !c.ctl.known() || s.sn.before(c.rcvNxt) {
		return false
	}
	c.ctl.unread = true
	return c.writeDone()
}

// peerDone reports whether the peer has closed its write side and all before that has arrived.
func (c *core) peerDone() bool { return c.ctl.hasPeerFinal && c.rcvNxt == c.ctl.peerFinal }

// endOfStream reports whether the peer has closed its write side and all before that has been read.
func (c *core) endOfStream() bool {
	return c.ctl.hasPeerFinal && c.readNxt == c.ctl.peerFinal
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
	if m.has[ctlFinAck] && ctl.finSent > 0 && m.finalAcked == c.sendEnd {
		ctl.finAcked = true
		c.life.expect(now)
	}
	if m.has[ctlPing] {
		ctl.pongDue, ctl.pong = true, m.ping
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
		m.incarnation == ctl.incarnation,                                          // this side's own, sent back
		ctl.dialled && !ctl.known() && m.heard != 0 && m.heard != ctl.incarnation: // a session before this one is meant
		c.stats.badFields++
		return false
	case ctl.known() && m.incarnation != ctl.peer:
		c.stats.badFields++
		if ctl.dialled {
			c.suspect(m.incarnation, now)
		}
		return false
	}
	first := !ctl.known()
	ctl.met = true
	if first {
		ctl.peer, ctl.peerLargest = m.incarnation, m.largest
		ctl.peerShared = m.flags&helloShared != 0
		ctl.peerMarks = m.flags&helloMarks != 0 && ctl.marks
		ctl.peerAsks = true
	}
	c.heardOfProof(m.flags&helloProved != 0, first, now)
	if m.heard == ctl.incarnation {
		ctl.confirmed = true
		c.proved()
	} else {
		ctl.peerAsks = true
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
		(m.echo == ctl.pingNumber || ctl.finSent > 0 && m.echo == uint64(c.sendEnd))
	switch {
	case answers && m.resetFor == ctl.incarnation && (!ctl.keyed || ctl.peerLargest == 0 || m.has[ctlHello]):
		ctl.wasReset = true
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
	moved := ctl.hasPeerFinal && final != ctl.peerFinal
	if moved || final.before(c.rcvNxt) || (c.rcvNxt + 2*wndMax).before(final) {
		c.stats.badFields++
		if ctl.keyed && ctl.known() {
			ctl.resetDue, ctl.resetCode = true, resetProtocol
		}
		return
	}
	if !ctl.hasPeerFinal {
		c.discardFrom(final, cache)
	}
	ctl.hasPeerFinal, ctl.peerFinal = true, final
	ctl.finAckDue = true
}

// control writes the messages that are due, behind everything else.
func (f *flusher) control() bool {
	c, ctl := f.c, &f.c.ctl
	if ctl.incarnation == 0 {
		ctl.resetDue = false
		return true
	}
	var m controlSet
	sending := f.w.open || len(f.w.packets) > 0
	if fin := c.finReady() && f.now >= ctl.finAt; fin {
		m.has[ctlFin], m.final = true, c.sendEnd
	}
	if ctl.known() {
		m.has[ctlFinAck], m.finalAcked = ctl.finAckDue, ctl.peerFinal
		m.has[ctlPing], m.ping = ctl.pingDue, ctl.pingNumber
		m.has[ctlPong], m.pong = ctl.pongDue, ctl.pong
	}
	m.has[ctlReset], m.resetCode, m.resetFor = ctl.resetDue && ctl.known(), ctl.resetCode, ctl.peer
	if ctl.challenge.state == peerGone && ctl.stranger != 0 {
		m.resetFor, f.hdr.una = ctl.stranger, 0 // nothing of it was acknowledged
	}
	// A RESET and a question about the session say whose it is.
	named := m.has[ctlReset] && ctl.keyed || m.has[ctlPing] && c.suspicious()
	if named || (sending || !m.empty()) && c.helloDue(f.now, m.has[ctlFin]) {
		c.sayHello(&m)
	}
	if m.empty() {
		ctl.resetDue = false
		return true
	}
	var buf [maxControl]byte
	if !f.put(cmdWins, 0, controlVersion, controlMagic, appendControl(buf[:0], &m)) {
		if c.addr.heldBack() && m.has[ctlReset] {
			f.resetReserved(&m)
			// The session ends without a word: it must not wait for leave to say it.
			ctl.resetSent, ctl.resetDue = true, false
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
	if s.shared {
		m.flags |= helloShared
	}
	if s.marks {
		m.flags |= helloMarks
	}
	if c.life.connecting {
		m.flags |= helloOpens
	}
	if s.accepted && c.addr == nil {
		m.flags |= helloProved
	}
}

// helloDue reports whether a HELLO goes along with a datagram that leaves now.
func (c *core) helloDue(now millis, withFin bool) bool {
	ctl := &c.ctl
	if !ctl.known() {
		if c.life.connecting && !ctl.met {
			return true // it opens the session
		}
		return ctl.helloSent < helloLimit && now >= ctl.helloAt && (ctl.helloSent < helloBlind || c.life.heardAt > ctl.helloSentAt || ctl.askedHello > 0)
	}
	// A peer that still asks is answered, however soon: it asks once an RTO of its own. One that has not named this
	// side cannot answer a FIN, so it is told again along with it.
	return !ctl.helloHeard || ctl.peerAsks || ctl.helloWanted || !ctl.confirmed && (withFin || now >= ctl.helloAt)
}

func (c *core) helloSaid(now millis) {
	ctl := &c.ctl
	ctl.helloSent = min(ctl.helloSent+1, helloLimit)
	ctl.helloAt, ctl.helloSentAt = now+c.rto(), now
	ctl.helloHeard = ctl.known()
	ctl.peerAsks, ctl.helloWanted = false, false
}

func (c *core) controlSent(m *controlSet, now millis) {
	ctl := &c.ctl
	if m.has[ctlHello] {
		c.helloSaid(now)
	}
	if m.has[ctlFin] {
		if ctl.finSent == 0 && c.sendUna == c.sendNxt {
			c.life.expect(now)
		}
		ctl.finAt = now + c.shortBackoff(ctl.finSent)
		ctl.finSent = min(ctl.finSent+1, maxLevel)
	}
	ctl.resetSent = ctl.resetSent || m.has[ctlReset]
	ctl.finAckDue, ctl.pingDue, ctl.pongDue, ctl.resetDue = false, false, false, false
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
func (s *controlState) chooseMarks(marked bool) {
	switch {
	case marked == s.dialled:
		s.marking = markRole
	case !s.dialled:
	case s.incarnation > s.peer:
		s.marking = markUpper
	default:
		s.marking = markLower
	}
}

// strangerIn reports whether the HELLO in a packet is neither this side's nor its peer's.
func (s *controlState) strangerIn(p *packet) bool {
	if p.kind != packetPlain && p.kind != packetData {
		return false
	}
	m := findControl(p.segments)
	return m.has[ctlHello] && m.incarnation != s.incarnation && m.incarnation != s.peer
}
