// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A chart of a trace has at most so many columns and rows of dots, and so many dots of a kind. What
// falls on the same place is one dot.
const (
	dotColumns = 1200
	dotRows    = 500
	dotsMost   = 6000
	// timeColumns is how many places a line has a value for, and the pointer shows.
	timeColumns = 400
)

// timelines returns the charts of a run's traces: of the client, and of the server if the run was
// simulated. Either may be nil.
func timelines(client, server *traced) (charts []*chart) {
	most := 0 // that a side has sent
	for _, t := range []*traced{client, server} {
		if t != nil {
			most = max(most, len(t.sent), len(t.received)/2)
		}
	}
	for _, way := range []struct {
		name         string
		from, to     *traced
		fromIs, toIs string
	}{{"up", client, server, "client", "server"}, {"down", server, client, "server", "client"}} {
		switch {
		case way.from != nil && 10*len(way.from.sent) >= most && most > 0:
			var rebuilt []dot
			if way.to != nil {
				rebuilt = shifted(way.to.rebuilt, way.to.start.Sub(way.from.start).Seconds())
			}
			charts = append(charts, way.from.senderCharts(way.name, rebuilt)...)
		case way.from == nil && way.to != nil && len(way.to.received) >= most && most > 0:
			charts = append(charts, way.to.receiverChart(way.name))
		}
	}
	return charts
}

// shifted returns dots on another clock.
func shifted(dots []dot, by float64) (moved []dot) {
	for _, d := range dots {
		moved = append(moved, dot{d.at + by, d.sn})
	}
	return moved
}

// span is a part of the time and of the segments that a chart shows.
type span struct {
	from, to      float64 // seconds
	first, behind float64 // segments
}

// series are dots of one kind.
type series struct {
	name, class string
	dots        []dot
}

// senderCharts returns the charts of a trace whose side has sent.
func (t *traced) senderCharts(way string, rebuilt []dot) (charts []*chart) {
	all := []series{
		{"sent", "sent", t.sent}, {"acknowledged", "acked", t.acked},
		{"found lost", "lost", t.lost}, {"sent again", "again", t.again},
		{"rebuilt by FEC", "rebuilt", rebuilt},
	}
	whole := span{0, t.end, 0, most(t.sent) + 1}
	charts = append(charts, dotChart("Segments "+way, t.note(), all, whole))
	if near, ok := t.aLoss(); ok {
		note := "a typical loss and its repair"
		charts = append(charts, dotChart("A closer look "+way, note, all, near))
	}
	m := t.metrics
	scale := speedUnitFor(slices.MaxFunc(append(m, metrics{}), func(a, b metrics) int {
		return cmp.Compare(max(a.pacing, a.bandwidth), max(b.pacing, b.bandwidth))
	}).speed())
	for _, c := range []*chart{
		t.lineChart("Window and data in flight "+way, "segments", []metricLine{
			{"in flight", "up", func(m *metrics) float64 { return m.inFlight }},
			{"congestion window", "down dash", func(m *metrics) float64 { return known(m.window) }},
		}),
		t.lineChart("Rate "+way, scale.name, []metricLine{
			{"pacing rate", "up", func(m *metrics) float64 { return known(m.pacing / scale.bits) }},
			{"bandwidth of the path", "down dash", func(m *metrics) float64 {
				return known(m.bandwidth / scale.bits)
			}},
		}),
		t.lineChart("Round-trip time "+way, "ms", []metricLine{
			{"latest", "faint", func(m *metrics) float64 { return known(m.latest) }},
			{"smoothed", "up", func(m *metrics) float64 { return known(m.smoothed) }},
			{"shortest", "acked dash", func(m *metrics) float64 { return known(m.least) }},
		}),
	} {
		if !c.empty() {
			charts = append(charts, c)
		}
	}
	return charts
}

