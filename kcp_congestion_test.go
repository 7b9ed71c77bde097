// SPDX-License-Identifier: MIT

package kcp

import "testing"

func TestCongestionWindow(t *testing.T) {
	c := new(core)
	c.init(7, 1000)
	c.setNoDelay(0, 10, 2, 0)
	c.setControl(controlClassic, 0)
	c.setWindows(64, 64)
	c.rmtWnd = 64
	defer releaseCore(c)
	for c.queued() < 64 {
		c.send([]byte("x"))
	}
	now := millis(1000)
	// round acknowledges all that is in flight, a round trip later, and returns how many segments
	// are sent then.
	round := func() int {
		now += 50
		for c.queued() < 64 {
			c.send([]byte("x"))
		}
		c.input(inputAt(now), testAck(c, c.sendNxt), true)
		return count(flushAll(c, now), cmdPush)
	}
	if n := count(flushAll(c, now), cmdPush); n != 1 {
		t.Fatalf("%d segments are sent at first, want 1", n)
	}
	cc := c.flow.cc.(*congestion)
	for i, want := range []int{2, 3, 4, 5, 6, 7, 8} {
		if n := round(); n != want {
			t.Fatalf("round %d: %d segments are sent, want %d", i+1, n, want)
		}
	}
	t.Log("# a hole that later segments have overtaken halves the window")
	now += 50
	c.input(inputAt(now), testAck(c, c.sendUna, c.sendUna+2, c.sendUna+3), true)
	if cc.size != 3 || cc.ssthresh != 3 {
		t.Errorf("after a fast loss: window %d, threshold %d, want 3 and 3",
			cc.size, cc.ssthresh)
	}
	flushAll(c, now)
	t.Log("# a second timeout sets it to one: the first may be an acknowledgement that is late")
	size := cc.size
	for c.timeouts < 2 {
		if now, _ = nextSent(c, now); c.timeouts < 2 && cc.size != size {
			t.Errorf("after a first timeout: window %d, want %d", cc.size, size)
		}
	}
	if cc.size != 1 || cc.ssthresh < ssthreshMin {
		t.Errorf("after a timeout: window %d, threshold %d, want 1 and at least %d",
			cc.size, cc.ssthresh, ssthreshMin)
	}
	t.Log("# it never exceeds the windows")
	c.setWindows(10, 0)
	for range 300 {
		now = max(now, min(c.nextEvent(now), now+1000))
		flushAll(c, now)
		if n := round(); n > 10 {
			t.Fatalf("%d segments are sent with a window of 10", n)
		}
	}
	if cc.size > 64 {
		t.Errorf("the window grew to %d", cc.size)
	}
	t.Log("# without it, the windows alone decide")
	c.setControl(controlOff, 0)
	c.setWindows(20, 0)
	if n := round(); n != 20 {
		t.Errorf("without it %d segments are sent, want 20", n)
	}
}
