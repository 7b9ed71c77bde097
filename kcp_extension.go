// SPDX-License-Identifier: MIT

package kcp

// extension is the state of the control messages of a session (docs/protocol.md section 4). With an
// incarnation of zero it is off: no message is sent, and none is processed. Its fields are assigned
// in kcp_extension*.go and kcp_challenge.go.
type extension struct {
	incarnation uint64 // this side's, random and not 0 (S4.5)
	peer        uint64 // the peer's, 0 until its HELLO comes
	replacement uint64 // the incarnation found in the place of a dialled session's peer
	challenge   challenge
	pingNumber  uint64 // of the PING that waits for its PONG, 0 for none
	pong        uint64

	hello       announcement // acknowledged by a HELLO that names this side's incarnation
	asking      announcement // requests for HELLO when closing; acknowledged by the second WINS
	fin         announcement // acknowledged by FINACK
	helloSentAt millis

	due      messageSet // sent with the next flush; FIN stays until it is acknowledged
	sent     messageSet
	received messageSet

	role      role
	stage     closingStage
	marking   marking
	flags     uint8  // announced in HELLO
	peerFlags uint8  // announced in the peer's HELLO
	peerMost  uint16 // largest datagram that the peer can receive, 0 if unknown
	resetCode uint16
	peerFinal seqNum   // the end of the peer's stream, once received has FIN
	reports   *reports // nil unless one of the sides has sent parity that is reported on

	hold         dataHold
	keyed        bool // a key authenticates every packet received
	met          bool // the peer has answered with its window, a HELLO or data
	peerSure     bool // the peer needs no validation of this side's address
	progressed   bool // the peer has acknowledged something since the owner last looked
	clockDoubted bool // the clock of a PUSH did not fit the peer's

	peerMore  uint8  // bits 8 to 15 of the peer's flags
	firstMost uint16 // bytes of segments in the first datagram; 0: what the MTU allows
}

// dataHold is what waits for the keys of the session, where the program requires them.
type dataHold uint8

const (
	holdNothing  dataHold = iota
	holdBoth              // no data is sent, and none is taken
	holdReceived          // this side has keys to send under; no packet under them has come
)

// requireKeys makes data wait for the keys of the session (S3.23).
func (s *extension) requireKeys(required bool) {
	if required {
		s.hold = holdBoth
	}
}

// keysToSend notes that this side sends under keys of the session from now on.
func (s *extension) keysToSend() {
	if s.hold == holdBoth {
		s.hold = holdReceived
	}
}

// keysProven notes that a packet under keys of the session has come.
func (s *extension) keysProven() { s.hold = holdNothing }

// peerDials reports whether the peer has dialled too, as after hole punching.
func (s *extension) peerDials() bool { return s.marking > markRole }

// An announcement is repeated until it is acknowledged.
type announcement struct {
	at    millis // it is not repeated before
	tries uint8  // how often it was sent, up to a bound
	acked bool
}

// left notes that it has been sent, and sets the time before which it is not repeated.
func (a *announcement) left(at millis, most uint8) { a.at, a.tries = at, min(a.tries+1, most) }

// messageSet is a set of control messages.
type messageSet uint8

func (m messageSet) has(kind int) bool { return m&(1<<kind) != 0 }

func (m *messageSet) add(kind int) { *m |= 1 << kind }

func (m *messageSet) remove(kind int) { *m &^= 1 << kind }

// role is how a session was opened.
type role uint8

const (
	roleNone     role = iota
	roleDialled       // the peer is a listener
	roleAccepted      // this side is a listener, which validates addresses
)

// closingStage is the progress of a session that may have been closed.
type closingStage uint8

const (
	stageOpen    closingStage = iota
	stageUnheard              // Close was called, and nothing has ever been received
	stageClosing              // Close was called; the rest is delivered
	stageUnread               // and data has arrived since, which will not be read
)

// helloLimit bounds what a legacy peer sees of the extension (S4.9).
const helloLimit = 5

// helloBlind is how many of them are sent without a segment from the peer in between. An outage
// must not take all of them.
const helloBlind = 2

func (s *extension) init() { s.fin.at = never }

// begin switches the extension on. keyed means that a key authenticates packets, marks that the
// nonces of this side show which side has sent a packet.
func (s *extension) begin(incarnation uint64, keyed, marks bool) {
	s.incarnation, s.keyed = incarnation, keyed
	if marks {
		s.flags |= helloMarks
	}
}

// shareAddress announces in HELLO that several sessions share this address on purpose.
func (s *extension) shareAddress() { s.flags |= helloShared }

