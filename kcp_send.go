// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"math/bits"
)

// lossCause is how a segment was found lost.
type lossCause uint8

const (
	lossNone    lossCause = iota
	lossFast              // enough ACKs for segments sent later
	lossEarly             // some ACK for a later one, a round trip has passed, and there is nothing new to send
	lossTimeout           // its retransmission timer ran out
)

// send queues p: in stream mode as part of the stream, in message mode as one message of up to 255 fragments. It
// returns the segments added, or -1 for an empty p and -2 for a message of too many fragments.
func (c *core) send(p []byte) int {
	if len(p) == 0 {
		return -1
	}
	if c.stream {
		if p = c.fillLast(p); len(p) == 0 {
			return 0
		}
	}
	count := (len(p) + c.mss - 1) / c.mss
	if !c.stream && count > 255 {
		return -2
	}
	for i := range count {
		n := min(len(p), c.mss)
		frg := uint8(0)
		if !c.stream {
			frg = uint8(count - 1 - i)
		}
		c.enqueue(append(getBuffer(n)[:0], p[:n]...), frg)
		p = p[n:]
	}
	return count
}

// fillLast appends as much of p as fits to the last queued segment, so that a stream of small writes leaves in full
// segments, and returns the rest.
func (c *core) fillLast(p []byte) []byte {
	if c.sendNxt == c.sendEnd {
		return p
	}
	seg := c.ring.at(c.sendEnd - 1)
	n := min(c.cut(c.sendEnd-1)-len(seg.data), len(p))
	if n <= 0 {
		return p
	}
	if len(seg.data)+n > cap(seg.data) {
		bigger := append(getBuffer(c.mss)[:0], seg.data...)
		seg.free(nil)
		seg.data = bigger
	}
	seg.data = append(seg.data, p[:n]...)
	c.sendBytes += uint32(n)
	return p[n:]
}

// cut is how many bytes the segment sn may hold. The first of a session leaves room for the HELLO that goes along with
// it, and for the ACK of what it answers.
func (c *core) cut(sn seqNum) int {
	if sn != 0 || c.order > 0 || c.ctl.incarnation == 0 {
		return c.mss
	}
	room := helloSegment
	if c.ctl.accepted {
		room += segmentHeaderSize
	}
	if c.mss <= room {
		return c.mss
	}
	return c.mss - room
}

// enqueue takes over a pooled buffer as the next segment's data.
func (c *core) enqueue(data []byte, frg uint8) {
	n := c.queued() + 1
	switch {
	case c.ring == nil:
		c.ring = getSendRing(n)
	case n > c.ring.size():
		c.ring = c.ring.grow(n, c.sendUna, c.sendEnd)
	}
	*c.ring.at(c.sendEnd) = sendSegment{data: data, frg: frg}
	c.sendEnd++
	c.sendBytes += uint32(len(data))
}

// delayWrite lets queued data wait for the interval, if writes are delayed.
func (c *core) delayWrite(now millis) {
	if c.writeDelay && c.flushAt == never {
		c.flushAt = now + c.interval
	}
}

// restRides is how many full segments of a Write take its rest along. Up to then waiting for the next Write saves a good
// part of the packets; a reader of large frames would wait for the rest of each.
const restRides = 8

// released reports whether new data need not wait for more: no write is delayed, the interval is over, it is the rest of a
// large Write, a packet that has just left would have carried it, or there is enough to fill a packet.
func (c *core) released(now millis) bool {
	return c.flushAt == never || c.flushAt <= now || c.fullRun >= restRides || c.owesRide(now) || c.fillsPacket()
}

// fillsPacket reports whether the new data fills a packet, so that waiting adds nothing to that.
func (c *core) fillsPacket() bool {
	full := c.mtu
	if !c.stream {
		full -= segmentHeaderSize // no other message fits behind it
	}
	size := 0
	for sn := c.sendNxt; sn != c.sendEnd; sn++ {
		n := len(c.ring.at(sn).data)
		if size += segmentHeaderSize + n; size >= full || n >= c.cut(sn) {
			return true
		}
	}
	return false
}

