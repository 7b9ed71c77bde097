// SPDX-License-Identifier: MIT

package simnet

import (
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

const (
	addrA = "10.0.0.1:1000"
	addrB = "10.0.0.2:2000"
	linkA = addrA + ">" + addrB
)

// inBubble runs f with a network that has unbounded receive queues and endpoints at addrA and
// addrB. It checks at the end that no packet leaked and that the counters add up.
func inBubble(t *testing.T, f func(t *testing.T, n *Network, a, b *Endpoint), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(1, append([]Option{WithReceiveQueue(0)}, opts...)...)
		f(t, n, listen(t, n, addrA), listen(t, n, addrB))
		closeAndCheck(t, n)
	})
}

func closeAndCheck(t *testing.T, n *Network) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := n.Leases(); got != 0 {
		t.Errorf("%d packets leaked", got)
	}
	for _, l := range n.Links() {
		s := l.Stats()
		if s.InTransit != 0 || s.Sent+s.Duplicated != s.Delivered+s.LostTotal() {
			t.Errorf("%s: counters do not add up: %+v", l.Name(), s)
		}
	}
}

func listen(t testing.TB, n *Network, addr string) *Endpoint {
	t.Helper()
	e, err := n.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func udp(addr string) *net.UDPAddr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)) }

func send(t testing.TB, e *Endpoint, to string, payload []byte) {
	t.Helper()
	if n, err := e.WriteTo(payload, udp(to)); n != len(payload) || err != nil {
		t.Fatalf("WriteTo(%d bytes) = %d, %v", len(payload), n, err)
	}
}

// sendNumbered sends count packets of size bytes that begin with their number.
func sendNumbered(t testing.TB, e *Endpoint, to string, count, size int) {
	t.Helper()
	for i := range count {
		b := make([]byte, max(size, 4))
		binary.BigEndian.PutUint32(b, uint32(i))
		send(t, e, to, b)
	}
}

// arrival is a packet as it was read.
type arrival struct {
	number int
	after  time.Duration // since readAll began
	from   string
	data   []byte
}

// readAll reads what comes within a day.
func readAll(t testing.TB, e *Endpoint) []arrival {
	t.Helper()
	begin := time.Now()
	var all []arrival
	if err := e.SetReadDeadline(begin.Add(24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65536)
	for {
		k, from, err := e.ReadFrom(b)
		if err != nil {
			return all
		}
		a := arrival{after: time.Since(begin), from: from.String(), data: append([]byte(nil), b[:k]...)}
		if k >= 4 {
			a.number = int(binary.BigEndian.Uint32(b))
		}
		all = append(all, a)
	}
}

func numbers(all []arrival) []int {
	var out []int
	for _, a := range all {
		out = append(out, a.number)
	}
	return out
}

// checkShare checks that got of total lies within four standard deviations of p.
func checkShare(t *testing.T, what string, got, total int, p float64) {
	t.Helper()
	sigma := math.Sqrt(p * (1 - p) * float64(total))
	if diff := math.Abs(float64(got) - p*float64(total)); diff > 4*sigma+1e-9 {
		t.Errorf("%s: got %d of %d, want %.4f +- %.4f", what, got, total, p, 4*sigma/float64(total))
	}
}
