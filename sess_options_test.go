// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSetMtuBoundsEveryDatagram(t *testing.T) {
	aead, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	block, err := NewAESBlockCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"plain": {}, "FEC": {DataShards: 3, ParityShards: 2}, "AEAD and FEC": {BlockCrypt: aead,
			DataShards: 3, ParityShards: 2},
		"block cipher": {BlockCrypt: block},
	} {
		t.Run(name, func(t *testing.T) {
			c.StreamMode, c.NoCongestionControl, c.SendWindow, c.ReceiveWindow = true, true, 64, 64
			pairRun(t, 1, shortLink, c, func(t *testing.T, n *connPair) {
				var w wire
				n.net.SetTap(w.tap(n.client))
				for _, mtu := range []int{1400, 1500, 200, 90, 1473, 9000} {
					if !n.client.SetMtu(mtu) {
						t.Fatalf("SetMtu(%d) = false", mtu)
					}
					data := pattern(50_000, uint64(mtu))
					go func() {
						if _, err := n.client.Write(data); err != nil {
							t.Error(err)
						}
					}()
					got := make([]byte, len(data))
					if _, err := io.ReadFull(n.server, got); err != nil || !bytes.Equal(got, data) {
						t.Fatalf("MTU %d: bytes arrived changed, or %v", mtu, err)
					}
					time.Sleep(time.Second)
					largest := 0
					for _, size := range w.take() {
						largest = max(largest, size)
					}
					if want := min(mtu, 1500); largest != want {
						t.Errorf("MTU %d: the largest datagram has %d bytes, want %d",
							mtu, largest, want)
					}
				}
				least := n.client.overheadLocked() + segmentHeaderSize
				for _, mtu := range []int{-1, 0, 24, least} {
					if n.client.SetMtu(mtu) {
						t.Errorf("SetMtu(%d) = true, though nothing is left for data", mtu)
					}
				}
				if n.client.mtu != 1500 {
					t.Errorf("SetMtu that failed left an MTU of %d", n.client.mtu)
				}
			})
		})
	}
}

func TestSetMtuUnderTraffic(t *testing.T) {
	for _, stream := range []bool{false, true} {
		p := simProfile{Delay: 5 * time.Millisecond, Loss: 0.05}
		config := Config{
			StreamMode: stream, NoDelay: true, FastResend: 2, NoCongestionControl: true,
		}
		pairRun(t, 1, p, config, func(t *testing.T, n *connPair) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range 200 {
					n.client.SetMtu([]int{1400, 100, 576, 1500, 61}[i%5])
					time.Sleep(7 * time.Millisecond)
				}
				n.client.SetMtu(1400)
			}()
			n.move(t, pattern(1<<20, 5))
			<-done
		})
	}
}

func TestSetWindowSizeLetsABlockedWriteGoOn(t *testing.T) {
	config := Config{SendWindow: 4, ReceiveWindow: 1024, NoCongestionControl: true}
	inSession(t, config, func(t *testing.T, client, server *UDPSession) {
		time.Sleep(time.Second)
		start := time.Now()
		go func() {
			time.Sleep(time.Millisecond)
			client.SetWindowSize(4000, 0)
		}()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		mustWrite(t, client, make([]byte, 3500*1376))
		if d := time.Since(start); d != time.Millisecond {
			t.Errorf("Write returned after %v, want 1ms: when the window was large enough", d)
		}
		time.Sleep(time.Second)
		client.SetWindowSize(1, 0)
		time.Sleep(time.Second)
		if st := client.Stats(); st.InFlight+st.SendQueue != 0 || st.SendWindow != 1 ||
			st.ReceiveWindow != 1024 {
			t.Errorf("after the window shrank: %+v", st)
		}
		client.SetWindowSize(1<<20, -1)
		if st := client.Stats(); st.SendWindow != 65535 || st.ReceiveWindow != 1024 {
			t.Errorf("windows are %d and %d, want 65535 and 1024", st.SendWindow, st.ReceiveWindow)
		}
	})
}

func TestLargerReceiveWindowIsToldAtOnce(t *testing.T) {
	config := Config{SendWindow: 512, ReceiveWindow: 8, NoCongestionControl: true}
	inSession(t, config, func(t *testing.T, client, server *UDPSession) {
		go func() {
			_, _ = client.Write(make([]byte, 500*1376))
		}()
		time.Sleep(10 * time.Second)
		if st := server.Stats(); st.ReceiveQueue < 8 {
			t.Fatalf("%d segments wait for Read, want the window full", st.ReceiveQueue)
		}
		server.SetWindowSize(0, 256)
		time.Sleep(60 * time.Millisecond) // some round trips, in which what is in flight doubles
		if st := server.Stats(); st.ReceiveQueue < 100 {
			t.Errorf("60ms after the window grew %d segments have come, want more", st.ReceiveQueue)
		}
		client.SetLinger(0)
		_ = client.Close()
	})
}

