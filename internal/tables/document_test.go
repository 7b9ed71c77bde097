// SPDX-License-Identifier: MIT

package tables

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// introduction describes how the document was made and its results. The tables follow it.
const introduction = `# Which settings serve which network

` + "`go test ./internal/tables -write`" + ` makes this document in a simulated network and virtual time.
So the figures depend on the protocol and not on a machine. A line of 20 Mbit/s each way joins two
hosts. Its queue holds one bandwidth-delay product in full datagrams. Packets are lost at random,
the same share in each direction, acknowledgements as well as data.

Latency is that of a message of 100 bytes every 33 ms, for ten minutes after a warm-up of ten
seconds. It counts from the moment the message is due to be written until it has been read, in
order. Goodput is what a bulk transfer delivers in its first 30 seconds, including its start. Both
ends have the settings of the column, and defaults for all others.

Without loss every setting delivers a message in half a round trip. The settings differ in what a
lost packet costs: one timeout by default, a little more than a round trip, the time to the next
message in no-delay mode, and mostly nothing with FEC of small groups. So few messages are not held
back by congestion control.

A transfer fills the line whatever is lost at random, with few bytes beyond those that are lost, and
hardly uses the queue. Parity takes its share of the line. CUBIC takes each loss for congestion, and
fills clean lines only. The last part has many more lines.
[tuning.md](tuning.md) draws the conclusions.

![p50 to p99 of message latency and goodput, by network and settings](tables.svg)
`

const talksIntroduction = `p99 / p99.9 in milliseconds of the messages of the first table, with the settings of the column
no-delay: without copies (` + "`Redundancy: kcp.RedundancyOff`" + `), as they are, and to a legacy peer
that acknowledges every 10 ms. Runs are losses in a row, in datagrams on average. Datagrams are
those sent for each message.

`

// document returns docs/tables.md.
func (r *results) document() string {
	var b strings.Builder
	b.WriteString(introduction)
	b.WriteString("\n| column | settings |\n|---|---|\n")
	for _, m := range bulkModes() {
		fmt.Fprintf(&b, "| %s | %s |\n", m.name, m.meaning)
	}
	b.WriteString("\n## Latency of a message\n\np50 / p99 in milliseconds. " +
		"A dash marks settings that do not carry 30 messages a second over this\npath: the delay grows.\n\n")
	writeTable(&b, modes(), func(i, j int) string { return r.latency[i][j].String() })
	b.WriteString("\n## Goodput of a bulk transfer\n\nMbit/s, of 20 on the line; headers take 4 % of it.\n\n")
	writeTable(&b, bulkModes(), func(i, j int) string { return megabits(r.goodput[i][j]) })
	fmt.Fprintf(&b, "\n## FEC groups for a slow stream\n\nThe messages of the first table at an RTT of %d ms and %g %% loss, "+
		"with the\nsettings of the column no-delay. Datagrams are those sent for each message, repetitions included.\n\n",
		groupPath.rtt.Milliseconds(), groupPath.loss*100)
	b.WriteString("| FEC | p50 ms | p99 ms | datagrams |\n|---|--:|--:|--:|\n")
	for j, m := range groupModes() {
		l := r.groups[j]
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f |\n", strings.TrimPrefix(m.name, "FEC "), millis(l.p50), millis(l.p99), l.sent)
	}
	b.WriteString("\n## Small messages through losses\n\n" + talksIntroduction)
	writeTalks(&b, func(p path, peer string) latency { return r.talks[talkKey(p, peer)] })
	b.WriteString("\n## Transfers over many lines\n\n" + matrixIntroduction)
	r.matrix.write(&b)
	return b.String()
}

// writeTable writes a table with a row for each path.
func writeTable(b *strings.Builder, columns []mode, cell func(i, j int) string) {
	b.WriteString(tableHead(columns))
	for i, p := range paths() {
		fmt.Fprintf(b, "| %d ms | %g %% |", p.rtt.Milliseconds(), p.loss*100)
		for j := range columns {
			fmt.Fprintf(b, " %s |", cell(i, j))
		}
		b.WriteString("\n")
	}
}

func tableHead(columns []mode) string {
	head, rule := "| RTT | loss |", "|--:|--:|"
	for _, m := range columns {
		head += " " + m.name + " |"
		rule += "--:|"
	}
	return head + "\n" + rule + "\n"
}

func (l latency) String() string {
	if l.overload {
		return "–"
	}
	return millis(l.p50) + " / " + millis(l.p99)
}

func millis(d time.Duration) string { return fmt.Sprint(d.Round(time.Millisecond).Milliseconds()) }

// megabits prints a rate with two digits that count.
func megabits(bits float64) string {
	if bits < 1e6 {
		return fmt.Sprintf("%.2f", bits/1e6)
	}
	return fmt.Sprintf("%.1f", bits/1e6)
}

// sampleResults returns figures that were not measured.
func sampleResults() *results {
	r := newResults()
	for i, p := range paths() {
		for j := range r.latency[i] {
			r.latency[i][j] = latency{p50: p.rtt / 2, p99: p.rtt, overload: i == 0 && j == 0}
		}
		for j := range r.goodput[i] {
			r.goodput[i][j] = 12.34e6
		}
	}
	return r
}

// TestDocumentsAreThoseOfThisCode compares what does not depend on measurements with the documents
// that are there.
func TestDocumentsAreThoseOfThisCode(t *testing.T) {
	text, err := os.ReadFile(tablesFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{introduction, tableHead(modes()), tableHead(bulkModes())} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks this; run go test ./internal/tables -write\n%s", tablesFile, want)
		}
	}
	plot, err := os.ReadFile(plotFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, svg := range map[string]string{plotFile: string(plot), "sample": sampleResults().plot()} {
		marks := countMarks(t, svg)
		if want := len(paths()) * (len(modes()) + len(bulkModes())); marks != want {
			t.Errorf("%s has %d marks, want %d", name, marks, want)
		}
	}
}

// countMarks parses an SVG and returns how many cells it shows.
func countMarks(t *testing.T, svg string) (marks int) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if token == nil {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				if a.Name.Local == "class" && strings.HasPrefix(a.Value, "cell") {
					marks++
				}
			}
		}
	}
	return marks
}

func TestCellsAreReadable(t *testing.T) {
	text := sampleResults().document()
	for _, want := range []string{
		"| 20 ms | 0 % | – | 10 / 20 | 10 / 20 |",
		"| 300 ms | 20 % | 150 / 300 |",
		"| 20 ms | 0 % | 12.3 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the document lacks %q", want)
		}
	}
	for bits, want := range map[float64]string{80e3: "0.08", 999e3: "1.00", 19.26e6: "19.3"} {
		if got := megabits(bits); got != want {
			t.Errorf("megabits(%v) = %q, want %q", bits, got, want)
		}
	}
}
