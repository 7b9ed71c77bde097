// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// batchTestRun returns a run of count numbered datagrams of one size, except for the last.
func batchTestRun(first, count, size, last int, to netip.AddrPort) outgoing {
	var buf []byte
	for i := range count {
		n := size
		if i == count-1 {
			n = last
		}
		buf = append(buf, batchTestDatagram(first+i, n)...)
	}
	return outgoing{buf: buf, segment: size, to: to}
}

func batchTestDatagram(number, size int) []byte {
	d := bytes.Repeat([]byte{byte(number)}, size)
	copy(d, fmt.Sprintf("%06d", number))
	return d
}

// batchTestCut splits a batch into its datagrams.
func batchTestCut(p []outgoing) (datagrams [][]byte) {
	for _, o := range p {
		size := o.segment
		if size <= 0 || size > len(o.buf) {
			size = len(o.buf)
		}
		rest := o.buf
		for {
			n := min(size, len(rest))
			datagrams = append(datagrams, rest[:n])
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
	}
	return datagrams
}

// batchTestRead reads count datagrams from c and copies them. All must come from the same address,
// which it returns.
func batchTestRead(t *testing.T, c batchConn, count int) (datagrams [][]byte, from netip.AddrPort) {
	t.Helper()
	p := batchBuffers(c)
	for len(datagrams) < count {
		n, err := c.readBatch(&p)
		if err != nil {
			t.Fatalf("readBatch after %d of %d datagrams: %v", len(datagrams), count, err)
		}
		for _, m := range p[:n] {
			from = m.from
			if m.fromAddr != nil {
				from = newPeerAddr(m.fromAddr).udp
			}
			if m.from.IsValid() == (m.fromAddr != nil) || !from.IsValid() {
				t.Fatalf("source %v, %v, want an address and port alone", m.from, m.fromAddr)
			}
			if m.n == 0 {
				datagrams = append(datagrams, nil)
			}
			for b := m.buf[:m.n]; len(b) > 0; b = b[min(m.segment, len(b)):] {
				datagrams = append(datagrams, bytes.Clone(b[:min(m.segment, len(b))]))
			}
		}
	}
	return datagrams, from
}

func batchTestEqual(t *testing.T, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d datagrams, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("datagram %d: got %d bytes %.6q, want %d bytes %.6q",
				i, len(got[i]), got[i], len(want[i]), want[i])
		}
	}
}

