// SPDX-License-Identifier: MIT

package simnet

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// firstPort is where the ports for "any port" start, as RFC 6335 has it.
const firstPort = 49152

// maxPayload is the largest UDP payload over IPv4: 65535 - 20 - 8.
const maxPayload = 65507

var errNoAddress = errors.New("missing address")

// Endpoint is a socket of the network, a [net.PacketConn]. Its errors are those
// of a UDP socket: *net.OpError around net.ErrClosed, os.ErrDeadlineExceeded or
// a system error. The addresses that ReadFrom returns are shared by all calls
// and must not be changed.
type Endpoint struct {
	net  *Network
	node *node
	addr net.Addr

	mu            sync.Mutex // guards the fields below
	wake          sync.Cond  // signals readers
	rx            fifo[*packet]
	limit         int   // of rx, 0 none
	instant       int64 // of the latest delivery
	room          int   // for more packets in this instant
	closed        bool
	readExpired   bool
	readTimer     *time.Timer
	readDeadlines uint64 // number of SetReadDeadline calls: identifies a stale timer
	writeDeadline time.Time
	reads, writes script
	stats         EndpointStats
}

var _ net.PacketConn = (*Endpoint)(nil)

// Listen opens an endpoint at an IP address and port. Port 0 picks a free one,
// from 49152 up.
func (n *Network) Listen(address string) (*Endpoint, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, opError("listen", nil, nil, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if ap.Port() == 0 {
		port := uint16(firstPort)
		for n.busy(addrKey{ip: netip.AddrPortFrom(ap.Addr().Unmap(), port)}) && port != 0 {
			port++
		}
		ap = netip.AddrPortFrom(ap.Addr(), port)
	}
	return n.listen(net.UDPAddrFromAddrPort(ap))
}

// ListenAddr opens an endpoint at an address of any type. LocalAddr returns it,
// and so does the ReadFrom of others for packets that come from there. It is
// reached by any address with the same text.
func (n *Network) ListenAddr(addr net.Addr) (*Endpoint, error) {
	if u, ok := addr.(*net.UDPAddr); ok && u != nil {
		addr = net.UDPAddrFromAddrPort(u.AddrPort()) // the caller's own may change
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.listen(addr)
}

// busy reports whether k is in use, or belongs to a rebound endpoint.
func (n *Network) busy(k addrKey) bool {
	nd := n.nodes[k]
	return nd != nil && nd.owner != nil || n.taken[k] != nil && n.taken[k] != nd
}

func (n *Network) listen(addr net.Addr) (*Endpoint, error) {
	k, ok := keyOf(addr)
	switch {
	case n.closed:
		return nil, opError("listen", addr, nil, net.ErrClosed)
	case !ok, k.ip.IsValid() && (k.ip.Port() == 0 || k.ip.Addr().IsUnspecified()):
		return nil, opError("listen", addr, nil, errNoAddress)
	case n.busy(k):
		return nil, opError("listen", addr, nil, errAddrInUse)
	}
	e := &Endpoint{net: n, node: n.node(k), addr: addr, limit: n.receiveQueue, instant: -1}
	e.wake.L = &e.mu
	e.node.owner = e
	n.doLocked(func(int64) {
		e.node.endpoint = e
		if b := n.routed[k]; b.node == e.node {
			b.addr = addr
		}
	})
	return e, nil
}

// LocalAddr returns the address at which the endpoint listens, also when it was
// rebound: a host does not know what address its packets are given on the way.
func (e *Endpoint) LocalAddr() net.Addr { return e.addr }

// Rebind makes the endpoint's packets come from another address from now on, as
// an address translator does when it loses its state. What is sent to the new
// address reaches the endpoint; what is sent to the old one does only with
// keepOld. The new binding stays when the endpoint is closed and its address
// opened again. It fails if the address is in use.
func (e *Endpoint) Rebind(to net.Addr, keepOld bool) error { return e.net.rebind(e, to, keepOld) }

// SetReceiveQueue bounds the receive queue to so many packets; 0 is no bound.
// Packets of one instant count as they come, however fast they are read.
func (e *Endpoint) SetReceiveQueue(packets int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.limit = packets
	e.instant = -1
}

// accept takes a packet that arrives at instant t. It returns false, and leaves
// the packet to the caller, if the receive queue is full. The room is measured
// once an instant: how quick the reader is within it must not matter.
func (e *Endpoint) accept(p *packet, t int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		e.net.pool.put(p)
		return true
	}
	if e.instant != t {
		e.instant = t
		e.room = e.limit - e.rx.len()
	}
	if e.limit > 0 && e.room <= 0 {
		e.stats.Overflowed++
		return false
	}
	e.room--
	e.rx.push(p)
	e.stats.QueuePeak = max(e.stats.QueuePeak, e.rx.len())
	e.wake.Signal()
	return true
}

// ReadFrom waits for a packet. What does not fit into b is cut off.
func (e *Endpoint) ReadFrom(b []byte) (int, net.Addr, error) {
	p, err := e.receive()
	if err != nil {
		return 0, nil, opError("read", e.addr, nil, err)
	}
	n, from := copy(b, p.data), p.from
	e.net.pool.put(p)
	return n, from, nil
}

// receive waits for the next packet or the reason why there is none.
func (e *Endpoint) receive() (*packet, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !e.closed && !e.readExpired && !e.reads.due() && e.rx.len() == 0 {
		e.wake.Wait()
	}
	switch {
	case e.closed:
		return nil, net.ErrClosed
	case e.readExpired:
		return nil, os.ErrDeadlineExceeded
	}
	// A wake-up was for one reader: pass it on if there is more to get.
	defer func() {
		if e.rx.len() > 0 || e.reads.due() {
			e.wake.Signal()
		}
	}()
	if e.reads.due() {
		e.stats.ReadFails++
		return nil, e.reads.fail()
	}
	e.reads.pass()
	e.stats.Received++
	return e.rx.pop(), nil
}

// WriteTo sends a packet. It never waits, and it keeps neither b nor addr.
func (e *Endpoint) WriteTo(b []byte, addr net.Addr) (int, error) {
	k, ok := keyOf(addr)
	if !ok {
		return 0, opError("write", e.addr, addr, errNoAddress)
	}
	e.mu.Lock()
	var err error
	scripted := false
	switch {
	case e.closed:
		err = net.ErrClosed
	case !e.writeDeadline.IsZero() && !time.Now().Before(e.writeDeadline):
		err = os.ErrDeadlineExceeded
	case len(b) > maxPayload:
		err = EMSGSIZE
	case e.writes.due():
		err, scripted = e.writes.fail(), true
		e.stats.WriteFails++
	default:
		e.writes.pass()
		e.stats.Written++
	}
	e.mu.Unlock()
	if err == nil || scripted {
		p := e.net.pool.get(b)
		p.src, p.dst, p.refused = e.node, k, scripted
		if !e.net.send(p) {
			err = net.ErrClosed
		}
	}
	if err != nil {
		return 0, opError("write", e.addr, addr, err)
	}
	return len(b), nil
}

// Close closes the endpoint: calls that wait return, unread packets are
// dropped, and packets on their way are lost unless the address is opened again
// before they arrive. A second Close is an error.
func (e *Endpoint) Close() error {
	if !e.shut() {
		return opError("close", e.addr, nil, net.ErrClosed)
	}
	n := e.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.node.owner == e {
		e.node.owner = nil
	}
	n.doLocked(func(int64) {
		if e.node.endpoint == e {
			e.node.endpoint = nil
		}
	})
	return nil
}

// shut closes the socket's side of e. It returns false if that was done before.
func (e *Endpoint) shut() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.closed = true
	if e.readTimer != nil {
		e.readTimer.Stop()
	}
	for e.rx.len() > 0 {
		e.net.pool.put(e.rx.pop())
	}
	e.wake.Broadcast()
	return true
}
