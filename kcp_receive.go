// SPDX-License-Identifier: MIT

package kcp

// receive processes one PUSH. One within the window is stored, and one above the window is dropped
// without an answer (S1.21). It reports whether the segment is new.
func (c *core) receive(ctx *inputContext, s *segment, place pushPlace, now millis) (stored bool) {
	if !s.sn.before(c.rcvNxt + seqNum(c.capacity())) {
		c.stats.outOfWindow++
		return false
	}
	if c.repeats > 0 && !s.sn.before(c.closedAt) {
		c.repeats, c.repeatAt = 0, never
	}
	if s.frg > c.frgMost {
		// No window has ever been large enough for the message (S1.33).
		c.stats.badFields++
		return false
	}
	if c.ctl.hasPeerFinal() && !s.sn.before(c.ctl.peerFinal) { // S4.18
		c.stats.badFields++
		return false
	}
	if c.ctl.hold != holdNothing || c.refuse(s) {
		return false // what waits for keys comes again under them
	}
	if !s.sn.before(c.rcvNxt) && (c.newestAt < 0 || c.newestTS.before(s.ts)) {
		// A segment below may carry no clock: see addressCheck.
		c.newestTS, c.newestAt = s.ts, now
	}
	at := c.readNxt.distance(s.sn) + 1
	if !s.sn.before(c.rcvNxt) && c.tooFar(at) {
		c.stats.outOfWindow++
		return false
	}
	weight := memoryWeight(len(s.data))
	room := c.memory.room
	if at > c.ungrown() {
		room = min(room, uint32(c.memory.growth))
	}
	if need := c.outOfOrder + c.heavy + weight; room < need && c.refuses(s.sn, at, weight, room) {
		c.memory.refuse()
		return false
	}
	if place == pushWithNew && c.isCopy(s) {
		c.stats.repeats++
		return false
	}
	due, top, next := c.ackAt, c.top(), c.rcvNxt
	c.addAck(s, now) // also of a duplicate (S1.22)
	c.owesProof(s, now)
	if s.sn.before(c.rcvNxt) {
		// A probe counts as a late duplicate: it is acknowledged and dropped (S1.66).
		c.stats.repeats++
		if place == pushAlone || !c.isCopy(s) {
			c.ackRepeat(due, now)
		}
		return false
	}
	switch {
	case c.in == nil && ctx.slab != nil:
		c.in = getRecvRing(max(at, ringOfRun))
	case c.in == nil:
		c.in = getRecvRing(at)
	case at > c.in.size():
		c.in = c.in.grow(at, c.readNxt)
	}
	slot := c.in.slot(s.sn)
	if c.in.present.has(slot) {
		c.stats.repeats++
		c.ackRepeat(due, now)
		return false
	}
	c.store(ctx, s, weight)
	gap := s.sn != c.rcvNxt || c.outOfOrder > 1
	c.advance()
	if gap {
		c.ackGap(due, now, top.before(s.sn) || next != c.rcvNxt)
	}
	return true
}

// receivePart processes a part of a PUSH (S4.65). It reports whether that completes a new segment.
func (c *core) receivePart(ctx *inputContext, s *segment, place pushPlace, now millis) bool {
	p, ok := parsePart(s.data)
	if !ok {
		c.stats.badFields++
		return false
	}
	push := segment{conv: s.conv, cmd: cmdPush, frg: p.frg, wnd: s.wnd, ts: p.ts, sn: p.sn,
		una: s.una, data: p.data}
	at := c.readNxt.distance(p.sn) + 1
	switch {
	case p.sn.before(c.rcvNxt), // it is acknowledged again
		c.in != nil && at <= c.in.size() && c.in.present.has(c.in.slot(p.sn)),
		len(p.data) == p.whole:
		return c.receive(ctx, &push, place, now)
	case !p.sn.before(c.rcvNxt + seqNum(c.capacity())), c.tooFar(at):
		c.stats.outOfWindow++
		return false
	case c.memory.room < partialMost*memoryWeight(p.whole):
		c.memory.refuse()
		return false
	case c.in == nil:
		c.in = getRecvRing(at)
	}
	if push.data = c.in.addPart(&p); push.data == nil {
		return false
	}
	whole := inputContext{now: ctx.now, cache: ctx.cache} // it lies in no slab
	stored := c.receive(&whole, &push, place, now)
	putBuffer(push.data)
	return stored
}

