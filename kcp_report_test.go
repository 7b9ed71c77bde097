// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"testing"
)

func reportSegment(b []byte, una seqNum) []byte {
	return appendSegment(nil, &segment{conv: 7, cmd: cmdWins, wnd: 32, ts: controlVersion,
		sn: controlMagic, una: una, data: b})
}

// A forged report changes nothing but counters, and the memory for one is not made by it.
func TestForgedReportsChangeNothing(t *testing.T) {
	good := parityReport{first: 100, last: 199, data: 90, parity: 20, recovered: 5, longest: 3}
	for name, change := range map[string]func(r *parityReport){
		"none":               func(*parityReport) {},
		"backwards":          func(r *parityReport) { r.last = 98 },
		"too many packets":   func(r *parityReport) { r.last = r.first + 1<<20 },
		"more than sent":     func(r *parityReport) { r.data = 101 },
		"all of 2^32":        func(r *parityReport) { r.last = r.first - 1 },
		"recovered too many": func(r *parityReport) { r.recovered = 11 },
		"a run too long":     func(r *parityReport) { r.longest = 11 },
		"overflow":           func(r *parityReport) { r.data, r.recovered = 1<<31, 1<<31 },
	} {
		for _, sends := range []bool{false, true} {
			c := controlCore(t, 0)
			if sends {
				c.ctl.expectReports()
			}
			before := viewOf(c)
			r := good
			change(&r)
			c.input(inputAt(1100), reportSegment(r.append(nil), 2), true)
			_, ok := c.ctl.reports.take()
			if want := sends && name == "none"; ok != want || (c.stats.badFields > 0) == want {
				t.Errorf("%s: heard %v, %d bad fields", name, ok, c.stats.badFields)
			}
			if after := viewOf(c); after != before || !sends && c.ctl.reports != nil {
				t.Errorf("%s: the state has changed", name)
			}
		}
	}
}

// Reports are only taken about packets that were sent, each once.
func TestReportsAreAboutWhatWasSent(t *testing.T) {
	turns := turns{plan: &parityPlan{reported: 1<<32 - 50, sentTo: 100}}
	report := func(first, last uint32) *parityReport {
		return &parityReport{first: first, last: last, data: last - first, recovered: 1}
	}
	for _, tt := range []struct {
		r         *parityReport
		recovered uint32
		ok        bool
	}{
		{report(1<<32-51, 10), 0, true},
		{report(0, 100), 0, false},
		{report(200, 300), 0, false},
		{report(1<<32-50, 20), 1, true},
		{report(1<<32-50, 20), 0, true}, // repeated
		{report(20, 30), 0, true},
		{report(30, 99), 1, true},
	} {
		before := turns.plan.reports
		recovered, ok := turns.hear(tt.r)
		if recovered != tt.recovered || ok != tt.ok {
			t.Errorf("a report on %d to %d: %d recovered, %v; want %d, %v",
				tt.r.first, tt.r.last, recovered, ok, tt.recovered, tt.ok)
		}
		if taken := turns.plan.reports != before; taken != (tt.recovered > 0) {
			t.Errorf("a report on %d to %d is taken: %v", tt.r.first, tt.r.last, taken)
		}
	}
}

func TestReportsSurviveAnyBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		c := controlCore(t, 0)
		c.ctl.expectReports()
		b := fecRandom(r, r.IntN(60))
		if len(b) > 1 {
			b[0], b[1] = ctlReport, byte(r.IntN(len(b)))
		}
		c.input(inputAt(1100), reportSegment(b, 2), true)
		if got, ok := c.ctl.reports.take(); ok && !got.plausible() {
			t.Fatalf("%x was taken as %+v", b, got)
		}
	}
}
