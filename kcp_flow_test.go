// SPDX-License-Identifier: MIT

package kcp

import (
	"io"
	"testing"
	"time"
)

// paced is a controller of a fixed window and rate.
type paced struct {
	scripted
	rate, quantum int64
	flights       []flight
}

func (p *paced) pace() (int64, int64)      { return p.rate, p.quantum }
func (p *paced) window() (int64, uint32)   { return unlimited, unlimitedSegments }
func (p *paced) sent(_ instant, f *flight) { p.flights = append(p.flights, *f) }
func (p *paced) acked(_ instant, a *ackEvent) {
	e := *a
	if a.newest != nil {
		newest := *a.newest
		e.newest = &newest
	}
	p.acks = append(p.acks, e)
}

// Data leaves at the rate, in quanta, and a wake-up that is late by less than the credit loses
// nothing.
func TestFlowPacesExactly(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rate    int64
		quantum int64
		late    instant // every wake-up
		share   int64   // percent of the rate that is reached, at least
	}{
		{"20 Mbit/s", 2.5e6, 2856, 0, 99},
		{"20 Mbit/s, late wake-ups", 2.5e6, 2856, 3 * millisecond, 99},
		{"20 Mbit/s, very late wake-ups", 2.5e6, 2856, 20 * millisecond, 20},
		{"1 Gbit/s", 125e6, 64 << 10, millisecond / 2, 99},
		{"64 kbit/s", 8e3, 2856, 0, 98},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const size = 1428
			f := newFlow(&paced{rate: tt.rate, quantum: tt.quantum}, 0, size)
			f.minRTT = 20 * millisecond
			var now instant
			var sent, most, order int64
			for now < 10*second {
				burst := int64(0)
				for !f.paces(now) {
					order++
					f.sent(now, uint64(order), size)
					burst += size
				}
				f.flushed(now, false)
				if sent += burst; now > 0 {
					most = max(most, burst)
				}
				now = max(f.release, now) + tt.late
			}
			want := tt.rate * 10
			if sent > want+tt.quantum+pacedBurst*size || sent*100 < want*tt.share {
				t.Errorf("%d bytes in 10 s, want %d", sent, want)
			}
			bound := tt.quantum + size + mulDiv(tt.rate, int64(paceCredit), int64(second))
			if tt.late == 0 {
				bound = tt.quantum + size
			}
			if most > bound {
				t.Errorf("%d bytes at once, want at most %d", most, bound)
			}
		})
	}
}

// After a silence of a round trip ten segments leave at once, and no more.
func TestFlowSendsABurstAfterASilence(t *testing.T) {
	const size = 1000
	f := newFlow(&paced{rate: 10e3, quantum: 2 * size}, 0, size)
	f.minRTT = 50 * millisecond
	order := uint64(0)
	send := func(now instant) (n int) {
		for ; !f.paces(now) && n < 100; n++ {
			order++
			f.sent(now, order, size)
		}
		f.flushed(now, false)
		return n
	}
	first := send(0)
	if n := send(10 * millisecond); first > 3 || n != 0 {
		t.Errorf("%d segments leave at first and %d 10 ms later, want a quantum and none", first, n)
	}
	f.gone(f.inFlight)
	if n := send(5 * second); n != pacedBurst {
		t.Errorf("%d segments leave after a silence, want %d", n, pacedBurst)
	}
	if n := send(5*second + 20*millisecond); n != 0 {
		t.Errorf("%d segments leave 20 ms later, want none", n)
	}
}

// A path of less than a millisecond is not paced, and no window of bytes holds.
func TestFlowLeavesShortPathsAlone(t *testing.T) {
	f := newFlow(&paced{rate: 1000, quantum: 1000}, 0, 1000)
	f.window = 1
	f.sent(0, 1, 1000)
	f.sent(0, 2, 1000)
	if !f.paces(1) || f.allows(2) {
		t.Error("a path that is not measured is not paced")
	}
	f.minRTT = millisecond / 2
	if f.paces(1) || !f.allows(2) {
		t.Error("a short path is paced")
	}
}

// The delivery rate is that of the slower of sending and acknowledging, so a peer that acknowledges
// what has not arrived does not make the sender believe in more than it has sent.
func TestFlowMeasuresNoMoreThanWasSent(t *testing.T) {
	const size = 1000
	for _, tt := range []struct {
		name  string
		every instant // between transmissions
		delay instant // of the first acknowledgement
		ack   instant // between acknowledgements
		want  int64   // bytes a second, at most
		guess bool    // from the second on, everything is acknowledged as soon as it is sent
	}{
		{"honest", millisecond, 50 * millisecond, millisecond, 1e6, false},
		{"acknowledged at once", millisecond, 50 * millisecond, millisecond, 1e6, true},
		{"acknowledgements arrive together", millisecond, 80 * millisecond, 1, 1e6, false},
		{"slow path", millisecond, 50 * millisecond, 2 * millisecond, 0.6e6, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &paced{}
			f := newFlow(p, 0, size)
			order, acked := uint64(0), uint64(0)
			next := tt.delay
			for now := instant(0); now < second; now += millisecond / 1000 {
				if now%tt.every == 0 {
					order++
					f.sent(now, order, size)
					f.flushed(now, false)
				}
				if now >= next && acked < order &&
					(now >= instant(acked)*tt.every+tt.delay || tt.guess && acked > 0) {
					for first := true; first || tt.guess && acked > 1 && acked < order; {
						acked++
						f.acked(now, acked, size, !tt.guess || acked == 1)
						f.gone(size)
						first = false
					}
					f.endInput(now, 0, 0, acksOnce, true)
					next = now + tt.ack
				}
			}
			var most int64
			for _, a := range p.acks {
				most = max(most, a.rate)
				if !tt.guess && a.rtt < 0 || a.newest == nil {
					t.Fatalf("no sample: %+v", a)
				}
			}
			if most > tt.want*105/100 {
				t.Errorf("the rate is found to be %d, want at most %d", most, tt.want)
			}
			if tt.name == "honest" && most < tt.want*95/100 {
				t.Errorf("the rate is found to be %d, want %d", most, tt.want)
			}
		})
	}
}