// dial and accept set how the session was opened.
func (s *extension) dial() { s.role = roleDialled }

func (s *extension) accept() { s.role = roleAccepted }

func (s *extension) dialled() bool { return s.role == roleDialled }

func (s *extension) accepted() bool { return s.role == roleAccepted }

// known reports whether the peer is known to support the extension.
func (s *extension) known() bool { return s.peer != 0 }

// addressShared reports whether either side announces that several sessions share its address.
func (s *extension) addressShared() bool { return (s.flags|s.peerFlags)&helloShared != 0 }

// repeatsAcks reports whether both sides repeat what they hold, by ACKR (S4.34).
func (s *extension) repeatsAcks() bool { return s.known() && s.peerFlags&helloRanges != 0 }

// readsGroups reports whether the peer reads FEC parity that names its group (S2.19).
func (s *extension) readsGroups() bool { return s.known() && s.peerFlags&helloGroups != 0 }

// readsSkips reports whether the peer can be told to skip messages (S4.39).
func (s *extension) readsSkips() bool { return s.known() && s.peerFlags&helloSkips != 0 }

// makesKeys reports whether the peer makes keys for the session.
func (s *extension) makesKeys() bool { return s.known() && s.peerFlags&helloKeys != 0 }

// announceKeys announces in HELLO that this side makes keys for the session.
func (s *extension) announceKeys() { s.flags |= helloKeys }

// announces returns the flags of HELLO, except those that change.
func (s *extension) announces() uint32 {
	return uint32(s.flags) | helloRanges | helloGroups | helloSkips | helloParts
}

// readsParts reports whether the peer reads segments in parts (S4.65).
func (s *extension) readsParts() bool { return s.known() && s.peerMore&(helloParts>>8) != 0 }

// takes returns the size of the largest datagram that the peer says it can receive. What the first
// version of HELLO does not say is that of a path without jumbo frames.
func (s *extension) takes() int {
	if s.peerMost == 0 {
		return mtuMax
	}
	return int(s.peerMost)
}

// boundFirst sets how many bytes of segments the first datagram has at most.
func (s *extension) boundFirst(bytes int) { s.firstMost = uint16(bytes) }

// expectReports is called when this side has begun to send parity that is reported on.
func (s *extension) expectReports() {
	if s.reports == nil {
		s.reports = new(reports)
	}
}

// manner returns how the peer acknowledges.
func (s *extension) manner() ackManner {
	if s.repeatsAcks() {
		return acksRepeated
	}
	return acksOnce
}

// bothMark reports whether the nonces of both sides show which side has sent a packet.
func (s *extension) bothMark() bool { return s.flags&s.peerFlags&helloMarks != 0 }

// closing reports whether Close was called, unheard whether in addition nothing has been received.
func (s *extension) closing() bool { return s.stage != stageOpen }

func (s *extension) unheard() bool { return s.stage == stageUnheard }

// close notes that Close was called. unheard means that nothing has been received.
func (s *extension) close(unheard bool) {
	s.stage = stageClosing
	if unheard {
		s.stage = stageUnheard
	}
}

// heard notes that a datagram has arrived.
func (s *extension) heard() {
	if s.stage == stageUnheard {
		s.stage, s.progressed = stageClosing, true
	}
}

// noteUnread notes that data has arrived since Close was called.
func (s *extension) noteUnread() {
	s.heard()
	s.stage = stageUnread
}

// unread reports whether data has arrived since Close was called.
func (s *extension) unread() bool { return s.stage == stageUnread }

// takeProgress reports whether the peer has acknowledged something since the last call.
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

// hasPeerFinal reports whether the peer has announced the end of its stream.
func (s *extension) hasPeerFinal() bool { return s.received.has(ctlFin) }

// wasReset reports whether a valid RESET has arrived.
func (s *extension) wasReset() bool { return s.received.has(ctlReset) }

func (s *extension) resetDue() bool { return s.due.has(ctlReset) }

func (s *extension) resetSent() bool { return s.sent.has(ctlReset) }

// sendReset makes a RESET due.
func (s *extension) sendReset(code uint16) {
	s.due.add(ctlReset)
	s.resetCode = code
}

// wantHello adds a HELLO to the next datagram.
func (s *extension) wantHello() { s.due.add(ctlHello) }

// meet notes that the peer has answered.
func (s *extension) meet() { s.met = true }

// settleProof notes whether the peer needs no validation of this side's address.
func (s *extension) settleProof(sure bool) { s.peerSure = sure }

