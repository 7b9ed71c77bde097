// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
)

func TestCounts(t *testing.T) {
	var a, b counts
	if got, want := len(a.fields()), reflect.TypeFor[counts]().NumField(); got != want {
		t.Fatalf("fields has %d of %d fields", got, want)
	}
	for i, f := range a.fields() {
		*f = uint64(10 * (i + 1))
	}
	for i, f := range b.fields() {
		*f = uint64(i + 1)
	}
	diff := a.since(b)
	for i, f := range diff.fields() {
		if want := uint64(9 * (i + 1)); *f != want {
			t.Errorf("field %d is %d, want %d", i, *f, want)
		}
	}
	// An estimate may fall; what has happened since is then nothing.
	if got := b.since(a); got != (counts{}) {
		t.Errorf("got %+v, want nothing", got)
	}
}

func TestHistogram(t *testing.T) {
	var part, all histogram
	if part.moveTo(&all) != nil || all.quantiles() != nil {
		t.Error("an empty histogram has quantiles")
	}
	for i := range 1000 {
		part.record(time.Duration(i+1) * time.Millisecond)
	}
	q := part.moveTo(&all)
	near := func(got, want float64) bool { return math.Abs(got-want) <= want*0.002 }
	if q.Count != 1000 || !near(q.Min, 1) || !near(q.P50, 500) || !near(q.P90, 900) || !near(q.P99, 990) || !near(q.P999, 999) || !near(q.Max, 1000) || !near(q.Mean, 500.5) {
		t.Errorf("got %+v", q)
	}
	part.record(time.Hour)
	part.record(-time.Second)
	if q := part.moveTo(&all); q.Count != 2 || !near(q.Max, 600000) || q.Min != 0 {
		t.Errorf("got %+v for what is out of range", q)
	}
	if q := all.quantiles(); q.Count != 1002 {
		t.Errorf("the total has %d samples, want 1002", q.Count)
	}
}

// side makes samples of one end: second for second what it read and sent.
func side(reads ...uint64) (samples []*sample) {
	for i, n := range reads {
		s := &sample{Start: float64(i), End: float64(i + 1)}
		s.Read, s.CPU = n, uint64(300*time.Millisecond)
		samples = append(samples, s)
	}
	return samples
}

func TestRunFromBothEnds(t *testing.T) {
	p := plan{Settings: fastSettings(), Mode: modeSend, Sessions: 1, Millis: 2000, Every: 1000, Length: 1000}
	state, total := &pathState{Pacing: 1}, &pathState{Pacing: 2}
	m := &measured{local: side(0, 0), remote: side(1000, 3000), localTotal: new(sample), remoteTotal: new(sample)}
	m.local[1].Fast, m.local[1].DatagramsSent = 2, 50
	m.localTotal.DatagramsSent, m.localTotal.Fast, m.localTotal.Early, m.localTotal.Timeout = 100, 5, 3, 2
	m.localTotal.WireSent = 6000
	m.localTotal.RTT = &quantiles{P50: 7}
	m.local[1].Path, m.localTotal.Path = state, total
	m.remoteTotal.DatagramsReceived, m.remoteTotal.Read, m.remoteTotal.FECRecovered = 80, 5000, 4
	r := newRun("x", &p, m, nil)
	d := r.Up
	if r.Down != nil || r.Echo != nil || d == nil {
		t.Fatalf("got %+v", r)
	}
	// 4000 bytes within two seconds; those that came later count for the overhead, but not for the
	// speed.
	if d.BitsPerSecond != 16000 || d.Bytes != 4000 || d.LossPercent != 20 || d.Retransmits != 10 || d.RetransmitPercent != 10 ||
		math.Abs(d.OverheadPercent-20) > 1e-9 || d.FECRecovered != 4 || d.RTT.P50 != 7 {
		t.Errorf("got %+v", d)
	}
	if d.Path != total || r.Intervals[0].Up.Path != nil || r.Intervals[1].Up.Path != state {
		t.Errorf("the sender's path is %+v in all, then %+v and %+v", d.Path, r.Intervals[0].Up.Path, r.Intervals[1].Up.Path)
	}
	if r.CPU != (cpuUse{30, 30}) {
		t.Errorf("CPU %+v, want 30 %% each", r.CPU)
	}
	if len(r.Intervals) != 2 || r.Intervals[1].Up.BitsPerSecond != 24000 || r.Intervals[1].Up.RetransmitPercent != 4 {
		t.Errorf("got %+v", r.Intervals[1].Up)
	}
	// If the server is lost, the samples that it has sent count.
	m.remoteTotal, m.remote = nil, m.remote[:1]
	m.remote[0].DatagramsReceived = 40
	r = newRun("x", &p, m, errors.New("lost"))
	if r.Error != "lost" || r.Up.Bytes != 1000 || r.Up.DatagramsReceived != 40 || len(r.Intervals) != 2 {
		t.Errorf("got %+v, %+v", r, r.Up)
	}
	if r = newRun("x", &p, nil, errors.New("absent")); r.Error != "absent" || r.Up != nil {
		t.Errorf("got %+v", r)
	}
}

