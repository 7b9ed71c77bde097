// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Tests in this directory use the library's internals and must not import the simulator below it. A
// program that replaces another module by this one would have to resolve that import path. This
// file is the network that they need.

// simProfile describes all links of a simNetwork.
type simProfile struct {
	Delay          time.Duration
	Jitter         time.Duration // an even share of it is added
	JitterReorders bool          // without, packets keep their order
	Loss           float64
	Duplicate      float64
	Reorder        float64 // held back by ReorderDelay
	ReorderDelay   time.Duration
	Rate           int // bytes a second; 0: no bound
	Queue          int // bytes that wait for the line, beyond which it drops
}

// simAction is what a simTap decides about a packet.
type simAction struct{ Drop bool }

// simTap is called with each packet that is sent.
type simTap func(at time.Time, from, to net.Addr, payload []byte) simAction

// simStats counts packets.
type simStats struct{ Sent, Delivered uint64 }

// simNetwork carries packets between its endpoints, in the virtual time of a synctest bubble.
type simNetwork struct {
	mu      sync.Mutex // guards what follows
	rng     *rand.Rand
	profile simProfile
	tap     simTap
	ends    map[string]*simEndpoint
	last    map[string]time.Time // the newest arrival on each link
	free    map[string]time.Time // when each line of limited rate has sent all that waits
	port    int

	onWire          atomic.Int64
	sent, delivered atomic.Uint64
}

// simEndpoint is a socket of the network.
type simEndpoint struct {
	*memConn
	n    *simNetwork
	home string
}

func newSimNetwork(seed uint64) *simNetwork {
	return &simNetwork{
		rng: rand.New(rand.NewPCG(seed, 5)), ends: make(map[string]*simEndpoint),
		last: make(map[string]time.Time),
		free: make(map[string]time.Time), port: 49152,
	}
}

func (n *simNetwork) SetDefault(p simProfile) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.profile = p
}

func (n *simNetwork) SetTap(t simTap) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = t
}

// Listen opens an endpoint; port 0 picks one.
func (n *simNetwork) Listen(address string) (*simEndpoint, error) {
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if a.Port == 0 {
		a.Port = n.port
		n.port++
	}
	e := &simEndpoint{n: n, home: a.String()}
	if old := n.ends[e.home]; old != nil && !old.isClosed() {
		return nil, fmt.Errorf("address %v is in use", a)
	}
	e.memConn = newMemConn(a, func(data []byte, to net.Addr) { n.carry(e, data, to) })
	n.ends[e.home] = e
	return e, nil
}

func (c *memConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Rebind changes the source address of the endpoint's packets. Packets to the old address are lost.
func (e *simEndpoint) Rebind(to *net.UDPAddr, _ bool) error {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	delete(e.n.ends, e.home)
	e.home = to.String()
	e.n.ends[e.home] = e
	return nil
}

func (n *simNetwork) carry(e *simEndpoint, data []byte, to net.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	from, err := net.ResolveUDPAddr("udp", e.home)
	if err != nil {
		panic(err)
	}
	n.sent.Add(1)
	p := n.profile
	if n.tap != nil && n.tap(time.Now(), from, to, data).Drop {
		return
	}
	copies := 1
	if n.rng.Float64() < p.Duplicate {
		copies = 2
	}
	for range copies {
		if n.rng.Float64() < p.Loss {
			continue
		}
		n.deliver(from, to.String(), data)
	}
}

func (n *simNetwork) deliver(from *net.UDPAddr, to string, data []byte) {
	p := n.profile
	at := time.Now().Add(max(p.Delay, time.Nanosecond))
	if p.Rate > 0 {
		line := from.String() + ">" + to
		wait := max(time.Until(n.free[line]), 0)
		if int(wait.Seconds()*float64(p.Rate)) > p.Queue {
			return
		}
		wait += time.Duration(len(data)) * time.Second / time.Duration(p.Rate)
		n.free[line] = time.Now().Add(wait)
		at = at.Add(wait)
	}
	if p.Jitter > 0 {
		at = at.Add(time.Duration(n.rng.Int64N(int64(p.Jitter))))
	}
	held := n.rng.Float64() < p.Reorder
	if held {
		at = at.Add(p.ReorderDelay)
	}
	link := from.String() + ">" + to
	if !p.JitterReorders && !held {
		if last := n.last[link]; !at.After(last) {
			at = last.Add(time.Nanosecond)
		}
		n.last[link] = at
	}
	n.onWire.Add(1)
	time.AfterFunc(time.Until(at), func() {
		n.onWire.Add(-1)
		n.mu.Lock()
		e := n.ends[to]
		n.mu.Unlock()
		if e != nil && !e.isClosed() {
			n.delivered.Add(1)
			e.put(data, from)
		}
	})
}

// Stats counts the packets of all links.
func (n *simNetwork) Stats() simStats { return simStats{n.sent.Load(), n.delivered.Load()} }

// Leases returns the number of packets in transit.
func (n *simNetwork) Leases() int { return int(n.onWire.Load()) }

// Close closes all endpoints.
func (n *simNetwork) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.ends {
		_ = e.Close()
	}
	return nil
}

