// SPDX-License-Identifier: MIT

package kcp

// window returns the value of wnd: the free slots of the receive queue, or fewer if memory is
// short. What a waiting Read is about to take counts as free (S1.32). A window of 0 would stop the
// peer, and the update that reopens it can be lost.
func (c *core) window() uint16 {
	n, most := c.readable(), c.capacity()
	if taking := c.taking(); taking > 0 {
		n, most = n-taking, c.rcvWnd
	}
	if n >= most {
		return 0
	}
	free := c.memory.room
	if c.takesNext(1) {
		free = max(free, 1, roomLeast-min(n, roomLeast))
	}
	if least := c.ungrown(); most > least {
		most = min(most, max(least, n+uint32(c.memory.growth)))
	}
	return uint16(min(atMost(n, most), free))
}

// setWindow sets the receive window in segments. A window that has grown stays if it is larger: the
// peer counts on it.
func (rcv *receiver) setWindow(segments uint32) {
	if rcv.rcvWnd <= uint32(rcv.rcvLeast) {
		rcv.rcvWnd = segments
	}
	rcv.rcvWnd, rcv.rcvLeast = max(rcv.rcvWnd, segments), uint16(segments)
	rcv.frgMost = max(rcv.frgMost, uint8(min(segments, 256)-1))
}

// growReceiveWindow lets the receive window grow as the program reads (S1.76). That of a legacy
// peer stays as it is set: such a peer sends whatever it allows, and nothing else slows it down.
// waiting are the segments that the program could read before the input.
func (c *core) growReceiveWindow(now millis, waiting uint32) {
	if c.modes.has(modeFixedWindows) || !c.ctl.known() {
		return
	}
	if c.round.rtt == 0 && c.rtt.valid() {
		c.round.measured(c.rtt.srtt())
	}
	received := uint16(c.rcvNxt) + uint16(c.outOfOrder)
	n := c.round.next(now, uint16(c.readNxt), received, waiting, c.outOfOrder, c.rcvWnd)
	c.rcvWnd = max(c.rcvWnd, n)
}

// ungrown returns how many segments the receive queue holds while its window must not grow for want
// of memory.
func (rcv *receiver) ungrown() uint32 { return max(uint32(rcv.rcvLeast), maxFragments) }

// taking returns how many of the readable segments a waiting Read takes: one message, or what fills
// its buffer.
func (c *core) taking() uint32 {
	switch {
	case c.awaited == 0:
		return 0
	case c.modes.has(modeStream):
		return min(uint32(c.awaited), c.readable())
	}
	return c.peekSegments()
}

// afterRead moves waiting segments into the queue and advertises a window that has reopened. A
// closed window is advertised when a quarter of it is free, or at the latest when nothing is left
// to read. So a slow reader does not send an update for each segment. A window that the peer
// believes to be half closed or more is advertised when it has opened by a half.
func (c *core) afterRead() {
	c.advance()
	free := uint32(c.window())
	if c.told == toldFull {
		if free > 0 && (free >= c.rcvWnd/4 || c.peekSegments() == 0) {
			c.told = toldOpen
			c.windowDue = true
			c.repeats, c.closedAt = advertiseMost, c.rcvNxt
		}
		return
	}
	half, last := c.rcvWnd/2, uint32(c.advertisedWnd)
	if last < half && free >= last+half && c.stats.segsOut > 0 {
		c.windowDue = true
	}
}

// advertiseMost is how often a reopened window is advertised, unless a PUSH confirms it before
// (S1.31): for about ten seconds with the back-off of shortBackoff. A legacy peer probes sooner. A
// peer with nothing more to send cannot confirm it.
const advertiseMost = 12

// advertiseAgain advertises a reopened window once more, unless it has closed meanwhile.
func (c *core) advertiseAgain(now millis) {
	if now < c.repeatAt {
		return
	}
	c.repeatAt = never
	if c.told == toldFull || c.peerDone() {
		c.repeats = 0
		return
	}
	c.windowDue = true
}

// windowAdvertised notes that the window has been advertised, and sets the time of the next
// repetition.
func (c *core) windowAdvertised(now millis) {
	c.windowDue = false
	if c.repeats == 0 {
		return
	}
	if c.repeats--; c.repeats > 0 {
		c.repeatAt = now + c.shortBackoff(advertiseMost-1-c.repeats)
	}
}

// advertise makes a WINS due.
func (rcv *receiver) advertise() { rcv.windowDue = true }

// advertised notes the window in a segment that was written.
func (rcv *receiver) advertised(wnd uint16) {
	rcv.advertisedWnd = wnd
	if wnd == 0 {
		rcv.told = toldFull
	}
}
