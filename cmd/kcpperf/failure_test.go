// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
)

// fails runs a client that cannot succeed and returns its output.
func fails(t *testing.T, firstAnswer time.Duration, args ...string) string {
	t.Helper()
	o := parsed(t, args...)
	o.firstAnswer = answerTimeout
	if firstAnswer > 0 {
		o.firstAnswer = firstAnswer
	}
	block, err := newCipher(o.cipher, o.key)
	if err != nil {
		t.Fatal(err)
	}
	err = runClient(context.Background(), o, block, io.Discard)
	if err == nil {
		t.Fatal("it succeeded")
	}
	return err.Error()
}

func TestAbsentServer(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := conn.LocalAddr().String()
	var b output
	status := program(context.Background(), []string{"-c", silent}, io.Discard, &b)
	for _, want := range []string{"no answer from " + silent, "kcpperf -s", "firewalls"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in %q", want, &b)
		}
	}
	if status != statusFailed {
		t.Errorf("exit status %d, want %d", status, statusFailed)
	}
	// If the system reports that no program listens, the user learns of it at once.
	conn.Close()
	if got := fails(t, 0, "-c", silent); !strings.Contains(got, "nobody listens") && !strings.Contains(got, "no answer") {
		t.Errorf("got %q", got)
	}
	if got := fails(t, 0, "-c", "no-such-host.invalid"); !strings.Contains(got, "no-such-host.invalid") {
		t.Errorf("got %q", got)
	}
}

// The JSON report includes the failure. A report that cannot be written fails at once.
func TestFailureInReports(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	o := parsed(t, "-c", conn.LocalAddr().String(), "--json")
	o.firstAnswer = 100 * time.Millisecond
	var b bytes.Buffer
	if err := runClient(t.Context(), o, nil, &b); err == nil {
		t.Error("it succeeded")
	}
	rep := new(report)
	if err := json.Unmarshal(b.Bytes(), rep); err != nil || len(rep.Runs) != 1 || !strings.Contains(rep.Runs[0].Error, "no answer") {
		t.Errorf("%v, printed\n%s", err, &b)
	}
	file := filepath.Join(t.TempDir(), "no such directory", "report.html")
	if got := fails(t, 0, "-c", conn.LocalAddr().String(), "--html", file); !strings.Contains(got, "--html") {
		t.Errorf("got %q", got)
	}
}

func TestKeysDiffer(t *testing.T) {
	addr, out, _ := startServer(t, "--cipher", "aes-128-gcm", "--key", "one")
	for args, want := range map[string]string{
		"--cipher aes-128-gcm --key two": "what this client sends does not verify there: the --key is not the same",
		"--cipher salsa20 --key one":     "uses --cipher aes-128-gcm and this client salsa20",
		"--window 7":                     "uses --cipher aes-128-gcm and this client none",
	} {
		// The server looks at the third packet that does not verify or the next: with a loaded
		// machine later.
		for try := 0; ; try++ {
			got := fails(t, 0, append([]string{"-c", addr}, strings.Fields(args)...)...)
			if strings.Contains(got, want) {
				break
			}
			if try == 5 || !strings.Contains(got, "do not verify") {
				t.Fatalf("with %q the client says %q, want %q", args, got, want)
			}
		}
	}
	out.await(t, "127.0.0.1:")
	out.await(t, "packets arrive that do not verify; the sender uses another --cipher or --key than this server (aes-128-gcm)")
}

func TestServerWithoutCipher(t *testing.T) {
	addr, out, _ := startServer(t)
	want := "uses --cipher none and this client aes-128"
	// The server may not be looking yet when the first client comes.
	for try := 0; !strings.Contains(out.String(), "packets arrive that are no KCP"); try++ {
		if got := fails(t, patient, "-c", addr, "--cipher", "aes-128"); !strings.Contains(got, want) {
			t.Errorf("the client says %q, want %q", got, want)
		}
		if try == 20 {
			t.Fatalf("the server printed\n%s", out)
		}
	}
}

