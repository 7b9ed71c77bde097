// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// handConn is one end of a connection without a buffer. WriteTo waits until the other end reads, or
// either is closed.
type handConn struct {
	*memConn
	in, out chan []byte
	gone    chan struct{} // closed by Close of either end
	over    *sync.Once
}

func newHandPair() (a, b *handConn) {
	one, two := make(chan []byte), make(chan []byte)
	gone, over := make(chan struct{}), new(sync.Once)
	a = &handConn{newMemConn(memAddr("a"), nil), one, two, gone, over}
	b = &handConn{newMemConn(memAddr("b"), nil), two, one, gone, over}
	return a, b
}

func (c *handConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case data := <-c.in:
		return copy(p, data), memAddr("peer"), nil
	case <-c.gone:
		return 0, nil, net.ErrClosed
	}
}

func (c *handConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	select {
	case c.out <- bytes.Clone(p):
		return len(p), nil
	case <-c.gone:
		return 0, net.ErrClosed
	}
}

func (c *handConn) Close() error {
	c.over.Do(func() { close(c.gone) })
	return nil
}

func (c *handConn) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// With two busy ends of a connection without a buffer, no reader may wait in WriteTo for the other.
func TestBusyEndsOfABlockingConnectionDoNotDeadlock(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		a, b := newHandPair()
		c := Config{NoDelay: true, Interval: 10 * time.Millisecond,
			NoCongestionControl: true, StreamMode: true}
		l := w.serveOver(b, false, c)
		near := w.dialOver(a, false, memAddr("peer"), randomConv(), c)
		mustWrite(t, near, []byte("x"))
		far := w.accept(l)
		mustRead(t, far, 1)
		data := pattern(1<<20, 1)
		var wg sync.WaitGroup
		for from, to := range map[*UDPSession]*UDPSession{near: far, far: near} {
			_ = from.SetDeadline(time.Now().Add(time.Minute))
			wg.Go(func() {
				if _, err := from.Write(data); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				got := make([]byte, len(data))
				if n, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes arrived: %v", n, err)
				}
			})
		}
		wg.Wait()
		for _, s := range []*UDPSession{near, far} {
			s.SetLinger(0)
			_ = s.Close()
		}
		_ = l.Close()
		a.Close()
	})
}

// stuckConn is a connection whose WriteTo hangs until it is closed.
type stuckConn struct {
	*memConn
	gone   chan struct{}
	over   sync.Once
	inside atomic.Int32
}

func (c *stuckConn) WriteTo([]byte, net.Addr) (int, error) {
	c.inside.Add(1)
	defer c.inside.Add(-1)
	<-c.gone
	return 0, net.ErrClosed
}

func (c *stuckConn) Close() error {
	c.over.Do(func() { close(c.gone) })
	return c.memConn.Close()
}

