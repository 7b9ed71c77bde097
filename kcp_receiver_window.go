// SPDX-License-Identifier: MIT

package kcp

// window is what wnd says: the free slots of the receive queue, or what there is memory for. What a waiting Read is about
// to take counts as taken: a window of 0 would stop the peer, and the word that it has opened can be lost.
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
	return uint16(min(most-n, free))
}

// taking returns how many of the readable segments a waiting Read takes: one message, or what fills its buffer.
func (c *core) taking() uint32 {
	switch {
	case c.awaited == 0:
		return 0
	case c.modes.has(modeStream):
		return min(uint32(c.awaited), c.readable())
	}
	return c.peekSegments()
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
	c.tellWindow = false
	if c.tells == 0 {
		return
	}
	if c.tells--; c.tells > 0 {
		c.tellAt = now + c.shortBackoff(tellsMost-1-c.tells)
	}
}

// advertise makes a WINS due.
func (rcv *receiver) advertise() { rcv.tellWindow = true }

// advertised notes the window in a segment that was written.
func (rcv *receiver) advertised(wnd uint16) {
	rcv.toldWnd = uint32(wnd)
	rcv.wasFull = rcv.wasFull || wnd == 0
}
