// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
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

// On a short path a large window is not filled ahead of what leaves, but a peer whose program does not read yet does not
// hold up a Write that fits the window: two programs that write much before they read would wait for each other.
func TestLargeWindowTakesAWriteThatNobodyReads(t *testing.T) {
	connRun(t, simProfile{Delay: time.Millisecond}, func(t *testing.T, w *connWorld) {
		c := Config{StreamMode: true, NoDelay: true, NoCongestionControl: true, SendWindow: 8192, ReceiveWindow: 1500}
		a, b, _ := w.pair(c)
		want := pattern(8<<20, 9)
		for _, s := range []*UDPSession{a, b} {
			_ = s.SetWriteDeadline(time.Now().Add(time.Minute))
			if n, err := s.Write(want); err != nil {
				t.Fatalf("Write queued %d of %d bytes: %v", n, len(want), err)
			}
		}
		for _, s := range []*UDPSession{a, b} {
			got := make([]byte, len(want))
			if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("the bytes differ, error %v", err)
			}
			s.mu.Lock()
			if !s.core.flight.short() {
				t.Error("the path does not count as short: the test shows nothing")
			}
			s.mu.Unlock()
		}
		a.SetLinger(0)
		b.SetLinger(0)
		a.Close()
		b.Close()
	})
}

func TestWriteRoom(t *testing.T) {
	const mss, all, noRoom = 1376, writeMost/1376 + 1, 1 << 20
	for name, tt := range map[string]struct {
		window, peer, inFlight, limit uint32
		waiting, size                 uint32 // segments besides, and the size of each
		least                         int64
		room                          uint32
		free, share                   uint32
	}{
		"small window":              {window: 32, peer: 4000, inFlight: 32, limit: 2000, size: mss, least: 20e6, free: all - 32, share: 8},
		"something waits":           {window: 32, peer: 32, inFlight: 32, waiting: 10, size: mss, free: all - 42, share: 8},
		"all is queued":             {window: 512, peer: 32, inFlight: 32, waiting: all - 32, size: mss, free: 0, share: 128},
		"medium messages":           {window: 512, peer: 32, waiting: 4000, size: 1000, free: (writeMost-4000*1000)/mss + 1, share: 128},
		"small messages":            {window: 512, peer: 32, inFlight: 32, waiting: writeSegments - 37, size: 9, free: 5, share: 128},
		"large window":              {window: 65535, peer: 65535, inFlight: 60000, limit: 65535, size: mss, least: 20e6, free: 5535, share: 65535 / 4},
		"small window, short path":  {window: 512, peer: 4000, inFlight: 100, limit: 2000, size: mss, least: 1e6, free: 412, share: 128},
		"short path":                {window: 8192, peer: 4000, inFlight: 100, limit: 1200, size: mss, least: 1e6, free: 2300, share: 600},
		"short path, little flight": {window: 8192, peer: 4000, inFlight: 100, limit: 200, size: mss, least: 1e6, free: writeLeast - 100, share: 256},
		"peer's window is full":     {window: 8192, peer: 100, inFlight: 100, limit: 200, size: mss, least: 1e6, free: 8092, share: 2048},
		"path not known yet":        {window: 8192, peer: 4000, inFlight: 100, limit: 200, size: mss, free: 8092, share: 2048},
		"little memory":             {window: 512, peer: 32, inFlight: 32, waiting: 48, size: mss, room: 20, free: 20, share: 25},
		"no memory":                 {window: 512, peer: 32, inFlight: 2, waiting: 1, size: mss, room: noRoom, free: roomLeast - 3, share: 2},
	} {
		c := core{sndWnd: tt.window, rmtWnd: tt.peer, sendUna: 5, sendNxt: seqNum(5 + tt.inFlight), mss: mss,
			flight: flightLimit{limit: tt.limit, least: tt.least}}
		c.sendEnd = c.sendNxt + seqNum(tt.waiting)
		c.sendBytes = c.queued() * tt.size
		switch c.room = tt.room; tt.room {
		case 0:
			c.room = roomAll
		case noRoom:
			c.room = 0
		}
		if free, share := c.writeRoom(); free != tt.free || share != tt.share {
			t.Errorf("%s: room for %d, share %d, want %d and %d", name, free, share, tt.free, tt.share)
		}
	}
}
