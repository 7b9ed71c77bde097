// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func listenMany(t *testing.T, addr string, n int) *Listener {
	t.Helper()
	c := Config{Sockets: n, AcceptBacklog: 1000}
	l, err := c.Listen(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestListenerOnSeveralSockets(t *testing.T) {
	connCheckLeaks(t)
	const sockets, n = 4, 100
	l := listenMany(t, "127.0.0.1:0", sockets)
	if len(l.demux.eps) != sockets {
		t.Fatalf("%d sockets, want %d", len(l.demux.eps), sockets)
	}
	var clients, servers []*UDPSession
	for i := range n {
		s, err := new(Config).Dial(context.Background(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, s)
		connWrite(t, s, fmt.Sprint(i))
	}
	used := make(map[*endpoint]int)
	for range n {
		s, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
		used[endpointOf(s)]++
		buf := make([]byte, 10)
		m, err := s.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		connWrite(t, s, string(buf[:m]))
		if s.LocalAddr().String() != l.Addr().String() {
			t.Errorf("local address %v, want the listener's %v", s.LocalAddr(), l.Addr())
		}
	}
	if len(used) < 2 {
		t.Errorf("the sessions are on %d of %d sockets", len(used), sockets)
	}
	l.Close()
	for i, s := range clients {
		connWantRead(t, s, fmt.Sprint(i))
	}
	for i := range clients {
		clients[i].SetLinger(0)
		clients[i].Close()
		servers[i].SetLinger(0)
		servers[i].Close()
	}
	for _, e := range l.demux.eps {
		<-e.done // each socket closes with the last session of all
	}
	conn, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	conn.Close()
}

func TestSocketOptionsReachEverySocket(t *testing.T) {
	connCheckLeaks(t)
	l := listenMany(t, "127.0.0.1:0", 3)
	defer l.Close()
	if err := l.SetDSCP(46); err != nil {
		t.Fatal(err)
	}
	if err := l.SetReadBuffer(100 << 10); err != nil {
		t.Fatal(err)
	}
	if err := l.SetWriteBuffer(150 << 10); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err := l.Control(func(conn net.PacketConn) error {
		seen++
		return controlSocket(conn, func(fd uintptr) error {
			for option, want := range map[int]int{
				unix.SO_RCVBUF: 200 << 10, unix.SO_SNDBUF: 300 << 10,
			} {
				if got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option); err != nil ||
					got != want {
					t.Errorf("socket %d: option %d is %d, %v; want %d",
						seen, option, got, err, want)
				}
			}
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS); err != nil ||
				got != 46<<2 {
				t.Errorf("socket %d: TOS %d, %v", seen, got, err)
			}
			return nil
		})
	})
	if err != nil || seen != 3 {
		t.Errorf("Control: %v after %d sockets", err, seen)
	}
	refuse := func(net.PacketConn) error { seen++; return syscall.EPERM }
	if err := l.Control(refuse); err != syscall.EPERM || seen != 4 {
		t.Errorf("Control did not stop at the first error: %v", err)
	}
}

// Several sockets share their port with each other and with no one else. A port in use is an error,
// and two listeners on ports chosen by the system never share one.
func TestSeveralSocketsTakeTheirPortAlone(t *testing.T) {
	connCheckLeaks(t)
	for _, host := range []string{"127.0.0.1", "", "[::1]"} {
		if host != "127.0.0.1" && !batchTestHasIPv6() {
			continue
		}
		l := listenMany(t, host+":0", 2)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		c := Config{Sockets: 2}
		if other, err := c.Listen(context.Background(), host+":"+port); err == nil {
			other.Close()
			t.Errorf("%s: a second listener on the same port", l.Addr())
		}
		if conn, err := net.ListenPacket("udp", host+":"+port); err == nil {
			conn.Close()
			t.Errorf("%s: another program's socket on the same port", l.Addr())
		}
		to := host + ":" + port
		if host == "" {
			to = "127.0.0.1:" + port
		}
		s, err := new(Config).Dial(context.Background(), to)
		if err != nil {
			t.Fatal(err)
		}
		connWrite(t, s, "hello")
		server, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		connWantRead(t, server, "hello")
		l.Close()
		s.SetLinger(0)
		s.Close()
		server.SetLinger(0)
		server.Close()
	}
}

func TestTransportOnSeveralSockets(t *testing.T) {
	connCheckLeaks(t)
	l := listenMany(t, "127.0.0.1:0", 1)
	c := Config{Sockets: 3}
	tr, err := c.OpenTransport(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[*endpoint]bool)
	for i := range 30 {
		s, err := tr.Dial(context.Background(), l.Addr(), nil)
		if err != nil {
			t.Fatal(err)
		}
		used[endpointOf(s)] = true
		connWrite(t, s, fmt.Sprint(i))
		server, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		connWantRead(t, server, fmt.Sprint(i))
		connWrite(t, server, "back")
		connWantRead(t, s, "back")
		s.SetLinger(0)
		s.Close()
		server.SetLinger(0)
		server.Close()
	}
	if len(used) != 3 {
		t.Errorf("dialled from %d sockets, want 3", len(used))
	}
	tr.Close()
	l.Close()
	for _, e := range tr.demux.eps {
		<-e.done
	}
}

// A countingConn counts the messages of one session that leave by a socket.
type countingConn struct {
	batchConn
	conv atomic.Uint32
	sent atomic.Int64
}

func (c *countingConn) writeBatch(p []outgoing) (int, int, error) {
	for i := range p {
		if binary.LittleEndian.Uint32(p[i].buf) == c.conv.Load() {
			c.sent.Add(1)
		}
	}
	return c.batchConn.writeBatch(p)
}

// A session sends by one socket, whichever of several that share the port its packets arrive on.
func TestSessionKeepsItsSocket(t *testing.T) {
	if raceDetector {
		t.Skip("the test replaces what a running reader uses")
	}
	l := listenLoopback(t, nil)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, 1))
				_, _ = c.Write(make([]byte, 300_000))
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	tr, err := (&Config{Sockets: 2}).OpenTransport(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	var sockets [2]*countingConn
	for i, e := range tr.demux.eps {
		sockets[i] = &countingConn{batchConn: e.io}
		e.io = sockets[i]
	}
	for range 4 { // they take turns
		s, err := tr.Dial(t.Context(), l.Addr().(*net.UDPAddr), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range sockets {
			c.conv.Store(s.GetConv()) // another one may still repeat its RESET
			c.sent.Store(0)
		}
		if _, err := s.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 300_000)); err != nil {
			t.Fatal(err)
		}
		for i, e := range tr.demux.eps {
			if n := sockets[i].sent.Load(); (n > 0) != (endpointOf(s) == e) {
				t.Errorf("%d datagrams of a session left by socket %d", n, i)
			}
		}
		s.SetLinger(0)
		_ = s.Close()
	}
}
