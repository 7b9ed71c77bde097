// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSummaryReplacesWhatStandsBetweenTheMarkers(t *testing.T) {
	bulk := &measurement{name: "bulk", title: "Bulk", columns: bulkColumns}
	bulk.add("kcp", true, nil)
	bulk.add("TCP", false, nil)
	for i, sample := range [][]float64{{2291, 0.742, 0}, {4301, 0.4, notMeasured}} {
		bulk.contenders[i].samples, bulk.contenders[i].rounds = [][]float64{sample}, []int{0}
	}
	s, err := parseSettings("bench", []string{"-quick"})
	if err != nil {
		t.Fatal(err)
	}
	rep := newReport([]*measurement{bulk}, s, machine{CPU: "some processor", Cores: 2})

	name := filepath.Join(t.TempDir(), "README.md")
	text := "before\n<!-- bench: begin -->\nan old table\n<!-- bench: end -->\nbehind\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time replaces what the first wrote
		if err := rep.writeDocument(name); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(got)
		for _, want := range []string{"| kcp | 2291 | 0.742 |  |  |\n", "| TCP | 4301 | 0.400 |  |  |\n", "some processor · 2 cores"} {
			if strings.Count(text, want) != 1 {
				t.Errorf("want %q once in\n%s", want, text)
			}
		}
		if strings.Contains(text, "old table") || !strings.HasPrefix(text, "before\n") || !strings.HasSuffix(text, "behind\n") {
			t.Errorf("the rest of the document is not as it was:\n%s", text)
		}
	}

	if err := os.WriteFile(name, []byte("no markers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rep.writeDocument(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("without markers: got error %v, want one that names the file", err)
	}
}
