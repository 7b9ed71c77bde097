// SPDX-License-Identifier: MIT

package kcp

// mostBytes bounds the arguments of events, so that no product of them overflows.
const mostBytes = int64(1) << 40

// bounded returns n within the bounds of a number of bytes.
func bounded(n int64) int64 { return min(max(n, 0), mostBytes) }

// sinceSent returns how many bytes have been lost since a flight was sent.
func sinceSent(lostTotal uint64, f *flight) int64 { return bounded(int64(lostTotal - f.lost)) }

// sane returns an event with plausible values. A delivery rate is at most that of what was in
// flight, with allowance for losses that have arrived after all, in the round trip that it took.
func sane(event *ackEvent) ackEvent {
	a := *event
	a.bytes, a.lost, a.inFlight = bounded(a.bytes), bounded(a.lost), bounded(a.inFlight)
	a.sample, a.rate = bounded(a.sample), bounded(a.rate)
	if a.rtt >= 0 {
		a.rtt = min(max(a.rtt, 1000), 1000*second)
	}
	if a.newest == nil {
		a.rate, a.sample = 0, 0
		return a
	}
	most := 2 * bounded(a.newest.inFlight)
	a.sample = min(a.sample, most)
	if a.rtt > 0 {
		a.rate = min(a.rate, perSecond(most, a.rtt))
	}
	return a
}

// gains returns the gains of the rate and of the window, in percent.
func (c *rateController) gains() (pacing, window int64) {
	switch c.state {
	case rateStartup:
		return startupGain, windowGain
	case rateDrain:
		return drainGain, windowGain
	case rateDown:
		if c.queueing() {
			return downGainQueue, windowGain
		}
		return downGain, windowGain
	case rateUp:
		if c.surging() {
			return surgeGain, c.profile.upWindow
		}
		return c.profile.upGain, c.profile.upWindow
	case rateProbeRTT:
		return 100, probeRTTGain
	}
	return 100, windowGain
}

// bdp returns gain percent of the bytes that the path holds.
func (c *rateController) bdp(gain int64) int64 {
	if !c.model.measured() {
		return initialSegments * c.mss
	}
	return during(percent(c.model.bw, gain), c.model.minRTT)
}

// room rounds a number of bytes in flight up to what segmentation and pacing need.
func (c *rateController) room(n int64) int64 {
	n = max(n, 3*c.quantum(), leastSegments*c.mss)
	if c.state == rateUp {
		n += 2 * c.mss
	}
	return n
}

// target returns the bytes in flight that a probe begins with.
func (c *rateController) target() int64 { return min(c.bdp(100), c.cwnd) }

// headroom returns the long-term bound without what is left to others.
func (c *rateController) headroom() int64 {
	m := &c.model
	if m.inLong >= unlimited {
		return unlimited
	}
	return max(m.inLong-max(c.mss, percent(m.inLong, c.profile.headroom)), leastSegments*c.mss)
}

// windowFull reports whether the window has limited the sender.
func (c *rateController) windowFull(a *ackEvent) bool {
	return a.inFlight+a.bytes+a.lost >= c.cwnd-c.mss
}

// queueing reports whether a queue stands on the path.
func (c *rateController) queueing() bool {
	m := c.model.minRTT
	return c.model.standing() > m+max(m>>c.profile.queueShift, c.profile.queueLeast)
}

// arrives returns the share of segments that arrive, in lossOne, by which the window is divided to
// compensate for random loss. Phases that send less do not compensate.
func (c *rateController) arrives() int64 {
	if c.state == rateDown || c.state == rateProbeRTT || c.state == rateDrain {
		return lossOne
	}
	f := c.loss.floor
	if c.model.policer.active() {
		f = min(f, c.loss.calmRate(f))
	}
	return lossOne - min(f, c.profile.lossMost)
}

// arrivesPaced is arrives for the rate, which does not compensate while a queue stands.
func (c *rateController) arrivesPaced() int64 {
	if c.queueing() && c.state != rateUp && c.state != rateStartup {
		return lossOne
	}
	return c.arrives()
}

// leastRate returns the rate with which a path is never too slow to be measured.
func (c *rateController) leastRate() int64 {
	if c.model.srtt == 0 {
		return leastRate * c.mss
	}
	return max(leastRate*c.mss, perSecond(2*c.mss, c.model.srtt))
}

// downRounds returns of how many rounds the mean delivery rate bounds that of rateDown. After
// startup the older ones tell nothing of the path.
func (c *rateController) downRounds() uint32 {
	if c.loss.calmCount <= 1 {
		return 2
	}
	return averageRounds
}

func (c *rateController) setRate() {
	m := &c.model
	gain, _ := c.gains()
	r := mulDiv(percent(percent(m.bw, gain), pacingMargin), lossOne, c.arrivesPaced())
	if c.state == rateDown && m.meanCount >= 4 {
		mean, _ := m.average(c.downRounds())
		r = min(r, percent(mean, gain))
	}
	if m.rounds <= 1 && !c.filled() && m.measured() {
		first := perSecond(percent(initialSegments*c.mss, startupGain), max(m.srtt, millisecond))
		r = max(r, first)
	}
	if c.filled() || r > c.rate {
		c.rate = r
	}
	c.rate = max(c.rate, c.leastRate())
}

func (c *rateController) setWindow(a *ackEvent) {
	m := &c.model
	_, gain := c.gains()
	most := c.room(mulDiv(c.bdp(gain)+m.extra, lossOne, c.arrives()))
	switch {
	case c.filled():
		c.cwnd = min(c.cwnd+a.bytes, most)
	case c.cwnd < most || m.rounds <= 1:
		c.cwnd += a.bytes
	}
	if c.state == rateProbeRTT {
		c.cwnd = min(c.cwnd, c.probeRTTWindow())
	}
	bound := unlimited
	switch {
	case c.state == rateProbeRTT || c.state == rateCruise:
		bound = c.headroom()
	case c.inProbeBW():
		bound = m.inLong
	}
	c.cwnd = max(min(c.cwnd, bound, m.inShort), leastSegments*c.mss)
}

func (c *rateController) probeRTTWindow() int64 {
	return max(c.bdp(probeRTTGain), leastSegments*c.mss)
}