// asked notes a WASK, which may be a request for this side's HELLO. confirm adds a HELLO that says
// that the peer's address is validated.
func (s *extension) asked(now millis, confirm bool) {
	s.hello.at = min(s.hello.at, now)
	if confirm {
		s.wantHello()
	}
}

// windowHeard notes a WINS. The first answer may come without a HELLO because one was sent shortly
// before.
func (s *extension) windowHeard() { s.asking.acked = s.asking.acked || s.asking.tries > 1 }

// learn notes the peer's first HELLO, which this side answers with its own.
func (s *extension) learn(m *controlSet) {
	s.peer, s.peerMost, s.peerFlags = m.incarnation, m.largest, uint8(m.flags)
	s.peerMore = uint8(m.flags >> 8)
	s.wantHello()
}

// helloLeft notes that a HELLO has been sent, and sets the time before which it is not repeated.
func (s *extension) helloLeft(now, again millis) {
	s.hello.left(again, helloLimit)
	s.helloSentAt = now
	s.due.remove(ctlHello)
}

// left notes that the messages that were due have been sent. HELLO and FIN have their own rules.
func (s *extension) left(reset bool) {
	if reset {
		s.sent.add(ctlReset)
	}
	s.due &= 1<<ctlHello | 1<<ctlFin
}

// finAcked notes that the peer has acknowledged the end of the stream.
func (s *extension) finAcked() {
	s.fin.acked = true
	s.due.remove(ctlFin)
}

// peerEnds notes the end of the peer's stream and makes its acknowledgement due.
func (s *extension) peerEnds(final seqNum) {
	s.peerFinal = final
	s.received.add(ctlFin)
	s.due.add(ctlFinAck)
}

// pinged notes a PING, which is to be answered.
func (s *extension) pinged(number uint64) {
	s.pong = number
	s.due.add(ctlPong)
}

// ponged notes the answer to a PING and reports whether the peer's clock was doubted. The doubt
// ends.
func (s *extension) ponged() (doubted bool) {
	doubted = s.clockDoubted
	s.pingNumber, s.clockDoubted = 0, false
	return doubted
}

// urgent reports whether a message is due at once. HELLO and FIN never are.
func (s *extension) urgent() bool {
	return s.resetDue() || s.known() && s.due&(1<<ctlFinAck|1<<ctlPing|1<<ctlPong) != 0
}

// marking is how a session tells its own packets from those of its peer.
type marking uint8

const (
	// markNone: the peer does not mark its nonces. The nonces of what is sent are remembered.
	markNone marking = iota
	// markRole: one side has dialled and the other has accepted, and their marks differ.
	markRole
	// markUpper: both sides have dialled, and the incarnation of this side is the greater. It sends
	// with the mark of an accepted session from now on. A packet without the mark may be an earlier
	// one of its own, whose nonces are remembered, or the peer's.
	markUpper
	// markLower: both sides have dialled, and the incarnation of the peer is the greater. Nonces
	// are remembered until the peer marks its packets.
	markLower
	// markLowerKnown: the peer marks its packets. From now on all of them have the mark.
	markLowerKnown
)

// remembers reports whether the nonces of what is sent are kept.
func (m marking) remembers() bool { return m == markNone || m == markLower }

// chooseMarks chooses how a session distinguishes its own packets from those of a peer that has
// just announced marked nonces. marked is the bit of the packet with that HELLO. If both sides have
// dialled, the one with the greater incarnation sends 1 from then on (S3.11). The bit does not
// distinguish two accepted sessions.
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

// hasForeignHello reports whether a packet has a HELLO that is neither this side's nor the peer's.
func (s *extension) hasForeignHello(p *packet) bool {
	if p.kind != packetPlain && p.kind != packetData {
		return false
	}
	m := findControl(p.segments)
	return m.has[ctlHello] && m.incarnation != s.incarnation && m.incarnation != s.peer
}

// challenge decides a suspicion that the peer's session is gone. A RESET without an incarnation and
// a HELLO of another incarnation are authentic at best. An observer can provoke them with a copy of
// a packet, and forward them. It sends the copy from another address, or to another listener with
// the same key. So before the session ends, the peer has to answer a PING with a fresh number; RFC
// 5961 section 3 calls that a challenge ACK. A peer that does not know PING receives a WASK
// instead.
type challenge struct {
	at    millis // of the next question or decision; else of the next suspicion
	state challengeState
	asked uint8 // questions so far
}

type challengeState uint8

const (
	peerTrusted   challengeState = iota
	peerSuspected                // a message indicates that the session is gone at the peer
	peerDenied                   // and another one since the peer was asked
	peerGone                     // the peer has not answered, and the session ends
)
