// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// challengeGCM returns a Config with an AEAD and short timeouts.
func challengeGCM(t *testing.T) Config {
	t.Helper()
	gcm, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		StreamMode: true, BlockCrypt: gcm, KeepAlive: time.Second, DeadTimeout: 2 * time.Second,
	}
}

// observe simulates an attacker without the key, at an address of its own. It sends a copy of each
// of the client's packets to target. It forwards what target answers to the client, with the
// server's address as the source.
func (w *connWorld) observe(client *UDPSession, server net.Addr,
	target *simEndpoint) (passed *atomic.Int32) {
	observer := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 66), Port: 66}
	victim := endpointOf(client).conn.(*simEndpoint)
	passed = new(atomic.Int32)
	w.setDrop(func(from, to string, payload []byte) bool {
		switch {
		case from == victim.LocalAddr().String():
			copied := append([]byte(nil), payload...)
			time.AfterFunc(time.Millisecond, func() { target.put(copied, observer) })
		case to == observer.String():
			answer := append([]byte(nil), payload...)
			passed.Add(1)
			time.AfterFunc(time.Millisecond, func() { victim.put(answer, server) })
		}
		return false
	})
	return passed
}

// An attacker that reads and writes packets, but has no key, ends no session with an AEAD. It
// cannot use the listener's answers for that, nor those of another listener with the same key.
func TestObserverEndsNoSession(t *testing.T) {
	c := challengeGCM(t)
	c.BlockCrypt = keyless(c.BlockCrypt)
	observeSessions(t, c, 20, 1<<30)
}

// From a session with keys of its own, it obtains no answer at all.
func TestObserverOfASessionWithKeys(t *testing.T) { observeSessions(t, challengeGCM(t), 0, 0) }

// observeSessions runs sessions of which all packets are copied. The attacker is to obtain so many
// answers, at least and at most.
func observeSessions(t *testing.T, c Config, least, most int32) {
	for _, other := range []bool{false, true} {
		for _, young := range []bool{false, true} {
			t.Run(fmt.Sprintf("another listener %v young %v", other, young), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					l := w.serve(c)
					target := l
					if other {
						target = w.serveAt("10.0.0.7:1000", c)
					}
					client := w.dial(c)
					server := w.join(client, l)
					if !young {
						// Beyond the first segments nothing opens a session at the other listener.
						for range 40 {
							connWrite(t, client, "x")
							connWantRead(t, server, "x")
						}
					}
					time.Sleep(time.Second)
					t.Log("# the attacker copies the client's packets and forwards the answers")
					passed := w.observe(client, l.Addr(), target.demux.eps[0].conn.(*simEndpoint))
					for i := range 20 {
						up, down := string(pattern(5000+i, 1)), string(pattern(300+i, 2))
						connWrite(t, client, up)
						connWantRead(t, server, up)
						connWrite(t, server, down)
						connWantRead(t, client, down)
						time.Sleep(time.Second)
					}
					t.Log("# the session ends regularly")
					if err := client.CloseWrite(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Second)
					closeWantEOF(t, server)
					connWrite(t, server, "and good-bye")
					connWantRead(t, client, "and good-bye")
					if n := passed.Load(); n < least || n > most {
						t.Errorf("%d answers were passed on, want %d to %d", n, least, most)
					}
				})
			})
		}
	}
}

// A packet that another listener with the same key has received opens a session when it is replayed
// from a client's address. So does one that this listener received before a restart. The sessions
// of that client stay.
func TestRepeatedOpeningEndsNoSession(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprint("restarted ", restarted), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				c := challengeGCM(t)
				var recorded [][]byte
				w.setDrop(func(from, _ string, payload []byte) bool {
					if from == restartAddr {
						recorded = append(recorded, append([]byte(nil), payload...))
					}
					return false
				})
				at := "10.0.0.7:1000"
				if restarted {
					at = connServerAddr
				}
				before := w.serveAt(at, c)
				connWrite(t, w.dialOnAt(w.endpoint(restartAddr), at, randomConv(), c), "hello")
				w.accept(before)
				time.Sleep(time.Second)
				w.setDrop(nil)
				_ = before.demux.eps[0].conn.Close()
				time.Sleep(5 * time.Second)

				l := w.serve(c)
				client := w.dialFrom("10.0.0.2:3000", randomConv(), c)
				server := w.join(client, l)
				for round := range 3 {
					for _, p := range recorded {
						l.demux.eps[0].conn.(*simEndpoint).put(p, client.LocalAddr())
					}
					if round == 0 {
						w.accept(l) // later on a record of it is left
					}
					time.Sleep(3 * time.Second)
					connWrite(t, client, "still there")
					connWantRead(t, server, "still there")
					connWrite(t, server, "so am I")
					connWantRead(t, client, "so am I")
					l.demux.replay.openers = nonceSet{} // as another listener would not know it
				}
			})
		})
	}
}

