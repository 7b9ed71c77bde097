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
	rtt = -1
	arrived := uint64(0)
	switch c.identify(seg, ts) {
	case sentNever:
		c.stats.badFields++
		return -1
	case sentLast:
		c.proved()
		rtt = now - seg.sentAt
		c.noteDelivered(seg.order)
		arrived = seg.order
		switch {
		case !seg.inFlight():
			c.spuriousLoss(sn, seg, now)
		case seg.cause == lossProbe:
			c.probeWasNeeded(seg)
		}
		c.noteOutcome(sn, seg.xmits > 1)
	case sentFirst:
		c.proved()
		rtt = millis(c.ts(now) - ts)
		c.spuriousLoss(sn, seg, now)
		c.noteOutcome(sn, false)
	case sentCopy:
		rtt = millis(c.ts(now) - ts)
		c.copyArrived(sn, seg)
	case sentBetween:
		c.copyArrived(sn, seg)
	}
	if c.flow != nil {
		c.flow.acked(c.latest, arrived, seg.bytes(), true)
	}
	if c.trace != nil {
		c.trace.acked(c.latest, sn, ackedByAck, seg.xmits, now-seg.sentAt)
	}
	c.pathPassed(seg, now)
	c.drop(sn, cache)
	if sn == c.sendUna {
		c.advanceUna()
	}
	return rtt
}

// A transmission tells which transmission of a segment a ts belongs to.
type transmission uint8

const (
	sentNever   transmission = iota // none
	sentLast                        // the latest, perhaps the only one
	sentFirst                       // the first of several
	sentCopy                        // the latest copy
	sentBetween                     // another one, or none
)

// identify returns which transmission of the segment has that ts.
func (c *core) identify(seg *sendSegment, ts timestamp) transmission {
	lastTS := c.ts(seg.sentAt)
	switch {
	case ts == lastTS:
		return sentLast
	case ts == seg.firstTS:
		return sentFirst
	case seg.copies > 0 && ts == seg.copyTS:
		return sentCopy
	case ts.before(seg.firstTS),
		lastTS.before(ts) && (seg.copies == 0 || seg.copyTS.before(ts)):
		return sentNever
	}
	return sentBetween
}

// copyArrived notes that a copy of the segment sn has arrived, or an earlier retransmission. That
// the first transmission was not acknowledged indicates a loss, for which the copy has made up.
// Whether a retransmission was needed is unknown.
func (c *core) copyArrived(sn seqNum, seg *sendSegment) {
	if seg.xmits == 1 {
		c.noteDelivered(seg.order) // what was sent before it has been overtaken by the copy
	}
	c.noteOutcome(sn, true)
}

// noteOutcome notes whether the first transmission of a segment that is acknowledged was lost.
func (c *core) noteOutcome(sn seqNum, lost bool) {
	if c.again != nil {
		c.again.outcome(sn, lost)
	}
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
			c.arrived(c.sendUna, ackedByUna, cache)
		}
		c.sendUna++
	}
	if c.ring != nil {
		c.advanceUna()
	}
	return n
}

// waited returns how long the segment sn has waited for its acknowledgement, 0 if that does not
// tell how long one takes: it was sent or copied several times, or its timeout has expired or did
// not count.
// Then its acknowledgement may have been lost long ago.
func (c *core) waited(sn seqNum, now millis) millis {
	seg := c.ring.at(sn)
	if seg.xmits != 1 || seg.copies > 0 || !seg.inFlight() || c.noRoomFor(sn) {
		return 0
	}
	return now - seg.sentAt
}

// arrived notes that the peer has the segment sn, by whatever transmission.
func (c *core) arrived(sn seqNum, by traceAckedBy, cache *bufferCache) {
	seg := c.ring.at(sn)
	order := uint64(0)
	if seg.xmits == 1 {
		// Which of several transmissions has arrived is unknown.
		c.noteDelivered(seg.order)
		if seg.copies == 0 {
			order = seg.order
		}
	}
	now := c.latest.ms()
	early := !seg.inFlight() || seg.xmits > 1 && now-seg.sentAt < c.rtt.least*9/10
	if early && seg.copies == 0 {
		// Its acknowledgement has been lost, or is not sent at all: it may have been in order.
		c.takeLossBack(sn, seg)
	}
	c.noteOutcome(sn, seg.xmits > 1 && !early)
	if c.flow != nil {
		c.flow.acked(c.latest, order, seg.bytes(), false)
	}
	if c.trace != nil {
		c.trace.acked(c.latest, sn, by, seg.xmits, now-seg.sentAt)
	}
	c.pathPassed(seg, now)
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
			c.burst.sent(now, c.interval)
		}
		c.sendNxt++
		c.stats.bytesSent += uint64(len(seg.data))
		if c.again != nil {
			c.again.spend(now, len(seg.data)+segmentHeaderSize)
		}
	} else {
		c.ring.unlink(sn)
	}
	c.order++
	seg.order, seg.sentAt = c.order, now
	seg.xmits = min(seg.xmits, math.MaxUint8-1) + 1
	c.doubleLater(sn, seg, now)
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