func TestSetNoDelayTakesWhatIsInRange(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		for _, tt := range []struct {
			noDelay, interval, resend, nc int
			want                          string
		}{
			{1, 20, 2, 1, "true 30 20 2 true"},
			{-1, -1, -1, -1, "true 30 20 2 true"},
			{0, -1, -1, -1, "false 100 20 2 true"},
			{-1, 1, -1, -1, "false 100 10 2 true"},
			{-1, 1 << 30, -1, -1, "false 100 5000 2 true"},
			{-1, 40, 1 << 30, 0, "false 100 40 64 false"},
			{2, 10, 0, 2, "true 30 10 0 false"},
		} {
			client.SetNoDelay(tt.noDelay, tt.interval, tt.resend, tt.nc)
			c := &client.core
			got := fmt.Sprint(c.noDelay(), c.minRTO, c.interval, len(c.topOrders),
				c.kind == controlAggressive)
			if got != tt.want {
				t.Errorf("SetNoDelay(%d, %d, %d, %d) gives %s, want %s",
					tt.noDelay, tt.interval, tt.resend, tt.nc, got, tt.want)
			}
		}
	})
}

func TestSetDUPSendsEachDatagramAgain(t *testing.T) {
	config := Config{DataShards: 2, ParityShards: 1}
	pairRun(t, 1, shortLink, config, func(t *testing.T, n *connPair) {
		seen := make(map[string]int)
		local := n.client.LocalAddr().String()
		var mu sync.Mutex
		n.net.SetTap(func(_ time.Time, from, _ net.Addr, payload []byte) simAction {
			if from.String() == local {
				mu.Lock()
				defer mu.Unlock()
				seen[string(payload)]++
			}
			return simAction{}
		})
		for _, tt := range []struct{ dup, want int }{{2, 3}, {0, 1}, {-3, 1}, {1000, 17}} {
			time.Sleep(time.Second)
			mu.Lock()
			clear(seen)
			mu.Unlock()
			before := n.client.Stats()
			n.client.SetDUP(tt.dup)
			mustWrite(t, n.client, []byte("again and again"))
			time.Sleep(time.Second)
			n.client.SetDUP(0)
			if got := string(mustRead(t, n.server, 100)); got != "again and again" {
				t.Errorf("read %q", got)
			}
			mu.Lock()
			for p, count := range seen {
				if count != tt.want {
					t.Errorf("SetDUP(%d): a datagram of %d bytes left %d times, want %d",
						tt.dup, len(p), count, tt.want)
				}
			}
			sent := uint64(len(seen) * tt.want)
			mu.Unlock()
			if d := n.client.Stats().PacketsSent - before.PacketsSent; sent == 0 || d != sent {
				t.Errorf("SetDUP(%d): counted %d datagrams, want %d", tt.dup, d, sent)
			}
		}
		mustReadNothing(t, n.server)
	})
}