func TestRank(t *testing.T) {
	bulk := func(name string, speed float64, failed string) *run {
		return &run{Name: name, Error: failed, Up: &direction{BitsPerSecond: speed}}
	}
	runs := []*run{bulk("failed", 9, "x"), bulk("slow", 1, ""), bulk("fast", 3, ""), bulk("middle", 2, "")}
	rank(runs)
	names := func() (s string) {
		for i, r := range runs {
			if r.Rank != i+1 {
				t.Errorf("%s has rank %d at place %d", r.Name, r.Rank, i+1)
			}
			s += r.Name + " "
		}
		return s
	}
	if got, want := names(), "fast middle slow failed "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	echo := func(name string, back uint64, p99 float64) *run {
		return &run{Name: name, Echo: &echoed{Sent: 100, Returned: back, Latency: &quantiles{P99: p99}}}
	}
	runs = []*run{echo("lossy", 90, 1), echo("late", 100, 9), echo("prompt", 100, 2)}
	rank(runs)
	if got, want := names(), "prompt late lossy "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// sampleReport is a report with all that a page may have to show, and names that would break one.
func sampleReport(mode string, compared bool) *report {
	rep := &report{
		Format: 1, Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Target: `<script src="http://example.com/x.js">`, Cipher: "none",
		Mode: mode, Sessions: 2, Seconds: 2, Length: 100, Rate: 30, Compared: compared,
	}
	q := &quantiles{Count: 5, Min: 1, P50: 2, P90: 3, P99: 4, P999: 5, Max: 6}
	for _, name := range []string{"a & b", `"quoted" <i>`} {
		p := plan{Settings: fastSettings(), Mode: mode, Sessions: 2, Millis: 2000, Every: 1000, Length: 100}
		m := &measured{local: side(500, 700), remote: side(600, 800), localTotal: sum(side(500, 700)), remoteTotal: sum(side(600, 800))}
		for _, s := range append(m.local, m.localTotal, m.remoteTotal) {
			s.RTT, s.Echo = q, q
			s.Path = &pathState{Pacing: 2e6, Bandwidth: 1e6, Loss: 5, Queue: q, Control: "rate", State: "cruise"}
			s.FECRecovered, s.FECParity, s.DatagramsSent, s.DatagramsReceived, s.Timeout, s.Asked, s.Answered = 1, 2, 10, 9, 1, 4, 3
		}
		m.local[1].RTT, m.local[1].Echo, m.local[1].Path = nil, nil, nil
		r := newRun(name, &p, m, nil)
		r.PathLoss = &[2]float64{1, 2}
		rep.Runs = append(rep.Runs, r)
	}
	if !compared {
		rep.Runs = rep.Runs[:1]
		return rep
	}
	rep.Runs = append(rep.Runs, newRun("failed", &plan{Mode: mode, Settings: fastSettings()}, nil, errors.New("no <answer>")))
	rank(rep.Runs)
	return rep
}

func everyReport(t *testing.T, check func(t *testing.T, rep *report)) {
	for _, mode := range []string{modeSend, modeReceive, modeBoth, modeEcho} {
		t.Run(mode, func(t *testing.T) { check(t, sampleReport(mode, false)) })
		t.Run(mode+", compared", func(t *testing.T) { check(t, sampleReport(mode, true)) })
	}
}

// A page must open offline: nothing in it may refer to anything outside.
var outside = regexp.MustCompile(`(?i)(https?:|//[a-z]|\bsrc\s*=|\burl\(|@import|<link|<iframe|<object|<embed|<base|fetch\(|XMLHttp|import\()`)

var noValue = regexp.MustCompile(`.{0,20}(NaN|ZgotmplZ|[+-]Inf|%!).{0,20}`)

func TestPageIsWellFormedAndRefersToNothing(t *testing.T) {
	everyReport(t, func(t *testing.T, rep *report) {
		html, err := renderPage(rep)
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(strings.NewReader(string(html)))
		d.Entity = xml.HTMLEntity
		elements := map[string]int{}
		ids := map[string]bool{}
		var targets []string
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("not well-formed: %v", err)
			}
			e, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			elements[e.Name.Local]++
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "id":
					ids[a.Value] = true
				case "href":
					targets = append(targets, a.Value)
				}
			}
		}
		if elements["svg"] == 0 || elements["script"] != 1 || elements["path"] == 0 {
			t.Errorf("it has %v", elements)
		}
		for _, to := range targets {
			if !strings.HasPrefix(to, "#") || !ids[to[1:]] {
				t.Errorf("a link leads to %q", to)
			}
		}
		// The target's name stands there as text, escaped.
		text := strings.ReplaceAll(string(html), "&lt;script src=&#34;http://example.com/x.js&#34;&gt;", "")
		if found := outside.FindString(text); found != "" {
			t.Errorf("it has %q", found)
		}
		if len(text) == len(html) {
			t.Error("the target is missing, or it is not escaped")
		}
		if found := noValue.FindString(text); found != "" {
			t.Errorf("it has %q", found)
		}
	})
}

