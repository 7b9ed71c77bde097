// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// A client that was restarted at its address has a new session at once, and the old one ends with
// an error. This holds for the same conversation id and for another, whatever the length of its
// first Write and the progress of the old session.
func TestRestartedClient(t *testing.T) {
	for name, c := range restartConfigs(t) {
		for _, sameConv := range []bool{true, false} {
			for _, before := range []int{1, 40_000} {
				for _, first := range []int{5, 1300, 1376, 60_000} {
					title := fmt.Sprintf("%s same conv %v after %d bytes with %d",
						name, sameConv, before, first)
					t.Run(title, func(t *testing.T) {
						connRun(t, closeLink, func(t *testing.T, w *connWorld) {
							restartClient(t, w, c, sameConv, before, first)
						})
					})
				}
			}
		}
	}
}

func restartClient(t *testing.T, w *connWorld, c Config, sameConv bool, before, first int) {
	t.Log("# a session exchanges data, and its client crashes")
	l := w.serve(c)
	client := w.dialFrom(restartAddr, 77, c)
	old := string(pattern(before, 1))
	connWrite(t, client, old)
	server := w.accept(l)
	connWantRead(t, server, old)
	time.Sleep(time.Second)
	restartCrash(client)

	t.Log("# the client is restarted and dials again")
	conv := uint32(78)
	if sameConv {
		conv = 77
	}
	again := w.dialFrom(restartAddr, conv, c)
	fresh := string(pattern(first, 2))
	began := time.Now()
	go func() { _, _ = again.Write([]byte(fresh)) }()
	second := w.accept(l)
	most := 50 * time.Millisecond
	if !sameConv && !newSealer(c.BlockCrypt).authenticates() {
		// The source address might be forged, so a proof is requested first.
		most = 250 * time.Millisecond
	}
	if sameConv && newSealer(c.BlockCrypt).keySource() != nil {
		// The old session ends once its peer has not answered under its keys. The next repetition
		// of the opening follows, which is the third or fourth, some 2.7 s after the first.
		most = 4 * time.Second
	}
	if d := time.Since(began); d > most {
		t.Errorf("accepted after %v, want half a round trip and a write delay, at most %v",
			d, most)
	}
	t.Log("# the new session works, and the old one has ended")
	connWantRead(t, second, fresh)
	connWrite(t, second, "welcome back")
	connWantRead(t, again, "welcome back")
	restartWantEnd(t, server, "", connReset)
}

// restartClock removes chance: the new session's clock starts far from the old one's, as it nearly
// always does.
func restartClock(again, before *UDPSession) {
	before.mu.Lock()
	origin := before.core.tsOrigin
	before.mu.Unlock()
	again.mu.Lock()
	again.core.tsOrigin = origin + 1<<31
	again.mu.Unlock()
}

// On a lossy path any part of the new session's first flight may be missing. None of it is
// attributed to the old session.
func TestRestartedClientOnALossyPath(t *testing.T) {
	for name, c := range restartConfigs(t) {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s closed %v", name, closed), func(t *testing.T) {
				for seed := range uint64(20) {
					link := closeLink
					c.DeadTimeout = -1
					link.Loss, link.Jitter, link.JitterReorders = 0.15, 10*time.Millisecond, true
					connRunSeed(t, seed, link, func(t *testing.T, w *connWorld) {
						l := w.serve(c)
						client := w.dialFrom(restartAddr, 77, c)
						server := w.join(client, l)
						before := string(pattern(30_000, 1))
						go func() { _, _ = client.Write([]byte(before)) }()
						connWantRead(t, server, before)
						time.Sleep(time.Minute)
						if closed {
							client.Close()
							server.Close()
							time.Sleep(lingerDefault)
						}
						restartCrash(client)
						again := w.dialFrom(restartAddr, 77, c)
						restartClock(again, client)
						fresh := string(pattern(20_000, 2))
						go func() { _, _ = again.Write([]byte(fresh)) }()
						connWantRead(t, w.accept(l), fresh)
						if !closed {
							restartWantEnd(t, server, "", connReset)
						}
					})
				}
			})
		}
	}
}

