// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var exploreMutants = flag.Bool("explore.mutants", false,
	"take out what mended past faults, and demand that the exploration finds each again")

// An exploreMutant is the library with a past fault: what has mended it is taken out.
type exploreMutant struct {
	name  string
	edits []exploreEdit
	world string // that shows the fault
	more  int    // faults of the network beyond those of the quick form
}

// exploreEdit replaces a text, which a file has once.
type exploreEdit struct{ file, old, new string }

var exploreMutantTable = []exploreMutant{
	{
		name: "the side that dialled does not ask for its validation",
		edits: []exploreEdit{
			{"kcp_validation_dialled.go", "	return c.duty.at\n", "	return never\n"},
			{"kcp_validation.go", "min(backoff(c.rto(), a.probes-1, false), probeLongest)", "8000"},
		},
		world: "the allowance is spent",
	},
	{
		name: "a RESET has the una of the reader",
		edits: []exploreEdit{
			{"kcp_extension_flush.go", "f.hdr.una = c.acknowledgedTo()", "f.hdr.una = c.rcvNxt"},
			{"sess_farewell.go", "una: c.acknowledgedTo(),", "una: c.rcvNxt,"},
			{"sess_ending.go", "rcvNxt:      c.acknowledgedTo(),", "rcvNxt:      c.rcvNxt,"},
			{"kcp_receiver.go", "	rcv.rcvNxt = rcv.acknowledgedTo()\n", ""},
		},
		world: "the server resets with a full queue",
	},
	{
		name: "deadlines count while a process is stopped",
		edits: []exploreEdit{
			{"kcp_liveness.go", "if now-at <= lateBound {", "if lateBound > 0 {"},
		},
		world: "the server is stopped for 4.5 s",
	},
	{
		name: "a RESET is not repeated",
		edits: []exploreEdit{
			{"sess_farewell.go", "!s.abortedLocked():", "!s.abortedLocked(), c.conv > 0:"},
		},
		world: "the server resets with a full queue",
	},
	{
		name: "a RESET is not repeated to an address that is not validated",
		edits: []exploreEdit{
			{"sess_farewell.go", "!s.abortedLocked():", "!s.abortedLocked(), c.addr != nil:"},
		},
		world: "the server resets with a full queue", more: 1,
	},
	{
		name: "a peer that has not named itself is not told of an abort",
		edits: []exploreEdit{
			{"sess_farewell.go", "asks := !c.ctl.known()", "asks := c.conv == 0 && !c.ctl.known()"},
		},
		world: "the server resets", more: 1,
	},
	{
		name: "a side that closes does not ask for a HELLO that was lost",
		edits: []exploreEdit{
			{"kcp_extension_flush.go", "	return ctl.finWanted() && !ctl.known()",
				"	return ctl.finWanted() && c.conv == 0 && !ctl.known()"},
		},
		world: "only the client writes", more: 1,
	},
}

// TestExploreFindsPastFaults runs TestExploreWorlds with each mutant. It takes minutes.
func TestExploreFindsPastFaults(t *testing.T) {
	if !*exploreMutants {
		checkMutants(t)
		t.Skip("only with -args -explore.mutants")
	}
	fault := regexp.MustCompile(`FAULT: .*`)
	table := "| taken out | world | found | seconds |\n"
	for _, m := range exploreMutantTable {
		if *exploreOnly != "" && m.world != *exploreOnly {
			continue
		}
		cmd := exec.Command("go", "test", "-vet=off", "-overlay", overlayOf(t, &m), "-run",
			"^TestExploreWorlds$", ".", "-args", "-explore.world", m.world,
			"-explore.more", fmt.Sprint(m.more))
		began := time.Now()
		out, err := cmd.CombinedOutput()
		found := fault.Find(out)
		if err == nil || found == nil {
			t.Errorf("%s: not found in %q: %v\n%.2000s", m.name, m.world, err, out)
		}
		table += fmt.Sprintf("| %s | %s | %s | %.1f |\n", m.name, m.world,
			strings.TrimPrefix(string(found), "FAULT: "), time.Since(began).Seconds())
	}
	t.Log("\n" + table)
}

// checkMutants fails if an edit does not fit the source any more.
func checkMutants(t *testing.T) {
	t.Helper()
	for _, m := range exploreMutantTable {
		m.sources(t)
	}
}

// sources returns the files of a mutant.
func (m *exploreMutant) sources(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, e := range m.edits {
		text, ok := files[e.file]
		if !ok {
			b, err := os.ReadFile(e.file)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s: %s has %q %d times, want once", m.name, e.file, e.old, n)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files
}

// overlayOf writes the overlay of a mutant and returns its path.
func overlayOf(t *testing.T, m *exploreMutant) string {
	t.Helper()
	dir, replace := t.TempDir(), map[string]string{}
	for file, text := range m.sources(t) {
		from, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, file)
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[from] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
