// SPDX-License-Identifier: MIT

package kcp

import "math/bits"

// reorderDelay returns how long after its transmission a segment that was overtaken counts as lost
// (S1.17). That is 9/8 of the round-trip time (RFC 9002 section 6.1.2), and more where segments
// have been late (RFC 8985).
func (snd *sender) reorderDelay() millis {
	rtt := max(snd.rtt.srtt(), snd.rtt.latest)
	if n := millis(snd.reorder.steps); n > 0 {
		return rtt + max(min((n+1)*snd.rtt.least/4, snd.rtt.srtt()), rtt/8, 1)
	}
	return rtt + max(rtt/8, 1)
}

// detectOvertaken finds segments lost by the count of later transmissions that were acknowledged
// (S1.16). Each list is in the order of transmission, so only the lost segments and one more of
// each list are visited. Where segments have been late, the count is no measure, and time alone
// decides (RFC 8985 section 6.2, step 4).
func (snd *sender) detectOvertaken(now instant) {
	if snd.ring == nil || len(snd.topOrders) == 0 || snd.reorder.steps > 0 {
		return
	}
	for used := snd.ring.used &^ waitLists; used != 0; used &= used - 1 {
		level := bits.TrailingZeros32(used)
		for l := &snd.ring.lists[level]; l.n > 0 && snd.ring.at(l.head).order < snd.topOrders[0]; {
			snd.markLost(l.head, lossFast, now)
		}
	}
}

// openTries is how often the first segment of a session is sent before its timeout grows beyond a
// second. The path is unknown then, and a listener may have been full for a moment. Linux does the
// same (tcp_syn_linear_timeouts, S1.15).
const openTries = 8

// thinFlight is the most segments in flight that are too few to reveal a loss by later
// acknowledgements. thinTries is for how many timeouts their timeout does not grow (S1.14). That
// adds little load, and Linux does the same (tcp_thin_linear_timeouts).
const (
	thinFlight = 4
	thinTries  = 4
)

// thinOpening is thinTries for a small first segment while the path is unknown
// (tcp_syn_linear_timeouts).
const thinOpening = 3

// backoff returns how long a segment waits for its acknowledgement after level timeouts. Only those
// since the latest acknowledgement count: after it the path is there, whatever became of the
// segment (RFC 9002 section 6.2.1). The waits of a closing session stay short, because it has the
// linger time only.
func (c *core) backoff(level uint8) millis {
	level = min(level, c.timeouts)
	level -= min(level, c.linearTries())
	switch {
	case c.ctl.closing():
		return c.shortBackoff(level)
	case c.ctl.dialled() && c.sendUna == 0 && c.rcvNxt == 0:
		return c.openJitter(c.openBackoff(level), level)
	case !c.rtt.valid() && c.sendUna == 0:
		return c.openBackoff(level)
	}
	return backoff(c.rto(), level, c.noDelay())
}

// openBackoff returns the wait for the first acknowledgement of a session.
func (snd *sender) openBackoff(level uint8) millis {
	wait := snd.shortBackoff(min(level, openTries))
	return backoff(wait, max(level, openTries)-openTries, snd.noDelay())
}

// linearTries returns for how many timeouts the wait does not grow. Without a measured round trip a
// datagram may take longer than the first timeout. The wait then stays constant for little data
// only.
func (snd *sender) linearTries() uint8 {
	switch {
	case snd.sendUna.distance(snd.sendNxt) > thinFlight:
		return 0
	case snd.rtt.valid():
		return thinTries
	case snd.sendEnd == 1 && snd.sendBytes < uint32(snd.mss):
		return thinOpening
	}
	return 0
}

// openJitter lengthens a wait by up to a quarter, so that sessions that began together do not retry
// together. The first wait is unchanged.
func (c *core) openJitter(wait millis, level uint8) millis {
	if level == 0 {
		return wait
	}
	return wait + wait*millis(c.tsOrigin>>(level&15)&0xFF)/1024
}

// unheardRetry is the interval at which a closed session that has received nothing resends its
// first segment. Such a session has one second to reach its peer. If every third datagram is lost,
// all 10 attempts fail in one case of 1000.
const unheardRetry millis = 100

