// SPDX-License-Identifier: MIT

package kcp

// The door decides about datagrams for which there is no session (docs/protocol.md, "Who opens a
// session"). decide is a pure function of the datagram and of the state when it arrives. The demux
// calls it once for a datagram, under its lock, and records the decision. The reader carries it
// out.

// unknown is what the door sees of a datagram without a session.
type unknown struct {
	first    segment // the first segment; zero if the datagram does not begin with a valid one
	control  controlSet
	segments []byte
	nonce    nonceState
}

// nonceState is what is known of a datagram's nonce.
type nonceState uint8

const (
	nonceNone nonceState = iota // no key authenticates datagrams
	nonceFresh
	nonceSeen // the datagram may be a repetition
)

// newUnknown returns what the door sees of p.
func newUnknown(p *packet, nonce nonceState) unknown {
	u := unknown{nonce: nonce}
	if p.kind != packetPlain && p.kind != packetData {
		return u
	}
	var first segment
	if _, status := parseSegment(p.segments, &first); status == parseOK {
		u.first, u.control, u.segments = first, findControl(p.segments), p.segments
	}
	return u
}

// opening reports whether the datagram opens a session where that is possible (S1.34, S1.35).
func (u *unknown) opening() bool { return opens(&u.first) || knocks(&u.first, &u.control) }

// doorView is the state when a datagram arrives.
type doorView struct {
	now      millis
	record   *timeWait // of an ended session of that address and id; nil: none
	room     acceptRoom
	address  addressState
	older    int // sessions of the address that do not share it on purpose
	sessions int // all on the sockets
	pending  int // accepted sessions whose address is not validated
	prefix   int // accepted sessions from the sender's network
	limits   admissionLimits
}

// acceptRoom is how much room the accept queue has.
type acceptRoom uint8

const (
	acceptNobody acceptRoom = iota // there is no listener
	acceptPlenty
	acceptScarce // more than half is taken: the rest is for validated addresses
	acceptFull
)

// addressState is what is known of the sender's address.
type addressState uint8

const (
	addressUnknown   addressState = iota
	addressAnswers                // the datagram answers a challenge
	addressValidated              // a challenge has been answered
)

// A decision is what happens to a datagram.
type decision struct {
	action     doorAction
	reply      segment    // of doorAnswer and doorChallenge
	control    controlSet // the control messages in reply, if it is a control segment
	superseded int        // sessions that end if one opens: all older ones, or none
	errors     uint64     // 1 if the datagram counts as an error
	record     recordChange
	count      admissionCount
}

type doorAction uint8

const (
	doorDrop doorAction = iota
	doorAnswer
	doorChallenge     // the demux fills in the numbers
	doorOpen          // the address is not validated yet
	doorOpenValidated // the address is validated
)

// recordChange is what happens to the record of an ended session.
type recordChange uint8

const (
	recordStays recordChange = iota
	recordRenewed
	recordYields
)

// admissionCount is the count that a decision adds to.
type admissionCount uint8

const (
	countNone admissionCount = iota
	countValidated
	countChallenged
	countQueueFull
	countFull
	countPrefixFull
)

// decide decides about a datagram without a session. The cases are in the order of
// docs/protocol.md.
func decide(v *doorView, u *unknown) decision {
	if u.first.cmd == 0 {
		return decision{errors: 1} // S1.39
	}
	if v.record == nil {
		return decideNew(v, u)
	}
	if !v.record.yields(&u.first, &u.control) {
		return decideEnded(v, u)
	}
	d := decideNew(v, u) // S1.40
	d.record = recordYields
	return d
}

// decideNew decides about a datagram for which no record is left.
func decideNew(v *doorView, u *unknown) decision {
	opening, listens := u.opening(), v.room != acceptNobody
	older := v.older
	if u.control.sharesAddress() {
		older = 0 // S1.60
	}
	switch {
	case listens && v.address == addressAnswers:
		return decision{count: countValidated} // S1.49
	case listens && !opening && u.first.cmd == cmdWask:
		return answerWindow() // S1.50
	case !opening:
		return decideMissing(u) // S1.51
	case !listens, older > 0 && u.first.sn != 0, u.nonce == nonceSeen:
		return decision{errors: 1} // S1.52, S1.53, S1.54
	}
	return decideOpening(v, u, older)
}

// decideOpening decides about a datagram that may open a session. older is the number of sessions
// that the new one would supersede.
func decideOpening(v *doorView, u *unknown, older int) decision {
	switch {
	case v.room == acceptFull: // S1.55
		if u.first.cmd == cmdWask {
			return refuse(u, countQueueFull)
		}
		return decision{errors: 1, count: countQueueFull}
	case v.sessions >= v.limits.sessions: // S1.56
		return refuse(u, countFull)
	case v.prefix >= v.limits.perPrefix: // S1.56
		return refuse(u, countPrefixFull)
	case v.address == addressValidated: // S1.57
		return decision{action: doorOpenValidated, superseded: older}
	// S1.58
	case v.room == acceptScarce, v.pending >= v.limits.pending, older > 0 && u.nonce == nonceNone:
		return decision{
			action: doorChallenge, count: countChallenged,
			reply: segment{cmd: cmdPush, wnd: wndInitial},
		}
	}
	return decision{action: doorOpen, superseded: older} // S1.59
}

// refuse tells a new peer with the extension that there is no room for a session. The answer is
// shorter than the datagram.
func refuse(u *unknown, count admissionCount) decision {
	d := decision{errors: 1, count: count}
	if u.control.has[ctlHello] && u.control.incarnation != 0 {
		m := controlSet{resetCode: resetRefused, resetFor: u.control.incarnation}
		m.has[ctlReset] = true
		d.answer(&m, 0)
	}
	return d
}

// decideMissing tells the sender of an authenticated datagram that there is no such session.
func decideMissing(u *unknown) decision {
	d := decision{errors: 1}
	push, m := u.first.cmd == cmdPush, &u.control
	if u.nonce == nonceNone || m.has[ctlReset] || !push && !m.has[ctlFin] && !m.has[ctlPing] {
		return d
	}
	una := u.first.sn
	if !push {
		una = u.first.una
	}
	reset := controlSet{resetCode: resetUnknown, echo: m.echoed()}
	reset.has[ctlReset] = true
	d.answer(&reset, una)
	return d
}

// answerWindow tells the sender that there is a listener. The answer acknowledges nothing.
func answerWindow() decision {
	return decision{action: doorAnswer, reply: segment{cmd: cmdWins, wnd: wndInitial}}
}

// answer makes d a decision to answer with the control messages m.
func (d *decision) answer(m *controlSet, una seqNum) {
	d.action, d.control = doorAnswer, *m
	d.reply = segment{cmd: cmdWins, wnd: wndInitial, ts: controlVersion, sn: controlMagic, una: una}
}

// segment returns the answer to a datagram of the conversation conv. It appends control messages to
// buf.
func (d *decision) segment(conv uint32, buf []byte) segment {
	s := d.reply
	s.conv = conv
	if s.cmd == cmdWins && s.sn == controlMagic {
		s.data = appendControl(buf, &d.control)
	}
	return s
}
