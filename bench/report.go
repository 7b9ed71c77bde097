// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// report is the outcome of a run, as it is written in JSON.
type report struct {
	Machine      machine      `json:"machine"`
	Time         string       `json:"time"`
	Rounds       int          `json:"rounds"`
	Seconds      float64      `json:"seconds_per_measurement"`
	Window       int          `json:"window"` // 0 for several
	MTU          int          `json:"mtu"`
	Lossy        bool         `json:"lossy,omitempty"`
	Measurements []result     `json:"measurements"`
	Ratios       []proportion `json:"ratios"`
}

type result struct {
	Name       string  `json:"name"`
	Title      string  `json:"title"`
	Contenders []entry `json:"contenders"`
	columns    []column
}

type entry struct {
	Name    string   `json:"name"`
	Ours    bool     `json:"ours"`
	Figures []figure `json:"figures"`
}

type figure struct {
	Name string `json:"name"`
	summary
	Rounds []float64 `json:"rounds"` // in order; those that failed are missing
	column column
}

// proportion compares two contenders.
type proportion struct {
	Name string `json:"name"`
	summary
}

func newReport(plan []*measurement, s *settings, m machine) *report {
	r := &report{
		Machine: m, Time: time.Now().UTC().Format(time.RFC3339),
		Rounds: s.rounds, Seconds: s.time.Seconds(), Window: s.window, MTU: datagramSize, Lossy: s.lossy,
	}
	if s.sweep {
		r.Window = 0
	}
	for _, p := range plan {
		res := result{Name: p.name, Title: p.title, columns: p.columns}
		for _, c := range p.contenders {
			e := entry{Name: c.name, Ours: c.ours}
			for i, col := range p.columns {
				e.Figures = append(e.Figures, newFigure(col, c.series(i), s.rounds))
			}
			res.Contenders = append(res.Contenders, e)
		}
		r.Measurements = append(r.Measurements, res)
	}
	r.Ratios = proportions(plan)
	return r
}

func newFigure(col column, values map[int]float64, rounds int) figure {
	f := figure{Name: col.name, summary: summarize(values), column: col, Rounds: []float64{}}
	for round := range rounds {
		if v, ok := values[round]; ok {
			f.Rounds = append(f.Rounds, v)
		}
	}
	return f
}

// comparisons are the ratios that are reported where both sides were measured.
var comparisons = []struct {
	name, measurement string
	column            int
	of, to            string
}{
	{"bulk, kcp : TCP", "bulk", bulkSpeed, kcpPlain, "TCP"},
	{"bulk, kcp with path MTU : TCP", "bulk", bulkSpeed, kcpPathMTU, "TCP"},
	{"bulk, kcp AES-128-GCM : quic-go", "bulk", bulkSpeed, kcpGCM, "quic-go"},
	{"bulk CPU, kcp : TCP", "bulk", bulkCPU, kcpPlain, "TCP"},
	{"bulk CPU, kcp AES-128-GCM : quic-go", "bulk", bulkCPU, kcpGCM, "quic-go"},
	{"64-byte echo p50, kcp : raw UDP", "echo64", echoP50, kcpPlain, "raw UDP"},
	{"4 KiB echo p50, kcp : raw UDP", "echo4k", echoP50, kcpPlain, "raw UDP"},
	{"CPU per message, kcp : raw UDP", "sessions", sessionsCPU, kcpPlain, "raw UDP"},
}

func proportions(plan []*measurement) []proportion {
	found := []proportion{}
	for _, c := range comparisons {
		for _, m := range plan {
			if m.name != c.measurement {
				continue
			}
			s := ratio(m.seriesOf(c.of, c.column), m.seriesOf(c.to, c.column))
			if s.N > 0 {
				found = append(found, proportion{c.name, s})
			}
		}
	}
	return found
}

func (m *measurement) seriesOf(contender string, column int) map[int]float64 {
	for _, c := range m.contenders {
		if c.name == contender {
			return c.series(column)
		}
	}
	return nil
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// settings describes how the figures were taken.
func (r *report) settings() string {
	if r.Lossy {
		return fmt.Sprintf("medians (least – largest) of %d, lines made of TUN devices", r.Rounds)
	}
	window := "windows as named"
	if r.Window > 0 {
		window = fmt.Sprintf("window %d segments", r.Window)
	}
	return fmt.Sprintf("medians (least – largest) of %d × %g s, loopback, %d-byte datagrams, %s", r.Rounds, r.Seconds, r.MTU, window)
}

// print writes the tables, aligned or as markdown.
func (r *report) print(w io.Writer, markdown bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", r.Machine, r.settings())
	for _, m := range r.Measurements {
		writeTable(&b, m.table(), markdown)
	}
	if len(r.Ratios) > 0 {
		writeTable(&b, r.ratioTable(), markdown)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (m result) table() [][]string {
	head := []string{m.Title}
	for _, c := range m.columns {
		head = append(head, c.name, "")
	}
	rows := [][]string{head}
	for _, c := range m.Contenders {
		row := []string{c.Name}
		for _, f := range c.Figures {
			row = append(row, f.summary.cells(f.column.decimals)...)
		}
		rows = append(rows, row)
	}
	return rows
}

func (r *report) ratioTable() [][]string {
	rows := [][]string{{"Ratios", "", ""}}
	for _, p := range r.Ratios {
		rows = append(rows, append([]string{p.Name}, p.cells(2)...))
	}
	return rows
}

// cells returns the median and the range in words.
func (s summary) cells(decimals int) []string {
	if s.N == 0 {
		return []string{"–", ""}
	}
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', decimals, 64) }
	if s.N == 1 {
		return []string{f(s.Median), ""}
	}
	return []string{f(s.Median), "(" + f(s.Min) + " – " + f(s.Max) + ")"}
}

// writeTable writes rows of equally many cells; the first row is the head, the
// first column is text, all others are figures.
func writeTable(b *strings.Builder, rows [][]string, markdown bool) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	b.WriteString("\n")
	for i, row := range rows {
		var line strings.Builder
		for j, cell := range row {
			pad := strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell))
			switch {
			case markdown && j == 0:
				line.WriteString("| " + cell + pad + " |")
			case markdown:
				line.WriteString(" " + pad + cell + " |")
			case j == 0:
				line.WriteString(cell + pad)
			default:
				line.WriteString("  " + pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		if markdown && i == 0 {
			b.WriteString("| --- |" + strings.Repeat(" ---: |", len(widths)-1) + "\n")
		}
	}
}
