// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/things-go/go-socks5"
	"github.com/things-go/go-socks5/statute"
)

// socksRequest sends a request to a SOCKS server, and returns its reply.
func socksRequest(t *testing.T, conn net.Conn, command byte, addr string) statute.Reply {
	t.Helper()
	to, err := statute.ParseAddrSpec(addr)
	if err != nil {
		t.Fatal(err)
	}
	request := statute.Request{Version: 5, Command: command, DstAddr: to}
	if _, err := conn.Write(append([]byte{5, 1, 0}, request.Bytes()...)); err != nil {
		t.Fatal(err)
	}
	method := make([]byte, 2)
	if _, err := io.ReadFull(conn, method); err != nil || !bytes.Equal(method, []byte{5, 0}) {
		t.Fatalf("method %x, %v", method, err)
	}
	reply, err := statute.ParseReply(conn)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// startSocks runs a tunnel whose server allows the loopback address, and returns the entry.
func startSocks(t *testing.T, serverArgs ...string) (entry string, tun *tunnel) {
	t.Helper()
	tun = startTunnel(t, serverArgs, []string{"-socks", "127.0.0.1:0"})
	return tun.client.address(t, "socks"), tun
}

func TestSocksConnect(t *testing.T) {
	noGoroutinesLeft(t)
	data := noise(1<<20, 3)
	_, port, _ := net.SplitHostPort(serveTCP(t, echoConn))
	entry, _ := startSocks(t, "-allow", "127.0.0.0/8,::1")
	for _, host := range []string{"127.0.0.1", "localhost"} {
		conn := connect(t, entry)
		if r := socksRequest(t, conn, statute.CommandConnect, net.JoinHostPort(host, port)); r.Response != 0 {
			t.Fatalf("%s: reply %d", host, r.Response)
		}
		if got := roundTrip(t, conn, data); !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes of %d", host, len(got), len(data))
		}
	}
}

func TestSocksRepliesWithWhatTheServerSays(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	entry, _ := startSocks(t, "-allow", "127.0.0.1,*.example.com")
	for addr, want := range map[string]uint8{
		closed:             statute.RepConnectionRefused,
		"127.0.0.2:80":     statute.RepRuleFailure,
		"10.0.0.1:80":      statute.RepRuleFailure,
		"[::1]:80":         statute.RepRuleFailure,
		"8.8.8.8:53":       statute.RepRuleFailure,
		"a/b.example.com:": statute.RepAddrTypeNotSupported,
	} {
		if addr == "a/b.example.com:" {
			addr = "a/b.example.com:80"
		}
		if got := socksRequest(t, connect(t, entry), statute.CommandConnect, addr).Response; got != want {
			t.Errorf("%s: reply %d, want %d", addr, got, want)
		}
	}
	if got := socksRequest(t, connect(t, entry), statute.CommandBind, "127.0.0.1:80").Response; got !=
		statute.RepCommandNotSupported {
		t.Errorf("BIND: reply %d", got)
	}
}

// Without -allow a client reaches the target alone.
func TestServerAllowsNoDestinationByDefault(t *testing.T) {
	entry, tun := startSocks(t)
	if got := socksRequest(t, connect(t, entry), statute.CommandConnect, "8.8.8.8:53").Response; got !=
		statute.RepRuleFailure {
		t.Errorf("reply %d", got)
	}
	tun.server.log.wait(t, map[string]string{"status": statusForbidden.String()})
}

