// SPDX-License-Identifier: MIT

package kcp

import "math"

// acknowledged processes one ACK. It returns the round-trip time that it measures, or -1. An ACK
// changes nothing without a segment of its sn in flight, or if its ts is not within the
// transmissions of that segment (S1.28). The exact sn and ts of a transmission validate the peer's
// address (S1.64).
func (c *core) acknowledged(sn seqNum, ts timestamp, now millis, cache *bufferCache) (rtt millis) {
	if c.addr.acknowledged(sn, ts) {
		if c.addr.probes == 1 && !c.rtt.valid() {
			c.rtt.sample(now-c.addr.askedAt, now-c.addr.askedAt)
		}
		c.proved()
	}
	if c.ring == nil || sn.before(c.sendUna) || !sn.before(c.sendNxt) || !c.ring.isOutstanding(sn) {
		return -1
	}
	seg := c.ring.at(sn)
	lastTS := c.ts(seg.sentAt)
	if ts.before(seg.firstTS) || lastTS.before(ts) {
		c.stats.badFields++
		return -1
	}
	if ts == lastTS || ts == seg.firstTS {
		c.proved()
	}
	rtt = -1
	arrived := uint64(0)
	if ts == lastTS {
		rtt = now - seg.sentAt
		c.noteDelivered(seg.order)
		arrived = seg.order
		switch {
		case seg.list == lostList:
			c.spuriousLoss(seg, now)
		case seg.cause == lossProbe:
			c.probeWasNeeded(seg)
		}
	} else if ts == seg.firstTS {
		rtt = millis(c.ts(now) - ts)
		c.spuriousLoss(seg, now)
	}
	if c.flow != nil {
		c.flow.acked(c.latest, arrived, seg.bytes(), true)
	}
	c.drop(sn, cache)
	if sn == c.sendUna {
		c.advanceUna()
	}
	return rtt
}

// acknowledgedBelow processes a cumulative acknowledgement and returns how many segments it takes
// out of flight.
func (c *core) acknowledgedBelow(una seqNum, cache *bufferCache) (n uint32) {
	if una.before(c.sendUna) {
		return 0
	}
	if c.sendNxt.before(una) {
		c.stats.badFields++
		return 0
	}
	for c.sendUna != una {
		if c.ring.isOutstanding(c.sendUna) {
			n++
			c.arrived(c.sendUna, cache)
		}
		c.sendUna++
	}
	if c.ring != nil {
		c.advanceUna()
	}
	return n
}

// waited returns how long the segment sn has waited for its acknowledgement, 0 if that does not
// tell how long one takes: it was sent several times, or its timeout has expired or did not count.
// Then its acknowledgement may have been lost long ago.
func (c *core) waited(sn seqNum, now millis) millis {
	seg := c.ring.at(sn)
	if seg.xmits != 1 || seg.list == lostList || c.noRoomFor(sn) {
		return 0
	}
	return now - seg.sentAt
}

// arrived notes that the peer has the segment sn, by whatever transmission.
func (c *core) arrived(sn seqNum, cache *bufferCache) {
	seg := c.ring.at(sn)
	order := uint64(0)
	if seg.xmits == 1 {
		// Which of several transmissions has arrived is unknown.
		order = seg.order
		c.noteDelivered(order)
	}
	now := c.latest.ms()
	if seg.list == lostList || seg.xmits > 1 && now-seg.sentAt < c.rtt.least*9/10 {
		// Its acknowledgement has been lost, or is not sent at all: it may have been in order.
		c.takeLossBack(seg)
	}
	if c.flow != nil {
		c.flow.acked(c.latest, order, seg.bytes(), false)
	}
	c.drop(sn, cache)
}

