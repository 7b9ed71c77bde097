// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Late packets of a closed session, in any order, open no session and harm none.
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
				t.Log("# a session is recorded up to its end")
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
				t.Log("# its packets are sent again in both orders")
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
				for range l.Sessions() {
					t.Error("a session is in the table")
				}
			})
		})
	}
}

// Records of ended sessions expire, and their memory is released. Each session ends as soon as both
// sides have closed, even one that is closed the moment Accept returns it.
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
			began := time.Now()
			for !connEnded(client) {
				time.Sleep(time.Millisecond)
				synctest.Wait() // its socket is closed then
			}
			if d := time.Since(began); d > 4*closeLink.Delay || s.GetConv() != client.GetConv() {
				t.Fatalf("session %d, with conversation id %d, took %v to close", i, s.GetConv(), d)
			}
		}
		count := func() int {
			l.demux.mu.Lock()
			defer l.demux.mu.Unlock()
			return len(l.demux.waits.records)
		}
		if c := count(); c != n {
			t.Errorf("%d records after %d sessions", c, n)
		}
		time.Sleep(2 * time.Duration(timeWaitPeriod) * time.Millisecond)
		if c := count(); c != 0 {
			t.Errorf("%d records are left", c)
		}
	})
}

// A legacy peer that begins another conversation has given up the one before.
func TestOldPeersNewConversationReplaces(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{StreamMode: true})
		old := w.legacyPeer(restartAddr, l.Addr(), 5)
		old.write([]byte("first"))
		first := w.accept(l)
		connWantRead(t, first, "first")
		time.Sleep(2 * proveAfter.duration())
		old.set(func() { old.restart(6) })
		old.write([]byte("second"))
		second := w.accept(l)
		connWantRead(t, second, "second")
		restartWantEnd(t, first, "", connReset)
		connWrite(t, second, "hello")
		if got := old.wait(5, time.Minute); string(got) != "hello" {
			t.Errorf("the legacy peer got %q", got)
		}
	})
}

// A datagram of another conversation that does not begin one supersedes nothing.
func TestStrayDatagramReplacesNothing(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		var raw net.PacketConn
		client := w.dialOn(w.endpoint(restartAddr), 77, Config{})
		server := w.join(client, l)
		raw = endpointOf(client).conn
		for _, s := range []segment{
			{conv: 78, cmd: cmdPush, sn: 1, data: []byte("x")}, {conv: 78, cmd: cmdAck},
			{conv: 78, cmd: cmdWask}, {conv: 78, cmd: cmdWins},
			{conv: 78, cmd: cmdPush, sn: 32, data: []byte("x")},
			{conv: 78, cmd: cmdPush, sn: 1 << 31, data: []byte("x")},
		} {
			_, _ = raw.WriteTo(appendSegment(nil, &s), l.Addr())
		}
		time.Sleep(time.Second)
		connWrite(t, client, "unharmed")
		connWantRead(t, server, "unharmed")
	})
}

// Sessions that share an address, and announce it, are told apart by their conversation ids.
func TestSessionsThatShareAnAddress(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		const n = 5
		l := w.serve(Config{})
		shared := w.endpoint(restartAddr)
		// Several dialled sessions over one socket: a reader passes each datagram to the session of
		// its conversation.
		var conns [n]*memConn
		var clients, servers [n]*UDPSession
		for i := range clients {
			send := func(data []byte, to net.Addr) { _, _ = shared.WriteTo(data, to) }
			conns[i] = newMemConn(shared.LocalAddr(), send)
			clients[i] = w.dialOn(conns[i], uint32(i), Config{})
			clients[i].mu.Lock()
			clients[i].core.ctl.shareAddress()
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

// A peer that makes sessions as fast as they can be ended uses no more memory than a fixed number
// of records.
func TestTimeWaitRecordsAreBounded(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		waits := &l.demux.waits
		l.demux.mu.Lock()
		defer l.demux.mu.Unlock()
		for i := range uint32(timeWaitMax + 1000) {
			waits.add(sessionKey{conv: i}, &endedSession{})
			if i%3 == 0 { // one that gave way to a restarted peer, whose session has ended too
				waits.drop(sessionKey{conv: i})
				waits.add(sessionKey{conv: i}, &endedSession{})
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
