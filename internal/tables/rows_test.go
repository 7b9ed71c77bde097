// SPDX-License-Identifier: MIT

package tables

import (
	"fmt"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// contender is a way to set up both ends of a transfer that has goals.
type contender struct {
	name   string
	config kcp.Config
}

func contenders() []contender {
	return []contender{
		{rate, kcp.Config{}}, {aggressive, free()},
		{cubicName, kcp.Config{CongestionControl: kcp.CongestionCubic}},
	}
}

// The contenders. Those without goals are measured if -run names them, and for the document.
const rate, aggressive, cubicName = "rate", "aggressive", "cubic"

// settings returns those of the contender, with the windows that the command line asks for.
func (c contender) settings() kcp.Config {
	k := c.config
	if *window > 0 {
		k.SendWindow, k.ReceiveWindow = *window, *window
	}
	return k
}

// row is one case: flows over a line, and what they must reach. Zero fields have defaults.
type row struct {
	name   string
	line   bottleneck
	flows  int           // transfers of the contender; 0: 1
	cubics int           // transfers of a TCP with CUBIC that begin later
	apart  time.Duration // from one flow's beginning to the next; 0: 370 ms
	steps  []step

	legacy   bool          // the receiver is a legacy peer
	interval time.Duration // at which it acknowledges; 0: at once

	messages time.Duration // between messages of another session; 0: none

	from time.Duration // what comes before does not count; 0: the first third, negative: all counts
	span time.Duration // the end; 0: 30 s

	want map[string]goal // by contender
	slow bool            // takes long
}

// step is a change of the line.
type step struct {
	at    time.Duration
	rate  float64 // in bits a second; 0: as it was
	state simnet.State
}

// both makes one goal that of all contenders.
func both(g goal) map[string]goal { return map[string]goal{rate: g, aggressive: g} }

func (r *row) setDefaults() {
	if r.flows == 0 {
		r.flows = 1
	}
	if r.apart == 0 {
		r.apart = 370 * time.Millisecond
	}
	if r.span == 0 {
		r.span = 30 * time.Second
	}
	switch {
	case r.from == 0:
		r.from = r.span / 3
	case r.from < 0:
		r.from = 0
	}
}

// measure returns the mean of as many runs as are asked for.
func (r row) measure(t *testing.T, c contender, runs int) figures {
	r.setDefaults()
	var all []figures
	for seed := range uint64(runs) {
		inWorld(t, seed+1, r.line, func(w *world) { all = append(all, r.run(w, c.settings())) })
	}
	return mean(all)
}

// run measures the row once.
func (r *row) run(w *world, c kcp.Config) figures {
	start := time.Now()
	until := func(d time.Duration) time.Duration { return time.Until(start.Add(d)) }
	var messages *talk
	if r.messages > 0 {
		messages = w.chat(r.messages, r.from, r.span)
	}
	var flows []*flow
	for i := range r.flows + r.cubics {
		if i > 0 {
			time.Sleep(r.apart)
		}
		switch {
		case i >= r.flows:
			flows = append(flows, w.compete())
		case r.legacy:
			flows = append(flows, w.bulkToLegacy(c, r.interval))
		default:
			flows = append(flows, w.bulk(c))
		}
	}
	line := r.line
	for _, s := range r.steps {
		if s.rate > 0 {
			line.rate = s.rate
		}
	}
	rise := make(chan time.Duration, 1)
	go func() {
		for _, s := range r.steps {
			time.Sleep(until(s.at))
			w.change(s)
		}
		rise <- riseOf(line, until(r.span), flows)
	}()
	if *series > 0 {
		go w.logSeries(flows, int(r.span / *series))
	}
	f := w.watch(line, until(r.from), until(r.span), flows)
	f.rise = <-rise
	if messages != nil {
		f.message50, f.message99 = messages.times()
	}
	return f
}

// change applies a step to both directions.
func (w *world) change(s step) {
	for _, l := range []*simnet.Link{w.there, w.back} {
		if s.rate > 0 {
			p := l.Profile()
			p.Rate = int64(s.rate)
			l.SetProfile(p)
		}
		l.SetState(s.state)
	}
}

const (
	ms = time.Millisecond
	mb = 1e6 // bits a second
)

// rows are all cases.
func rows() (all []row) {
	for _, group := range []func() []row{
		lossRows, legacyRows, lineRows, fastRows, fairRows, stepRows, messageRows,
	} {
		all = append(all, group()...)
	}
	return all
}

// lossRows are a single transfer over lines of several lengths and losses.
func lossRows() (rows []row) {
	goodputs := map[int][]float64{ // Mbit/s, by RTT in ms and loss
		20:  {18.5, 18.3, 17.5, 16.2, 14.5},
		100: {18.5, 18.3, 17.0, 16.0, 14.0},
		300: {18.0, 17.5, 16.0, 14.6, 13.0},
	}
	wires := []float64{1.06, 1.08, 1.13, 1.2, 1.35}
	delays := map[int]time.Duration{20: 10 * ms, 100: 40 * ms}
	for _, rtt := range []int{20, 100, 300} {
		for i, percent := range []int{0, 1, 5, 10, 20} {
			r := row{
				name: fmt.Sprintf("rtt%d-loss%d", rtt, percent),
				line: bottleneck{rtt: time.Duration(rtt) * ms, loss: float64(percent) / 100},
			}
			want := goal{goodput: goodputs[rtt][i], wire: wires[i], resent: r.line.loss + 0.015}
			r.want = both(want)
			if percent == 0 {
				want.p95 = delays[rtt]
				r.want[rate] = want
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// legacyRows are transfers to legacy peers, whose acknowledgements are sent once.
func legacyRows() (rows []row) {
	want := map[string]goal{
		"old-rtt100-loss5":      {goodput: 15, wire: 1.2},
		"old10ms-rtt100-loss5":  {goodput: 13},
		"old-rtt100-loss0":      {goodput: 18.5, wire: 1.06},
		"old10ms-rtt100-loss0":  {goodput: 18.3},
		"old40ms-rtt100-loss0":  {goodput: 18},
		"old100ms-rtt100-loss0": {goodput: 18},
	}
	for _, rtt := range []int{20, 100, 300} {
		for _, percent := range []int{0, 1, 5, 10, 20} {
			for _, interval := range []time.Duration{0, 10 * ms, 40 * ms, 100 * ms} {
				if interval > 0 && (rtt == 300 || percent != 0 && percent != 5) {
					continue
				}
				kind := "old"
				if interval > 0 {
					kind += interval.String()
				}
				r := row{
					name: fmt.Sprintf("%s-rtt%d-loss%d", kind, rtt, percent), legacy: true, interval: interval,
					line: bottleneck{rtt: time.Duration(rtt) * ms, loss: float64(percent) / 100},
				}
				r.want = both(want[r.name])
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// lineRows are a single transfer over lines of other kinds.
func lineRows() []row {
	slow := bottleneck{rate: 2 * mb, rtt: 100 * ms}
	slowLossy := slow
	slowLossy.loss = 0.05
	jittery := bottleneck{rate: 10 * mb, rtt: 100 * ms, jitter: 50 * ms, loss: 0.1}
	long := bottleneck{rtt: 100 * ms}
	with := func(change func(b *bottleneck)) bottleneck {
		b := long
		change(&b)
		return b
	}
	policed := func(loss float64) bottleneck {
		return with(func(b *bottleneck) { b.policer, b.loss = 50_000, loss })
	}
	bursts := func(run float64) bottleneck {
		return with(func(b *bottleneck) { b.loss, b.run = 0.05, run })
	}
	return []row{
		{name: "deep5", line: with(func(b *bottleneck) { b.queue = 5 }),
			want: map[string]goal{rate: {goodput: 18, p95: 40 * ms}}},
		{name: "deep10-rtt20", line: bottleneck{rtt: 20 * ms, queue: 10}},
		{name: "interop", line: bottleneck{rate: 10 * mb, rtt: 30 * ms, packets: 25},
			from: -1, span: 9 * time.Second, want: both(goal{goodput: 9.3, resent: 0.02})},
		{name: "shallow0.1", line: with(func(b *bottleneck) { b.queue = 0.1 })},
		{name: "shallow0.1-loss5", line: with(func(b *bottleneck) { b.queue, b.loss = 0.1, 0.05 })},
		{name: "policer50k", line: policed(0), want: both(goal{dropped: 0.02})},
		{name: "policer50k-loss5", line: policed(0.05)},
		{name: "policer250k", line: bottleneck{rtt: 20 * ms, policer: 250_000},
			want: both(goal{dropped: 0.06})},
		{name: "bursts4", line: bursts(4), want: both(goal{goodput: 17})},
		{name: "bursts16", line: bursts(16), want: both(goal{goodput: 17})},
		{name: "jitter50", line: jittery, want: both(goal{goodput: 8})},
		{name: "jitter10", line: bottleneck{rtt: 50 * ms, jitter: 10 * ms}},
		{name: "half-mbit", line: bottleneck{rate: 0.5 * mb, rtt: 100 * ms, packets: 25}},
		{name: "2mbit", line: slow},
		{name: "2mbit-loss5", line: slowLossy},
	}
}

// fastRows are a single transfer over fast lines.
func fastRows() []row {
	gigabit := bottleneck{rate: 1000 * mb, rtt: 10 * ms}
	gigabitLossy := gigabit
	gigabitLossy.loss = 0.01
	want := both(goal{goodput: 900})
	const span = 12 * time.Second
	return []row{
		{name: "100mbit-rtt50-shallow0.2", line: bottleneck{rate: 100 * mb, rtt: 50 * ms, queue: 0.2},
			span: span, want: both(goal{goodput: 90, wire: 1.08})},
		{name: "200mbit-rtt50-loss1", line: bottleneck{rate: 200 * mb, rtt: 50 * ms, loss: 0.01},
			span: span, slow: true},
		{name: "200mbit-rtt2-loss1", line: bottleneck{rate: 200 * mb, rtt: 2 * ms, loss: 0.01},
			span: span, slow: true},
		{name: "gigabit-rtt10", line: gigabit, span: span / 2, slow: true, want: want},
		{name: "gigabit-rtt10-loss1", line: gigabitLossy, span: span / 2, slow: true, want: want},
		{name: "50mbit-rtt600", line: bottleneck{rate: 50 * mb, rtt: 600 * ms, queue: 0.5},
			span: 40 * time.Second, slow: true},
	}
}

// fairRows are several transfers. The last 40 of 60 seconds count.
func fairRows() (rows []row) {
	most := map[string]float64{
		"rtt100-0.5bdp": 0.8, "rtt100-1bdp": 0.75, "rtt100-2bdp": 0.6, "rtt100-5bdp": 0.6,
	}
	for _, rtt := range []int{20, 50, 100} {
		for _, queue := range []float64{0.5, 1, 2, 5} {
			name := fmt.Sprintf("rtt%d-%gbdp", rtt, queue)
			r := row{name: "cubic-" + name, cubics: 1, span: time.Minute}
			r.line = bottleneck{rtt: time.Duration(rtt) * ms, queue: queue}
			want := goal{least: 0.35, most: 0.65}
			if m := most[name]; m > 0 {
				want.most = m
			}
			r.want = map[string]goal{rate: want}
			rows = append(rows, r)
		}
	}
	jain := map[int]float64{20: 0.95, 100: 0.85}
	for _, rtt := range []int{20, 100} {
		for _, flows := range []int{2, 4} {
			for _, percent := range []int{0, 5} {
				rows = append(rows, row{
					name: fmt.Sprintf("own%d-rtt%d-loss%d", flows, rtt, percent), flows: flows, span: time.Minute,
					line: bottleneck{rtt: time.Duration(rtt) * ms, loss: float64(percent) / 100},
					want: both(goal{jain: jain[rtt]}),
				})
			}
		}
	}
	return append(rows, row{
		name: "late-rtt50", line: bottleneck{rtt: 50 * ms}, flows: 2, apart: 20 * time.Second,
		from: 40 * time.Second, span: 80 * time.Second, want: both(goal{jain: 0.9}),
	})
}

// stepRows are a transfer over a line that changes, and the start of one.
func stepRows() []row {
	const at = 10 * time.Second
	return []row{
		// At most a bandwidth-delay product is lost, 175 of 5250 packets.
		{name: "start", line: bottleneck{rtt: 100 * ms}, from: -1, span: 3 * time.Second,
			want: both(goal{dropped: 0.033, rise: 2 * time.Second})},
		{name: "up", line: bottleneck{rate: 2 * mb, rtt: 100 * ms},
			steps: []step{{at: at, rate: 20 * mb}},
			from:  at + 3*time.Second, span: 25 * time.Second, want: both(goal{rise: 3 * time.Second})},
		{name: "down", line: bottleneck{rtt: 100 * ms}, steps: []step{{at: at, rate: 2 * mb}},
			from: at + time.Second, span: 25 * time.Second, want: both(goal{p95: 200 * ms})},
		{name: "outage", line: bottleneck{rtt: 100 * ms},
			steps: []step{{at: at, state: simnet.Down}, {at: at + 2*time.Second, state: simnet.Up}},
			from:  at + 2*time.Second, span: 25 * time.Second, want: both(goal{rise: 3 * time.Second})},
	}
}

// messageRows are small messages beside a transfer of another session.
func messageRows() []row {
	beside := func(name string, every time.Duration, flows int, b bottleneck) row {
		r := row{name: name, messages: every, flows: flows, line: b}
		half := b.rtt / 2
		r.want = map[string]goal{rate: {message50: half + 12*ms, message99: half + 30*ms}}
		return r
	}
	return []row{
		beside("messages30-rtt50", time.Second/30, 1, bottleneck{rtt: 50 * ms}),
		beside("messages60-rtt50", time.Second/60, 1, bottleneck{rtt: 50 * ms}),
		beside("messages30-rtt20", time.Second/30, 1, bottleneck{rtt: 20 * ms}),
		beside("messages30-rtt100", time.Second/30, 1, bottleneck{rtt: 100 * ms}),
	}
}
