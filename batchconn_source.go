// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// A server on a socket that is bound to all addresses answers from the one that was asked: the peer takes nothing from
// another. The kernel tells and is told by control messages (sourceCodec); this is the portable path's part in it.

// sourceRefusals is how many datagrams in a row the kernel must refuse with a source address and take without before it
// is told none any more: an address that is gone is refused too, and costs the others nothing.
const sourceRefusals = 16

// sourceChooser sends from, and learns, local addresses over a *net.UDPConn. The zero value does neither.
type sourceChooser struct {
	once     sync.Once
	asked    atomic.Bool // the kernel tells where datagrams were sent to
	options  socketOptions
	control  [sourceControlSize]byte // of the reader
	newest   atomic.Pointer[sourceMessage]
	refusals atomic.Int32
}

// sourceControlSize has room for what a user may have asked the socket for (time stamps, TOS, TTL) beside ours.
const sourceControlSize = 256

// sourceMessage keeps the control message for the last source address: most servers are asked at one address.
type sourceMessage struct {
	source  netip.Addr
	control []byte
}

// socketOption is a socket option as it was before.
type socketOption struct{ level, name, value int }

// socketOptions are those that were changed.
type socketOptions []socketOption

// ask makes the kernel tell from now on, where it can and there is anything to tell. Where it fails the kernel chooses
// the source address of answers, as it does without.
func (c *sourceChooser) ask(conn *net.UDPConn) {
	c.once.Do(func() {
		local, _ := conn.LocalAddr().(*net.UDPAddr)
		if local == nil || !local.IP.IsUnspecified() || conn.RemoteAddr() != nil {
			return
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			return
		}
		_ = raw.Control(func(fd uintptr) { c.asked.Store(askDestination(fd, &c.options)) })
	})
}

// read is ReadFromUDPAddrPort, with the address that the datagram was sent to.
func (c *sourceChooser) read(conn *net.UDPConn, b []byte) (n int, from netip.AddrPort, local netip.Addr, err error) {
	n, told, _, from, err := conn.ReadMsgUDPAddrPort(b, c.control[:])
	if err == nil {
		local = parseDestination(c.control[:told])
	}
	return n, from, local, err
}

// write is WriteToUDPAddrPort from the address source. Where the kernel will not have that, it chooses itself.
func (c *sourceChooser) write(conn *net.UDPConn, b []byte, to netip.AddrPort, source netip.Addr) error {
	m := c.newest.Load()
	if m == nil || m.source != source {
		m = &sourceMessage{source: source, control: appendSource(nil, source)}
		c.newest.Store(m)
	}
	_, _, err := conn.WriteMsgUDPAddrPort(b, m.control, to)
	switch {
	case err == nil:
		c.refusals.Store(0)
	case refusesSource(err):
		if _, err = conn.WriteToUDPAddrPort(b, to); err == nil && c.refusals.Add(1) >= sourceRefusals {
			c.asked.Store(false)
		}
	}
	return err
}

// chooses reports whether datagrams to that address are sent from a source of ours.
func (c *sourceChooser) chooses(source netip.Addr, to netip.AddrPort) bool {
	return source.IsValid() && c.asked.Load() && source.Is4() == to.Addr().Is4()
}

// release gives the socket its options back.
func (c *sourceChooser) release(conn *net.UDPConn) {
	if raw, err := conn.SyscallConn(); err == nil && len(c.options) > 0 {
		// It fails only on a closed socket, where there is nothing to reset.
		_ = raw.Control(func(fd uintptr) { c.options.reset(fd) })
	}
}