// receiverChart returns the chart of a trace whose side has received, where that of the sender is
// missing.
func (t *traced) receiverChart(way string) *chart {
	seen := make(map[uint32]bool, len(t.received))
	var first, again []dot
	for _, d := range t.received {
		if seen[d.sn] {
			again = append(again, d)
		} else {
			first = append(first, d)
		}
		seen[d.sn] = true
	}
	return dotChart("Segments "+way, t.note(), []series{
		{"received", "sent", first}, {"received again", "again", again},
		{"rebuilt by FEC", "rebuilt", t.rebuilt},
	}, span{0, t.end, 0, max(most(t.received), most(t.rebuilt)) + 1})
}

// note says what is missing.
func (t *traced) note() string {
	switch {
	case t.cut:
		return fmt.Sprintf("the first %d events of the trace", tracedMost)
	case t.dropped > 0:
		return fmt.Sprintf("%d events of the trace were dropped", t.dropped)
	}
	return ""
}

func most(dots []dot) (sn float64) {
	for _, d := range dots {
		sn = max(sn, float64(d.sn))
	}
	return sn
}

// known returns NaN for 0, which stands for unknown.
func known(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

func (m metrics) speed() float64 { return max(m.pacing, m.bandwidth) }

// aLoss returns the surroundings of a loss, from when the segment was first sent until it was
// acknowledged. It is a typical one: half of the others took longer. A segment that was
// acknowledged before it was sent again was not lost.
func (t *traced) aLoss() (near span, ok bool) {
	sent, acked := make(map[uint32]float64), make(map[uint32]float64)
	for _, d := range t.sent {
		sent[d.sn] = d.at
	}
	for _, d := range t.acked {
		acked[d.sn] = d.at
	}
	again := make(map[uint32]float64)
	for _, d := range t.again {
		again[d.sn] = d.at
	}
	var repaired []span
	for _, d := range t.lost {
		from, to, repair := sent[d.sn], acked[d.sn], again[d.sn]
		if from > 0 && repair >= d.at && to > repair {
			repaired = append(repaired, span{from: from, to: to})
		}
	}
	if len(repaired) == 0 {
		return span{}, false
	}
	slices.SortFunc(repaired, func(a, b span) int { return cmp.Compare(a.to-a.from, b.to-b.from) })
	near = repaired[len(repaired)/2]
	margin := max((near.to-near.from)/8, 0.002)
	near.from, near.to = max(near.from-margin, 0), min(near.to+margin, t.end)
	near.first = math.Inf(1)
	for _, d := range t.sent {
		if d.at >= near.from && d.at <= near.to {
			near.first = min(near.first, float64(d.sn))
			near.behind = max(near.behind, float64(d.sn)+1)
		}
	}
	return near, near.behind > near.first
}

// dotChart returns a chart of segments over time.
func dotChart(title, note string, all []series, s span) *chart {
	c := &chart{Title: title, Unit: "sequence number", Note: note, Tall: true}
	c.axes(s)
	for _, kind := range all {
		if l := kind.line(s); l != nil {
			c.Lines = append(c.Lines, *l)
		}
	}
	return c
}

// axes sets the marks of a chart and the places that the pointer shows.
func (c *chart) axes(s span) {
	step, _ := niceStep(s.behind - s.first)
	for v := math.Ceil(s.first/step) * step; v <= s.behind; v += step {
		c.YTicks = append(c.YTicks, tick{100 - 100*(v-s.first)/(s.behind-s.first), trimNumber(v)})
	}
	step, _ = niceStep(s.to - s.from)
	for v := math.Ceil(s.from/step) * step; v <= s.to+step/1000; v += step {
		c.XTicks = append(c.XTicks, tick{100 * (v - s.from) / (s.to - s.from), trimNumber(v)})
	}
	if len(c.XTicks) > 0 && c.XTicks[0].At != 0 {
		c.XTicks[0].Label += " s"
	}
	for i := range timeColumns {
		at := (float64(i) + 0.5) / timeColumns
		c.Places = append(c.Places, 100*at)
		c.Times = append(c.Times, fmt.Sprintf("%.4g s", s.from+at*(s.to-s.from)))
	}
	slices.Reverse(c.YTicks)
}

// line returns the drawing of a series, nil if nothing of it is in the span.
func (k *series) line(s span) *line {
	l := &line{Name: k.name, Class: k.class + " dots", Dots: true}
	counts := make([]int, timeColumns)
	for columns, rows := dotColumns, dotRows; ; columns, rows = columns/2, rows/2 {
		seen := make(map[int]bool)
		var b strings.Builder
		clear(counts)
		for _, d := range k.dots {
			x, y := (d.at-s.from)/(s.to-s.from), (float64(d.sn)-s.first)/(s.behind-s.first)
			if x < 0 || x > 1 || y < 0 || y > 1 {
				continue
			}
			counts[min(int(x*timeColumns), timeColumns-1)]++
			column, row := int(x*float64(columns)), int(y*float64(rows))
			if cell := row*(columns+1) + column; !seen[cell] {
				seen[cell] = true
				fmt.Fprintf(&b, "M%.1f %.1fh0", 1000*x, 1000-1000*y)
			}
		}
		if len(seen) == 0 {
			return nil
		}
		if l.Path = b.String(); len(seen) <= dotsMost {
			break
		}
	}
	for i, n := range counts {
		l.Values = append(l.Values, fmt.Sprint(n))
		l.points = append(l.points, float64(counts[i]))
	}
	return l
}

// metricLine is a line of a lineChart.
type metricLine struct {
	name, class string
	value       func(m *metrics) float64 // NaN where it is not known
}

// lineChart returns a chart of metrics over the time of the trace.
func (t *traced) lineChart(title, unit string, lines []metricLine) *chart {
	c := &chart{Title: title, Unit: unit}
	top := 0.0
	for _, l := range lines {
		drawn := line{Name: l.name, Class: l.class}
		for i := range t.metrics {
			drawn.points = append(drawn.points, l.value(&t.metrics[i]))
		}
		c.Lines = append(c.Lines, drawn)
	}
	c.Lines = slices.DeleteFunc(c.Lines, func(l line) bool {
		return !slices.ContainsFunc(l.points, func(v float64) bool { return v > 0 })
	})
	top = c.most()
	if len(c.Lines) == 0 || t.end == 0 {
		return c
	}
	step, count := niceStep(top)
	s := span{0, t.end, 0, step * float64(count)}
	c.axes(s)
	phases := t.phases()
	for i := range c.Times {
		if phases[i] != "" {
			c.Times[i] += ", " + phases[i]
		}
	}
	for i := range c.Lines {
		c.Lines[i].steps(t.metrics, s, unit)
	}
	return c
}

// steps draws the line, with the least, the largest and the last value of each column.
func (l *line) steps(m []metrics, s span, unit string) {
	var b strings.Builder
	last, drawing, i := math.NaN(), false, 0
	for column := range timeColumns {
		until := s.to * float64(column+1) / timeColumns
		low, high := last, last
		for ; i < len(m) && m[i].at <= until; i++ {
			if last = l.points[i]; !math.IsNaN(last) {
				low, high = min(orElse(low, last), last), max(orElse(high, last), last)
			}
		}
		text := "–"
		if !math.IsNaN(last) {
			text = formatValue(last) + " " + unit
		}
		l.Values = append(l.Values, text)
		if math.IsNaN(last) {
			drawing = false
			continue
		}
		x := 1000 * (float64(column) + 0.5) / timeColumns
		y := func(v float64) float64 { return 1000 - 1000*v/s.behind }
		if !drawing {
			fmt.Fprintf(&b, "M%.1f %.1f", x, y(low))
		} else {
			fmt.Fprintf(&b, "L%.1f %.1f", x, y(low))
		}
		if high > low {
			fmt.Fprintf(&b, "V%.1fV%.1f", y(high), y(last))
		}
		drawing = true
	}
	l.Path = b.String()
}

func orElse(v, other float64) float64 {
	if math.IsNaN(v) {
		return other
	}
	return v
}

// phases returns the controller's phase in each column.
func (t *traced) phases() []string {
	names, phase, i := make([]string, timeColumns), "", 0
	for column := range names {
		for ; i < len(t.metrics) && t.metrics[i].at <= t.end*float64(column+1)/timeColumns; i++ {
			phase = t.metrics[i].phase
		}
		names[column] = phase
	}
	return names
}
