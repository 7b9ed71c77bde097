// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// listenLoopback listens on a port of the loopback interface until the test ends.
func listenLoopback(t testing.TB, block BlockCrypt) *Listener {
	t.Helper()
	l, err := ListenWithOptions("127.0.0.1:0", block, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// dialLoopback dials l, and closes the session when the test ends.
func dialLoopback(t testing.TB, l *Listener, block BlockCrypt) *UDPSession {
	t.Helper()
	s, err := DialWithOptions(l.Addr().String(), block, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.SetLinger(0)
		_ = s.Close()
	})
	return s
}

// acceptLoopback accepts the session that client, which has not written yet, opens with a first
// message.
func acceptLoopback(t testing.TB, l *Listener, client *UDPSession) (server *UDPSession) {
	t.Helper()
	mustWrite(t, client, []byte("hello"))
	_ = l.SetDeadline(time.Now().Add(10 * time.Second))
	server, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.SetDeadline(time.Time{})
	t.Cleanup(func() {
		server.SetLinger(0)
		_ = server.Close()
	})
	if got := string(mustRead(t, server, 100)); got != "hello" {
		t.Fatalf("the first message is %q, want hello", got)
	}
	return server
}

// pairLoopback returns a listener and both ends of a session over sockets of the loopback
// interface.
func pairLoopback(t testing.TB) (l *Listener, client, server *UDPSession) {
	t.Helper()
	l = listenLoopback(t, nil)
	client = dialLoopback(t, l, nil)
	return l, client, acceptLoopback(t, l, client)
}

// echoListener accepts sessions and echoes what they send, until the test ends.
func echoListener(t *testing.T, l *Listener) *Listener {
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
				s.SetLinger(0)
				_ = s.Close()
			}()
		}
	}()
	return l
}

// echoOnce exchanges a few messages over a session and closes it.
func echoOnce(t *testing.T, s *UDPSession) {
	t.Helper()
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	for i := range 3 {
		want := fmt.Sprintf("message %d", i)
		mustWrite(t, s, []byte(want))
		if got := string(mustRead(t, s, 100)); got != want {
			t.Fatalf("got %q back, want %q", got, want)
		}
	}
	s.SetLinger(0)
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func needIPv6(t *testing.T) {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 on this machine")
	}
	c.Close()
}

// linkLocal returns a link-local IPv6 address of this machine, without its zone, and its interface.
func linkLocal(t *testing.T) (netip.Addr, net.Interface) {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() &&
				p.Addr().IsLinkLocalUnicast() {
				return p.Addr().WithZone(""), i
			}
		}
	}
	t.Skip("no interface has a link-local IPv6 address")
	panic("unreachable")
}

func batchSocket(t testing.TB, address string) *net.UDPConn {
	t.Helper()
	local := netip.MustParseAddrPort(address)
	network := "udp" // dual-stack for the IPv6 wildcard
	if local.Addr().Is4() {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(local))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, ok := t.(*testing.T); ok {
		// a lost datagram fails a test instead of hanging it
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	return conn
}

func batchAddr(conn net.PacketConn) netip.AddrPort {
	addr, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		panic(fmt.Sprintf("%T is no UDP address", conn.LocalAddr()))
	}
	return peerAddrPort(addr)
}

func batchTestHasIPv6() bool {
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}
