// SPDX-License-Identifier: MIT

package kcp

// toldWindow is what the peer is to know of the receive window.
type toldWindow uint8

const (
	toldOpen toldWindow = iota
	toldFull            // a window of 0 has been advertised, and it has not reopened
)

// receiver is the receiving half of a core. Segments from readNxt to before rcvNxt are readable.
// Segments present from rcvNxt on are out of order and wait for a gap to be filled.
type receiver struct {
	in         *recvRing
	readNxt    seqNum
	rcvNxt     seqNum
	rcvWnd     uint32
	outOfOrder uint32 // segments present from rcvNxt on
	acks       []ackItem
	ackAt      millis    // the pending ACKs leave at this time at the latest
	newestTS   timestamp // newest ts among the PUSH segments
	closedAt   seqNum    // una when the window last reopened: a PUSH from there on confirms it
	newestAt   millis    // when it arrived, negative before the first
	unacked    uint16    // PUSH segments since the last flush of ACKs, as addAck weighs them
	rcvLeast   uint16    // the receive window that is set, which rcvWnd may exceed
	awaited    uint16    // segments that a waiting Read takes as soon as they arrive
	heldEnd    uint16    // the low bits of the end of the segments that are out of order

	windowDue     bool // a WINS is due
	told          toldWindow
	repeats       uint8  // how often a reopened window is still to be advertised
	perAck        uint8  // full segments for each ACK of a stream, 0 before the first measurement
	advertisedWnd uint16 // the window in the latest segment sent
	pingTop       uint16 // the low bits of top when the latest PING left
	round         readRound
	frgMost       uint8  // what fits the largest window ever set, which bounds the peer's messages
	skipped       uint32 // messages that the peer has given up
	repeatAt      millis // when it is advertised again, never if that is not due

	pinned    int32 // slabs of received data
	lentSegs  int32 // segments in them
	lentBytes int32
	heavy     uint32 // what large received segments count beyond one each
	thin      ackThinning
}

func (rcv *receiver) init() {
	rcv.rcvWnd, rcv.rcvLeast, rcv.frgMost = wndInitial, wndInitial, wndInitial-1
	rcv.ackAt, rcv.repeatAt = never, never
	rcv.newestAt = -1
}

// await sets how many segments a waiting Read takes as soon as they arrive.
func (rcv *receiver) await(segments uint16) { rcv.awaited = segments }

// forgetClock forgets the peer's clock, which the next PUSH sets again.
func (rcv *receiver) forgetClock() { rcv.newestAt = -1 }

// releaseIdle returns the ring to its pool once it is empty, and drops the room for ACKs if nothing
// is being sent either.
func (rcv *receiver) releaseIdle(sendsNothing bool) {
	if len(rcv.acks) == 0 && cap(rcv.acks) > idleAcks && sendsNothing && rcv.in == nil {
		rcv.acks = nil
	}
	if rcv.in != nil && rcv.in.parts != nil {
		rcv.in.dropParts(rcv.rcvNxt)
	}
	if rcv.in != nil && rcv.readNxt == rcv.rcvNxt && rcv.outOfOrder == 0 && rcv.in.parts == nil {
		putRecvRing(rcv.in)
		rcv.in = nil
	}
}

// advance moves rcvNxt over what has become contiguous, as far as the receive queue has room. The
// first segment of an empty queue may belong to a message that needs more room than the window.
func (rcv *receiver) advance() {
	for rcv.outOfOrder > 0 {
		n, most := rcv.readable(), rcv.capacity()
		if n >= most {
			break
		}
		room := min(most-n, rcv.outOfOrder)
		run := rcv.in.present.run(rcv.in.slot(rcv.rcvNxt), room, rcv.in.size(), true)
		if run == 0 {
			break
		}
		rcv.rcvNxt += seqNum(run)
		rcv.outOfOrder -= run
	}
	if rcv.readable() >= rcv.capacity() && rcv.awaited == 0 {
		rcv.told = toldFull
	}
}

// acknowledgedTo returns the first sn that has not been acknowledged to the peer. It is beyond
// rcvNxt where the queue was full. It is the una of a RESET, which the peer compares with its own
// (S4.22).
func (rcv *receiver) acknowledgedTo() seqNum {
	if rcv.outOfOrder == 0 {
		return rcv.rcvNxt
	}
	slot := rcv.in.slot(rcv.rcvNxt)
	return rcv.rcvNxt + seqNum(rcv.in.present.run(slot, rcv.outOfOrder, rcv.in.size(), true))
}

// top returns the end of what has been received: the sn behind the highest segment.
func (rcv *receiver) top() seqNum {
	if rcv.outOfOrder == 0 {
		return rcv.rcvNxt
	}
	return rcv.rcvNxt + seqNum(rcv.heldEnd-uint16(rcv.rcvNxt))
}

// peekSize returns the size of the next complete message in bytes, -1 if there is none.
func (rcv *receiver) peekSize() int {
	n := rcv.peekSegments()
	if n == 0 {
		return -1
	}
	size := 0
	for i := range n {
		size += len(rcv.in.at(rcv.readNxt + seqNum(i)).data)
	}
	return size
}

// peekSegments returns how many segments the next complete message has, 0 if there is none. A
// message is readable when all its fragments have arrived in order (S1.29). The count in the first
// fragment decides; later counts are not checked.
func (rcv *receiver) peekSegments() uint32 {
	if rcv.readNxt == rcv.rcvNxt {
		return 0
	}
	n := uint32(rcv.in.at(rcv.readNxt).frg) + 1
	if n > rcv.readable() {
		return 0
	}
	return n
}

// take removes the next readable segment. The caller releases it.
func (rcv *receiver) take() recvSegment {
	at := rcv.in.at(rcv.readNxt)
	seg := *at
	*at = recvSegment{}
	rcv.in.present.clear(rcv.in.slot(rcv.readNxt))
	rcv.readNxt++
	return seg
}

// releaseReceived releases everything that has been received and not read. rcvNxt moves over what
// has been acknowledged, which the peer does not send again.
func (rcv *receiver) releaseReceived() {
	if rcv.in == nil {
		return
	}
	rcv.in.dropParts(rcv.readNxt + 1<<31 - 1)
	rcv.rcvNxt = rcv.acknowledgedTo()
	for slot := range rcv.in.size() {
		if rcv.in.present.has(slot) {
			rcv.in.present.clear(slot)
			rcv.freeReceived(&rcv.in.slots[slot], nil)
		}
	}
	rcv.outOfOrder, rcv.readNxt = 0, rcv.rcvNxt
}

// readable returns how many segments are in order and not yet read.
func (rcv *receiver) readable() uint32 { return rcv.readNxt.distance(rcv.rcvNxt) }

// isProbe reports whether a segment only asks for its acknowledgement. Its ts is no clock
// (S1.68).
func (rcv *receiver) isProbe(s *segment) bool {
	return s.cmd == cmdPush && len(s.data) == 0 && s.sn.before(rcv.rcvNxt-probeDistance/2)
}

// An ackItem is one PUSH to acknowledge.
type ackItem struct {
	sn seqNum
	ts timestamp
}

// idleAcks is the capacity for pending ACKs that an idle session keeps.
const idleAcks = 16

// capacity returns how many segments the receive queue holds: the receive window, or all of the
// message at its head if that is more. Such a message could otherwise never become complete
// (S1.33).
func (rcv *receiver) capacity() uint32 {
	if rcv.readNxt == rcv.rcvNxt {
		return rcv.rcvWnd
	}
	return max(rcv.rcvWnd, uint32(rcv.in.at(rcv.readNxt).frg)+1)
}
