// SPDX-License-Identifier: MIT

package simnet

import (
	"slices"
	"testing"
	"time"
)

func TestDeliveryIsAtTheExactInstant(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile Profile
		sizes   []int
		want    []time.Duration
	}{
		{"perfect", Profile{}, []int{0, 100, 1400}, []time.Duration{1, 1, 1}},
		{"delay", Profile{Delay: 15 * time.Millisecond}, []int{1, 2}, []time.Duration{15e6, 15e6}},
		{"rate", Profile{Rate: 1_000_000}, []int{1000, 500, 1000}, []time.Duration{8e6, 12e6, 20e6}},
		{"rate and delay", Profile{Rate: 10_000_000, Delay: 15 * time.Millisecond}, []int{1400, 1400},
			[]time.Duration{15e6 + 1_120_000, 15e6 + 2_240_000}},
		{"overhead", Profile{Rate: 8000, Overhead: 28}, []int{72, 22}, []time.Duration{100e6, 150e6}},
		{"rounded up", Profile{Rate: 3_000_000_000}, []int{1, 1}, []time.Duration{3, 6}},
		{"one bit a second", Profile{Rate: 1}, []int{1400}, []time.Duration{11200 * time.Second}},
		{"faster than the clock", Profile{Rate: 1 << 60}, []int{1400, 1400}, []time.Duration{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
				n.SetDefault(c.profile)
				for _, size := range c.sizes {
					send(t, a, addrB, make([]byte, size))
				}
				var sizes []int
				var at []time.Duration
				for _, p := range readAll(t, b) {
					sizes = append(sizes, len(p.data))
					at = append(at, p.after)
				}
				if !slices.Equal(sizes, c.sizes) || !slices.Equal(at, c.want) {
					t.Errorf("got sizes %v at %v, want %v at %v", sizes, at, c.sizes, c.want)
				}
			})
		})
	}
}

func TestQueueDropsItsTail(t *testing.T) {
	for _, c := range []struct {
		name         string
		profile      Profile
		burst        int
		wantThrough  int
		wantPeak     int
		wantLastTime time.Duration
	}{
		{"25 wait behind one", Profile{Rate: 8_000_000, Queue: 25}, 40, 26, 25, 26 * time.Millisecond},
		{"just fits", Profile{Rate: 8_000_000, Queue: 25}, 26, 26, 25, 26 * time.Millisecond},
		{"one place", Profile{Rate: 8_000_000, Queue: 1}, 10, 2, 1, 2 * time.Millisecond},
		{"no bound", Profile{Rate: 8_000_000}, 100, 100, 99, 100 * time.Millisecond},
		{"no rate, no queue", Profile{Queue: 1}, 100, 100, 0, 1},
		{"bytes", Profile{Rate: 8_000_000, QueueBytes: 25_999}, 40, 26, 25, 26 * time.Millisecond},
		{"bytes with overhead", Profile{Rate: 8_000_000, Overhead: 600, QueueBytes: 3200}, 10, 3, 2, 4800 * time.Microsecond},
		{"less than a packet", Profile{Rate: 8_000_000, QueueBytes: 10}, 10, 1, 0, time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
				n.SetDefault(c.profile)
				sendNumbered(t, a, addrB, c.burst, 1000)
				all := readAll(t, b)
				for i, p := range all {
					if p.number != i {
						t.Fatalf("packet %d has number %d: not the tail was dropped", i, p.number)
					}
				}
				if len(all) != c.wantThrough || all[len(all)-1].after != c.wantLastTime {
					t.Errorf("got %d packets, the last after %v, want %d, %v", len(all), all[len(all)-1].after, c.wantThrough, c.wantLastTime)
				}
				s := n.Link(addrA, addrB).Stats()
				if s.QueuePeak != c.wantPeak || s.Lost[LossQueue] != uint64(c.burst-c.wantThrough) || s.QueueLen != 0 {
					t.Errorf("got %+v, want queue peak %d", s, c.wantPeak)
				}
			})
		})
	}
}

