// SPDX-License-Identifier: MIT

package kcp

import "math"

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
	case c.ackNoDelay, c.unacked >= share && (wait == 0 || len(c.acks) >= acksHeld):
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
func (c *core) ackShare() uint32 { return max(1, min(c.rcvWnd, wndInitial)/4) }

func (c *core) ackNow(now millis) { c.ackAt = min(c.ackAt, now) }

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
	if hold == 0 || c.ackNoDelay || len(c.acks) >= acksHeld {
		c.ackNow(now)
		return
	}
	c.ackAt = min(due, now+hold)
}

// ackThinning makes acknowledgements rarer where they wait in a queue: 10 Mbit/s take 450 a second, of which a return path
// of 20 kbit/s carries 48, and the others delay or drop each other (RFC 3449 section 4). While a stream comes in, its
// receiver measures the path by PING. The ts of the data tell how much of a round trip the data's own queue takes. A quarter
// of what else it takes longer than the shortest is how long acknowledgements wait for each other, so that the queue
// settles where they all fit, and a path without one is not slowed down. Peers that do not know PING get them as always.
type ackThinning struct {
	askedAt uint16 // on the clock's low 16 bits: when the latest PING left
	forward uint16 // the clock less ts of the PUSH that came soonest after it was sent; of no use while least is 0
	least   uint16 // the shortest round trip, ms, plus one; 0: none yet
	quarter uint8  // of what the latest took longer, ms
	asked   uint8  // how many PINGs have left since the latest answer
}

const (
	// thinShare: with a quarter, 20 kbit/s settle at a queue of 85 ms.
	thinShare = 4
	// thinLeast and thinMost bound the wait. Less comes from a busy machine or a queue of data, and 100 ms is what deployed
	// peers wait with their default settings.
	thinLeast millis = 10
	thinMost  millis = 100
	// thinPing is how often the path is measured at most, while it has no queue.
	thinPing millis = 100
	// thinStale is how old a measurement may be. The stream has paused meanwhile.
	thinStale millis = 3000
	// thinLate is how many times the usual round trip a PING takes before it is repeated, and thinLost the least time.
	thinLate        = 4
	thinLost millis = 500
	// thinAsked bounds the doubling of that wait.
	thinAsked = 4
)

// usual is the latest round trip, as far as it is known.
func (t *ackThinning) usual() millis { return millis(t.least) + thinShare*millis(t.quarter) }

// since is how long ago the latest PING left, modulo 2^16 ms.
func (t *ackThinning) since(now millis) millis { return millis(uint16(now) - t.askedAt) }

// wait is how long acknowledgements of a stream wait for each other, 0 for not at all. Where a queue has been seen, a PING
// that is late tells that it has grown.
func (t *ackThinning) wait(now millis) millis {
	since, quarter := t.since(now), millis(t.quarter)
	if t.least == 0 || since >= thinStale || quarter < thinLeast {
		return 0
	}
	if t.asked > 0 { // the queue grows
		quarter = max(quarter, (min(since, thinLate*t.usual())-millis(t.least-1))/thinShare)
	}
	return min(quarter, thinMost)
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
	if !c.ctl.known() || c.addr != nil || c.ctl.closing || c.asksAnyway() || t.since(now) < wait {
		return
	}
	asked := min(t.asked+1, thinAsked)
	c.ctl.pingNumber = 0
	c.ping()
	t.askedAt, t.asked = uint16(now), asked
}

// asksAnyway reports whether a PING serves to find out whether the peer is there.
func (c *core) asksAnyway() bool { return c.suspicious() || c.ctl.clockDoubted || c.life.asking }

// answered takes in the answer to a PING. The newest PUSH came at newestAt and was sent at ts on the peer's clock.
func (t *ackThinning) answered(now, newestAt millis, ts timestamp) {
	if t.asked == 0 {
		return
	}
	rtt := min(uint16(t.since(now)), 1<<15)
	took := uint16(newestAt) - uint16(ts)
	if t.least == 0 || int16(took-t.forward) < 0 {
		t.forward = took
	}
	if t.least == 0 || rtt < t.least-1 {
		t.least = rtt + 1
	}
	queued := rtt + 1 - t.least
	queued -= min(took-t.forward, queued) // of the data
	t.quarter = uint8(min(queued/thinShare, math.MaxUint8))
	t.asked = 0
}
