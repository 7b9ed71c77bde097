// SPDX-License-Identifier: MIT

package kcp

// A copyRule is how many segments a datagram carries once more: so many, or one of the constants.
type copyRule uint8

const (
	copiesByLoss copyRule = 0              // by what the path loses, and in no-delay mode alone
	copiesMost   copyRule = 3              // the most
	copiesNone   copyRule = copiesMost + 1 // nothing is sent twice
)

// redundancy decides which small segments a datagram carries once more, and keeps which
// retransmissions are made twice. It has no clock and knows neither the peer nor the controller.
type redundancy struct {
	seen    uint16 // share of segments whose first transmission was lost, of seenOne
	runs    uint16 // share of those that are next to another one, likewise
	lastSN  seqNum // the newest of them
	level   uint32 // bytes of data sent of late, beyond what leastBulk allows
	sentAt  uint32 // when new data was last sent, in milliseconds, low bits
	gap     uint16 // mean time between new data, in milliseconds
	counted uint32 // low bits of copied that the totals include
	copied  uint64 // segments sent once more

	twins [8]twin // retransmissions to be doubled, by time
	first uint8   // the earliest of them
	count uint8
}

// A twin is the second transmission of a retransmission, in another datagram.
type twin struct {
	sn seqNum
	at uint32 // low bits of the time, in milliseconds
}

const (
	// seenOne is a share of 1.
	seenOne = 1 << 15
	// seenWeight and runsWeight are over how many segments and losses the shares are taken.
	seenWeight = 128
	runsWeight = 16
	// seenSome and seenMuch are the losses from which on two and three segments are copied.
	seenSome = seenOne * 2 / 100
	seenMuch = seenOne * 8 / 100
	// seenHeavy is the loss from which on the first retransmission of the oldest segment is
	// doubled.
	seenHeavy = seenOne * 10 / 100
	// seenAny is what is left of one loss after some fifty segments.
	seenAny = seenOne * 5 / 1000
	// seenRuns is the share of losses next to another one that shows losses in runs. Independent
	// losses of a fifth of the segments have half of it.
	seenRuns = seenOne * 4 / 10
	// copiesRoom is the largest datagram that carries copies, in bytes of segments. Few paths count
	// bytes rather than packets up to that size.
	copiesRoom = 512
	// copiesSearch bounds the segments that are looked at for a datagram.
	copiesSearch = 64
	// leastBulk is the rate from which on data is bulk, in bytes a millisecond, and bulkBurst how
	// much more may be sent at once.
	leastBulk = 64
	bulkBurst = 16 << 10
	// gapMost is the longest time between new data that is no pause, in milliseconds. gapWeight is
	// over how many of them the mean is taken.
	gapMost   = 1000
	gapWeight = 8
	// apartShare is which part of a round trip copies are apart where losses come in runs, and the
	// two transmissions of a retransmission.
	apartShare = 8
)

// outcome notes that the segment sn has been acknowledged. lost means that its first transmission
// was not what arrived, or not known to be in time.
func (r *redundancy) outcome(sn seqNum, lost bool) {
	r.seen -= r.seen / seenWeight
	if !lost {
		return
	}
	r.seen += seenOne / seenWeight
	r.runs -= r.runs / runsWeight
	if d := int32(sn - r.lastSN); d == 1 || d == -1 {
		r.runs += seenOne / runsWeight
	}
	r.lastSN = sn
}

// newCopies returns how many copies have been sent since the last call.
func (r *redundancy) newCopies() uint64 {
	n := uint32(r.copied) - r.counted
	r.counted += n
	return uint64(n)
}

// spend notes that so many bytes of new data leave.
func (r *redundancy) spend(now millis, bytes int) {
	elapsed := uint32(now) - r.sentAt
	r.level -= min(r.level, min(elapsed, 2*bulkBurst/leastBulk)*leastBulk)
	r.level = min(r.level+uint32(bytes), 2*bulkBurst)
	r.sentAt = uint32(now)
	if elapsed <= gapMost {
		r.gap += uint16(elapsed/gapWeight) - r.gap/gapWeight
	}
}

