// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// takeoverPair listens on addr, or on any port for "", and returns both ends of a session that have
// exchanged a message each.
func takeoverPair(t *testing.T, addr string,
	block BlockCrypt) (l *Listener, client, server *UDPSession) {
	t.Helper()
	l = takeoverListen(t, addr, block)
	client, server = takeoverDial(t, l, block)
	return l, client, server
}

func takeoverListen(t *testing.T, addr string, block BlockCrypt) *Listener {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := ListenWithOptions(addr, block, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func takeoverDial(t *testing.T, l *Listener, block BlockCrypt) (client, server *UDPSession) {
	t.Helper()
	client = dialLoopback(t, l, block)
	server = acceptLoopback(t, l, client)
	connWrite(t, server, "welcome")
	connWantRead(t, client, "welcome")
	t.Cleanup(func() {
		for _, s := range []*UDPSession{client, server} {
			s.Close()
			endpointOf(s).conn.Close() // the test does not wait for the last packets
		}
	})
	return client, server
}

func takeoverKey(t *testing.T, b byte) BlockCrypt {
	t.Helper()
	c, err := NewAESGCMCrypt(append(make([]byte, 15), b))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The port of a listener that was closed can be listened on again at once, whatever the state of
// its sessions. They live on beside the new ones.
func TestListenAgainAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(client, server *UDPSession)
		key  bool
	}{
		{"open sessions", func(_, _ *UDPSession) {}, false},
		{"open sessions under a key", func(_, _ *UDPSession) {}, true},
		{"a closed session whose client lives",
			func(_, server *UDPSession) { server.Close() }, false},
		{"a closed session whose client is gone", func(client, server *UDPSession) {
			endpointOf(client).conn.Close()
			_, _ = server.Write([]byte("never heard"))
			server.SetLinger(time.Second)
			server.Close()
		}, false},
		{"an aborted session", func(_, server *UDPSession) {
			server.SetLinger(0)
			server.Close()
		}, false},
		{"sessions that both have closed", func(client, server *UDPSession) {
			client.Close()
			server.Close()
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			connCheckLeaks(t)
			var block, same BlockCrypt
			if tt.key {
				block, same = takeoverKey(t, 1), takeoverKey(t, 1)
			}
			l, client, server := takeoverPair(t, "", block)
			for range 3 {
				t.Log("# the listener is closed and another one is opened at its address")
				tt.end(client, server)
				addr := l.Addr().String()
				l.Close()
				l = takeoverListen(t, addr, same)
				if l.Addr().String() != addr {
					t.Fatalf("the new listener is at %v, want %s", l.Addr(), addr)
				}
				t.Log("# a new session begins, and old ones continue")
				newClient, newServer := takeoverDial(t, l, same)
				if tt.name[:4] == "open" {
					connWrite(t, server, "still here")
					connWantRead(t, client, "still here")
					connWrite(t, client, "so am I")
					connWantRead(t, server, "so am I")
					if got := slices.Collect(l.Sessions()); len(got) != 1 || got[0] != newServer {
						t.Errorf("the new listener lists %d sessions, want only its own", len(got))
					}
				}
				client, server = newClient, newServer
			}
		})
	}
}

// The socket may close between the moment when its port is found in use and the look for its owner.
func TestListenAgainWhileTheSocketCloses(t *testing.T) {
	connCheckLeaks(t)
	l := takeoverListen(t, "", nil)
	for i := range 300 {
		client := dialLoopback(t, l, nil)
		server := acceptLoopback(t, l, client)
		addr := l.Addr().String()
		l.Close()
		var closing sync.WaitGroup
		closing.Go(endpointOf(server).demux.abandon)
		for range i % 10 {
			runtime.Gosched()
		}
		l = takeoverListen(t, addr, nil)
		closing.Wait()
		endpointOf(client).conn.Close()
	}
}

// A listener with another key cannot share the socket. The sessions on it end, and their peers are
// notified.
func TestListenAgainWithAnotherKey(t *testing.T) {
	connCheckLeaks(t)
	l, client, server := takeoverPair(t, "", takeoverKey(t, 1))
	addr := l.Addr().String()
	l.Close()
	l = takeoverListen(t, addr, takeoverKey(t, 2))
	takeoverDial(t, l, takeoverKey(t, 2))
	_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read of the session that lived on gave %v, want net.ErrClosed", err)
	}
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, connReset) {
		t.Errorf("Read of its peer gave %v, want ECONNRESET", err)
	}
}

// Accepted sessions survive the listener's Close, and their socket closes with the last of them.
func TestSocketClosesWithTheLastSession(t *testing.T) {
	connCheckLeaks(t)
	l, client, server := takeoverPair(t, "", nil)
	l.Close()
	connWrite(t, client, "still here")
	connWantRead(t, server, "still here")
	if c, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the port is free although a session uses it")
	}
	server.Close()
	if _, err := io.ReadAll(client); err != nil {
		t.Error(err)
	}
	client.Close()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	orphanage.Lock()
	defer orphanage.Unlock()
	if n := len(orphanage.demuxes); n != 0 {
		t.Errorf("%d sockets are still remembered", n)
	}
}

// A Transport takes over sockets as a listener does, and a listener takes over a Transport's.
func TestTransportAndListenerTakeOver(t *testing.T) {
	connCheckLeaks(t)
	l, client, server := takeoverPair(t, "", nil)
	addr := l.Addr().String()
	l.Close()
	tr, err := new(Config).OpenTransport(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, _, err = tr.ReadNonKCP(ctx, make([]byte, 10))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ReadNonKCP gave %v", err)
	}
	tr.Close()
	l = takeoverListen(t, addr, nil)
	if tr, err = new(Config).OpenTransport(context.Background(), addr); err == nil {
		tr.Close()
		t.Error("two users of one port")
	}
	takeoverDial(t, l, nil)
	connWrite(t, client, "still here")
	connWantRead(t, server, "still here")
}

// Only a socket of the same address is taken over.
func TestSameLocal(t *testing.T) {
	for _, tt := range []struct {
		has, want string
		same      bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "127.0.0.1:2", false},
		{"127.0.0.1:1", ":1", false},
		{"[::]:1", ":1", true}, {"[::]:1", "0.0.0.0:1", true}, {"[::]:1", "127.0.0.1:1", false},
		{"0.0.0.0:1", ":1", true},
		{"[fe80::1%a]:1", "[fe80::1%a]:1", true}, {"[fe80::1%a]:1", "[fe80::1%b]:1", false},
		{"[::ffff:1.2.3.4]:1", "1.2.3.4:1", true},
	} {
		has, err := net.ResolveUDPAddr("udp", tt.has)
		want, err2 := net.ResolveUDPAddr("udp", tt.want)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if got := sameLocal(has, want); got != tt.same {
			t.Errorf("sameLocal(%s, %s) = %v", tt.has, tt.want, got)
		}
	}
}
