// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seedkcp/kcp/examples/internal/cli/clitest"
)

// log is what a running receiver prints, line by line.
type log struct {
	mu    sync.Mutex
	text  strings.Builder
	lines chan string
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.lines <- strings.TrimSuffix(string(p), "\n")
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startReceiver runs a receiver into dir until the test ends.
func startReceiver(t *testing.T, dir string, args ...string) (addr string, out *log) {
	t.Helper()
	ctx, interrupt := context.WithCancel(context.Background())
	out = &log{lines: make(chan string, 1000)}
	var errs bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append([]string{"-listen", "127.0.0.1:0", "-dir", dir}, args...), out, &errs)
		close(out.lines)
	}()
	t.Cleanup(func() {
		interrupt()
		if got := <-status; got != 0 {
			t.Errorf("interrupted receiver: exit status %d: %s", got, &errs)
		}
	})
	line := <-out.lines
	_, rest, _ := strings.Cut(line, "receiving on ")
	addr, _, found := strings.Cut(rest, " into ")
	if !found {
		t.Fatalf("no address in the first line %q; %s", line, &errs)
	}
	return addr, out
}

// send runs a sender.
func sendRun(t *testing.T, addr string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), append([]string{"-dial", addr}, args...), &out, &errs)
	return status, out.String(), errs.String()
}

func testData(size int) []byte {
	data := make([]byte, size)
	io.ReadFull(rand.NewChaCha8([32]byte{1}), data)
	return data
}

// writeFile makes a file called name in a directory of its own.
func writeFile(t *testing.T, name string, data []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantFiles checks that dir holds these files alone, hidden ones included.
func wantFiles(t *testing.T, dir string, want map[string][]byte) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if content, known := want[e.Name()]; !known || !bytes.Equal(data, content) {
			t.Errorf("%s: there are %d bytes of it, want %d (expected at all: %v)", e.Name(), len(data), len(content), known)
		}
	}
	if len(entries) != len(want) {
		t.Errorf("%d files in the directory, want %d", len(entries), len(want))
	}
}

func TestFilesOfAnySizeAreCopied(t *testing.T) {
	key := writeFile(t, "secret.key", []byte(strings.Repeat("0123456789abcdef", 4)+"\n"))
	for _, keyArgs := range [][]string{nil, {"-key", key}} {
		dir := t.TempDir()
		addr, _ := startReceiver(t, dir, keyArgs...)
		args, want := keyArgs, map[string][]byte{}
		for i, size := range []int{0, 1, chunk - 1, chunk, 1<<20 + 7} {
			name := string(rune('a'+i)) + " file.bin"
			want[name] = testData(size)
			args = append(args, writeFile(t, name, want[name]))
		}
		status, stdout, stderr := sendRun(t, addr, args...)
		if status != 0 {
			t.Fatalf("exit status %d: %s", status, stderr)
		}
		if got := strings.Count(stdout, "SHA-256 "); got != len(want) {
			t.Errorf("the sender tells of %d files, want %d:\n%s", got, len(want), stdout)
		}
		wantFiles(t, dir, want)
	}
}

func TestFailuresNameTheirCause(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	silent := taken.LocalAddr().String()
	file := writeFile(t, "data.bin", testData(100))
	missing := filepath.Join(t.TempDir(), "missing.bin")
	digits := strings.Repeat("0123456789abcdef", 4)
	key, otherKey := writeFile(t, "key", []byte(digits)), writeFile(t, "key", []byte(strings.ToUpper(digits[1:])+"1"))
	guarded, _ := startReceiver(t, t.TempDir(), "-key", key)

	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"port taken", []string{"-listen", silent, "-dir", t.TempDir()}, []string{silent, "bind"}},
		{"directory missing", []string{"-listen", "127.0.0.1:0", "-dir", missing}, []string{missing}},
		{"nobody there", []string{"-dial", silent, "-timeout", "200ms", file}, []string{"no answer from " + silent, "200ms"}},
		{"another key", []string{"-dial", guarded, "-timeout", "200ms", "-key", otherKey, file}, []string{"no answer", "key"}},
		{"no key", []string{"-dial", guarded, "-timeout", "200ms", file}, []string{"no answer", "key"}},
		{"bad key", []string{"-dial", guarded, "-key", file, file}, []string{"key", "64 hexadecimal digits"}},
		{"file missing", []string{"-dial", guarded, missing}, []string{"open " + missing}},
		{"directory as file", []string{"-dial", guarded, t.TempDir()}, []string{"not a regular file"}},
		{"second of two missing", []string{"-dial", guarded, "-key", key, file, missing}, []string{missing}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if status := run(t.Context(), tt.args, &out, &errs); status != 1 {
				t.Errorf("exit status %d, want 1; output:\n%s", status, &out)
			}
			for _, want := range append(tt.want, "filecopy: ") {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("error %q does not name %q", &errs, want)
				}
			}
		})
	}
}

func TestInterruptedSenderEndsWithStatus1(t *testing.T) {
	addr, _ := startReceiver(t, t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out, errs bytes.Buffer
	status := run(ctx, []string{"-dial", addr, writeFile(t, "data.bin", testData(1<<20))}, &out, &errs)
	if status != 1 || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("exit status %d, %q; want 1 and the word interrupted", status, &errs)
	}
}

func TestWrongCommandLinesExitWith2(t *testing.T) {
	clitest.Status(t, run, 2, map[string]string{
		"-nonsense":                       "nonsense",
		"":                                "-listen and -dial",
		"-listen :0 -dial 127.0.0.1:1 x":  "-listen and -dial",
		"-listen :0 x":                    "-dial only",
		"-dial 127.0.0.1:1":               "no file",
		"-listen :0 -max -1":              "-max",
		"-dial 127.0.0.1:1 -timeout 0s x": "-timeout",
	})
	clitest.Status(t, run, 0, map[string]string{"-h": "-dir directory"})
}
