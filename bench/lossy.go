// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/seedkcp/kcp"
)

// lossyContenders are in the order of the tables.
var lossyContenders = []struct {
	name string
	open opener
}{
	{"TCP cubic", openTCPWith("cubic")},
	{"TCP bbr", openTCPWith("bbr")},
	{"quic-go", openQUIC},
	{"kcp, defaults", openKCPWith(kcp.Config{})},
	{"kcp, no-delay", openKCPWith(lossyNoDelay)},
	{"kcp, cubic", openKCPWith(kcp.Config{CongestionControl: kcp.CongestionCubic})},
	{"kcp, no-delay, FEC 10/3", openKCPWith(lossyFEC(10, 3))},
	{"kcp, no-delay, FEC 1/1", openKCPWith(lossyFEC(1, 1))},
}

// lossyNoDelay are the settings of docs/tuning.md for small messages.
var lossyNoDelay = kcp.Config{NoDelay: true, FastResend: 2, NoCongestionControl: true}

func lossyFEC(data, parity int) kcp.Config {
	c := lossyNoDelay
	c.DataShards, c.ParityShards = data, parity
	return c
}

// openTCPWith is openTCP with a congestion control that the system has, or may not have.
func openTCPWith(congestionControl string) opener {
	return func(p path) (*streams, error) {
		s, err := openTCP(p)
		if err != nil {
			return nil, err
		}
		for _, end := range []io.ReadWriter{s.client, s.server} {
			if err := setCongestionControl(end.(*net.TCPConn), congestionControl); err != nil {
				s.close()
				return nil, err
			}
		}
		return s, nil
	}
}

func openKCPWith(c kcp.Config) opener {
	c.StreamMode = true
	return func(p path) (*streams, error) { return openKCP(&c, p) }
}

// measureLine measures what a contender does on a line for a time.
type measureLine func(open opener, p path, length time.Duration) ([]float64, error)

// lossyLine is a line and what is measured on it.
type lossyLine struct {
	name     string
	settings lineSettings
	columns  []column
	measure  measureLine
	length   int  // in units of -time
	atOnce   int  // contenders, each on a line of its own
	summary  bool // measured without -run too, for the document
	others   bool // the contenders with FEC are measured too
}

// The marks of the measurements that the document has.
const summaryTransfer, summaryLatency = "transfer", "messages"

// summaryShares are the columns of the document.
var summaryShares = []float64{0, 0.01, 0.05}

func lossyLines() (lines []lossyLine) {
	const mbit = 1e6
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	transfer := func(name string, s lineSettings) *lossyLine {
		lines = append(lines, lossyLine{
			name: name, settings: s, columns: transferColumns, measure: alone, length: 20, atOnce: 4,
		})
		return &lines[len(lines)-1]
	}
	standard := lineSettings{rate: 20 * mbit, rtt: ms(100), queue: 1}
	for _, rtt := range []int{100, 20, 300} {
		for _, share := range []float64{0, 0.01, 0.05, 0.10, 0.20} {
			s := standard
			s.rtt, s.share = ms(rtt), share
			name := lossyName(summaryTransfer, s)
			l := transfer(name, s)
			l.summary = rtt == 100 && slices.Contains(summaryShares, share)
			l.others = l.summary
		}
	}
	for _, share := range summaryShares {
		s := standard
		s.share = share
		lines = append(lines, lossyLine{
			name: lossyName(summaryLatency, s), settings: s, columns: latencyColumns, measure: messagesAlone,
			length: 40, atOnce: len(lossyContenders), summary: true, others: true,
		})
	}
	shallow := lineSettings{rate: 100 * mbit, rtt: ms(50), queue: 0.2}
	transfer("shallow-100mbit-rtt50", shallow).atOnce = 1
	transfer("jitter-10mbit-rtt100-loss10",
		lineSettings{rate: 10 * mbit, rtt: ms(100), queue: 1, share: 0.1, jitter: ms(25)})
	for _, share := range []float64{0, 0.01} {
		s := lineSettings{rate: 1000 * mbit, rtt: ms(10), queue: 1, share: share}
		transfer(fmt.Sprintf("gigabit-rtt10-loss%g", share*100), s).atOnce = 1
	}
	beside := lineSettings{rate: 20 * mbit, rtt: ms(50), queue: 1}
	for _, other := range []string{"cubic", "bbr"} {
		lines = append(lines, lossyLine{
			name: "beside-" + other, settings: beside, columns: shareColumns,
			measure: besideTCP(other), length: 60, atOnce: 4,
		})
	}
	return append(lines, lossyLine{
		name: "messages-beside", settings: beside, columns: besideColumns,
		measure: messagesBeside, length: 30, atOnce: 4,
	})
}