// pause returns how long after new data more of it is unlikely to follow soon. Before that a
// datagram without data need not carry a copy.
func (r *redundancy) pause(srtt, rto millis) millis {
	wait := max(srtt/4, 1)
	if gap := millis(r.gap); gap < 2*rto {
		wait = max(wait, 2*gap)
	}
	return wait
}

// bulk reports whether more has been sent of late than small messages take.
func (r *redundancy) bulk() bool { return r.level > bulkBurst }

// copies returns how many segments whose loss is not known a datagram carries once more, by what
// the path loses.
func (r *redundancy) copies() copyRule {
	switch {
	case r.seen >= seenMuch:
		return copiesMost
	case r.seen >= seenSome:
		return 2
	}
	return 1
}

// losing reports whether anything has been lost of late.
func (r *redundancy) losing() bool { return r.seen >= seenAny }

// heavy reports whether so much is lost that the first retransmission of the oldest segment is
// doubled.
func (r *redundancy) heavy() bool { return r.seen >= seenHeavy }

// A copyChoice is what the choice of the segments for a datagram depends on.
type copyChoice struct {
	ring     *sendRing
	una, nxt seqNum
	now      millis
	ts       timestamp // of now
	srtt     millis
	rto      millis
	young    copyRule // most segments whose loss is not known
	room     int      // bytes of segments
	// sent is how long ago a segment must have been sent. It is at least one, so that no datagram
	// carries a segment twice.
	sent millis
	// again is how long ago a segment must have been copied.
	again millis
}

// choose appends to sns the segments that a datagram carries once more (S1.77). First come those
// that have been retransmitted, the oldest first, as the data behind them waits for them. Then come
// the newest of those that were sent exactly once, within an RTO. Where losses come in runs these
// are an eighth of a round trip apart.
func (r *redundancy) choose(sns []seqNum, c *copyChoice) []seqNum {
	sn := c.una
	n := min(c.una.distance(c.nxt), copiesSearch)
	for i := uint32(0); i < n && len(sns) < int(copiesMost); i++ {
		if seg := c.ring.at(sn); c.eligible(sn, c.now-c.sent) && seg.xmits > 1 {
			if !c.fits(seg) {
				return sns
			}
			sns = append(sns, sn)
		}
		sn++
	}
	apart := millis(0)
	if r.runs >= seenRuns {
		apart = c.srtt / apartShare
	}
	latest := c.now - c.sent
	sn = c.nxt
	for i := uint32(0); i < n && c.young > 0 && len(sns) < int(copiesMost); i++ {
		sn--
		seg := c.ring.at(sn)
		if !c.eligible(sn, latest) || seg.xmits != 1 {
			continue
		}
		if c.now-seg.sentAt > c.rto || !c.fits(seg) {
			break
		}
		sns = append(sns, sn)
		c.young--
		latest = seg.sentAt - apart
	}
	return sns
}

// eligible reports whether a segment may be copied that was sent at latest or before.
func (c *copyChoice) eligible(sn seqNum, latest millis) bool {
	seg := c.ring.at(sn)
	return c.ring.isOutstanding(sn) && seg.inFlight() && seg.term != termOver &&
		seg.sentAt <= latest && (seg.copies == 0 || c.ts.since(seg.copyTS) >= c.again)
}

// fits takes the room of a segment, if there is enough.
func (c *copyChoice) fits(seg *sendSegment) bool {
	n := int(seg.bytes())
	if n > c.room {
		return false
	}
	c.room -= n
	return true
}

// double makes the retransmission of sn be made twice at that time, unless too many wait.
func (r *redundancy) double(sn seqNum, at millis) {
	if n := uint8(len(r.twins)); r.count < n {
		r.twins[(r.first+r.count)%n] = twin{sn, uint32(at)}
		r.count++
	}
}

// nextTwin returns the earliest retransmission to be doubled, and when. now is about the present.
func (r *redundancy) nextTwin(now millis) (sn seqNum, at millis) {
	if r == nil || r.count == 0 {
		return 0, never
	}
	t := r.twins[r.first]
	return t.sn, now + millis(int32(t.at-uint32(now)))
}

// twinDone drops the earliest retransmission to be doubled.
func (r *redundancy) twinDone() {
	r.first = (r.first + 1) % uint8(len(r.twins))
	r.count--
}
