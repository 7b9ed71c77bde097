// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

const restartAddr = "10.0.0.2:2000"

// restartCrash takes a session's socket away, as the end of its process does: nothing is said to the peer.
func restartCrash(s *UDPSession) {
	s.ep.conn.Close()
	time.Sleep(time.Second)
}

// restartConfigs are the ways in which a RESET is trusted or not.
func restartConfigs(t *testing.T) map[string]Config {
	t.Helper()
	gcm, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Config{
		"plain": {StreamMode: true}, "messages": {}, "aes-gcm": {StreamMode: true, BlockCrypt: gcm},
		"fec":     {StreamMode: true, DataShards: 3, ParityShards: 1},
		"fast":    {StreamMode: true, NoDelay: true, NoCongestionControl: true},
		"delayed": {StreamMode: true, NoDelay: true, NoCongestionControl: true, WriteDelay: true},
	}
}

// restartWantEnd reads all of want and then the error that ends the session.
func restartWantEnd(t *testing.T, s *UDPSession, want string, end error) {
	t.Helper()
	connWantRead(t, s, want)
	_ = s.SetReadDeadline(time.Now().Add(3 * time.Minute))
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, end) {
		t.Errorf("Read behind %q gave %v, want %v", want, err, end)
	}
	if _, err := s.Write([]byte{1}); !errors.Is(err, end) {
		t.Errorf("Write gave %v, want %v", err, end)
	}
}

// A client that was restarted at its address has a new session at once, and the old one ends with an error: under the
// same conversation id or another, however long its first Write is and however far the old session had come.
func TestRestartedClient(t *testing.T) {
	for name, c := range restartConfigs(t) {
		for _, sameConv := range []bool{true, false} {
			for _, before := range []int{1, 40_000} {
				for _, first := range []int{5, 1300, 1376, 60_000} {
					t.Run(fmt.Sprintf("%s same conv %v after %d bytes with %d", name, sameConv, before, first), func(t *testing.T) {
						connRun(t, closeLink, func(t *testing.T, w *connWorld) { restartClient(t, w, c, sameConv, before, first) })
					})
				}
			}
		}
	}
}

func restartClient(t *testing.T, w *connWorld, c Config, sameConv bool, before, first int) {
	l := w.serve(c)
	client := w.dialFrom(restartAddr, 77, c)
	old := string(pattern(before, 1))
	connWrite(t, client, old)
	server := w.accept(l)
	connWantRead(t, server, old)
	time.Sleep(time.Second)
	restartCrash(client)

	conv := uint32(78)
	if sameConv {
		conv = 77
	}
	again := w.dialFrom(restartAddr, conv, c)
	fresh := string(pattern(first, 2))
	began := time.Now()
	go func() { _, _ = again.Write([]byte(fresh)) }()
	second := w.accept(l)
	if d := time.Since(began); d > 50*time.Millisecond {
		t.Errorf("accepted after %v, want half a round trip and the delay of a write", d)
	}
	connWantRead(t, second, fresh)
	connWrite(t, second, "welcome back")
	connWantRead(t, again, "welcome back")
	restartWantEnd(t, server, "", syscall.ECONNRESET)
}

// restartClock keeps chance out: the new session's clock starts far from the old one's, as nearly always.
func restartClock(again, before *UDPSession) {
	before.mu.Lock()
	origin := before.core.tsOrigin
	before.mu.Unlock()
	again.mu.Lock()
	again.core.tsOrigin = origin + 1<<31
	again.mu.Unlock()
}

// On a lossy path any part of the new session's first flight may be missing: nothing of it is taken for the old one's.
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
							restartWantEnd(t, server, "", syscall.ECONNRESET)
						}
					})
				}
			})
		}
	}
}

// The same when the old session had been closed and only its time-wait record is left.
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

// A restarted client that asks for its peer first is answered too, whatever is left of its old session.
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
				if err := again.awaitPeer(t.Context(), w.options(c)); err != nil || time.Since(began) > 45*time.Millisecond {
					t.Fatalf("%v after %v, want nil after a round trip", err, time.Since(began))
				}
				w.join(again, l)
			})
		})
	}
}

// A server that was restarted knows nothing of its sessions. The client learns of it at once if a key vouches for the
// answer, and otherwise when nothing is acknowledged any more.
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
					l.ep.conn.Close()
					time.Sleep(time.Second)
					l = w.serve(c)
					restartLost(t, client, c)
					restartNew(t, w, l, c, true)
				})
			})
		}
	}
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
	switch {
	case c.BlockCrypt != nil && errors.Is(err, syscall.ECONNRESET) && d < 50*time.Millisecond:
	case c.BlockCrypt == nil && errors.Is(err, syscall.ETIMEDOUT) && d < 31*time.Second:
	case c.BlockCrypt == nil && errors.Is(err, syscall.ECONNRESET) && d < 31*time.Second:
	default:
		t.Errorf("the session ends with %v after %v", err, d)
	}
}

