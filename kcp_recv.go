// SPDX-License-Identifier: MIT

package kcp

// receive handles one PUSH.
func (c *core) receive(ctx *inputContext, s *segment) {
	now := ctx.now.ms()
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
	if c.ctl.hasPeerFinal && !s.sn.before(c.ctl.peerFinal) {
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

// advance moves rcvNxt over what has become contiguous, as far as the receive queue has room. The first segment to enter
// an empty queue may bring a message that needs more room than the window.
func (c *core) advance() {
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
func (c *core) peekSize() int {
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
func (c *core) peekSegments() uint32 {
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
func (c *core) take() recvSegment {
	at := c.in.at(c.readNxt)
	seg := *at
	*at = recvSegment{}
	c.in.present.clear(c.in.slot(c.readNxt))
	c.readNxt++
	return seg
}

// afterRead lets waiting segments in and tells the peer of a window that has opened again: of a closed one when a quarter
// of it is free, or at the latest when there is nothing more to read, so that a slow reader does not send an update for
// each segment; of one that the peer believes to be half closed or more when it has opened by a half.
func (c *core) afterRead() {
	c.advance()
	free := uint32(c.window())
	if c.wasFull {
		if free > 0 && (free >= c.rcvWnd/4 || c.peekSegments() == 0) {
			c.wasFull = false
			c.tellWindow = true
			c.tells, c.closedAt = tellsMost, c.rcvNxt
		}
		return
	}
	if c.toldWnd < c.rcvWnd/2 && free >= c.toldWnd+c.rcvWnd/2 && c.stats.segsOut > 0 {
		c.tellWindow = true
	}
}

// tellsMost is how often a window that has opened again is told: with the back-off of shortBackoff for about ten seconds,
// which is longer than a legacy peer waits until it asks. A peer that has no more to send cannot show that it knows.
const tellsMost = 12

// tellAgain tells a window that has opened again once more, unless it has closed meanwhile.
func (c *core) tellAgain(now millis) {
	if now < c.tellAt {
		return
	}
	c.tellAt = never
	if c.wasFull || c.peerDone() {
		c.tells = 0
		return
	}
	c.tellWindow = true
}

// windowTold sets the time at which the window is told again.
func (c *core) windowTold(now millis) {
	if c.tells == 0 {
		return
	}
	if c.tells--; c.tells > 0 {
		c.tellAt = now + c.shortBackoff(tellsMost-1-c.tells)
	}
}

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

// releaseReceived gives back all that has been received and not read.
func (c *core) releaseReceived() {
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
