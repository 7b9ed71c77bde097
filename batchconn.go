// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// received is one buffer that the socket has filled: a datagram, or a run of datagrams of `segment`
// bytes each from one peer. The last datagram of a run may be shorter. An empty datagram has n and
// segment 0.
type received struct {
	buf      []byte         // set by the reader once and reused; a reader may permute its buffers
	n        int            // bytes received
	segment  int            // size of each datagram in buf[:n]; equals n for a single one
	from     netip.AddrPort // source on a UDP socket, unmapped, with its zone; else invalid
	fromAddr net.Addr       // source on a custom net.PacketConn, or nil
	local    netip.Addr     // the address the datagram was sent to; invalid if not known
}

// receiveBuffers lends a read its buffers, so that a read that waits need not hold any.
type receiveBuffers interface {
	// borrow returns the buffers. It is called before each attempt to receive.
	borrow() []received
	// restore takes them back: nothing has arrived, and the read is about to wait.
	restore()
}

// outgoing is a datagram to one peer, or a run of datagrams of equal size, of which the last may be
// shorter.
type outgoing struct {
	buf     []byte
	segment int            // size of each datagram; 0 or >= len(buf): a single one
	to      netip.AddrPort // the peer, for a UDP socket
	toAddr  net.Addr       // the peer as it was named, for a custom net.PacketConn, or nil
	// local is the source address, as a received.local gave it. An invalid one leaves the choice to
	// the kernel. That is right for a dialled session, whose own address may change. local is
	// ignored if the platform cannot choose.
	local netip.Addr
	// whole is whether a datagram, which is no run then, must leave in one packet.
	whole wholeness
	// refused is set by a write: the size of a datagram that was too large for the socket, or 0.
	refused int
}

// wholeness is whether a datagram may be fragmented.
type wholeness uint8

const (
	mayFragment wholeness = iota
	mustStayWhole
)

// batchConn connects an endpoint to its socket. The owner of the socket closes it.
type batchConn interface {
	// readBatch blocks until at least one datagram has arrived. It fills the first n buffers that b
	// lent last. An error comes with n == 0. It matches net.ErrClosed if the socket is gone for
	// good. Every other error is transient: the caller goes on reading, with a pause if errors
	// persist. Only one goroutine may call it or readReady at a time.
	readBatch(b receiveBuffers) (n int, err error)
	// readReady is like readBatch for a socket that a pollSet has reported. It does not wait: it
	// returns 0 without an error if nothing has arrived.
	readReady(p []received) (n int, err error)
	// writeBatch sends all of p in order and splits runs that are too long for the platform. It
	// skips a datagram that the socket refuses: sent counts the datagrams given to the kernel, lost
	// the others. err is the last cause of a loss, or nil. It matches net.ErrClosed if the socket
	// is gone. writeBatch keeps nothing of p. It may be called concurrently, and a full socket
	// buffer delays it for a bounded time.
	writeBatch(p []outgoing) (sent, lost int, err error)
	// readBatchSize returns what a reader should allocate: the number of messages and the size of
	// their buffers. Buffers are filled from the first on, so that memory is only touched as the
	// load requires.
	readBatchSize() (messages, bufferSize int)
	// maxRun returns the longest run worth building. That is 1 segment if runs are sent one
	// datagram at a time anyway. It may decrease while the socket is in use.
	maxRun() (bytes, segments int)
	// features reports whether runs of datagrams are sent (gso) and received (gro) in one piece.
	features() (gso, gro bool)
	// stopReading is called before a deadline in the past ends reading for good. What has arrived
	// stays in the socket.
	stopReading()
	// release resets the socket options that change what others read from a socket of the caller.
	// The batchConn must not be used afterwards.
	release()
}

// readyWriter is a batchConn that can send without waiting.
type readyWriter interface {
	// writeReady is like writeBatch, but ends where the socket's buffer is full. rest is what it
	// has not dealt with, a part of p.
	writeReady(p []outgoing) (rest []outgoing, sent, lost int, err error)
}

const (
	// maxRunBytes is the largest run: 65535, the limit of IP's length field, less an IPv6 and a UDP
	// header. IPv4 has room for 20 more bytes.
	maxRunBytes = 65535 - 40 - 8
)

