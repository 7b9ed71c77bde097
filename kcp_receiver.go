// SPDX-License-Identifier: MIT

package kcp

// receiver is the receiving half of a core. [readNxt, rcvNxt) is readable, present slots beyond wait for a hole to fill.
type receiver struct {
	in       *recvRing
	readNxt  seqNum
	rcvNxt   seqNum
	rcvWnd   uint32
	beyond   uint32 // segments present at or beyond rcvNxt
	acks     []ackItem
	ackAt    millis    // the pending ACKs leave at this time at the latest
	newestTS timestamp // newest ts among the PUSH segments
	closedAt seqNum    // una when the window last opened again: a PUSH from there on shows that the peer knows
	newestAt millis    // when it came, negative for not at all
	unacked  uint32    // PUSH segments since the last flush of ACKs
	rcvMost  uint16    // the largest receive window so far: the peer may have cut messages for it
	awaited  uint16    // segments that a waiting Read takes as soon as they come

	tellWindow bool   // a WINS is due
	wasFull    bool   // the peer has been told a window of 0
	tells      uint8  // how often a window that has opened again is still to be told
	toldWnd    uint32 // the window in the newest segment sent
	tellAt     millis // when it is told again, never if that is not due

	pinned    int32 // slabs of received data
	lentSegs  int32 // segments in them
	lentBytes int32
	heavy     uint32 // segments that the large ones among those received count besides as one each
	thin      ackThinning
}

func (rcv *receiver) init() {
	rcv.rcvWnd, rcv.rcvMost = wndInitial, wndInitial
	rcv.ackAt, rcv.tellAt = never, never
	rcv.newestAt = -1
}

// setWindow sets the receive window in segments.
func (rcv *receiver) setWindow(segments uint32) {
	rcv.rcvWnd = segments
	rcv.rcvMost = max(rcv.rcvMost, uint16(segments))
}

// await sets how many segments a waiting Read takes as soon as they come.
func (rcv *receiver) await(segments uint16) { rcv.awaited = segments }

// forgetClock forgets the peer's clock: the next PUSH shows it.
func (rcv *receiver) forgetClock() { rcv.newestAt = -1 }

// releaseIdle gives the ring back once it is empty, and the room for ACKs if nothing is being sent either.
func (rcv *receiver) releaseIdle(sendsNothing bool) {
	if len(rcv.acks) == 0 && cap(rcv.acks) > idleAcks && sendsNothing && rcv.in == nil {
		rcv.acks = nil
	}
	if rcv.in != nil && rcv.readNxt == rcv.rcvNxt && rcv.beyond == 0 {
		putRecvRing(rcv.in)
		rcv.in = nil
	}
}

// advance moves rcvNxt over what has become contiguous, as far as the receive queue has room. The first segment to enter
// an empty queue may bring a message that needs more room than the window.
func (rcv *receiver) advance() {
	for rcv.beyond > 0 {
		n, most := rcv.readable(), rcv.capacity()
		if n >= most {
			break
		}
		run := rcv.in.present.run(rcv.in.slot(rcv.rcvNxt), min(most-n, rcv.beyond), rcv.in.size(), true)
		if run == 0 {
			break
		}
		rcv.rcvNxt += seqNum(run)
		rcv.beyond -= run
	}
	if rcv.readable() >= rcv.capacity() && rcv.awaited == 0 {
		rcv.wasFull = true
	}
}

// peekSize returns the bytes of the next whole message, -1 if there is none.
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

// peekSegments returns how many segments the next whole message has, 0 if there is none. The first fragment's count
// decides; the counts of those behind it are the peer's to keep right.
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

// take removes the next readable segment and hands it to the caller, who frees it.
func (rcv *receiver) take() recvSegment {
	at := rcv.in.at(rcv.readNxt)
	seg := *at
	*at = recvSegment{}
	rcv.in.present.clear(rcv.in.slot(rcv.readNxt))
	rcv.readNxt++
	return seg
}

// releaseReceived gives back all that has been received and not read.
func (rcv *receiver) releaseReceived() {
	if rcv.in == nil {
		return
	}
	for slot := range rcv.in.size() {
		if rcv.in.present.has(slot) {
			rcv.in.present.clear(slot)
			rcv.freeReceived(&rcv.in.slots[slot], nil)
		}
	}
	rcv.beyond, rcv.readNxt = 0, rcv.rcvNxt
}

// readable returns the segments that are in order and not yet read.
func (rcv *receiver) readable() uint32 { return rcv.readNxt.distance(rcv.rcvNxt) }

// isProbe reports whether a segment asks for nothing but its acknowledgement. Its ts is nobody's clock.
func (rcv *receiver) isProbe(s *segment) bool {
	return s.cmd == cmdPush && len(s.data) == 0 && s.sn.before(rcv.rcvNxt-probeDistance/2)
}

// ackItem is one PUSH to acknowledge.
type ackItem struct {
	sn seqNum
	ts timestamp
}

// idleAcks is the room for pending ACKs that an idle session keeps.
const idleAcks = 16

// capacity is how many segments the receive queue holds: the receive window, or all of the message at its head, which
// could otherwise never become complete.
func (rcv *receiver) capacity() uint32 {
	if rcv.readNxt == rcv.rcvNxt {
		return rcv.rcvWnd
	}
	return max(rcv.rcvWnd, uint32(rcv.in.at(rcv.readNxt).frg)+1)
}