func TestQueueHasRoomAsTheLineSends(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Rate: 8_000_000, Queue: 2})
		for range 50 { // a packet each ms is what the line takes
			send(t, a, addrB, make([]byte, 1000))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		if s := n.Stats(); s.Delivered != 50 || s.QueuePeak > 1 {
			t.Errorf("got %+v, want all 50 delivered and hardly any queue", s)
		}
	})
}

func TestRateChangeCountsForTheRestOfThePacketOnTheLine(t *testing.T) {
	for _, c := range []struct {
		name string
		rate int64
		want []time.Duration
	}{
		// 1000 bytes at 8 kbit/s take 1 s; the change comes after 250 ms.
		{"twice as fast", 16_000, []time.Duration{625e6, 1125e6}},
		{"half as fast", 4_000, []time.Duration{1750e6, 3750e6}},
		{"unlimited", 0, []time.Duration{250e6 + 1, 250e6 + 1}},
		{"the same", 8_000, []time.Duration{1000e6, 2000e6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
				n.SetDefault(Profile{Rate: 8_000})
				sendNumbered(t, a, addrB, 2, 1000)
				time.AfterFunc(250*time.Millisecond, func() { n.SetDefault(Profile{Rate: c.rate}) })
				all := readAll(t, b)
				if len(all) != 2 || all[0].after != c.want[0] || all[1].after != c.want[1] {
					t.Errorf("got %+v, want %v", all, c.want)
				}
			})
		})
	}
}

func TestJitterStaysInItsRangeAndKeepsOrder(t *testing.T) {
	const count, delay, jitter = 2000, 50 * time.Millisecond, 20 * time.Millisecond
	for _, reorders := range []bool{false, true} {
		inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
			n.SetDefault(Profile{Delay: delay, Jitter: jitter, JitterReorders: reorders})
			var got []arrival
			done := make(chan struct{})
			go func() { got = readAll(t, b); close(done) }()
			for i := range count {
				send(t, a, addrB, []byte{0, 0, byte(i >> 8), byte(i)})
				time.Sleep(5 * time.Millisecond)
			}
			<-done
			if len(got) != count {
				t.Fatalf("got %d packets, want %d", len(got), count)
			}
			var low, high int
			for _, p := range got {
				took := p.after - time.Duration(p.number)*5*time.Millisecond
				if took < delay || took > delay+jitter {
					t.Fatalf("packet %d took %v", p.number, took)
				}
				if took < delay+jitter/4 {
					low++
				}
				if took > delay+jitter*3/4 {
					high++
				}
			}
			if reorders { // without order the share is even
				checkShare(t, "lowest quarter", low, count, 0.25)
				checkShare(t, "highest quarter", high, count, 0.25)
			}
			if inOrder := slices.IsSorted(numbers(got)); inOrder == reorders {
				t.Errorf("JitterReorders %v: in order: %v", reorders, inOrder)
			}
		})
	}
}

func TestReorderedPacketsAreHeldBack(t *testing.T) {
	const count = 5000
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Delay: 10 * time.Millisecond, Reorder: 0.2, ReorderDelay: 3 * time.Millisecond})
		sendNumbered(t, a, addrB, count, 4)
		all := readAll(t, b)
		late := 0
		for _, p := range all {
			switch p.after {
			case 10 * time.Millisecond:
			case 13 * time.Millisecond:
				late++
			default:
				t.Fatalf("packet %d came after %v", p.number, p.after)
			}
		}
		if len(all) != count || !slices.IsSorted(numbers(all[:count-late])) || !slices.IsSorted(numbers(all[count-late:])) {
			t.Error("packets are missing, or changed places among their like")
		}
		checkShare(t, "held back", late, count, 0.2)
		if got := n.Stats().Reordered; got != uint64(late) {
			t.Errorf("Stats.Reordered = %d, want %d", got, late)
		}
	})
}

func TestLowerDelayLetsPacketsOvertake(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Delay: time.Minute})
		send(t, a, addrB, []byte("0000"))
		time.Sleep(time.Second)
		n.SetDefault(Profile{Delay: time.Millisecond})
		send(t, a, addrB, []byte("1111"))
		all := readAll(t, b)
		if len(all) != 2 || string(all[0].data) != "1111" || all[0].after != time.Millisecond || all[1].after != 59*time.Second {
			t.Errorf("got %+v", all)
		}
	})
}