func TestBatchConnCarriesEveryShapeOfBatchInOrder(t *testing.T) {
	shapes := []struct {
		name  string
		batch func(to netip.AddrPort) []outgoing
	}{
		{"one datagram", func(to netip.AddrPort) []outgoing {
			return []outgoing{{buf: batchTestDatagram(1, 100), to: to}}
		}},
		{"segment above the length", func(to netip.AddrPort) []outgoing {
			return []outgoing{{buf: batchTestDatagram(1, 100), segment: 1400, to: to}}
		}},
		{"empty datagram between others", func(to netip.AddrPort) []outgoing {
			return []outgoing{
				{buf: batchTestDatagram(1, 10), to: to}, {to: to},
				{buf: batchTestDatagram(3, 10), to: to},
			}
		}},
		{"run with a short last one", func(to netip.AddrPort) []outgoing {
			return []outgoing{batchTestRun(0, 40, 1400, 7, to)}
		}},
		{"run of equal ones", func(to netip.AddrPort) []outgoing {
			return []outgoing{batchTestRun(0, 46, 1400, 1400, to)}
		}},
		{"run of more segments than a message takes", func(to netip.AddrPort) []outgoing {
			return []outgoing{batchTestRun(0, 150, 16, 16, to)}
		}},
		{"run of more bytes than a message takes", func(to netip.AddrPort) []outgoing {
			return []outgoing{batchTestRun(0, 18, 4000, 3999, to)}
		}},
		{"more messages than a call takes", func(to netip.AddrPort) (p []outgoing) {
			for i := range 150 {
				p = append(p, outgoing{buf: batchTestDatagram(i, 20), to: to})
			}
			return p
		}},
		{"runs and single ones", func(to netip.AddrPort) []outgoing {
			return []outgoing{
				batchTestRun(0, 5, 500, 20, to), {buf: batchTestDatagram(5, 500), to: to},
				batchTestRun(6, 2, 500, 500, to),
			}
		}},
	}
	for _, mode := range batchBenchModes {
		for _, network := range []struct{ name, server, client, dial string }{
			{"IPv4", "127.0.0.1:0", "127.0.0.1:0", ""},
			{"IPv6", "[::1]:0", "[::1]:0", ""},
			{"IPv4 to dual-stack", "[::]:0", "127.0.0.1:0", "127.0.0.1"},
			{"dual-stack to IPv4", "127.0.0.1:0", "[::]:0", "127.0.0.1"},
			{"wildcard", "0.0.0.0:0", "0.0.0.0:0", "127.0.0.1"},
		} {
			t.Run(mode.name+"/"+network.name, func(t *testing.T) {
				if strings.Contains(network.server+network.client, "[") && !batchTestHasIPv6() {
					t.Skip("no IPv6 on this machine")
				}
				rc, sc := batchSocket(t, network.server), batchSocket(t, network.client)
				to := batchAddr(rc)
				if network.dial != "" {
					to = netip.AddrPortFrom(netip.MustParseAddr(network.dial), to.Port())
				}
				reader, writer := mode.make(t, rc), mode.make(t, sc)
				for _, shape := range shapes {
					p := shape.batch(to)
					want := batchTestCut(p)
					sent, lost, err := writer.writeBatch(p)
					if sent != len(want) || lost != 0 || err != nil {
						t.Fatalf("%s: writeBatch = %d, %d, %v, want %d, 0, nil",
							shape.name, sent, lost, err, len(want))
					}
					got, from := batchTestRead(t, reader, len(want))
					batchTestEqual(t, got, want)
					if from.Port() != batchAddr(sc).Port() || from.Addr().Is4In6() ||
						!from.Addr().IsLoopback() {
						t.Fatalf("%s: source %v, want the sender's, unmapped", shape.name, from)
					}
				}
			})
		}
	}
}

func TestBatchConnOnAConnectedSocket(t *testing.T) {
	for _, mode := range batchBenchModes {
		t.Run(mode.name, func(t *testing.T) {
			server := batchSocket(t, "127.0.0.1:0")
			other := batchSocket(t, "127.0.0.1:0")
			client, err := net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			writer, reader := mode.make(t, client), mode.make(t, server)
			for _, p := range [][]outgoing{
				{batchTestRun(0, 3, 50, 50, batchAddr(server))},
				{batchTestRun(3, 3, 50, 50, netip.AddrPort{})},
				{{buf: batchTestDatagram(6, 9), toAddr: server.LocalAddr()}},
			} {
				want := batchTestCut(p)
				if sent, lost, err := writer.writeBatch(p); sent != len(want) ||
					lost != 0 || err != nil {
					t.Fatalf("writeBatch = %d, %d, %v, want %d, 0, nil", sent, lost, err, len(want))
				}
				got, from := batchTestRead(t, reader, len(want))
				batchTestEqual(t, got, want)
				if from != batchAddr(client) {
					t.Fatalf("source %v, want %v", from, batchAddr(client))
				}
			}
			answer := []outgoing{{buf: batchTestDatagram(7, 9), to: batchAddr(client)}}
			if sent, _, err := reader.writeBatch(answer); sent != 1 {
				t.Fatal(err)
			}
			got, from := batchTestRead(t, writer, 1)
			batchTestEqual(t, got, batchTestCut(answer))
			if from != batchAddr(server) {
				t.Fatalf("source %v, want %v", from, batchAddr(server))
			}
			// The system decides whether another peer can be reached. The connected peer must not
			// receive the datagram.
			elsewhere := outgoing{buf: []byte("else"), to: batchAddr(other)}
			sent, lost, _ := writer.writeBatch([]outgoing{elsewhere})
			if sent+lost != 1 {
				t.Fatalf("sent %d, lost %d, want 1 in all", sent, lost)
			}
			if _, _, err := writer.writeBatch(answer[:0]); err != nil {
				t.Fatal(err)
			}
			mark := []outgoing{{buf: batchTestDatagram(8, 9), to: batchAddr(server)}}
			_, _, _ = writer.writeBatch(mark)
			got, _ = batchTestRead(t, reader, 1)
			batchTestEqual(t, got, batchTestCut(mark))
		})
	}
}

