// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// On a short path a large window is not filled ahead of what is sent. If the peer's program does
// not read yet, a Write that fits the window still returns. Two programs that write much before
// they read would otherwise wait for each other.
func TestLargeWindowTakesAWriteThatNobodyReads(t *testing.T) {
	connRun(t, simProfile{Delay: time.Millisecond}, func(t *testing.T, w *connWorld) {
		c := Config{StreamMode: true, NoDelay: true, NoCongestionControl: true,
			SendWindow: 8192, ReceiveWindow: 1500}
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
		least                         instant
		room                          uint32
		free, share                   uint32
	}{
		"small window": {window: 32, peer: 4000, inFlight: 32, limit: 2000, size: mss,
			least: 20e6, free: all - 32, share: 8},
		"something waits": {window: 32, peer: 32, inFlight: 32, waiting: 10, size: mss,
			free: all - 42, share: 8},
		"all is queued": {window: 512, peer: 32, inFlight: 32, waiting: all - 32,
			size: mss, free: 0, share: 128},
		"medium messages": {window: 512, peer: 32, waiting: 4000, size: 1000,
			free: (writeMost-4000*1000)/mss + 1, share: 128},
		"small messages": {window: 512, peer: 32, inFlight: 32,
			waiting: writeSegments - 37, size: 9, free: 5, share: 128},
		"large window": {window: 65535, peer: 65535, inFlight: 60000, limit: 65535,
			size: mss, least: 20e6, free: 5535, share: 65535 / 4},
		"small window, short path": {window: 512, peer: 4000, inFlight: 100, limit: 2000,
			size: mss, least: 1e6, free: 412, share: 128},
		"short path": {window: 8192, peer: 4000, inFlight: 100, limit: 1200,
			size: mss, least: 1e6, free: 2300, share: 600},
		"short path, little flight": {window: 8192, peer: 4000, inFlight: 100, limit: 200,
			size: mss, least: 1e6, free: writeLeast - 100, share: 256},
		"peer's window is full": {window: 8192, peer: 100, inFlight: 100, limit: 200, size: mss,
			least: 1e6, free: 8092, share: 2048},
		"path not known yet": {window: 8192, peer: 4000, inFlight: 100, limit: 200,
			size: mss, free: 8092, share: 2048},
		"little memory": {window: 512, peer: 32, inFlight: 32, waiting: 48, size: mss,
			room: 20, free: 20, share: 25},
		"no memory": {window: 512, peer: 32, inFlight: 2, waiting: 1, size: mss,
			room: noRoom, free: roomLeast - 3, share: 2},
	} {
		c := core{sender: sender{
			sndWnd: tt.window, sndLeast: uint16(tt.window), rmtWnd: tt.peer,
			sendUna: 5, sendNxt: seqNum(5 + tt.inFlight),
			mss: mss, flight: flightLimit{limit: tt.limit, least: tt.least},
		}}
		c.sendEnd = c.sendNxt + seqNum(tt.waiting)
		c.sendBytes = c.queued() * tt.size
		switch tt.room {
		case 0:
			c.memory.room = roomAll
		case noRoom:
		default:
			c.memory.room = tt.room
		}
		if free, share := c.writeRoom(); free != tt.free || share != tt.share {
			t.Errorf("%s: room for %d, share %d, want %d and %d",
				name, free, share, tt.free, tt.share)
		}
	}
}

func TestStreamWritesAreMerged(t *testing.T) {
	config := Config{StreamMode: true, WriteDelay: true}
	inSession(t, config, func(t *testing.T, client, server *UDPSession) {
		before := client.Stats()
		var want []byte
		for i := range 1000 {
			p := fmt.Appendf(nil, "%d,", i)
			mustWrite(t, client, p)
			want = append(want, p...)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("bytes arrived changed, or %v", err)
		}
		if n := client.Stats().SegmentsSent - before.SegmentsSent; n > 10 {
			t.Errorf("%d bytes in small writes left in %d segments", len(want), n)
		}
	})
}

func TestWriteBuffersWritesOneBehindTheOther(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		for _, tt := range []struct {
			v    [][]byte
			want []string
		}{
			{nil, nil},
			{[][]byte{}, nil},
			{[][]byte{nil, {}}, nil},
			{[][]byte{[]byte("a")}, []string{"a"}},
			{[][]byte{nil, []byte("one"), {}, []byte("two"), nil}, []string{"one", "two"}},
		} {
			size := 0
			for _, p := range tt.v {
				size += len(p)
			}
			if n, err := client.WriteBuffers(tt.v); n != size || err != nil {
				t.Fatalf("WriteBuffers(%q) = %d, %v, want %d", tt.v, n, err, size)
			}
			for _, want := range tt.want {
				if got := string(mustRead(t, server, 100)); got != want {
					t.Fatalf("WriteBuffers(%q): got %q, want %q", tt.v, got, want)
				}
			}
		}
		mustReadNothing(t, server)
		client.SetStreamMode(true)
		server.SetStreamMode(true)
		big := [][]byte{pattern(5000, 1), pattern(1, 2), pattern(900_000, 3)}
		go func() {
			if n, err := client.WriteBuffers(big); n != 905_001 || err != nil {
				t.Errorf("WriteBuffers = %d, %v", n, err)
			}
		}()
		got := make([]byte, 905_001)
		if _, err := io.ReadFull(server, got); err != nil ||
			!bytes.Equal(got, slices.Concat(big...)) {
			t.Fatalf("bytes arrived changed, or %v", err)
		}
	})
}