// transmitted notes that the segment sn has been laid out, for the first time or again.
func (c *core) transmitted(sn seqNum, seg *sendSegment, ts timestamp, at instant) {
	now := at.ms()
	c.rate.spend(len(seg.data) + segmentHeaderSize)
	if sn == c.sendNxt {
		if c.sendUna == c.sendNxt {
			c.life.expect(now)
		}
		seg.firstTS = ts
		c.lastFrg = seg.frg
		c.ring.outstanding.set(c.ring.slot(sn))
		if len(seg.data) >= c.mss {
			c.fullRun = min(c.fullRun, math.MaxUint8-1) + 1
		}
		c.sendNxt++
		c.stats.bytesSent += uint64(len(seg.data))
	} else {
		c.ring.unlink(sn)
	}
	c.order++
	seg.order, seg.sentAt = c.order, now
	seg.xmits++
	c.ring.push(seg.level, sn)
	c.inFlight++
	c.flight.sent(c.order, at)
	switch {
	case c.flow != nil:
		c.flow.sent(at, c.order, seg.bytes())
	case c.inFlight > c.kind.unmeasured():
		c.beginFlow(at, c.draw())
	}
}

// ts returns the timestamp on the wire for a time.
func (c *core) ts(now millis) timestamp { return timestamp(now) + c.tsOrigin }

// spuriousLoss notes that a segment that was taken for lost has arrived late (RFC 3522).
func (c *core) spuriousLoss(seg *sendSegment, now millis) {
	if seg.cause == lossFast || seg.cause == lossEarly {
		c.reorder.spurious(now, c.rtt.srtt())
	}
	c.takeLossBack(seg)
}

// takeLossBack notes that the loss of a segment was none.
func (c *core) takeLossBack(seg *sendSegment) {
	c.stats.spurious++
	switch {
	case seg.cause == lossProbe, seg.cause == lossWindow:
		// The controller has not been told.
	case c.flow != nil:
		c.flow.spurious(c.latest, seg.bytes())
	}
}

// probeWasNeeded reports the loss of the first transmission of a segment whose second one has
// arrived. When its timeout expired, the acknowledgement might have been late. As in tellLost,
// nothing counts before a round trip has been measured.
func (c *core) probeWasNeeded(seg *sendSegment) {
	if c.flow != nil && c.rtt.valid() {
		c.flow.lose(c.latest, &lossEvent{
			newest: c.order, bytes: seg.bytes(), segments: c.inFlight, cause: lossProbe,
		})
	}
}

// tellAcked tells the controller what a datagram has acknowledged. timed is false if it came late.
func (c *core) tellAcked(now instant, timed bool) {
	limit := min(c.sndWnd, max(c.rmtWnd, 1))
	if c.flow != nil {
		c.flow.endInput(now, c.inFlight, limit, c.ctl.manner(), timed)
		c.replaceFlow(now)
	}
}

// acknowledgedRanges processes the value of an ACKR. It returns how many segments it takes out of
// flight, and the longest time since the transmission of one that was sent once. A range has no ts:
// it measures no round trip and validates no address (S4.37).
//
// A value beyond what was sent, or a range that does not lie between the one before and sendNxt, is
// an error of the peer. The ranges before it count (S4.38).
func (c *core) acknowledgedRanges(value []byte, now millis,
	cache *bufferCache) (n uint32, longest millis) {
	held := readAckRanges(value)
	switch {
	case held.left > ackRangesMost, c.sendNxt.before(held.rcvNxt):
		c.stats.badFields++
		return 0, 0
	case held.rcvNxt.before(c.sendUna - wndMax): // obsolete
		return 0, 0
	}
	for {
		r, ok := held.next(c.sendNxt)
		if !ok {
			c.stats.badFields++
		}
		if r.first == r.end {
			break
		}
		if r.first.before(c.sendUna) {
			r.first = c.sendUna
		}
		for r.first.before(r.end) {
			// Earlier messages have acknowledged most of the range.
			left := r.first.distance(r.end)
			known := c.ring.outstanding.run(c.ring.slot(r.first), left, c.ring.size(), false)
			if r.first += seqNum(known); known == left {
				break
			}
			longest = max(longest, c.waited(r.first, now))
			c.arrived(r.first, cache)
			n++
			r.first++
		}
	}
	if n > 0 {
		c.advanceUna()
	}
	return n, longest
}