// restartNew makes a new session. What the lost one sent meanwhile may have looked like the beginning of a session, if it
// was young and had heard nothing; that one has ended with it.
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
		if _, err := io.Copy(io.Discard, s); !errors.Is(err, syscall.ECONNRESET) || !ghost {
			t.Errorf("a session without a beginning was opened, and ends with %v", err)
		}
	}
}

// An address translator that gives a client another address cuts its session off: to the server it is somebody it does
// not know. The client's session ends as it does with a restarted server, the server's by what asks for a sign of life,
// and a new session works.
func TestRebindEndsTheSession(t *testing.T) {
	for name, c := range restartConfigs(t) {
		for _, before := range []int{1, 100_000} {
			for _, answered := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s after %d bytes answered %v", name, before, answered), func(t *testing.T) {
					connRun(t, closeLink, func(t *testing.T, w *connWorld) {
						c.KeepAlive = time.Minute
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
						if err := e.Rebind(&net.UDPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 9}, false); err != nil {
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

// Whatever of a closed session arrives late, in any order, opens no new one and harms none.
func TestLatePacketsOpenNoGhost(t *testing.T) {
	for _, age := range []time.Duration{0, time.Second, 9 * time.Second} {
		t.Run(age.String(), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{})
				var mu sync.Mutex
				var packets [][]byte
				w.setDrop(func(from, _ string, payload []byte) bool {
					mu.Lock()
					defer mu.Unlock()
					if from == restartAddr {
						packets = append(packets, bytes.Clone(payload))
					}
					return false
				})
				client := w.dialFrom(restartAddr, 77, Config{})
				server := w.join(client, l)
				connWrite(t, client, string(pattern(20_000, 1)))
				_ = client.Close()
				if _, err := io.ReadAll(server); err != nil {
					t.Fatal(err)
				}
				_ = server.Close()
				time.Sleep(time.Second)
				w.setDrop(nil)
				mu.Lock()
				defer mu.Unlock()
				if !connEnded(server) || !connEnded(client) || len(packets) < 15 {
					t.Fatalf("not closed yet, or too few packets: %d", len(packets))
				}
				raw := w.endpoint(restartAddr)
				to, _ := net.ResolveUDPAddr("udp", connServerAddr)
				for range 20 { // each hit renews the record
					time.Sleep(age)
					for i := range packets {
						for _, p := range [][]byte{packets[i], packets[len(packets)-1-i]} {
							_, _ = raw.WriteTo(p, to)
						}
					}
				}
				_ = l.SetDeadline(time.Now().Add(time.Second))
				if s, err := l.AcceptKCP(); err == nil {
					w.sessions = append(w.sessions, s)
					t.Error("late packets opened a session")
				}
				l.ep.mu.RLock()
				if n := len(l.ep.sessions); n > 0 {
					t.Errorf("%d sessions are in the table", n)
				}
				l.ep.mu.RUnlock()
			})
		})
	}
}

// Records of ended sessions go by themselves, in memory too.
func TestTimeWaitRecordsGo(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		const n = 100
		for i := range n {
			client := w.dialFrom(restartAddr, uint32(i+1), Config{})
			connWrite(t, client, "x")
			s := w.accept(l)
			client.Close()
			s.Close()
			time.Sleep(100 * time.Millisecond)
		}
		count := func() int {
			l.ep.mu.RLock()
			defer l.ep.mu.RUnlock()
			return len(l.ep.waits.records)
		}
		if c := count(); c < n/2 || c > n {
			t.Errorf("%d records after %d sessions", c, n)
		}
		time.Sleep(2 * time.Duration(timeWaitPeriod) * time.Millisecond)
		if c := count(); c != 0 {
			t.Errorf("%d records are left", c)
		}
	})
}

// An old peer that begins another conversation has given up the one before.
func TestOldPeersNewConversationReplaces(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{StreamMode: true})
		old := w.oldPeer(restartAddr, l.Addr(), 5)
		old.write([]byte("first"))
		first := w.accept(l)
		connWantRead(t, first, "first")
		time.Sleep(time.Second)
		old.set(func() { old.restart(6) })
		old.write([]byte("second"))
		second := w.accept(l)
		connWantRead(t, second, "second")
		restartWantEnd(t, first, "", syscall.ECONNRESET)
		connWrite(t, second, "hello")
		if got := old.wait(5, time.Minute); string(got) != "hello" {
			t.Errorf("the old peer got %q", got)
		}
	})
}

// A datagram of another conversation that does not begin one replaces nothing.
func TestStrayDatagramReplacesNothing(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		var raw net.PacketConn
		client := w.dialOn(w.endpoint(restartAddr), 77, Config{})
		server := w.join(client, l)
		raw = client.ep.conn
		for _, s := range []segment{
			{conv: 78, cmd: cmdPush, sn: 1, data: []byte("x")}, {conv: 78, cmd: cmdAck}, {conv: 78, cmd: cmdWask}, {conv: 78, cmd: cmdWins},
			{conv: 78, cmd: cmdPush, sn: 32, data: []byte("x")}, {conv: 78, cmd: cmdPush, sn: 1 << 31, data: []byte("x")},
		} {
			_, _ = raw.WriteTo(appendSegment(nil, &s), l.Addr())
		}
		time.Sleep(time.Second)
		connWrite(t, client, "unharmed")
		connWantRead(t, server, "unharmed")
	})
}

