// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net"
	"net/netip"
)

// peerAddr identifies a peer by its address and is comparable. An address whose text is an IP
// address and a port is a netip.AddrPort, whatever its type and network. Any other is its text. A
// net.PacketConn is never given an address made from it to write to, but the net.Addr by which the
// program or the connection has named the peer.
type peerAddr struct {
	udp    netip.AddrPort
	custom string
}

// newPeerAddr returns the identity of an address that is not nil. It calls the methods of a foreign
// type.
func newPeerAddr(addr net.Addr) peerAddr {
	switch a := addr.(type) {
	case *net.UDPAddr:
		return newPeerAddrPort(a.AddrPort())
	case *net.TCPAddr:
		return newPeerAddrPort(a.AddrPort())
	}
	text := addr.String()
	if a, err := netip.ParseAddrPort(text); err == nil {
		return newPeerAddrPort(a)
	}
	return peerAddr{custom: text}
}

func newPeerAddrPort(a netip.AddrPort) peerAddr { return peerAddr{udp: canonicalPeer(thisHost(a))} }

// thisHost replaces the unspecified address by the loopback address of its family, as package net
// does for a dialled socket. The kernel sends to that address, and answers come from it.
func thisHost(a netip.AddrPort) netip.AddrPort {
	switch ip := a.Addr().Unmap(); {
	case !ip.IsValid(), ip == netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	case ip.IsUnspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	}
	return a
}

// sessionKey names a session on a socket (S0.2).
type sessionKey struct {
	peer peerAddr
	conv uint32
}

// hash mixes an address and a conversation id by two multiplications. Each operand hides a secret.
func (p *peerAddr) hash(conv uint32) uint32 {
	var a, b uint64
	if p.custom != "" {
		a = maphash.String(tableSeed, p.custom)
	} else {
		ip := p.udp.Addr().As16()
		a, b = binary.LittleEndian.Uint64(ip[:8]), binary.LittleEndian.Uint64(ip[8:])
	}
	hi, lo := bits.Mul64(a^tableKeys[0], b^tableKeys[1])
	hi, lo = bits.Mul64(hi^lo^tableKeys[2], (uint64(conv)<<16|uint64(p.udp.Port()))^tableKeys[1])
	return uint32(hi ^ lo)
}

var tableKeys = [3]uint64{randomUint64(), randomUint64(), randomUint64()}

// tableKeys and tableSeed are the secrets of the hash, so that no attacker can choose addresses and
// ids that share a slot.
var (
	tableSeed = maphash.MakeSeed()
)

// prefixOf returns a number for the network of the address: an IPv4 address, which may serve many
// hosts, or the first 56 bits of an IPv6 address, the least that a site is given (RFC 6177). It is
// 0, which is not counted, for loopback addresses and those that are not UDP's.
func (p *peerAddr) prefixOf() uint64 {
	ip := p.udp.Addr().Unmap()
	switch {
	case !ip.IsValid() || ip.IsLoopback():
		return 0
	case ip.Is4():
		b := ip.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))<<8 | 4
	}
	b := ip.As16()
	return binary.BigEndian.Uint64(b[:])&^0xFF | 6
}

// canonicalPeer returns an address as received.from has it, so that addresses can be compared.
// IPv4-mapped addresses are unmapped. A zone is given by its interface's name, and only on
// addresses that need one.
func canonicalPeer(a netip.AddrPort) netip.AddrPort {
	addr := a.Addr().Unmap()
	if zone := addr.Zone(); zone != "" {
		if !addr.IsLinkLocalUnicast() {
			addr = addr.WithZone("")
		} else if index := zoneIndex(zone); index != 0 {
			addr = addr.WithZone(zoneName(index))
		}
	}
	return netip.AddrPortFrom(addr, a.Port())
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// peerAddrPort returns an address without IPv4 mapping, or an invalid one for nil.
func peerAddrPort(addr *net.UDPAddr) netip.AddrPort {
	if addr == nil {
		return netip.AddrPort{}
	}
	return unmapped(addr.AddrPort())
}

// destination is where a datagram is sent to, and from which local address.
type destination struct {
	to     netip.AddrPort
	toAddr net.Addr   // for a foreign connection; nil: to
	local  netip.Addr // where a socket has several; the zero value leaves it to the system
}