// owesRide reports whether a delayed write makes up for a packet that it has missed. The acknowledgement of bulk data
// leaves as soon as it is received, before the program can have written its answer, a multiplexer's window update for
// instance. So the answer leaves at once as well, up to an interval after the data: as if the acknowledgement had waited.
func (c *core) owesRide(now millis) bool { return c.rides > 0 && timestamp(now).before(c.ridesEnd) }

// giveRides gives leave to at least n delayed writes: one for each packet that has left without new data, and as many as
// there would have been acknowledgements if the data had not come in large batches.
func (c *core) giveRides(n uint32) {
	if !c.writeDelay || c.newestAt < 0 {
		return
	}
	c.rides = max(c.rides, uint16(min(n, math.MaxUint16)))
	c.ridesEnd = timestamp(c.newestAt + c.interval)
}

// recut cuts queued segments that are larger than mss anew. Messages keep their bounds while they fit 255 fragments.
func (c *core) recut() {
	// The rest of a message whose first fragments are on their way keeps its cut: they have told the count.
	first := c.sendNxt
	for partial := c.lastFrg > 0; partial && first != c.sendEnd; first++ {
		partial = c.ring.at(first).frg > 0
	}
	fits := true
	for sn := first; sn != c.sendEnd && fits; sn++ {
		fits = len(c.ring.at(sn).data) <= c.mss
	}
	if fits {
		return
	}
	var old []sendSegment
	for sn := first; sn != c.sendEnd; sn++ {
		seg := c.ring.at(sn)
		old = append(old, *seg)
		c.sendBytes -= uint32(len(seg.data))
		seg.data, seg.slab = nil, nil
	}
	c.sendEnd = first
	var message []byte
	for i := range old {
		p := &old[i]
		message = append(message, p.data...)
		p.free(nil)
		if p.frg > 0 {
			continue
		}
		c.requeue(message)
		message = message[:0]
	}
	if len(message) > 0 {
		c.requeue(message)
	}
}

// requeue queues a message again whose bounds are to be kept. A message that no longer fits 255 fragments becomes
// several.
func (c *core) requeue(message []byte) {
	for len(message) > 0 {
		n := min(len(message), 255*c.mss)
		count := (n + c.mss - 1) / c.mss
		for i := range count {
			m := min(len(message), c.mss)
			frg := uint8(0)
			if !c.stream {
				frg = uint8(count - 1 - i)
			}
			c.enqueue(append(getBuffer(m)[:0], message[:m]...), frg)
			message = message[m:]
		}
	}
}

// drop releases the buffer of sn, to the cache if there is one, and takes it out of its list.
func (c *core) drop(sn seqNum, cache *bufferCache) {
	seg := c.ring.at(sn)
	c.sendBytes -= uint32(len(seg.data))
	seg.free(cache)
	if slot := c.ring.slot(sn); c.ring.outstanding.has(slot) {
		if seg.list != lostList {
			c.inFlight--
		}
		c.ring.unlink(sn)
		c.ring.outstanding.clear(slot)
	}
}

// acknowledged handles one ACK. It returns the round-trip time it measured, or -1. An ACK that answers no
// transmission of a segment in flight changes nothing.
func (c *core) acknowledged(ctx *inputContext, sn seqNum, ts timestamp) (rtt millis) {
	now := ctx.now.ms()
	if c.addr.acknowledged(sn, ts) {
		if c.addr.probes == 1 && !c.rtt.valid {
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
			c.cc.undo()
		}
	} else if ts == seg.firstTS {
		rtt = millis(c.ts(now) - ts)
		if seg.cause == lossTimeout {
			c.cc.undo()
		}
	}
	c.drop(sn, ctx.cache)
	if sn == c.sendUna {
		c.advanceUna()
	}
	return rtt
}