func lossyName(kind string, s lineSettings) string {
	return fmt.Sprintf("%s-rtt%d-loss%g", kind, s.rtt.Milliseconds(), s.share*100)
}

// title describes the line.
func (l lossyLine) title(length time.Duration) string {
	s := l.settings
	text := fmt.Sprintf("%s: %g Mbit/s, RTT %v, queue %g BDP, %g %% loss",
		l.name, s.rate/1e6, s.rtt, s.queue, s.share*100)
	if s.jitter > 0 {
		text += fmt.Sprintf(", jitter 0 to %v each way", s.jitter)
	}
	return fmt.Sprintf("%s, %v", text, length)
}

// lossyPlan has a measurement for each line.
func lossyPlan(ctx context.Context, s *settings) (plan []*measurement) {
	for _, l := range lossyLines() {
		length := time.Duration(l.length) * s.time
		m := &measurement{name: l.name, title: l.title(length), columns: l.columns, atOnce: l.atOnce}
		for _, c := range lossyContenders {
			if strings.Contains(c.name, "FEC") && !l.others {
				continue
			}
			m.add(c.name, strings.HasPrefix(c.name, "kcp"), func() ([]float64, error) {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				p, err := openLine(ctx, l.settings)
				if err != nil {
					return nil, err
				}
				return l.measure(c.open, p, length)
			})
		}
		if s.run.String() != "" || l.summary {
			plan = append(plan, m)
		}
	}
	return selected(plan, s.run)
}

// runLossy measures and prints the tables, and puts a summary into the document.
func runLossy(s *settings, out, log io.Writer, stop <-chan os.Signal) error {
	if inside, err := enterNetwork(out, log); !inside {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	plan := lossyPlan(ctx, s)
	if len(plan) == 0 {
		return fmt.Errorf("nothing matches -run %q", s.run)
	}
	failures := measureAll(plan, s, log, stop)
	rep := newReport(plan, s, findMachine())
	rep.Ratios = nil
	if err := rep.print(out, s.markdown); err != nil {
		return err
	}
	if s.json != "" {
		if err := writeFile(s.json, rep.writeJSON); err != nil {
			return err
		}
	}
	if s.document != "" {
		if err := replaceInDocument(s.document, "lossy", rep.lossySummary()); err != nil {
			return err
		}
	}
	if failures > 0 {
		fmt.Fprintf(log, "%d measurements failed\n", failures)
	}
	return nil
}

// lossySummary is the table of the document: throughput, queue and bytes on the line of a transfer,
// and latency of messages, by contender and share of lost packets.
func (r *report) lossySummary() string {
	var b strings.Builder
	b.WriteString("| |")
	for _, share := range summaryShares {
		fmt.Fprintf(&b, " %g %% loss: Mbit/s | queue ms | bytes | p50 / p99 ms |", share*100)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|--:|--:|--:|", len(summaryShares)) + "\n")
	for _, name := range r.contenderNames() {
		b.WriteString("| " + name + " |")
		for _, share := range summaryShares {
			s := lineSettings{rtt: 100 * time.Millisecond, share: share}
			transfer, latency := lossyName(summaryTransfer, s), lossyName(summaryLatency, s)
			fmt.Fprintf(&b, " %s | %s | %s | %s |", r.cell(transfer, name, 0), r.cell(transfer, name, 1),
				r.cell(transfer, name, 3), r.documentCell(name, latency, 0, 1))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n" + wrapped(fmt.Sprintf("%s; medians of %d rounds on a line of 20 Mbit/s each "+
		"way, a round trip of 100 ms and a queue of one bandwidth-delay product, made of a TUN device.",
		r.Machine, r.Rounds)) + "\n")
	return b.String()
}

// cell is documentCell with one figure.
func (r *report) cell(measurement, contender string, column int) string {
	return r.documentCell(contender, measurement, column, 0)
}
