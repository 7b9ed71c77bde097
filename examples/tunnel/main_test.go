// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/cli/clitest"
)

// lines is where a running program prints.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	c    chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.text.Write(p)
	l.mu.Unlock()
	select {
	case l.c <- string(p):
	default:
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs one end until the test ends and returns the address it listens on,
// which stands between two words.
func start(t *testing.T, before, behind string, args ...string) (addr string, out *lines) {
	t.Helper()
	ctx, interrupt := context.WithCancel(context.Background())
	out = &lines{c: make(chan string, 100)}
	var errs bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, args, out, &errs)
		close(out.c)
	}()
	t.Cleanup(func() {
		interrupt()
		if got := <-status; got != 0 {
			t.Errorf("%q interrupted: exit status %d: %s", args, got, &errs)
		}
	})
	for line := range out.c {
		if _, rest, found := strings.Cut(line, before); found {
			addr, _, _ = strings.Cut(rest, behind)
			return addr, out
		}
	}
	t.Fatalf("%q ended without an address: %s", args, &errs)
	return "", nil
}

// startTunnel runs both ends before a target and returns where connections go
// in.
func startTunnel(t *testing.T, target string, args ...string) (entry string, server, client *lines) {
	t.Helper()
	udp, server := start(t, "serving on ", ",", append([]string{"server", "-listen", "127.0.0.1:0", "-to", target}, args...)...)
	entry, client = start(t, "forwarding from ", " to", append([]string{"client", "-listen", "127.0.0.1:0", "-to", udp}, args...)...)
	return entry, server, client
}

