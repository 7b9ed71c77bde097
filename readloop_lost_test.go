// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// failingConn is a connection whose reads fail once err is set.
type failingConn struct {
	*memConn
	err   atomic.Pointer[error]
	fails atomic.Int32
}

func (c *failingConn) ReadFrom(p []byte) (int, net.Addr, error) {
	if err := c.err.Load(); err != nil {
		c.fails.Add(1)
		return 0, nil, *err
	}
	n, from, err := c.memConn.ReadFrom(p)
	if fault := c.err.Load(); fault != nil {
		c.fails.Add(1)
		return 0, nil, *fault
	}
	return n, from, err
}

func (c *failingConn) fail(err error) {
	c.err.Store(&err)
	c.put([]byte("wake"), memAddr("b")) // a read that waits returns
}

// A connection that is lost for good ends its sessions and its listener with the error. Temporary
// errors end nothing.
func TestLostConnectionEndsSessionsAndListener(t *testing.T) {
	own := errors.New("tunnel: the far end is gone")
	for _, tt := range []struct {
		name    string
		err     error
		lost    bool
		within  time.Duration
		matches error
	}{
		{"end of stream", io.EOF, true, 0, net.ErrClosed},
		{"closed", fmt.Errorf("tunnel: %w", net.ErrClosed), true, 0, net.ErrClosed},
		{"closed pipe", io.ErrClosedPipe, true, 0, net.ErrClosed},
		{"the program's own", own, true, lostAfter + time.Second, own},
		{"cut short", io.ErrUnexpectedEOF, true, lostAfter + time.Second, io.ErrUnexpectedEOF},
		{"temporary", passingFault{}, false, 0, nil},
		{"timeout", os.ErrDeadlineExceeded, false, 0, nil},
	} {
		for _, owned := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, owned %v", tt.name, owned), func(t *testing.T) {
				connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
					near, far := w.pipe()
					a, b := &failingConn{memConn: near}, &failingConn{memConn: far}
					c := Config{DeadTimeout: -1}
					l := w.serveOver(b, owned, c)
					s := w.dialOver(a, owned, memAddr("b"), 1, c)
					mustWrite(t, s, []byte("x"))
					peer := w.accept(l)
					mustRead(t, peer, 1)
					start := time.Now()
					a.fail(tt.err)
					b.fail(tt.err)
					for _, s := range []*UDPSession{s, peer} {
						_ = s.SetReadDeadline(start.Add(time.Minute))
						_, err := s.Read(make([]byte, 1))
						if lost := !errors.Is(err, errTimeout); lost != tt.lost ||
							lost && !errors.Is(err, tt.matches) {
							t.Errorf("Read: %v after %v, want one of %v: %v",
								err, time.Since(start), tt.matches, tt.lost)
						}
						if d := time.Since(start); tt.lost && d > tt.within {
							t.Errorf("Read returned after %v, want within %v", d, tt.within)
						}
					}
					_ = l.SetDeadline(time.Now().Add(time.Minute))
					if _, err := l.Accept(); errors.Is(err, errTimeout) == tt.lost ||
						tt.lost && !errors.Is(err, tt.matches) {
						t.Errorf("Accept: %v, want one of %v: %v", err, tt.matches, tt.lost)
					}
					if n := a.fails.Load(); n > 500 {
						t.Errorf("the connection was read %d times", n)
					}
					for _, s := range []*UDPSession{s, peer} {
						s.SetLinger(0)
						_ = s.Close()
					}
					_ = l.Close()
					time.Sleep(time.Minute)
					_, err := near.WriteTo(nil, memAddr("b"))
					if errors.Is(err, net.ErrClosed) != owned {
						t.Errorf("a write to the connection afterwards: %v, owned %v", err, owned)
					}
				})
			})
		}
	}
}

// Occasional errors without packets between them end nothing.
func TestRareErrorsAreNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b readBackoff
		for range 100 {
			pause, lost := b.failed(errors.New("now and then"))
			if lost {
				t.Fatal("a connection that fails every three seconds was taken for lost")
			}
			time.Sleep(pause + 3*time.Second)
		}
	})
}

// A read deadline that a program has set on the socket costs no time and ends nothing.
func TestReadDeadlineOnTheSocketIsTakenAway(t *testing.T) {
	connCheckLeaks(t)
	for _, owner := range []connOwner{connOwn, connLent} {
		t.Run(fmt.Sprintf("owned %v", owner != connLent), func(t *testing.T) {
			conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			o, err := new(Config).options()
			if err != nil {
				t.Fatal(err)
			}
			d := newDemux([]net.PacketConn{conn}, owner, o, newIngress)
			counted := &countedReads{batchConn: d.eps[0].io}
			d.eps[0].io = counted
			l := echoListener(t, serveOn(d, o))
			expire := func(conn net.PacketConn) error { return conn.SetReadDeadline(past) }
			if err := l.Control(expire); err != nil {
				t.Fatal(err)
			}
			s := dialLoopback(t, l, nil)
			const rounds = 500
			msg := make([]byte, 10)
			_ = s.SetDeadline(time.Now().Add(20 * time.Second))
			for range rounds {
				mustWrite(t, s, msg)
				if _, err := io.ReadFull(s, msg); err != nil {
					t.Fatal(err)
				}
			}
			if n := counted.reads.Load(); n > 10*rounds {
				t.Errorf("the socket was read %d times for %d messages", n, rounds)
			}
		})
	}
}

// countedReads counts the reads of a socket.
type countedReads struct {
	batchConn
	reads atomic.Int32
}

func (c *countedReads) readBatch(b receiveBuffers) (int, error) {
	c.reads.Add(1)
	return c.batchConn.readBatch(b)
}
