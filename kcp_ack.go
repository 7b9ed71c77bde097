// SPDX-License-Identifier: MIT

package kcp

// acksLeast is how many ACKs are kept while the socket takes none, whatever the window. Beyond it, and beyond four times
// the window, it can only be duplicates that came.
const acksLeast = 1024

// addAck notes a PUSH to acknowledge within the interval. Waiting longer than for a share of the window would hold up a
// sender that has filled it, and deployed senders start with a window of 32. Segments of half a datagram and more come
// from a stream, which is told of every second one (RFC 9293 section 3.8.6.3), or as rarely as ackThinning says.
func (c *core) addAck(s *segment, now millis) {
	if uint32(len(c.acks)) < max(acksLeast, 4*c.rcvWnd) {
		c.acks = append(c.acks, ackItem{s.sn, s.ts})
	}
	share, before := c.ackShare(), c.unacked
	c.unacked++
	if 2*len(s.data) >= c.mss {
		c.unacked += share/2 - min(share/2, 1)
		if c.stats.segsIn < quickAcks {
			c.unacked = max(c.unacked, share)
		}
	}
	switch wait := c.thin.wait(now); {
	case c.modes.has(modeACKNoDelay), c.unacked >= share && (wait == 0 || len(c.acks) >= acksHeld):
		c.ackAt = now
	case c.unacked >= share && before < share:
		c.ackAt = now + wait
	case c.ackAt == never:
		c.ackAt = now + c.interval
	}
}

// quickAcks is the end of a session's beginning, in segments received. Until then each segment of a stream is acknowledged
// at once: the peer knows nothing of the path yet, and its window is small.
const quickAcks = 16

// ackShare is how many segments are acknowledged without waiting for the interval.
func (rcv *receiver) ackShare() uint32 { return max(1, min(rcv.rcvWnd, wndInitial)/4) }

func (rcv *receiver) ackNow(now millis) { rcv.ackAt = min(rcv.ackAt, now) }

// ackAtMost shortens the wait of pending ACKs.
func (rcv *receiver) ackAtMost(until millis) {
	if rcv.ackAt != never {
		rcv.ackAt = min(rcv.ackAt, until)
	}
}

// ackAgain acknowledges a PUSH once more, unless others are to be acknowledged anyway.
func (rcv *receiver) ackAgain(sn seqNum, ts timestamp) {
	if len(rcv.acks) == 0 {
		rcv.acks = append(rcv.acks, ackItem{sn, ts})
	}
}

// ackedBefore drops the first n pending ACKs, which have left or need not.
func (rcv *receiver) ackedBefore(n int) { rcv.acks = rcv.acks[:copy(rcv.acks, rcv.acks[n:])] }

// forgetAcks gives up the pending ACKs.
func (rcv *receiver) forgetAcks() { rcv.acks = nil }

// acksSent ends the wait of the acknowledgements, which have left.
func (c *core) acksSent(now millis) {
	n := c.unacked / c.ackShare()
	if n > 0 {
		c.measurePath(now)
	}
	c.giveRides(n)
	c.acks = c.acks[:0]
	c.ackAt, c.unacked = never, 0
}

const (
	// gapHold bounds how long a legacy sender is not told of a hole. With reordering by 5 ms, and with losses that parity
	// repairs, it sent two to ten times as many segments again when it was told at once, with 20 ms as few as to its own
	// kind.
	gapHold millis = 20
	// acksHeld is how many acknowledgements may wait for that: what fills a datagram.
	acksHeld = 58
	// legacyAfter is how many segments without a HELLO make a legacy peer: others send it along with the first.
	legacyAfter = 64
)

// ackGap acknowledges a PUSH that has found, left or filled a hole, or that was there already: the sender is told at
// once. A legacy sender sends a segment again as soon as it has seen a few later ones acknowledged, however late the
// segment or the parity that repairs its loss may be. So while there is a hole it is told as late as its own kind would.
// due is when the acknowledgements before this one were to leave.
func (c *core) ackGap(due, now millis) {
	legacy := !c.ctl.known() && c.stats.segsIn >= legacyAfter
	switch {
	case c.beyond == 0:
		c.ackNow(now)
	case legacy:
		c.ackWithin(due, now, min(c.interval, gapHold))
	case c.beyond == 1:
		c.ackNow(now)
	default:
		c.ackWithin(due, now, c.thin.wait(now))
	}
}

// ackRepeat acknowledges a PUSH that was there already. Where acknowledgements wait, it came because they are late.
func (c *core) ackRepeat(due, now millis) {
	if wait := c.thin.wait(now); wait > 0 {
		c.ackWithin(due, now, wait)
		return
	}
	c.ackGap(due, now)
}

// ackWithin acknowledges a PUSH after hold at the latest, and once a datagram is full.
func (c *core) ackWithin(due, now, hold millis) {
	if hold == 0 || c.modes.has(modeACKNoDelay) || len(c.acks) >= acksHeld {
		c.ackNow(now)
		return
	}
	c.ackAt = min(due, now+hold)
}

// measurePath sends a PING along with the acknowledgement of a stream, one at a time.
func (c *core) measurePath(now millis) {
	t := &c.thin
	wait := thinPing
	switch {
	case t.asked > 0:
		wait = min(max(thinLate*t.usual(), thinLost)<<(t.asked-1), thinStale)
	case millis(t.quarter) >= thinLeast:
		wait = 0 // a machine that was busy for a moment shall not hold a fast stream up
	}
	if !c.ctl.known() || c.addr != nil || c.ctl.closing() || c.asksAnyway() || t.since(now) < wait {
		return
	}
	asked := min(t.asked+1, thinAsked)
	c.freshPing()
	t.askedAt, t.asked = uint16(now), asked
}

// asksAnyway reports whether a PING serves to find out whether the peer is there.
func (c *core) asksAnyway() bool { return c.suspicious() || c.ctl.clockDoubted || c.life.asking }
