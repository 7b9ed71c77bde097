// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// TestMain lets the test binary be the server's process too.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		exitOn(runRole(role, os.Stdin, os.Stdout))
		return
	}
	usageTo = io.Discard
	os.Exit(m.Run())
}

// TestEveryMeasurement runs all of them with few sessions for an instant, as a user would.
func TestEveryMeasurement(t *testing.T) {
	s, err := parseSettings(strings.Fields("-run .* -n 400 -dialled 100 -shared 200 -crowd 100 -sockets 2 -clients 3 -parallel 32 -time 500ms -settle 500ms -soak 2s -wait 0s -gcm"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(s, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"400 sessions, 3 client sockets, 2 server sockets", "sessions opened a second", "echo latency p99", "| sessions left at the server and at the clients | 0 + 0 |",
		"kcp : raw UDP", "kcp, ready queue : raw UDP", "16 sessions that upload", "Opening, echoing and closing for 2s", "| after the end |",
		"100 dialled sessions, sockets of their own", "200 dialled sessions, shared sockets", "GOMEMLIMIT=256MiB", "| descriptors still open | 0 |", "Dialling, echoing and closing for 2s",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the tables:\n%s", want, &out)
		}
	}
	if n := strings.Count(out.String(), "\n### ") + 1; n != 8 {
		t.Errorf("%d tables, want 8", n)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, args := range []string{"-n 0", "-sockets 0", "-clients -1", "-dialled 0", "-shared 0", "-run (", "-time x"} {
		if _, err := parseSettings(strings.Fields(args)); err == nil {
			t.Errorf("%s was accepted", args)
		}
	}
	if err := run(&settings{run: mustSettings(t, "-run nothing").run}, new(strings.Builder)); err == nil {
		t.Error("nothing was measured without an error")
	}
}

func mustSettings(t *testing.T, args string) *settings {
	t.Helper()
	s, err := parseSettings(strings.Fields(args))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASoakThatGrowsIsNotFlat(t *testing.T) {
	s := mustSettings(t, "-soak 10m -parallel 10")
	looks := make([]status, soakLooks)
	for i := range looks {
		looks[i] = status{RSS: 100 << 20, Heap: 50 << 20, Goroutines: 40}
	}
	if err := flat(looks, s); err != nil {
		t.Errorf("level: %v", err)
	}
	looks[soakLooks-1].Heap = 80 << 20
	if flat(looks, s) == nil {
		t.Error("a heap that grows passes")
	}
	looks[soakLooks-1] = status{RSS: 100 << 20, Heap: 50 << 20, Goroutines: 400}
	if flat(looks, s) == nil {
		t.Error("goroutines that pile up pass")
	}
	looks[soakLooks-1] = status{RSS: 100 << 20, Heap: 50 << 20, Goroutines: 40, Descriptors: 400}
	if flat(looks, s) == nil {
		t.Error("descriptors that pile up pass")
	}
}
