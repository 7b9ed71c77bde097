// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// chart is a line chart over the time of a test. The page draws it at any width: positions are
// shares of the plot's size. All text is outside the stretched drawing.
type chart struct {
	Title  string
	Unit   string
	Note   string // beside the title
	Tall   bool
	Lines  []line
	YTicks []tick
	XTicks []tick
	Times  []string // of the points, for the pointer
	Places []float64
}

// line is one series.
type line struct {
	Name   string
	Class  string    // how it is drawn: its colour stands for the direction, dashes for the second measure
	Dots   bool      // it is drawn as dots
	Path   string    // of an SVG of 1000 by 1000, stretched
	Values []string  // of the points, for the pointer
	points []float64 // NaN where there is none
}

// tick is a mark on an axis, at a share of its length in percent.
type tick struct {
	At    float64
	Label string
}

// empty reports whether there is no point at all.
func (c *chart) empty() bool {
	for _, l := range c.Lines {
		for _, v := range l.points {
			if !math.IsNaN(v) {
				return false
			}
		}
	}
	return true
}

// most returns the largest value.
func (c *chart) most() float64 {
	most := 0.0
	for _, l := range c.Lines {
		for _, v := range l.points {
			if v > most { // false for NaN
				most = v
			}
		}
	}
	return most
}

// layOut computes what is drawn. top is the largest value that has to fit.
func (c *chart) layOut(intervals []*interval, top float64) {
	step, count := niceStep(top)
	for i := range count + 1 {
		c.YTicks = append(c.YTicks, tick{100 - 100*float64(i)/float64(count), trimNumber(float64(i) * step)})
	}
	top = step * float64(count)
	if len(intervals) == 0 {
		return
	}
	end := intervals[len(intervals)-1].End
	xStep, _ := niceStep(end)
	for at := 0.0; at <= end*1.0001; at += xStep {
		c.XTicks = append(c.XTicks, tick{100 * at / end, trimNumber(at)})
	}
	for _, v := range intervals {
		c.Places = append(c.Places, 100*(v.Start+v.End)/2/end)
		c.Times = append(c.Times, fmt.Sprintf("%.4g to %.4g s", v.Start, v.End))
	}
	for i := range c.Lines {
		c.Lines[i].layOut(intervals, end, top, c.Unit)
	}
}

// layOut draws the line through the middle of the intervals; the first and the last value reach to
// their ends.
func (l *line) layOut(intervals []*interval, end, top float64, unit string) {
	var b strings.Builder
	to := func(command byte, at, value float64) {
		fmt.Fprintf(&b, "%c%.1f %.1f", command, 1000*at/end, 1000-1000*value/top)
	}
	drawing := false
	for i, v := range intervals {
		value := l.points[i]
		if math.IsNaN(value) {
			l.Values = append(l.Values, "–")
			drawing = false
			continue
		}
		l.Values = append(l.Values, formatValue(value)+" "+unit)
		last := i+1 == len(intervals) || math.IsNaN(l.points[i+1])
		if !drawing {
			to('M', v.Start, value)
		}
		to('L', (v.Start+v.End)/2, value)
		if last {
			to('L', v.End, value)
		}
		drawing = true
	}
	l.Path = b.String()
}

