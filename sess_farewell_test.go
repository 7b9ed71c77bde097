// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// A peer that only reads is notified of an abort although the first RESETs are lost.
func TestAbortIsRepeated(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		for _, lose := range []int32{1, 3} {
			t.Run(fmt.Sprintf("%s aborts, %d lost", side, lose), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					leaves, stays, _ := w.pair(Config{})
					endpointOf(leaves).owner = connOwn // as Dial opens it
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

// An abort is repeated to an address that is not validated, as far as the allowance goes. The peer
// has nothing in flight and does not ask: it has received nothing but acknowledgements.
func TestAbortIsRepeatedWithinTheAllowance(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{NoDelay: true})
		client := w.dial(Config{NoDelay: true})
		var resets, bytes atomic.Int32
		w.setDrop(func(from, _ string, payload []byte) bool {
			m := connControl(payload)
			if from != connServerAddr || !m.has[ctlReset] {
				return m.has[ctlHello] && from == connServerAddr
			}
			bytes.Add(int32(len(payload)))
			return resets.Add(1) == 1
		})
		if _, err := client.Write(make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
		server := w.accept(l)
		time.Sleep(300 * time.Millisecond)
		server.mu.Lock()
		validated, left := server.core.addr == nil, server.core.addr.rest()
		server.mu.Unlock()
		if validated {
			t.Fatal("the address is validated")
		}
		server.SetLinger(0)
		server.Close()
		began := time.Now()
		_ = client.SetReadDeadline(began.Add(time.Minute))
		_, err := client.Read(make([]byte, 1))
		if d := time.Since(began); !errors.Is(err, connReset) || d > 3*time.Second {
			t.Errorf("Read gave %v after %v, want ECONNRESET within 3 s", err, d)
		}
		time.Sleep(10 * time.Second)
		if n := int(bytes.Load()); n > left {
			t.Errorf("RESETs of %d bytes were sent, want at most %d", n, left)
		}
	})
}

// A side that aborts before it has seen the peer's HELLO cannot send it a RESET. The peer learns of
// the end all the same, whether it goes on sending or only reads.
func TestAbortOfAnUnknownPeerIsTold(t *testing.T) {
	for name, sends := range map[string]bool{"sends": true, "only reads": false} {
		for _, lose := range []int32{0, 1} {
			t.Run(fmt.Sprintf("%s, %d lost", name, lose), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					l := w.serve(Config{NoDelay: true})
					client := w.dial(Config{NoDelay: true})
					var closed, acked atomic.Bool
					var lost atomic.Int32
					w.setDrop(func(from, _ string, payload []byte) bool {
						if closed.Load() {
							return from == connServerAddr && lost.Add(1) <= lose
						}
						acked.Store(acked.Load() || from == connServerAddr)
						return connControl(payload).has[ctlHello] || sends && from == connServerAddr
					})
					connWrite(t, client, "x")
					server := w.accept(l)
					time.Sleep(100 * time.Millisecond)
					server.mu.Lock()
					known := server.core.ctl.known()
					server.mu.Unlock()
					if known || !acked.Load() {
						t.Fatalf("the peer is known: %v, acknowledged: %v", known, acked.Load())
					}
					closed.Store(true)
					server.SetLinger(0)
					server.Close()
					began := time.Now()
					_ = client.SetReadDeadline(began.Add(time.Minute))
					_, err := client.Read(make([]byte, 1))
					if d := time.Since(began); !errors.Is(err, connReset) || d > 3*time.Second {
						t.Errorf("Read gave %v after %v, want ECONNRESET within 3 s", err, d)
					}
				})
			})
		}
	}
}

// A legacy peer is sent no more HELLOs by an abort than it may be sent in all (S4.9).
func TestAbortTellsALegacyPeerLittle(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{NoDelay: true})
		raw := w.endpoint(restartAddr)
		var hellos, others atomic.Int32
		var closed atomic.Bool
		w.setDrop(func(from, _ string, payload []byte) bool {
			switch m := connControl(payload); {
			case from != connServerAddr:
			case m.has[ctlHello] && len(payload) <= helloSegment+segmentHeaderSize:
				hellos.Add(1)
			case closed.Load():
				others.Add(1)
			}
			return false
		})
		s := segment{conv: 7, cmd: cmdPush, wnd: 32, ts: 100, data: []byte("x")}
		_, _ = raw.WriteTo(appendSegment(nil, &s), l.Addr())
		server := w.accept(l)
		time.Sleep(1500 * time.Millisecond) // beyond the first probe
		closed.Store(true)
		server.SetLinger(0)
		server.Close()
		time.Sleep(10 * time.Second)
		if n, m := hellos.Load(), others.Load(); n > helloLimit || m > 0 {
			t.Errorf("%d HELLOs and %d other datagrams were sent", n, m)
		}
	})
}

// Without allowance nothing is repeated.
func TestAbortIsNotRepeatedBeyondTheAllowance(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{NoDelay: true})
		client := w.dial(Config{NoDelay: true})
		var resets atomic.Int32
		var silent atomic.Bool // the client
		w.setDrop(func(from, _ string, payload []byte) bool {
			if connControl(payload).has[ctlReset] {
				resets.Add(1)
			}
			return from == connServerAddr || silent.Load()
		})
		connWrite(t, client, "x")
		server := w.accept(l)
		time.Sleep(300 * time.Millisecond)
		server.mu.Lock()
		server.core.addr.left, server.core.addr.pool = 150, 0
		server.mu.Unlock()
		silent.Store(true)
		server.SetLinger(0)
		server.Close()
		time.Sleep(4 * time.Second)
		if n := resets.Load(); n != 2 {
			t.Errorf("%d RESETs were sent with an allowance of 150 bytes, want 2", n)
		}
	})
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
		raw := endpointOf(client).conn
		ts := server.core.newestTS // no restarted peer's
		for _, s := range []segment{
			{cmd: cmdAck, una: 1}, {cmd: cmdWask, una: 1}, {cmd: cmdWins, una: 1},
			{cmd: cmdPush, ts: ts, una: 1},
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

// A receiver acknowledges segments behind a full queue, so its una can be less than what the peer
// has seen acknowledged. The RESET of such a receiver must count.
func TestResetOfAFullReceiverCounts(t *testing.T) {
	for _, linger := range []time.Duration{0, lingerByProgress} {
		t.Run(linger.String(), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				a, b, _ := w.pair(Config{SendWindow: 128, ReceiveWindow: 32, ACKNoDelay: true})
				t.Log("# the queue is filled, and ten segments more are sent by an old window")
				for range 40 {
					go func() { _, _ = a.Write([]byte("unread")) }()
				}
				time.Sleep(time.Second)
				a.mu.Lock()
				a.core.rmtWnd = 32
				a.mu.Unlock()
				a.flushNow()
				time.Sleep(time.Second)
				a.mu.Lock()
				una := a.core.sendUna
				a.mu.Unlock()
				b.mu.Lock()
				next := b.core.rcvNxt
				b.mu.Unlock()
				if !next.before(una) {
					t.Fatalf("una of the sender is %d, rcv_nxt of the receiver %d", una, next)
				}
				b.SetLinger(linger)
				b.Close()
				_ = a.SetDeadline(time.Now().Add(3 * time.Second))
				var err error
				if linger == 0 {
					_, err = a.Read(make([]byte, 10))
				}
				for err == nil { // a close without an abort resets new data
					_, err = a.Write([]byte("more"))
					time.Sleep(10 * time.Millisecond)
				}
				if !errors.Is(err, connReset) {
					t.Errorf("got %v, want a reset", err)
				}
			})
		})
	}
}