func TestWriteReturnsOnceAllIsQueued(t *testing.T) {
	config := Config{
		SendWindow: 16, FixedWindows: true, NoCongestionControl: true, ACKNoDelay: true,
	}
	inSession(t, config, func(t *testing.T, client, server *UDPSession) {
		const mss = 1400 - segmentHeaderSize
		time.Sleep(time.Second)
		start := time.Now()
		mustWrite(t, client, make([]byte, writeMost))
		if d := time.Since(start); d != 0 {
			t.Errorf("4 MiB took %v, want no time", d)
		}
		mustWrite(t, client, make([]byte, mss))
		if d := time.Since(start); d < 10*time.Millisecond || d > 20*time.Millisecond {
			t.Errorf("one segment more took %v, want a round trip of 10ms", d)
		}
		if q := client.Stats(); q.InFlight > 16 || q.InFlight+q.SendQueue > writeMost/mss+1 {
			t.Errorf("%d segments in flight, want at most 16; %d queued, want at most 4 MiB",
				q.InFlight, q.SendQueue)
		}
		go func() { _, _ = io.Copy(io.Discard, server) }()
		time.Sleep(5 * time.Second)
	})
}

// Concurrent Writes do not mix their bytes, whatever their length.
func TestConcurrentWritesKeepTheirBytesTogether(t *testing.T) {
	config := Config{StreamMode: true, SendWindow: 32}
	inSession(t, config, func(t *testing.T, client, server *UDPSession) {
		const writers, size = 8, 100_000
		for i := range writers {
			go func() {
				if n, err := client.Write(bytes.Repeat([]byte{byte('a' + i)}, size)); n != size ||
					err != nil {
					t.Errorf("Write = %d, %v", n, err)
				}
			}()
		}
		got := make([]byte, writers*size)
		if _, err := io.ReadFull(server, got); err != nil {
			t.Fatal(err)
		}
		seen := make(map[byte]bool)
		for i := 0; i < len(got); i += size {
			p := got[i : i+size]
			if !bytes.Equal(p, bytes.Repeat(p[:1], size)) || seen[p[0]] {
				t.Fatalf("the writes are mixed at byte %d", i)
			}
			seen[p[0]] = true
		}
	})
}

// hugeSize is the size of a Write that could never be queued as a whole.
func hugeSize() int {
	if strconv.IntSize == 32 {
		return 1 << 28
	}
	return 1 << 30
}

