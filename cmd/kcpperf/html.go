// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"time"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows.
type page struct {
	Title    string
	When     string
	Facts    []fact
	Compared bool
	Value    string // what the ranking's columns of speed and of times are called
	Latency  string
	After    string // behind the ranking's values where they have no heading
	Ranking  []rankRow
	Runs     []pageRun
}

type fact struct{ Name, Value string }

type rankRow struct {
	Rank                       int
	Name, Text, Value          string
	Share                      float64 // of the best value, in percent: the length of a bar
	P50, P99, Again, Wire, CPU string
	Failed                     string
	ID                         string
}

type pageRun struct {
	ID, Name, Text, Error string
	Open                  bool
	Tiles, Details        []fact
	Charts                []*chart
	Timeline              []*chart // of the traces
	Header                []string
	Rows                  [][]string
}

// renderPage returns the report as one page that needs nothing else: no request leaves it.
func renderPage(rep *report) ([]byte, error) {
	p := &page{
		Title: rep.title(), When: rep.Started.Format(time.RFC1123), Facts: rep.facts(), Compared: rep.Compared,
		Value: "Throughput", Latency: "RTT",
	}
	if rep.Mode == modeEcho {
		p.Value, p.Latency, p.After = "Came back", "Echo", "came back"
	}
	fastest := 0.0
	for _, r := range rep.Runs {
		for _, v := range r.Intervals {
			for _, d := range []*part{v.Up, v.Down} {
				if d != nil {
					fastest = max(fastest, d.BitsPerSecond)
				}
			}
		}
	}
	// What is compared has the same scales.
	scale := speedUnitFor(fastest)
	var all [][chartCount]*chart
	var top [chartCount]float64
	for _, r := range rep.Runs {
		charts := newCharts(r, scale)
		for i, c := range charts {
			top[i] = max(top[i], c.most())
		}
		all = append(all, charts)
	}
	for i, r := range rep.Runs {
		v := pageRun{
			ID: fmt.Sprintf("run-%d", i+1), Name: r.Name, Text: r.Text, Error: r.Error, Open: !rep.Compared || i == 0,
			Tiles: rep.tiles(r), Details: rep.details(r),
		}
		for j, c := range all[i] {
			if !c.empty() {
				c.layOut(r.Intervals, top[j])
				v.Charts = append(v.Charts, c)
			}
		}
		v.Header, v.Rows = intervalTable(v.Charts)
		if r.clientTrace != nil || r.serverTrace != nil {
			v.Timeline = timelines(r.clientTrace, r.serverTrace)
		}
		p.Runs = append(p.Runs, v)
		p.Ranking = append(p.Ranking, rep.row(r, v.ID))
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// intervalTable returns what the charts show in numbers.
func intervalTable(charts []*chart) (header []string, rows [][]string) {
	header = []string{"Time"}
	for _, c := range charts {
		for i := range c.Lines {
			l := &c.Lines[i]
			header = append(header, c.Title+", "+l.Name)
			for j, v := range l.Values {
				if j == len(rows) {
					rows = append(rows, []string{c.Times[j]})
				}
				rows[j] = append(rows[j], v)
			}
		}
	}
	return header, rows
}

func (rep *report) title() string {
	what := map[string]string{
		modeSend: "Sending to", modeReceive: "Receiving from", modeBoth: "Sending to and receiving from", modeEcho: "Echo of",
	}[rep.Mode]
	if rep.Simulated != "" {
		what = map[string]string{
			modeSend: "Sending over", modeReceive: "Receiving over", modeBoth: "Sending and receiving over", modeEcho: "Echo over",
		}[rep.Mode]
	}
	if rep.Compared {
		return fmt.Sprintf("%s %s: %d settings compared", what, rep.Target, len(rep.Runs))
	}
	return what + " " + rep.Target
}

func (rep *report) facts() []fact {
	f := []fact{
		{"Time", fmt.Sprintf("%g s", rep.Seconds)}, {"Sessions", fmt.Sprint(rep.Sessions)}, {"Cipher", rep.Cipher},
	}
	if rep.Simulated != "" {
		f = append(f, fact{"Simulated path", rep.Simulated})
	}
	if rep.Mode == modeEcho {
		rate := "one after the other"
		if rep.Rate > 0 {
			rate = fmt.Sprintf("%g a second", rep.Rate)
		}
		f = append(f, fact{"Messages", fmt.Sprintf("%d bytes, %s", rep.Length, rate)})
	}
	return f
}

// tiles are the figures that a reader looks at first.
func (rep *report) tiles(r *run) (t []fact) {
	if r.Echo != nil {
		t = append(t, fact{"Echo p50", quantile(r.Echo.Latency, 0.5) + " ms"}, fact{"Echo p99", quantile(r.Echo.Latency, 0.99) + " ms"},
			fact{"Came back", fmt.Sprintf("%d of %d", r.Echo.Returned, r.Echo.Sent)})
	}
	for _, d := range r.directions() {
		if r.Echo == nil {
			t = append(t, fact{"Throughput " + d.name, formatBits(d.BitsPerSecond)},
				fact{"RTT p50 " + d.name, quantile(d.RTT, 0.5) + " ms"}, fact{"RTT p99 " + d.name, quantile(d.RTT, 0.99) + " ms"})
		}
		t = append(t, fact{"Datagrams lost " + d.name, fmt.Sprintf("%.2f %%", d.LossPercent)},
			fact{"Sent again " + d.name, fmt.Sprintf("%.2f %%", d.RetransmitPercent)})
		if d.FECRecovered > 0 {
			t = append(t, fact{"Rebuilt by FEC " + d.name, fmt.Sprint(d.FECRecovered)})
		}
	}
	return t
}

// details are all the others.
func (rep *report) details(r *run) (t []fact) {
	if r.Echo != nil {
		t = append(t, fact{"Echo time", times(r.Echo.Latency)})
	}
	for _, d := range r.directions() {
		name := func(s string) string { return s + ", " + d.name }
		t = append(t,
			fact{name("Data"), fmt.Sprintf("%s, %s", formatBytes(d.Bytes), formatBits(d.BitsPerSecond))},
			fact{name("Round-trip time"), times(d.RTT)},
			fact{name("Datagrams"), fmt.Sprintf("%d sent, %d received, %.2f %% lost", d.DatagramsSent, d.DatagramsReceived, d.LossPercent)},
			fact{name("On the wire"), fmt.Sprintf("%s, %.1f %% more than the data", formatBytes(d.WireBytes), d.OverheadPercent)},
			fact{name("Sent again"), fmt.Sprintf("%d: %d fast, %d early, %d by timeout; %d arrived twice",
				d.Retransmits, d.Fast, d.Early, d.Timeout, d.Duplicates)})
		if text := pathText(d.Path); text != "" {
			t = append(t, fact{name("Path"), text})
		}
		if d.FECParity > 0 || d.FECRecovered > 0 {
			t = append(t, fact{name("FEC"), fmt.Sprintf("%d packets rebuilt, %d groups beyond repair, %.0f %% of the parity unused",
				d.FECRecovered, d.FECFailed, 100*ratio(float64(d.FECUnused), float64(d.FECParity)))})
		}
	}
	if loss := r.PathLoss; loss != nil {
		t = append(t, fact{"The simulated path lost", fmt.Sprintf("%.2f %% up, %.2f %% down", loss[0], loss[1])})
	}
	if r.CPU != (cpuUse{}) {
		t = append(t, fact{"CPU", rep.cpuText(r)})
	}
	return t
}

func (rep *report) cpuText(r *run) string {
	if rep.Simulated != "" {
		return fmt.Sprintf("%.0f %% of a core, both ends and the simulated network", r.CPU.Client)
	}
	return fmt.Sprintf("client %.0f %%, server %.0f %% of a core", r.CPU.Client, r.CPU.Server)
}

// row is a run's place in the ranking.
func (rep *report) row(r *run, id string) rankRow {
	t := r.totals()
	row := rankRow{
		Rank: r.Rank, Name: r.Name, Text: r.Text, ID: id, Failed: r.Error, Value: formatBits(r.bitsPerSecond()),
		P50: quantile(r.latency(), 0.5), P99: quantile(r.latency(), 0.99), Again: formatPercent(t.again),
		Wire: fmt.Sprintf("%.2f", t.wire), CPU: fmt.Sprintf("%.0f %%", r.CPU.Client+r.CPU.Server*serverShare(rep)),
	}
	if r.Echo != nil {
		back := ratio(float64(r.Echo.Returned), float64(r.Echo.Sent))
		row.Value, row.Share = formatPercent(back), 100*back
		return row
	}
	best := 0.0
	for _, other := range rep.Runs {
		best = max(best, other.bitsPerSecond())
	}
	row.Share = 100 * ratio(r.bitsPerSecond(), best)
	return row
}
