// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"testing"
	"time"
	"unsafe"
)

// newRateLine returns a line with a single flow whose controller begins.
func newRateLine(rate int64, delay, queue instant) (*controlLine, *rateController) {
	c := newRateController(&rateNormal, controlMSS, 88172645463325252)
	return newControlLine(rate, delay, queue, c), c
}

// newCruisingLine returns a line whose flow has reached the phase of cruising.
func newCruisingLine(t *testing.T, rate int64, delay, queue instant) (
	*controlLine, *rateController,
) {
	t.Helper()
	l, c := newRateLine(rate, delay, queue)
	if !l.until("cruise") {
		t.Fatalf("the flow is in %s after 10 s", l.state())
	}
	return l, c
}

// about reports whether got is within so many percent of want.
func about(got, want, tolerance int64) bool {
	return got >= percent(want, 100-tolerance) && got <= percent(want, 100+tolerance)
}

// TestRateSize holds the memory of a session with rate control.
func TestRateSize(t *testing.T) {
	if n := unsafe.Sizeof(rateController{}); n > 1331 {
		t.Errorf("rateController has %d bytes, want at most 1331", n)
	}
}

// TestRateAllocates holds that no event allocates.
func TestRateAllocates(t *testing.T) {
	_, c := newCruisingLine(t, mbit(20), 50*millisecond, 50*millisecond)
	now := 20 * second
	f := &flight{sentAt: now, delivered: c.model.delivered, inFlight: 20 * controlMSS}
	l := &lossEvent{flight: f, bytes: controlMSS}
	a := &ackEvent{bytes: controlMSS, segments: 1, rtt: 50 * millisecond, newest: f, rate: 1e6}
	n := testing.AllocsPerRun(1000, func() {
		now += millisecond
		c.sent(now, f)
		c.lost(now, l)
		a.delivered += controlMSS
		f.delivered = a.delivered
		c.acked(now, a)
		c.spurious(now, controlMSS)
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestRateFillsLine holds the goodput, the queue and the losses of a flow that is alone.
func TestRateFillsLine(t *testing.T) {
	for _, p := range []struct {
		name    string
		profile *rateProfile
	}{{"normal", &rateNormal}, {"aggressive", &rateAggressive}} {
		for _, s := range []struct {
			rate         float64 // Mbit/s
			delay, queue instant
			loss         float64
			least        int64   // percent of the line's goodput
			wait         instant // p95
		}{
			{20, 100 * millisecond, 100 * millisecond, 0, 95, 40 * millisecond},
			{20, 20 * millisecond, 20 * millisecond, 0, 95, 10 * millisecond},
			{20, 100 * millisecond, 10 * millisecond, 0, 90, 12 * millisecond},
			{20, 100 * millisecond, 500 * millisecond, 0, 94, 45 * millisecond},
			{20, 100 * millisecond, 100 * millisecond, 0.01, 94, 60 * millisecond},
			{20, 100 * millisecond, 100 * millisecond, 0.05, 92, 80 * millisecond},
			{20, 100 * millisecond, 100 * millisecond, 0.20, 85, 100 * millisecond},
			{100, 50 * millisecond, 10 * millisecond, 0, 93, 10 * millisecond},
		} {
			t.Run(fmt.Sprintf("%s/%v-%d-%v", p.name, s.rate, s.delay/millisecond, s.loss),
				func(t *testing.T) {
					t.Parallel()
					c := newRateController(p.profile, controlMSS, 1)
					l := newControlLine(mbit(s.rate), s.delay, s.queue, c)
					l.loss = s.loss
					l.run(5*second, nil)
					l.p95()
					got := l.goodput(0, 25*second)
					want := int64((1 - s.loss) * float64(l.rate))
					if got < percent(want, s.least) {
						t.Errorf("goodput %d, want %d %% of %d", got, s.least, want)
					}
					if wait := l.p95(); wait > s.wait {
						t.Errorf("p95 wait %d ms, want at most %d", wait/millisecond,
							s.wait/millisecond)
					}
				})
		}
	}
}

// TestRateStarts holds that startup loses little, even on a line with a short queue.
func TestRateStarts(t *testing.T) {
	for _, queue := range []instant{50 * millisecond, 100 * millisecond} {
		l, c := newRateLine(mbit(20), 100*millisecond, queue)
		l.when(func() bool { return c.state == rateCruise })
		bdp := during(l.rate, l.delay)
		if lost := l.drops * controlMSS; lost > bdp {
			t.Errorf("queue %d ms: startup lost %d bytes, want at most %d", queue/millisecond, lost,
				bdp)
		}
		if !about(c.model.bwMax, l.rate, 5) {
			t.Errorf("queue %d ms: bandwidth %d, want %d", queue/millisecond, c.model.bwMax, l.rate)
		}
	}
}

// TestRateStepUp holds that a flow takes a line that has become ten times as fast within 3 s.
func TestRateStepUp(t *testing.T) {
	for _, delay := range []instant{20, 50, 100} {
		l, c := newCruisingLine(t, mbit(2), delay*millisecond, delay*millisecond)
		l.run(l.now+5*second, nil)
		l.rate, l.queue = 10*l.rate, 10*l.queue
		l.run(l.now+3*second, nil)
		if c.model.bw < percent(l.rate, 90) {
			t.Errorf("RTT %d ms: bandwidth %d after 3 s, want %d", delay, c.model.bw, l.rate)
		}
	}
}

// TestRateStepUpWithAShortQueue holds that what is lost when the flow finds the new rate is not
// taken for the work of a policer: the second before it was of the old rate.
func TestRateStepUpWithAShortQueue(t *testing.T) {
	for _, delay := range []instant{50, 100} {
		l, c := newCruisingLine(t, mbit(2), delay*millisecond, delay*millisecond)
		c.manner = acksRepeated
		l.run(l.now+5*second, nil)
		l.rate *= 10 // the queue stays as it is
		l.run(l.now+6*second, nil)
		if c.model.bw < percent(l.rate, 80) || c.model.policer.active() {
			t.Errorf("RTT %d ms: bandwidth %d after 6 s, want %d; policed: %v", delay, c.model.bw,
				l.rate, c.model.policer.active())
		}
	}
}

// TestRateStepDown holds that a flow follows a line that has become ten times slower, and leaves
// its queue.
func TestRateStepDown(t *testing.T) {
	for _, delay := range []instant{50, 100, 200} {
		l, c := newCruisingLine(t, mbit(20), delay*millisecond, delay*millisecond)
		l.run(l.now+5*second, nil)
		l.rate /= 10
		l.queue = 1 << 30
		l.run(l.now+10*delay*millisecond, nil)
		if c.model.bw > 3*l.rate {
			t.Errorf("RTT %d ms: bandwidth %d after 10 round trips, want %d", delay, c.model.bw,
				l.rate)
		}
		// A probe for the round trip comes within 5 s, and first has to wait for the queue.
		l.run(l.now+8*second, nil)
		l.highest = 0
		l.run(l.now+second, nil)
		if l.highest > 4*delay*millisecond {
			t.Errorf("RTT %d ms: the wait is %d ms after 9 s", delay, l.highest/millisecond)
		}
	}
}

// TestRateAggregation holds that acknowledgements in batches do not stall the sender.
func TestRateAggregation(t *testing.T) {
	for _, batch := range []instant{10, 40, 100} {
		l, c := newRateLine(mbit(20), 20*millisecond, 100*millisecond)
		l.batch = batch * millisecond
		l.run(5*second, nil)
		if got := l.goodput(0, 10*second); got < percent(l.rate, 80) {
			t.Errorf("batches of %d ms: goodput %d of %d, extra %d", batch, got, l.rate,
				c.model.extra)
		}
		if c.model.extra == 0 {
			t.Errorf("batches of %d ms: no allowance for aggregation", batch)
		}
	}
}

// TestRatePolicer holds that a policer discards little in the long run.
func TestRatePolicer(t *testing.T) {
	for _, s := range []struct {
		delay  instant
		bucket int64
		most   int64 // drops in a thousand
	}{{20, 50e3, 30}, {20, 250e3, 60}, {100, 50e3, 40}, {100, 250e3, 70}} {
		l, c := newRateLine(mbit(20), s.delay*millisecond, 0)
		l.bucket = s.bucket
		l.run(10*second, nil)
		drops, order := l.drops, l.flows[0].order
		got := l.goodput(0, 20*second)
		lost := (l.drops - drops) * 1000 / int64(l.flows[0].order-order)
		if lost > s.most || got < percent(l.rate, 80) {
			t.Errorf("RTT %d ms, %d bytes: %d of 1000 lost, goodput %d of %d, state %d", s.delay,
				s.bucket, lost, got, l.rate, c.state)
		}
	}
}

// TestRateFair holds the shares of flows on one line.
func TestRateFair(t *testing.T) {
	rate := func(n uint64) controller { return newRateController(&rateNormal, controlMSS, n*7919) }
	for _, s := range []struct {
		name        string
		a, b        controller
		least, most int64 // percent of the first
	}{
		{"itself", rate(1), rate(2), 30, 70},
		{"CUBIC", rate(3), newCubicController(controlMSS), 30, 70},
	} {
		l := newControlLine(mbit(20), 50*millisecond, 50*millisecond, s.a, s.b)
		l.run(10*second, nil)
		before := l.flows[1].delivered
		got := l.goodput(0, 30*second)
		other := perSecond(int64(l.flows[1].delivered-before), 30*second)
		if share := got * 100 / (got + other); share < s.least || share > s.most {
			t.Errorf("beside %s: %d %%, want %d to %d", s.name, share, s.least, s.most)
		}
		if got+other < percent(l.rate, 90) {
			t.Errorf("beside %s: %d and %d of %d", s.name, got, other, l.rate)
		}
	}
}

// TestRateFrom holds that a controller for a known path begins at its bandwidth.
func TestRateFrom(t *testing.T) {
	c := newRateControllerFrom(&rateNormal, controlMSS, 1, mbit(20), 50*millisecond)
	l := newControlLine(mbit(20), 50*millisecond, 50*millisecond, c)
	if l.state() != "cruise" {
		t.Errorf("begins in %s", l.state())
	}
	if rate, _ := c.pace(); !about(rate, l.rate, 2) {
		t.Errorf("begins with %d, want %d", rate, l.rate)
	}
	if got := l.goodput(0, second); got < percent(l.rate, 90) {
		t.Errorf("goodput %d of %d in the first second", got, l.rate)
	}
	if l.highest > 10*millisecond {
		t.Errorf("makes a queue of %d ms", l.highest/millisecond)
	}
	if c := newRateControllerFrom(&rateNormal, controlMSS, 1, 0, 0); c.state != rateStartup {
		t.Errorf("without a known path it begins in %v", c.state)
	}
}

// TestRateResized holds that the windows follow the size of a segment.
func TestRateResized(t *testing.T) {
	_, c := newCruisingLine(t, mbit(0.4), 10*millisecond, second)
	c.resized(500)
	c.collapsed(20 * second)
	if bytes, _ := c.window(); bytes != leastSegments*500 {
		t.Errorf("window %d, want %d", bytes, leastSegments*500)
	}
	c.resized(0)
	if _, quantum := c.pace(); quantum <= 0 {
		t.Errorf("quantum %d", quantum)
	}
}

// TestRateCollapsed holds that a collapse empties the window, and that the model brings it back.
func TestRateCollapsed(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 50*millisecond)
	before, _ := c.window()
	c.collapsed(l.now)
	if bytes, _ := c.window(); bytes != leastSegments*controlMSS {
		t.Errorf("window %d, want %d", bytes, leastSegments*controlMSS)
	}
	l.run(l.now+second, nil)
	if bytes, _ := c.window(); bytes < before/2 {
		t.Errorf("window %d a second later, was %d", bytes, before)
	}
}

// TestRateLyingPeer holds that a delivery rate beyond what was in flight has no effect.
func TestRateLyingPeer(t *testing.T) {
	l, c := newCruisingLine(t, mbit(20), 50*millisecond, 50*millisecond)
	f := &flight{sentAt: l.now, delivered: c.model.delivered, inFlight: 100 * controlMSS}
	for _, a := range []ackEvent{
		{rate: 1 << 50, sample: 1 << 50, rtt: 50 * millisecond},
		{rate: math.MaxInt64, sample: math.MaxInt64, rtt: 50 * millisecond, bytes: math.MaxInt64},
		{rate: 1 << 50, sample: 1 << 50, rtt: 50 * millisecond, delivered: math.MaxUint64},
	} {
		a.newest = f
		c.acked(l.now+50*millisecond, &a)
		most := perSecond(2*100*controlMSS, 50*millisecond)
		if rate, _ := c.pace(); rate > 2*most || c.model.bwMax > most {
			t.Errorf("%+v: rate %d and bandwidth %d, want at most %d", a, rate, c.model.bwMax, most)
		}
		f.delivered = c.model.delivered
	}
}

// feedRandom sends n random events to a controller and calls check after each.
func feedRandom(c controller, random *rand.Rand, n int, check func(i int)) {
	value := func() int64 {
		switch random.IntN(8) {
		case 0:
			return int64(random.Uint64())
		case 1:
			return 0
		case 2:
			return -1
		case 3:
			return math.MaxInt64
		}
		return random.Int64N(1 << (1 + random.IntN(40)))
	}
	record := func() *flight {
		if random.IntN(4) == 0 {
			return nil
		}
		return &flight{
			order: uint64(value()), delivered: uint64(value()), lost: uint64(value()),
			inFlight: value(), limited: random.IntN(2) == 0, tag: uint8(value()),
		}
	}
	now := instant(0)
	for i := range n {
		now += instant(random.Int64N(1 << random.IntN(34)))
		switch random.IntN(12) {
		case 0, 1, 2:
			if f := record(); f != nil {
				c.sent(now, f)
			}
		case 3, 4:
			c.lost(now, &lossEvent{flight: record(), order: uint64(value()), bytes: value(),
				inFlight: value(), segments: uint32(value())})
		case 5:
			c.spurious(now, value())
		case 6:
			if random.IntN(20) == 0 {
				c.collapsed(now)
			}
		case 7:
			if random.IntN(20) == 0 {
				c.resized(int(random.Int64N(9000) - 100))
			}
		default:
			c.acked(now, &ackEvent{
				bytes: value(), segments: uint32(value()), tagged: uint32(value()), lost: value(),
				rtt: instant(value()), newest: record(), rate: value(), sample: value(),
				inFlight: value(), left: uint32(value()), delivered: uint64(value()),
				lostTotal: uint64(value()), manner: ackManner(random.IntN(2)),
			})
		}
		check(i)
	}
}

// TestControllersTakeAnything holds that no sequence of events makes a window or rate implausible.
func TestControllersTakeAnything(t *testing.T) {
	for seed := range uint64(40) {
		rate := newRateController(&rateNormal, controlMSS, seed)
		for name, c := range map[string]controller{
			"rate":       rate,
			"aggressive": newRateController(&rateAggressive, controlMSS, seed),
			"known":      newRateControllerFrom(&rateNormal, controlMSS, seed, mbit(9), second),
			"cubic":      newCubicController(controlMSS),
			"fixed":      newFixedController(controlMSS, mbit(9)),
		} {
			feedRandom(c, rand.New(rand.NewPCG(seed, 1)), 500, func(i int) {
				bytes, segments := c.window()
				pace, quantum := c.pace()
				var r controlReport
				c.report(&r)
				if bytes <= 0 || bytes > unlimited || segments == 0 || pace < 0 ||
					pace > unlimited || quantum <= 0 || r.bandwidth < 0 || r.minRTT < 0 ||
					!(r.loss >= 0 && r.loss <= 1) {
					t.Fatalf("%s, seed %d, event %d: window %d, rate %d, quantum %d, %+v", name,
						seed, i, bytes, pace, quantum, r)
				}
			})
		}
		if bytes, _ := rate.window(); bytes < leastSegments*rate.mss {
			t.Errorf("seed %d: window %d of %d", seed, bytes, rate.mss)
		}
	}
}

// What an outage has lost, and the time that it took, tell nothing of the path behind it.
func TestRateComesBackAfterAnOutage(t *testing.T) {
	for _, loss := range []float64{0, 0.02} {
		p := simProfile{Delay: 15 * time.Millisecond, Rate: 10e6 / 8, Queue: 25 * 1428, Loss: loss}
		c := Config{StreamMode: true, NoDelay: true, SendWindow: 1024, ReceiveWindow: 1024}
		pairRun(t, 1, p, c, func(t *testing.T, n *connPair) {
			go func() { _, _ = n.client.Write(make([]byte, 100e6)) }()
			go func() { _, _ = io.Copy(io.Discard, n.server) }()
			time.Sleep(6 * time.Second)
			for range 3 {
				n.net.SetTap(func(time.Time, net.Addr, net.Addr, []byte) simAction {
					return simAction{Drop: true}
				})
				time.Sleep(2 * time.Second)
				n.net.SetTap(nil)
				time.Sleep(time.Second)
				before := n.server.Stats().BytesReceived
				time.Sleep(4 * time.Second)
				rate := float64(n.server.Stats().BytesReceived-before) / 4
				t.Logf("%.2f Mbit/s from a second after an outage on", rate*8/1e6)
				if least := 0.85 * (1 - loss) * 10e6 / 8; rate < least {
					t.Errorf("loss %g: %.0f bytes a second after an outage, want %.0f: %+v",
						loss, rate, least, n.client.Stats().CongestionState)
				}
			}
			n.client.SetLinger(0)
			_ = n.client.Close()
		})
	}
}
