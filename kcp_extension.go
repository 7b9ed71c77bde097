// SPDX-License-Identifier: MIT

package kcp

// extension is a session's part of the control messages (docs/protocol.md section 4). With an incarnation of zero it is off
// and nothing of it is sent or taken in. Its fields are assigned in kcp_extension.go and kcp_challenge.go.
type extension struct {
	incarnation uint64 // this side's, random and not 0 (S4.5)
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

func (m *messageSet) add(kind int) { *m |= 1 << kind }

func (m *messageSet) remove(kind int) { *m &^= 1 << kind }

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

// helloLimit bounds what a legacy peer sees of the extension (S4.9).
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
func (s *extension) dial() { s.role = roleDialled }

func (s *extension) accept() { s.role = roleAccepted }

func (s *extension) dialled() bool { return s.role == roleDialled }

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

func (s *extension) resetDue() bool { return s.due.has(ctlReset) }

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

// strangerIn reports whether the HELLO in a packet is neither this side's nor its peer's.
func (s *extension) strangerIn(p *packet) bool {
	if p.kind != packetPlain && p.kind != packetData {
		return false
	}
	m := findControl(p.segments)
	return m.has[ctlHello] && m.incarnation != s.incarnation && m.incarnation != s.peer
}

// challenge settles the suspicion that the peer's session is gone. A RESET without an incarnation and a HELLO of another
// one are authentic at best: an observer can have them made by sending a copy of a packet from another address, or to
// another listener with the same key, and pass them on. So the peer is asked by a PING with a fresh number before the
// session ends (RFC 5961 section 3 calls that a challenge ACK). A peer that does not know PING is asked for its window.
type challenge struct {
	at    millis // of the next question or the verdict; without a suspicion the earliest time for one
	state challengeState
	asked uint8 // questions so far
}

type challengeState uint8

const (
	peerTrusted   challengeState = iota
	peerSuspected                // something says that the session is gone at the peer
	peerDenied                   // and something has said so again since the peer was asked
	peerGone                     // the peer did not answer: the session ends
)
