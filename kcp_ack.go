// SPDX-License-Identifier: MIT

package kcp

// acksLeast is how many ACKs are kept at least while the socket accepts none. More than that, and
// more than four times the window, can only be for duplicates.
const acksLeast = 1024

// addAck notes a PUSH to be acknowledged within the interval. A sender that has filled a share of
// the window is not kept waiting, because legacy senders start with a window of 32. Segments of
// half a datagram and more belong to a stream. Every second of those is acknowledged (S1.24, RFC
// 9293 section 3.8.6.3), or fewer as ackThinning decides.
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

// quickAcks is the end of a session's start, in segments received. Until then every segment of a
// stream is acknowledged at once: the path is unknown to the peer, and its window is small.
const quickAcks = 16

// ackShare returns how many segments are acknowledged without waiting for the interval.
func (rcv *receiver) ackShare() uint32 { return max(1, min(rcv.rcvWnd, wndInitial)/4) }

func (rcv *receiver) ackNow(now millis) { rcv.ackAt = min(rcv.ackAt, now) }

// ackAtMost shortens the wait of pending ACKs.
func (rcv *receiver) ackAtMost(until millis) {
	if rcv.ackAt != never {
		rcv.ackAt = min(rcv.ackAt, until)
	}
}

// ackAgain acknowledges a PUSH once more, unless other ACKs are pending.
func (rcv *receiver) ackAgain(sn seqNum, ts timestamp) {
	if len(rcv.acks) == 0 {
		rcv.acks = append(rcv.acks, ackItem{sn, ts})
	}
}

// ackedBefore drops the first n pending ACKs, which have left or are covered by una.
func (rcv *receiver) ackedBefore(n int) { rcv.acks = rcv.acks[:copy(rcv.acks, rcv.acks[n:])] }

// forgetAcks drops the pending ACKs.
func (rcv *receiver) forgetAcks() { rcv.acks = nil }

// acksSent notes that the pending acknowledgements have left.
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
	// gapHold bounds how long a gap is not reported to a legacy sender (S1.25). Such a sender
	// resent two to ten times as many segments when gaps were reported at once, with reordering by
	// 5 ms or losses that parity repairs. With 20 ms it resent as few as towards its own kind.
	gapHold millis = 20
	// acksHeld is how many acknowledgements may be delayed for that: as many as fill a datagram.
	acksHeld = 58
	// legacyAfter is how many segments without a HELLO identify a legacy peer: other peers send it
	// along with the first.
	legacyAfter = 64
)

// ackGap acknowledges a PUSH that has revealed, left or filled a gap, or is a duplicate: the sender
// is notified at once.
//
// A legacy sender resends a segment as soon as a few later ones are acknowledged. The segment, or
// the parity that repairs its loss, may only be late. So it is notified of a gap as late as its own
// kind would do. due is when the acknowledgements before this one were to leave.
func (c *core) ackGap(due, now millis) {
	legacy := !c.ctl.known() && c.stats.segsIn >= legacyAfter
	switch {
	case c.outOfOrder == 0:
		c.ackNow(now)
	case legacy:
		c.ackWithin(due, now, min(c.interval, gapHold))
	case c.outOfOrder == 1:
		c.ackNow(now)
	default:
		c.ackWithin(due, now, c.thin.wait(now))
	}
}

// ackRepeat acknowledges a duplicate PUSH. If acknowledgements are delayed, their delay has caused
// it.
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

// measurePath sends a PING along with the acknowledgement of a stream, one at a time
// (S1.26).
func (c *core) measurePath(now millis) {
	t := &c.thin
	wait := thinPing
	switch {
	case t.asked > 0:
		wait = min(max(thinLate*t.usual(), thinLost)<<(t.asked-1), thinStale)
	case millis(t.quarter) >= thinLeast:
		wait = 0 // a brief stall of the machine must not slow down a fast stream
	}
	if !c.ctl.known() || c.addr != nil || c.ctl.closing() || c.asksAnyway() || t.since(now) < wait {
		return
	}
	asked := min(t.asked+1, thinAsked)
	c.freshPing()
	t.askedAt, t.asked = uint16(now), asked
}

// asksAnyway reports whether a PING is used to find out whether the peer is there.
func (c *core) asksAnyway() bool { return c.suspicious() || c.ctl.clockDoubted || c.life.asking }
