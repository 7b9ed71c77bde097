// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestConfigNamesWhatIsOutOfRange(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{DataShards: 10}, "ParityShards"},
		{Config{DataShards: 10, ParityShards: -1}, "ParityShards"},
		{Config{ParityShards: 3}, "DataShards"},
		{Config{DataShards: -1, ParityShards: 3}, "DataShards"},
		{Config{DataShards: 256, ParityShards: 1}, "DataShards"},
		{Config{DataShards: 128, ParityShards: 129}, "ParityShards"},
		{Config{DataShards: math.MaxInt, ParityShards: math.MaxInt}, "DataShards"},
		{Config{DataShards: 1, ParityShards: math.MaxInt}, "ParityShards"},
		{Config{MTU: 20}, "MTU"},
		{Config{MTU: -1}, "MTU"},
		{Config{SendWindow: 65536}, "SendWindow"},
		{Config{ReceiveWindow: -1}, "ReceiveWindow"},
		{Config{FastResend: 65}, "FastResend"},
		{Config{AcceptBacklog: -1}, "AcceptBacklog"},
		{Config{MaxSessions: -1}, "MaxSessions"},
		{Config{MaxPending: -1}, "MaxPending"},
		{Config{MaxPerPrefix: -1}, "MaxPerPrefix"},
		{Config{Sockets: 257}, "Sockets"},
		{Config{Interval: 1}, "Interval"},
		{Config{Interval: -time.Second}, "Interval"},
		{Config{Interval: math.MaxInt64}, "Interval"},
		// 100 ms in 32 bits
		{Config{Interval: 1<<32*time.Millisecond + 100*time.Millisecond}, "Interval"},
		{Config{CongestionControl: "bbr"}, "CongestionControl"},
		{Config{CongestionControl: CongestionFixed}, "Bandwidth"},
		{Config{CongestionControl: CongestionFixed, Bandwidth: 999}, "Bandwidth"},
		{Config{Bandwidth: -1}, "Bandwidth"},
		{Config{Bandwidth: 4e9 + 1}, "Bandwidth"},
		{Config{KeepAlive: -1}, "KeepAlive"},
		{Config{IdleTimeout: -1}, "IdleTimeout"},
	} {
		_, dial := tt.c.Dial(context.Background(), "127.0.0.1:9")
		_, listen := tt.c.Listen(context.Background(), "127.0.0.1:0")
		for call, err := range map[string]error{"Dial": dial, "Listen": listen} {
			if !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), "Config."+tt.want) {
				t.Errorf("%s, %s: got %v, want an error that names it and matches os.ErrInvalid",
					call, tt.want, err)
			}
		}
	}
	c := Config{DataShards: 128, ParityShards: 128}
	if _, err := c.options(); err != nil {
		t.Error(err)
	}
}

// Legacy constructors take half a configuration for no FEC, and a peer without FEC understands it.
func TestConstructorsTakeHalfAConfigurationForNoFEC(t *testing.T) {
	for _, k := range [][2]int{{10, 0}, {0, 3}, {-1, 3}, {10, -1}, {0, 0}, {-5, -5}, {300, 0}} {
		l, err := ListenWithOptions("127.0.0.1:0", nil, k[0], k[1])
		if err != nil {
			t.Fatalf("ListenWithOptions with %v: %v", k, err)
		}
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		dialled, err := DialWithOptions(l.Addr().String(), nil, k[0], k[1])
		if err != nil {
			t.Fatalf("DialWithOptions with %v: %v", k, err)
		}
		over, err := NewConn(l.Addr().String(), nil, k[0], k[1], conn)
		if err != nil {
			t.Fatalf("NewConn with %v: %v", k, err)
		}
		for _, s := range []*UDPSession{dialled, over} {
			s.mu.Lock()
			if s.turns.encoder != nil || s.turns.wanted != (fecShards{}) {
				t.Errorf("%v: the session has FEC", k)
			}
			s.mu.Unlock()
			s.SetLinger(0)
			s.Close()
		}
		l.Close()
		conn.Close()
	}
	for _, k := range [][2]int{{256, 1}, {128, 129}, {1, 256}} {
		_, err := DialWithOptions("127.0.0.1:9", nil, k[0], k[1])
		if !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%v: got %v, want an error that matches os.ErrInvalid", k, err)
		}
	}
}

// The largest groups that legacy peers can make work, and recover losses.
func TestLargestGroupsOfFEC(t *testing.T) {
	for _, k := range [][3]int{{128, 128, 800}, {255, 1, 600}, {1, 255, 8}} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			c := Config{DataShards: k[0], ParityShards: k[1], StreamMode: true, NoDelay: true,
				NoCongestionControl: true}
			link := simProfile{Delay: 5 * time.Millisecond, Loss: 0.02}
			connRun(t, link, func(t *testing.T, w *connWorld) {
				client, server, _ := w.pair(c)
				want := pattern(k[2]*1376, 4)
				go func() { _, _ = client.Write(want) }()
				got := make([]byte, len(want))
				if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("the bytes differ, or %v", err)
				}
				if st := server.Stats(); k[0] == 128 && st.FECRecovered == 0 {
					t.Errorf("nothing was recovered: %+v", st)
				}
			})
		})
	}
}

// Salsa20 keys of other lengths are padded as legacy peers do.
func TestSalsa20KeysOfAnyLength(t *testing.T) {
	key := pattern(40, 1)
	seal := func(key []byte) []byte {
		block, err := NewSalsa20BlockCrypt(key)
		if err != nil || block == nil {
			t.Fatalf("a key of %d bytes: %v", len(key), err)
		}
		packet := pattern(100, 2)
		block.Encrypt(packet, packet)
		return packet
	}
	for n := range key {
		var full [32]byte
		copy(full[:], key[:n])
		if !bytes.Equal(seal(key[:n]), seal(full[:])) {
			t.Errorf("a key of %d bytes is not the same as with zeros behind it, or cut at 32", n)
		}
	}
	if bytes.Equal(seal(key[:31]), seal(key[:32])) {
		t.Error("the last byte of the key does not count")
	}
}

// Durations meant as "for ever" do not overflow.
func TestLongestDurations(t *testing.T) {
	for _, d := range []time.Duration{
		math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 2, 101 * 365 * 24 * time.Hour,
	} {
		for name, c := range map[string]Config{
			"DeadTimeout": {DeadTimeout: d},
			"KeepAlive":   {KeepAlive: d},
			"IdleTimeout": {IdleTimeout: d},
			"all":         {DeadTimeout: d, KeepAlive: d, IdleTimeout: d},
		} {
			t.Run(fmt.Sprint(name, " ", d), func(t *testing.T) {
				connRun(t, shortLink, func(t *testing.T, w *connWorld) {
					client, server, _ := w.pair(c)
					before := client.Stats().PacketsSent
					time.Sleep(24 * time.Hour)
					if n := client.Stats().PacketsSent - before; n > 2 {
						t.Errorf("%d packets were sent for nothing", n)
					}
					client.SetLinger(d)
					mustWrite(t, client, pattern(100_000, 1))
					if err := client.Close(); err != nil {
						t.Fatal(err)
					}
					if got, err := io.ReadAll(server); len(got) != 100_000 || err != nil {
						t.Errorf("%d bytes arrived, %v", len(got), err)
					}
				})
			})
		}
	}
}
