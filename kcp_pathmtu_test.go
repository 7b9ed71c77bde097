// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"testing"
)

// pathRun drives a search against a path that carries datagrams up to a size.
type pathRun struct {
	p      *pathMTU
	now    millis
	number uint64
	sizes  []int // of the probes
}

var pathTimes = pathTiming{srtt: 100, rto: 200}

func newPathRun(size, most int) *pathRun {
	r := &pathRun{p: newPathMTU(size, pathBase, 0), now: 1000, number: 1}
	r.p.ask()
	r.p.bound(most, r.now)
	return r
}

// until runs the search up to a time. carries reports whether a probe of a size is answered.
func (r *pathRun) until(end millis, carries func(size int) bool) {
	for r.p.event() <= end {
		r.now = max(r.now, r.p.event())
		r.p.advance(r.now)
		size := r.p.due(r.now)
		if size == 0 {
			continue
		}
		r.sizes = append(r.sizes, size)
		r.number++
		r.p.sent(r.number, r.now, pathTimes)
		if carries(size) {
			r.p.answered(r.number, r.now+50, pathTimes)
		}
	}
	r.now = end
}

func upTo(limit int) func(int) bool { return func(size int) bool { return size <= limit } }

func TestPathSearchEndsAtWhatThePathCarries(t *testing.T) {
	for _, tt := range []struct{ size, most, path, want, probes int }{
		{1400, 1472, 1472, 1472, 3},
		{1400, 1472, 1451, 1428, 4},
		{1400, 1452, 9000, 1452, 2},
		{1400, 1400, 9000, 1400, 0},
		{1400, 1300, 9000, 1400, 0},
		{1200, 1472, 1250, 1200, 3},
		{1000, 1472, 1472, 1472, 7},
		{1400, 8972, 8972, 8972, 5},
		{1400, 8922, 8922, 8922, 4},
		{1400, 8972, 8960, 8952, 7},
		{1400, mtuLargest, 65507, mtuLargest, 6},
		{1400, 65535, 65507, mtuLargest, 6},
		{1500, 1472, 1472, 1500, 0},
		{1400, 0, 1472, 1400, 0},
		{1400, -1, 1472, 1400, 0},
	} {
		r := newPathRun(tt.size, tt.most)
		r.until(60_000, upTo(tt.path))
		if int(r.p.size) != tt.want || len(r.sizes) != tt.probes {
			t.Errorf("from %d up to %d on a path of %d: %d after %v, want %d after %d probes",
				tt.size, tt.most, tt.path, r.p.size, r.sizes, tt.want, tt.probes)
		}
	}
}

func TestPathSearchTriesAgainAfterTenMinutes(t *testing.T) {
	r := newPathRun(1400, 1472)
	r.until(500_000, upTo(1430))
	if r.p.size != 1428 || len(r.sizes) != 4 {
		t.Fatalf("%d after %v", r.p.size, r.sizes)
	}
	r.until(610_000, upTo(9000))
	if r.p.size != 1472 || r.p.event() != never {
		t.Errorf("%d after %v, with an event at %d", r.p.size, r.sizes, r.p.event())
	}
}

// A probe that is lost like data is lost is tried again soon.
func TestPathSearchOnALossyPath(t *testing.T) {
	r := newPathRun(1400, 1472)
	r.until(1000, upTo(1400))
	r.p.lost(100, false, r.now, pathTimes)
	r.until(5_000, upTo(1400))
	if r.p.size != 1400 {
		t.Fatalf("a size of %d", r.p.size)
	}
	r.until(30_000, upTo(1472))
	if r.p.size != 1472 {
		t.Errorf("a size of %d after %v", r.p.size, r.sizes)
	}
}

// Half of the probes of a doubt are of the base. It is settled well within 3 s.
func TestPathDoubt(t *testing.T) {
	half := func(size int) bool { return size <= pathBase }
	for _, tt := range []struct {
		name    string
		carries func(int) bool
		want    int
	}{
		{"a black hole", upTo(1300), 1280},
		{"no black hole", upTo(1472), 1472},
		{"silence", upTo(0), 1472},
		{"exactly the base", half, 1200},
	} {
		r := newPathRun(1472, 1472)
		r.p.lost(1472, true, r.now, pathTimes)
		begun := r.now
		r.until(r.now+3000, tt.carries)
		if int(r.p.size) != tt.want {
			t.Errorf("%s: a size of %d after %v, want %d", tt.name, r.p.size, r.sizes, tt.want)
		}
		for i, size := range r.sizes[:min(len(r.sizes), pathDoubtProbes)] {
			if i == 10 && r.now-begun > 1000 {
				t.Errorf("%s: the probe of %d bytes is late", tt.name, size)
			}
		}
	}
}