// The same when the old session was closed and only its time-wait record is left.
func TestRestartedClientOfAClosedSession(t *testing.T) {
	for name, c := range restartConfigs(t) {
		for _, first := range []int{5, 1376, 60_000} {
			t.Run(fmt.Sprintf("%s with %d", name, first), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					l := w.serve(c)
					client := w.dialFrom(restartAddr, 77, c)
					server := w.join(client, l)
					client.Close()
					server.Close()
					time.Sleep(time.Second)
					if !connEnded(client) || !connEnded(server) {
						t.Fatal("not closed yet")
					}
					again := w.dialFrom(restartAddr, 77, c)
					fresh := string(pattern(first, 2))
					go func() { _, _ = again.Write([]byte(fresh)) }()
					began := time.Now()
					second := w.accept(l)
					if d := time.Since(began); d > 50*time.Millisecond {
						t.Errorf("accepted after %v, want half a round trip", d)
					}
					connWantRead(t, second, fresh)
				})
			})
		}
	}
}

// A restarted client that waits for its peer first is answered too, whatever is left of its old
// session.
func TestRestartedClientFindsItsPeer(t *testing.T) {
	for _, closed := range []bool{false, true} {
		t.Run(fmt.Sprint("closed ", closed), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{})
				client := w.dialFrom(restartAddr, 77, Config{})
				server := w.join(client, l)
				if closed {
					client.Close()
					server.Close()
					time.Sleep(time.Second)
				}
				restartCrash(client)
				c := Config{WaitPeer: true}
				again := w.dialFrom(restartAddr, 77, c)
				began := time.Now()
				if err := again.awaitPeer(t.Context(), w.options(c)); err != nil ||
					time.Since(began) > 45*time.Millisecond {
					t.Fatalf("%v after %v, want nil after a round trip", err, time.Since(began))
				}
				w.join(again, l)
			})
		})
	}
}

// A server that was restarted does not know its old sessions. With a key its answer ends the
// client's session at once. Otherwise that ends when nothing is acknowledged any more.
func TestRestartedServer(t *testing.T) {
	for name, c := range restartConfigs(t) {
		for _, before := range []int{1, 100_000} {
			t.Run(fmt.Sprintf("%s after %d bytes", name, before), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					l := w.serve(c)
					client := w.dial(c)
					connWrite(t, client, string(pattern(before, 1)))
					connWantRead(t, w.accept(l), string(pattern(before, 1)))
					time.Sleep(time.Second)
					_ = l.demux.eps[0].conn.Close()
					time.Sleep(time.Second)
					l = w.serve(c)
					restartLost(t, client, c)
					restartNew(t, w, l, c, true)
				})
			})
		}
	}
}

// A server that was restarted knows a session only by an old opening that came late. The clock
// shows that its data are of another session, with an acknowledgement in front of them or not.
func TestDataOfARestartedServerAreStray(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{})
		connWrite(t, server, "before")
		connWantRead(t, client, "before")
		client.mu.Lock()
		defer client.mu.Unlock()
		c, now := &client.core, client.env.clock.now().ms()
		for _, tt := range []struct {
			name   string
			acks   int
			sn     seqNum
			ts     timestamp
			origin origin
		}{
			{"the peer's", 0, c.rcvNxt, c.newestTS, originPeer},
			{"the peer's behind an ACK", 1, c.rcvNxt, c.newestTS, originPeer},
			{"another's", 0, c.rcvNxt, c.newestTS + 1<<31, originStray},
			{"another's behind an ACK", 1, c.rcvNxt, c.newestTS + 1<<31, originStray},
			{"another's behind ACKs", 20, c.rcvNxt, c.newestTS + 1<<31, originStray},
			{"ACKs alone", 20, 0, 0, originPeer},
		} {
			var b []byte
			for range tt.acks {
				ack := segment{conv: client.conv, cmd: cmdAck, wnd: 32, sn: 1 << 20}
				b = appendSegment(b, &ack)
			}
			if tt.acks > 1 {
				b = appendSegment(b, &segment{conv: client.conv, cmd: cmdWins, wnd: 32})
			}
			if tt.ts != 0 {
				b = appendSegment(b, &segment{
					conv: client.conv, cmd: cmdPush, wnd: 32, sn: tt.sn, ts: tt.ts,
					data: []byte("x"),
				})
			}
			p := packet{kind: packetPlain, segments: b}
			if got := client.writtenByLocked(&p, now); got != tt.origin {
				t.Errorf("%s: origin %d, want %d", tt.name, got, tt.origin)
			}
		}
	})
}