// isCopy reports whether a PUSH behind others in its datagram is a copy that was not needed. The
// una that acknowledges the data before it acknowledges it too. Behind ACKs it may be a
// retransmission, and is acknowledged within the interval (S1.78).
func (c *core) isCopy(s *segment) bool {
	return s.sn.before(c.rcvNxt) && len(s.data) > 0 && c.ctl.known()
}

// store keeps a segment that is new in the ring.
func (c *core) store(ctx *inputContext, s *segment, weight uint32) {
	top, seg := c.top(), c.in.at(s.sn)
	c.in.present.set(c.in.slot(s.sn))
	if ctx.slab != nil && len(s.data) >= lendLeast {
		*seg = c.keepInSlab(ctx.slab, s.data)
	} else {
		*seg = recvSegment{data: ctx.cache.clone(s.data)}
		c.heavy += memoryWeight(cap(seg.data)) - 1
	}
	seg.frg = s.frg
	c.outOfOrder++
	if !s.sn.before(top) {
		c.heldEnd = uint16(s.sn + 1)
	}
	c.memory.use(weight)
	c.stats.bytesReceived += uint64(len(s.data))
}

// skipMessages processes a SKIP: each message in it that lacks fragments counts as received, and is
// not delivered (S4.42). It is acknowledged like a PUSH.
func (c *core) skipMessages(ctx *inputContext, value []byte, now millis) {
	m := readSkips(value)
	for {
		r, ok := m.next()
		if !ok {
			c.stats.badFields++
		}
		if r.messages == 0 {
			break
		}
		for end := r.end(); r.first != end; r.first += seqNum(r.fragments) {
			c.skipMessage(ctx, r.first, r.first+seqNum(r.fragments))
		}
	}
	c.advance()
	if m.sn.before(c.rcvNxt) || c.in != nil && c.readNxt.distance(m.sn) < c.in.size() &&
		c.in.present.has(c.in.slot(m.sn)) {
		c.ackSkip(m.sn, m.ts, now)
	}
}

// skipMessage skips a message if it is incomplete, is within the window or the next one, and its
// fragments that are there say the same of its end. The message as a whole counts as received then:
// a fragment that still arrives must not pass for a whole message.
func (c *core) skipMessage(ctx *inputContext, first, end seqNum) {
	switch {
	case !c.rcvNxt.before(end): // received, or skipped already
		return
	case c.ctl.hasPeerFinal() && c.ctl.peerFinal.before(end):
		c.stats.badFields++
		return
	case c.rcvNxt.before(first) && (c.rcvNxt + seqNum(c.capacity())).before(end):
		c.stats.outOfWindow++
		return
	}
	if first.before(c.readNxt) {
		first = c.readNxt // what is before was discarded by a session that is not read
	}
	next := first
	if next.before(c.rcvNxt) {
		next = c.rcvNxt
	}
	at := c.readNxt.distance(end)
	if c.tooFar(at) {
		c.stats.outOfWindow++
		return
	}
	room := min(c.memory.room, roomAll)
	if room < c.outOfOrder+c.heavy && c.refuses(next, at, 0, room) {
		c.memory.refuse()
		return
	}
	switch {
	case c.in == nil:
		c.in = getRecvRing(at)
	case at > c.in.size():
		c.in = c.in.grow(at, c.readNxt)
	}
	if c.holdsAll(next, end) {
		return
	}
	for sn := first; sn != end; sn++ {
		if c.in.present.has(c.in.slot(sn)) && seqNum(c.in.at(sn).frg) != end-1-sn {
			c.stats.badFields++
			return
		}
	}
	c.storeSkipped(first, end, ctx.cache)
}

