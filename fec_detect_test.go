// SPDX-License-Identifier: MIT

package kcp

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// fecSeen is a packet as far as detection sees it.
type fecSeen struct {
	seqid  uint32
	parity bool
}

// fecStream returns n packets from a seqid on.
func fecStream(shape fecShape, start uint32, n int) (stream []fecSeen) {
	for range n {
		stream = append(stream, fecSeen{start, shape.fits(start, true)})
		if start++; start == shape.wrap() {
			start = 0
		}
	}
	return stream
}

// fecDisturb removes packets at random and moves each by less than reorder places.
func fecDisturb(r *rand.Rand, stream []fecSeen, loss float64, reorder int) []fecSeen {
	type placed struct {
		fecSeen
		place float64
	}
	var kept []placed
	for i, s := range stream {
		if r.Float64() >= loss {
			kept = append(kept, placed{s, float64(i) + r.Float64()*float64(reorder)})
		}
	}
	slices.SortStableFunc(kept, func(a, b placed) int { return cmp.Compare(a.place, b.place) })
	stream = stream[:0]
	for _, k := range kept {
		stream = append(stream, k.fecSeen)
	}
	return stream
}

func fecRandomShape(r *rand.Rand, most int) fecShape {
	data := 1 + r.IntN(most-1)
	return fecShape{data: data, total: data + 1 + r.IntN(most-data)}
}

// fecTrack feeds a detector and returns the shape in use at the end and the number of changes.
func fecTrack(d *fecDetector, stream []fecSeen, shape fecShape) (fecShape, int) {
	changes := 0
	for _, s := range stream {
		if next := d.track(s.seqid, s.parity, shape); next != shape {
			shape = next
			changes++
		}
	}
	return shape, changes
}

func TestFECShapeIsFoundFromTheMiddleOfAStream(t *testing.T) {
	for _, c := range []struct {
		loss    float64
		reorder int
		most    int // shards
		within  int // packets sent, as a multiple of the group
		extra   int // and some for the smallest groups
	}{
		{0, 0, 4, 2, 2}, {0, 0, 16, 2, 3}, {0, 0, 255, 3, 0},
		{0, 8, 16, 4, 16}, {0, 8, 255, 4, 0},
		{0.2, 0, 16, 6, 48}, {0.2, 8, 16, 6, 48}, {0.2, 8, 64, 6, 0}, {0.2, 8, 255, 6, 0},
	} {
		t.Run(fmt.Sprintf("%d shards, loss %v, reordering %d", c.most, c.loss, c.reorder), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			late := 0
			const trials = 60
			for range trials {
				truth := fecRandomShape(r, c.most)
				start := r.Uint32N(truth.wrap())
				var d fecDetector
				n := c.within*truth.total + c.extra
				shape, _ := fecTrack(&d, fecDisturb(r, fecStream(truth, start, n), c.loss, c.reorder), fecShape{})
				if shape == truth {
					continue
				}
				late++
				rest := fecDisturb(r, fecStream(truth, truth.align(start+uint32(n)), 3*n+300), c.loss, c.reorder)
				if got, _ := fecTrack(&d, rest, shape); got != truth {
					t.Errorf("%v from %d: got %v for good", truth, start, got)
				}
			}
			if late > trials/20 || late > 0 && c.loss == 0 && c.reorder == 0 {
				t.Errorf("%d of %d were not found within %d groups", late, trials, c.within)
			}
		})
	}
}

func TestFECShapeFollowsAChangeWithinTwoGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	type change struct{ from, to fecShape }
	changes := []change{
		{fecShape{10, 13}, fecShape{3, 4}}, {fecShape{3, 4}, fecShape{10, 13}}, {fecShape{10, 13}, fecShape{20, 26}},
		{fecShape{20, 26}, fecShape{10, 13}}, {fecShape{10, 13}, fecShape{200, 255}}, {fecShape{200, 255}, fecShape{10, 13}},
		{fecShape{10, 13}, fecShape{9, 13}}, {fecShape{1, 2}, fecShape{2, 3}}, {fecShape{3, 4}, fecShape{1, 2}},
		{fecShape{254, 255}, fecShape{1, 2}},
	}
	for range 100 {
		changes = append(changes, change{fecRandomShape(r, 32), fecRandomShape(r, 32)})
		changes = append(changes, change{fecRandomShape(r, 255), fecRandomShape(r, 255)})
	}
	late := 0
	for _, c := range changes {
		if c.from == c.to {
			continue
		}
		start := c.from.align(r.Uint32N(1 << 31))
		var d fecDetector
		shape, n := fecTrack(&d, fecStream(c.from, start, 8*c.from.total), c.from)
		if shape != c.from || n != 0 {
			t.Fatalf("%v: got %v before the change", c.from, shape)
		}
		// Two of the larger groups, and the packet that shows where the second one ended.
		start = c.to.align(start + uint32(8*c.from.total))
		two := 2*max(c.from.total, c.to.total) + 1
		if shape, _ = fecTrack(&d, fecStream(c.to, start, two), shape); shape == c.to {
			continue
		}
		late++
		rest := fecStream(c.to, start+uint32(two), 6*two+100)
		if shape, _ = fecTrack(&d, rest, shape); shape != c.to {
			t.Errorf("from %v to %v: got %v for good", c.from, c.to, shape)
		}
	}
	if late > len(changes)/50 {
		t.Errorf("%d of %d changes took longer than two groups", late, len(changes))
	}
}

func TestFECShapeFollowsAChangeUnderLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 60 {
		from, to := fecRandomShape(r, 60), fecRandomShape(r, 60)
		if from == to {
			continue
		}
		var d fecDetector
		start := from.align(r.Uint32N(1 << 31))
		shape, _ := fecTrack(&d, fecDisturb(r, fecStream(from, start, 8*from.total), 0.2, 4), from)
		start = to.align(start + uint32(8*from.total))
		n := 12*max(from.total, to.total) + 100
		if shape, _ = fecTrack(&d, fecDisturb(r, fecStream(to, start, n), 0.2, 4), shape); shape != to {
			t.Errorf("from %v to %v: got %v after %d packets", from, to, shape, n)
		}
	}
}

func TestFECOneOutlierChangesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, shape := range []fecShape{{1, 2}, {2, 3}, {3, 4}, {1, 5}, {5, 10}, {10, 13}, {31, 32}} {
		for at := range 2 * shape.total { // the outlier takes the place of a packet, or comes besides
			for _, instead := range []bool{true, false} {
				start := shape.align(r.Uint32N(1 << 31))
				stream := fecStream(shape, start, 12*shape.total)
				i := 5*shape.total + at
				outlier := fecSeen{stream[i].seqid, !stream[i].parity}
				if instead {
					stream[i] = outlier
				} else {
					stream = slices.Insert(stream, i, outlier)
				}
				var d fecDetector
				if got, changes := fecTrack(&d, stream, shape); got != shape || changes != 0 {
					t.Errorf("%v, outlier at %d: got %v after %d changes", shape, at, got, changes)
				}
			}
		}
		for _, far := range []uint32{1 << 10, 1 << 31, 1<<32 - 5000} {
			var d fecDetector
			stream := fecStream(shape, shape.align(1<<20), 12*shape.total)
			stream = slices.Insert(stream, 5*shape.total, fecSeen{1<<20 + far, true})
			if got, changes := fecTrack(&d, stream, shape); got != shape || changes != 0 {
				t.Errorf("%v, outlier %d away: got %v after %d changes", shape, far, got, changes)
			}
		}
	}
}

func TestFECStreamWithoutParityShowsNoShape(t *testing.T) {
	// As below 2 packets a second: parity never comes, its seqids are skipped.
	r := rand.New(rand.NewPCG(5, 5))
	for _, truth := range []fecShape{{1, 2}, {3, 4}, {10, 13}, {199, 200}} {
		var stream []fecSeen
		for _, s := range fecDisturb(r, fecStream(truth, truth.align(1<<20), 4000), 0.1, 0) {
			if !s.parity {
				stream = append(stream, s)
			}
		}
		for _, current := range []fecShape{{}, truth} {
			var d fecDetector
			if got, changes := fecTrack(&d, stream, current); got != current || changes != 0 {
				t.Errorf("%v without parity: got %v, want %v", truth, got, current)
			}
		}
	}
}

func TestFECSearchingIsPaidForByPackets(t *testing.T) {
	// No shape explains types at random, at every packet of which a search would be due.
	r := rand.New(rand.NewPCG(6, 6))
	for _, current := range []fecShape{{}, {10, 13}} {
		var d fecDetector
		const n, slack = 20000, 256 * 2 * fecHistorySpan // the last search may overdraw
		spent, shape := 0, current
		for s := range uint32(n) {
			before := max(d.searches.debt-fecSearchEarned, 0)
			shape = d.track(s, r.IntN(2) == 0, shape)
			spent += max(d.searches.debt-before, 0)
			if d.searches.debt > fecSearchSaved+slack {
				t.Fatalf("packet %d: debt %d", s, d.searches.debt)
			}
		}
		if most := fecSearchSaved + n*fecSearchEarned + slack; spent > most {
			t.Errorf("spent %d, earned %d", spent, most)
		}
	}
}

func TestFECDetectionCostsNothingWhileTheShapeMatches(t *testing.T) {
	var d fecDetector
	shape := fecShape{10, 13}
	r := rand.New(rand.NewPCG(7, 7))
	for _, s := range fecDisturb(r, fecStream(shape, 0, 5000), 0.2, 8) {
		d.track(s.seqid, s.parity, shape)
		if d.doubt != 0 || d.searches.debt != 0 {
			t.Fatal("a search was prepared")
		}
	}
}
