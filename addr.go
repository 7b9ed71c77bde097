// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"
)

// peerAddr identifies a peer by its address; it is comparable. An address whose text is an IP address and a port is a
// netip.AddrPort, whatever its type and network; any other is its text. What a net.PacketConn is given to write to is not
// made from it, but the net.Addr that the program or the connection itself has named the peer by.
type peerAddr struct {
	udp    netip.AddrPort
	custom string
}

// newPeerAddr returns the identity of an address that is not nil. It calls the methods of a foreign type.
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

// thisHost makes the unspecified address the loopback one of its family, as package net does for a dialled socket: that
// is where the kernel sends to, and what its answers come from.
func thisHost(a netip.AddrPort) netip.AddrPort {
	switch ip := a.Addr().Unmap(); {
	case !ip.IsValid(), ip == netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	case ip.IsUnspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	}
	return a
}

// RemoteAddr returns the peer's address, the same value on every call: what the program has dialled, or what the
// ReadFrom of a net.PacketConn returned for the peer.
func (s *UDPSession) RemoteAddr() net.Addr {
	if a := s.remoteAddr(); a != nil {
		return a
	}
	var a net.Addr = net.UDPAddrFromAddrPort(s.peer.udp)
	s.remote.CompareAndSwap(nil, &a)
	return s.remoteAddr()
}

// remoteAddr returns the peer's address as it was named. It is nil for a session accepted on a UDP socket whose address
// nobody has asked for.
func (s *UDPSession) remoteAddr() net.Addr {
	if a := s.remote.Load(); a != nil {
		return *a
	}
	return nil
}

// dialledAs returns under which address a dialled session over a net.PacketConn knows its peer. Such a connection may name
// sources otherwise than the program names the peer: by the address of a proxy, or not at all. So the conversation id
// decides, until a datagram has come from the very address that was dialled.
func (r *reader) dialledAs(p *packet, peer *peerAddr, custom net.Addr) (*peerAddr, net.Addr) {
	var match *UDPSession
	for s := range r.ep.demux.sessions.all {
		if s.peer == *peer {
			s.exactSource.Store(true)
			return peer, custom
		}
		if !s.exactSource.Load() && (s.conv == p.conv || p.kind == packetParity) {
			match = s
		}
	}
	if match == nil {
		return peer, custom
	}
	return &match.peer, match.remoteAddr()
}