func TestWhyThereIsNoAnswer(t *testing.T) {
	c := &client{target: "host:1", cipher: "aes-128", firstAnswer: time.Second}
	c.block, _ = newCipher("aes-128", "x")
	for _, tt := range []struct {
		found      presence
		unverified uint64
		want       string
	}{
		{presence{refused: errors.New("refused")}, 0, "nobody listens"},
		{presence{cipher: "none"}, 0, "uses --cipher none and this client aes-128"},
		{presence{cipher: "aes-128"}, 0, "--key is not the same"},
		{presence{}, 3, "3 packets arrive that do not verify"},
		{presence{}, 0, "is 'kcpperf -s' running there"},
	} {
		if got := c.noAnswer(tt.found, tt.unverified).Error(); !strings.Contains(got, tt.want) || !strings.Contains(got, "host:1") {
			t.Errorf("got %q, want %q in it", got, tt.want)
		}
	}
}

// The answer to a query cannot amplify traffic: it is shorter, and nothing else is answered.
func TestQuery(t *testing.T) {
	for _, k := range append(cipherNames(), noCipher) {
		answer := newAnswer(k)
		if got, ok := parseAnswer(answer); got != k || !ok {
			t.Errorf("%q reads as %q, %v", answer, got, ok)
		}
		if len(answer) > querySize {
			t.Errorf("%q has %d bytes, more than a query", answer, len(answer))
		}
	}
	for _, s := range []string{"", "kcpperf answer 1 rot13\n", "kcpperf answer 1 tea", "kcpperf answer 2 tea\n", queryText} {
		if got, ok := parseAnswer([]byte(s)); ok {
			t.Errorf("%q reads as an answer: %q", s, got)
		}
	}
	if !isQuery(newQuery()) || isQuery([]byte(queryText)) || isQuery(make([]byte, querySize)) || isQuery(append(newQuery(), ' ')) {
		t.Error("a query is not told from other packets")
	}
}

// socket is what a doorkeeper reads and writes, in memory.
type socket struct {
	in  chan []byte
	out chan []byte
}

func (s *socket) ReadNonKCP(ctx context.Context, p []byte) (int, net.Addr, error) {
	select {
	case b := <-s.in:
		return copy(p, b), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7}, nil
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
}

func (s *socket) WriteTo(p []byte, _ net.Addr) (int, error) {
	s.out <- bytes.Clone(p)
	return len(p), nil
}

func TestDoorkeeperIsBrief(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &socket{make(chan []byte), make(chan []byte, 10000)}
		var unverified atomic.Uint64
		var out output
		d := doorkeeper{"tea", unverified.Load, func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.run(ctx, s)
		}()
		synctest.Wait()
		// An occasional unverified packet does not make the doorkeeper look at all packets.
		for range 100 {
			unverified.Add(lookLeast - 1)
			time.Sleep((lookBack + 1) * lookEvery)
		}
		select {
		case s.in <- nil:
			t.Fatal("it looks at packets without cause")
		default:
		}
		unverified.Add(lookLeast)
		time.Sleep(lookEvery)
		for range 1000 {
			s.in <- newQuery()
			s.in <- []byte("noise")
		}
		synctest.Wait()
		if got := len(s.out); got != answersPerSecond {
			t.Errorf("%d answers within a second, want %d", got, answersPerSecond)
		}
		time.Sleep(logPause)
		s.in <- newQuery()
		s.in <- []byte("noise")
		cancel()
		<-ended
		if got := len(s.out); got != answersPerSecond+1 {
			t.Errorf("%d answers, want %d", got, answersPerSecond+1)
		}
		if got := strings.Count(out.String(), "\n"); got != 2 {
			t.Errorf("%d lines, want 2:\n%s", got, &out)
		}
	})
}

func TestServerRefuses(t *testing.T) {
	t.Parallel()
	addr, _, _ := startServer(t, "--max-time", "5s", "--max-sessions", "4")
	if got := fails(t, 0, "-c", addr, "-t", "6"); !strings.Contains(got, "--max-time 5s") {
		t.Errorf("got %q", got)
	}
	if got := fails(t, 0, "-c", addr, "-t", "1", "-P", "5"); !strings.Contains(got, "--max-sessions 4") {
		t.Errorf("got %q", got)
	}
	runJSON(t, "-c", addr, "-t", "0.1", "-P", "4")
}