// startTarget serves TCP connections with handle until the test ends.
func startTarget(t *testing.T, handle func(conn *net.TCPConn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handling sync.WaitGroup
	handling.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			handling.Go(func() {
				defer conn.Close()
				handle(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		handling.Wait()
	})
	return l.Addr().String()
}

func connect(t *testing.T, entry string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", entry)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// wantReset makes a connection that is to be reset, maybe before it is known to
// have been made.
func wantReset(t *testing.T, entry string) {
	t.Helper()
	conn, err := net.Dial("tcp", entry)
	if err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		// The first call after the reset reports it, the other one does not.
		if _, err = conn.Write([]byte("x")); err == nil {
			_, err = io.ReadAll(conn)
		}
	}
	if err == nil || os.IsTimeout(err) {
		t.Errorf("got %v, want a reset", err)
	}
}

func echo(conn *net.TCPConn) {
	io.Copy(conn, conn)
	conn.CloseWrite()
}

// exchange sends data and expects the same and the end back.
func exchange(t *testing.T, conn *net.TCPConn, data []byte) {
	t.Helper()
	go func() {
		conn.Write(data)
		conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back (%v), want the %d that were sent", len(got), err, len(data))
	}
}

func keyFile(t *testing.T, digits string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(path, []byte(strings.Repeat(digits, 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBytesPassWithEveryCipherAndFEC(t *testing.T) {
	key, target := keyFile(t, "7a"), startTarget(t, echo)
	for _, args := range []string{
		"-cipher none", "-cipher aes-gcm", "-cipher xchacha20", "-cipher aes", "-cipher sm4", "-cipher twofish", "-cipher salsa20",
		"-cipher blowfish", "-cipher cast5", "-cipher 3des", "-cipher xtea", "-cipher tea", "-cipher xor",
		"-fec 10/3", "-fec 1/1 -mtu 576 -window 64 -cc cubic",
		"-cc fixed -bandwidth 10000000", "-cc classic", "-cc off",
	} {
		t.Run(args, func(t *testing.T) {
			entry, server, _ := startTunnel(t, target, append(strings.Fields(args), "-key", key)...)
			exchange(t, connect(t, entry), bytes.Repeat([]byte("0123456789abcdef"), 1<<14))
			if strings.Contains(server.String(), "warning") {
				t.Errorf("a warning with a key:\n%s", server)
			}
		})
	}
	t.Run("no key", func(t *testing.T) {
		entry, server, _ := startTunnel(t, target)
		exchange(t, connect(t, entry), []byte("hello"))
		if !strings.Contains(server.String(), "warning: no -key") {
			t.Errorf("no warning without a key:\n%s", server)
		}
	})
}

func TestConnectionsAtOnceDoNotMix(t *testing.T) {
	entry, _, _ := startTunnel(t, startTarget(t, echo))
	var exchanging sync.WaitGroup
	for i := range 30 {
		conn := connect(t, entry)
		exchanging.Go(func() { exchange(t, conn, bytes.Repeat([]byte{byte(i)}, 100_000+i)) })
	}
	exchanging.Wait()
}

func TestSessionsShareOneSocket(t *testing.T) {
	listener, err := (&kcp.Config{StreamMode: true}).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	listener.SetDeadline(time.Now().Add(20 * time.Second))
	entry, _ := start(t, "forwarding from ", " to", "client", "-listen", "127.0.0.1:0", "-to", listener.Addr().String())
	from := map[string]bool{}
	for range 5 {
		connect(t, entry)
		sess, err := listener.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		defer sess.Close()
		from[sess.RemoteAddr().String()] = true
	}
	if len(from) != 1 {
		t.Errorf("5 sessions came from %d addresses, want 1", len(from))
	}
}

func TestEachEndMayStopFirst(t *testing.T) {
	t.Run("the client", func(t *testing.T) {
		entry, _, _ := startTunnel(t, startTarget(t, func(conn *net.TCPConn) {
			request, _ := io.ReadAll(conn) // only the end lets it go on
			conn.Write(bytes.ToUpper(request))
		}))
		conn := connect(t, entry)
		conn.Write([]byte("request"))
		conn.CloseWrite()
		if got, err := io.ReadAll(conn); string(got) != "REQUEST" || err != nil {
			t.Errorf("got %q, %v, want REQUEST and the end", got, err)
		}
	})
	t.Run("the service", func(t *testing.T) {
		received := make(chan string, 1)
		entry, _, _ := startTunnel(t, startTarget(t, func(conn *net.TCPConn) {
			conn.Write([]byte("banner")) // before the client's first bytes
			conn.CloseWrite()
			rest, _ := io.ReadAll(conn)
			received <- string(rest)
		}))
		conn := connect(t, entry)
		if got, err := io.ReadAll(conn); string(got) != "banner" || err != nil {
			t.Errorf("got %q, %v, want the banner and the end", got, err)
		}
		conn.Write([]byte("and more"))
		conn.CloseWrite()
		if got := <-received; got != "and more" {
			t.Errorf("the service got %q behind its own end, want what was sent", got)
		}
	})
}

func TestAbortIsHandedOn(t *testing.T) {
	t.Run("the client's", func(t *testing.T) {
		ended := make(chan error, 1)
		entry, _, _ := startTunnel(t, startTarget(t, func(conn *net.TCPConn) {
			conn.Write([]byte("x"))
			_, err := io.ReadAll(conn)
			ended <- err
		}))
		conn := connect(t, entry)
		conn.Read(make([]byte, 1))
		conn.SetLinger(0)
		conn.Close()
		if err := <-ended; err == nil || os.IsTimeout(err) {
			t.Errorf("the service saw %v, want a reset", err)
		}
	})
	t.Run("the service's", func(t *testing.T) {
		entry, _, _ := startTunnel(t, startTarget(t, func(conn *net.TCPConn) {
			conn.Read(make([]byte, 1))
			conn.SetLinger(0)
		}))
		wantReset(t, entry)
	})
}

func TestFailuresAreTold(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := unused.Addr().String()
	unused.Close()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()

	failing := func(t *testing.T, entry string, out *lines, want string) {
		t.Helper()
		wantReset(t, entry)
		for line := range out.c {
			if strings.Contains(line, want) {
				return
			}
		}
		t.Errorf("no %q in the log:\n%s", want, out)
	}
	t.Run("target down", func(t *testing.T) {
		entry, _, client := startTunnel(t, nobody)
		failing(t, entry, client, "cannot reach the target")
	})
	t.Run("server down", func(t *testing.T) {
		entry, client := start(t, "forwarding from ", " to", "client", "-listen", "127.0.0.1:0", "-to", silent.LocalAddr().String(), "-timeout", "300ms")
		failing(t, entry, client, "is a tunnel server running there")
	})
	t.Run("another key", func(t *testing.T) {
		udp, _ := start(t, "serving on ", ",", "server", "-listen", "127.0.0.1:0", "-to", nobody, "-key", keyFile(t, "00"))
		entry, client := start(t, "forwarding from ", " to", "client", "-listen", "127.0.0.1:0", "-to", udp, "-key", keyFile(t, "11"), "-timeout", "300ms")
		failing(t, entry, client, "with the same cipher and key")
	})
	t.Run("idle", func(t *testing.T) {
		entry, _, _ := startTunnel(t, startTarget(t, echo), "-idle", "100ms")
		wantReset(t, entry)
	})
	clitest.Status(t, run, 1, map[string]string{
		"server -listen " + silent.LocalAddr().String() + " -to " + nobody: "bind",
		"client -listen 127.0.0.1:0 -to 127.0.0.1":                         "port",
		"client -listen 127.0.0.1:0 -to 127.0.0.1:1 -key missing.key":      "missing.key",
		"client -listen 127.0.0.1:0 -to 127.0.0.1:1 -cipher rot13":         "rot13",
		"client -listen 127.0.0.1:0 -to 127.0.0.1:1 -mtu 10":               "MTU",
		"client -listen 127.0.0.1:0 -to 127.0.0.1:1 -window 70000":         "Window",
	})
}

func TestConnectionsBeyondTheLimitAreTurnedAway(t *testing.T) {
	target := startTarget(t, echo)
	udp, _ := start(t, "serving on ", ",", "server", "-listen", "127.0.0.1:0", "-to", target)
	entry, _ := start(t, "forwarding from ", " to", "client", "-listen", "127.0.0.1:0", "-to", udp, "-max", "1")
	first := connect(t, entry)
	first.Write([]byte("x"))
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	wantReset(t, entry)
	exchange(t, first, []byte("still there"))
}

func TestWrongCommandLinesExitWith2(t *testing.T) {
	clitest.Status(t, run, 2, map[string]string{
		"":                                       "server or client",
		"relay":                                  `"relay"`,
		"server -nonsense":                       "nonsense",
		"server -listen :0":                      "-to",
		"server -listen :0 -to 127.0.0.1:1 more": `"more"`,
		"server -listen :0 -to 127.0.0.1:1 -fec 10":    "-fec",
		"server -listen :0 -to 127.0.0.1:1 -fec 10/3x": "-fec",
		"server -listen :0 -to 127.0.0.1:1 -idle 0s":   "-idle",
		"server -listen :0 -to 127.0.0.1:1 -max 0":     "-max",
	})
	clitest.Status(t, run, 1, map[string]string{
		"server -listen 127.0.0.1:0 -to 127.0.0.1:1 -cc bbr":   "rate-aggressive",
		"server -listen 127.0.0.1:0 -to 127.0.0.1:1 -cc fixed": "Bandwidth",
	})
	clitest.Status(t, run, 0, map[string]string{"-h": "-cipher", "server -h": "-cipher"})
}
