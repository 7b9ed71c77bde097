// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// A table stands between two such lines of a document.
const (
	documentBegin = "<!-- %s: begin -->\n"
	documentEnd   = "<!-- %s: end -->\n"
)

// documentColumns are the figures of the summary: one of each measurement, and
// a second one behind a slash where there is one.
var documentColumns = []struct {
	head, measurement string
	column, second    int // second: 0 for none
}{
	{"bulk, MB/s", "bulk", bulkSpeed, 0},
	{"CPU seconds a GB", "bulk", bulkCPU, 0},
	{"64-byte echo, p50 / p99 µs", "echo64", echoP50, echoP99},
	{"CPU µs a message, many sessions", "sessions", sessionsCPU, 0},
}

// writeDocument replaces the summary in the document called name.
func (r *report) writeDocument(name string) error {
	return replaceInDocument(name, "bench", r.documentSummary())
}

// replaceInDocument puts a text between the markers of that name.
func replaceInDocument(name, marker, text string) error {
	document, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf(documentBegin, marker), fmt.Sprintf(documentEnd, marker)
	before, rest, begins := strings.Cut(string(document), begin)
	_, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		return fmt.Errorf("%s has no lines %q and %q", name, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(name, []byte(before+begin+text+end+after), 0o644)
}

// documentSummary is one table of all contenders that were measured.
func (r *report) documentSummary() string {
	var b strings.Builder
	b.WriteString("| |")
	for _, c := range documentColumns {
		b.WriteString(" " + c.head + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(documentColumns)) + "\n")
	for _, name := range r.contenderNames() {
		b.WriteString("| " + name + " |")
		for _, c := range documentColumns {
			b.WriteString(" " + r.documentCell(name, c.measurement, c.column, c.second) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n" + wrapped(fmt.Sprintf("%s; %s.", r.Machine,
		strings.Replace(r.settings(), " (least – largest)", "", 1))) + "\n")
	return b.String()
}

// documentWidth is how many columns a line of a document has at most, apart from tables.
const documentWidth = 100

// wrapped breaks a paragraph into lines, and ends it with an empty one.
func wrapped(text string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		width := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+width > documentWidth:
			b.WriteString("\n")
			column = 0
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += width
	}
	return b.String() + "\n"
}

// contenderNames returns the names of all contenders in the order of the plan.
func (r *report) contenderNames() []string {
	var names []string
	seen := map[string]bool{}
	for _, m := range r.Measurements {
		for _, c := range m.Contenders {
			if !seen[c.Name] {
				seen[c.Name] = true
				names = append(names, c.Name)
			}
		}
	}
	return names
}

// documentCell returns the medians of a contender in words, empty where it was
// not measured.
func (r *report) documentCell(name, measurement string, column, second int) string {
	for _, m := range r.Measurements {
		for _, c := range m.Contenders {
			if m.Name != measurement || c.Name != name || c.Figures[column].N == 0 {
				continue
			}
			cell := c.Figures[column].cells(c.Figures[column].column.decimals)[0]
			if second > 0 {
				cell += " / " + c.Figures[second].cells(c.Figures[second].column.decimals)[0]
			}
			return cell
		}
	}
	return ""
}
