// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
)

// received is one buffer filled by the socket: a datagram, or a run of datagrams of `segment` bytes each, the last
// possibly shorter, all from one peer. An empty datagram has n and segment 0.
type received struct {
	buf      []byte         // set by the reader once, reused; a reader may find its buffers in another order
	n        int            // bytes received
	segment  int            // size of each datagram in buf[:n]; equals n for a single one
	from     netip.AddrPort // the source on a UDP socket, IPv4-mapped addresses unmapped, zone kept; else invalid
	fromAddr net.Addr       // the source as a custom net.PacketConn named it, nil if it named none; nil on a UDP socket
	local    netip.Addr     // the address the datagram was sent to, where the platform tells; invalid otherwise
}

// outgoing is a datagram, or a run of equal-sized datagrams (the last may be shorter), to one peer.
type outgoing struct {
	buf     []byte
	segment int            // size of each datagram; 0 or >= len(buf): a single one
	to      netip.AddrPort // the peer; what a UDP socket uses
	toAddr  net.Addr       // the peer as it was named; what a custom net.PacketConn is given, unless it is nil
	// local is the source address to use, as a received.local told it; invalid leaves it to the kernel, which is right
	// for a dialled session: its own address may change. Ignored where the platform cannot choose.
	local netip.Addr
}

// batchConn is the seam between an endpoint and its socket. Closing the socket stays the owner's business.
type batchConn interface {
	// readBatch blocks until at least one datagram is there and fills p[:n]. An error comes with n == 0. It matches
	// net.ErrClosed when the socket is gone for good; every other one is transient, whatever it says: the caller goes
	// on reading, with a pause if it persists. For one goroutine at a time.
	readBatch(p []received) (n int, err error)
	// writeBatch sends all of p in order; runs longer than the platform takes are split. A datagram that the socket
	// refuses is skipped: sent counts the datagrams handed to the kernel, lost the others. err is the last cause of a
	// loss, nil without one; it matches net.ErrClosed when the socket is gone. It keeps nothing of p. It may be called
	// from several goroutines at once; a full socket buffer holds it up for a bounded time.
	writeBatch(p []outgoing) (sent, lost int, err error)
	// readBatchSize is what a reader should allocate: so many messages with buffers of bufferSize bytes. Buffers are
	// filled from the first on, so that memory is touched only as far as the load goes.
	readBatchSize() (messages, bufferSize int)
	// maxRun is the longest run worth building: 1 segment where runs are sent one datagram at a time anyway. It may
	// sink while the socket is in use.
	maxRun() (bytes, segments int)
	// features tells whether runs of datagrams leave (gso) and arrive (gro) in one piece.
	features() (gso, gro bool)
	// stopReading is called before a deadline in the past ends a read for good: what has arrived stays in the socket.
	stopReading()
	// release resets the socket options that change what others read from the socket, for one that stays its
	// caller's. The batchConn is not to be used any more.
	release()
}

const (
	// maxRunBytes is the most a run may hold: 65535, the length field of IP, less an IPv6 and a UDP header. IPv4 has room
	// for 20 more, not worth a second figure.
	maxRunBytes = 65535 - 40 - 8
)

var (
	errNoSource      = errors.New("kcp: datagram without a source address")
	errNoDestination = errors.New("kcp: datagram without a destination address")
	errReadLength    = errors.New("kcp: packet connection reports a length outside the buffer")
)

// newBatchConn returns the fastest batchConn for conn. A type that wraps or embeds a *net.UDPConn may have methods of its
// own, so only a *net.UDPConn itself is bypassed; everything else is used through net.PacketConn alone.
func newBatchConn(conn net.PacketConn) batchConn {
	if udp, ok := conn.(*net.UDPConn); ok {
		if c := newPlatformConn(udp); c != nil {
			return c
		}
	}
	c := newPortableConn(conn)
	c.chooseSources()
	return c
}

// portableConn is the batchConn over the methods of any net.PacketConn, a datagram a call.
type portableConn struct {
	conn net.PacketConn
	udp  *net.UDPConn   // conn if it is exactly that: netip addresses then, and no allocation
	peer netip.AddrPort // where udp is connected to
	last atomic.Pointer[portablePeer]

	source sourceChooser // of udp
}

// portablePeer keeps the net.Addr made for the last destination: most connections talk to one peer for a while.
type portablePeer struct {
	to   netip.AddrPort
	addr *net.UDPAddr
}

func newPortableConn(conn net.PacketConn) *portableConn {
	c := &portableConn{conn: conn}
	if udp, ok := conn.(*net.UDPConn); ok {
		c.udp, c.peer = udp, connectedPeer(udp)
	}
	return c
}

// chooseSources makes answers leave from the address that was asked, where the system can.
func (c *portableConn) chooseSources() {
	if c.udp != nil {
		c.source.ask(c.udp)
	}
}

// connectedPeer is the address that conn is connected to, invalid if none.
func connectedPeer(conn *net.UDPConn) netip.AddrPort {
	peer, _ := conn.RemoteAddr().(*net.UDPAddr)
	return peerAddrPort(peer)
}

