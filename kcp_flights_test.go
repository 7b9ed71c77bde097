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
