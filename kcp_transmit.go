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
	if ts == lastTS {
		rtt = now - seg.sentAt
		c.noteDelivered(seg.order)
		if seg.list == lostList && seg.cause == lossTimeout {
			c.spuriousLoss(seg)
		}
	} else if ts == seg.firstTS {
		rtt = millis(c.ts(now) - ts)
		if seg.cause == lossTimeout {
			c.spuriousLoss(seg)
		}
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
			seg := c.ring.at(c.sendUna)
			if seg.xmits == 1 {
				// Which of several transmissions has arrived is unknown.
				c.noteDelivered(seg.order)
			}
			if seg.list == lostList && seg.cause == lossTimeout {
				c.spuriousLoss(seg)
			}
			c.drop(c.sendUna, cache)
		}
		c.sendUna++
	}
	if c.ring != nil {
		c.advanceUna()
	}
	return n
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
}

// ts returns the timestamp on the wire for a time.
func (c *core) ts(now millis) timestamp { return timestamp(now) + c.tsOrigin }

// spuriousLoss notes that a segment that was taken for lost has arrived.
func (c *core) spuriousLoss(seg *sendSegment) {
	if c.cc != nil {
		c.cc.spurious(c.latest, int64(len(seg.data)+segmentHeaderSize))
	}
}
