// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"testing"
)

// Every transmission finds the record that began with it or last before it, as long as that is
// kept.
func TestFlightRingFindsRecords(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r flightRing
	var starts []uint64
	order := uint64(1)
	for i := range 3000 {
		now := instant(i) * flowUnpaced
		*r.add(now, 300*flowUnpaced) = flight{order: order, sentAt: now}
		starts = append(starts, order)
		order += 1 + rng.Uint64N(20)
		kept := starts[len(starts)-min(len(starts), len(r.records)):]
		for range 4 {
			want := rng.Uint64N(order + 5)
			got := r.find(want)
			if want < kept[0] {
				if got != nil {
					t.Fatalf("transmission %d has the record of %d, want none", want, got.order)
				}
				continue
			}
			n := len(kept) - 1
			for kept[n] > want {
				n--
			}
			if got == nil || got.order != kept[n] {
				t.Fatalf("transmission %d has the record %+v, want that of %d", want, got, kept[n])
			}
		}
	}
	if len(r.records) != flightsMost {
		t.Errorf("%d records are kept, want %d", len(r.records), flightsMost)
	}
}

// The ring holds no more than two round trips need.
func TestFlightRingStaysSmallOnAShortPath(t *testing.T) {
	var r flightRing
	if r.find(1) != nil || r.newest() != nil {
		t.Error("an empty ring has a record")
	}
	for i := range 1000 {
		now := instant(i) * flowUnpaced
		*r.add(now, 10*flowUnpaced) = flight{order: uint64(i), sentAt: now}
	}
	if len(r.records) != flightsLeast {
		t.Errorf("%d records are kept, want %d", len(r.records), flightsLeast)
	}
	if n := testing.AllocsPerRun(100, func() { r.add(1e12, 10*flowUnpaced) }); n > 0 {
		t.Errorf("%v allocations a record", n)
	}
}

// A ring that grows after it has wrapped has fewer records than places. The others of its larger
// storage, which another flow may have left, are none of its own.
func TestFlightRingGrowsAfterItHasWrapped(t *testing.T) {
	var other flightRing
	for size := uint64(flightsLeast); size <= flightsMost; size *= 2 {
		other.hold(size)
		for i := range other.records {
			other.records[i] = flight{order: uint64(i) + 1, tag: 1}
		}
		other.release()
	}
	var r flightRing
	for i := range uint64(1000) {
		now := instant(i) * 10 * flowUnpaced
		rtt := 10 * flowUnpaced
		if i >= 100 {
			rtt = 3000 * flowUnpaced // from here on the ring grows
		}
		*r.add(now, rtt) = flight{order: 1e6 + i, sentAt: now}
		for n := range i + 1 {
			if f := r.find(n + 1); f != nil {
				t.Fatalf("after %d records transmission %d has the record %+v", i+1, n+1, f)
			}
			if f := r.find(1e6 + n); f != nil && f.order != 1e6+n {
				t.Fatalf("transmission %d has the record %+v", uint64(1e6)+n, f)
			}
		}
	}
}