// A connection whose WriteTo hangs delays nothing else. Write respects its deadline, Close returns,
// memory is bounded, and the timers of other sessions run.
func TestHangingWriteToHoldsUpNobody(t *testing.T) {
	for _, owned := range []bool{true, false} {
		t.Run(fmt.Sprintf("owned %v", owned), func(t *testing.T) {
			connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
				stuck := &stuckConn{memConn: newMemConn(memAddr("a"), nil),
					gone: make(chan struct{})}
				c := Config{NoCongestionControl: true, SendWindow: 4096, StreamMode: true}
				s := w.dialOver(stuck, owned, memAddr("b"), 1, c)
				start := time.Now()
				t.Log("# Write respects its deadline")
				_ = s.SetWriteDeadline(start.Add(300 * time.Millisecond))
				_, err := s.Write(make([]byte, 20<<20))
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Write: %v, want a timeout", err)
				}
				if d := time.Since(start); d > 310*time.Millisecond {
					t.Errorf("Write with a deadline of 300ms took %v", d)
				}
				time.Sleep(5 * time.Second) // timers come due
				t.Log("# the queue is bounded")
				for range 3000 {
					if err := s.SendOOB(make([]byte, 1000)); err != nil {
						t.Fatal(err)
					}
				}
				endpointOf(s).out.mu.Lock()
				held := endpointOf(s).out.held
				endpointOf(s).out.mu.Unlock()
				if st := s.Stats().Socket; st.LostDatagrams == 0 || held > queueMost+bufferLarge ||
					!errors.Is(st.LastError, errQueueFull) {
					t.Errorf("%d bytes wait, %d datagrams were lost, %v",
						held, st.LostDatagrams, st.LastError)
				}

				t.Log("# a timer of another session fires")
				near, far := w.pipe()
				drop := true
				deliver := near.send
				near.send = func(data []byte, to net.Addr) {
					if drop {
						drop = false
						return
					}
					deliver(data, to)
				}
				l := w.serveOver(far, false, c)
				other := w.dialOver(near, false, memAddr("b"), randomConv(), c)
				start = time.Now()
				mustWrite(t, other, []byte("x"))
				_ = l.SetDeadline(start.Add(5 * time.Second))
				peer, err := l.AcceptKCP()
				if err != nil {
					t.Fatalf("a lost packet of another session was not sent again: %v", err)
				}

				start = time.Now()
				t.Log("# Close returns")
				s.SetLinger(0)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if d := time.Since(start); d > 500*time.Millisecond {
					t.Errorf("Close took %v", d)
				}
				for _, s := range []*UDPSession{other, peer} {
					s.SetLinger(0)
					_ = s.Close()
				}
				_ = l.Close()
				if !owned {
					stuck.Close()
				}
				time.Sleep(time.Minute)
				if n := stuck.inside.Load(); n > 0 {
					t.Errorf("%d calls of WriteTo are left", n)
				}
			})
		})
	}
}

// The last packets of a session are sent before a connection that it owns is closed.
func TestOwnedConnectionClosesBehindItsLastPackets(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		near, far := w.pipe()
		l := w.serveOver(far, false, Config{})
		s := w.dialOver(&pacedConn{memConn: near, pause: 50 * time.Millisecond}, true,
			memAddr("b"), 1, Config{})
		mustWrite(t, s, []byte("x"))
		peer := w.accept(l)
		mustRead(t, peer, 1)
		time.Sleep(time.Second)
		s.SetLinger(0)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, connReset) {
			t.Errorf("the peer of a session that was aborted reads %v", err)
		}
		if _, err := near.WriteTo([]byte("x"), memAddr("b")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write to the connection that the session owned: %v, want net.ErrClosed",
				err)
		}
	})
}

// pacedConn takes a fixed time for each datagram.
type pacedConn struct {
	*memConn
	pause time.Duration
}

func (c *pacedConn) WriteTo(p []byte, to net.Addr) (int, error) {
	time.Sleep(c.pause)
	return c.memConn.WriteTo(p, to)
}

// A slow connection delays what is sent by about queueLatency. Bulk data arrives at the
// connection's rate.
func TestSlowConnectionCarriesBulkAtItsPace(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		near, far := w.pipe()
		const pause = 10 * time.Millisecond
		c := Config{
			NoDelay: true, Interval: 10 * time.Millisecond, FastResend: 2,
			NoCongestionControl: true,
			SendWindow:          1024, ReceiveWindow: 1024, StreamMode: true,
		}
		l := w.serveOver(far, false, c)
		s := w.dialOver(&pacedConn{memConn: near, pause: pause}, false, memAddr("b"),
			randomConv(), c)
		data := pattern(3<<20, 1)
		go func() { _, _ = s.Write(data) }()
		peer := w.accept(l)
		start := time.Now()
		got := make([]byte, len(data))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, data) {
			t.Fatal(err)
		}
		ideal := time.Duration(len(data)/1376) * pause
		if d := time.Since(start); d > ideal*3/2 {
			t.Errorf("%d bytes took %v, want not much more than %v", len(data), d, ideal)
		}
		st := s.Stats()
		t.Logf("took %v, ideal %v; RTT %v, lost %d",
			time.Since(start), ideal, st.SRTT, st.Socket.LostDatagrams)
	})
}
