// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// readersMost counts the concurrent calls of ReadFrom, and their maximum.
type readersMost struct {
	net.PacketConn
	inside, most atomic.Int32
}

func (c *readersMost) ReadFrom(p []byte) (int, net.Addr, error) {
	n := c.inside.Add(1)
	defer c.inside.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	return c.PacketConn.ReadFrom(p)
}

// Sessions over a connection of the caller's follow one another without a pause. Each delivers what
// was written before Close, and loses nothing to the reader of the one before.
func TestSessionsFollowOverOneConnection(t *testing.T) {
	for name, closes := range map[string]bool{"peer closes": true, "peer stays": false} {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{})
				conn := &readersMost{PacketConn: w.endpoint("10.0.0.2:7")}
				defer conn.Close()
				var last []*UDPSession
				for i := range 50 {
					s := w.dialOver(conn, false, l.Addr(), randomConv(), Config{})
					peer := w.join(s, l)
					connWrite(t, peer, "welcome")
					connWantRead(t, s, "welcome")
					connWrite(t, s, "goodbye")
					if st := s.Stats(); retransmits(st) > 0 {
						t.Errorf("session %d has sent segments again: %+v", i, st)
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					last = append(last, s, peer)
					go func() {
						buf := make([]byte, 100)
						if n, err := peer.Read(buf); string(buf[:n]) != "goodbye" {
							t.Errorf("session %d: peer reads %q, %v", i, buf[:n], err)
						}
						if n, err := peer.Read(buf); err != io.EOF {
							t.Errorf("session %d: peer reads %q, %v behind", i, buf[:n], err)
						}
						if closes {
							peer.Close()
						}
					}()
				}
				for _, s := range last[len(last)-2:] {
					s.Close()
					<-s.Done()
				}
				if n := conn.most.Load(); n > 1 {
					t.Errorf("%d have read the connection at once", n)
				}
				if n := conn.inside.Load(); n > 0 {
					t.Errorf("%d are reading after Done", n)
				}
			})
		})
	}
}

// The same over a UDP socket.
func TestSessionsFollowOverOneSocket(t *testing.T) {
	connCheckLeaks(t)
	l := echoListener(t, listenLoopback(t, nil))
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 50 {
		s, err := NewConn(l.Addr().String(), nil, 0, 0, conn)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(5 * time.Second))
		mustWrite(t, s, []byte("hello"))
		if got := string(mustRead(t, s, 100)); got != "hello" {
			t.Fatalf("session %d: got %q back", i, got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if users := usersOf(conn); len(users) > 1 {
			t.Fatalf("session %d: %d read the socket", i, len(users))
		}
	}
}

// A reader that cannot be woken passes what it reads to the session that follows.
func TestReaderThatStaysHandsOn(t *testing.T) {
	for _, refusal := range []error{nil, errors.ErrUnsupported} {
		t.Run(fmt.Sprint(refusal), func(t *testing.T) {
			connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
				near, far := w.pipe()
				var cut atomic.Bool
				deliver := far.send
				far.send = func(data []byte, to net.Addr) {
					if !cut.Load() {
						deliver(data, to)
					}
				}
				l := w.serveOver(far, false, Config{})
				for i := range 5 {
					cut.Store(false)
					s := w.dialOver(noDeadlines{near, refusal}, false, memAddr("b"),
						randomConv(), Config{})
					mustWrite(t, s, []byte("hello"))
					peer := w.accept(l)
					mustRead(t, peer, 5)
					mustWrite(t, peer, []byte("welcome"))
					mustRead(t, s, 7)
					for _, s := range []*UDPSession{s, peer} {
						if st := s.Stats(); retransmits(st) > 0 {
							t.Errorf("session %d has sent segments again: %+v", i, st)
						}
					}
					time.Sleep(time.Second)
					cut.Store(true) // nothing comes that would end the reader
					for _, s := range []*UDPSession{s, peer} {
						s.SetLinger(0)
						s.Close()
					}
					time.Sleep(10 * time.Second)
					if n := len(usersOf(noDeadlines{near, refusal})); n == 0 {
						t.Errorf("no reader has stayed after session %d", i)
					}
				}
				l.Close()
				near.Close()
				far.Close()
				synctest.Wait()
				if n := len(usersOf(noDeadlines{near, refusal})); n > 0 {
					t.Errorf("%d are listed for a connection that is closed", n)
				}
			})
		})
	}
}

// Sessions that begin over one connection at the same time share one reader. One may have the
// conversation id of another that is closed.
func TestSessionsShareOneConnection(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		conn := &readersMost{PacketConn: w.endpoint("10.0.0.2:7")}
		defer conn.Close()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				s, err := dialOver(conn, false, l.Addr(), uint32(i+1), w.options(Config{}))
				if err != nil {
					t.Error(err)
					return
				}
				connWrite(t, s, fmt.Sprint(i))
				s.Close()
			})
		}
		seen := make(map[string]bool)
		for range 20 {
			peer := w.accept(l)
			buf := make([]byte, 100)
			n, err := peer.Read(buf)
			if err != nil {
				t.Error(err)
			}
			seen[string(buf[:n])] = true
			peer.Close()
		}
		wg.Wait()
		if len(seen) != 20 {
			t.Errorf("%d of 20 sessions arrived", len(seen))
		}
		again := w.dialOver(conn, false, l.Addr(), 1, Config{})
		peer := w.join(again, l)
		connWrite(t, peer, "welcome")
		connWantRead(t, again, "welcome")
		for _, s := range []*UDPSession{again, peer} {
			s.Close()
			<-s.Done()
		}
		if most, now := conn.most.Load(), conn.inside.Load(); most > 1 || now > 0 {
			t.Errorf("%d have read the connection at once, %d read it afterwards", most, now)
		}
	})
}

// A listener over a socket joins the session that lingers there.
func TestListenerFollowsASession(t *testing.T) {
	connCheckLeaks(t)
	var conns [2]*net.UDPConn
	for i := range conns {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	far, err := ServeConn(nil, 0, 0, conns[1])
	if err != nil {
		t.Fatal(err)
	}
	echoListener(t, far)
	for i := range 10 {
		s, err := NewConn(conns[1].LocalAddr().String(), nil, 0, 0, conns[0])
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(20 * time.Second))
		mustWrite(t, s, []byte("hello"))
		mustRead(t, s, 5)
		s.Close()
		l, err := ServeConn(nil, 0, 0, conns[0])
		if err != nil {
			t.Fatal(err)
		}
		if n := len(usersOf(conns[0])); n != 1 {
			t.Fatalf("round %d: %d read the socket", i, n)
		}
		visitor := dialLoopback(t, l, nil)
		peer := acceptLoopback(t, l, visitor)
		for _, s := range []*UDPSession{visitor, peer} {
			s.SetLinger(0)
			s.Close()
		}
		l.Close()
	}
}
