// SPDX-License-Identifier: MIT

package kcp

import "math/bits"

// detectOvertaken finds the segments lost by the count of ACKs. Each list is in the order of transmission, so only
// segments that are lost are visited, and one more of each list.
func (snd *sender) detectOvertaken() {
	if snd.ring == nil || len(snd.topOrders) == 0 {
		return
	}
	for used := snd.ring.used &^ (1 << lostList); used != 0; used &= used - 1 {
		level := bits.TrailingZeros32(used)
		for l := &snd.ring.lists[level]; l.n > 0 && snd.ring.at(l.head).order < snd.topOrders[0]; {
			snd.markLost(l.head, lossFast)
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
	case c.ctl.closing():
		return c.shortBackoff(level)
	case c.ctl.dialled() && c.sendUna == 0 && c.rcvNxt == 0:
		return c.openJitter(c.openBackoff(level), level)
	case !c.rtt.valid() && c.sendUna == 0:
		return c.openBackoff(level)
	}
	return backoff(c.rto(), level, c.noDelay())
}

// openBackoff is the wait for the first acknowledgement of a session.
func (snd *sender) openBackoff(level uint8) millis {
	return backoff(snd.shortBackoff(min(level, openTries)), max(level, openTries)-openTries, snd.noDelay())
}

// linearTries returns for how many timeouts the wait does not grow. Without a measured round trip the path may be one on
// which a datagram takes longer than the first timeout: then it stays so for little data alone.
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
	if !c.ctl.unheard() || c.ring == nil || !c.ring.isOutstanding(c.sendUna) {
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
func (snd *sender) unmeasured() bool {
	return !snd.rtt.valid() && snd.delivered == 0 && snd.inFlight > 0
}

// headTimeout returns when the first outstanding segment times out, never if it is about to be sent again.
func (c *core) headTimeout() millis {
	seg := c.ring.at(c.sendUna)
	if !c.ring.isOutstanding(c.sendUna) || seg.list == lostList {
		return never
	}
	return seg.sentAt + c.backoff(seg.level)
}

// timedOut marks sn lost, for which it waits longer the next time.
func (snd *sender) timedOut(sn seqNum) {
	seg := snd.ring.at(sn)
	seg.level = min(seg.level+1, maxLevel)
	snd.markLost(sn, lossTimeout)
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
func (snd *sender) markLost(sn seqNum, cause lossCause) {
	seg := snd.ring.at(sn)
	snd.flight.lost(lossEvent{order: seg.order, newest: snd.order, inFlight: snd.inFlight, cause: cause})
	seg.cause = cause
	snd.inFlight--
	snd.ring.unlink(sn)
	snd.ring.push(lostList, sn)
}

// windowOpened sends again, without the back-off gathered meanwhile, what has timed out while the peer's window was
// closed: the peer had no room for it.
func (snd *sender) windowOpened() {
	if snd.ring == nil {
		return
	}
	for used := snd.ring.used &^ (1<<lostList | 1); used != 0; used &= used - 1 {
		for l := &snd.ring.lists[bits.TrailingZeros32(used)]; l.n > 0; {
			snd.markLost(l.head, lossTimeout)
		}
	}
	lost := &snd.ring.lists[lostList]
	for sn, n := lost.head, lost.n; n > 0; n-- {
		seg := snd.ring.at(sn)
		seg.level = 0
		sn = seg.next
	}
}

// patience bounds the back-off at the end of a stream, where little is said and there is little time to say it in.
const patience millis = 1000

// shortBackoff is the wait after so many tries at the end of a stream.
func (snd *sender) shortBackoff(tries uint8) millis {
	return min(backoff(snd.rto(), tries, snd.noDelay()), max(snd.rto(), patience))
}
