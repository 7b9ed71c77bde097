// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// textAddr is an address of a foreign type whose values cannot be compared.
type textAddr struct {
	text  string
	other []int
}

func (a textAddr) Network() string { return "text" }
func (a textAddr) String() string  { return a.text }

// namingConn is one end of a pipe. A function names the other end, and the destinations of writes
// are recorded.
type namingConn struct {
	*memConn
	name func() net.Addr // of the source of each datagram

	mu sync.Mutex // guards to
	to []net.Addr
}

func (c *namingConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, _, err := c.memConn.ReadFrom(p)
	if err != nil {
		return n, nil, err
	}
	return n, c.name(), nil
}

func (c *namingConn) WriteTo(p []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	c.to = append(c.to, to)
	c.mu.Unlock()
	return c.memConn.WriteTo(p, to)
}

func (c *namingConn) written() []net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.to)
}

// namingPair returns two ends with functions that name the other end.
func namingPair(w *connWorld, near, far func() net.Addr) (client, server *namingConn) {
	a, b := w.pipe()
	return &namingConn{memConn: a, name: near}, &namingConn{memConn: b, name: far}
}

func named(a net.Addr) func() net.Addr { return func() net.Addr { return a } }

// namingEcho sends a message on a session to raddr and reads the echo. It reports whether an echo
// arrived.
func namingEcho(w *connWorld, client, server *namingConn, raddr net.Addr,
	c Config) (s, a *UDPSession, ok bool) {
	w.t.Helper()
	l := w.serveOver(server, false, c)
	s = w.dialOver(client, false, raddr, randomConv(), c)
	mustWrite(w.t, s, []byte("hello"))
	a = w.accept(l)
	mustWrite(w.t, a, mustRead(w.t, a, 100))
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := s.Read(make([]byte, 100))
	return s, a, n == 5 && err == nil
}

// A dialled session accepts what arrives over a connection of its own, whatever address the
// connection reports.
func TestDialledSessionTakesAnyNameOfItsPeer(t *testing.T) {
	udp := func(text string) net.Addr {
		return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(text))
	}
	tcp := func(text string) net.Addr {
		return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text))
	}
	for _, tt := range []struct {
		name          string
		raddr, source net.Addr
	}{
		{"TCP for UDP", udp("192.0.2.1:9"), tcp("192.0.2.1:9")},
		{"UDP for TCP", tcp("192.0.2.1:9"), udp("192.0.2.1:9")},
		{"a type of its own for UDP", udp("192.0.2.1:9"), textAddr{text: "192.0.2.1:9"}},
		{"IPv6", textAddr{text: "[2001:db8::1]:9"}, udp("[2001:db8::1]:9")},
		{"a name for an address",
			textAddr{text: "server.example:9", other: []int{1}}, udp("192.0.2.1:9")},
		{"the proxy's address", udp("192.0.2.1:9"), udp("192.0.2.7:1080")},
		{"no address", udp("192.0.2.1:9"), nil},
		{"no address of a type", udp("192.0.2.1:9"), (*net.UnixAddr)(nil)},
		{"another network of the same text", &net.UnixAddr{Name: "/peer", Net: "unixgram"},
			textAddr{text: "/peer"}},
	} {
		for _, config := range []Config{{}, {DataShards: 2, ParityShards: 1}} {
			t.Run(tt.name, func(t *testing.T) {
				connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
					client, server := namingPair(w, named(tt.source), named(memAddr("client")))
					if _, _, ok := namingEcho(w, client, server, tt.raddr, config); !ok {
						t.Errorf("no echo came: dialled %v, and %v is where it is from",
							tt.raddr, tt.source)
					}
				})
			})
		}
	}
}

// A listener identifies a peer by the text of its address, whatever the type of each datagram's
// address.
func TestListenerTellsAPeerByText(t *testing.T) {
	var turn int
	names := []net.Addr{
		textAddr{text: "192.0.2.1:9"},
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:9")),
		net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:9")),
		net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::ffff:192.0.2.1]:9")),
	}
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		client, server := namingPair(w, named(memAddr("server")),
			func() net.Addr { turn++; return names[turn%len(names)] })
		s, a, ok := namingEcho(w, client, server, memAddr("server"), Config{})
		for range 10 {
			mustWrite(t, s, []byte("more"))
			if got := string(mustRead(t, a, 100)); !ok || got != "more" {
				t.Fatalf("read %q", got)
			}
		}
	})
}

// After a datagram from exactly the dialled address, other sources are refused.
func TestExactSourceShutsOthersOut(t *testing.T) {
	var other bool
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		server, stranger := memAddr("server"), memAddr("stranger")
		client, far := namingPair(w, func() net.Addr {
			if other {
				return stranger
			}
			return server
		}, named(memAddr("client")))
		s, a, ok := namingEcho(w, client, far, server, Config{})
		if !ok {
			t.Fatal("no echo came")
		}
		other = true
		mustWrite(t, a, []byte("forged"))
		_ = s.SetReadDeadline(time.Now().Add(3 * time.Second))
		if n, err := s.Read(make([]byte, 100)); err == nil {
			t.Errorf("%d bytes from another address were accepted", n)
		}
	})
}

// The connection is passed the same address values that the program and the connection supplied.
// RemoteAddr returns them too.
func TestAddressObjectsAreHandedOn(t *testing.T) {
	for name, addrs := range map[string][2]net.Addr{ // of the server, and of the client
		"UDP": {net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:9")),
			net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:9"))},
		"TCP": {net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:9")),
			net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:9"))},
		"unix": {&net.UnixAddr{Name: "/server", Net: "unixgram"},
			&net.UnixAddr{Name: "/client", Net: "unixgram"}},
		"own type": {&textAddr{text: "192.0.2.1:9"}, &textAddr{text: ""}},
	} {
		t.Run(name, func(t *testing.T) {
			connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
				client, server := namingPair(w, named(addrs[0]), named(addrs[1]))
				s, a, ok := namingEcho(w, client, server, addrs[0], Config{})
				if !ok {
					t.Fatal("no echo came")
				}
				if err := s.SendOOB([]byte("x")); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				for i, c := range []*namingConn{client, server} {
					if got := c.written(); len(got) == 0 ||
						slices.ContainsFunc(got, func(a net.Addr) bool { return a != addrs[i] }) {
						t.Errorf("WriteTo got %p, want %p alone", got, addrs[i])
					}
				}
				for i, s := range []*UDPSession{s, a} {
					for range 2 {
						if got := s.RemoteAddr(); got != addrs[i] {
							t.Errorf("RemoteAddr returns %p, want %p", got, addrs[i])
						}
					}
				}
			})
		})
	}
}

// Sessions over the library's own sockets build their address value once.
func TestRemoteAddrIsTheSameValueOnEveryCall(t *testing.T) {
	_, client, server := pairLoopback(t)
	for _, s := range []*UDPSession{client, server} {
		first := make(chan net.Addr)
		for range 2 {
			go func() { first <- s.RemoteAddr() }()
		}
		if a, b := <-first, <-first; a != b || a != s.RemoteAddr() || a.String() == "" {
			t.Errorf("RemoteAddr returns %p, %p and %p", a, b, s.RemoteAddr())
		}
	}
}
