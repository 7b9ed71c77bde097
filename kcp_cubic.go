// SPDX-License-Identifier: MIT

package kcp

// cubicController is CUBIC (RFC 9438) with HyStart++ (RFC 9406), paced. It shares a path with TCP
// like another TCP, and takes every loss for congestion.
type cubicController struct {
	mss      int64   // bytes of a full segment
	cwnd     int64   // bytes
	ssthresh int64   // bytes
	srtt     instant // 0 before the first sample
	recovery uint64  // losses of transmissions up to this one have been answered
	newest   uint64  // the first transmission of the newest flight

	// Congestion avoidance since the last loss.
	epoch  instant // when it began, 0 if it has not
	most   int64   // window before the loss, W_max, in bytes
	k      int64   // milliseconds from epoch until the window is most again
	reno   int64   // what the window of Reno would be, W_est, in bytes
	credit int64   // bytes acknowledged towards its next segment

	// HyStart++. Round-trip times are the shortest of a round.
	nextRound uint64 // delivered at which the round ends
	roundMin  instant
	lastMin   instant // of the round before
	cssMin    instant // when conservative slow start began
	samples   uint32  // of this round
	cssRounds uint8   // rounds of conservative slow start that are left, 0 outside of it

	before cubicWindow // the last reduction
}

// cubicWindow is what a loss changes.
type cubicWindow struct{ cwnd, ssthresh, most int64 }

const (
	cubicBeta       = 70 // percent
	cubicLeast      = 2  // segments
	cubicInitial    = 10
	hystartSamples  = 8
	hystartLeast    = 4 * millisecond
	hystartMost     = 16 * millisecond
	hystartRounds   = 5
	hystartDivisor  = 4
	noRTT           = instant(unlimited)
	cubicWindowMost = int64(1) << 36 // bytes, so that no product overflows
)

func newCubicController(mss int64) *cubicController {
	mss = max(mss, 1)
	return &cubicController{
		mss: mss, cwnd: cubicInitial * mss, ssthresh: unlimited, roundMin: noRTT, lastMin: noRTT,
	}
}

func (c *cubicController) sent(_ instant, f *flight) { c.newest = f.order }

func (c *cubicController) resized(mss int) { c.mss = max(int64(mss), 1) }

func (c *cubicController) window() (bytes int64, segments uint32) {
	return c.cwnd, unlimitedSegments
}

// pace spreads the window over less than a round trip, so that the window limits in the end.
func (c *cubicController) pace() (rate, quantum int64) {
	if c.srtt == 0 {
		return 0, cubicInitial * c.mss
	}
	gain := int64(125)
	if c.cwnd < c.ssthresh {
		gain = 200
	}
	rate = max(perSecond(percent(c.cwnd, gain), c.srtt), 1)
	return rate, min(max(2*c.mss, rate/1000), max(quantumMost, 2*c.mss))
}

func (c *cubicController) report(r *controlReport) {
	switch {
	case c.cwnd >= c.ssthresh:
		r.state = "avoidance"
	case c.cssRounds > 0:
		r.state = "conservative"
	default:
		r.state = "slow-start"
	}
}

// lost reduces the window once for all losses of a round trip.
func (c *cubicController) lost(_ instant, l *lossEvent) {
	if l.order <= c.recovery {
		return
	}
	c.reduce()
	c.cwnd = c.ssthresh
}

// reduce notes a loss of what has been sent by now.
func (c *cubicController) reduce() {
	c.recovery = c.newest
	c.before = cubicWindow{c.cwnd, c.ssthresh, c.most}
	if c.cwnd < c.most {
		c.most = percent(c.cwnd, (100+cubicBeta)/2) // fast convergence
	} else {
		c.most = c.cwnd
	}
	c.ssthresh = max(percent(c.cwnd, cubicBeta), cubicLeast*c.mss)
	c.epoch, c.cssRounds = 0, 0
}

