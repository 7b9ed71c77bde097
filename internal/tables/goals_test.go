// SPDX-License-Identifier: MIT

package tables

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
)

var (
	seeds  = flag.Int("seeds", 1, "measure each row of the goals so often and take the mean")
	window = flag.Int("window", 0, "windows of the rows of the goals in `segments`, not the default")
)

// slack is how far a measurement may be from its goal.
const slack = 0.1

// contender is a way to set up both ends of a transfer that has goals.
type contender struct {
	name   string
	config kcp.Config
}

func contenders() []contender {
	return []contender{{"rate", kcp.Config{}}, {"aggressive", free()}}
}

// with returns the settings of a contender for a row.
func (c contender) with() kcp.Config {
	k := c.config
	if *window > 0 {
		k.SendWindow, k.ReceiveWindow = *window, *window
	}
	return k
}

// goal is what a row must reach. A zero field is no goal.
type goal struct {
	goodput float64       // Mbit/s at least
	wire    float64       // bytes on the line a byte delivered, at most
	resent  float64       // share at most
	dropped float64       // likewise
	p95     time.Duration // of the queue's delay, at most
	rise    time.Duration // to 90 % of the ideal, at most
}

// row is one case of the matrix.
type row struct {
	name string
	line bottleneck
	want map[string]goal // by contender
}

// bulkRows are a single transfer over lines of several lengths and losses.
func bulkRows() (rows []row) {
	goodputs := map[int][]float64{ // Mbit/s, by RTT in ms and loss
		20:  {18.5, 18.3, 17.5, 16.2, 14.5},
		100: {18.5, 18.3, 17.0, 16.0, 14.0},
		300: {18.0, 17.5, 16.0, 14.6, 13.0},
	}
	wires := []float64{1.06, 1.08, 1.13, 1.2, 1.35}
	for _, rtt := range []int{20, 100, 300} {
		for i, percent := range []int{0, 1, 5, 10, 20} {
			r := row{
				name: fmt.Sprintf("rtt%d-loss%d", rtt, percent),
				line: bottleneck{rtt: time.Duration(rtt) * time.Millisecond, loss: float64(percent) / 100},
			}
			want := goal{goodput: goodputs[rtt][i], wire: wires[i], resent: r.line.loss + 0.015}
			r.want = map[string]goal{"aggressive": want}
			switch {
			case percent == 0 && rtt == 20:
				want.p95 = 10 * time.Millisecond
			case percent == 0 && rtt == 100:
				want.p95 = 40 * time.Millisecond
			}
			r.want["rate"] = want
			rows = append(rows, r)
		}
	}
	return rows
}

// bulkSpanOf is how long a transfer is measured. Its first third does not count.
const bulkSpanOf = 30 * time.Second

// measure returns the mean of as many runs as are asked for.
func (r row) measure(t *testing.T, c contender) figures {
	var all []figures
	for seed := range uint64(*seeds) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed+1, r.line)
			defer w.close()
			all = append(all, w.watch(r.line, bulkSpanOf/3, bulkSpanOf, w.bulk(c.with())))
		})
	}
	return mean(all)
}

// check returns what a measurement has missed. Within the slack it is no failure.
func (g goal) check(f figures) (missed string, failed bool) {
	one := func(name string, got, want, sign float64) {
		if want == 0 || (got-want)*sign <= 0 {
			return
		}
		missed += fmt.Sprintf("; %s is %.4g, want %.4g", name, got, want)
		if (got-want)*sign > slack*want {
			failed = true
		}
	}
	one("goodput", f.total()/1e6, g.goodput, -1)
	one("wire", f.wire, g.wire, 1)
	one("resent", f.resent, g.resent, 1)
	one("dropped", f.dropped, g.dropped, 1)
	one("queue p95", milli(f.p95), milli(g.p95), 1)
	got := f.rise.Seconds()
	if f.rise == 0 {
		got = 1e9 // never
	}
	one("rise", got, g.rise.Seconds(), 1)
	return strings.TrimPrefix(missed, "; "), failed
}

// TestGoals measures what docs/tables.md has of transfers. With -v it prints the figures:
//
//	go test ./internal/tables -v -run 'TestGoals/rtt100-loss5'
//	go test ./internal/tables -v -run 'TestGoals/.*/aggressive' -seeds 3
func TestGoals(t *testing.T) {
	if !strings.Contains(flag.Lookup("test.run").Value.String(), "TestGoals") {
		t.Skip("measured when -run names it")
	}
	for _, r := range bulkRows() {
		t.Run(r.name, func(t *testing.T) {
			for _, c := range contenders() {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					f := r.measure(t, c)
					missed, failed := r.want[c.name].check(f)
					if missed == "" {
						missed = "reached"
					}
					report := t.Logf
					if failed {
						report = t.Errorf
					}
					report("%s/%s: %v: %s", r.name, c.name, f, missed)
				})
			}
		})
	}
}
