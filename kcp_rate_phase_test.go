// SPDX-License-Identifier: MIT

package kcp

import "testing"

// The tests of this file are those of draft-ietf-ccwg-bbr, appendix "BBR Example Test Cases".

// TestRateStartupEnds holds that startup ends on a plateau with the line's bandwidth, and that the
// drain ends with the queue.
func TestRateStartupEnds(t *testing.T) {
	for _, rate := range []float64{2, 20, 200} {
		l, c := newRateLine(mbit(rate), 50*millisecond, 200*millisecond)
		if !l.until("drain") {
			t.Fatalf("%v Mbit/s: startup does not end", rate)
		}
		if !about(c.model.bwMax, l.rate, 2) {
			t.Errorf("%v Mbit/s: bandwidth %d, want %d", rate, c.model.bwMax, l.rate)
		}
		if pace, _ := c.pace(); !about(pace, l.rate*drainGain/100, 3) {
			t.Errorf("%v Mbit/s: drains with %d", rate, pace)
		}
		if !l.until("probe-down") {
			t.Fatalf("%v Mbit/s: the drain does not end", rate)
		}
		if f := l.flows[0]; f.inFlight > c.room(c.bdp(100)) && c.model.rounds <= c.filledRound+3 {
			t.Errorf("%v Mbit/s: the drain ends with %d bytes in flight", rate, f.inFlight)
		}
	}
}

// TestRateDrainEndsByRounds holds that a drain whose line has become slower ends.
func TestRateDrainEndsByRounds(t *testing.T) {
	l, c := newRateLine(mbit(20), 50*millisecond, 500*millisecond)
	l.until("drain")
	l.rate /= 10
	if !l.when(func() bool { return c.state != rateDrain }) {
		t.Fatal("the drain does not end")
	}
	if n := c.model.rounds - c.filledRound; n > drainRounds+1 {
		t.Errorf("the drain ends after %d rounds, want at most %d", n, drainRounds+1)
	}
}

// TestRateStartupEndsOnLoss holds that losses end startup even if the program limits the sender.
func TestRateStartupEndsOnLoss(t *testing.T) {
	l, c := newRateLine(mbit(20), 50*millisecond, 50*millisecond)
	l.flows[0].supply = mbit(8)
	l.run(l.now+3*second, nil)
	if c.state != rateStartup {
		t.Fatalf("a flow that its program limits is in %s, want startup", l.state())
	}
	l.loss = 0.3
	l.run(l.now+second, nil)
	if !c.filled() || c.state == rateStartup {
		t.Errorf("in %s after losses, want the end of startup", l.state())
	}
}

// TestRateCycle holds the order of the phases of bandwidth probing.
func TestRateCycle(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 50*millisecond)
	for _, want := range []string{"refill", "probe-up", "probe-down", "cruise", "refill"} {
		before := c.state
		if !l.when(func() bool { return c.state != before && c.state != rateProbeRTT }) {
			t.Fatalf("no phase after %s", rateStates[before])
		}
		if before == rateCruise && l.state() == "probe-down" {
			continue // after the probe for the round trip
		}
		if l.state() != want {
			t.Fatalf("%s after %s, want %s", l.state(), rateStates[before], want)
		}
	}
}

// TestRateProbeEndsOnPlateau holds that a probe ends if the line gives no more, and has raised the
// rate before.
func TestRateProbeEndsOnPlateau(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 500*millisecond)
	l.until("probe-up")
	if pace, _ := c.pace(); !about(pace, l.rate*125/100, 4) {
		t.Errorf("probes with %d, want 125 %% of %d", pace, l.rate)
	}
	rounds, drops := c.model.rounds, l.drops
	l.until("probe-down")
	if n := c.model.rounds - rounds; n > 4 || l.drops != drops {
		t.Errorf("the probe took %d rounds and lost %d, want at most 4 and 0", n, l.drops-drops)
	}
}

// TestRateProbeEndsOnLoss holds that a probe ends soon after its losses, and that the long-term
// bound remembers them.
func TestRateProbeEndsOnLoss(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 100*millisecond, 10*millisecond)
	c.model.inLong = unlimited
	l.until("probe-up")
	at := l.now
	l.until("probe-down")
	if l.now-at > 400*millisecond {
		t.Errorf("the probe took %d ms", (l.now-at)/millisecond)
	}
	if bdp := during(l.rate, l.delay); c.model.inLong > bdp*3/2 || c.model.inLong < bdp/2 {
		t.Errorf("the long-term bound is %d, want about %d", c.model.inLong, bdp)
	}
	if bytes, _ := c.window(); bytes > c.model.inLong {
		t.Errorf("window %d, want at most %d", bytes, c.model.inLong)
	}
}

// TestRateProbeWaitsForProgram holds that a probe goes on while the program limits the sender and
// nothing is lost.
func TestRateProbeWaitsForProgram(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 50*millisecond)
	l.until("probe-up")
	l.flows[0].supply = mbit(8)
	l.run(l.now+100*millisecond, nil)
	state := c.state
	l.run(l.now+2*second, nil)
	if state == rateUp && c.state != rateUp && c.state != rateProbeRTT {
		t.Errorf("in %s, want probe-up", l.state())
	}
	if c.model.bwMax < percent(l.rate, 90) {
		t.Errorf("bandwidth %d, want that before the limit, %d", c.model.bwMax, l.rate)
	}
}

