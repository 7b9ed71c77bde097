// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// lingerLine is a slow line with a long queue.
var lingerLine = simProfile{Delay: 20 * time.Millisecond, Rate: 30_000, Queue: 60_000}

var lingerBulk = Config{
	StreamMode: true, NoCongestionControl: true, SendWindow: 8192, ReceiveWindow: 8192,
	NoDelay: true,
}

// What was written arrives as long as the peer continues to acknowledge, however much longer than
// the linger time that takes.
func TestCloseDeliversWhileThereIsProgress(t *testing.T) {
	connRun(t, lingerLine, func(t *testing.T, w *connWorld) {
		want := pattern(1_200_000, 3) // 40 s
		l := w.serve(lingerBulk)
		client := w.dial(lingerBulk)
		if _, err := client.Write(want); err != nil {
			t.Fatal(err)
		}
		closed := time.Now()
		client.Close()
		server := w.accept(l)
		_ = server.SetReadDeadline(time.Now().Add(3 * time.Minute))
		got, err := io.ReadAll(server)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d of %d bytes arrived, and %v", len(got), len(want), err)
		}
		if d := time.Since(closed); d < 2*lingerDefault {
			t.Errorf("it took %v: the test shows nothing", d)
		}
		server.Close()
		time.Sleep(time.Second)
		if !connEnded(client) || !connEnded(server) {
			t.Error("a session is still on the network")
		}
	})
}

// A reader that is slower than the linger time allows, but reads, receives everything.
func TestCloseDeliversToASlowReader(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		want := pattern(400_000, 3)
		c := Config{StreamMode: true, NoCongestionControl: true, SendWindow: 512, ReceiveWindow: 32}
		l := w.serve(c)
		client := w.dial(c)
		if _, err := client.Write(want); err != nil {
			t.Fatal(err)
		}
		client.Close()
		server := w.accept(l)
		var got []byte
		var err error
		for buf := make([]byte, 10_000); err == nil; time.Sleep(time.Second) {
			var n int
			n, err = server.Read(buf)
			got = append(got, buf[:n]...)
		}
		if err != io.EOF || !bytes.Equal(got, want) {
			t.Fatalf("%d of %d bytes arrived, and %v", len(got), len(want), err)
		}
	})
}

// A linger time that the program has set is a bound, with or without progress. The peer is notified
// although the queue of the line is full at that moment.
func TestSetLingerIsABound(t *testing.T) {
	connRun(t, lingerLine, func(t *testing.T, w *connWorld) {
		l := w.serve(lingerBulk)
		client := w.dial(lingerBulk)
		client.SetLinger(5 * time.Second)
		if _, err := client.Write(make([]byte, 5<<20)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		client.Close()
		server := w.accept(l)
		_ = server.SetReadDeadline(time.Now().Add(time.Minute))
		got, err := io.ReadAll(server)
		if d := time.Since(began); !errors.Is(err, connReset) ||
			d < 5*time.Second || d > 9*time.Second {
			t.Errorf("the peer read %d bytes and %v after %v, want ECONNRESET after 5 to 9 s",
				len(got), err, d)
		}
		if !connEnded(client) {
			t.Error("the session has not ended")
		}
	})
}
