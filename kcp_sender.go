// SPDX-License-Identifier: MIT

package kcp

import "math"

// modes are the ways of a session that are on.
type modes uint8

const (
	modeStream     modes = 1 << iota // a stream of bytes, not messages
	modeWriteDelay                   // new data waits for more, or for the interval
	modeACKNoDelay                   // what comes in is acknowledged at once
)

func (m modes) has(mode modes) bool { return m&mode != 0 }

// set switches a mode on or off.
func (m *modes) set(mode modes, on bool) {
	*m &^= mode
	if on {
		*m |= mode
	}
}

// windowNews is what is known of the peer's window.
type windowNews uint8

const (
	windowUnheard windowNews = iota
	windowHeard
	windowClocked // heard, together with the peer's clock
)

// sender is the sending half of a core. [una, nxt) is in flight and [nxt, end) is queued, all of them with the prefix send.
type sender struct {
	mtu      int // most bytes of segments in one packet
	mss      int // most bytes of data in one segment
	modes    modes
	rides    uint16 // delayed writes that may leave at once until ridesEnd: see owesRide
	interval millis // the most that an ACK or a delayed write waits
	minRTO   millis

	ring      *sendRing
	sendUna   seqNum
	sendNxt   seqNum
	sendEnd   seqNum
	sendBytes uint32 // of data in flight and queued
	sndWnd    uint32
	rmtWnd    uint32
	wndUna    seqNum // una and, on the peer's clock, ts of the segment that rmtWnd came with
	wndTS     timestamp
	wndNews   windowNews // what is known of the peer's window
	lastFrg   uint8      // frg of the newest segment sent for the first time
	fullRun   uint8      // full segments sent since the latest Write began
	inFlight  uint32     // sent, neither acknowledged nor found lost
	ridesEnd  timestamp
	askWindow bool   // a WASK is due
	filling   bool   // a Write copies into fill without the lock
	order     uint64 // transmissions made
	delivered uint64 // the highest transmission number acknowledged
	topOrders []uint64
	flushAt   millis // a delayed write goes out at this time at the latest
	probeAt   millis // next window probe, never if none is due
	probeWait millis
	rtt       rttEstimator
	rate      tokenBucket
	cc        congestion  // kept up to date whether or not it is in use
	flight    flightLimit // around the controller in use

	fill *slab   // has room for the next Write's segments, or nil
	held []*slab // hold datagrams that are being sent
}

func (c *sender) init() {
	c.mtu, c.mss = mtuDefault, mtuDefault-segmentHeaderSize
	c.interval, c.minRTO = intervalDefault, rtoMin
	c.sndWnd, c.rmtWnd = wndInitial, wndInitial
	c.flushAt, c.probeAt = never, never
	c.rtt.init()
	c.cc.init()
	c.flight.init(&c.cc)
}

// drop releases the buffer of sn, to the cache if there is one, and takes it out of its list.
func (c *sender) drop(sn seqNum, cache *bufferCache) {
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

// advanceUna moves sendUna to the first segment that is still outstanding.
func (c *sender) advanceUna() {
	n := c.sendUna.distance(c.sendNxt)
	c.sendUna += seqNum(c.ring.outstanding.run(c.ring.slot(c.sendUna), n, c.ring.size(), false))
}

// noteDelivered remembers the highest transmission numbers acknowledged, as many as fast retransmission counts: a
// segment whose number is below the least of them has been overtaken by that many.
func (c *sender) noteDelivered(order uint64) {
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

// queuedOutstanding returns the segments sent and not acknowledged, lost ones included.
func (c *sender) queuedOutstanding() uint32 {
	if c.ring == nil {
		return 0
	}
	return c.inFlight + c.ring.lost()
}

// setMTU changes the packet size and re-cuts what is queued but not yet sent; what is in flight stays as it is, for
// its sequence numbers are taken. It reports false, and changes nothing, if no data would fit.
func (c *sender) setMTU(mtu int) bool {
	if mtu <= segmentHeaderSize {
		return false
	}
	smaller := mtu-segmentHeaderSize < c.mss
	c.mtu, c.mss = mtu, mtu-segmentHeaderSize
	if smaller {
		c.recut()
	}
	return true
}

// setNoDelay sets the timing; a negative value leaves one as it is.
func (c *sender) setNoDelay(noDelay, interval, resend, nc int) {
	if noDelay >= 0 {
		c.minRTO = rtoMin
		if noDelay != 0 {
			c.minRTO = rtoNoDelay
		}
	}
	if interval >= 0 {
		c.interval = min(max(millis(interval), intervalMin), intervalMax)
	}
	if resend >= 0 && min(resend, resendMax) != len(c.topOrders) {
		c.topOrders = make([]uint64, min(resend, resendMax))
	}
	switch {
	case nc == 1:
		c.flight.inner = (*uncontrolled)(&c.cc)
	case nc >= 0:
		c.flight.inner = &c.cc
	}
}

// noDelay reports whether the no-delay mode is on, which lowers the least RTO and the back-off.
func (c *sender) noDelay() bool { return c.minRTO == rtoNoDelay }

func (c *sender) rto() millis { return c.rtt.rto(c.interval, c.minRTO) }

// queued returns the segments that wait to be acknowledged or sent.
func (c *sender) queued() uint32 { return c.sendUna.distance(c.sendEnd) }

// congestionWindow returns how many segments the congestion window allows in flight, 0 if there is none.
func (c *sender) congestionWindow() uint32 {
	if n := c.flight.inner.window(); n != math.MaxUint32 {
		return n
	}
	return 0
}

// setWindow sets the send window in segments.
func (c *sender) setWindow(segments uint32) { c.sndWnd = segments }

// releaseIdle gives the ring and the slabs back once they are empty.
func (c *sender) releaseIdle() {
	if c.ring != nil && c.sendUna == c.sendEnd {
		putSendRing(c.ring)
		c.ring = nil
	}
	if c.ring == nil && len(c.held) == 0 {
		c.held = nil
	}
	if c.fill != nil && c.ring == nil && !c.filling {
		c.fill.release()
		c.fill = nil
	}
}

// giveUp drops what is queued or in flight.
func (c *sender) giveUp() {
	if c.ring == nil {
		return
	}
	for sn := c.sendUna; sn != c.sendEnd; sn++ {
		c.drop(sn, nil)
	}
	c.sendUna, c.sendNxt = c.sendEnd, c.sendEnd
}