// restartLost writes to a peer that does not know the session.
func restartLost(t *testing.T, s *UDPSession, c Config) {
	t.Helper()
	began := time.Now()
	var err error
	for err == nil && time.Since(began) < 5*time.Minute {
		_, err = s.Write([]byte("are you there?"))
		time.Sleep(time.Millisecond)
	}
	d := time.Since(began)
	most := 650 * time.Millisecond // 3 RTO and a round trip
	if newSealer(c.BlockCrypt).keySource() != nil {
		most += 200 * time.Millisecond // the peer is asked under the pre-shared key after an RTO
	}
	switch {
	case c.BlockCrypt != nil && errors.Is(err, connReset) && d < most:
	case c.BlockCrypt == nil && errors.Is(err, syscall.ETIMEDOUT) && d < 31*time.Second:
	case c.BlockCrypt == nil && errors.Is(err, connReset) && d < 31*time.Second:
	default:
		t.Errorf("the session ends with %v after %v", err, d)
	}
}

// restartNew makes a new session. What the lost one sent meanwhile may have opened a session, if it
// was young and had heard nothing. That session has ended with it.
func restartNew(t *testing.T, w *connWorld, l *Listener, c Config, ghost bool) {
	t.Helper()
	client := w.dialFrom("10.0.0.3:0", randomConv(), c)
	connWrite(t, client, "hello")
	for ; ; ghost = false {
		s := w.accept(l)
		if s.RemoteAddr().String() == client.LocalAddr().String() {
			connWantRead(t, s, "hello")
			connWrite(t, s, "welcome")
			connWantRead(t, client, "welcome")
			return
		}
		_ = s.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, s); !errors.Is(err, connReset) || !ghost {
			t.Errorf("a session without a beginning was opened, and ends with %v", err)
		}
	}
}

// An address translator that gives a client another address cuts off its session, because the
// server does not know the new address. The client's session ends as with a restarted server. The
// server's is ended by its keep-alive. A new session works.
func TestRebindEndsTheSession(t *testing.T) {
	for name, c := range restartConfigs(t) {
		for _, before := range []int{1, 100_000} {
			for _, answered := range []bool{false, true} {
				title := fmt.Sprintf("%s after %d bytes answered %v", name, before, answered)
				t.Run(title, func(t *testing.T) {
					connRun(t, closeLink, func(t *testing.T, w *connWorld) {
						c.KeepAlive = time.Minute
						t.Log("# a session exchanges data")
						l := w.serve(c)
						e := w.endpoint(restartAddr)
						client := w.dialOn(e, 77, c)
						connWrite(t, client, string(pattern(before, 1)))
						server := w.accept(l)
						connWantRead(t, server, string(pattern(before, 1)))
						if answered {
							connWrite(t, server, "thanks")
							connWantRead(t, client, "thanks")
						}
						time.Sleep(time.Second)
						t.Log("# the client's address changes")
						to := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 9}
						if err := e.Rebind(to, false); err != nil {
							t.Fatal(err)
						}
						restartLost(t, client, c)
						restartNew(t, w, l, c, !answered)
						restartWantEnd(t, server, "", syscall.ETIMEDOUT)
					})
				})
			}
		}
	}
}
