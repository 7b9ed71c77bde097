// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// patient is how long tests wait for what is sure to come, however busy the machine is.
const patient = 60 * time.Second

// output is what a program prints, readable while it runs.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// await waits until the text has been printed.
func (o *output) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patient); !strings.Contains(o.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q was not printed, but:\n%s", text, o)
		}
	}
}

// parsed parses a command line of the test's own.
func parsed(t *testing.T, args ...string) *options {
	t.Helper()
	o, err := parseOptions(args, &output{})
	if err != nil {
		t.Fatal(err)
	}
	o.firstAnswer = patient
	return o
}

// startServer runs a server with these arguments until the test ends, or stop is called.
func startServer(t *testing.T, args ...string) (addr string, out *output, stop func()) {
	t.Helper()
	return startServerWith(t, serverOptions(t, args...))
}

func serverOptions(t *testing.T, args ...string) *options {
	t.Helper()
	return parsed(t, append([]string{"-s", "-B", "127.0.0.1", "-p", "0"}, args...)...)
}

func startServerWith(t *testing.T, o *options) (addr string, out *output, stop func()) {
	t.Helper()
	block, err := newCipher(o.cipher, o.key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out = new(output)
	at, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- runServer(ctx, o, block, out, func(addr string) { at <- addr }) }()
	select {
	case addr = <-at:
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return addr, out, stop
}

// runJSON runs a client and returns its report.
func runJSON(t *testing.T, args ...string) *report {
	t.Helper()
	rep, err := tryJSON(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func tryJSON(t *testing.T, args ...string) (*report, error) {
	t.Helper()
	o := parsed(t, append(args, "--json")...)
	block, err := newCipher(o.cipher, o.key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := runClient(context.Background(), o, block, &b); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, &b)
	}
	rep := new(report)
	if err := json.Unmarshal(b.Bytes(), rep); err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	return rep, nil
}

// runReal runs a client over the system's network until check is content, a few times at most: a
// machine that is busy with something else may leave a short test no time to do anything.
func runReal(t *testing.T, check func(r *run) error, args ...string) {
	t.Helper()
	var err error
	for range 5 {
		var rep *report
		if rep, err = tryJSON(t, args...); err == nil {
			if len(rep.Runs) != 1 {
				t.Fatalf("got %d runs", len(rep.Runs))
			}
			if err = check(rep.Runs[0]); err == nil {
				return
			}
		}
	}
	t.Error(err)
}

// moved checks that data went one way, and that the figures fit one another.
func moved(d *direction) error {
	switch {
	case d == nil:
		return errors.New("nothing is reported")
	case d.Bytes == 0 || d.BytesInAll < d.Bytes || d.BitsPerSecond <= 0 || d.DatagramsSent == 0 || d.DatagramsReceived == 0 ||
		d.WireBytes == 0 || d.RTT == nil || d.Retransmits != d.Fast+d.Early+d.Timeout:
		return fmt.Errorf("got %+v", d)
	}
	return nil
}

func TestEachMode(t *testing.T) {
	before := runtime.NumGoroutine()
	addr, out, stop := startServer(t, "--sockets", "2")
	for _, tt := range []struct {
		name     string
		args     string
		up, down bool
	}{
		{"send", "", true, false},
		{"receive", "-R -P 3", false, true},
		{"both", "--bidir --fec 4/2 --window 64", true, true},
		{"messages", "--mode message -l 1000 --acknodelay 1 --writedelay 1 --dup 1 --mtu 900", true, false},
		{"one socket", "--one-socket -P 4 --bidir", true, true},
		{"shared sockets", "--shared-socket -P 9 --bidir", true, true},
		{"CUBIC", "-R --cc cubic --nodelay 1,10,2,1", false, true},
		{"a given rate", "--bidir --cc fixed --bandwidth 50Mbit", true, true},
		{"limited", "-R --limit 8Mbit --window 64 -l 1K --nodelay 0,20,0,0", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runReal(t, func(r *run) error {
				for _, d := range []struct {
					is   *direction
					want bool
				}{{r.Up, tt.up}, {r.Down, tt.down}} {
					switch {
					case !d.want && d.is != nil:
						return errors.New("data went both ways")
					case d.want:
						if err := moved(d.is); err != nil {
							return err
						}
					}
				}
				if n := len(r.Intervals); n == 0 || n > 4 || r.Intervals[n-1].End > 0.3001 {
					return fmt.Errorf("got %d intervals", n)
				}
				return nil
			}, append([]string{"-c", addr, "-t", "0.3", "-i", "0.1"}, strings.Fields(tt.args)...)...)
		})
	}
	for _, args := range []string{"--rate 0 -l 64", "--rate 100 -P 2 -l 3000", "--rate 0 --mode stream --fec 3/1"} {
		t.Run("echo "+args, func(t *testing.T) {
			runReal(t, func(r *run) error {
				if r.Echo == nil || r.Echo.Returned == 0 || r.Echo.Returned != r.Echo.Sent || r.Echo.Latency == nil {
					return fmt.Errorf("got %+v", r.Echo)
				}
				return nil
			}, append([]string{"-c", addr, "-t", "0.3", "-i", "0.1", "--echo"}, strings.Fields(args)...)...)
		})
	}
	if !strings.Contains(out.String(), "done") {
		t.Errorf("the server printed\n%s", out)
	}
	stop()
	for end := time.Now().Add(patient); runtime.NumGoroutine() > before+schedulerGoroutines; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines are left, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// schedulerGoroutines are those that the library starts once and keeps, its timers' workers.
var schedulerGoroutines = runtime.GOMAXPROCS(0) + 1

// It has packets that do not verify, which other tests count: the clients' queries.
func TestEachCipher(t *testing.T) {
	for _, cipher := range []string{"aes-128-gcm", "salsa20", "crc"} {
		t.Run(cipher, func(t *testing.T) {
			addr, _, _ := startServer(t, "--cipher", cipher, "--key", "open sesame", "--sockbuf", "1M")
			runReal(t, func(r *run) error { return moved(r.Up) },
				"-c", addr, "-t", "0.1", "--cipher", cipher, "--key", "open sesame", "--sockbuf", "1M")
		})
	}
}

func TestTextOfARun(t *testing.T) {
	t.Parallel()
	addr, _, _ := startServer(t)
	var b output
	status := program(context.Background(), []string{"-c", addr, "-t", "0.3", "-i", "0.1"}, &b, &b)
	lines := strings.Split(b.String(), "\n")
	if status != 0 || !strings.Contains(lines[0], "sending for 300ms, 1 session, nodelay=1,10,2,1 window=1024") || !strings.Contains(lines[1], "RTT p50") ||
		!strings.Contains(b.String(), "Summary") || strings.Contains(b.String(), "\r") {
		t.Errorf("status %d, printed\n%s", status, &b)
	}
}

// An interrupted client reports what it has, and the server goes on with others.
func TestInterruptedClient(t *testing.T) {
	t.Parallel()
	addr, out, _ := startServer(t)
	o := parsed(t, "-c", addr, "-t", "60", "-i", "0.1")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var b output
	ended := make(chan error, 1)
	go func() { ended <- runClient(ctx, o, nil, &b) }()
	b.await(t, "RTT p50")
	cancel()
	if err := <-ended; err != nil || !strings.Contains(b.String(), "Summary") {
		t.Errorf("it ended with %v and printed\n%s", err, &b)
	}
	out.await(t, "done")
	runJSON(t, "-c", addr, "-t", "0.1")
}

// A server that is stopped notifies its clients, which report what they have.
func TestStoppedServer(t *testing.T) {
	t.Parallel()
	addr, _, stop := startServer(t)
	o := parsed(t, "-c", addr, "-t", "60", "-i", "0.1", "-R")
	var b output
	ended := make(chan error, 1)
	go func() { ended <- runClient(context.Background(), o, nil, &b) }()
	b.await(t, "RTT p50")
	stop()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "server") || !strings.Contains(b.String(), "not complete") {
			t.Errorf("it ended with %v and printed\n%s", err, &b)
		}
	case <-time.After(patient):
		t.Fatal("the client goes on without a server")
	}
}

func TestOneOff(t *testing.T) {
	t.Parallel()
	o := parsed(t, "-s", "-B", "127.0.0.1", "-p", "0", "--one-off")
	at, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- runServer(context.Background(), o, nil, &output{}, func(addr string) { at <- addr })
	}()
	runJSON(t, "-c", <-at, "-t", "0.1")
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patient):
		t.Fatal("the server serves on")
	}
}
