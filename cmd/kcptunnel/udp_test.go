// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// serveDatagrams answers each datagram with what handle returns, until the test ends.
func serveDatagrams(t *testing.T, handle func(data []byte) []byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, datagramMax)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(handle(buf[:n]), from)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return conn.LocalAddr().String()
}

// ask sends a datagram until an answer comes, and returns that.
func ask(t *testing.T, conn net.Conn, data []byte) []byte {
	t.Helper()
	buf := make([]byte, datagramMax)
	for range 20 {
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(testTimeout / 20))
		if n, err := conn.Read(buf); err == nil {
			return buf[:n]
		}
	}
	t.Fatal("no answer")
	return nil
}

func dialUDP(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestDatagramsAreForwardedBothWays(t *testing.T) {
	noGoroutinesLeft(t)
	target := serveDatagrams(t, func(data []byte) []byte { return append([]byte("re:"), data...) })
	tun := startTunnel(t, []string{"-udp", target}, []string{"-udp", "127.0.0.1:0"})
	entry := tun.client.address(t, "datagrams")
	for i := range 3 { // three flows
		conn := dialUDP(t, entry)
		// The first goes as a message, the next as out-of-band packets, and the last one, which
		// does not fit such a packet, as a message again.
		for _, size := range []int{10, 1, 100, 1200, 20000} {
			data := noise(size, byte(i))
			if got := ask(t, conn, data); !bytes.Equal(got, append([]byte("re:"), data...)) {
				t.Errorf("flow %d: %d bytes returned as %d others", i, size, len(got))
			}
		}
	}
}

func TestFlowsAreBounded(t *testing.T) {
	target := serveDatagrams(t, func(data []byte) []byte { return data })
	tun := startTunnel(t, []string{"-udp", target}, []string{"-udp", "127.0.0.1:0", "-maxflows", "2"})
	entry := tun.client.address(t, "datagrams")
	for range 2 {
		ask(t, dialUDP(t, entry), []byte("x"))
	}
	third := dialUDP(t, entry)
	for range 10 {
		if _, err := third.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	_ = third.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := third.Read(make([]byte, 1)); err == nil {
		t.Errorf("a third flow carries %d bytes", n)
	}
}

// The server bounds the flows of all clients, and says so.
func TestServerBoundsFlows(t *testing.T) {
	target := serveDatagrams(t, func(data []byte) []byte { return data })
	tun := startTunnel(t, []string{"-udp", target, "-maxflows", "1"}, []string{"-udp", "127.0.0.1:0"})
	entry := tun.client.address(t, "datagrams")
	ask(t, dialUDP(t, entry), []byte("x"))
	if _, err := dialUDP(t, entry).Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	tun.client.log.wait(t, map[string]string{"msg": "flow", "error": statusBusy.String()})
}

func TestServerWithoutTargetOfDatagramsRefusesFlows(t *testing.T) {
	tun := startTunnel(t, nil, []string{"-udp", "127.0.0.1:0"})
	if _, err := dialUDP(t, tun.client.address(t, "datagrams")).Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	tun.client.log.wait(t, map[string]string{"msg": "flow", "error": statusForbidden.String()})
}