// spurious reverts the last reduction.
func (c *cubicController) spurious(instant, int64) {
	if c.before.cwnd > c.cwnd {
		c.cwnd, c.ssthresh, c.most = c.before.cwnd, c.before.ssthresh, c.before.most
		c.epoch = 0
	}
	c.before.cwnd = 0
}

func (c *cubicController) collapsed(instant) {
	c.reduce()
	c.cwnd = cubicLeast * c.mss
}

func (c *cubicController) acked(now instant, a *ackEvent) {
	if rtt := a.rtt; rtt >= 0 {
		rtt = min(max(rtt, 1), 1000*second)
		if c.srtt == 0 {
			c.srtt = rtt
		}
		c.srtt = max(c.srtt+(rtt-c.srtt)/8, 1)
	}
	bytes := bounded(a.bytes)
	// A window that is not used does not grow (RFC 9438 section 5.8). Half of it is enough in slow
	// start, where the rate is twice that of the window (RFC 7661 section 4.4.1).
	used := bounded(a.inFlight) + bytes + bounded(a.lost) + 3*c.mss
	if c.cwnd < c.ssthresh {
		if 2*used >= c.cwnd {
			c.slowStart(a, bytes)
		}
	} else if used >= c.cwnd {
		c.avoid(now, bytes)
	}
	c.cwnd = min(c.cwnd, max(cubicWindowMost, cubicLeast*c.mss))
}

// slowStart grows the window by what was acknowledged. When the round trips of a round are longer
// than those of the round before, it grows by less, and after some rounds it ends.
func (c *cubicController) slowStart(a *ackEvent, bytes int64) {
	if a.newest != nil && a.newest.delivered >= c.nextRound {
		c.nextRound = a.delivered
		c.lastMin, c.roundMin, c.samples = c.roundMin, noRTT, 0
		if c.cssRounds > 0 {
			if c.cssRounds--; c.cssRounds == 0 {
				c.ssthresh = c.cwnd
			}
		}
	}
	if a.rtt >= 0 {
		c.roundMin = min(c.roundMin, a.rtt)
		c.samples++
	}
	sampled := c.samples >= hystartSamples && c.lastMin < noRTT
	switch {
	case c.cssRounds > 0:
		bytes /= hystartDivisor
		if sampled && c.roundMin < c.cssMin {
			c.cssRounds = 0 // it was no queue
		}
	case sampled && c.roundMin >= c.lastMin+min(max(c.lastMin/8, hystartLeast), hystartMost):
		c.cssRounds, c.cssMin = hystartRounds, c.roundMin
	}
	c.cwnd += bytes
}

// avoid follows the cubic function, or Reno where that is faster.
func (c *cubicController) avoid(now instant, bytes int64) {
	if c.epoch == 0 {
		c.epoch, c.k, c.reno, c.credit = max(now, 1), 0, c.cwnd, 0
		if c.cwnd < c.most {
			// The cube root of (W_max-cwnd)/0.4 in segments, for milliseconds.
			c.k = cbrt(mulDiv((c.most-c.cwnd)*5/2, 1e9, c.mss))
		} else {
			c.most = c.cwnd
		}
	}
	d := int64((now-c.epoch+c.srtt)/millisecond) - c.k
	d = min(max(d, -100_000), 100_000)
	// 0.4 segments a second to the third.
	target := c.most + d*d*d/1000*c.mss/2500/1000
	target = min(max(target, c.cwnd), c.cwnd*3/2)
	c.cwnd += mulDiv(target-c.cwnd, min(bytes, c.cwnd), c.cwnd)
	// The growth of Reno with the decrease of CUBIC, 3(1-0.7)/(1+0.7) segments a round trip.
	c.credit += percent(bytes, 53)
	if n := c.credit / c.reno; n > 0 {
		c.credit -= n * c.reno
		c.reno += n * c.mss
	}
	c.cwnd = max(c.cwnd, c.reno)
}