// retryHead returns when the first outstanding segment is resent because the session is closed and
// has received nothing. It returns never in all other cases.
func (c *core) retryHead() millis {
	if !c.ctl.unheard() || c.ring == nil || !c.ring.isOutstanding(c.sendUna) {
		return never
	}
	seg := c.ring.at(c.sendUna)
	if !seg.inFlight() {
		return never
	}
	return seg.sentAt + unheardRetry
}

// noRoomFor reports whether the peer has no room for a segment in flight, so that another
// transmission would be in vain. The first segment is always worth one, as a probe (S1.15).
func (snd *sender) noRoomFor(sn seqNum) bool {
	return snd.wndNews != windowUnheard && sn != snd.sendUna &&
		!sn.before(snd.wndUna+seqNum(snd.rmtWnd))
}

// unmeasured reports whether segments are in flight and no acknowledgement has given a round-trip
// time yet. The timeout is a guess then, and on a slow line a whole window may take longer. So only
// the first segment is resent, as a probe (RFC 6298 section 5.4 does so for every timeout).
func (snd *sender) unmeasured() bool {
	return !snd.rtt.valid() && snd.delivered == 0 && snd.inFlight > 0
}

// headTimeout returns when the first outstanding segment times out, never if it is queued for
// retransmission.
func (c *core) headTimeout() millis {
	seg := c.ring.at(c.sendUna)
	if !c.ring.isOutstanding(c.sendUna) || !seg.inFlight() {
		return never
	}
	return seg.sentAt + c.backoff(seg.level)
}

// collapseAfter is how many timeouts in a row show that the path is gone (RFC 9002 section 7.6).
const collapseAfter = 3

// timedOut marks sn lost and raises its back-off level. The first timeout of a segment is no sign
// of congestion: the retransmission is a probe (RFC 9002 section 6.2).
func (snd *sender) timedOut(sn seqNum, now instant) {
	seg := snd.ring.at(sn)
	seg.level = min(seg.level+1, maxLevel)
	if seg.level > snd.timeouts {
		snd.timeouts++
		if snd.flow != nil && snd.timeouts == collapseAfter {
			snd.flow.collapsed(now)
		}
	}
	cause := lossTimeout
	if seg.level == 1 {
		cause = lossProbe
	}
	snd.markLost(sn, cause, now)
}

// heardAcks ends a row of timeouts.
func (snd *sender) heardAcks() { snd.timeouts = 0 }

// detectTimeouts finds segments lost by time: by their timeout, or reorderDelay after their
// transmission if a later one has been acknowledged (S1.17).
func (c *core) detectTimeouts(at instant) {
	if c.ring == nil {
		return
	}
	now := at.ms()
	if now >= c.retryHead() {
		c.markLost(c.sendUna, lossTimeout, at)
	}
	if c.unmeasured() {
		if now >= c.headTimeout() {
			c.timedOut(c.sendUna, at)
		}
		return
	}
	if now >= c.headTimeout() {
		c.timedOut(c.sendUna, at)
	}
	// From the highest level down, so that a segment that moves up a level is visited once.
	for used := c.ring.used &^ waitLists; used != 0; {
		level := uint8(bits.Len32(used) - 1)
		used &^= 1 << level
		l := &c.ring.lists[level]
		wait := c.backoff(level)
		for l.n > 0 {
			seg := c.ring.at(l.head)
			if now >= seg.sentAt+wait && !c.noRoomFor(l.head) {
				c.timedOut(l.head, at)
			} else if seg.order < c.delivered && now >= seg.sentAt+c.reorderDelay() {
				c.markLost(l.head, lossEarly, at)
			} else {
				break
			}
		}
	}
}

