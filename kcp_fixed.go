// SPDX-License-Identifier: MIT

package kcp

// fixedController sends at a bandwidth that it is given and compensates for losses, within bounds.
// If a third of all is lost for two seconds, or round trips take three times the shortest, the path
// does not have that bandwidth, and it sends less.
type fixedController struct {
	mss    int64 // bytes of a full segment
	given  int64 // bytes a second
	rate   int64 // bytes a second
	srtt   instant
	minRTT instant // the shortest, noRTT before the first sample
	slots  [5]fixedSlot
	newest int64   // second of the newest slot
	bad    instant // since when too much is lost, 0 if it is not
}

// fixedSlot is the outcome of the transmissions of a second.
type fixedSlot struct {
	at      int64  // second
	n, lost uint32 // segments
}

const (
	fixedLeast   = 50 // segments in all slots
	fixedLossBad = lossOne * 3 / 10
	fixedBadTime = 2 * second
	fixedLossMax = lossOne / 5 // the most that is compensated
)

func newFixedController(mss, bandwidth int64) *fixedController {
	c := &fixedController{mss: max(mss, 1), given: bounded(bandwidth), minRTT: noRTT}
	c.setRate(0)
	return c
}

func (c *fixedController) sent(instant, *flight) {}

func (c *fixedController) spurious(instant, int64) {}

func (c *fixedController) collapsed(instant) {}

func (c *fixedController) resized(mss int) {
	c.mss = max(int64(mss), 1)
	c.rate = max(c.rate, leastRate*c.mss)
}

// slot returns the slot of the present second.
func (c *fixedController) slot(now instant) *fixedSlot {
	at := int64(now / second)
	s := &c.slots[uint64(at)%uint64(len(c.slots))]
	if s.at != at {
		*s = fixedSlot{at: at}
	}
	c.newest = at
	return s
}

func (c *fixedController) lost(now instant, _ *lossEvent) {
	s := c.slot(now)
	s.n++
	s.lost++
}

func (c *fixedController) acked(now instant, a *ackEvent) {
	c.slot(now).n += a.segments
	if rtt := a.rtt; rtt >= 0 {
		rtt = min(max(rtt, 1), 1000*second)
		if c.srtt == 0 {
			c.srtt = rtt
		}
		c.srtt = max(c.srtt+(rtt-c.srtt)/8, 1)
		c.minRTT = min(c.minRTT, rtt)
	}
	switch {
	case c.lossRate() <= fixedLossBad:
		c.bad = 0
	case c.bad == 0:
		c.bad = max(now, 1)
	}
	c.setRate(now)
}

// lossRate returns the share lost in the last seconds, 0 if there were few segments.
func (c *fixedController) lossRate() int64 {
	var n, lost int64
	for _, s := range c.slots {
		if c.newest-s.at < int64(len(c.slots)) {
			n += int64(s.n)
			lost += int64(s.lost)
		}
	}
	if n < fixedLeast {
		return 0
	}
	return lost * lossOne / n
}

func (c *fixedController) setRate(now instant) {
	if c.bad != 0 && now-c.bad >= fixedBadTime {
		c.rate = c.given / 2
	} else {
		c.rate = mulDiv(c.given, lossOne, lossOne-min(c.lossRate(), fixedLossMax))
	}
	if c.minRTT < noRTT && c.srtt > 3*c.minRTT {
		c.rate = mulDiv(c.rate, int64(3*c.minRTT), int64(c.srtt))
	}
	c.rate = max(c.rate, leastRate*c.mss)
}

func (c *fixedController) pace() (rate, quantum int64) {
	return c.rate, min(max(2*c.mss, c.rate/1000), max(quantumMost, 2*c.mss))
}

// window is twice what the rate has in flight, so that the rate is what limits.
func (c *fixedController) window() (bytes int64, segments uint32) {
	if c.srtt == 0 {
		return initialSegments * c.mss, unlimitedSegments
	}
	return max(2*during(c.rate, c.srtt), initialSegments*c.mss), unlimitedSegments
}

func (c *fixedController) report(r *controlReport) {
	r.bandwidth = c.given
	if c.minRTT < noRTT {
		r.minRTT = c.minRTT
	}
	r.loss = float64(c.lossRate()) / float64(lossOne)
}