var (
	errNoSource      = errors.New("kcp: datagram without a source address")
	errNoDestination = errors.New("kcp: datagram without a destination address")
	errReadLength    = errors.New("kcp: packet connection reports a length outside the buffer")
)

// newBatchConn returns the fastest batchConn for conn. Only a *net.UDPConn itself is bypassed,
// because a type that wraps or embeds it may have methods of its own. Everything else is used
// through net.PacketConn.
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

// portableConn is the batchConn over the methods of any net.PacketConn, with one datagram a call.
type portableConn struct {
	conn net.PacketConn
	udp  *net.UDPConn   // conn if it is exactly that, for netip addresses without allocation
	peer netip.AddrPort // where udp is connected to
	last atomic.Pointer[portablePeer]

	source sourceChooser // of udp
}

// portablePeer keeps the net.Addr made for the last destination, which is often the next one too.
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

// chooseSources makes the socket answer from the address that a peer has sent to, if the system
// can.
func (c *portableConn) chooseSources() {
	if c.udp != nil {
		c.source.ask(c.udp)
	}
}

// connectedPeer returns the address that conn is connected to, or an invalid one.
func connectedPeer(conn *net.UDPConn) netip.AddrPort {
	peer, _ := conn.RemoteAddr().(*net.UDPAddr)
	return peerAddrPort(peer)
}

// readBatch keeps its buffer while it waits: the connection's ReadFrom needs it.
func (c *portableConn) readBatch(b receiveBuffers) (int, error) {
	return c.readOne(b.borrow())
}

func (c *portableConn) readOne(p []received) (int, error) {
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

// reportedWait bounds the wait for a datagram that was reported and is no longer there.
const reportedWait = time.Millisecond

// readReady reads one datagram. A pollSet reports a socket again as long as it can be read.
func (c *portableConn) readReady(p []received) (int, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(reportedWait)); err != nil {
		return 0, seamError(err)
	}
	n, err := c.readOne(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, nil
	}
	return n, err
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
				if tooLarge(e) {
					o.refused = len(piece)
				}
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

// udpAddr returns `to` as a net.Addr.
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

// destination returns where o is sent on an IP socket, unmapped. It is invalid if o names no IP
// address.
func (o *outgoing) destination() netip.AddrPort {
	if o.to.IsValid() {
		return unmapped(o.to)
	}
	addr, _ := o.toAddr.(*net.UDPAddr)
	return peerAddrPort(addr)
}

// nextPiece returns the part of o at offset that fits one message of at most maxSegments datagrams,
// and the size of each datagram in it. An empty datagram is a piece too.
func nextPiece(o *outgoing, offset, maxSegments int) (piece []byte, segment int) {
	rest := o.buf[offset:]
	segment = o.segment
	if segment <= 0 || segment >= len(rest) {
		return rest, len(rest)
	}
	size := segment * max(1, min(maxSegments, maxRunBytes/segment))
	return rest[:min(size, len(rest))], segment
}

// datagrams returns the number of datagrams in size bytes that are cut every segment bytes.
func datagrams(size, segment int) int {
	if segment <= 0 || segment >= size {
		return 1
	}
	return (size-1)/segment + 1
}

// datagramsFrom returns the number of datagrams of p from byte offset of p[index] on.
func datagramsFrom(p []outgoing, index, offset int) int {
	n := 0
	for ; index < len(p); index++ {
		n += datagrams(len(p[index].buf)-offset, p[index].segment)
		offset = 0
	}
	return n
}

// closedError is an error other than net.ErrClosed that means a closed socket.
type closedError struct{ cause error }

func (e closedError) Error() string   { return e.cause.Error() }
func (e closedError) Unwrap() []error { return []error{net.ErrClosed, e.cause} }

// seamError makes the errors by which custom connections report that they are closed match
// net.ErrClosed. A packet connection has no end of stream, so io.EOF can only mean that.
func seamError(err error) error {
	if !errors.Is(err, net.ErrClosed) &&
		(errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)) {
		return closedError{err}
	}
	return err
}
