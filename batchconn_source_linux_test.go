// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReleaseGivesTheSocketBackAsItWas(t *testing.T) {
	for _, mode := range batchBenchModes {
		t.Run(mode.name, func(t *testing.T) { releaseGivesBack(t, mode.make) })
	}
}

func releaseGivesBack(t *testing.T, open func(testing.TB, *net.UDPConn) batchConn) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", "127.0.0.1:0"} {
		if address[0] == '[' && !batchTestHasIPv6() {
			continue
		}
		conn := batchSocket(t, address)
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		options := func() (values [3]int) {
			_ = raw.Control(func(fd uintptr) {
				values[0], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO)
				values[1], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO)
				values[2], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO)
			})
			return values
		}
		before := options()
		c := open(t, conn)
		if wildcard := batchAddr(conn).Addr().IsUnspecified(); wildcard && options() == before {
			t.Errorf("%s: options %v, want others than before", address, before)
		}
		c.release()
		if got := options(); got != before {
			t.Errorf("%s: options %v after release, want %v", address, got, before)
		}
	}
}

func TestAnswerLeavesFromTheAddressThatWasAsked(t *testing.T) {
	for _, tt := range []struct{ server, asked string }{
		{"0.0.0.0:0", "127.0.0.3"},
		{"[::]:0", "127.0.0.3"},
		{"[::]:0", "::1"},
		{"127.0.0.3:0", "127.0.0.3"}, // bound to one address: there is no choice, and no report
	} {
		for _, mode := range batchBenchModes {
			t.Run(mode.name+", "+tt.server+" asked at "+tt.asked, func(t *testing.T) {
				answerLeaves(t, tt.server, tt.asked, mode.make)
			})
		}
	}
}

func answerLeaves(t *testing.T, address, to string, open func(testing.TB, *net.UDPConn) batchConn) {
	if address[0] == '[' && !batchTestHasIPv6() {
		t.Skip("no IPv6 on this machine")
	}
	sc := batchSocket(t, address)
	server := open(t, sc)
	asked := netip.AddrPortFrom(netip.MustParseAddr(to), batchAddr(sc).Port())
	// takes answers from there alone
	client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(asked))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	p := batchBuffers(server)
	n, err := server.readBatch(&p)
	if n != 1 {
		t.Fatal(err)
	}
	if want := batchAddr(sc).Addr().IsUnspecified(); p[0].local.IsValid() != want ||
		want && p[0].local != asked.Addr() {
		t.Fatalf("local address %v, want %v (reported: %v)", p[0].local, asked.Addr(), want)
	}
	answers := []outgoing{batchTestRun(0, 3, 20, 20, p[0].from),
		{buf: []byte("bye"), to: p[0].from}}
	for i := range answers {
		answers[i].local = p[0].local
	}
	if sent, lost, err := server.writeBatch(answers); sent != 4 {
		t.Fatalf("writeBatch = %d, %d, %v, want 4, 0, nil", sent, lost, err)
	}
	got, from := batchTestRead(t, newPortableConn(client), 4)
	batchTestEqual(t, got, batchTestCut(answers))
	if from != asked {
		t.Errorf("answer from %v, want %v", from, asked)
	}
}

func TestLocalAddressOfTheOtherFamilyIsIgnored(t *testing.T) {
	rc := batchSocket(t, "127.0.0.1:0")
	for _, mode := range batchBenchModes {
		writer := mode.make(t, batchSocket(t, "0.0.0.0:0"))
		p := []outgoing{{buf: []byte("x"), to: batchAddr(rc), local: netip.MustParseAddr("::1")}}
		if sent, lost, err := writer.writeBatch(p); sent != 1 || lost != 0 || err != nil {
			t.Fatalf("writeBatch = %d, %d, %v, want 1, 0, nil", sent, lost, err)
		}
	}
}

// The formats of all systems are tested on this one.
func TestSourceCodecs(t *testing.T) {
	for name, c := range map[string]sourceCodec{
		"this system": systemSource,
		"FreeBSD":     {option: 7, receive: 7, send: 7, size: 4},
		"Darwin":      {option: 26, receive: 26, send: 26, size: 12, destination: 8, sourceAt: 4},
	} {
		other := appendAncillary(nil, unix.SOL_SOCKET, 29, 16, 0, []byte("a time stamp"))
		for _, address := range []string{"192.0.2.1", "2001:db8::1", "fe80::1"} {
			source := netip.MustParseAddr(address)
			sent := c.append(nil, source)
			// What was sent, and what is received if the datagram had that destination.
			at, size := c.sourceAt, c.size
			if source.Is6() {
				at, size = 0, unix.SizeofInet6Pktinfo
			}
			if level, _, data, rest, ok := nextAncillary(sent); !ok ||
				len(rest) > 0 || len(data) != size ||
				string(data[at:at+len(source.AsSlice())]) != string(source.AsSlice()) ||
				(level == unix.IPPROTO_IP) != source.Is4() {
				t.Errorf("%s: the message for %v is % x", name, source, sent)
			}
			received := sent
			if source.Is4() {
				received = appendAncillary(nil, unix.IPPROTO_IP, c.receive, c.size,
					c.destination, source.AsSlice())
			}
			for _, b := range [][]byte{
				received,
				append(append([]byte(nil), other...), received...),
				append(received[:len(received):len(received)], other...),
			} {
				if got := c.parse(b); got != source {
					t.Errorf("%s: % x was sent to %v, want %v", name, b, got, source)
				}
			}
			for n := range received {
				c.parse(received[:n:n])
			}
		}
		for _, bad := range []string{"224.0.0.1", "0.0.0.0", "255.255.255.255", "ff02::1", "::"} {
			a := netip.MustParseAddr(bad)
			b := c.append(nil, a)
			if a.Is4() {
				b = appendAncillary(nil, unix.IPPROTO_IP, c.receive, c.size,
					c.destination, a.AsSlice())
			}
			if got := c.parse(b); got.IsValid() {
				t.Errorf("%s: an answer would be sent from %v", name, got)
			}
		}
	}
}