func TestSocksCarriesAReset(t *testing.T) {
	target := serveTCP(t, func(conn *net.TCPConn) {
		_, _ = io.ReadFull(conn, make([]byte, 1))
		_ = conn.SetLinger(0)
	})
	entry, _ := startSocks(t, "-allow", "127.0.0.1")
	conn := connect(t, entry)
	socksRequest(t, conn, statute.CommandConnect, target)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestSocksUDPAssociate(t *testing.T) {
	noGoroutinesLeft(t)
	var targets []string
	for _, name := range []string{"a", "b"} {
		targets = append(targets, serveDatagrams(t, func(data []byte) []byte { return append([]byte(name), data...) }))
	}
	entry, tun := startSocks(t, "-allow", "127.0.0.1")
	control := connect(t, entry)
	reply := socksRequest(t, control, statute.CommandAssociate, "0.0.0.0:0")
	if reply.Response != 0 {
		t.Fatalf("reply %d", reply.Response)
	}
	conn := dialUDP(t, reply.BndAddr.String())
	for i, target := range targets {
		d, err := statute.NewDatagram(target, []byte("question"))
		if err != nil {
			t.Fatal(err)
		}
		// A fragment is dropped.
		fragment := bytes.Clone(d.Bytes())
		fragment[2] = 1
		_, _ = conn.Write(fragment)
		got, err := statute.ParseDatagram(ask(t, conn, d.Bytes()))
		if err != nil || got.DstAddr.String() != target || string(got.Data) != string("ab"[i])+"question" {
			t.Errorf("%q from %s, %v", got.Data, got.DstAddr.String(), err)
		}
	}
	// Another source is not the program's.
	other := dialUDP(t, reply.BndAddr.String())
	d, _ := statute.NewDatagram(targets[0], []byte("other"))
	_, _ = other.Write(d.Bytes())
	if got, err := statute.ParseDatagram(ask(t, conn, d.Bytes())); err != nil || string(got.Data) != "aother" {
		t.Errorf("%q, %v", got.Data, err)
	}
	_ = control.Close()
	tun.server.log.wait(t, map[string]string{"msg": "flow closed"})
}

// What a program sends to the SOCKS port without a request, or as garbage, ends its connection.
func TestSocksRefusesOtherProtocols(t *testing.T) {
	entry, _ := startSocks(t)
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "\x05\x01\x02"} {
		conn := connect(t, entry)
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		_ = conn.(halfCloser).CloseWrite()
		answer, _ := io.ReadAll(conn)
		if len(answer) > 2 {
			t.Errorf("%q was answered with %q", text, answer)
		}
	}
}

// A datagram of a program whose header says more than it has does no harm.
func FuzzAssociationDatagram(f *testing.F) {
	d, _ := statute.NewDatagram("example.com:53", []byte("x"))
	f.Add(d.Bytes())
	f.Add([]byte{0, 0, 0, 3, 255, 'a', 'b', 'c', 'd', 'e', 'f'})
	f.Add(binary.BigEndian.AppendUint32(nil, 4))
	from := netip.MustParseAddrPort("127.0.0.1:1")
	f.Fuzz(func(t *testing.T, data []byte) {
		a := &association{program: from.Addr()}
		if d, ok := a.accept(data, from); ok {
			_, _ = newAddressRequest(kindUDPAddress, d.DstAddr.String())
			if h := d.Header(); len(h) > len(data) {
				t.Errorf("%x: a header of %d bytes", data, len(h))
			}
		}
	})
}

// The time for the request does not count once it has come: a program learns also that a
// destination does not answer.
func TestSocksReplyHasNoDeadlineOfTheRequest(t *testing.T) {
	o := &ownOptions{remote: ports{host: "127.0.0.1", min: 1, max: 1}}
	client := newOwnClient(o, slog.New(slog.DiscardHandler), newMeters())
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	s := newSocksServer(t.Context(), client, new(flowLimiter), func() *ownOptions { return o },
		slog.New(slog.DiscardHandler))
	entry := serveTCP(t, func(conn *net.TCPConn) {
		_ = conn.SetDeadline(time.Unix(1, 0))
		to := &statute.AddrSpec{FQDN: "example.com", Port: 80, AddrType: statute.ATYPDomain}
		if err := s.connect(t.Context(), conn, &socks5.Request{RawDestAddr: to, Reader: conn}); err == nil {
			t.Error("a closed client connects")
		}
	})
	if r, err := statute.ParseReply(connect(t, entry)); err != nil || r.Response != statute.RepServerFailure {
		t.Errorf("reply %d, %v", r.Response, err)
	}
}
