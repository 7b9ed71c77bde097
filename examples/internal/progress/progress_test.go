// SPDX-License-Identifier: MIT

package progress

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLineIsRedrawnOnATerminalOnly(t *testing.T) {
	var w bytes.Buffer
	terminal := &Line{w: &w, terminal: true}
	terminal.show("a long line")
	terminal.show("short")
	terminal.finish()
	if got, want := w.String(), "\ra long line\rshort      \r     \r"; got != want {
		t.Errorf("terminal: %q, want %q", got, want)
	}

	w.Reset()
	plain := New(&w)
	plain.show("one")
	plain.show("two")
	plain.finish()
	if got, want := w.String(), "one\ntwo\n"; got != want {
		t.Errorf("no terminal: %q, want %q", got, want)
	}
}

func TestLineIsShownUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w bytes.Buffer
		stop := New(&w).Start(func(elapsed time.Duration) string { return elapsed.String() })
		time.Sleep(5 * time.Second)
		stop()
		time.Sleep(5 * time.Second)
		if got, want := w.String(), "2s\n4s\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		done, total int64
		want        string
	}{
		{0, 10, "[----]   0 %"},
		{5, 10, "[##--]  50 %"},
		{10, 10, "[####] 100 %"},
		{11, 10, "[####] 100 %"},
		{0, 0, "[####] 100 %"},
	} {
		if got := Bar(tt.done, tt.total, 4); got != tt.want {
			t.Errorf("Bar(%d, %d): got %q, want %q", tt.done, tt.total, got, tt.want)
		}
	}
}

func TestFigures(t *testing.T) {
	if got, want := strings.Join([]string{Bytes(7), Bytes(3 << 19), Bytes(1 << 30)}, " "), "7 bytes 1.5 MiB 1024.0 MiB"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Rate(3e6, 2*time.Second); got != 1.5 {
		t.Errorf("got %g MB/s, want 1.5", got)
	}
	if got := Rate(1, 0); got != 0 {
		t.Errorf("got %g MB/s in no time, want 0", got)
	}
}