func TestBatchConnSkipsARefusedDatagramAndSendsTheRest(t *testing.T) {
	for _, mode := range batchBenchModes {
		t.Run(mode.name, func(t *testing.T) {
			rc := batchSocket(t, "127.0.0.1:0")
			reader, writer := mode.make(t, rc), mode.make(t, batchSocket(t, "127.0.0.1:0"))
			to := batchAddr(rc)
			p := []outgoing{
				{buf: batchTestDatagram(0, 9), to: to},
				// not on an IPv4 socket
				{buf: batchTestDatagram(1, 9), to: netip.MustParseAddrPort("[::1]:9")},
				{buf: batchTestDatagram(2, 9), to: to},
				{buf: batchTestDatagram(3, 9)}, // to nowhere
				batchTestRun(4, 3, 20, 5, netip.AddrPortFrom(to.Addr(), 0)),
				{buf: make([]byte, 65600), to: to}, // no datagram is as long
				batchTestRun(7, 3, 20, 5, to),
			}
			sent, lost, err := writer.writeBatch(p)
			if sent != 5 || lost != 6 || err == nil || errors.Is(err, net.ErrClosed) {
				t.Fatalf("writeBatch = %d, %d, %v, want 5, 6 and a reason", sent, lost, err)
			}
			got, _ := batchTestRead(t, reader, 5)
			batchTestEqual(t, got, batchTestCut([]outgoing{p[0], p[2], p[6]}))
		})
	}
}

func TestBatchConnEndsOnlyWithItsSocket(t *testing.T) {
	for _, mode := range batchBenchModes {
		t.Run(mode.name, func(t *testing.T) {
			conn := batchSocket(t, "127.0.0.1:0")
			c := mode.make(t, conn)
			if err := conn.SetDeadline(time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			n, err := c.readBatch(newHeldBuffers(c))
			if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				t.Fatalf("readBatch past a deadline = %d, %v, want 0 and a transient timeout",
					n, err)
			}
			_ = conn.SetDeadline(time.Time{})
			failed := make(chan error)
			go func() {
				_, err := c.readBatch(newHeldBuffers(c))
				failed <- err
			}()
			_ = conn.Close()
			if err := <-failed; !errors.Is(err, net.ErrClosed) {
				t.Fatalf("readBatch on a closed socket: %v, want net.ErrClosed", err)
			}
			run := batchTestRun(0, 3, 20, 5, batchAddr(conn))
			sent, lost, err := c.writeBatch([]outgoing{run, {to: batchAddr(conn)}})
			if sent != 0 || lost != 4 || !errors.Is(err, net.ErrClosed) {
				t.Fatalf("writeBatch on a closed socket = %d, %d, %v, want 0, 4, net.ErrClosed",
					sent, lost, err)
			}
			c.release()
		})
	}
}

func TestBatchConnWritersDoNotMixUpTheirBatches(t *testing.T) {
	const writers, rounds, run = 4, 50, 5
	for _, mode := range batchBenchModes {
		t.Run(mode.name, func(t *testing.T) {
			rc := batchSocket(t, "127.0.0.1:0")
			reader, writer := mode.make(t, rc), mode.make(t, batchSocket(t, "127.0.0.1:0"))
			// a batch under way for each, so that the socket has room for all
			turns := make(chan struct{}, writers)
			for range writers {
				turns <- struct{}{}
			}
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range rounds {
						<-turns
						p := []outgoing{batchTestRun(w*1000+i*run, run, 64, 64, batchAddr(rc))}
						if sent, lost, err := writer.writeBatch(p); sent != run ||
							lost != 0 || err != nil {
							t.Errorf("writeBatch = %d, %d, %v, want %d, 0, nil",
								sent, lost, err, run)
						}
					}
				})
			}
			next := [writers]int{}
			read, batches := 0, 0
			for read < writers*rounds*run {
				got, _ := batchTestRead(t, reader, 1)
				read += len(got)
				for ; batches < read/run; batches++ {
					turns <- struct{}{}
				}
				for _, d := range got {
					var number int
					_, _ = fmt.Sscanf(string(d[:6]), "%06d", &number)
					w := number / 1000
					if number%1000 != next[w] || len(d) != 64 {
						t.Fatalf("writer %d: datagram %d of %d bytes, want %d of 64",
							w, number%1000, len(d), next[w])
					}
					next[w]++
				}
			}
			wg.Wait()
		})
	}
}