// rawSession is a session to the server that does not follow the control protocol.
func rawSession(t *testing.T, addr, from string) (*kcp.UDPSession, *bufio.Reader) {
	t.Helper()
	conn, err := net.ListenPacket("udp", from+":0")
	if err != nil {
		t.Skipf("no address %s here: %v", from, err)
	}
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	sess, err := baseConfig(nil).Client(conn, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		abort(sess)
		conn.Close()
	})
	_ = sess.SetReadDeadline(time.Now().Add(patient))
	return sess, bufio.NewReaderSize(sess, maxLine)
}

func TestServerEndsSessionsOfStrangers(t *testing.T) {
	t.Parallel()
	addr, _, _ := startServer(t)
	good := plan{Settings: fastSettings(), Mode: modeSend, Sessions: 1, Millis: 100, Every: 100, Length: 1000}
	tooLong := good
	tooLong.Millis = int(time.Hour / time.Millisecond)
	huge := good
	huge.Sessions = 1 << 30
	for name, line := range map[string]any{
		"no JSON":          "GET / HTTP/1.1\r\n\r\n",
		"a line too long":  strings.Repeat("x", maxLine+10),
		"another type":     &message{Type: "nonsense"},
		"go at once":       &message{Type: typeGo},
		"a wrong token":    &message{Type: typeJoin, Token: "x"},
		"another version":  &message{Type: typeStart, Version: 99, Plan: &good},
		"no plan":          &message{Type: typeStart, Version: protocolVersion},
		"too long":         &message{Type: typeStart, Version: protocolVersion, Plan: &tooLong},
		"too many":         &message{Type: typeStart, Version: protocolVersion, Plan: &huge},
		"nothing but zero": &message{Type: typeStart, Version: protocolVersion, Plan: &plan{}},
	} {
		t.Run(name, func(t *testing.T) {
			sess, in := rawSession(t, addr, "127.0.0.1")
			var err error
			if text, ok := line.(string); ok {
				_, err = io.WriteString(sess, text)
			} else {
				err = writeMessage(sess, line.(*message))
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := readMessage(in)
			if err == nil && m.Type == typeRefused && m.Error != "" {
				return
			}
			if err == nil || errors.Is(err, errLine) {
				t.Errorf("got %+v, %v; want a refusal or an end", m, err)
			}
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("the server does not end the session")
			}
		})
	}
	runJSON(t, "-c", addr, "-t", "0.1")
}

// The server sends only to the address of the client that requested the test.
func TestJoinFromElsewhere(t *testing.T) {
	t.Parallel()
	o := serverOptions(t)
	o.limits.slack = time.Second
	addr, _, _ := startServerWith(t, o)
	sess, in := rawSession(t, addr, "127.0.0.1")
	p := plan{Settings: fastSettings(), Mode: modeReceive, Sessions: 1, Millis: 100, Every: 100, Length: 1000}
	if err := writeMessage(sess, &message{Type: typeStart, Version: protocolVersion, Plan: &p}); err != nil {
		t.Fatal(err)
	}
	ready, err := await(in, typeReady)
	if err != nil {
		t.Fatal(err)
	}
	other, otherIn := rawSession(t, addr, "127.0.0.2")
	if err := writeMessage(other, &message{Type: typeJoin, Token: ready.Token}); err != nil {
		t.Fatal(err)
	}
	if _, err := otherIn.ReadByte(); err == nil {
		t.Error("data came to an address that has not asked for it")
	}
	// A session from the right address joins, and nothing arrives before the go message.
	data, dataIn := rawSession(t, addr, "127.0.0.1")
	if err := writeMessage(data, &message{Type: typeJoin, Token: ready.Token}); err != nil {
		t.Fatal(err)
	}
	if _, err := await(in, typeJoined); err != nil {
		t.Fatal(err)
	}
	_ = data.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := dataIn.ReadByte(); err == nil {
		t.Error("data came before go")
	}
	_ = data.SetReadDeadline(time.Now().Add(patient))
	if err := writeMessage(sess, &message{Type: typeGo}); err != nil {
		t.Fatal(err)
	}
	// It ends by itself without a stop message.
	n, err := io.Copy(io.Discard, data)
	if n == 0 || err == nil {
		t.Errorf("%d bytes came, %v; want some, and a reset when the server gives up", n, err)
	}
}