func TestReportAsJSONReadsBack(t *testing.T) {
	everyReport(t, func(t *testing.T, rep *report) {
		text, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		got := new(report)
		if err := json.Unmarshal(text, got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, rep) {
			t.Errorf("got %+v\nwant %+v", got, rep)
		}
	})
}

func TestReportAsText(t *testing.T) {
	everyReport(t, func(t *testing.T, rep *report) {
		var b strings.Builder
		for _, r := range rep.Runs {
			printRun(&b, rep, r)
		}
		printRanking(&b, rep)
		for _, want := range []string{"FEC", "rebuilt", "sent again", "by timeout", "p99", "lost",
			"rate, bandwidth 1.0 Mbit/s, paced at 2.0 Mbit/s, queue p50 2.00 p99 4.00 ms, 5.00 % lost at random"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%q is missing in\n%s", want, &b)
			}
		}
		if rep.Compared && !strings.Contains(b.String(), "failed: no <answer>") {
			t.Errorf("the failure is missing in\n%s", &b)
		}
	})
}

func TestAxes(t *testing.T) {
	for _, tt := range []struct {
		top   float64
		step  float64
		count int
	}{{0, 1, 1}, {1, 0.2, 5}, {10, 2, 5}, {16, 5, 4}, {20, 5, 4}, {95, 20, 5}, {0.03, 0.01, 3}, {1e9, 2e8, 5}} {
		step, count := niceStep(tt.top)
		if math.Abs(step-tt.step) > 1e-9*tt.step || count != tt.count {
			t.Errorf("niceStep(%g) = %g, %d; want %g, %d", tt.top, step, count, tt.step, tt.count)
		}
		if step*float64(count) < tt.top {
			t.Errorf("%g does not fit below %d marks %g apart", tt.top, count, step)
		}
	}
}