// copied notes that the segment sn has been laid out once more beside other data. That does not
// postpone its timeout, and is no transmission for what detects losses.
func (c *core) copied(seg *sendSegment, ts timestamp, at instant) {
	bytes := seg.bytes()
	c.rate.spend(int(bytes))
	if c.flow != nil {
		c.flow.charge(at, bytes)
	}
	seg.copyTS, seg.copies = ts, min(seg.copies, math.MaxUint8-1)+1
	c.again.copied++
}

// doubleLater has a retransmission made twice, an eighth of a round trip later, unless it rides
// with other data before that (S1.79). That is so for the second one of a segment, and the first
// one of the oldest segment on a path that loses much, while losses are no sign of congestion. It
// would cost bulk data goodput: 3 % at a loss of 20 %, and 8 % towards a legacy peer.
func (c *core) doubleLater(sn seqNum, seg *sendSegment, now millis) {
	apart := c.rtt.srtt() / apartShare
	if seg.xmits < 2 || seg.cause == lossWindow || !c.rtt.valid() || apart == 0 || c.addr != nil ||
		c.timeouts >= collapseAfter || c.modes.copyRule() == copiesByLoss && !c.noDelay() {
		return
	}
	if seg.xmits == 2 && (sn != c.sendUna || c.again == nil || !c.again.heavy()) {
		return
	}
	r := c.redundant()
	if r == nil || r.bulk() || c.congested() || c.lossesCongest() {
		return
	}
	r.double(sn, now+apart)
}

// twin returns the segment whose retransmission is to be made once more now, if there is one.
func (c *core) twin(now millis) (sn seqNum, due bool) {
	for {
		sn, at := c.again.nextTwin(now)
		if at > now {
			return 0, false
		}
		if !sn.before(c.sendUna) && sn.before(c.sendNxt) && c.ring.isOutstanding(sn) {
			seg := c.ring.at(sn)
			rode := seg.copies > 0 && c.ts(seg.sentAt).before(seg.copyTS)
			if seg.inFlight() && seg.term != termOver && seg.sentAt < now && !rode {
				return sn, true
			}
		}
		c.again.twinDone()
	}
}

// pathPassed notes that the peer has a segment.
func (snd *sender) pathPassed(seg *sendSegment, now millis) {
	if p := snd.path; p != nil {
		p.acked(int(seg.bytes())+int(p.overhead), now)
	}
}

// redundant returns what decides about copies, nil if there are to be none.
func (snd *sender) redundant() *redundancy {
	if snd.modes.copyRule() == copiesNone {
		return nil
	}
	if snd.again == nil {
		snd.again = new(redundancy)
	}
	return snd.again
}

// copiedSegments returns how many copies have been sent.
func (snd *sender) copiedSegments() uint64 {
	if snd.again == nil {
		return 0
	}
	return snd.again.copied
}

// newCopies returns how many copies have been sent since the last call.
func (snd *sender) newCopies() uint64 {
	if snd.again == nil {
		return 0
	}
	return snd.again.newCopies()
}

// copyable returns the segments that a datagram carries once more which has room for so many bytes.
// withData reports that it carries data. Otherwise it would not have asked for an acknowledgement,
// and carries copies only if something has been lost and the program pauses.
func (c *core) copyable(sns []seqNum, at instant, room int, withData bool) []seqNum {
	rule := c.modes.copyRule()
	if rule == copiesByLoss && !c.noDelay() || c.addr != nil || c.ring == nil || !c.rtt.valid() {
		return sns
	}
	r := c.redundant()
	if r == nil || r.bulk() || c.sendNxt != c.sendEnd || c.ring.lost() > 0 || !c.mayLeave(at) {
		return sns
	}
	now := at.ms()
	choice := copyChoice{
		ring: c.ring, una: c.sendUna, nxt: c.sendNxt, now: now, ts: c.ts(now),
		srtt: c.rtt.srtt(), rto: c.rto(), room: room, young: rule, sent: 1,
	}
	if rule == copiesByLoss {
		choice.young = r.copies()
	}
	if !withData {
		if !r.losing() {
			return sns
		}
		choice.sent = r.pause(choice.srtt, choice.rto)
		choice.again = choice.sent
	}
	return r.choose(sns, &choice)
}

