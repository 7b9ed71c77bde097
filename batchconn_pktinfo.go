// SPDX-License-Identifier: MIT

//go:build linux || darwin || freebsd

package kcp

import (
	"errors"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sourceCodec is how a system carries local IPv4 addresses in control messages: their position in
// the data, and the types. The data of IPv6 is that of RFC 3542, section 6, on all systems: struct
// in6_pktinfo, with the address first.
type sourceCodec struct {
	option                int // asks for the message
	receive, send         int // the types of messages
	size                  int // bytes of data
	destination, sourceAt int // offsets in them: of a datagram's destination, and of its source
}

// set sets a socket option and keeps its old value. It returns false if the kernel does not have
// the option.
func (o *socketOptions) set(fd uintptr, level, name, value int) bool {
	old, err := unix.GetsockoptInt(int(fd), level, name)
	if err != nil || unix.SetsockoptInt(int(fd), level, name, value) != nil {
		return false
	}
	*o = append(*o, socketOption{level, name, old})
	return true
}

// reset restores the old values.
func (o socketOptions) reset(fd uintptr) {
	for _, v := range o {
		_ = unix.SetsockoptInt(int(fd), v.level, v.name, v.value)
	}
}

// askDestination asks for the messages. A dual-stack socket has those of both families. For IPv4
// the second is better: on Linux it has the socket's own address if a peer has sent to a broadcast
// one.
func askDestination(fd uintptr, options *socketOptions) bool {
	six := false
	if sa, err := unix.Getsockname(int(fd)); err == nil {
		if _, six = sa.(*unix.SockaddrInet6); six {
			six = options.set(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
	}
	return options.set(fd, unix.IPPROTO_IP, systemSource.option, 1) || six
}

// appendSource appends the message that makes source the source address of a datagram. Its
// interface stays 0: the route, or the destination's zone, chooses that.
func appendSource(b []byte, source netip.Addr) []byte { return systemSource.append(b, source) }

func (c *sourceCodec) append(b []byte, source netip.Addr) []byte {
	if !source.Is4() {
		address := source.As16()
		return appendAncillary(b, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO,
			unix.SizeofInet6Pktinfo, 0, address[:])
	}
	address := source.As4()
	return appendAncillary(b, unix.IPPROTO_IP, c.send, c.size, c.sourceAt, address[:])
}

// appendAncillary appends a control message with size bytes of data, which are zero but for value
// at offset at.
func appendAncillary(b []byte, level, kind, size, at int, value []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, unix.CmsgSpace(size))...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[start]))
	h.Level, h.Type = int32(level), int32(kind)
	h.SetLen(unix.CmsgLen(size))
	copy(b[start+unix.CmsgLen(0)+at:], value)
	return b
}

// nextAncillary takes the first control message off b. ok is false if there is none.
func nextAncillary(b []byte) (level, kind int, data, rest []byte, ok bool) {
	header := unix.CmsgLen(0)
	if len(b) < header {
		return 0, 0, nil, nil, false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
	n := int(h.Len)
	if n < header || n > len(b) {
		return 0, 0, nil, nil, false
	}
	data = b[header:n]
	return int(h.Level), int(h.Type), data, b[min(unix.CmsgSpace(len(data)), len(b)):], true
}

// parseDestination returns the address that a datagram was sent to. It is invalid if b does not
// have it, or if no datagram can be sent from it.
func parseDestination(b []byte) netip.Addr { return systemSource.parse(b) }

func (c *sourceCodec) parse(b []byte) (local netip.Addr) {
	for {
		level, kind, data, rest, ok := nextAncillary(b)
		if !ok {
			return answerable(local)
		}
		if a := c.address(level, kind, data); a.IsValid() {
			local = a
		}
		b = rest
	}
}

// address returns the datagram's destination from a control message, or an invalid one if it is
// another message.
func (c *sourceCodec) address(level, kind int, data []byte) netip.Addr {
	switch {
	case level == unix.IPPROTO_IP && kind == c.receive && len(data) >= c.size:
		return netip.AddrFrom4([4]byte(data[c.destination:]))
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO &&
		len(data) >= unix.SizeofInet6Pktinfo:
		return netip.AddrFrom16([16]byte(data)).Unmap()
	}
	return netip.Addr{}
}

// answerable returns a, or an invalid address if no datagram can be sent from it.
func answerable(a netip.Addr) netip.Addr {
	if a.IsMulticast() || a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}
	}
	return a
}

// refusesSource reports whether the error of a send from a chosen address can concern that address.
func refusesSource(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case unix.EINVAL, unix.EADDRNOTAVAIL, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.EHOSTUNREACH:
		return true
	}
	return false
}
