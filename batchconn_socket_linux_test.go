// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestADeadlineOfTheSocketsOwnerStarvesNobody(t *testing.T) {
	conn, peer := batchSocket(t, "127.0.0.1:0"), batchSocket(t, "127.0.0.1:0")
	c := newBatchConn(conn)
	if err := conn.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	p := []outgoing{batchTestRun(0, 3, 20, 5, batchAddr(peer))}
	if sent, lost, err := c.writeBatch(p); sent != 3 || lost != 0 || err != nil {
		t.Errorf("writeBatch past the deadline = %d, %d, %v, want 3, 0, nil", sent, lost, err)
	}
	if _, err := peer.WriteToUDPAddrPort([]byte("hello"), batchAddr(conn)); err != nil {
		t.Fatal(err)
	}
	got, _ := batchTestRead(t, c, 1)
	batchTestEqual(t, got, [][]byte{[]byte("hello")})
	if n, err := c.readBatch(newHeldBuffers(c)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("readBatch past the deadline with nothing there = %d, %v, want 0 and a timeout",
			n, err)
	}
}

func TestSwitchesInTheEnvironment(t *testing.T) {
	for _, tt := range []struct {
		value string
		off   bool
	}{{"", false}, {"0", false}, {"false", false}, {"1", true}, {"true", true}, {"yes", true}} {
		t.Setenv(envDisableGSO, tt.value)
		t.Setenv(envDisableGRO, "0")
		gso, gro := newBatchConn(batchSocket(t, "127.0.0.1:0")).features()
		if !gro {
			t.Skip("no UDP GRO in this kernel")
		}
		if gso == tt.off {
			t.Errorf("%s=%q: gso %v", envDisableGSO, tt.value, gso)
		}
		t.Setenv(envDisableGSO, "")
		t.Setenv(envDisableGRO, tt.value)
		gso, gro = newBatchConn(batchSocket(t, "127.0.0.1:0")).features()
		if !gso || gro == tt.off {
			t.Errorf("%s=%q: gso %v, gro %v", envDisableGRO, tt.value, gso, gro)
		}
	}
}

func TestRunsLeaveAndArriveInOnePiece(t *testing.T) {
	rc := batchSocket(t, "127.0.0.1:0")
	reader, writer := newBatchConn(rc), newBatchConn(batchSocket(t, "127.0.0.1:0"))
	if gso, _ := writer.features(); !gso {
		t.Skip("no UDP GSO in this kernel")
	}
	if _, gro := reader.features(); !gro {
		t.Skip("no UDP GRO in this kernel")
	}
	run := batchTestRun(0, 46, 1400, 9, batchAddr(rc))
	if sent, _, err := writer.writeBatch([]outgoing{run}); sent != 46 {
		t.Fatal(err)
	}
	p := batchBuffers(reader)
	n, err := reader.readBatch(&p)
	if n != 1 || p[0].n != len(run.buf) || p[0].segment != 1400 ||
		!bytes.Equal(p[0].buf[:p[0].n], run.buf) {
		t.Fatalf("readBatch = %d, %v: %d by %d, want one of %d by 1400",
			n, err, p[0].n, p[0].segment, len(run.buf))
	}
}

func TestPathThatTakesOnlyFragmentsGetsTheRunAllTheSame(t *testing.T) {
	if !batchTestHasIPv6() {
		t.Skip("no IPv6 on this machine")
	}
	rc, sc := batchSocket(t, "[::1]:0"), batchSocket(t, "[::1]:0")
	reader, writer := newBatchConn(rc), newLinuxConn(sc, kernelCalls)
	if writer == nil || !writer.gso.enabled() {
		t.Skip("no UDP GSO in this kernel")
	}
	if err := controlSocket(sc, func(fd uintptr) error {
		return unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU, 1280)
	}); err != nil {
		t.Skip(err)
	}
	for _, size := range []int{1400, 1200} {
		p := []outgoing{batchTestRun(0, 20, size, 9, batchAddr(rc))}
		if sent, lost, err := writer.writeBatch(p); sent != 20 || lost != 0 || err != nil {
			t.Fatalf("writeBatch = %d, %d, %v, want 20, 0, nil", sent, lost, err)
		}
		got, _ := batchTestRead(t, reader, 20)
		batchTestEqual(t, got, batchTestCut(p))
	}
	if gso, _ := writer.features(); !gso || writer.gso.segments(batchAddr(rc).Addr()) != 1 {
		t.Errorf("gso %v with %d segments to the peer, want it on but not for this peer", gso,
			writer.gso.segments(batchAddr(rc).Addr()))
	}
}

func TestSmallestSocketBufferLosesNothing(t *testing.T) {
	rc, sc := batchSocket(t, "127.0.0.1:0"), batchSocket(t, "127.0.0.1:0")
	setDefaultBuffers(rc)
	if err := sc.SetWriteBuffer(1); err != nil {
		t.Fatal(err)
	}
	reader, writer := newBatchConn(rc), newBatchConn(sc)
	p := []outgoing{batchTestRun(0, 46, 1400, 1400, batchAddr(rc)),
		{buf: []byte("x"), to: batchAddr(rc)}}
	for range 20 {
		if sent, lost, err := writer.writeBatch(p); sent != 47 || lost != 0 || err != nil {
			t.Fatalf("writeBatch = %d, %d, %v, want 47, 0, nil", sent, lost, err)
		}
		got, _ := batchTestRead(t, reader, 47)
		batchTestEqual(t, got, batchTestCut(p))
	}
}

func TestLinkLocalPeersKeepTheirZone(t *testing.T) {
	var local netip.Addr
	interfaces, _ := net.Interfaces()
	for _, ifi := range interfaces {
		addrs, _ := ifi.Addrs()
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && prefix.Addr().Is6() && prefix.Addr().IsLinkLocalUnicast() &&
				ifi.Flags&net.FlagUp != 0 {
				local = prefix.Addr().WithZone(ifi.Name)
			}
		}
	}
	if !local.IsValid() {
		t.Skip("no IPv6 link-local address on this machine")
	}
	sc := batchSocket(t, "[::]:0")
	cc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = cc.Close() }()
	_ = cc.SetReadDeadline(time.Now().Add(10 * time.Second))
	server, client := newBatchConn(sc), newBatchConn(cc)
	to := netip.AddrPortFrom(local, batchAddr(sc).Port())
	p, in := []outgoing{{buf: []byte("hello"), to: to}}, batchBuffers(server)
	ask := func() {
		if sent, _, err := client.writeBatch(p); sent != 1 {
			t.Fatal(err)
		}
		if n, err := server.readBatch(&in); n != 1 {
			t.Fatal(err)
		}
	}
	ask()
	if in[0].from != batchAddr(cc) {
		t.Fatalf("source %v, want %v", in[0].from, batchAddr(cc))
	}
	bye := []outgoing{{buf: []byte("bye"), to: in[0].from, local: in[0].local}}
	if sent, _, err := server.writeBatch(bye); sent != 1 {
		t.Fatal(err)
	}
	_, from := batchTestRead(t, client, 1)
	if from != to {
		t.Errorf("answer from %v, want %v", from, to)
	}
	if allocs := testing.AllocsPerRun(100, ask); allocs != 0 && !batchTestRace() {
		t.Errorf("%v allocations a datagram, want 0", allocs)
	}
}