// lossEvent returns when detectTimeouts next finds a loss.
func (c *core) lossEvent() millis {
	at := min(c.retryHead(), c.headTimeout())
	if c.unmeasured() {
		return at
	}
	for used := c.ring.used &^ waitLists; used != 0; used &= used - 1 {
		level := uint8(bits.TrailingZeros32(used))
		seg := c.ring.at(c.ring.lists[level].head)
		if !c.noRoomFor(c.ring.lists[level].head) {
			at = min(at, seg.sentAt+c.backoff(level))
		}
		if seg.order < c.delivered {
			at = min(at, seg.sentAt+c.reorderDelay())
		}
	}
	return at
}

// markLost moves sn to the list of segments to be resent, or to be skipped if its message was given
// up.
func (snd *sender) markLost(sn seqNum, cause lossCause, now instant) {
	seg := snd.ring.at(sn)
	if cause == lossFast || cause == lossEarly {
		snd.reorder.lost(now.ms(), snd.rtt.srtt())
		seg.level = 0 // later ones arrive, so the path is there
	}
	snd.tellLost(seg, cause, now)
	if p := snd.path; p != nil && cause != lossWindow {
		late := cause == lossProbe || cause == lossTimeout
		p.lost(int(seg.bytes())+int(p.overhead), late, now.ms(), snd.pathTiming())
	}
	seg.cause = cause
	snd.inFlight--
	if snd.trace != nil {
		snd.trace.count(now, traceSegmentLost, uint8(cause), uint32(sn), snd.inFlight, 0)
	}
	snd.ring.unlink(sn)
	if seg.term == termOver {
		snd.forgetData(seg)
		snd.ring.push(skipList, sn)
		snd.ring.timed.skip(sn)
		return
	}
	snd.ring.push(lostList, sn)
}

// tellLost tells the controller of a loss. It is not told of a first timeout, nor of what the peer
// had no room for. Before a round trip has been measured the timeout is a guess.
func (snd *sender) tellLost(seg *sendSegment, cause lossCause, now instant) {
	snd.flight.lost(seg.order)
	if snd.flow == nil {
		return
	}
	if cause != lossProbe && cause != lossWindow && snd.rtt.valid() {
		snd.flow.lose(now, &lossEvent{
			order: seg.order, newest: snd.order, bytes: seg.bytes(),
			segments: snd.inFlight, cause: cause,
		})
	}
	snd.flow.gone(seg.bytes())
}

// windowOpened marks segments lost that have timed out while the peer's window was closed, and
// clears their back-off: the peer had no room for them.
func (snd *sender) windowOpened(now instant) {
	if snd.ring == nil {
		return
	}
	for used := snd.ring.used &^ (waitLists | 1); used != 0; used &= used - 1 {
		for l := &snd.ring.lists[bits.TrailingZeros32(used)]; l.n > 0; {
			snd.markLost(l.head, lossWindow, now)
		}
	}
	lost := &snd.ring.lists[lostList]
	for sn, n := lost.head, lost.n; n > 0; n-- {
		seg := snd.ring.at(sn)
		seg.level = 0
		sn = seg.next
	}
}

// lingerBackoff bounds the back-off at the end of a stream, where there is little traffic and
// little time.
const lingerBackoff millis = 1000

// shortBackoff returns the wait after so many attempts at the end of a stream.
func (snd *sender) shortBackoff(tries uint8) millis {
	return min(backoff(snd.rto(), tries, snd.noDelay()), max(snd.rto(), lingerBackoff))
}

// expiry returns when the deadline of a message passes next, never if none has one.
func (snd *sender) expiry() millis {
	if snd.ring == nil || snd.ring.timed == nil {
		return never
	}
	return snd.ring.timed.event()
}

// expire gives up the messages whose deadlines have passed (S4.39). One that has not been sent is
// dropped, whatever the peer. One that was sent is given up if the peer reads SKIP, and otherwise
// stays, since the peer waits for it. While that is not known, it is looked at again after an RTO.
func (c *core) expire(at instant) {
	now := at.ms()
	if now < c.expiry() {
		return
	}
	t, dropped := c.ring.timed, false
	for i := t.head; i < len(t.list); i++ {
		m := &t.list[i]
		switch {
		case !m.due(now):
		case !m.first.before(c.sendNxt):
			for sn := m.first; sn != m.end(); sn++ {
				c.ring.at(sn).term = termOver
			}
			t.giveUp(m, timedDone)
			dropped = true
		case c.ctl.readsSkips():
			c.giveUpMessage(m, at)
		case c.ctl.incarnation != 0 && !c.ctl.known():
			t.postpone(m, timedWaits, now+c.rto())
		default:
			t.set(m, timedDone)
		}
	}
	if dropped {
		c.removeQueued()
	}
	t.trim()
}