// What is sent while the program holds the sender back is marked, until that has been delivered.
func TestFlowMarksWhatTheProgramLimits(t *testing.T) {
	const size = 1000
	p := &paced{}
	f := newFlow(p, 0, size)
	f.sent(0, 1, size)
	f.flushed(0, true)
	f.sent(5*millisecond, 2, size)
	f.flushed(5*millisecond, false)
	f.acked(10*millisecond, 1, size, true)
	f.gone(size)
	f.endInput(10*millisecond, 1, 9, acksOnce, true)
	f.acked(11*millisecond, 2, size, true)
	f.gone(size)
	f.endInput(11*millisecond, 1, 9, acksOnce, true)
	f.sent(12*millisecond, 3, size)
	f.flushed(12*millisecond, false)
	for i, want := range []bool{false, true, false} {
		if p.flights[i].limited != want {
			t.Errorf("flight %d: limited is %v, want %v", i, p.flights[i].limited, want)
		}
	}
	if a := p.acks[0]; a.left != 1 || a.limit != 9 || a.delivered != size || a.inFlight != size {
		t.Errorf("acknowledged: %+v", a)
	}
}

// A session has a flow while it has much in flight, and for a while after that. What the flow has
// learned is kept.
func TestFlowIsThereWhileItIsNeeded(t *testing.T) {
	c := timedCore(t, 1, 10, 2)
	c.setControl(controlFixed, 5e6)
	c.setWindows(100, 100)
	c.rmtWnd = 100
	now := millis(1000)
	push := func(n int) {
		for range n {
			c.send([]byte("x"))
		}
		flushAll(c, now)
		now += 20
		c.input(inputAt(now), testAck(c, c.sendNxt), true)
	}
	for range 5 {
		push(flowLeast)
		if c.flow != nil {
			t.Fatalf("a flow of %d segments", flowLeast)
		}
	}
	push(flowLeast + 1)
	if c.flow == nil || c.flow.inFlight != 0 {
		t.Fatalf("after %d segments in flight the flow is %+v", flowLeast+1, c.flow)
	}
	at := c.nextEvent(now)
	if want := now - 20 + flowIdle.ms(); at < want || at > want+1 {
		t.Errorf("the next event is %d ms after the transmission, want %v", at-now+20, flowIdle)
	}
	flushAll(c, at)
	if c.flow != nil || c.control().bandwidth != 5e6 {
		t.Errorf("the flow is %v after it was idle, the bandwidth %v", c.flow, c.control())
	}
	if at := c.nextEvent(at); at != never {
		t.Errorf("an idle session has an event at %d", at)
	}
}

// A path that is too short to be paced becomes a long one while data is on its way. It is paced
// again after some seconds, and the controller learns its round trip.
func TestPathThatIsShortNoLonger(t *testing.T) {
	for _, cc := range []CongestionControl{CongestionRate, CongestionFixed} {
		p := simProfile{Delay: 100 * time.Microsecond, Rate: 1e9 / 8, Queue: 1_000_000}
		c := Config{StreamMode: true, CongestionControl: cc, Bandwidth: 15e6 / 8}
		pairRun(t, 1, p, c, func(t *testing.T, n *connPair) {
			go func() { _, _ = n.client.Write(make([]byte, 100e6)) }()
			go func() { _, _ = io.Copy(io.Discard, n.server) }()
			time.Sleep(200 * time.Millisecond)
			if st := n.client.Stats(); st.PacingRate != 0 || st.InFlight == 0 {
				t.Fatalf("on a short path %d segments are in flight, and the pace is %d",
					st.InFlight, st.PacingRate)
			}
			p = simProfile{Delay: 25 * time.Millisecond, Rate: 20e6 / 8, Queue: 125_000}
			n.net.SetDefault(p)
			time.Sleep(5 * time.Second)
			sent, got := n.client.Stats().WireBytesSent, n.server.Stats().BytesReceived
			time.Sleep(5 * time.Second)
			st := n.client.Stats()
			sent, got = st.WireBytesSent-sent, n.server.Stats().BytesReceived-got
			if float64(sent) > 1.1*float64(got) || got < 5*13e6/8 || st.PacingRate == 0 {
				t.Errorf("%s: %d bytes arrived of %d sent in 5 s, at a pace of %d", cc, got, sent,
					st.PacingRate)
			}
			n.client.SetLinger(0)
			_ = n.client.Close()
		})
	}
}