func (c *portableConn) readBatch(p []received) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	m := &p[0]
	n, err := c.read(m)
	switch {
	case err != nil:
		return 0, seamError(err)
	case n < 0 || n > len(m.buf):
		return 0, errReadLength
	}
	m.n, m.segment = n, n
	return 1, nil
}

func (c *portableConn) read(m *received) (n int, err error) {
	m.from, m.fromAddr, m.local = netip.AddrPort{}, nil, netip.Addr{}
	if c.udp != nil {
		if c.source.asked.Load() {
			n, m.from, m.local, err = c.source.read(c.udp, m.buf)
		} else {
			n, m.from, err = c.udp.ReadFromUDPAddrPort(m.buf)
		}
		m.from = unmapped(m.from)
		return n, err
	}
	n, m.fromAddr, err = c.conn.ReadFrom(m.buf)
	if isNil(m.fromAddr) {
		m.fromAddr = nil
	}
	return n, err
}

func (c *portableConn) writeBatch(p []outgoing) (sent, lost int, err error) {
	for i := range p {
		o := &p[i]
		for offset := 0; ; {
			piece, _ := nextPiece(o, offset, 1)
			if e := c.write(piece, o); e == nil {
				sent++
			} else {
				lost++
				err = seamError(e)
			}
			if errors.Is(err, net.ErrClosed) {
				return sent, lost + datagramsFrom(p, i, offset) - 1, err
			}
			if offset += len(piece); offset >= len(o.buf) {
				break
			}
		}
	}
	return sent, lost, err
}

func (c *portableConn) write(datagram []byte, o *outgoing) error {
	var err error
	if c.udp == nil {
		addr := o.toAddr
		switch {
		case addr != nil:
		case o.to.IsValid():
			addr = c.udpAddr(o.to)
		default:
			return errNoDestination
		}
		_, err = c.conn.WriteTo(datagram, addr)
		return err
	}
	switch to := o.destination(); {
	case c.peer.IsValid() && (to == c.peer || !to.IsValid()):
		_, err = c.udp.Write(datagram)
	case !to.IsValid():
		err = errNoDestination
	default:
		if source := o.local.Unmap(); c.source.chooses(source, to) {
			return c.source.write(c.udp, datagram, to, source)
		}
		_, err = c.udp.WriteToUDPAddrPort(datagram, to)
	}
	return err
}

// udpAddr is `to` as a net.PacketConn takes it.
func (c *portableConn) udpAddr(to netip.AddrPort) *net.UDPAddr {
	if p := c.last.Load(); p != nil && p.to == to {
		return p.addr
	}
	p := &portablePeer{to: to, addr: net.UDPAddrFromAddrPort(to)}
	c.last.Store(p)
	return p.addr
}

func (c *portableConn) readBatchSize() (messages, bufferSize int) { return 1, maxDatagram }

func (c *portableConn) maxRun() (bytes, segments int) { return maxRunBytes, 1 }

func (c *portableConn) features() (gso, gro bool) { return false, false }

func (c *portableConn) stopReading() {}

func (c *portableConn) release() {
	if c.udp != nil {
		c.source.release(c.udp)
	}
}

// destination is where o goes on an IP socket, unmapped; invalid when it names no IP address.
func (o *outgoing) destination() netip.AddrPort {
	if o.to.IsValid() {
		return unmapped(o.to)
	}
	addr, _ := o.toAddr.(*net.UDPAddr)
	return peerAddrPort(addr)
}

// nextPiece cuts from o, at offset, what fits one message of at most maxSegments datagrams: the bytes and the size of each
// datagram in them. An empty datagram is a piece too.
func nextPiece(o *outgoing, offset, maxSegments int) (piece []byte, segment int) {
	rest := o.buf[offset:]
	segment = o.segment
	if segment <= 0 || segment >= len(rest) {
		return rest, len(rest)
	}
	size := segment * max(1, min(maxSegments, maxRunBytes/segment))
	return rest[:min(size, len(rest))], segment
}

// datagrams counts those in size bytes cut every segment bytes.
func datagrams(size, segment int) int {
	if segment <= 0 || segment >= size {
		return 1
	}
	return (size-1)/segment + 1
}

// datagramsFrom counts the datagrams of p from byte offset of p[index] on.
func datagramsFrom(p []outgoing, index, offset int) int {
	n := 0
	for ; index < len(p); index++ {
		n += datagrams(len(p[index].buf)-offset, p[index].segment)
		offset = 0
	}
	return n
}

// closedError is what ended a socket, said in other words than net.ErrClosed.
type closedError struct{ cause error }

func (e closedError) Error() string   { return e.cause.Error() }
func (e closedError) Unwrap() []error { return []error{net.ErrClosed, e.cause} }

// seamError makes the errors by which custom connections say that they are closed match net.ErrClosed: a packet
// connection has no end of stream, so io.EOF can mean nothing else.
func seamError(err error) error {
	if !errors.Is(err, net.ErrClosed) && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)) {
		return closedError{err}
	}
	return err
}
