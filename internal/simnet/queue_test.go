// SPDX-License-Identifier: MIT

package simnet

import (
	"testing"
	"time"
)

func TestPolicerDropsWhatExceedsItsRate(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Overhead: 28, Policer: Policer{Rate: 8_000_000, Bucket: 10_280}})
		payload := make([]byte, 1000)
		burst := func(want uint64) {
			t.Helper()
			before := n.Stats()
			for range 40 {
				send(t, a, addrB, payload)
			}
			time.Sleep(time.Microsecond) // the packets are taken up 1 ns later
			after := n.Stats()
			passed := after.Sent - before.Sent - (after.Lost[LossPolicer] - before.Lost[LossPolicer])
			if passed != want {
				t.Errorf("%d packets of a burst passed, want %d", passed, want)
			}
		}
		burst(10) // the bucket is full at first
		burst(0)
		time.Sleep(2056 * time.Microsecond)
		burst(2)
		time.Sleep(time.Hour)
		burst(10) // and holds no more
		n.SetDefault(Profile{})
		burst(40)
		n.SetDefault(Profile{Policer: Policer{Rate: 1 << 62, Bucket: maxBucket}})
		burst(40)
		if all := readAll(t, b); len(all) != 102 {
			t.Errorf("%d packets arrived, want 102", len(all))
		}
	})
}

func TestQueueDelayIsTheWaitForTheLine(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Rate: 8_000_000, Delay: time.Second, Overhead: 28})
		l := n.Link(addrA, addrB)
		if got := l.QueueDelay(0.5); got != 0 {
			t.Errorf("got %v where nothing was measured", got)
		}
		send(t, a, addrB, make([]byte, 972)) // not measured
		time.Sleep(time.Second)
		l.MeasureQueue()
		for range 101 { // they wait for 0 to 100 ms
			send(t, a, addrB, make([]byte, 972))
		}
		time.Sleep(time.Second)
		for _, percent := range []int{0, 50, 95, 100} {
			want := time.Duration(percent) * time.Millisecond
			if got := l.QueueDelay(float64(percent) / 100); got != want {
				t.Errorf("quantile of %d %% is %v, want %v", percent, got, want)
			}
		}
		l.MeasureQueue()
		if got := l.QueueDelay(1); got != 0 {
			t.Errorf("got %v after a new beginning", got)
		}
	})
}

func TestPolicerNeedsABucket(t *testing.T) {
	for _, p := range []Policer{
		{Rate: 1}, {Rate: -1, Bucket: 1}, {Rate: 1, Bucket: maxBucket + 1}, {Rate: 1, Bucket: -1},
	} {
		if err := (Profile{Policer: p}).Validate(); err == nil {
			t.Errorf("%+v is valid", p)
		}
	}
}
