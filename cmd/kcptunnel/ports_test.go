// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"testing"
)

func TestParsePorts(t *testing.T) {
	for addr, want := range map[string]ports{
		"host:1":         {"host", 1, 1},
		":0":             {"", 0, 0},
		":29900":         {"", 29900, 29900},
		"host:3000-3010": {"host", 3000, 3010},
		"[::1]:5-5":      {"::1", 5, 5},
	} {
		if got, err := parsePorts(addr); err != nil || got != want {
			t.Errorf("%s: %+v, %v", addr, got, err)
		}
	}
	for _, addr := range []string{"", "host", "host:", "host:x", "host:65536", "host:2-1",
		"host:0-5", "host:1-", "host:-1", "host:1-2-3", "::1:5", "/a/path"} {
		if got, err := parsePorts(addr); err == nil {
			t.Errorf("%s: %+v", addr, got)
		}
	}
	p := ports{"::1", 10, 12}
	want := []string{"[::1]:10", "[::1]:11", "[::1]:12"}
	if got := p.all(); !slices.Equal(got, want) {
		t.Errorf("all %v, want %v", got, want)
	}
	for seen := map[string]bool{}; len(seen) < len(want); {
		addr := p.pick()
		if !slices.Contains(want, addr) {
			t.Fatalf("picked %s", addr)
		}
		seen[addr] = true
	}
}

// The socket of a process that was killed does not hinder the next one, and that of one that runs
// is left alone.
func TestListenLocalReplacesDeadSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Skip("no Unix sockets here:", err)
	}
	dead.SetUnlinkOnClose(false)
	if _, err := listenLocal(context.Background(), path); err == nil {
		t.Fatal("took the socket of a listener that lives")
	}
	_ = dead.Close()
	l, err := listenLocal(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}
