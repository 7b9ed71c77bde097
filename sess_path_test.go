// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Every byte arrives in both directions, whatever the sockets on either side support.
func TestSessionsOverEveryKindOfPath(t *testing.T) {
	connCheckLeaks(t) // once: an aborted session stays for a second
	const gso, gro = "KCP_DISABLE_GSO", "KCP_DISABLE_GRO"
	for _, tt := range []struct {
		name           string
		address        string
		mtu            int
		client, server string // environment variable that is set when that side opens its socket
		buffers        int    // of the sockets, 0 for the default
		shards         int
	}{
		{name: "IPv4", address: "127.0.0.1:0"},
		{name: "IPv6", address: "[::1]:0"},
		{name: "MTU 576", address: "127.0.0.1:0", mtu: 576},
		{name: "MTU 1500", address: "127.0.0.1:0", mtu: 1500},
		{name: "MTU 1500 and FEC over IPv6", address: "[::1]:0", mtu: 1500, shards: 3},
		{name: "no GSO at the client", address: "127.0.0.1:0", client: gso},
		{name: "no GSO at the server", address: "127.0.0.1:0", server: gso},
		{name: "no GRO at the client", address: "127.0.0.1:0", client: gro},
		{name: "no GRO at the server", address: "127.0.0.1:0", server: gro},
		{name: "no GSO here, no GRO there", address: "127.0.0.1:0", client: gso, server: gro},
		{name: "small socket buffers", address: "127.0.0.1:0", buffers: 16 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.address[0] == '[' && !batchTestHasIPv6() {
				t.Skip("no IPv6 on this machine")
			}
			c := Config{
				MTU: tt.mtu, DataShards: tt.shards, ParityShards: tt.shards,
				StreamMode: true, NoDelay: true, NoCongestionControl: true, FastResend: 2,
			}
			t.Setenv(gso, "0")
			t.Setenv(gro, "0")
			if tt.server != "" {
				t.Setenv(tt.server, "1")
			}
			l, err := c.Listen(t.Context(), tt.address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			t.Setenv(gso, "0")
			t.Setenv(gro, "0")
			if tt.client != "" {
				t.Setenv(tt.client, "1")
			}
			s, err := c.Dial(t.Context(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if tt.buffers > 0 {
				err = errors.Join(l.SetReadBuffer(tt.buffers), l.SetWriteBuffer(tt.buffers),
					s.SetReadBuffer(tt.buffers), s.SetWriteBuffer(tt.buffers))
				if err != nil {
					t.Fatal(err)
				}
			}
			for side, st := range map[string]SocketStats{
				tt.client: s.Stats().Socket, tt.server: l.Stats().Socket,
			} {
				if side == gso && st.GSO || side == gro && st.GRO {
					t.Errorf("with %s a socket has GSO %v, GRO %v", side, st.GSO, st.GRO)
				}
			}
			mustWrite(t, s, []byte("x"))
			peer, err := l.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, s, peer, 1<<20)
			for _, s := range []*UDPSession{s, peer} {
				s.SetLinger(0)
				_ = s.Close()
			}
		})
	}
}

// Optimisations for fast paths cost slow streams nothing. Each message is a datagram, and
// acknowledgements are sent at the interval or with messages.
func TestSlowStreamsSendFewDatagrams(t *testing.T) {
	noDelay := Config{NoDelay: true, FastResend: 2, NoCongestionControl: true}
	quick := noDelay
	quick.ACKNoDelay = true
	const seconds, rate = 20, 30
	for _, tt := range []struct {
		name   string
		c      Config
		both   bool
		stream bool
		most   int // datagrams a second, both sides together
	}{
		{"default", Config{}, false, false, rate + 10},
		{"default, a stream", Config{StreamMode: true}, false, false, rate + 10},
		{"no delay", noDelay, false, false, 2 * rate},
		{"no delay, immediate ACKs", quick, false, false, 2 * rate},
		{"default, both ways", Config{}, true, false, 2*rate + 10},
		{"no delay, both ways", noDelay, true, false, 4 * rate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pairRun(t, 1, closeLink, tt.c, func(t *testing.T, n *connPair) {
				time.Sleep(time.Second)
				var datagrams atomic.Int64
				n.net.SetTap(func(time.Time, net.Addr, net.Addr, []byte) simAction {
					datagrams.Add(1)
					return simAction{}
				})
				var wg sync.WaitGroup
				talk := func(from, to *UDPSession) {
					wg.Go(func() {
						for range seconds * rate {
							if _, err := from.Write(make([]byte, 100)); err != nil {
								t.Error(err)
							}
							time.Sleep(time.Second / rate)
						}
					})
					wg.Go(func() {
						if _, err := io.ReadFull(to, make([]byte, seconds*rate*100)); err != nil {
							t.Error(err)
						}
					})
				}
				talk(n.client, n.server)
				if tt.both {
					time.Sleep(time.Second / rate / 2)
					talk(n.server, n.client)
				}
				wg.Wait()
				time.Sleep(time.Second)
				got := int(datagrams.Load())
				t.Logf("%.1f datagrams a second", float64(got)/seconds)
				if got > tt.most*seconds+2 {
					t.Errorf("%d datagrams in %d s, want at most %d a second",
						got, seconds, tt.most)
				}
				datagrams.Store(0)
				time.Sleep(time.Hour)
				if got := datagrams.Load(); got != 0 {
					t.Errorf("%d datagrams in an hour of silence, want none", got)
				}
			})
		})
	}
}
