// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"testing"
)

// Each counter is accepted once, up to 8191 below the highest and never further, whatever the
// order. A model that remembers all counters agrees.
func TestReplayWindowIsExact(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 0))
		var w replayWindow
		floor := r.Uint64N(3) * 1000
		w.begin(floor)
		seen := make(map[uint64]bool)
		next := floor
		for range 20_000 {
			counter := next + r.Uint64N(70)
			switch r.IntN(400) {
			case 0:
				counter = next + r.Uint64N(3*replayWindowSize)
			default:
				if back := r.Uint64N(2 * replayWindowSize); r.IntN(3) > 0 && back <= next {
					counter = next - back
				}
			}
			want := !seen[counter] && counter >= floor && counter+replayWindowSize >= next
			if got := w.fresh(counter); got != want {
				t.Fatalf("seed %d: counter %d with the next at %d: fresh %v, want %v",
					seed, counter, next, got, want)
			}
			if want {
				w.accept(counter)
				seen[counter] = true
				next = max(next, counter+1)
			}
		}
	}
}

func TestReplayWindowEdges(t *testing.T) {
	var w replayWindow
	for _, c := range []struct {
		counter uint64
		want    bool
	}{
		{0, true}, {0, false}, {replayWindowSize, true}, {0, false}, {1, true}, {1, false},
		{2 * replayWindowSize, true}, {replayWindowSize, false}, {replayWindowSize + 1, true},
		{100 * replayWindowSize, true}, {99*replayWindowSize + 1, true},
		{99 * replayWindowSize, false}, {100 * replayWindowSize, false},
		{100*replayWindowSize - 1, true}, {1<<64 - 2, true}, {1<<64 - 2, false},
	} {
		got := w.fresh(c.counter)
		if got {
			w.accept(c.counter)
		}
		if got != c.want {
			t.Errorf("counter %d: accepted %v, want %v", c.counter, got, c.want)
		}
	}
}
