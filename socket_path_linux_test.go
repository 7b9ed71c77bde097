// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRoutePayloadOfLoopback(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip(err)
	}
	to := netip.MustParseAddrPort("127.0.0.1:9")
	most := min(lo.MTU, 65535) // IP_MTU says no more
	if n := routePayload(to); n != most-udpHeaders4 {
		t.Errorf("%d bytes, want %d", n, most-udpHeaders4)
	}
	if n := routePayload(netip.AddrPort{}); n > lo.MTU {
		t.Errorf("%d bytes to no address", n)
	}
	if !batchTestHasIPv6() {
		return
	}
	if n := routePayload(netip.MustParseAddrPort("[::1]:9")); n != lo.MTU-udpHeaders6 {
		t.Errorf("%d bytes, want %d", n, lo.MTU-udpHeaders6)
	}
}

func TestForbiddenFragmentsAreAllowedAgain(t *testing.T) {
	conn := batchSocket(t, "127.0.0.1:0")
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		get := func() int {
			value, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
		before := get()
		undo := forbidFragments(int(fd), unix.AF_INET)
		if got := get(); got != unix.IP_PMTUDISC_PROBE {
			t.Errorf("IP_MTU_DISCOVER is %d during a probe", got)
		}
		if undo(); get() != before {
			t.Errorf("IP_MTU_DISCOVER is %d after a probe, and was %d", get(), before)
		}
	})
}

// A datagram that must stay whole has a call of its own, in its place.
func TestWholeDatagramsGoAlone(t *testing.T) {
	conn := batchSocket(t, "127.0.0.1:0")
	var calls [][]int
	c := newLinuxConn(conn, mmsgCalls{
		recv: kernelCalls.recv,
		send: func(fd uintptr, msgs []mmsghdr) (int, unix.Errno) {
			var sizes []int
			for i := range msgs {
				sizes = append(sizes, len(batchTestMessage(&msgs[i]).data))
			}
			if len(msgs) > 0 {
				calls = append(calls, sizes)
			}
			return len(msgs), 0
		},
	})
	to := batchAddr(conn)
	batch := []outgoing{
		{buf: make([]byte, 10), to: to}, {buf: make([]byte, 20), to: to},
		{buf: make([]byte, 30), to: to, whole: mustStayWhole},
		{buf: make([]byte, 40), to: to}, {buf: make([]byte, 50), to: to, whole: mustStayWhole},
	}
	if sent, lost, err := c.writeBatch(batch); sent != len(batch) || lost != 0 || err != nil {
		t.Fatalf("%d sent, %d lost, %v", sent, lost, err)
	}
	want := [][]int{{10, 20}, {30}, {40}, {50}}
	if len(calls) != len(want) {
		t.Fatalf("calls %v, want %v", calls, want)
	}
	for i := range want {
		if len(calls[i]) != len(want[i]) || calls[i][0] != want[i][0] {
			t.Errorf("calls %v, want %v", calls, want)
		}
	}
}

func TestRefusedDatagramIsMarked(t *testing.T) {
	conn := batchSocket(t, "127.0.0.1:0")
	c := newLinuxConn(conn, mmsgCalls{
		recv: kernelCalls.recv,
		send: func(fd uintptr, msgs []mmsghdr) (int, unix.Errno) {
			for i := range msgs {
				if m := batchTestMessage(&msgs[i]); m.segment > 1300 || len(m.data) > 1300 {
					if i > 0 {
						return i, 0
					}
					return -1, unix.EMSGSIZE
				}
			}
			return len(msgs), 0
		},
	})
	to := batchAddr(conn)
	batch := []outgoing{
		{buf: make([]byte, 100), to: to}, {buf: make([]byte, 4000), segment: 1400, to: to},
		{buf: make([]byte, 1500), to: to}, {buf: make([]byte, 1300), to: to},
	}
	_, lost, _ := c.writeBatch(batch)
	if lost != 4 || batch[0].refused != 0 || batch[1].refused != 1400 ||
		batch[2].refused != 1500 || batch[3].refused != 0 {
		t.Errorf("%d lost, refused: %d %d %d %d", lost, batch[0].refused, batch[1].refused,
			batch[2].refused, batch[3].refused)
	}
}

// Over real sockets the search ends at the largest size that is worth it.
func TestMTUOverLoopback(t *testing.T) {
	c := Config{StreamMode: true}
	l, err := c.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := c.Dial(context.Background(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	data := pattern(1<<20, 1)
	mustWrite(t, client, data)
	server, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	got := make([]byte, len(data))
	for i := 0; i < 200 && client.Stats().PathMTU < mtuLargest; i++ {
		if _, err := io.ReadFull(server, got); err != nil {
			t.Fatal(err)
		}
		if i < 199 {
			mustWrite(t, client, data)
		}
	}
	wantMTU(t, client, mtuLargest)
	if st := client.Stats(); st.Socket.LostDatagrams > 0 {
		t.Errorf("%d datagrams lost: %v", st.Socket.LostDatagrams, st.Socket.LastError)
	}
}
