// SPDX-License-Identifier: MIT

package main

import (
	_ "embed"
	"html"
	"io"
	"strings"
	"text/template"
)

//go:embed chart.svg.tmpl
var chartText string

var chartTemplate = template.Must(template.New("chart").Funcs(template.FuncMap{"text": html.EscapeString}).Parse(chartText))

// Measures of the chart in pixels.
const (
	chartWidth   = 880
	chartMargin  = 24
	chartHeader  = 84
	chartBarLeft = 210 // where bars begin
	chartBarMax  = 430 // length of the longest
	panelTitle   = 44
	panelRow     = 24
	panelGap     = 16
)

// panels are the figures that are drawn, where they were measured. A note is
// a second figure that is named beside the bar.
var panels = []struct {
	measurement string
	column      int
	title       string
	note        int // column, 0 for none
	noteText    string
}{
	{"bulk", bulkSpeed, "One-way bulk transfer, MB/s (more is better)", 0, ""},
	{"bulk", bulkCPU, "Processor time of both ends, CPU seconds per GB (less is better)", 0, ""},
	{"sweep", bulkSpeed, "One-way bulk transfer by window, MB/s (more is better)", 0, ""},
	{"echo64", echoP50, "Echo of 64 bytes, median µs (less is better)", echoP99, "p99"},
	{"echo4k", echoP50, "Echo of 4 KiB, median µs (less is better)", echoP99, "p99"},
	{"sessions", sessionsCPU, "", 0, ""},
}

type chart struct {
	Width, Height, Margin, BarLeft float64
	Machine, Settings              string
	Panels                         []panel
}

type panel struct {
	Y     float64
	Title string
	Bars  []bar
}

type bar struct {
	Y, Length    float64
	Low, High    float64 // of the range, from where bars begin
	Name, Figure string
	Ours         bool
}

func (r *report) writeSVG(w io.Writer) error { return chartTemplate.Execute(w, r.chart()) }

func (r *report) chart() chart {
	c := chart{Width: chartWidth, Margin: chartMargin, BarLeft: chartBarLeft, Machine: r.Machine.String(), Settings: r.settings()}
	y := float64(chartHeader)
	for _, p := range panels {
		for _, m := range r.Measurements {
			if m.Name != p.measurement {
				continue
			}
			drawn := panel{Y: y, Title: p.title, Bars: m.bars(p.column, p.note, p.noteText)}
			if drawn.Title == "" {
				drawn.Title = m.Title + ": " + m.columns[p.column].name + " (less is better)"
			}
			if len(drawn.Bars) > 0 {
				c.Panels = append(c.Panels, drawn)
				y += panelTitle + float64(len(drawn.Bars))*panelRow + panelGap
			}
		}
	}
	c.Height = y + chartMargin
	return c
}

func (m result) bars(column, note int, noteText string) []bar {
	longest := 0.0
	for _, c := range m.Contenders {
		longest = max(longest, c.Figures[column].Max)
	}
	var bars []bar
	for _, c := range m.Contenders {
		f := c.Figures[column]
		if f.N == 0 {
			continue
		}
		scale := chartBarMax / max(longest, 1e-9)
		b := bar{
			Y: panelTitle + float64(len(bars))*panelRow, Name: c.Name, Ours: c.Ours,
			Length: f.Median * scale, Low: f.Min * scale, High: f.Max * scale,
			Figure: f.cells(f.column.decimals)[0],
		}
		if note > 0 {
			n := c.Figures[note]
			b.Figure += strings.Join([]string{"  (", noteText, " ", n.cells(n.column.decimals)[0], ")"}, "")
		}
		bars = append(bars, b)
	}
	return bars
}
