// SPDX-License-Identifier: MIT

package kcp

import "math"

// acksLeast is how many ACKs are kept at least while the socket accepts none. More than that, and
// more than four times the window that was set, can only be for duplicates, or left to an ACKR.
const acksLeast = 1024

// addAck notes a PUSH to be acknowledged within the interval. A sender that has filled a share of
// the window is not kept waiting, because legacy senders start with a window of 32. Segments of
// half a datagram and more belong to a stream. Every second of those is acknowledged (S1.24, RFC
// 9293 section 3.8.6.3), or fewer as bulkAcks and ackThinning decide.
func (c *core) addAck(s *segment, now millis) {
	c.keepAck(s)
	share, before := c.ackShare(), uint32(c.unacked)
	unacked, due, hold := before+1, share, c.interval
	if 2*len(s.data) >= c.usualMSS() {
		unacked = before + fullWeight(share)
		if c.stats.segsIn < c.quickAcks() {
			unacked = max(unacked, share)
		} else if n, quarter := c.bulkAcks(now); n > 0 {
			due, hold = max(share, n*fullWeight(share)), quarter
		}
	}
	c.unacked = uint16(min(unacked, math.MaxUint16))
	switch wait := c.thin.wait(now); {
	case c.modes.has(modeACKNoDelay), unacked >= due && (wait == 0 || c.acksFill()):
		c.ackAt = now
	case unacked >= due && before < due:
		c.ackAt = now + wait
	case c.ackAt == never || hold < c.interval:
		c.ackAt = min(c.ackAt, now+hold)
	}
}

// keepAck adds a PUSH to the pending ACKs. A peer that reads ACKR learns what has arrived in order
// by una and by the ranges. So of those in order it is sent the newest alone, for the round-trip
// time, and beside it the segments that were overtaken: their ts tells which transmission has
// arrived (S4.34).
func (c *core) keepAck(s *segment) {
	item := ackItem{s.sn, s.ts}
	last, top := len(c.acks)-1, c.top()
	switch {
	case last >= 0 && c.acks[last].sn == top-1 && !s.sn.before(top) && c.sendsRanges():
		c.acks[last] = item
	default:
		c.noteAck(item)
	}
}

// noteAck adds a pending ACK, unless there are too many.
func (rcv *receiver) noteAck(item ackItem) {
	if len(rcv.acks) < max(acksLeast, 4*int(rcv.rcvLeast)) {
		rcv.acks = append(rcv.acks, item)
	}
}

// ackSkip acknowledges a SKIP at once, by the ACK of the segment that it names.
func (c *core) ackSkip(sn seqNum, ts timestamp, now millis) {
	c.noteAck(ackItem{sn, ts})
	c.ackNow(now)
}

// sendsRanges reports whether ACKs are accompanied by ACKR. A datagram has to have room for one
// range at least.
func (c *core) sendsRanges() bool {
	const least = 2*segmentHeaderSize + 2 + ackRangesHeader + ackRangeMost
	return c.ctl.repeatsAcks() && c.addr == nil && c.mtu >= least
}

// heldRanges fills ranges with what is held beyond rcvNxt, the highest first, and returns how many
// ranges there are.
func (rcv *receiver) heldRanges(ranges []snRange) int {
	if rcv.outOfOrder == 0 {
		return 0
	}
	return rcv.in.newestRanges(rcv.rcvNxt, rcv.top(), ranges)
}

// firstAck returns the index of the first pending ACK that leaves. A legacy peer is sent all of
// them. For another one, those that do not fit a datagram beside an ACKR are left to the ACKR.
func (c *core) firstAck() int {
	if !c.sendsRanges() {
		return 0
	}
	fit := (c.mtu - segmentHeaderSize - ackRangesLargest) / segmentHeaderSize
	return max(0, len(c.acks)-max(1, fit))
}