func TestPathDoubtNeedsAReason(t *testing.T) {
	for name, f := range map[string]func(p *pathMTU){
		"small data times out": func(p *pathMTU) {
			for range 9 {
				p.lost(1200, true, 1000, pathTimes)
			}
		},
		"two are overtaken": func(p *pathMTU) {
			p.lost(1400, false, 1000, pathTimes)
			p.lost(1400, false, 1000, pathTimes)
		},
		"one arrives in between": func(p *pathMTU) {
			for range 9 {
				p.lost(1400, false, 1000, pathTimes)
				p.acked(1400, 1000)
			}
		},
		"one arrives behind": func(p *pathMTU) {
			p.lost(1400, true, 1000, pathTimes)
			p.acked(1300, 1000)
		},
		"what was cut before": func(p *pathMTU) { p.lost(9000, true, 1000, pathTimes) },
	} {
		p := newPathMTU(1472, pathBase, 0)
		p.ask()
		p.bound(1472, 1000)
		if f(p); p.state == pathDoubting {
			t.Errorf("%s: the size is in doubt", name)
		}
	}
	p := newPathMTU(1472, pathBase, 0)
	p.lost(1400, true, 1000, pathTimes)
	p.acked(1200, 1000) // what is small tells nothing
	if p.state != pathDoubting || p.event() != 1000+pathTimes.srtt+pathHold {
		t.Errorf("state %d, event at %d", p.state, p.event())
	}
}

// A path that is gone altogether is doubted once, until something is heard.
func TestPathOfSilenceIsDoubtedOnce(t *testing.T) {
	r := newPathRun(1472, 1472)
	for range 20 {
		r.p.lost(1472, true, r.now, pathTimes)
		r.until(r.now+1000, upTo(0))
	}
	if len(r.sizes) != pathDoubtProbes || r.p.size != 1472 {
		t.Errorf("%d probes, a size of %d", len(r.sizes), r.p.size)
	}
	r.p.heard()
	r.p.lost(1472, true, r.now, pathTimes)
	if r.p.state != pathDoubting {
		t.Error("no doubt after the path has come back")
	}
}

func TestPathRefusals(t *testing.T) {
	for _, tt := range []struct{ size, refused, want int }{
		{1472, 1472, 1452}, {1472, 1440, 1428}, {1400, 1400, 1392}, {1200, 1200, pathFloor},
		{1400, 1472, 1400}, {1400, 100, 1400}, {1400, 0, 1400}, {9000, 9000, 8972},
		{600, 600, pathFloor}, {1000, 1000, pathFloor},
	} {
		p := newPathMTU(tt.size, pathBase, 0)
		if p.refused(tt.refused, 1000); int(p.size) != tt.want || p.base > p.size {
			t.Errorf("%d of %d refused: a size of %d and a base of %d, want %d",
				tt.refused, tt.size, p.size, p.base, tt.want)
		}
	}
	r := newPathRun(1400, 1472)
	r.p.refused(1428, r.now) // the probe
	if r.until(60_000, upTo(9000)); r.p.size != 1400 || len(r.sizes) != 0 {
		t.Errorf("a size of %d after %v", r.p.size, r.sizes)
	}
}

// Numbers that were not asked, or were answered before, change nothing.
func TestPathIgnoresFalseAnswers(t *testing.T) {
	r := newPathRun(1400, 8972)
	for n := range uint64(1000) {
		r.p.answered(n, r.now, pathTimes)
	}
	r.p.advance(r.now)
	r.p.sent(77, r.now, pathTimes)
	for range 10 {
		r.p.answered(77, r.now, pathTimes)
		r.p.answered(0, r.now, pathTimes)
	}
	if r.p.size != 1428 {
		t.Errorf("a size of %d after one answer", r.p.size)
	}
}

// Whatever happens, sizes stay within their bounds and the search goes on.
func TestPathMTUOfRandomEvents(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 4))
		start := pathFloor + rng.IntN(1500-pathFloor)
		p := newPathMTU(start, pathBase, 30)
		now, number := millis(1000), uint64(1)
		limit := 500 + rng.IntN(20000)
		for range 2000 {
			now += millis(rng.IntN(100))
			p.advance(now)
			if size := p.due(now); size > 0 {
				if size < pathFloor && size != start || size > max(mtuLargest, start) {
					t.Fatalf("seed %d: a probe of %d bytes", seed, size)
				}
				number++
				p.sent(number, now, pathTimes)
				if size < limit && rng.IntN(4) > 0 {
					p.answered(number, now, pathTimes)
				}
			}
			switch size := rng.IntN(20000); rng.IntN(8) {
			case 0:
				p.acked(size, now)
			case 1:
				p.lost(size, rng.IntN(2) == 0, now, pathTimes)
			case 2:
				if rng.IntN(50) == 0 {
					p.refused(size, now)
				}
			case 3:
				p.heard()
			case 4:
				if p.ask() {
					p.bound(size, now)
				}
			case 5:
				p.answered(rng.Uint64(), now, pathTimes)
			}
			if p.size < min(pathFloor, uint16(start)) || p.size > max(mtuLargest, uint16(start)) ||
				p.base > p.size || p.room() != int(p.size)-30 {
				t.Fatalf("seed %d: a size of %d with a base of %d", seed, p.size, p.base)
			}
		}
	}
}
