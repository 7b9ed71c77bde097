// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// echoService listens on a Unix socket and returns what each connection sends.
func echoService(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skip("no Unix sockets here:", err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
}

// running is the program at work.
type running struct {
	log    logBuffer
	cancel context.CancelFunc
	status chan int
}

// start runs the program until stop is called.
func start(args ...string) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, status: make(chan int, 1)}
	go func() { r.status <- program(ctx, args, io.Discard, &r.log) }()
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if status := <-r.status; status != 0 {
		t.Errorf("exit status %d, log:\n%s", status, r.log.String())
	}
}

// listening waits until the program listens, and returns where.
func (r *running) listening(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(r.log.wait(t, "msg=listening"))[1]
}

// Both ends run as programs, with JSON files of the archived tunnel, between Unix sockets.
func TestProgramsInCompatMode(t *testing.T) {
	dir := t.TempDir()
	service, local := filepath.Join(dir, "service"), filepath.Join(dir, "local")
	echoService(t, service)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	counters := filepath.Join(dir, "snmp-2006.csv")
	before := runtime.NumGoroutine()

	server := start("server", "-compat", "-c", write("server.json", fmt.Sprintf(
		`{"listen": "127.0.0.1:0", "target": %q, "key": "k", "crypt": "salsa20", "mode": "fast3"}`,
		service)))
	client := start("client", "-compat", "-c", write("client.json", fmt.Sprintf(
		`{"localaddr": %q, "remoteaddr": %q, "key": "k", "crypt": "salsa20", "mode": "fast3",
		"conn": 2, "snmplog": %q, "snmpperiod": 1, "pprof": "127.0.0.1:0"}`,
		local, server.listening(t), counters)))
	client.listening(t)

	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			conn, err := net.Dial("unix", local)
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			data := noise(200_000, byte(i))
			go func() {
				_, _ = conn.Write(data)
				_ = conn.(*net.UnixConn).CloseWrite()
			}()
			if got, err := io.ReadAll(conn); err != nil || !slices.Equal(got, data) {
				t.Errorf("user %d: %d bytes came back, %v", i, len(got), err)
			}
			_ = conn.Close()
		})
	}
	users.Wait()
	if err := appendCounters(counters, time.Now()); err != nil {
		t.Error(err)
	}
	client.stop(t)
	server.stop(t)
	if !server.log.has("session closed") {
		t.Errorf("the server's log:\n%s", server.log.String())
	}
	checkCounters(t, filepath.Join(dir, "snmp-"+time.Now().Format("2006")+".csv"))
	checkGoroutines(t, before)
}

// checkCounters looks at a file of snmplog.
func checkCounters(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) < 2 || !strings.HasPrefix(lines[0], "Unix,BytesSent,") ||
		strings.Count(lines[0], ",") != strings.Count(lines[1], ",") {
		t.Errorf("snmplog has:\n%s", text)
	}
}

// checkGoroutines fails the test if more goroutines remain than there were before it. The library
// keeps a few for the process, and sockets stay open for a second after a reset.
func checkGoroutines(t *testing.T, before int) {
	t.Helper()
	stacks := func() []string {
		buf := make([]byte, 1<<20)
		all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		return slices.DeleteFunc(all, func(g string) bool {
			return !strings.Contains(g, "main.") && !strings.Contains(g, "smux.") ||
				strings.Contains(g, "testing.")
		})
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := stacks()
		if len(left) == 0 || runtime.NumGoroutine() <= before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
		}
	}
}

func TestProgramRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                          "usage: kcptunnel client",
		"connect":                   `unknown command "connect"`,
		"client -compat -crypt x":   "kcptunnel client: crypt",
		"server -compat -tcp":       "not offered",
		"server -compat -nonsense":  "-nonsense",
		"client -compat -mtu 10000": "64 to 1500",
	} {
		var stderr logBuffer
		status := program(context.Background(), strings.Fields(line), io.Discard, &stderr)
		if status != statusUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%q: status %d, %s", line, status, stderr.String())
		}
	}
	var stderr logBuffer
	status := program(context.Background(),
		strings.Fields("client -compat -l 127.0.0.1:99999"), io.Discard, &stderr)
	if status != statusFailed || !strings.Contains(stderr.String(), "99999") {
		t.Errorf("status %d, %s", status, stderr.String())
	}
}

func TestProgramAnswers(t *testing.T) {
	for line, want := range map[string]string{
		"help": "usage:", "version": "kcptunnel ",
		"client -help": "-remoteaddr", "server -v": "kcptunnel ",
	} {
		var stdout logBuffer
		status := program(context.Background(), strings.Fields(line), &stdout, io.Discard)
		if status != 0 || !strings.Contains(stdout.String(), want) {
			t.Errorf("%q: status %d, %s", line, status, stdout.String())
		}
	}
}

// Installed in the place of the archived tunnel's programs, the program takes their part.
func TestCommandLine(t *testing.T) {
	for name, want := range map[string]string{
		"/usr/bin/client_linux_amd64": "client -compat -c x",
		"server_windows_amd64.exe":    "server -compat -c x",
		"./client":                    "client -compat -c x",
		"Server.exe":                  "server -compat -c x",
		"kcptunnel":                   "-c x",
		"clients":                     "-c x",
	} {
		if got := strings.Join(commandLine([]string{name, "-c", "x"}), " "); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// The command line may have the key, and profiles may be served to others than its owner.
func TestProfilesDoNotShowTheKey(t *testing.T) {
	args := os.Args
	defer func() { os.Args = args }()
	os.Args = []string{"kcptunnel", "client", "-key", "not for others"}
	answer := httptest.NewRecorder()
	profiles().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/debug/pprof/cmdline", nil))
	if got := answer.Body.String(); answer.Code != http.StatusOK || got != "kcptunnel" {
		t.Errorf("%d, %q", answer.Code, got)
	}
}