const (
	// quickAll is the end of a session's start, in segments received. Until then every segment of a
	// stream is acknowledged at once: the path is unknown to the peer, and its window is small.
	quickAll = 16
	// quickPaced is that for a peer that reads ACKR, whose sender does not burst. 16 datagrams fill
	// a return path of 20 kbit/s for a third of a second.
	quickPaced = 4
)

func (c *core) quickAcks() uint64 {
	if c.sendsRanges() {
		return quickPaced
	}
	return quickAll
}

// fullWeight is what a full segment counts where ackShare acknowledges so many small ones.
func fullWeight(share uint32) uint32 { return max(share/2, 1) }

const (
	// acksPerRound is how many ACKs a stream gets in a round trip at least. A sender that measures
	// what the path delivers needs no more.
	acksPerRound = 4
	// perAckShare bounds the segments that one ACK answers by what arrives in a round trip. On 20
	// Mbit/s with an RTT of 20 ms the queue of a paced sender was 18 ms long with an eighth, and 9
	// with a sixteenth (95th percentile).
	perAckShare = 16
	// perAckMost bounds them on long paths: 10 packets are the burst of a sender that paces.
	perAckMost = 10
	// perAckWindow bounds them by the receive window.
	perAckWindow = 8
)

// bulkAcks returns how many full segments of a stream are acknowledged at once, and within which
// time (S1.75). It returns 0 where every second one is: the peer does not read ACKR, the path has
// not been measured, its round trip is too short for the clock, or acknowledgements are thinned.
func (c *core) bulkAcks(now millis) (segments uint32, within millis) {
	quarter := (millis(c.thin.least) - 1) / acksPerRound
	if c.perAck == 0 || quarter <= 0 || c.thin.wait(now) > 0 || !c.sendsRanges() {
		return 0, 0
	}
	return uint32(c.perAck), min(quarter, c.interval)
}

// pathMeasured processes the answer to a PING. What has arrived since the PING left is what the
// peer sends in a round trip.
func (c *core) pathMeasured(now millis) {
	if c.thin.asked > 0 {
		received := uint16(c.top()) - c.pingTop
		n := min(uint32(received)/perAckShare, c.rcvWnd/perAckWindow, perAckMost)
		c.perAck = uint8(max(n, 2))
		c.round.measured(c.thin.since(now))
	}
	c.thin.answered(now, c.newestAt, c.newestTS)
}

// acksFill reports whether the pending acknowledgements have waited long enough by their number.
func (c *core) acksFill() bool {
	return len(c.acks) >= acksHeld ||
		c.sendsRanges() && uint32(c.unacked) >= acksHeld*fullWeight(c.ackShare())
}

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

// bulkGap is how many segments behind a gap are a stream, whose acknowledgements leave one by one.
const bulkGap = 16

// acksSent notes that the pending acknowledgements have left.
func (c *core) acksSent(now millis) {
	n := uint32(c.unacked) / c.ackShare()
	if n > 0 || c.outOfOrder >= bulkGap {
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
// kind would do. due is when the acknowledgements before this one were to leave. news means that
// the PUSH has revealed a gap or filled the first one.
func (c *core) ackGap(due, now millis, news bool) {
	legacy := !c.ctl.known() && c.stats.segsIn >= legacyAfter
	switch {
	case c.outOfOrder == 0:
		c.ackNow(now)
	case legacy:
		c.ackWithin(due, now, min(c.interval, gapHold))
	case c.outOfOrder == 1:
		c.ackNow(now)
	default:
		if n, _ := c.bulkAcks(now); n > 0 && !news {
			return // as addAck has decided
		}
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
	c.ackGap(due, now, true)
}

// ackWithin acknowledges a PUSH after hold at the latest, and once a datagram is full.
func (c *core) ackWithin(due, now, hold millis) {
	if hold == 0 || c.modes.has(modeACKNoDelay) || c.acksFill() {
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
	c.pingTop = uint16(c.top())
}

// asksAnyway reports whether a PING is used to find out whether the peer is there.
func (c *core) asksAnyway() bool { return c.suspicious() || c.ctl.clockDoubted || c.life.asking }
