// SPDX-License-Identifier: MIT

package kcp

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A socket that is the caller's is left alone after Close in real time too, with peers that never stop talking.
func TestCallersSocketIsLeftAloneUnderLoad(t *testing.T) {
	// A session that is aborted before it has heard of its peer leaves without a word.
	c := Config{NoDelay: true, ACKNoDelay: true, DeadTimeout: 200 * time.Millisecond}
	listener := func(t *testing.T, conn net.PacketConn, load *sync.WaitGroup, done *atomic.Bool) func() error {
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
	session := func(t *testing.T, conn net.PacketConn, load *sync.WaitGroup, done *atomic.Bool) func() error {
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
	type opener = func(t *testing.T, conn net.PacketConn, load *sync.WaitGroup, done *atomic.Bool) func() error
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
