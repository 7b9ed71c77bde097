// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	o.patience = patient
	return o
}

// startServer runs a server with these arguments until the test ends, or stop is called.
func startServer(t *testing.T, args ...string) (addr string, out *output, stop func()) {
	t.Helper()
	o := parsed(t, append([]string{"-s", "-B", "127.0.0.1", "-p", "0"}, args...)...)
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
	o := parsed(t, append(args, "--json")...)
	block, err := newCipher(o.cipher, o.key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := runClient(context.Background(), o, block, &b); err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	rep := new(report)
	if err := json.Unmarshal(b.Bytes(), rep); err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	return rep
}

// moved checks that data went one way, and that the figures fit one another.
func moved(t *testing.T, d *direction) {
	t.Helper()
	switch {
	case d == nil:
		t.Error("nothing is reported")
	// How much of it was in time is up to the machine.
	case d.BytesInAll == 0 || d.BytesInAll < d.Bytes || (d.BitsPerSecond > 0) != (d.Bytes > 0) || d.DatagramsSent == 0 || d.DatagramsReceived == 0 ||
		d.WireBytes == 0 || d.RTT == nil || d.Retransmits != d.Fast+d.Early+d.Timeout:
		t.Errorf("got %+v", d)
	}
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
		{"limited", "-R --limit 8Mbit --window 64 -l 1K --nodelay 0,20,0,0", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep := runJSON(t, append([]string{"-c", addr, "-t", "0.3", "-i", "0.1"}, strings.Fields(tt.args)...)...)
			if len(rep.Runs) != 1 {
				t.Fatalf("got %d runs", len(rep.Runs))
			}
			r := rep.Runs[0]
			if tt.up {
				moved(t, r.Up)
			} else if r.Up != nil {
				t.Error("data went up")
			}
			if tt.down {
				moved(t, r.Down)
			} else if r.Down != nil {
				t.Error("data went down")
			}
			if n := len(r.Intervals); n == 0 || n > 4 || r.Intervals[n-1].End > 0.3001 {
				t.Errorf("got %d intervals", n)
			}
		})
	}
	for _, args := range []string{"--rate 0 -l 64", "--rate 100 -P 2 -l 3000", "--rate 0 --mode stream --fec 3/1"} {
		t.Run("echo "+args, func(t *testing.T) {
			r := runJSON(t, append([]string{"-c", addr, "-t", "0.3", "-i", "0.1", "--echo"}, strings.Fields(args)...)...).Runs[0]
			if r.Echo == nil || r.Echo.Returned == 0 || r.Echo.Returned > r.Echo.Sent || r.Echo.Latency == nil {
				t.Errorf("got %+v", r.Echo)
			}
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
			r := runJSON(t, "-c", addr, "-t", "0.1", "--cipher", cipher, "--key", "open sesame", "--sockbuf", "1M")
			moved(t, r.Runs[0].Up)
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

// A server that is stopped says so to its clients, which report what they have.
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
