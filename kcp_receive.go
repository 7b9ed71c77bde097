// SPDX-License-Identifier: MIT

package kcp

// receive handles one PUSH.
func (c *core) receive(ctx *inputContext, s *segment, now millis) {
	if !s.sn.before(c.rcvNxt + seqNum(c.capacity())) {
		c.stats.outOfWindow++
		return
	}
	if c.tells > 0 && !s.sn.before(c.closedAt) {
		c.tells, c.tellAt = 0, never
	}
	if s.frg > 0 && uint16(s.frg) >= c.rcvMost {
		// No window has ever been large enough for the message.
		c.stats.badFields++
		return
	}
	if c.ctl.hasPeerFinal() && !s.sn.before(c.ctl.peerFinal) {
		c.stats.badFields++
		return
	}
	if c.refuse(s) {
		return
	}
	if !s.sn.before(c.rcvNxt) && (c.newestAt < 0 || c.newestTS.before(s.ts)) {
		// What lies below may bear no clock at all: see addressCheck.
		c.newestTS, c.newestAt = s.ts, now
	}
	at := c.readNxt.distance(s.sn) + 1
	if !s.sn.before(c.rcvNxt) && uint64(at) > reachLeast && uint64(at) > reachShare*c.stats.segsIn {
		c.stats.outOfWindow++
		return
	}
	weight := memoryWeight(len(s.data))
	if c.memory.room < c.beyond+c.heavy+weight && c.refuses(s.sn, at, weight) {
		c.memory.refuse()
		return
	}
	due := c.ackAt
	c.addAck(s, now)
	c.owesProof(s, now)
	if s.sn.before(c.rcvNxt) {
		c.stats.repeats++
		c.ackRepeat(due, now)
		return
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
		return
	}
	c.in.present.set(slot)
	seg := c.in.at(s.sn)
	if ctx.slab != nil && len(s.data) >= lendLeast {
		*seg = c.keepInSlab(ctx.slab, s.data)
	} else {
		*seg = recvSegment{data: ctx.cache.clone(s.data)}
		c.heavy += memoryWeight(cap(seg.data)) - 1
	}
	seg.frg = s.frg
	c.beyond++
	c.memory.use(weight)
	c.stats.bytesReceived += uint64(len(s.data))
	gap := s.sn != c.rcvNxt || c.beyond > 1
	c.advance()
	if gap {
		c.ackGap(due, now)
	}
}

// ringOfRun is the size of a ring that begins with a large run, whose segments it holds without growing.
const ringOfRun = 64

// A ring takes memory for all segments up to the farthest. What that costs is bounded by what the peer has sent so far:
// beyond reachLeast a segment counts as lost if it lies farther ahead than reachShare times as many segments. Loss and
// reordering do not come near that.
const (
	reachLeast = 1024
	reachShare = 16
)

// recv reads one message into p: its length, -1 if there is none, -2 if p is too small.
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

// discardFrom throws away what waits at or beyond the end of the peer's stream: an honest peer has sent nothing there, and
// data that went past the end would hide it.
func (c *core) discardFrom(final seqNum, cache *bufferCache) {
	for sn := c.rcvNxt; c.beyond > 0 && c.readNxt.distance(sn) < c.in.size(); sn++ {
		if slot := c.in.slot(sn); !sn.before(final) && c.in.present.has(slot) {
			c.in.present.clear(slot)
			c.freeReceived(&c.in.slots[slot], cache)
			c.beyond--
			c.stats.badFields++
		}
	}
}

// refuses reports whether there is no room for a new segment that counts as so many, and lies at-1 segments beyond the
// next to be read. Those beyond a hole get half of the room.
func (c *core) refuses(sn seqNum, at, weight uint32) bool {
	switch {
	case c.memory.room >= c.beyond+c.heavy+weight || sn.before(c.rcvNxt):
		return false
	case sn == c.rcvNxt:
		return c.memory.room < weight && !c.takesNext(weight)
	}
	return c.in == nil || at > c.in.size() || !c.in.present.has(c.in.slot(sn))
}

// spareCommon is how many segments of the last memory are for those that count as one: what completes the largest message.
// Segments that count as many, one in each of a hundred sessions, would leave nothing for that.
const spareCommon = 256

// takesNext reports whether the next segment is taken without room for it: the first few are, and, until there is no memory
// at all, what completes a message.
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