// Without a key, a HELLO of another incarnation and a RESET without one end nothing either, because
// the peer answers the question.
func TestForgedWordsWithoutAKey(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, l := w.pair(Config{StreamMode: true, DeadTimeout: 5 * time.Second})
		victim := endpointOf(client).conn.(*simEndpoint)
		var pings atomic.Int32
		w.setDrop(func(_, to string, payload []byte) bool {
			if to == connServerAddr && connControl(payload).has[ctlPing] {
				pings.Add(1)
			}
			return false
		})
		push := segment{conv: client.GetConv(), cmd: cmdPush, wnd: 32, data: []byte("forged")}
		for i := range 1000 {
			hello := controlSet{has: [ctlPong + 1]bool{ctlHello: true}, incarnation: uint64(i) + 1,
				largest: largestDatagram}
			reset := controlSet{has: [ctlPong + 1]bool{ctlReset: true}, resetCode: resetUnknown}
			opens := hello
			opens.flags |= helloOpens
			s := segment{conv: client.GetConv(), cmd: cmdWins, wnd: 32, ts: controlVersion,
				sn: controlMagic, una: 1, data: appendControl(nil, &opens)}
			wask := segment{conv: client.GetConv(), cmd: cmdWask, wnd: 32}
			victim.put(appendSegment(appendSegment(nil, &wask), &s), l.Addr())
			for _, m := range []controlSet{hello, reset} {
				s := segment{conv: client.GetConv(), cmd: cmdWins, wnd: 32, ts: controlVersion,
					sn: controlMagic, una: 1, data: appendControl(nil, &m)}
				victim.put(appendSegment(nil, &s), l.Addr())
				victim.put(appendSegment(appendSegment(nil, &push), &s), l.Addr())
			}
			time.Sleep(10 * time.Millisecond)
		}
		connWrite(t, client, "still there")
		connWantRead(t, server, "still there")
		connWrite(t, server, "so am I")
		connWantRead(t, client, "so am I")
		if n := pings.Load(); n == 0 || n > 150 {
			t.Errorf("%d PINGs in 10 s of forgeries, want some, and at most two in an RTO", n)
		}
	})
}

// A server that was restarted has no sessions for its clients. A client that sends a keep-alive,
// ends its stream or probes a window is notified within the dead timeout. With a key it is notified
// at once.
func TestRestartedServerIsNoticed(t *testing.T) {
	aes, err := NewAESBlockCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	ciphers := map[string]BlockCrypt{"none": nil, "aes": aes, "aes-gcm": challengeGCM(t).BlockCrypt}
	for name, block := range ciphers {
		for _, how := range []string{
			"keepalive", "CloseWrite", "closed window", "closed window and keepalive",
		} {
			for _, back := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s back %v", name, how, back), func(t *testing.T) {
					connRun(t, closeLink, func(t *testing.T, w *connWorld) {
						c := Config{StreamMode: true, BlockCrypt: block,
							DeadTimeout: 2 * time.Second, ReceiveWindow: 64}
						if how == "keepalive" || how == "closed window and keepalive" {
							c.KeepAlive = time.Second
						}
						challengeRestart(t, w, c, how, back)
					})
				})
			}
		}
	}
}

func challengeRestart(t *testing.T, w *connWorld, c Config, how string, back bool) {
	l := w.serve(c)
	client := w.dial(c)
	server := w.join(client, l)
	for range 40 { // beyond what opens a session
		connWrite(t, client, "x")
		connWantRead(t, server, "x")
	}
	for range 5 { // the two directions have come to different numbers
		connWrite(t, server, "y")
		connWantRead(t, client, "y")
	}
	if how == "closed window" || how == "closed window and keepalive" {
		go func() { _, _ = client.Write(pattern(1<<20, 1)) }()
		time.Sleep(10 * time.Second)
	}
	_ = l.demux.eps[0].conn.Close()
	time.Sleep(10 * time.Millisecond)
	if back {
		w.serve(c)
	}
	if how == "CloseWrite" {
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	_ = client.SetReadDeadline(time.Now().Add(time.Minute))
	after, err := liveEnd(client)
	// A probe of a closed window is due within the next of its waits, some seconds here.
	most := c.DeadTimeout + c.KeepAlive + 50*time.Millisecond
	if how == "closed window" {
		most += 6 * time.Second
	}
	if ended := connEnded(client); !ended || after > most || errors.Is(err, errTimeout) {
		t.Errorf("%v after %v, ended %v; want an end within %v", err, after, ended, most)
	}
}

// The same for a client that is gone from a socket that is still read.
func TestGoneClientIsNoticed(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		c := challengeGCM(t)
		c.DeadTimeout = time.Minute
		l := w.serve(c)
		client := w.dialFrom(restartAddr, 7, c)
		server := w.join(client, l)
		restartCrash(client)
		w.dialFrom(restartAddr, 8, c)
		if after, err := liveEnd(server); !errors.Is(err, connReset) || after > 2*time.Second {
			t.Errorf("%v after %v, want a reset soon", err, after)
		}
	})
}
