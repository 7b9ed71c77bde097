// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// A server on a socket that is bound to all addresses must answer from the address that a peer has
// sent to, because the peer accepts no other source. The kernel reports and takes that address in
// control messages (sourceCodec). This is the portable path's part of it.

// sourceRefusals is how many datagrams in a row the kernel must refuse with a source address and
// send without one until none is given any more. An address that no longer exists is refused too,
// which must not affect the others.
const sourceRefusals = 16

// sourceChooser reads and chooses local addresses over a *net.UDPConn. The zero value does neither.
type sourceChooser struct {
	once     sync.Once
	asked    atomic.Bool // the kernel reports where datagrams were sent to
	options  socketOptions
	control  [sourceControlSize]byte // of the reader
	newest   atomic.Pointer[sourceMessage]
	refusals atomic.Int32
}

// sourceControlSize has room for control messages that a program may have asked for (time stamps,
// TOS, TTL) besides the library's.
const sourceControlSize = 256

// sourceMessage keeps the control message for the last source address, which is usually the next
// one too.
type sourceMessage struct {
	source  netip.Addr
	control []byte
}

// socketOption is the old value of a socket option.
type socketOption struct{ level, name, value int }

// socketOptions are the old values of changed options.
type socketOptions []socketOption

// ask makes the kernel report local addresses from now on, if it can and there is a choice. If it
// fails, the kernel chooses the source address of answers.
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

// read is ReadFromUDPAddrPort, and also returns the address that the datagram was sent to.
func (c *sourceChooser) read(
	conn *net.UDPConn, b []byte,
) (n int, from netip.AddrPort, local netip.Addr, err error) {
	n, told, _, from, err := conn.ReadMsgUDPAddrPort(b, c.control[:])
	if err == nil {
		local = parseDestination(c.control[:told])
	}
	return n, from, local, err
}

// write is WriteToUDPAddrPort from the address source. If the kernel refuses that, it chooses the
// source itself.
func (c *sourceChooser) write(
	conn *net.UDPConn, b []byte, to netip.AddrPort, source netip.Addr,
) error {
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
		_, err = conn.WriteToUDPAddrPort(b, to)
		if err == nil && c.refusals.Add(1) >= sourceRefusals {
			c.asked.Store(false)
		}
	}
	return err
}

// chooses reports whether datagrams to that address are sent from a chosen source.
func (c *sourceChooser) chooses(source netip.Addr, to netip.AddrPort) bool {
	return source.IsValid() && c.asked.Load() && source.Is4() == to.Addr().Is4()
}

// release restores the socket's options.
func (c *sourceChooser) release(conn *net.UDPConn) {
	if raw, err := conn.SyscallConn(); err == nil && len(c.options) > 0 {
		// It only fails on a closed socket, which has nothing to reset.
		_ = raw.Control(func(fd uintptr) { c.options.reset(fd) })
	}
}
