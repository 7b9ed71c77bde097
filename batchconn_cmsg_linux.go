// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// writeControl is the control data of a message to send: the segment size of a run, and the source
// address. Either may be missing. The structs are padded as CMSG_SPACE requires.
//
//	| cmsghdr | u16 segment size | pad | cmsghdr | in_pktinfo or in6_pktinfo | pad |
type writeControl struct {
	segment struct {
		hdr  unix.Cmsghdr
		size uint16
	}
	source struct {
		hdr  unix.Cmsghdr
		info [unix.SizeofInet6Pktinfo]byte
	}
}

var (
	segmentControlSpace = unix.CmsgSpace(2)
	controlDataOffset   = unix.CmsgLen(0)
)

// encode writes the control messages and points h at them. segment is 0 for a single datagram,
// source invalid for the kernel's choice.
func (w *writeControl) encode(h *unix.Msghdr, segment int, source netip.Addr, family int) {
	h.Control = nil
	space := 0
	if segment > 0 {
		w.segment.hdr.Level = unix.IPPROTO_UDP
		w.segment.hdr.Type = unix.UDP_SEGMENT
		w.segment.hdr.SetLen(unix.CmsgLen(2))
		w.segment.size = uint16(segment)
		h.Control = (*byte)(unsafe.Pointer(&w.segment))
		space = segmentControlSpace
	}
	if source.IsValid() {
		if h.Control == nil {
			h.Control = (*byte)(unsafe.Pointer(&w.source))
		}
		space += w.encodeSource(source, family)
	}
	h.SetControllen(space)
}

// encodeSource writes the address and the interface 0: the route, or the destination's zone,
// chooses that. Sockets of both families use the same memory in turn, so that it writes all fields.
func (w *writeControl) encodeSource(source netip.Addr, family int) (space int) {
	size := unix.SizeofInet6Pktinfo
	if family == unix.AF_INET6 {
		w.source.hdr.Level, w.source.hdr.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		*(*unix.Inet6Pktinfo)(unsafe.Pointer(&w.source.info)) = unix.Inet6Pktinfo{
			Addr: source.As16(),
		}
	} else {
		size = unix.SizeofInet4Pktinfo
		w.source.hdr.Level, w.source.hdr.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		*(*unix.Inet4Pktinfo)(unsafe.Pointer(&w.source.info)) = unix.Inet4Pktinfo{
			Spec_dst: source.As4(),
		}
	}
	w.source.hdr.SetLen(unix.CmsgLen(size))
	return unix.CmsgSpace(size)
}

// decodeControl returns the segment size (0 if there is none) and the local address from the
// control data of a message.
func decodeControl(b []byte) (segment int, local netip.Addr) {
	for {
		level, kind, data, rest, ok := nextAncillary(b)
		if !ok {
			return segment, answerable(local)
		}
		if level == unix.IPPROTO_UDP && kind == unix.UDP_GRO && len(data) >= 4 {
			segment = int(int32(binary.NativeEndian.Uint32(data)))
		} else if a := systemSource.address(level, kind, data); a.IsValid() {
			local = a
		}
		b = rest
	}
}