// advanceUna moves sendUna to the first segment that is still outstanding.
func (c *core) advanceUna() {
	n := c.sendUna.distance(c.sendNxt)
	c.sendUna += seqNum(c.ring.outstanding.run(c.ring.slot(c.sendUna), n, c.ring.size(), false))
}

// acknowledgedBelow handles a cumulative acknowledgement and returns how many segments it took out of flight.
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
				// Of several transmissions it would be unknown which one arrived.
				c.noteDelivered(seg.order)
			}
			if seg.list == lostList && seg.cause == lossTimeout {
				c.cc.undo()
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

// noteDelivered remembers the highest transmission numbers acknowledged, as many as fast retransmission counts: a
// segment whose number is below the least of them has been overtaken by that many.
func (c *core) noteDelivered(order uint64) {
	c.delivered = max(c.delivered, order)
	t := c.topOrders
	if len(t) == 0 || order <= t[0] {
		return
	}
	i := 0
	for ; i+1 < len(t) && t[i+1] < order; i++ {
		t[i] = t[i+1]
	}
	t[i] = order
}

// detectOvertaken finds the segments lost by the count of ACKs. Each list is in the order of transmission, so only
// segments that are lost are visited, and one more of each list.
func (c *core) detectOvertaken() {
	if c.ring == nil || len(c.topOrders) == 0 {
		return
	}
	for used := c.ring.used &^ (1 << lostList); used != 0; used &= used - 1 {
		level := bits.TrailingZeros32(used)
		for l := &c.ring.lists[level]; l.n > 0 && c.ring.at(l.head).order < c.topOrders[0]; {
			c.markLost(l.head, lossFast)
		}
	}
}

// openTries is how often the first segment of a session is sent before its waits grow beyond a second: nothing is known of
// the path yet, and a listener may have been full for a moment. Linux does likewise (tcp_syn_linear_timeouts).
const openTries = 8

// thinFlight is how many segments in flight are too few for later ones to show that one is lost, and thinTries for how many
// timeouts the wait for them does not grow: that adds little to the load, and Linux does likewise for TCP
// (tcp_thin_linear_timeouts).
const (
	thinFlight = 4
	thinTries  = 4
)

// thinOpening is the same for a small first segment, while nothing is known of the path (tcp_syn_linear_timeouts).
const thinOpening = 3

// backoff is how long a segment waits for its acknowledgement after level timeouts. Once the session is being closed it
// has the linger time and no longer, so the waits stay short.
func (c *core) backoff(level uint8) millis {
	level -= min(level, c.linearTries())
	switch {
	case c.ctl.closing:
		return c.shortBackoff(level)
	case c.ctl.dialled && c.sendUna == 0 && c.rcvNxt == 0:
		return c.openJitter(c.openBackoff(level), level)
	case !c.rtt.valid && c.sendUna == 0:
		return c.openBackoff(level)
	}
	return backoff(c.rto(), level, c.noDelay)
}

// openBackoff is the wait for the first acknowledgement of a session.
func (c *core) openBackoff(level uint8) millis {
	return backoff(c.shortBackoff(min(level, openTries)), max(level, openTries)-openTries, c.noDelay)
}

// linearTries returns for how many timeouts the wait does not grow. Without a measured round trip the path may be one on
// which a datagram takes longer than the first timeout: then it stays so for little data alone.
func (c *core) linearTries() uint8 {
	switch {
	case c.sendUna.distance(c.sendNxt) > thinFlight:
		return 0
	case c.rtt.valid:
		return thinTries
	case c.sendEnd == 1 && c.sendBytes < uint32(c.mss):
		return thinOpening
	}
	return 0
}

// openJitter lengthens a wait by up to a quarter, so that many that have begun at once do not all come again at once. The
// first wait stays as it is.
func (c *core) openJitter(wait millis, level uint8) millis {
	if level == 0 {
		return wait
	}
	return wait + wait*millis(c.tsOrigin>>(level&15)&0xFF)/1024
}

// unheardRetry is how often the first segment is sent again by a closed session that has heard nothing yet: it has one
// second to find its peer, and 10 tries fail together once in 1000 where each third datagram is lost.
const unheardRetry millis = 100

// retryHead returns when the first outstanding segment is sent again because the session is closed and has heard
// nothing, never in all other cases.
func (c *core) retryHead() millis {
	if !c.ctl.unheard || c.ring == nil || !c.ring.isOutstanding(c.sendUna) {
		return never
	}
	seg := c.ring.at(c.sendUna)
	if seg.list == lostList {
		return never
	}
	return seg.sentAt + unheardRetry
}

// unmeasured reports whether segments are in flight, and nothing has been acknowledged yet from which a round-trip time
// could be taken. The timeout is a guess then, and on a slow line all of a window may outlast it: only the first segment is
// sent again, as a question (RFC 6298 section 5.4 does so for every timeout).
func (c *core) unmeasured() bool { return !c.rtt.valid && c.delivered == 0 && c.inFlight > 0 }

// headTimeout returns when the first outstanding segment times out, never if it is about to be sent again.
func (c *core) headTimeout() millis {
	seg := c.ring.at(c.sendUna)
	if !c.ring.isOutstanding(c.sendUna) || seg.list == lostList {
		return never
	}
	return seg.sentAt + c.backoff(seg.level)
}

// timedOut marks sn lost, for which it waits longer the next time.
func (c *core) timedOut(sn seqNum) {
	seg := c.ring.at(sn)
	seg.level = min(seg.level+1, maxLevel)
	c.markLost(sn, lossTimeout)
}

// detectTimeouts finds the segments lost by time.
func (c *core) detectTimeouts(now millis) {
	if c.ring == nil {
		return
	}
	if now >= c.retryHead() {
		c.markLost(c.sendUna, lossTimeout)
	}
	if c.unmeasured() {
		if now >= c.headTimeout() {
			c.timedOut(c.sendUna)
		}
		return
	}
	early := !c.canSendNew()
	// From the highest level down, so that what moves up a level is not looked at twice.
	for used := c.ring.used &^ (1 << lostList); used != 0; {
		level := uint8(bits.Len32(used) - 1)
		used &^= 1 << level
		l := &c.ring.lists[level]
		wait := c.backoff(level)
		for l.n > 0 {
			seg := c.ring.at(l.head)
			if now >= seg.sentAt+wait {
				c.timedOut(l.head)
			} else if early && seg.order < c.delivered && now >= seg.sentAt+c.rtt.reorderDelay() {
				c.markLost(l.head, lossEarly)
			} else {
				break
			}
		}
	}
}

// lossEvent returns when detectTimeouts next has something to find.
func (c *core) lossEvent() millis {
	at := c.retryHead()
	if c.unmeasured() {
		return min(at, c.headTimeout())
	}
	early := !c.canSendNew()
	for used := c.ring.used &^ (1 << lostList); used != 0; used &= used - 1 {
		level := uint8(bits.TrailingZeros32(used))
		seg := c.ring.at(c.ring.lists[level].head)
		at = min(at, seg.sentAt+c.backoff(level))
		if early && seg.order < c.delivered {
			at = min(at, seg.sentAt+c.rtt.reorderDelay())
		}
	}
	return at
}

// markLost moves sn to the list of what is to be sent again.
func (c *core) markLost(sn seqNum, cause lossCause) {
	seg := c.ring.at(sn)
	c.cc.lost(cause, seg.order, c.order, c.inFlight)
	c.flight.lost(seg.order)
	seg.cause = cause
	c.inFlight--
	c.ring.unlink(sn)
	c.ring.push(lostList, sn)
}

// windowOpened sends again, without the back-off gathered meanwhile, what has timed out while the peer's window was
// closed: the peer had no room for it.
func (c *core) windowOpened() {
	if c.ring == nil {
		return
	}
	for used := c.ring.used &^ (1<<lostList | 1); used != 0; used &= used - 1 {
		for l := &c.ring.lists[bits.TrailingZeros32(used)]; l.n > 0; {
			c.markLost(l.head, lossTimeout)
		}
	}
	lost := &c.ring.lists[lostList]
	for sn, n := lost.head, lost.n; n > 0; n-- {
		seg := c.ring.at(sn)
		seg.level = 0
		sn = seg.next
	}
}

// flightRoom reports whether another segment may be in flight, as far as the path and the congestion window, if it is
// on, are concerned.
func (c *core) flightRoom() bool {
	return (c.cc.off || c.inFlight < c.cc.window) && !c.flight.holds(c.inFlight)
}

// resends reports whether the first of the lost segments may be sent again now. While nothing is measured it is the only
// one, and takes the place of its transmission before.
func (c *core) resends() bool { return c.ring.lost() > 0 && (c.unmeasured() || c.flightRoom()) }

// writeMost is how many bytes a session takes from Write before they are acknowledged, however small the windows. A program
// that writes a request and then reads an answer that the peer writes meanwhile needs no second goroutine up to there.
const writeMost = 4 << 20

// writeSegments bounds the same for small messages, each of which takes a buffer and a slot in the ring.
const writeSegments = 16384

// writeLeast is how many segments a Write may always queue on a short path, as far as the send window goes.
const writeLeast = 1024

// writeShare: a Write that waits goes on once this share of the window is free, so that it is not woken for each ACK (the
// kernel's sk_stream_write_space does likewise for TCP).
const writeShare = 4

// writeRoom returns how many segments a Write may queue now, and for how many one that has had to wait goes on waiting.
// While a short path alone sets the pace, no more than twice what that holds in flight is queued in all: more would only
// leave the processor's caches before it is sent. With it windows of 4096 and 32768 were as fast as one of 1024 on loopback,
// and 15 and 25 % slower without.
func (c *core) writeRoom() (free, share uint32) {
	queued, mss := c.queued(), uint32(c.mss)
	most := max(min(writeMost/mss, writeSegments), c.sndWnd)
	free = min((atMost(c.sendBytes, writeMost)+mss-1)/mss, atMost(queued, writeSegments))
	free = max(free, atMost(queued, c.sndWnd))
	if c.pathSetsPace() {
		limit := c.sndWnd
		if limit > writeLeast {
			limit = min(max(2*c.flight.limit, writeLeast), limit)
		}
		most = min(most, limit)
		free = min(free, atMost(queued, limit))
	}
	if c.memory.room < free {
		free = max(c.memory.room, atMost(queued, roomLeast))
		most = min(most, queued+free)
	}
	return free, max(min(most, c.sndWnd)/writeShare, 1)
}

// pathSetsPace reports whether a short path alone limits what leaves: not the peer's window, a rate limit, or a peer that
// has stopped to acknowledge.
func (c *core) pathSetsPace() bool {
	if !c.flight.short() || c.rate.rate != 0 || c.rmtWnd <= c.sendUna.distance(c.sendNxt) {
		return false
	}
	return c.ring == nil || c.ring.used&^(1<<lostList|1) == 0 // nothing that was sent has timed out
}

// atMost returns how far used is from limit, 0 if it is there or beyond.
func atMost(used, limit uint32) uint32 { return limit - min(used, limit) }

// canSendNew reports whether a queued segment may go out.
func (c *core) canSendNew() bool {
	return c.sendNxt != c.sendEnd && c.sendUna.distance(c.sendNxt) < min(c.sndWnd, c.rmtWnd) && c.flightRoom()
}

// updateProbe starts asking for the window when the peer has closed it: its own word that it has opened again may be
// lost, and what is in flight may lie beyond what it takes. A window is mostly closed for a moment only, so the first
// question comes after an RTO.
func (c *core) updateProbe(now millis) {
	if c.rmtWnd > 0 || c.sendUna == c.sendEnd {
		c.probeAt, c.probeWait = never, 0
		return
	}
	if c.probeAt == never {
		c.probeWait = min(c.rto(), probeFirst)
		c.probeAt = now + c.probeWait
	}
}