func TestNextPieceCutsWholeDatagrams(t *testing.T) {
	for _, tt := range []struct {
		length, segment, offset, limit int
		size, cut                      int
	}{
		{0, 0, 0, 64, 0, 0},
		{100, 0, 0, 64, 100, 100},
		{100, -1, 0, 64, 100, 100},
		{100, 100, 0, 64, 100, 100},
		{100, 200, 0, 64, 100, 100},
		{250, 100, 0, 64, 250, 100},
		{250, 100, 0, 1, 100, 100},
		{250, 100, 100, 1, 100, 100},
		{250, 100, 200, 64, 50, 50},
		{250, 100, 0, 2, 200, 100},
		{250, 100, 0, 0, 100, 100},
		{maxRunBytes + 1, 1400, 0, 64, maxRunBytes / 1400 * 1400, 1400},
		{200_000, 70_000, 0, 64, 70_000, 70_000},
	} {
		o := outgoing{buf: make([]byte, tt.length), segment: tt.segment}
		piece, segment := nextPiece(&o, tt.offset, tt.limit)
		if len(piece) != tt.size || segment != tt.cut {
			t.Errorf("nextPiece(%d bytes by %d, %d, %d) = %d by %d, want %d by %d",
				tt.length, tt.segment, tt.offset, tt.limit, len(piece), segment, tt.size, tt.cut)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		o := outgoing{buf: make([]byte, random.IntN(150_000)), segment: random.IntN(3000)}
		limit, pieces, offset, all := 1+random.IntN(70), 0, 0, len(batchTestCut([]outgoing{o}))
		for {
			piece, segment := nextPiece(&o, offset, limit)
			n := datagrams(len(piece), segment)
			if n > 1 && (n > limit || len(piece) > maxRunBytes || segment != o.segment) {
				t.Fatalf("%d bytes by %d: a piece of %d by %d above the limit %d",
					len(o.buf), o.segment, len(piece), segment, limit)
			}
			pieces += n
			if offset += len(piece); offset >= len(o.buf) {
				break
			}
			if left := datagramsFrom([]outgoing{o}, 0, offset); pieces+left != all {
				t.Fatalf("%d bytes by %d: %d datagrams cut and %d left, want %d",
					len(o.buf), o.segment, pieces, left, all)
			}
		}
	}
}

// batchTestAddr is an address of a type of its own.
type batchTestAddr string

func (a batchTestAddr) Network() string { return "test" }
func (a batchTestAddr) String() string  { return string(a) }

// batchTestConn is a net.PacketConn whose methods are functions of the test.
type batchTestConn struct {
	net.PacketConn
	read    func(b []byte) (int, net.Addr, error)
	written []string
	fail    map[string]error
}

func (c *batchTestConn) ReadFrom(b []byte) (int, net.Addr, error) { return c.read(b) }

func (c *batchTestConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := c.fail[string(b)]; err != nil {
		return 0, err
	}
	c.written = append(c.written, fmt.Sprintf("%s>%s", b, to))
	return len(b), nil
}

func TestPortableConnTellsWhoSentADatagram(t *testing.T) {
	udp, nowhere := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 5}, &net.UDPAddr{Port: 7}
	for _, tt := range []struct {
		name           string
		source, wanted net.Addr
	}{
		{"UDP", udp, udp},
		{"own type", batchTestAddr("bob"), batchTestAddr("bob")},
		{"UDP without IP", nowhere, nowhere},
		{"none", nil, nil},
		{"typed nil", (*net.UnixAddr)(nil), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newBatchConn(&batchTestConn{read: func(b []byte) (int, net.Addr, error) {
				return copy(b, "abc"), tt.source, nil
			}})
			p := batchBuffers(c)
			p[0].from, p[0].fromAddr = netip.MustParseAddrPort("1.2.3.4:5"), batchTestAddr("before")
			n, err := c.readBatch(&p)
			if n != 1 || err != nil {
				t.Fatalf("readBatch = %d, %v, want a datagram", n, err)
			}
			if m := p[0]; m.n != 3 || m.segment != 3 || m.from.IsValid() ||
				m.fromAddr != tt.wanted {
				t.Errorf("got %d by %d from %v, %v, want 3 by 3 from %v, the very value",
					m.n, m.segment, m.from, m.fromAddr, tt.wanted)
			}
		})
	}
}

func TestPortableConnTakesOnlyClosedAsTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		n      int
		err    error
		closed bool
	}{
		{"closed", 0, net.ErrClosed, true},
		{"closed inside", 0, &net.OpError{Op: "read", Err: net.ErrClosed}, true},
		{"end of stream", 0, io.EOF, true},
		{"closed pipe", 0, fmt.Errorf("tunnel: %w", io.ErrClosedPipe), true},
		{"refused", 0,
			&net.OpError{Op: "read", Err: os.NewSyscallError("recvfrom", syscall.EINVAL)}, false},
		{"timeout", 0, os.ErrDeadlineExceeded, false},
		{"cut short", 3, errors.New("message too long"), false},
		{"negative length", -1, nil, false},
		{"length beyond the buffer", maxDatagram + 1, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := &batchTestConn{read: func([]byte) (int, net.Addr, error) {
				return tt.n, batchTestAddr("bob"), tt.err
			}}
			c := newBatchConn(conn)
			n, err := c.readBatch(newHeldBuffers(c))
			if n != 0 || err == nil || errors.Is(err, net.ErrClosed) != tt.closed ||
				!errors.Is(err, tt.err) && tt.err != nil {
				t.Fatalf("readBatch = %d, %v, want 0, %v (closed: %v)", n, err, tt.err, tt.closed)
			}
			if tt.err == nil {
				return
			}
			conn.fail = map[string]error{"b": tt.err}
			to := batchTestAddr("bob")
			sent, lost, err := c.writeBatch([]outgoing{
				{buf: []byte("abc"), segment: 1, toAddr: to}, {buf: []byte("d"), toAddr: to},
			})
			wantSent, wantLost := 3, 1
			if tt.closed {
				wantSent, wantLost = 1, 3
			}
			if sent != wantSent || lost != wantLost || errors.Is(err, net.ErrClosed) != tt.closed ||
				!errors.Is(err, tt.err) {
				t.Fatalf("writeBatch = %d, %d, %v, want %d, %d, %v",
					sent, lost, err, wantSent, wantLost, tt.err)
			}
		})
	}
}

func TestPortableConnAddressesACustomConn(t *testing.T) {
	conn := &batchTestConn{}
	p := []outgoing{
		{buf: []byte("aab"), segment: 2, toAddr: batchTestAddr("bob")},
		{buf: []byte("c"), to: netip.MustParseAddrPort("10.0.0.1:5"), toAddr: batchTestAddr("bob")},
		{buf: []byte("d"), to: netip.MustParseAddrPort("[fe80::1%eth7]:5")},
		{buf: []byte("e")},
	}
	sent, lost, err := newBatchConn(conn).writeBatch(p)
	if sent != 4 || lost != 1 || !errors.Is(err, errNoDestination) {
		t.Fatalf("writeBatch = %d, %d, %v, want 4, 1, %v", sent, lost, err, errNoDestination)
	}
	got, want := strings.Join(conn.written, " "), "aa>bob b>bob c>bob d>[fe80::1%eth7]:5"
	if got != want {
		t.Errorf("written %s, want %s", got, want)
	}
}

// batchTestWrapper is a connected socket with a WriteTo of its own.
type batchTestWrapper struct{ *net.UDPConn }

func (w batchTestWrapper) WriteTo(b []byte, _ net.Addr) (int, error) {
	return w.Write(append([]byte("wrapped "), b...))
}

