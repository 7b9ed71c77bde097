// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/cli/clitest"
)

func TestBytesGoBothWays(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-size", "2"}, {"-size", "0"}, {"-size", "1", "-key", key}} {
		var out, errs bytes.Buffer
		if status := run(t.Context(), args, &out, &errs); status != 0 {
			t.Fatalf("%q: exit status %d: %s", args, status, &errs)
		}
		for _, want := range []string{"session ", "MB/s down", "MB/s up", "SHA-256"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q: no %q in the output:\n%s", args, want, &out)
			}
		}
	}
}

// firstLine hands over the first line written to it.
type firstLine chan string

func (c firstLine) Write(p []byte) (int, error) {
	select {
	case c <- string(p):
	default:
	}
	return len(p), nil
}

// startServer runs the server until the test ends.
func startServer(t *testing.T) (addr string) {
	t.Helper()
	ctx, interrupt := context.WithCancel(context.Background())
	out := make(firstLine, 1)
	var errs bytes.Buffer
	status := make(chan int, 1)
	go func() { status <- run(ctx, []string{"-listen", "127.0.0.1:0"}, out, &errs) }()
	t.Cleanup(func() {
		interrupt()
		if got := <-status; got != 0 {
			t.Errorf("interrupted server: exit status %d: %s", got, &errs)
		}
	})
	line := <-out
	_, rest, _ := strings.Cut(line, "serving on ")
	addr, _, found := strings.Cut(rest, ",")
	if !found {
		t.Fatalf("no address in the first line %q", line)
	}
	return addr
}

func TestRequestsShareOneSession(t *testing.T) {
	addr := startServer(t)
	config := &kcp.Config{StreamMode: true, WaitPeer: true}
	client := newClient(config, 10*time.Second)
	defer client.CloseIdleConnections()
	var texts [2]strings.Builder
	for i := range texts {
		if err := request(t.Context(), client, http.MethodGet, "http://"+addr+"/", nil, &texts[i]); err != nil {
			t.Fatal(err)
		}
	}
	first, _, _ := strings.Cut(texts[0].String(), " from")
	if first == "" || !strings.HasPrefix(texts[1].String(), first) {
		t.Errorf("two sessions: %q and %q", texts[0].String(), texts[1].String())
	}
}

func TestRequestsOutOfBoundsAreRefused(t *testing.T) {
	addr := startServer(t)
	client := newClient(&kcp.Config{StreamMode: true, WaitPeer: true}, 10*time.Second)
	defer client.CloseIdleConnections()
	for _, path := range []string{"/bytes", "/bytes?n=-1", "/bytes?n=99999999999999999", "/elsewhere"} {
		err := request(t.Context(), client, http.MethodGet, "http://"+addr+path, nil, io.Discard)
		if err == nil || !strings.Contains(err.Error(), ": 40") {
			t.Errorf("%s: got %v, want a refusal", path, err)
		}
	}
}

func TestAbsentServerIsSaid(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	client := newClient(&kcp.Config{WaitPeer: true}, 200*time.Millisecond)
	err = request(t.Context(), client, http.MethodGet, "http://"+taken.LocalAddr().String()+"/", nil, io.Discard)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "no answer") {
		t.Errorf("got %v, want that nobody answers", err)
	}
}

func TestWrongCommandLinesExitWith2(t *testing.T) {
	clitest.Status(t, run, 2, map[string]string{
		"-nonsense":                    "nonsense",
		"file":                         `"file"`,
		"-listen :0 -dial 127.0.0.1:1": "exclude",
		"-size -1":                     "-size",
		"-timeout 0s":                  "-timeout",
	})
}
