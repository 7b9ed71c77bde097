// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"testing"
)

// cubicRound acknowledges a window of data, a segment at a time, over a round trip.
func cubicRound(c *cubicController, now, rtt instant, delivered *uint64) instant {
	f := &flight{order: c.newest + 1, delivered: *delivered}
	c.sent(now, f)
	n := c.cwnd / c.mss
	for i := range n {
		*delivered += uint64(c.mss)
		c.acked(now+rtt+instant(i)*rtt/instant(n), &ackEvent{
			bytes: c.mss, segments: 1, rtt: rtt, newest: f, delivered: *delivered,
			inFlight: c.cwnd - c.mss,
		})
	}
	return now + rtt
}

// TestCubicGrows compares the window after a loss with the function of RFC 9438, section 4.2.
func TestCubicGrows(t *testing.T) {
	const rtt = 100 * millisecond
	c := newCubicController(1000)
	c.cwnd, c.ssthresh = 400*1000, 400*1000
	c.sent(second, &flight{order: 1000})
	c.lost(second, &lossEvent{order: 900})
	if c.cwnd != 280*1000 || c.ssthresh != c.cwnd {
		t.Fatalf("window %d and threshold %d after a loss, want 280000", c.cwnd, c.ssthresh)
	}
	k := math.Cbrt(0.3 * 400 / 0.4)
	now, delivered := 2*second, uint64(0)
	begun := now + rtt
	for now < 12*second {
		now = cubicRound(c, now, rtt, &delivered)
		passed := float64(now-begun)/1e9 + 0.1
		want := 400 + 0.4*math.Pow(passed-k, 3)
		if got := float64(c.cwnd) / 1000; math.Abs(got-want) > 12 {
			t.Errorf("%.1f s: window %.0f segments, want about %.0f", passed, got, want)
		}
	}
	if c.cwnd < 400*1000 {
		t.Errorf("window %d, want that before the loss", c.cwnd)
	}
}

// TestCubicFriendly holds that on a short path the window grows as fast as that of Reno.
func TestCubicFriendly(t *testing.T) {
	const rtt = 5 * millisecond
	c := newCubicController(1000)
	c.cwnd, c.ssthresh = 30*1000, 30*1000
	c.sent(second, &flight{order: 1000})
	c.lost(second, &lossEvent{order: 900})
	before := c.cwnd
	now, delivered := 2*second, uint64(0)
	for range 40 {
		now = cubicRound(c, now, rtt, &delivered)
	}
	// 0.53 segments a round trip.
	if grown := c.cwnd - before; grown < 17*1000 || grown > 24*1000 {
		t.Errorf("grew by %d in 40 round trips, want about 21000", grown)
	}
}

// TestCubicReduces holds that the losses of a round trip are one event, that a second reduction
// gives up room, and that a spurious one is reverted.
func TestCubicReduces(t *testing.T) {
	c := newCubicController(1000)
	c.cwnd, c.ssthresh = 100*1000, 50*1000
	c.sent(second, &flight{order: 100})
	for order := range uint64(100) {
		c.lost(second, &lossEvent{order: order + 1})
	}
	if c.cwnd != 70*1000 {
		t.Errorf("window %d after the losses of a round trip, want 70000", c.cwnd)
	}
	c.sent(second, &flight{order: 200})
	c.lost(second, &lossEvent{order: 150})
	if c.cwnd != 49*1000 || c.most >= 70*1000 {
		t.Errorf("window %d and goal %d after another, want 49000 and less than 70000", c.cwnd,
			c.most)
	}
	c.spurious(second, 1000)
	if c.cwnd != 70*1000 || c.most != 100*1000 {
		t.Errorf("window %d and goal %d after a spurious loss, want 70000 and 100000", c.cwnd,
			c.most)
	}
	c.spurious(second, 1000)
	if c.cwnd != 70*1000 {
		t.Errorf("window %d after the second time, want 70000", c.cwnd)
	}
	c.collapsed(second)
	if c.cwnd != cubicLeast*1000 || c.ssthresh != 49*1000 {
		t.Errorf("window %d and threshold %d after a collapse", c.cwnd, c.ssthresh)
	}
}

// TestCubicSlowStartEnds holds that slow start doubles the window, and ends when round trips grow
// (RFC 9406).
func TestCubicSlowStartEnds(t *testing.T) {
	c := newCubicController(1000)
	now, delivered, rtt := second, uint64(0), 100*millisecond
	for i, want := range []int64{20, 40, 80, 160} {
		now = cubicRound(c, now, rtt, &delivered)
		if c.cwnd != want*1000 {
			t.Fatalf("round %d: window %d, want %d", i+1, c.cwnd, want*1000)
		}
	}
	if rate, _ := c.pace(); !about(rate, 2*c.cwnd*10, 2) {
		t.Errorf("paces slow start with %d, want twice %d", rate, c.cwnd*10)
	}
	now = cubicRound(c, now, 120*millisecond, &delivered)
	if c.cssRounds == 0 {
		t.Fatal("round trips of 120 ms after 100 do not end slow start")
	}
	before := c.cwnd
	now = cubicRound(c, now, 120*millisecond, &delivered)
	if grown := c.cwnd - before; grown > before*3/10 {
		t.Errorf("grew by %d of %d in conservative slow start, want a quarter", grown, before)
	}
	for range 5 {
		now = cubicRound(c, now, 120*millisecond, &delivered)
	}
	if c.ssthresh >= unlimited {
		t.Error("conservative slow start does not end")
	}

	t.Log("# a round trip that falls again was no queue")
	c = newCubicController(1000)
	delivered = 0
	for range 3 {
		now = cubicRound(c, now, rtt, &delivered)
	}
	now = cubicRound(c, now, 120*millisecond, &delivered)
	cubicRound(c, now, rtt, &delivered)
	if c.cssRounds != 0 || c.ssthresh < unlimited {
		t.Errorf("%d rounds of conservative slow start are left, threshold %d", c.cssRounds,
			c.ssthresh)
	}
}

// TestCubicUnused holds that a window does not grow while it is not what limits the sender.
func TestCubicUnused(t *testing.T) {
	c := newCubicController(1000)
	for i := range 100 {
		c.acked(second+instant(i)*millisecond, &ackEvent{
			bytes: 1000, segments: 1, rtt: 50 * millisecond, newest: &flight{},
		})
	}
	if c.cwnd > 20*1000 {
		t.Errorf("window %d with one segment in flight", c.cwnd)
	}
}

// TestCubicFillsLine holds the goodput on a line without random loss.
func TestCubicFillsLine(t *testing.T) {
	l := newControlLine(mbit(20), 50*millisecond, 50*millisecond, newCubicController(controlMSS))
	l.run(3*second, nil)
	if got := l.goodput(0, 10*second); got < percent(l.rate, 95) {
		t.Errorf("goodput %d of %d", got, l.rate)
	}
}
