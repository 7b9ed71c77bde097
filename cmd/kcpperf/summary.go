// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// printRun prints the summary of one test.
func printRun(w io.Writer, rep *report, r *run) {
	fmt.Fprintf(w, "\nSummary: %s\n", r.Text)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	if r.Echo != nil {
		row("echo", "%d sent, %d came back", r.Echo.Sent, r.Echo.Returned)
		row("  time", "%s", times(r.Echo.Latency))
	}
	for _, d := range r.directions() {
		printDirection(row, d.name, d.direction, r.Echo != nil)
	}
	if loss := r.PathLoss; loss != nil {
		row("the path lost", "%.2f %% up, %.2f %% down", loss[0], loss[1])
	}
	if r.CPU != (cpuUse{}) {
		row("CPU", "%s", rep.cpuText(r))
	}
	t.Flush()
	if r.Error != "" {
		fmt.Fprintf(w, "  not complete: %s\n", r.Error)
	}
}

func printDirection(row func(name, format string, args ...any), name string, d *direction, echo bool) {
	if echo {
		row(name, "%s, %s", formatBits(d.BitsPerSecond), formatBytes(d.Bytes))
	} else {
		row(name, "%s, %s received", formatBits(d.BitsPerSecond), formatBytes(d.Bytes))
		row("  RTT", "%s", times(d.RTT))
	}
	row("  datagrams", "%d sent, %.2f %% lost, %.1f %% more bytes than data", d.DatagramsSent, d.LossPercent, d.OverheadPercent)
	row("  sent again", "%d (%.2f %%): %d fast, %d early, %d by timeout; %d arrived twice",
		d.Retransmits, d.RetransmitPercent, d.Fast, d.Early, d.Timeout, d.Duplicates)
	if text := pathText(d.Path); text != "" {
		row("  path", "%s", text)
	}
	if d.FECParity > 0 || d.FECRecovered > 0 {
		row("  FEC", "%d packets rebuilt, %d groups beyond repair, %.0f %% of the parity unused",
			d.FECRecovered, d.FECFailed, 100*ratio(float64(d.FECUnused), float64(d.FECParity)))
	}
}

// pathText returns what the congestion control has known of the path on average, "" for nothing.
func pathText(s *pathState) string {
	if s == nil {
		return ""
	}
	text := s.Control
	if s.Bandwidth > 0 {
		text += ", bandwidth " + formatBits(s.Bandwidth)
	}
	if s.Pacing > 0 {
		text += ", paced at " + formatBits(s.Pacing)
	}
	text += fmt.Sprintf(", queue p50 %s p99 %s ms", quantile(s.Queue, 0.5), quantile(s.Queue, 0.99))
	if s.Loss > 0 {
		text += fmt.Sprintf(", %.2f %% lost at random", s.Loss)
	}
	return text
}

func times(q *quantiles) string {
	if q == nil {
		return "no sample"
	}
	return fmt.Sprintf("min %s  p50 %s  p90 %s  p99 %s  p99.9 %s  max %s ms", formatMillis(q.Min), formatMillis(q.P50),
		formatMillis(q.P90), formatMillis(q.P99), formatMillis(q.P999), formatMillis(q.Max))
}

// printRanking prints the runs that were compared, the best first.
func printRanking(w io.Writer, rep *report) {
	fmt.Fprintln(w, "\nRanking:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	first, second := "Mbit/s", "RTT p50/p99 ms"
	if rep.Mode == modeEcho {
		first, second = "back", "echo p50/p99 ms"
	}
	fmt.Fprintf(t, "  #\tname\t%s\t%s\tsent again\twire bytes/data\tCPU\tsettings\n", first, second)
	for _, r := range rep.Runs {
		if r.Error != "" && r.Up == nil && r.Down == nil {
			fmt.Fprintf(t, "  %d\t%s\tfailed: %s\n", r.Rank, r.Name, r.Error)
			continue
		}
		value := fmt.Sprintf("%.1f", r.bitsPerSecond()/1e6)
		if r.Echo != nil {
			value = formatPercent(ratio(float64(r.Echo.Returned), float64(r.Echo.Sent)))
		}
		q := r.latency()
		s := r.totals()
		fmt.Fprintf(t, "  %d\t%s\t%s\t%s/%s\t%s\t%.2f\t%.0f %%\t%s\n", r.Rank, r.Name, value, quantile(q, 0.5), quantile(q, 0.99),
			formatPercent(s.again), s.wire, r.CPU.Client+r.CPU.Server*serverShare(rep), r.Text)
	}
	t.Flush()
}

// serverShare is 0 where both ends are one process, whose time is not to be counted twice.
func serverShare(rep *report) float64 {
	if rep.Simulated != "" {
		return 0
	}
	return 1
}

// runTotals are figures of both directions together.
type runTotals struct {
	again float64 // segments sent again, as a share of the datagrams
	wire  float64 // bytes on the wire for each of data
}

func (r *run) totals() (t runTotals) {
	var again, datagrams, wire, data float64
	for _, d := range r.directions() {
		again += float64(d.Retransmits)
		datagrams += float64(d.DatagramsSent)
		wire += float64(d.WireBytes)
		data += float64(d.BytesInAll)
	}
	return runTotals{again: ratio(again, datagrams), wire: ratio(wire, data)}
}
