// SPDX-License-Identifier: MIT

package tables

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var (
	seeds  = flag.Int("seeds", 1, "measure each row of the goals so often and take the mean")
	series = flag.Duration("series", 0, "log the state of each flow of the goals so often")
	window = flag.Int("window", 0, "windows of the rows of the goals in `segments`, not the default")
)

// slack is how far a measurement may be from its goal.
const slack = 0.1

// goal is what a row must reach. A zero field is no goal.
type goal struct {
	goodput   float64       // Mbit/s at least
	wire      float64       // bytes on the line a byte delivered, at most
	resent    float64       // share at most
	dropped   float64       // likewise
	p95       time.Duration // of the queue's delay, at most
	rise      time.Duration // to 90 % of the ideal, at most
	jain      float64       // at least
	least     float64       // share of the first flow in the sum, at least
	most      float64       // likewise, at most
	message50 time.Duration // at most
	message99 time.Duration // at most
}

// check returns what a measurement has missed. Within the slack it is no failure.
func (g goal) check(f figures) (missed []string, failed bool) {
	one := func(name string, got, want, sign float64) {
		if want == 0 || (got-want)*sign <= 0 {
			return
		}
		missed = append(missed, fmt.Sprintf("%s is %.4g, want %.4g", name, got, want))
		failed = failed || (got-want)*sign > slack*want
	}
	const atLeast, atMost = -1, 1
	one("goodput", f.total()/1e6, g.goodput, atLeast)
	one("wire", f.wire, g.wire, atMost)
	one("resent", f.resent, g.resent, atMost)
	one("dropped", f.dropped, g.dropped, atMost)
	one("queue p95", milli(f.p95), milli(g.p95), atMost)
	rise := f.rise
	if rise == 0 {
		rise = time.Hour // never
	}
	one("rise", rise.Seconds(), g.rise.Seconds(), atMost)
	one("Jain", f.jain, g.jain, atLeast)
	one("share", f.goodput[0]/f.total(), g.least, atLeast)
	one("share", f.goodput[0]/f.total(), g.most, atMost)
	one("message p50", milli(f.message50), milli(g.message50), atMost)
	one("message p99", milli(f.message99), milli(g.message99), atMost)
	return missed, failed
}

// always are the rows whose goals are checked in each run of the tests, with true also under the race
// detector. The controllers draw random numbers, so no two runs are the same: these rows reach their
// goals in each of ten.
var always = map[string]bool{
	"rtt20-loss1": false, "rtt20-loss5": false,
	"rtt100-loss0": false, "rtt100-loss1": false, "rtt100-loss5": false,
	"rtt300-loss0": false, "rtt300-loss1": false,
	"old-rtt100-loss0": false, "deep5": false, "interop": true, "100mbit-rtt50-shallow0.2": false,
	"policer50k": false, "start": true, "outage": false,
	"cubic-rtt20-1bdp": false, "cubic-rtt50-1bdp": false,
}

// measured reports whether TestGoals measures a row: -run names it, or it is one of always.
func (r row) measured(c contender) bool {
	if strings.Contains(flag.Lookup("test.run").Value.String(), "TestGoals/") {
		return true
	}
	withRace, checked := always[r.name]
	return checked && (withRace || !raceDetector) && r.want[c.name] != goal{}
}

// TestGoals measures transfers and compares them with their goals. With -v it prints the figures:
//
//	go test ./internal/tables -v -run 'TestGoals/rtt100-loss5'
//	go test ./internal/tables -v -run 'TestGoals/.*/aggressive' -seeds 3
func TestGoals(t *testing.T) {
	for _, r := range rows() {
		for _, c := range contenders() {
			if !r.measured(c) {
				continue
			}
			t.Run(r.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				f := r.measure(t, c, *seeds)
				missed, failed := r.want[c.name].check(f)
				verdict := "reached"
				switch {
				case r.want[c.name] == goal{}:
					verdict = "no goal"
				case len(missed) > 0:
					verdict = strings.Join(missed, "; ")
				}
				report := t.Logf
				if failed {
					report = t.Errorf
				}
				report("%s/%s: %v: %s", r.name, c.name, f, verdict)
			})
		}
	}
}