func TestSetRateLimitSlowsAWriter(t *testing.T) {
	c := Config{StreamMode: true, NoCongestionControl: true}
	inSession(t, c, func(t *testing.T, client, server *UDPSession) {
		send := func(size int) time.Duration {
			start := time.Now()
			go func() { _, _ = client.Write(make([]byte, size)) }()
			if _, err := io.ReadFull(server, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		client.SetRateLimit(500_000)
		if d := send(1_000_000); d < 1900*time.Millisecond || d > 2200*time.Millisecond {
			t.Errorf("1 MB at 500 kB/s took %v, want 2s", d)
		}
		client.SetRateLimit(0)
		if d := send(1_000_000); d > time.Second {
			t.Errorf("1 MB without a limit took %v", d)
		}
		t.Log("# without a limit, what waits is sent at once")
		client.SetRateLimit(1000)
		go func() {
			time.Sleep(time.Second)
			client.SetRateLimit(0)
		}()
		if d := send(200_000); d < time.Second || d > 2*time.Second {
			t.Errorf("with a limit lifted after 1s it took %v", d)
		}
	})
}

func TestDelaysOfASession(t *testing.T) {
	config := Config{Interval: 50 * time.Millisecond}
	inSession(t, config, func(t *testing.T, client, server *UDPSession) {
		roundTrip := func() time.Duration {
			time.Sleep(time.Second)
			start := time.Now()
			mustWrite(t, client, []byte("x"))
			for {
				// A snapshot of one moment: a segment that leaves the queue must not be missed.
				if st := client.Stats(); st.InFlight+st.SendQueue == 0 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			mustRead(t, server, 1)
			return time.Since(start).Round(5 * time.Millisecond)
		}
		if d := roundTrip(); d != 60*time.Millisecond {
			t.Errorf("acknowledged after %v, want a round trip of 10ms and the interval of 50ms", d)
		}
		server.SetACKNoDelay(true)
		if d := roundTrip(); d != 10*time.Millisecond {
			t.Errorf("with SetACKNoDelay acknowledged after %v, want a round trip of 10ms", d)
		}
		client.SetWriteDelay(true)
		if d := roundTrip(); d != 60*time.Millisecond {
			t.Errorf("with SetWriteDelay acknowledged after %v, want 50ms and a round trip",
				d)
		}
		client.SetWriteDelay(false)
		if d := roundTrip(); d != 10*time.Millisecond {
			t.Errorf("without it acknowledged after %v, want 10ms", d)
		}
	})
}

func TestSocketOptionsBelongToWhoOwnsTheSocket(t *testing.T) {
	l, dialled, accepted := pairLoopback(t)
	own, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	lent, err := NewConn2(l.Addr(), nil, 0, 0, own)
	if err != nil {
		t.Fatal(err)
	}
	near, _ := newMemPipe()
	defer near.Close()
	custom, err := NewConn2(memAddr("b"), nil, 0, 0, near)
	if err != nil {
		t.Fatal(err)
	}
	type owner interface {
		SetDSCP(int) error
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
		Control(func(net.PacketConn) error) error
	}
	broken := errors.New("broken")
	for _, tt := range []struct {
		name             string
		s                owner
		options, control bool
	}{
		{"a dialled session", dialled, true, true},
		{"a listener", l, true, true},
		{"an accepted session", accepted, false, false},
		{"a session on a lent socket", lent, true, false},
		{"a session on a connection without options", custom, false, false},
	} {
		for call, err := range map[string]error{
			"SetDSCP":        tt.s.SetDSCP(46),
			"SetReadBuffer":  tt.s.SetReadBuffer(100_000),
			"SetWriteBuffer": tt.s.SetWriteBuffer(100_000),
		} {
			if tt.options && err != nil || !tt.options && !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s of %s: %v", call, tt.name, err)
			}
		}
		called := false
		err := tt.s.Control(func(conn net.PacketConn) error {
			called = conn != nil
			return broken
		})
		if called != tt.control || tt.control && err != broken ||
			!tt.control && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Control of %s: %v, called %v", tt.name, err, called)
		}
	}
	for _, bad := range []int{-1, 64} {
		if err := dialled.SetDSCP(bad); err == nil ||
			!strings.Contains(err.Error(), fmt.Sprint(bad)) {
			t.Errorf("SetDSCP(%d): %v, want an error that names it", bad, err)
		}
	}
	for _, s := range []*UDPSession{dialled, accepted, lent, custom} {
		s.SetLinger(0)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := dialled.SetReadBuffer(100_000); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetReadBuffer of a closed session: %v, want net.ErrClosed", err)
	}
}

// Sessions of the functions without a Config begin with windows of 32 segments.
func TestWindowsOfASessionGrow(t *testing.T) {
	link := simProfile{Delay: 50 * time.Millisecond, Rate: 20e6 / 8, Queue: 250_000}
	for _, fixed := range []bool{false, true} {
		c := Config{StreamMode: true, SendWindow: 32, ReceiveWindow: 32, FixedWindows: fixed}
		pairRun(t, 1, link, c, func(t *testing.T, n *connPair) {
			const size = 4 << 20
			took := n.move(t, pattern(size, 1))
			snd, rcv := n.client.Stats().SendWindow, n.server.Stats().ReceiveWindow
			t.Logf("fixed %v: %v, windows of %d and %d", fixed, took, snd, rcv)
			switch {
			case fixed && (snd != 32 || rcv != 32 || took < 8*time.Second):
				t.Errorf("%v with fixed windows, which are %d and %d", took, snd, rcv)
			case !fixed && (snd < 200 || rcv < 200 || took > 4*time.Second):
				t.Errorf("%v with windows that grow, which are %d and %d", took, snd, rcv)
			}
		})
	}
}