// recorder keeps copies of the datagrams that are sent.
type recorder struct {
	mu      sync.Mutex // guards what follows
	packets map[string][][]byte
}

func (r *recorder) tap(from, _ string, payload []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.packets == nil {
		r.packets = make(map[string][][]byte)
	}
	r.packets[from] = append(r.packets[from], bytes.Clone(payload))
	return false
}

func (r *recorder) from(addr string) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.packets[addr]
}

// tally counts the bytes in each direction between a server and one address.
type tally struct {
	t     *testing.T
	peer  string
	limit func(received int) int

	mu             sync.Mutex // guards what follows
	received, sent int
	packets        int
}

// tap is a drop function of a connWorld that drops nothing. It fails the test at the datagram that
// exceeds the limit.
func (y *tally) tap(from, to string, payload []byte) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch y.peer {
	case from:
		y.received += len(payload)
	case to:
		y.sent += len(payload)
		y.packets++
		if most := y.limit(y.received); y.sent > most {
			y.t.Errorf("%d bytes in %d datagrams to %s after %d bytes from it, want at most %d",
				y.sent, y.packets, to, y.received, most)
		}
	}
	return false
}

func (y *tally) counts() (received, sent int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.received, y.sent
}

// wire records the sizes of the datagrams that one end of a simulated link sends.
type wire struct {
	mu    sync.Mutex
	sizes []int
}

func (w *wire) tap(from *UDPSession) simTap {
	local := from.LocalAddr().String()
	return func(_ time.Time, src, _ net.Addr, payload []byte) simAction {
		if src.String() == local {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sizes = append(w.sizes, len(payload))
		}
		return simAction{}
	}
}

// take returns the recorded sizes and clears the record.
func (w *wire) take() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	sizes := w.sizes
	w.sizes = nil
	return sizes
}

// heardDatagram is a datagram that a raw socket received.
type heardDatagram struct {
	at       time.Time
	segments []segment
	control  controlSet
}

// has reports whether the datagram has such a segment, other than a control message.
func (d *heardDatagram) has(cmd uint8, sn seqNum, ts timestamp) bool {
	return slices.ContainsFunc(d.segments, func(s segment) bool {
		return s.cmd == cmd && !isControl(&s) && (cmd != cmdAck || s.sn == sn && s.ts == ts)
	})
}

// hear returns what a raw socket receives within a time.
func hear(t *testing.T, raw *simEndpoint,
	within time.Duration) (all []heardDatagram, from net.Addr) {
	t.Helper()
	_ = raw.SetReadDeadline(time.Now().Add(within))
	for {
		buf := make([]byte, 2000)
		n, a, err := raw.ReadFrom(buf)
		if err != nil {
			return all, from
		}
		d := heardDatagram{at: time.Now(), control: findControl(buf[:n])}
		for rest := buf[:n]; len(rest) > 0; {
			var s segment
			var status parseStatus
			if rest, status = parseSegment(rest, &s); status != parseOK {
				t.Fatalf("segment %d of a datagram: status %d", len(d.segments), status)
			}
			d.segments = append(d.segments, s)
		}
		all, from = append(all, d), a
	}
}

// percentile returns the smallest duration that p percent of them do not exceed.
func percentile(d []time.Duration, p int) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, len(d)*p/100)]
}

// parsePacket parses an opened datagram.
func parsePacket(b []byte) (p packet) {
	p.parse(b)
	return p
}
