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

func (c *receiver) init() {
	c.rcvWnd, c.rcvMost = wndInitial, wndInitial
	c.ackAt, c.tellAt = never, never
	c.newestAt = -1
}

// setWindow sets the receive window in segments.
func (c *receiver) setWindow(segments uint32) {
	c.rcvWnd = segments
	c.rcvMost = max(c.rcvMost, uint16(segments))
}

// await sets how many segments a waiting Read takes as soon as they come.
func (c *receiver) await(segments uint16) { c.awaited = segments }

// forgetClock forgets the peer's clock: the next PUSH shows it.
func (c *receiver) forgetClock() { c.newestAt = -1 }

// releaseIdle gives the ring back once it is empty, and the room for ACKs if nothing is being sent either.
func (c *receiver) releaseIdle(sendsNothing bool) {
	if len(c.acks) == 0 && cap(c.acks) > idleAcks && sendsNothing && c.in == nil {
		c.acks = nil
	}
	if c.in != nil && c.readNxt == c.rcvNxt && c.beyond == 0 {
		putRecvRing(c.in)
		c.in = nil
	}
}

// advance moves rcvNxt over what has become contiguous, as far as the receive queue has room. The first segment to enter
// an empty queue may bring a message that needs more room than the window.
func (c *receiver) advance() {
	for c.beyond > 0 {
		n, most := c.readable(), c.capacity()
		if n >= most {
			break
		}
		run := c.in.present.run(c.in.slot(c.rcvNxt), min(most-n, c.beyond), c.in.size(), true)
		if run == 0 {
			break
		}
		c.rcvNxt += seqNum(run)
		c.beyond -= run
	}
	if c.readable() >= c.capacity() && c.awaited == 0 {
		c.wasFull = true
	}
}

// peekSize returns the bytes of the next whole message, -1 if there is none.
func (c *receiver) peekSize() int {
	n := c.peekSegments()
	if n == 0 {
		return -1
	}
	size := 0
	for i := range n {
		size += len(c.in.at(c.readNxt + seqNum(i)).data)
	}
	return size
}

// peekSegments returns how many segments the next whole message has, 0 if there is none. The first fragment's count
// decides; the counts of those behind it are the peer's to keep right.
func (c *receiver) peekSegments() uint32 {
	if c.readNxt == c.rcvNxt {
		return 0
	}
	n := uint32(c.in.at(c.readNxt).frg) + 1
	if n > c.readable() {
		return 0
	}
	return n
}

// take removes the next readable segment and hands it to the caller, who frees it.
func (c *receiver) take() recvSegment {
	at := c.in.at(c.readNxt)
	seg := *at
	*at = recvSegment{}
	c.in.present.clear(c.in.slot(c.readNxt))
	c.readNxt++
	return seg
}

// releaseReceived gives back all that has been received and not read.
func (c *receiver) releaseReceived() {
	if c.in == nil {
		return
	}
	for slot := range c.in.size() {
		if c.in.present.has(slot) {
			c.in.present.clear(slot)
			c.freeReceived(&c.in.slots[slot], nil)
		}
	}
	c.beyond, c.readNxt = 0, c.rcvNxt
}

// readable returns the segments that are in order and not yet read.
func (c *receiver) readable() uint32 { return c.readNxt.distance(c.rcvNxt) }

// isProbe reports whether a segment asks for nothing but its acknowledgement. Its ts is nobody's clock.
func (c *receiver) isProbe(s *segment) bool {
	return s.cmd == cmdPush && len(s.data) == 0 && s.sn.before(c.rcvNxt-probeDistance/2)
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
func (c *receiver) capacity() uint32 {
	if c.readNxt == c.rcvNxt {
		return c.rcvWnd
	}
	return max(c.rcvWnd, uint32(c.in.at(c.readNxt).frg)+1)
}