// Sessions that share an address, and say so, are told apart by their conversation ids.
func TestSessionsThatShareAnAddress(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		const n = 5
		l := w.serve(Config{})
		shared := w.endpoint(restartAddr)
		// Several dialled sessions over one socket: a reader hands each datagram to the session of its conversation.
		var conns [n]*memConn
		var clients, servers [n]*UDPSession
		for i := range clients {
			conns[i] = newMemConn(shared.LocalAddr(), func(data []byte, to net.Addr) { _, _ = shared.WriteTo(data, to) })
			clients[i] = w.dialOn(conns[i], uint32(i), Config{})
			clients[i].mu.Lock()
			clients[i].core.ctl.shared = true
			clients[i].mu.Unlock()
		}
		var reader sync.WaitGroup
		reader.Go(func() {
			for buf := make([]byte, 2000); ; {
				m, from, err := shared.ReadFrom(buf)
				if err != nil {
					return
				}
				conns[parsePacket(buf[:m]).conv].put(buf[:m], from)
			}
		})
		for i := range clients {
			connWrite(t, clients[i], fmt.Sprint("from ", i))
			servers[i] = w.accept(l)
		}
		for i := range clients {
			connWantRead(t, servers[i], fmt.Sprint("from ", i))
			connWrite(t, servers[i], fmt.Sprint("to ", i))
			connWantRead(t, clients[i], fmt.Sprint("to ", i))
		}
		clients[2].Close()
		closeWantEOF(t, servers[2])
		servers[2].Close()
		time.Sleep(20 * time.Second)
		connWrite(t, clients[4], "still here")
		connWantRead(t, servers[4], "still here")
		for _, c := range clients {
			c.SetLinger(0)
			c.Close()
		}
		time.Sleep(time.Second)
		shared.Close()
		reader.Wait()
	})
}

// A full backlog refuses new sessions, and them alone; a refused one gets in as soon as there is room.
func TestFullBacklogRefusesNewSessionsOnly(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		const backlog = 3
		c := Config{AcceptBacklog: backlog}
		l := w.serve(c)
		client := w.dial(c)
		server := w.join(client, l)
		var waiting []*UDPSession
		for i := range backlog + 2 {
			s := w.dial(c)
			connWrite(t, s, fmt.Sprint("number ", i))
			waiting = append(waiting, s)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		connWrite(t, client, "unharmed")
		connWantRead(t, server, "unharmed")
		for i := range backlog + 2 {
			s := w.accept(l)
			want := "number " + fmt.Sprint(i)
			if i < backlog {
				connWantRead(t, s, want)
				continue
			}
			// Those that were refused knock again, in an order of their own.
			got := make([]byte, len(want))
			_ = s.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.ReadFull(s, got); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range waiting {
			if connEnded(s) {
				t.Error("a session that waited has ended")
			}
		}
	})
}

func TestListenerCloseResetsTheUnaccepted(t *testing.T) {
	for name, c := range restartConfigs(t) {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				client, server, l := w.pair(c)
				waits := w.dial(c)
				connWrite(t, waits, "let me in")
				time.Sleep(time.Second)
				began := time.Now()
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				restartWantEnd(t, waits, "", syscall.ECONNRESET)
				if d := time.Since(began); d > 25*time.Millisecond {
					t.Errorf("the one that waited learned of it after %v", d)
				}
				time.Sleep(time.Hour)
				connWrite(t, client, "we live on")
				connWantRead(t, server, "we live on")
				closed := func() bool {
					_, err := l.ep.conn.WriteTo([]byte{1}, client.LocalAddr())
					return errors.Is(err, net.ErrClosed)
				}
				if closed() {
					t.Error("the socket was closed under an accepted session")
				}
				late := w.dial(c)
				connWrite(t, late, "too late")
				client.Close()
				server.Close()
				time.Sleep(time.Second)
				if !connEnded(server) || !closed() {
					t.Error("the socket did not close with the last session")
				}
				late.SetLinger(0)
			})
		})
	}
}

// Whoever makes sessions as fast as they can be ended fills no more memory than that of a fixed number of records.
func TestTimeWaitRecordsAreBounded(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		waits := &l.ep.waits
		l.ep.mu.Lock()
		defer l.ep.mu.Unlock()
		for i := range uint32(timeWaitMax + 1000) {
			waits.add(sessionKey{conv: i}, timeWait{})
			if i%3 == 0 { // one that gave way to a restarted peer, whose session has ended too
				waits.drop(sessionKey{conv: i})
				waits.add(sessionKey{conv: i}, timeWait{})
			}
		}
		if n, m := len(waits.records), waits.order.Len(); n > timeWaitMax || m > timeWaitMax {
			t.Errorf("%d records in an order of %d, want at most %d", n, m, timeWaitMax)
		}
		if waits.get(sessionKey{conv: timeWaitMax + 999}, 0) == nil {
			t.Error("the newest record is not there")
		}
	})
}
