// SPDX-License-Identifier: MIT

package simnet

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestRunsInRealTime(t *testing.T) {
	before := runtime.NumGoroutine()
	n := New(1, WithReceiveQueue(0))
	n.SetDefault(Profile{Delay: time.Millisecond, Jitter: time.Millisecond, Duplicate: 0.5})
	a, b := listen(t, n, addrA), listen(t, n, addrB)
	begin := time.Now()
	var senders, readers sync.WaitGroup
	var got atomic.Int64
	all := make(chan struct{})
	const flows, count = 4, 500
	for range 2 {
		readers.Go(func() {
			buf := make([]byte, 100)
			for {
				if _, _, err := b.ReadFrom(buf); err != nil {
					return
				}
				// Each packet comes once or twice; once is for sure.
				if got.Add(1) == flows*count {
					close(all)
				}
			}
		})
	}
	for range flows {
		senders.Go(func() { sendNumbered(t, a, addrB, count, 50) })
	}
	senders.Go(func() {
		for i := range 100 {
			n.SetDefault(Profile{Delay: time.Millisecond, Rate: int64(i%2) * 1e9})
			n.Stats()
			n.Hash()
			n.Links()
			b.SetReadDeadline(time.Now().Add(time.Hour))
		}
	})
	senders.Wait()
	select {
	case <-all:
	case <-time.After(20 * time.Second):
		t.Errorf("%d packets came, want at least %d: %+v", got.Load(), flows*count, n.Stats())
	}
	if took := time.Since(begin); took < time.Millisecond {
		t.Errorf("the packets took %v, less than the delay", took)
	}
	closeAndCheckRealTime(t, n)
	readers.Wait()
	// A timer's goroutine that was just starting may take a moment to go.
	for begin := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// closeAndCheckRealTime is closeAndCheck for readers that may hold a packet at
// the moment of closing.
func closeAndCheckRealTime(t *testing.T, n *Network) {
	t.Helper()
	n.Close()
	for begin := time.Now(); n.Leases() > 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%d packets leaked", n.Leases())
		}
	}
	closeAndCheck(t, n)
}

func TestCloseDuringTraffic(t *testing.T) {
	for i := range 50 {
		n := New(uint64(i))
		n.SetTap(func(time.Time, net.Addr, net.Addr, []byte) Action { runtime.Gosched(); return Action{} })
		n.SetDefault(Profile{Jitter: 100 * time.Microsecond, Rate: 100_000_000, Duplicate: 0.2})
		a, b := listen(t, n, addrA), listen(t, n, addrB)
		var wg sync.WaitGroup
		for _, e := range []*Endpoint{a, b} {
			wg.Go(func() { discard(e) })
			wg.Go(func() {
				for {
					if _, err := e.WriteTo([]byte("x"), udp(addrA)); err != nil {
						return
					}
					if _, err := e.WriteTo([]byte("x"), udp(addrB)); err != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Millisecond)
		closeAndCheckRealTime(t, n)
		wg.Wait()
		if got := n.Leases(); got != 0 {
			t.Fatalf("%d packets leaked", got)
		}
	}
}