// The page draws what the congestion control knows, where it knows it.
func TestChartsOfThePath(t *testing.T) {
	rep := sampleReport(modeBoth, false)
	for _, v := range rep.Runs[0].Intervals {
		v.Down.Path = v.Up.Path
	}
	charts := newCharts(rep.Runs[0], speedUnit{"Mbit/s", 1e6})
	c := charts[controlChart]
	var names []string
	for _, l := range c.Lines {
		names = append(names, l.Name)
	}
	if got, want := strings.Join(names, ", "), "up pacing rate, up bandwidth of the path, down pacing rate, down bandwidth of the path"; got != want {
		t.Errorf("the lines are %s, want %s", got, want)
	}
	if p := c.Lines[0].points; len(p) != 2 || p[0] != 2 || !math.IsNaN(p[1]) {
		t.Errorf("the pacing rate is %v, want 2 and nothing", p)
	}
	if p := charts[queueChart].Lines[1].points; len(p) != 2 || p[0] != 4 || !math.IsNaN(p[1]) {
		t.Errorf("p99 of the queue is %v, want 4 and nothing", p)
	}
	t.Log("# a controller that paces and estimates nothing has no such chart")
	for _, v := range rep.Runs[0].Intervals {
		v.Up.Path, v.Down.Path = &pathState{Control: "classic"}, nil
	}
	charts = newCharts(rep.Runs[0], speedUnit{"Mbit/s", 1e6})
	if c := charts[controlChart]; len(c.Lines) != 0 || !c.empty() || !charts[queueChart].empty() {
		t.Errorf("got %+v", c)
	}
}

func TestPathMeter(t *testing.T) {
	var m pathMeter
	if m.take() != nil || m.total() != nil {
		t.Error("there is a state before anything was polled")
	}
	m.poll(nil)
	one := kcp.Stats{
		PacingRate: 1000, Bandwidth: 500, RandomLoss: 0.02, CongestionControl: "rate", CongestionState: "startup",
		SRTT: 30 * time.Millisecond, MinRTT: 20 * time.Millisecond,
	}
	m.poll([]kcp.Stats{one, {PacingRate: 500}})
	m.acknowledged(&one)
	m.acknowledged(&kcp.Stats{}) // no round-trip time yet
	one.PacingRate, one.CongestionState = 0, "cruise"
	m.poll([]kcp.Stats{one, {PacingRate: 500}})
	s := m.take()
	if s.Pacing != 8000 || s.Bandwidth != 4000 || math.Abs(s.Loss-1) > 1e-9 || s.Control != "rate" || s.State != "cruise" ||
		s.Queue.Count != 1 || math.Abs(s.Queue.Max-10) > 0.1 {
		t.Errorf("got %+v, queue %+v", s, s.Queue)
	}
	if m.take() != nil {
		t.Error("an interval without a poll has a state")
	}
	m.poll([]kcp.Stats{{PacingRate: 2000}})
	if s := m.take(); s.Pacing != 16000 || s.Queue != nil {
		t.Errorf("got %+v", s)
	}
	if s := m.total(); math.Abs(s.Pacing-32000.0/3) > 1e-9 || s.Queue.Count != 1 {
		t.Errorf("in all %+v", s)
	}
}

// A line has a gap where there is no value, and its ends reach to those of their intervals.
func TestLineWithGap(t *testing.T) {
	var intervals []*interval
	for i := range 4 {
		intervals = append(intervals, &interval{Start: float64(i), End: float64(i + 1)})
	}
	c := chart{Unit: "ms", Lines: []line{{points: []float64{1, math.NaN(), 2, 4}}}}
	c.layOut(intervals, c.most())
	if got, want := c.Lines[0].Path, "M0.0 750.0L125.0 750.0L250.0 750.0M500.0 500.0L625.0 500.0L875.0 0.0L1000.0 0.0"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := c.Lines[0].Values; len(got) != 4 || got[0] != "1.00 ms" || got[1] != "–" {
		t.Errorf("got %q", got)
	}
}

func TestBarFitsTheTerminal(t *testing.T) {
	if got, want := bar(3*time.Second, 10*time.Second, "20 Mbit/s", 44), "[======               ] 3 of 10 s  20 Mbit/s"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for width := range 120 {
		for _, elapsed := range []time.Duration{0, time.Second, time.Minute} {
			if got := len(bar(elapsed, 10*time.Second, "20 Mbit/s", width)); got > width {
				t.Errorf("the bar has %d characters where there is room for %d", got, width)
			}
		}
	}
}
