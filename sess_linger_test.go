// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"
)

// lingerLine is a slow line with a long queue.
var lingerLine = simProfile{Delay: 20 * time.Millisecond, Rate: 30_000, Queue: 60_000}

var lingerBulk = Config{StreamMode: true, NoCongestionControl: true, SendWindow: 8192, ReceiveWindow: 8192, NoDelay: true}

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
		if d := time.Since(began); !errors.Is(err, connReset) || d < 5*time.Second || d > 9*time.Second {
			t.Errorf("the peer read %d bytes and %v after %v, want ECONNRESET after 5 to 9 s", len(got), err, d)
		}
		if !connEnded(client) {
			t.Error("the session has not ended")
		}
	})
}

// A peer that only reads is notified of an abort although the first RESETs are lost.
func TestAbortIsRepeated(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		for _, lose := range []int32{1, 3} {
			t.Run(fmt.Sprintf("%s aborts, %d lost", side, lose), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					leaves, stays, _ := w.pair(Config{})
					leaves.ep.given = false // as Dial opens it
					if side == "server" {
						leaves, stays = stays, leaves
					}
					var lost atomic.Int32
					w.setDrop(func(_, _ string, payload []byte) bool {
						return connControl(payload).has[ctlReset] && lost.Add(1) <= lose
					})
					began := time.Now()
					leaves.SetLinger(0)
					leaves.Close()
					_ = stays.SetReadDeadline(time.Now().Add(time.Minute))
					_, err := stays.Read(make([]byte, 1))
					if d := time.Since(began); !errors.Is(err, connReset) || d > 3*time.Second {
						t.Errorf("Read gave %v after %v, want ECONNRESET within 3 s", err, d)
					}
					time.Sleep(10 * time.Second)
					if n := lost.Load(); n <= lose || n > 10 {
						t.Errorf("%d RESETs were sent, of which %d were lost", n, lose)
					}
				})
			})
		}
	}
}

// Any datagram for an aborted session is answered, even an acknowledgement.
func TestWhatComesForAnAbortedSessionIsAnswered(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, l := w.pair(Config{})
		var resets atomic.Int32
		w.setDrop(func(_, _ string, payload []byte) bool {
			if connControl(payload).has[ctlReset] {
				resets.Add(1)
				return true
			}
			return false
		})
		server.SetLinger(0)
		server.Close()
		time.Sleep(5 * time.Second)
		raw := client.ep.conn
		ts := server.core.newestTS // no restarted peer's
		for _, s := range []segment{
			{cmd: cmdAck, una: 1}, {cmd: cmdWask, una: 1}, {cmd: cmdWins, una: 1}, {cmd: cmdPush, ts: ts, una: 1},
			{cmd: cmdPush, ts: ts, sn: 1, una: 1},
		} {
			before := resets.Load()
			s.conv = client.GetConv()
			_, _ = raw.WriteTo(appendSegment(nil, &s), l.Addr())
			time.Sleep(100 * time.Millisecond)
			if got := resets.Load() - before; got != 1 {
				t.Errorf("%d RESETs answer a segment with command %d, want 1", got, s.cmd)
			}
		}
	})
}

// A closed session that has never heard from its peer ends within a second, with its socket. What
// it wrote is sent several times meanwhile.
func TestUnheardSessionDoesNotLinger(t *testing.T) {
	for _, n := range []int{1, 100_000} {
		t.Run(fmt.Sprint(n, " bytes"), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				var sent atomic.Int32
				w.setDrop(func(_, _ string, _ []byte) bool { sent.Add(1); return true })
				client := w.dial(Config{StreamMode: true, SendWindow: 512})
				if _, err := client.Write(make([]byte, n)); err != nil {
					t.Fatal(err)
				}
				client.Close()
				time.Sleep(lingerUnheard + time.Millisecond)
				if !connEnded(client) || !client.ep.conn.(*simEndpoint).isClosed() {
					t.Error("the session or its socket is still there")
				}
				if m := sent.Load(); m < 8 || m > 100 {
					t.Errorf("%d datagrams were sent", m)
				}
			})
		})
	}
}

// A program that repeatedly dials an absent peer does not run out of files. The oldest sessions
// that have heard nothing are ended, except those with a linger time set by the program. No record
// of them is left.
func TestUnheardSessionsAreBounded(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		most := unheard.most
		unheard.most = func() int { return 10 }
		defer func() { unheard.most = most }()
		w.setDrop(func(_, _ string, _ []byte) bool { return true })
		for i := range 100 {
			s := w.dial(Config{})
			s.ep.given = false // as Dial opens it
			if i < 5 {
				s.SetLinger(time.Second)
			}
			connWrite(t, s, "hello")
			s.Close()
			time.Sleep(time.Millisecond)
		}
		live := 0
		for _, s := range w.sessions {
			if !s.ep.conn.(*simEndpoint).isClosed() {
				live++
			}
		}
		if live != 15 {
			t.Errorf("%d sockets are open, want 15", live)
		}
		time.Sleep(2 * time.Second)
		unheard.mu.Lock()
		defer unheard.mu.Unlock()
		if n := len(unheard.sessions); n != 0 {
			t.Errorf("%d sessions are still remembered", n)
		}
	})
}