// ts returns the timestamp on the wire for a time.
func (c *core) ts(now millis) timestamp { return timestamp(now) + c.tsOrigin }

// spuriousLoss notes that a segment that was taken for lost has arrived late (RFC 3522).
func (c *core) spuriousLoss(sn seqNum, seg *sendSegment, now millis) {
	if seg.cause == lossFast || seg.cause == lossEarly {
		c.reorder.spurious(now, c.rtt.srtt())
	}
	c.takeLossBack(sn, seg)
}

// takeLossBack notes that the loss of the segment sn was none.
func (c *core) takeLossBack(sn seqNum, seg *sendSegment) {
	c.stats.spurious++
	if c.trace != nil {
		c.trace.count(c.latest, traceSpurious, uint8(seg.cause), uint32(sn), 0, 0)
	}
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
	if c.trace != nil {
		c.trace.received(c.latest, value, c.sendNxt)
	}
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
			c.arrived(r.first, ackedByRanges, cache)
			n++
			r.first++
		}
	}
	if n > 0 {
		c.advanceUna()
	}
	return n, longest
}

// dueSkips fills due with the messages that a SKIP names: those with segments that wait for one,
// and with all true also those whose SKIP has not been acknowledged. It reports whether there was
// room for them.
func (c *core) dueSkips(due *skipRuns, all bool) (fit bool) {
	t := c.ring.timed
	for i := t.head; i < len(t.list); i++ {
		m := &t.list[i]
		if (all && m.state == timedSkipped || c.waitsForSkip(m.first, m.end())) &&
			!due.add(m.first, uint32(m.count)) {
			return false
		}
	}
	return true
}

// mayRepeatSkips reports whether a SKIP that has not been acknowledged may go along with new data.
func (c *core) mayRepeatSkips(now millis) bool {
	t := c.ring.timed
	return t != nil && t.skipped > 0 && now >= t.skipAt
}

// repeatSkips takes the segments of the messages in due out of flight, whose SKIP is sent again.
// The controller is not told: nothing shows a loss.
func (c *core) repeatSkips(due *skipRuns, at instant) {
	for i := range due.runs[:due.n] {
		r := &due.runs[i]
		for sn := r.first; sn != r.end(); sn++ {
			if c.unacknowledged(sn) && c.ring.at(sn).inFlight() {
				c.markLost(sn, lossWindow, at)
			}
		}
	}
}

// waitsForSkip reports whether one of the segments from first to before end does.
func (c *core) waitsForSkip(first, end seqNum) bool {
	for sn := first; sn != end; sn++ {
		if c.unacknowledged(sn) && c.ring.at(sn).list == skipList {
			return true
		}
	}
	return false
}

// unacknowledged reports whether the segment sn, which may be one before sendUna, has been sent and
// not been acknowledged.
func (snd *sender) unacknowledged(sn seqNum) bool {
	return !sn.before(snd.sendUna) && sn.before(snd.sendNxt) && snd.ring.isOutstanding(sn)
}

// newestSkipped returns the last segment of the messages in due that waits for a SKIP.
func (c *core) newestSkipped(due *skipRuns) (sn seqNum, ok bool) {
	for i := due.n - 1; i >= 0; i-- {
		for sn := due.runs[i].end(); sn != due.runs[i].first; {
			if sn--; c.unacknowledged(sn) && c.ring.at(sn).list == skipList {
				return sn, true
			}
		}
	}
	return 0, false
}

// skipsSent notes that a SKIP with the messages in due has been laid out, which is another
// transmission of their segments that waited for it.
func (c *core) skipsSent(due *skipRuns, ts timestamp, at instant) {
	t := c.ring.timed
	t.skipAt = at.ms() + skipPause
	for i := range due.runs[:due.n] {
		r := &due.runs[i]
		for sn := r.first; sn != r.end(); sn++ {
			if c.unacknowledged(sn) && c.ring.at(sn).list == skipList {
				c.transmitted(sn, c.ring.at(sn), ts, at)
			}
		}
	}
}
