// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The ranges of a ring are the runs of its segments, from the highest down.
func TestNewestRangesAreTheRunsFromTheTop(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []uint32{16, 64, 256} {
		for range 500 {
			r := getRecvRing(size)
			next := seqNum(rng.Uint32())
			n := 1 + rng.Uint32N(size)
			share := rng.Float64()
			var want []snRange
			for sn := next; sn != next+seqNum(n); sn++ {
				if rng.Float64() > share {
					continue
				}
				r.present.set(r.slot(sn))
				if last := len(want) - 1; last >= 0 && want[last].end == sn {
					want[last].end++
				} else {
					want = append(want, snRange{sn, sn + 1})
				}
			}
			slices.Reverse(want)
			want = want[:min(len(want), ackRangesMost)]
			var got [ackRangesMost]snRange
			if n := r.newestRanges(next, next+seqNum(n), got[:]); !slices.Equal(got[:n], want) {
				t.Fatalf("size %d: got %v, want %v", size, got[:n], want)
			}
			clear(r.present)
			putRecvRing(r)
		}
	}
}