func TestHugeWriteQueuesNoMoreThanItMay(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream %v", stream), func(t *testing.T) {
			const window = 256
			const most = writeMost/(1400-segmentHeaderSize) + writeSegmentsMax
			c := Config{StreamMode: stream, SendWindow: window, ReceiveWindow: 64,
				NoCongestionControl: true}
			inSession(t, c, func(t *testing.T, client, server *UDPSession) {
				before := buffersOutstanding()
				type outcome struct {
					n   int
					err error
				}
				done := make(chan outcome)
				_ = client.SetWriteDeadline(time.Now().Add(20 * time.Second))
				huge := make([]byte, hugeSize()) // never touched beyond what is queued
				go func() {
					n, err := client.Write(huge)
					done <- outcome{n, err}
				}()
				for range 100 {
					time.Sleep(100 * time.Millisecond)
					st := client.Stats()
					if q := st.InFlight + st.SendQueue; q > most {
						t.Fatalf("%d segments queued, want at most %d: 4 MiB and one call's %d",
							q, most, writeSegmentsMax)
					}
					if r := server.Stats(); r.ReceiveQueue+r.ReceiveHoles > 2*64 {
						t.Fatalf("%d segments wait for a reader, want at most twice the window",
							r.ReceiveQueue+r.ReceiveHoles)
					}
					if n := buffersOutstanding() - before; n > most+2*64 {
						t.Fatalf("%d buffers in use", n)
					}
				}
				out := <-done
				const mss = 1400 - segmentHeaderSize
				if out.err != errTimeout || out.n > (most+2*64)*mss || out.n < writeMost {
					t.Errorf("Write = %d, %v, want some 4 MiB and a timeout", out.n, out.err)
				}
			})
		})
	}
}

func TestLargeWriteToASteadyReaderStaysInsideTheWindow(t *testing.T) {
	const window, size = 512, 16 << 20
	c := Config{StreamMode: true, SendWindow: window, ReceiveWindow: window, FixedWindows: true,
		NoCongestionControl: true, NoDelay: true, FastResend: 2}
	inSession(t, c, func(t *testing.T, client, server *UDPSession) {
		data := pattern(size, 1)
		go func() {
			if n, err := client.Write(data); n != size || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
		}()
		got := make([]byte, 0, size)
		buf := make([]byte, 1<<16)
		for len(got) < size {
			n, err := server.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
			st := client.Stats()
			if q := st.InFlight + st.SendQueue; st.InFlight > window ||
				q > writeMost/(1400-segmentHeaderSize)+writeSegmentsMax {
				t.Fatalf("%d segments queued, %d of them in flight", q, st.InFlight)
			}
		}
		if !bytes.Equal(got, data) {
			t.Fatal("bytes arrived changed")
		}
	})
}

// On a short path a Write waits at the send window, but only if the path is what delays it.
func TestShortPathTakesAWriteThatCannotLeave(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent %v", silent), func(t *testing.T) {
			connRun(t, simProfile{Delay: time.Millisecond}, func(t *testing.T, w *connWorld) {
				c := Config{SendWindow: 32, ReceiveWindow: 1024,
					NoCongestionControl: true, ACKNoDelay: true}
				client, server, _ := w.pair(c)
				go func() { _, _ = io.Copy(io.Discard, server) }()
				mustWrite(t, client, make([]byte, 100_000))
				time.Sleep(time.Second)
				if silent {
					w.setDrop(func(string, string, []byte) bool { return true })
				} else {
					client.SetRateLimit(10_000)
				}
				_ = client.SetWriteDeadline(time.Now().Add(2 * time.Second))
				mustWrite(t, client, make([]byte, writeMost))
				n, err := client.Write(make([]byte, writeMost))
				if err != errTimeout || n > writeMost/8 {
					t.Errorf("another Write = %d, %v, want a timeout with little of it taken",
						n, err)
				}
			})
		})
	}
}

func TestWriteRoomIsWhatAWriteTakes(t *testing.T) {
	for _, c := range []Config{{}, {StreamMode: true}, {SendWindow: 20_000}} {
		pairRun(t, 1, shortLink, c, func(t *testing.T, n *connPair) {
			fresh := n.dial(c) // its first segment is cut
			n.setDrop(func(string, string, []byte) bool { return true })
			for _, s := range []*UDPSession{fresh, n.client} {
				room := s.WriteRoom()
				if room < 4<<20-2*s.core.mss {
					t.Errorf("room for %d bytes, want 4 MiB", room)
				}
				for ; room > 0; room = s.WriteRoom() {
					start := time.Now()
					mustWrite(t, s, make([]byte, min(room, 1<<20+1)))
					if d := time.Since(start); d != 0 {
						t.Fatalf("a Write of %d bytes waited for %v", room, d)
					}
				}
				s.SetWriteDeadline(time.Now().Add(time.Millisecond))
				if _, err := s.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Write without room: %v", err)
				}
				s.SetWriteDeadline(time.Time{})
				s.Close()
				if room := s.WriteRoom(); room != 0 {
					t.Errorf("room for %d bytes after Close", room)
				}
			}
		})
	}
}
