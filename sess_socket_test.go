// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A caller's socket is released once what was opened over it has been closed. It is not read, it
// has no deadline, and datagrams that arrive are the caller's.
func TestCallersSocketIsLeftAlone(t *testing.T) {
	type opener = func(t *testing.T, w *connWorld, conn net.PacketConn, peer net.Addr) io.Closer
	tests := map[string]opener{
		"listener without sessions": func(t *testing.T, w *connWorld, conn net.PacketConn,
			_ net.Addr) io.Closer {
			l := w.serveOver(conn, false, Config{})
			return l
		},
		"listener with a session that waits": func(t *testing.T, w *connWorld, conn net.PacketConn,
			_ net.Addr) io.Closer {
			l := w.serveOver(conn, false, Config{})
			connWrite(t, w.dial(Config{}), "let me in")
			time.Sleep(time.Second)
			return l
		},
		"listener whose sessions have ended": func(t *testing.T, w *connWorld, conn net.PacketConn,
			_ net.Addr) io.Closer {
			l := w.serveOver(conn, false, Config{})
			client := w.dial(Config{})
			server := w.join(client, l)
			client.Close()
			server.Close()
			time.Sleep(time.Second)
			return l
		},
		"Transport with a listener and a session": func(t *testing.T, w *connWorld,
			conn net.PacketConn, peer net.Addr) io.Closer {
			tr := w.transport(conn, Config{})
			if _, err := tr.Listen(nil); err != nil {
				t.Fatal(err)
			}
			s, err := tr.Dial(context.Background(), peer, nil)
			if err != nil {
				t.Fatal(err)
			}
			connWrite(t, s, "never to be answered")
			s.SetLinger(0)
			s.Close()
			return tr
		},
		"session that sent nothing": func(t *testing.T, w *connWorld, conn net.PacketConn,
			peer net.Addr) io.Closer {
			s := w.dialOver(conn, false, peer, 7, Config{})
			return s
		},
		"session that is aborted": func(t *testing.T, w *connWorld, conn net.PacketConn,
			peer net.Addr) io.Closer {
			s := w.dialOver(conn, false, peer, 7, Config{})
			connWrite(t, s, "never to be answered")
			time.Sleep(time.Second)
			s.SetLinger(0)
			return s
		},
	}
	for name, open := range tests {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				conn := &restartReads{PacketConn: w.endpoint(connServerAddr)}
				other := w.endpoint("10.0.0.7:7")
				t.Log("# something is opened over the socket and closed")
				c := open(t, w, conn, other.LocalAddr())
				time.Sleep(time.Millisecond)
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				conn.stopped.Store(true)
				if n := conn.inside.Load(); n > 0 || conn.reads.Load() == 0 {
					t.Fatalf("%d are reading after Close, %d did before", n, conn.reads.Load())
				}
				t.Log("# the caller reads the next datagram")
				_, _ = other.WriteTo([]byte("for the caller"), conn.LocalAddr())
				time.Sleep(time.Hour) // no deadline is left behind
				buf := make([]byte, 2000)
				for {
					n, from, err := conn.PacketConn.ReadFrom(buf)
					if err != nil {
						t.Fatalf("the caller reads: %v", err)
					}
					if from.String() == other.LocalAddr().String() {
						if string(buf[:n]) != "for the caller" {
							t.Errorf("the caller got %q", buf[:n])
						}
						break
					}
				}
				if conn.broken.Load() {
					t.Error("the socket was read after Close")
				}
				_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				if _, _, err := conn.PacketConn.ReadFrom(buf); err == nil ||
					!errors.Is(err, os.ErrDeadlineExceeded) {
					t.Logf("another datagram: %v", err)
				}
				conn.Close()
			})
		})
	}
}

// A caller's socket is released after Close in real time too, with peers that never stop sending.
func TestCallersSocketIsLeftAloneUnderLoad(t *testing.T) {
	// A session that is aborted before it has heard from its peer sends nothing at its end.
	c := Config{NoDelay: true, ACKNoDelay: true, DeadTimeout: 200 * time.Millisecond}
	listener := func(t *testing.T, conn net.PacketConn, load *sync.WaitGroup,
		done *atomic.Bool) func() error {
		l, err := c.Serve(conn)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			load.Go(func() {
				for !done.Load() {
					s, err := c.Dial(t.Context(), conn.LocalAddr().String())
					if err != nil {
						t.Error(err)
						return
					}
					s.SetLinger(0)
					_ = s.SetWriteDeadline(time.Now().Add(2 * time.Millisecond))
					_, _ = s.Write(make([]byte, 20_000))
					s.Close()
				}
			})
		}
		return l.Close
	}
	session := func(t *testing.T, conn net.PacketConn, load *sync.WaitGroup,
		done *atomic.Bool) func() error {
		l, err := c.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Client(conn, l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		s.SetLinger(0)
		load.Go(func() { _, _ = s.Write(make([]byte, 10<<20)) })
		load.Go(func() {
			defer l.Close()
			_ = l.SetDeadline(time.Now().Add(time.Second))
			peer, err := l.AcceptKCP()
			if err != nil {
				return // the session was closed before its first packet came
			}
			defer peer.Close()
			peer.SetLinger(0)
			load.Go(func() { _, _ = peer.Write(make([]byte, 10<<20)) })
			_, _ = io.Copy(io.Discard, peer)
		})
		return s.Close
	}
	type opener = func(t *testing.T, conn net.PacketConn, load *sync.WaitGroup,
		done *atomic.Bool) func() error
	for name, open := range map[string]opener{"listener": listener, "session": session} {
		t.Run(name, func(t *testing.T) {
			connCheckLeaks(t)
			for i := range 10 {
				socket, err := net.ListenPacket("udp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				conn := &restartReads{PacketConn: socket}
				var load sync.WaitGroup
				var done atomic.Bool
				close := open(t, conn, &load, &done)
				time.Sleep(time.Duration(i%10+1) * time.Millisecond)
				if err := close(); err != nil {
					t.Error(err)
				}
				conn.stopped.Store(true)
				if n := conn.inside.Load(); n > 0 {
					t.Errorf("%d are reading after Close", n)
				}
				time.Sleep(2 * time.Millisecond)
				if conn.broken.Load() {
					t.Error("the socket was read after Close")
				}
				done.Store(true)
				load.Wait()
				socket.Close()
			}
		})
	}
}