// TestRateRefillWithoutData holds that samples which the program has limited do not lower the
// bandwidth.
func TestRateRefillWithoutData(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 50*millisecond)
	l.until("refill")
	before := c.model.bwMax
	l.flows[0].supply = mbit(1)
	l.run(l.now+300*millisecond, nil)
	if c.model.bwMax < before {
		t.Errorf("bandwidth %d, was %d", c.model.bwMax, before)
	}
}

// TestRateProbesRTT holds that the path is emptied if no short round trip has been seen of late.
func TestRateProbesRTT(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 50*millisecond)
	if !l.until("probe-rtt") {
		t.Fatal("no probe for the round trip in 10 s")
	}
	at, prior := l.now, c.prior
	l.when(func() bool { return c.state != rateProbeRTT })
	if took := l.now - at; took < probeRTTTime || took > probeRTTTime+250*millisecond {
		t.Errorf("the probe took %d ms", took/millisecond)
	}
	if l.state() != "cruise" {
		t.Errorf("in %s after the probe, want cruise", l.state())
	}
	if bytes, _ := c.window(); bytes < prior*3/4 {
		t.Errorf("window %d after the probe, was %d", bytes, prior)
	}
	if c.model.minRTT > l.delay+2*millisecond {
		t.Errorf("shortest round trip %d us, want about %d", c.model.minRTT/1000, l.delay/1000)
	}
}

// TestRateProbesRTTInStartup holds that startup goes on after a probe for the round trip.
func TestRateProbesRTTInStartup(t *testing.T) {
	l, c := newRateLine(mbit(20), 50*millisecond, 50*millisecond)
	l.flows[0].supply = mbit(4)
	l.run(l.now+2*second, nil)
	c.model.probeStamp -= 10 * second
	c.model.probeRTT, c.model.minRTT = 10*millisecond, 10*millisecond
	if !l.until("probe-rtt") || !l.when(func() bool { return c.state != rateProbeRTT }) {
		t.Fatal("no probe for the round trip")
	}
	if c.state != rateStartup {
		t.Errorf("in %s after the probe, want startup", l.state())
	}
}

// TestRateIdle holds that an idle path needs no probe for the round trip, and that nothing is
// forgotten meanwhile.
func TestRateIdle(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 50*millisecond)
	bw := c.model.bw
	l.flows[0].pause = true
	l.run(l.now+7*second, nil)
	l.flows[0].pause = false
	probed := false
	l.flows[0].onAck = func() { probed = probed || c.state == rateProbeRTT }
	l.run(l.now+l.delay, nil)
	if got := l.goodput(0, 200*millisecond); got < percent(l.rate, 90) {
		t.Errorf("goodput %d of %d after the pause", got, l.rate)
	}
	l.run(l.now+second, nil)
	if probed {
		t.Error("probes for the round trip after a pause")
	}
	if c.model.bw < percent(bw, 95) {
		t.Errorf("bandwidth %d, was %d", c.model.bw, bw)
	}
}

// TestRateSpurious holds that the effects of losses are reverted if the segments arrive after all.
func TestRateSpurious(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 200*millisecond)
	l.until("probe-up")
	l.run(l.now+50*millisecond, nil)
	m := &c.model
	window, _ := c.window()
	short, long := m.bwShort, m.inLong
	f := &flight{delivered: m.delivered, lost: m.lostTotal, inFlight: 50 * controlMSS}
	if c.state != rateUp || !c.judging() {
		t.Fatalf("in %s, want a probe", l.state())
	}
	const n = 20
	for range n {
		c.lost(l.now, &lossEvent{flight: f, bytes: controlMSS, inFlight: 50 * controlMSS})
	}
	if c.state != rateDown || m.inLong >= unlimited {
		t.Fatalf("in %s after losses, long-term bound %d", l.state(), m.inLong)
	}
	for range n {
		c.spurious(l.now, controlMSS)
	}
	bytes, _ := c.window()
	if c.state != rateRefill || m.bwShort < short || m.inLong < long || bytes < window {
		t.Errorf("in %s, bounds %d and %d, window %d; want refill, %d, %d and %d", l.state(),
			m.bwShort, m.inLong, bytes, short, long, window)
	}
}

// TestRateYields holds that losses with a standing queue lower the rate for a while.
func TestRateYields(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 60*millisecond)
	l.run(l.now+200*millisecond, nil)
	l.rate = l.rate * 6 / 10
	least := unlimited
	l.flows[0].onAck = func() { least = min(least, c.model.bw) }
	l.run(l.now+second, nil)
	if least > percent(l.rate, 130) {
		t.Errorf("the bandwidth fell to %d in a second, want about %d", least, l.rate)
	}
	l.run(l.now+9*second, nil)
	if c.model.bwMax > percent(l.rate, 110) {
		t.Errorf("bandwidth %d after 10 s, want about %d", c.model.bwMax, l.rate)
	}
}

// TestRateHoldsAtRandomLoss holds that random losses alone do not lower the rate.
func TestRateHoldsAtRandomLoss(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 50*millisecond)
	l.loss = 0.1
	l.run(l.now+3*second, nil)
	least := unlimited
	l.flows[0].onAck = func() { least = min(least, c.model.bw) }
	l.run(l.now+5*second, nil)
	if least < percent(l.rate, 80) {
		t.Errorf("the bandwidth fell to %d of %d", least, l.rate)
	}
	var r controlReport
	c.report(&r)
	if r.loss < 0.06 || r.loss > 0.14 {
		t.Errorf("reports a random loss of %.3f, want about 0.1", r.loss)
	}
}