// tooFar reports whether a segment so far ahead of the reader is dropped.
func (c *core) tooFar(at uint32) bool {
	return uint64(at) > reachLeast && uint64(at) > reachShare*c.stats.segsIn
}

// holdsAll reports whether the segments from next, which is not before rcvNxt, to before end are
// all there.
func (rcv *receiver) holdsAll(next, end seqNum) bool {
	n := next.distance(end)
	return rcv.in.present.run(rcv.in.slot(next), n, rcv.in.size(), true) == n
}

// storeSkipped puts empty messages in the place of the segments from first to before end.
func (rcv *receiver) storeSkipped(first, end seqNum, cache *bufferCache) {
	top := rcv.top()
	for sn := first; sn != end; sn++ {
		seg, slot := rcv.in.at(sn), rcv.in.slot(sn)
		if rcv.in.present.has(slot) {
			rcv.freeReceived(seg, cache)
		} else {
			rcv.in.present.set(slot)
			rcv.outOfOrder++
		}
		*seg = recvSegment{}
	}
	if top.before(end) {
		rcv.heldEnd = uint16(end)
	}
	rcv.skipped++
}

// ringOfRun is the size of a ring that begins with a large run, which it holds without growing.
const ringOfRun = 64

// A ring takes memory for all segments up to the farthest one. Its cost is bounded by what the peer
// has sent so far. Above reachLeast a segment counts as lost if it lies farther ahead than
// reachShare times as many segments as have been received. Loss and reordering stay far below that.
const (
	reachLeast = 1024
	reachShare = 16
)

// recv reads one message into p and returns its length, -1 if there is none, or -2 if p is too
// small.
func (c *core) recv(p []byte) int {
	size := c.peekSize()
	if size < 0 {
		return -1
	}
	if size > len(p) {
		return -2
	}
	n := 0
	for range c.peekSegments() {
		seg := c.take()
		n += copy(p[n:], seg.data)
		c.freeReceived(&seg, nil)
	}
	c.afterRead()
	return n
}

// discardFrom drops out-of-order segments at or after the end of the peer's stream (S4.18). A
// correct peer has sent none, and data past the end would hide the end.
func (c *core) discardFrom(final seqNum, cache *bufferCache) {
	for sn := c.rcvNxt; c.outOfOrder > 0 && c.readNxt.distance(sn) < c.in.size(); sn++ {
		if slot := c.in.slot(sn); !sn.before(final) && c.in.present.has(slot) {
			c.in.present.clear(slot)
			c.freeReceived(&c.in.slots[slot], cache)
			c.outOfOrder--
			c.stats.badFields++
		}
	}
}

// refuses reports whether the room is too little for a new segment of that weight, which lies at-1
// segments after the next one to be read. Out-of-order segments get half of the room.
func (c *core) refuses(sn seqNum, at, weight, room uint32) bool {
	switch {
	case sn.before(c.rcvNxt):
		return false
	case sn == c.rcvNxt:
		return room < weight && !c.takesNext(weight)
	}
	return c.in == nil || at > c.in.size() || !c.in.present.has(c.in.slot(sn))
}

// spareCommon is how many segments of the last memory are reserved for segments of weight one:
// enough to complete the largest message. Heavy segments, one in each of a hundred sessions, would
// otherwise take all of it.
const spareCommon = 256

// takesNext reports whether the next segment is accepted without room for it. That holds for the
// first few segments, and, until there is no memory at all, for segments that complete a message.
func (c *core) takesNext(weight uint32) bool {
	if c.readable()+c.heavy+weight <= roomLeast {
		return true
	}
	need := weight
	if weight > 1 {
		need += spareCommon
	}
	return c.memory.spare >= need && c.peekSegments() == 0
}
