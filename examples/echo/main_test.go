// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seedkcp/kcp/examples/internal/cli/clitest"
)

// echoRun runs the program and returns its exit status and what it printed.
func echoRun(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func echoFile(t *testing.T, size int) (path, sum string) {
	t.Helper()
	data := make([]byte, size)
	if _, err := io.ReadFull(generator(), data); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "data.bin")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(data)
	return path, hex.EncodeToString(digest[:])
}

func TestFilesOfAnySizeComeBackUnchanged(t *testing.T) {
	for _, size := range []int{0, 1, bufferSize - 1, bufferSize, 1<<20 + 7} {
		path, sum := echoFile(t, size)
		status, stdout, stderr := echoRun(t, "-file", path)
		if status != 0 {
			t.Fatalf("%d bytes: exit status %d: %s", size, status, stderr)
		}
		if !strings.Contains(stdout, sum+", the same both ways") {
			t.Errorf("%d bytes: no SHA-256 %s in the output:\n%s", size, sum, stdout)
		}
	}
}

func TestResultNamesThroughputRTTAndRetransmissions(t *testing.T) {
	status, stdout, stderr := echoRun(t, "-size", "2")
	if status != 0 {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	for _, want := range []string{
		"2.0 MiB of generated data", "MB/s out", "MB/s back", "RTT", "by timeout", "SHA-256", "echoed 2.0 MiB",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in the output:\n%s", want, stdout)
		}
	}
}

func TestGeneratedDataIsTheSameEveryTime(t *testing.T) {
	var sums [2]string
	for i := range sums {
		src, err := openSource("", 1)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		n, err := io.Copy(h, src)
		if err != nil || n != mebibyte || n != src.size {
			t.Fatalf("copied %d bytes (%v), want %d, size says %d", n, err, mebibyte, src.size)
		}
		sums[i] = hex.EncodeToString(h.Sum(nil))
	}
	if sums[0] != sums[1] {
		t.Errorf("first %s, then %s", sums[0], sums[1])
	}
}

// lineBuffer hands over the first line written to it.
type lineBuffer struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	first chan string
}

func newLineBuffer() *lineBuffer { return &lineBuffer{first: make(chan string, 1)} }

func (b *lineBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() == 0 {
		b.first <- string(p)
	}
	return b.buf.Write(p)
}

func (b *lineBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestServerServesSeveralClientsUntilInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, errs := newLineBuffer(), new(bytes.Buffer)
	status := make(chan int, 1)
	go func() { status <- run(ctx, []string{"-listen", "127.0.0.1:0"}, out, errs) }()

	line := <-out.first
	_, rest, _ := strings.Cut(line, "echo server on ")
	addr, _, found := strings.Cut(rest, ",")
	if !found {
		t.Fatalf("no address in the first line %q", line)
	}
	for range 2 {
		if status, _, stderr := echoRun(t, "-dial", addr, "-size", "1"); status != 0 {
			t.Fatalf("client: exit status %d: %s", status, stderr)
		}
	}
	interrupt()
	if got := <-status; got != 0 {
		t.Errorf("interrupted server: exit status %d: %s", got, errs)
	}
	if got := strings.Count(out.String(), "echoed 1.0 MiB for 127.0.0.1:"); got != 2 {
		t.Errorf("the server tells of %d clients, want 2:\n%s", got, out)
	}
}

func TestInterruptedClientEndsWithStatus1(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out, errs bytes.Buffer
	status := run(ctx, []string{"-size", "1000"}, &out, &errs)
	if status != 1 || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("exit status %d, %q; want 1 and the word interrupted", status, errs.String())
	}
}

func TestFailuresNameTheirCause(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.LocalAddr().String()
	missing := filepath.Join(t.TempDir(), "missing.bin")
	dir := t.TempDir()

	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"port taken", []string{"-listen", port}, []string{"cannot serve on " + port, "bind"}},
		{"bad listen address", []string{"-listen", "127.0.0.1:port"}, []string{"cannot serve on 127.0.0.1:port"}},
		{"bad dial address", []string{"-dial", "127.0.0.1"}, []string{"cannot dial 127.0.0.1", "port"}},
		{"file missing", []string{"-file", missing}, []string{missing}},
		{"directory as file", []string{"-file", dir}, []string{dir, "not a regular file"}},
		{"silent peer", []string{"-dial", port, "-size", "1", "-timeout", "300ms"}, []string{"no answer from " + port, "300ms"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, stdout, stderr := echoRun(t, tt.args...)
			if status != 1 {
				t.Errorf("exit status %d, want 1; output:\n%s", status, stdout)
			}
			for _, want := range append(tt.want, "echo: ") {
				if !strings.Contains(stderr, want) {
					t.Errorf("error %q does not name %q", stderr, want)
				}
			}
			if strings.Contains(stdout, "SHA-256") {
				t.Errorf("a result was printed all the same:\n%s", stdout)
			}
		})
	}
}

func TestWrongCommandLinesExitWith2(t *testing.T) {
	clitest.Status(t, run, 2, map[string]string{
		"-nonsense":                    "nonsense",
		"data.bin":                     `"data.bin"`,
		"-listen :0 -dial 127.0.0.1:1": "exclude",
		"-listen :0 -file x":           "-file",
		"-size -1":                     "-size",
		"-timeout 0s":                  "-timeout",
	})
	clitest.Status(t, run, 0, map[string]string{"-h": "-dial address"})
}
