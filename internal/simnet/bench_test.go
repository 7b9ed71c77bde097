// SPDX-License-Identifier: MIT

package simnet

import (
	"testing"
	"testing/synctest"
	"time"
)

// BenchmarkRealTime measures a packet from WriteTo to ReadFrom, 64 at a time.
func BenchmarkRealTime(b *testing.B) {
	for _, c := range []struct {
		name    string
		profile Profile
	}{
		{"perfect", Profile{}},
		{"impaired", Profile{Rate: 1 << 50, Queue: 1000, Jitter: 1000, Burst: GilbertElliott{LossBad: 1}, Corrupt: 0.01}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := New(1, WithReceiveQueue(0))
			defer n.Close()
			n.SetDefault(c.profile)
			from, to := listen(b, n, addrA), listen(b, n, addrB)
			payload := make([]byte, 1400)
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			i := 0
			for b.Loop() {
				if _, err := from.WriteTo(payload, to.LocalAddr()); err != nil {
					b.Fatal(err)
				}
				if i++; i%64 == 0 {
					readCount(b, to, 64)
				}
			}
		})
	}
}

// readCount reads count packets.
func readCount(t testing.TB, e *Endpoint, count int) {
	t.Helper()
	var buf [2048]byte
	for range count {
		if _, _, err := e.ReadFrom(buf[:]); err != nil {
			t.Fatal(err)
		}
	}
}

// run1400 sends 64 packets of 1400 bytes each virtual millisecond over a link of 1 Gbit/s with 20
// ms of delay. The other side reads them.
func run1400(t *testing.T, count int) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, WithReceiveQueue(0))
		n.SetDefault(Profile{Rate: 1_000_000_000, Queue: 1000, Delay: 20 * time.Millisecond, Loss: 0.01, Duplicate: 0.01, Corrupt: 0.01})
		a, b := listen(t, n, addrA), listen(t, n, addrB)
		go discard(b)
		payload := make([]byte, 1400)
		for i := range count {
			if _, err := a.WriteTo(payload, b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			if i%64 == 63 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		if s := n.Stats(); s.Sent != uint64(count) || s.InTransit != 0 {
			t.Errorf("got %+v", s)
		}
		closeAndCheck(t, n)
	})
}

// With -v it prints the cost of a packet in virtual time, where no benchmark can run.
func TestBulkInVirtualTimeAddsUp(t *testing.T) {
	const count = 20_000
	begin := time.Now()
	run1400(t, count)
	took := time.Since(begin)
	t.Logf("%d packets in %v of real time: %v each", count, took, took/count)
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Rate: 1_000_000_000, Queue: 1000, Delay: time.Millisecond, Duplicate: 0.01, Corrupt: 0.01, Loss: 0.01})
		go discard(b)
		payload, to := make([]byte, 1400), b.LocalAddr()
		got := testing.AllocsPerRun(100, func() {
			for range 64 {
				a.WriteTo(payload, to)
			}
			time.Sleep(5 * time.Millisecond)
		})
		// Not counted by packets: the runtime's goroutine for a timer that fires.
		if got > 16 {
			t.Errorf("%v allocations for 64 packets", got)
		}
	})
}
