// SPDX-License-Identifier: MIT

package kcp

import "testing"

// TestFixedHoldsRate holds that the rate is the one given, and what random loss takes of it is
// compensated.
func TestFixedHoldsRate(t *testing.T) {
	for _, s := range []struct {
		loss  float64
		least int64 // percent of the rate given
	}{{0, 99}, {0.1, 98}, {0.2, 95}} {
		l := newControlLine(mbit(50), 100*millisecond, 100*millisecond,
			newFixedController(controlMSS, mbit(20)))
		l.loss = s.loss
		l.run(3*second, nil)
		got := l.goodput(0, 5*second)
		if got < percent(mbit(20), s.least) || got > percent(mbit(20), 103) {
			t.Errorf("loss %v: goodput %d, want %d", s.loss, got, mbit(20))
		}
	}
}

// TestFixedBrakes holds that less is sent on a path that does not have the bandwidth given.
func TestFixedBrakes(t *testing.T) {
	l := newControlLine(mbit(10), 100*millisecond, 50*millisecond,
		newFixedController(controlMSS, mbit(40)))
	l.run(l.now+5*second, nil)
	if rate, _ := l.flows[0].c.pace(); rate > mbit(20) {
		t.Errorf("sends %d with half of it lost, want half of %d", rate, mbit(40))
	}

	t.Log("# with a long queue")
	l = newControlLine(mbit(10), 50*millisecond, 10*second,
		newFixedController(controlMSS, mbit(20)))
	l.run(l.now+20*second, nil)
	l.highest = 0
	l.run(l.now+5*second, nil)
	if l.highest > 400*millisecond {
		t.Errorf("a queue of %d ms", l.highest/millisecond)
	}

	t.Log("# the rate comes back")
	l.rate = mbit(50)
	l.run(l.now+10*second, nil)
	if got := l.goodput(0, 5*second); got < percent(mbit(20), 95) {
		t.Errorf("goodput %d, want %d", got, mbit(20))
	}
}

// TestFixedLeast holds that a rate of nothing still sends.
func TestFixedLeast(t *testing.T) {
	for _, bandwidth := range []int64{0, -1, 1} {
		rate, quantum := newFixedController(controlMSS, bandwidth).pace()
		if rate != leastRate*controlMSS || quantum < 2*controlMSS {
			t.Errorf("bandwidth %d: rate %d and quantum %d", bandwidth, rate, quantum)
		}
	}
}