// giveUpMessage gives up a message that was sent, in part at least. What is in flight of it for the
// first time may still arrive, and counts as lost 9/8 of a round trip after its transmission, like
// what has been overtaken (S4.41). A message that has been lost in part is given up at once.
func (c *core) giveUpMessage(m *timedMessage, at instant) {
	until := never
	for sn := m.first; sn != m.end(); sn++ {
		seg := c.ring.at(sn)
		switch {
		case !sn.before(c.sendNxt):
			c.skipQueued(c.ts(at.ms()))
			until = 0
		case !c.unacknowledged(sn):
			continue
		case !seg.inFlight():
			c.ring.unlink(sn)
			c.ring.push(skipList, sn)
			c.forgetData(seg)
			until = 0
		case seg.xmits > 1:
			until = 0
		default:
			until = min(until, seg.sentAt+c.lateAfter())
		}
		seg.term = termOver
	}
	if until > at.ms() {
		c.ring.timed.postpone(m, timedLate, until)
		return
	}
	c.ring.timed.giveUp(m, timedSkipped)
	for sn := m.first; sn != m.end(); sn++ {
		if c.unacknowledged(sn) && c.ring.at(sn).inFlight() {
			c.markLost(sn, lossProbe, at)
		}
	}
}

// lateAfter returns how long after its first transmission a segment is waited for whose deadline
// has passed.
func (snd *sender) lateAfter() millis {
	if !snd.rtt.valid() {
		return snd.rto()
	}
	return snd.reorderDelay()
}

// beginPath begins the search for the path's MTU, or the doubt about the present one: size is the
// size of a datagram, base what is fallen back to, and overhead what a datagram has besides
// segments.
func (c *core) beginPath(size, base, overhead int) {
	c.path = newPathMTU(size, base, overhead)
	for sn := c.sendUna; c.timeouts > 0 && sn != c.sendNxt; sn++ {
		if seg := c.ring.at(sn); c.unacknowledged(sn) && seg.level > 0 {
			c.path.lost(int(seg.bytes())+overhead, true, c.latest.ms(), c.pathTiming())
		}
	}
}

// pathHeard notes that the peer has been heard.
func (snd *sender) pathHeard() {
	if snd.path != nil {
		snd.path.heard()
	}
}

// endPath ends the search. The present MTU stays.
func (snd *sender) endPath() { snd.path = nil }

// wantsPath reports whether there is a reason to search for the path's MTU, or to doubt the present
// one: more than a few segments are in flight, or one has timed out.
func (c *core) wantsPath() bool {
	return (c.flow != nil || c.timeouts > 0) && c.sendUna != c.sendEnd && c.addr == nil &&
		c.ctl.readsParts()
}

// mayProbe reports whether probes of the path's MTU may leave. A session without data that is not
// acknowledged sends none. It searches for a larger one only while much is in flight and arrives.
func (c *core) mayProbe() bool {
	return c.sendUna != c.sendEnd &&
		(!c.path.searching() || c.timeouts == 0 && c.flow != nil)
}

// pathShrunk takes out of flight what is larger than the path carries now. It is sent again in
// parts at once. The controller is not told: that was no congestion.
func (c *core) pathShrunk(at instant) {
	if c.ring == nil || !c.ctl.readsParts() {
		return
	}
	for sn := c.sendUna; sn != c.sendNxt; sn++ {
		if seg := c.ring.at(sn); c.unacknowledged(sn) && seg.inFlight() &&
			int(seg.bytes()) > c.path.room() {
			c.markLost(sn, lossWindow, at)
			seg.level = 0
		}
	}
	c.heardAcks()
}
