// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testTimeout is how long a test waits for what should come at once.
const testTimeout = 20 * time.Second

// logLines is a log in JSON that tests wait for.
type logLines struct {
	mu      sync.Mutex // guards what follows
	lines   []map[string]any
	text    bytes.Buffer
	changed chan struct{} // is closed and replaced at each line
}

func newLogLines() *logLines { return &logLines{changed: make(chan struct{})} }

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	var line map[string]any
	if json.Unmarshal(p, &line) == nil {
		l.lines = append(l.lines, line)
		close(l.changed)
		l.changed = make(chan struct{})
	}
	return len(p), nil
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait returns the first line whose members match, and forgets the lines up to it.
func (l *logLines) wait(t *testing.T, match map[string]string) map[string]any {
	t.Helper()
	timer := time.NewTimer(testTimeout)
	defer timer.Stop()
	for {
		l.mu.Lock()
		lines, changed := l.lines, l.changed
		l.mu.Unlock()
		for i, line := range lines {
			found := true
			for key, want := range match {
				text := fmt.Sprint(line[key])
				found = found && line[key] != nil && strings.Contains(text, want)
			}
			if found {
				l.mu.Lock()
				l.lines = l.lines[i+1:]
				l.mu.Unlock()
				return line
			}
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("no line with %v in the log:\n%s", match, l)
		}
	}
}

// again returns the address in the first line that matches, also if wait has returned it before.
func (l *logLines) again(t *testing.T, match map[string]string) string {
	t.Helper()
	l.mu.Lock()
	l.lines = l.lines[:0:0]
	for text := range strings.Lines(l.text.String()) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) == nil {
			l.lines = append(l.lines, line)
		}
	}
	l.mu.Unlock()
	addr, _ := l.wait(t, match)["address"].(string)
	return addr
}

// programEnd is an end of a tunnel that runs as a program.
type programEnd struct {
	log    *logLines
	stop   func() // waits until it has ended
	status chan int
}

// runProgram runs an end until the test ends or stop is called.
func runProgram(t *testing.T, args ...string) *programEnd {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := &programEnd{log: newLogLines(), status: make(chan int, 1)}
	var out bytes.Buffer
	args = append(args, "-log-format", "json", "-drain", "0")
	go func() { e.status <- program(ctx, args, &out, e.log) }()
	var once sync.Once
	e.stop = func() {
		once.Do(func() {
			cancel()
			if status := <-e.status; status != 0 {
				t.Errorf("%q: exit status %d: %s", args, status, e.log)
			}
		})
	}
	t.Cleanup(e.stop)
	return e
}

// address returns where the end listens for something, "" for the first.
func (e *programEnd) address(t *testing.T, what string) string {
	t.Helper()
	match := map[string]string{"msg": "listening"}
	if what != "" {
		match["for"] = what
	}
	addr, _ := e.log.wait(t, match)["address"].(string)
	return addr
}

// keyFile returns the path of a key file, which costs less than a passphrase.
func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(strings.Repeat("5a", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tunnel is both ends as programs.
type tunnel struct {
	key            string
	server, client *programEnd
}

// startTunnel runs both ends with further arguments.
func startTunnel(t *testing.T, serverArgs, clientArgs []string) *tunnel {
	t.Helper()
	key := keyFile(t)
	server := runProgram(t, append([]string{"server", "-l", "127.0.0.1:0", "-keyfile", key}, serverArgs...)...)
	client := runProgram(t, append([]string{"client", "-keyfile", key,
		"-r", server.address(t, "")}, clientArgs...)...)
	return &tunnel{key, server, client}
}

// local is where a client listens in most tests.
var local = []string{"-l", "127.0.0.1:0"}

// serveTCP serves connections with handle until the test ends, and returns its address.
func serveTCP(t *testing.T, handle func(conn *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveListener(t, l, func(c net.Conn) { handle(c.(*net.TCPConn)) })
	return l.Addr().String()
}

func serveListener(t *testing.T, l net.Listener, handle func(net.Conn)) {
	var handling sync.WaitGroup
	handling.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(2 * testTimeout))
			handling.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		handling.Wait()
	})
}

// echoConn returns what it reads until the end.
func echoConn(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) }

// connect connects to a TCP address or a Unix socket.
func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network(addr), addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(2 * testTimeout))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// roundTrip writes data, ends the direction, and returns what comes back.
func roundTrip(t *testing.T, conn net.Conn, data []byte) []byte {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(data)
		if err == nil {
			err = conn.(halfCloser).CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("after %d bytes: %v", len(got), err)
	}
	if err := <-sent; err != nil {
		t.Errorf("write: %v", err)
	}
	return got
}

// noGoroutinesLeft fails the test if there are more goroutines at its end than now. It must be called
// first.
func noGoroutinesLeft(t *testing.T) {
	t.Helper()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // starts the goroutine of os/signal
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(testTimeout)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before,
					stacks[:runtime.Stack(stacks, true)])
			}
			time.Sleep(time.Millisecond)
		}
	})
}