// niceStep returns the distance of three to five round marks up to a value that is at least top,
// and their number.
func niceStep(top float64) (step float64, count int) {
	if top <= 0 {
		return 1, 1
	}
	size := math.Pow(10, math.Floor(math.Log10(top/4)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		step = m * size
		if count = int(math.Ceil(top/step - 1e-9)); count <= 5 {
			break
		}
	}
	return step, max(count, 1)
}

// trimNumber writes a mark of an axis.
func trimNumber(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

func formatValue(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// The charts of a run, in their order on the page.
const (
	speedChart = iota
	timeChart
	controlChart
	queueChart
	lossChart
	chartCount
)

// newCharts returns a run's charts, not laid out yet. scale is the unit of the speeds.
func newCharts(r *run, scale speedUnit) [chartCount]*chart {
	charts := [chartCount]*chart{
		speedChart:   {Title: "Throughput", Unit: scale.name},
		timeChart:    {Title: "Round-trip time", Unit: "ms"},
		controlChart: {Title: "Congestion control", Unit: scale.name},
		queueChart:   {Title: "Queue delay", Unit: "ms"},
		lossChart:    {Title: "Loss", Unit: "%"},
	}
	if r.Echo != nil {
		charts[timeChart].Title = "Echo time"
		charts[timeChart].addTimes(r, "", "up", func(v *interval) *quantiles { return v.Echo })
	}
	for _, d := range r.directions() {
		if r.Echo == nil {
			charts[speedChart].add(r, d.name, d.name, d.value(func(p *part) float64 { return p.BitsPerSecond / scale.bits }))
			charts[timeChart].addTimes(r, d.name+" ", d.name, func(v *interval) *quantiles {
				if p := d.part(v); p != nil {
					return p.RTT
				}
				return nil
			})
		}
		charts[controlChart].addKnown(r, d.name+" pacing rate", d.name,
			d.state(func(s *pathState) float64 { return s.Pacing / scale.bits }))
		charts[controlChart].addKnown(r, d.name+" bandwidth of the path", d.name+" dash",
			d.state(func(s *pathState) float64 { return s.Bandwidth / scale.bits }))
		charts[queueChart].addTimes(r, d.name+" ", d.name, func(v *interval) *quantiles {
			if p := d.part(v); p != nil && p.Path != nil {
				return p.Path.Queue
			}
			return nil
		})
		charts[lossChart].add(r, d.name+" sent again", d.name, d.value(func(p *part) float64 { return p.RetransmitPercent }))
		if d.FECParity > 0 || d.FECRecovered > 0 {
			charts[lossChart].add(r, d.name+" rebuilt by FEC", d.name+" dash", d.value(func(p *part) float64 { return p.RecoveredPercent }))
		}
	}
	return charts
}

// value returns what get takes from this direction's part of an interval, NaN where it has none.
func (d namedDirection) value(get func(p *part) float64) func(v *interval) float64 {
	return func(v *interval) float64 {
		if p := d.part(v); p != nil {
			return get(p)
		}
		return math.NaN()
	}
}

// state returns what get takes from the path's state in an interval. It is NaN where that is zero,
// which stands for unknown.
func (d namedDirection) state(get func(s *pathState) float64) func(v *interval) float64 {
	return d.value(func(p *part) float64 {
		if p.Path == nil || get(p.Path) == 0 {
			return math.NaN()
		}
		return get(p.Path)
	})
}

// add adds a line with one value for each interval of the run.
func (c *chart) add(r *run, name, class string, value func(v *interval) float64) {
	l := line{Name: name, Class: class}
	for _, v := range r.Intervals {
		l.points = append(l.points, value(v))
	}
	c.Lines = append(c.Lines, l)
}

// addKnown is like add, unless there is no value at all.
func (c *chart) addKnown(r *run, name, class string, value func(v *interval) float64) {
	if slices.ContainsFunc(r.Intervals, func(v *interval) bool { return !math.IsNaN(value(v)) }) {
		c.add(r, name, class, value)
	}
}

// addTimes adds the median and the 99th percentile of what get returns.
func (c *chart) addTimes(r *run, name, class string, get func(v *interval) *quantiles) {
	of := func(pick func(q *quantiles) float64) func(v *interval) float64 {
		return func(v *interval) float64 {
			if q := get(v); q != nil {
				return pick(q)
			}
			return math.NaN()
		}
	}
	c.add(r, name+"p50", class, of(func(q *quantiles) float64 { return q.P50 }))
	c.add(r, name+"p99", class+" dash", of(func(q *quantiles) float64 { return q.P99 }))
}

// speedUnit is what speeds are shown in.
type speedUnit struct {
	name string
	bits float64
}

// speedUnitFor returns the unit that suits a speed.
func speedUnitFor(bitsPerSecond float64) speedUnit {
	switch {
	case bitsPerSecond >= 2e9:
		return speedUnit{"Gbit/s", 1e9}
	case bitsPerSecond >= 2e6:
		return speedUnit{"Mbit/s", 1e6}
	}
	return speedUnit{"kbit/s", 1e3}
}
