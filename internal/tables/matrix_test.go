// SPDX-License-Identifier: MIT

package tables

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

// matrixSeeds is how many runs the figures of the document are the mean of.
const matrixSeeds = 1

const matrixIntroduction = `Both ends have the settings of the column. A line has 20 Mbit/s and a queue of one bandwidth-delay
product unless the first column says otherwise. A transfer takes 30 seconds, of which the first ten
do not count. The queue's delay is that of data on its way. Bytes on the line are those of IP
packets, for each byte delivered. The random losses differ from run to run, and figures of lossy
lines by some percent.
`

// section is a table of the matrix: a row for each line, a column for each contender.
type section struct {
	title string
	text  string // what the cells are
	rows  []row
	cell  func(f figures) string
}

// sections are the tables of the matrix.
func sections() []section {
	return []section{
		{
			"Length and loss", "Goodput in Mbit/s / p95 of the queue in ms / bytes on the line a byte.",
			lossRows(), transferCell,
		}, {
			"Legacy receivers", "They acknowledge each segment once: at once, or at an interval.\n" +
				"Goodput / queue / bytes.",
			legacyRows(), transferCell,
		}, {
			"Other lines", "Goodput / queue / bytes / share that the queue or the policer drops.",
			append(lineRows(), fastRows()...),
			func(f figures) string {
				return fmt.Sprintf("%s / %.1f %%", transferCell(f), f.dropped*100)
			},
		}, {
			"Several transfers", "Each begins 370 ms after the one before. The last 40 of 60 seconds count.\n" +
				"Goodput of each / queue / bytes / Jain's index of fairness.",
			fairRows(),
			func(f figures) string { return fmt.Sprintf("%s / %.2f", transferCell(f), f.jain) },
		}, {
			"Lines that change, and the start", "Goodput after the change / queue / bytes / time until a second's goodput\n" +
				"is 90 % of what the line can carry.",
			stepRows(),
			func(f figures) string {
				if f.rise == 0 {
					return transferCell(f) + " / –"
				}
				return fmt.Sprintf("%s / %.1f s", transferCell(f), f.rise.Seconds())
			},
		}, {
			"Messages beside a transfer", "p50 / p99 in ms of messages of another session in no-delay mode; goodput\n" +
				"of the transfer.",
			messageRows(),
			func(f figures) string {
				return fmt.Sprintf("%s / %s; %s", millis(f.message50), millis(f.message99), goodputs(f))
			},
		},
	}
}

func transferCell(f figures) string {
	return fmt.Sprintf("%s / %.0f / %.2f", goodputs(f), milli(f.p95), f.wire)
}

func goodputs(f figures) string {
	var each []string
	for _, g := range f.goodput {
		each = append(each, megabits(g))
	}
	return strings.Join(each, " + ")
}

// describe tells what a row measures, but not what is as in most rows.
func (r row) describe() string {
	b := r.line
	var s []string
	add := func(format string, args ...any) { s = append(s, fmt.Sprintf(format, args...)) }
	if b.rate != 0 {
		add("%g Mbit/s", b.rate/1e6)
	}
	add("RTT %d ms", b.rtt.Milliseconds())
	switch {
	case b.policer > 0:
		add("policer with a bucket of %d kB", b.policer/1000)
	case b.packets > 0:
		add("queue of %d datagrams", b.packets)
	case b.queue > 0:
		add("queue %g BDP", b.queue)
	}
	if b.jitter > 0 {
		add("jitter 0 to %d ms", b.jitter.Milliseconds())
	}
	if b.loss > 0 {
		add("%g %% loss", b.loss*100)
	}
	if b.run > 0 {
		add("in runs of %g", b.run)
	}
	switch {
	case r.legacy && r.interval == 0:
		add("at once")
	case r.legacy:
		add("every %d ms", r.interval.Milliseconds())
	}
	if r.flows > 1 {
		add("%d transfers", r.flows)
	}
	if r.apart > 0 {
		add("the second %d s later", int(r.apart.Seconds()))
	}
	if r.cubics > 0 {
		add("and TCP with CUBIC")
	}
	if r.messages > 0 {
		add("%d messages a second", time.Second/r.messages)
	}
	if r.name == "start" {
		add("the first %g s", r.span.Seconds())
	}
	for _, st := range r.steps {
		switch {
		case st.rate > 0:
			add("then %g Mbit/s", st.rate/1e6)
		case st.state == simnet.Down:
			add("then an outage")
		default:
			add("of %d s", int((st.at - r.steps[0].at).Seconds()))
		}
	}
	return strings.Join(s, ", ")
}

// matrix are the figures of all rows, by name and contender.
type matrix map[string]map[string]figures

// write writes the tables.
func (m matrix) write(b *strings.Builder) {
	for _, s := range sections() {
		fmt.Fprintf(b, "\n### %s\n\n%s\n\n%s", s.title, s.text, matrixHead())
		for _, r := range s.rows {
			fmt.Fprintf(b, "| %s |", r.describe())
			for _, c := range contenders() {
				fmt.Fprintf(b, " %s |", s.cell(m[r.name][c.name]))
			}
			b.WriteString("\n")
		}
	}
}

func matrixHead() string {
	head, rule := "| line |", "|---|"
	for _, c := range contenders() {
		head += " " + c.name + " |"
		rule += "--:|"
	}
	return head + "\n" + rule + "\n"
}

// TestRowsHaveNamesAndWordsOfTheirOwn compares the rows with each other and with the document.
func TestRowsHaveNamesAndWordsOfTheirOwn(t *testing.T) {
	seen := map[string]string{}
	for _, s := range sections() {
		for _, r := range s.rows {
			for _, text := range []string{"name " + r.name, s.title + ": " + r.describe()} {
				if other := seen[text]; other != "" {
					t.Errorf("%s and %s have %q", other, r.name, text)
				}
				seen[text] = r.name
			}
		}
	}
	if got, want := len(seen), 2*len(rows()); got != want {
		t.Errorf("the sections have %d texts, the rows %d", got, want)
	}
}