func TestBatchConnRespectsTheMethodsOfAWrapper(t *testing.T) {
	server := batchSocket(t, "127.0.0.1:0")
	udp, err := net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	c := newBatchConn(batchTestWrapper{udp})
	if gso, gro := c.features(); gso || gro {
		t.Errorf("features = %v, %v, want none for a wrapper", gso, gro)
	}
	to := netip.MustParseAddrPort("192.0.2.1:9")
	if sent, _, err := c.writeBatch([]outgoing{{buf: []byte("x"), to: to}}); sent != 1 {
		t.Fatal(err)
	}
	got, _ := batchTestRead(t, newPortableConn(server), 1)
	batchTestEqual(t, got, [][]byte{[]byte("wrapped x")})
	if _, err := server.WriteToUDPAddrPort([]byte("y"), batchAddr(udp)); err != nil {
		t.Fatal(err)
	}
	got, from := batchTestRead(t, c, 1)
	batchTestEqual(t, got, [][]byte{[]byte("y")})
	if from != batchAddr(server) {
		t.Errorf("source %v, want %v", from, batchAddr(server))
	}
}

func TestBatchConnSteadyStateAllocatesNothing(t *testing.T) {
	if batchTestRace() {
		t.Skip("the race detector makes pools forget")
	}
	for _, mode := range batchBenchModes {
		for _, address := range []string{"127.0.0.1:0", "[::]:0"} {
			t.Run(mode.name+"/"+address, func(t *testing.T) {
				if address[0] == '[' && !batchTestHasIPv6() {
					t.Skip("no IPv6 on this machine")
				}
				rc := batchSocket(t, address)
				reader, writer := mode.make(t, rc), mode.make(t, batchSocket(t, address))
				to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), batchAddr(rc).Port())
				p := []outgoing{batchTestRun(0, 20, 1400, 9, to), {buf: make([]byte, 50), to: to}}
				in := batchBuffers(reader)
				allocs := testing.AllocsPerRun(200, func() {
					if sent, _, err := writer.writeBatch(p); sent != 21 {
						t.Fatal(err)
					}
					for got := 0; got < 21; {
						n, err := reader.readBatch(&in)
						if err != nil {
							t.Fatal(err)
						}
						for _, m := range in[:n] {
							got += datagrams(m.n, m.segment)
						}
					}
				})
				if allocs != 0 {
					t.Errorf("%v allocations a batch, want 0", allocs)
				}
			})
		}
	}
}

func batchTestRace() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

func TestCanonicalPeerMakesAddressesComparable(t *testing.T) {
	var zoned net.Interface
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) == 0 {
		t.Skip("no network interface")
	}
	zoned = interfaces[0]
	for _, tt := range []struct{ in, want string }{
		{"10.0.0.1:5", "10.0.0.1:5"},
		{"[::ffff:10.0.0.1]:5", "10.0.0.1:5"},
		{"[2001:db8::1]:5", "[2001:db8::1]:5"},
		{"[2001:db8::1%" + zoned.Name + "]:5", "[2001:db8::1]:5"},
		{"[fe80::1%" + zoned.Name + "]:5", "[fe80::1%" + zoned.Name + "]:5"},
		{fmt.Sprintf("[fe80::1%%%d]:5", zoned.Index), "[fe80::1%" + zoned.Name + "]:5"},
		{"[fe80::1%no-such-link]:5", "[fe80::1%no-such-link]:5"},
		{"[fe80::1%4000000000]:5", "[fe80::1%4000000000]:5"},
	} {
		if got := canonicalPeer(netip.MustParseAddrPort(tt.in)).String(); got != tt.want {
			t.Errorf("canonicalPeer(%s) = %s, want %s", tt.in, got, tt.want)
		}
	}
	for i := range 3 * zoneEntries {
		zoneName(uint32(1_000_000 + i))
	}
	if n := len(zoneNames.entries); n > zoneEntries {
		t.Errorf("%d zones remembered, want at most %d", n, zoneEntries)
	}
	if got := zoneName(uint32(zoned.Index)); got != zoned.Name {
		t.Errorf("zone of index %d is %s, want %s", zoned.Index, got, zoned.Name)
	}
}