// A source address that no longer exists costs the portable path no datagram. If a system accepts
// no source address, the path soon stops trying.
func TestRefusedSourceIsLeftToTheKernel(t *testing.T) {
	rc := batchSocket(t, "127.0.0.1:0")
	reader := newPortableConn(rc)
	writer := newPortableConn(batchSocket(t, "0.0.0.0:0"))
	writer.chooseSources()
	send := func(source string, count int) {
		t.Helper()
		for range count {
			local := netip.MustParseAddr(source)
			p := []outgoing{{buf: []byte("x"), to: batchAddr(rc), local: local}}
			if sent, lost, err := writer.writeBatch(p); sent != 1 || lost != 0 || err != nil {
				t.Fatalf("writeBatch from %s = %d, %d, %v, want 1, 0, nil", source, sent, lost, err)
			}
		}
		_, from := batchTestRead(t, reader, count)
		if from.Addr() != netip.MustParseAddr(source) && source == "127.0.0.9" {
			t.Errorf("sent from %v, want %s", from, source)
		}
	}
	for range 3 {
		send("192.0.2.1", sourceRefusals-1) // of no socket
		send("127.0.0.9", 1)
	}
	if !writer.source.asked.Load() {
		t.Fatal("no source is chosen any more, want that the refused address alone is not")
	}
	send("192.0.2.1", sourceRefusals)
	if writer.source.asked.Load() {
		t.Errorf("%d refusals in a row, and a source is still chosen", sourceRefusals)
	}
	send("192.0.2.1", 3)
}

func TestChosenSourceAllocatesNothing(t *testing.T) {
	if batchTestRace() {
		t.Skip("the race detector makes pools forget")
	}
	for _, mode := range batchBenchModes {
		rc := batchSocket(t, "0.0.0.0:0")
		server, client := mode.make(t, rc), mode.make(t, batchSocket(t, "127.0.0.1:0"))
		asked := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.7"), batchAddr(rc).Port())
		p, in := []outgoing{{buf: make([]byte, 50), to: asked}}, batchBuffers(server)
		answer := make([]outgoing, 1)
		allocs := testing.AllocsPerRun(200, func() {
			if sent, _, err := client.writeBatch(p); sent != 1 {
				t.Fatal(err)
			}
			if n, err := server.readBatch(&in); n != 1 {
				t.Fatal(err)
			}
			answer[0] = outgoing{buf: in[0].buf[:in[0].n], to: in[0].from, local: in[0].local}
			if sent, _, err := server.writeBatch(answer); sent != 1 {
				t.Fatal(err)
			}
			if n, err := client.readBatch(&in); n != 1 || in[0].from != asked {
				t.Fatal(in[0].from, err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations an echo, want 0", mode.name, allocs)
		}
	}
}

// A dialled session accepts answers from the dialled address alone.
func TestWildcardListenerServesEachOfItsAddresses(t *testing.T) {
	for _, tt := range []struct{ listen, dial string }{
		{"0.0.0.0:0", "127.0.0.3"}, {"0.0.0.0:0", "127.0.0.1"}, {":0", "127.0.0.4"}, {":0", "::1"},
	} {
		if !batchTestHasIPv6() && (tt.listen[0] == ':' || tt.dial[0] == ':') {
			continue
		}
		l, err := ListenWithOptions(tt.listen, nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		echoListener(t, l)
		port := uint16(l.Addr().(*net.UDPAddr).Port)
		to := netip.AddrPortFrom(netip.MustParseAddr(tt.dial), port)
		s, err := DialWithOptions(to.String(), nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(10 * time.Second))
		mustWrite(t, s, []byte("hello"))
		if got := string(mustRead(t, s, 10)); got != "hello" {
			t.Errorf("%s at %s: read %q", tt.listen, tt.dial, got)
		}
		s.SetLinger(0)
		_ = s.Close()
		_ = l.Close()
	}
}
