// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"net/netip"
)

// IP protocol numbers.
const (
	protoHopByHop    = 0
	protoUDP         = 17
	protoRouting     = 43
	protoFragment    = 44
	protoAuth        = 51
	protoDestination = 60
	protoMobility    = 135
)

// extensionsMost is the number of IPv6 extension headers that are skipped.
const extensionsMost = 8

// contents is what an IP packet is, as far as kcpdump cares.
type contents uint8

const (
	contentsOther    contents = iota // no IP, or no UDP
	contentsUDP                      // a whole datagram, or as much of it as was captured
	contentsFragment                 // a fragment of a UDP datagram
)

// A packet is a UDP datagram with its addresses. A fragment has no ports.
type packet struct {
	from, to netip.AddrPort
	payload  []byte
	missing  int // bytes of the payload that were not captured
}

// parseIP parses an IP packet and the UDP header in it.
func parseIP(b []byte) (p packet, c contents) {
	if len(b) < 1 {
		return p, contentsOther
	}
	var from, to netip.Addr
	var next []byte // behind the IP headers
	var proto byte
	var fragment, ok bool
	switch b[0] >> 4 {
	case 4:
		from, to, next, proto, fragment, ok = parseIPv4(b)
	case 6:
		from, to, next, proto, fragment, ok = parseIPv6(b)
	}
	if !ok || proto != protoUDP {
		return p, contentsOther
	}
	if fragment {
		p.from, p.to = netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)
		return p, contentsFragment
	}
	//  0      2    4        6          8
	//  | from | to | length | checksum | payload ...
	if len(next) < 8 {
		return p, contentsOther
	}
	p.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(next))
	p.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(next[2:]))
	length := int(binary.BigEndian.Uint16(next[4:]))
	payload := next[8:]
	switch {
	case length == 0: // of a datagram that the network card was to cut
	case length < 8:
		return p, contentsOther
	case length-8 < len(payload):
		payload = payload[:length-8]
	default:
		p.missing = length - 8 - len(payload)
	}
	p.payload = payload
	return p, contentsUDP
}

// parseIPv4 parses the header of an IPv4 packet.
func parseIPv4(b []byte) (from, to netip.Addr, next []byte, proto byte, fragment, ok bool) {
	if len(b) < 20 {
		return
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 || head > len(b) || total != 0 && total < head {
		return
	}
	if total != 0 && total < len(b) {
		b = b[:total] // padding of a short Ethernet frame
	}
	const moreFragments, offsetMask = 0x2000, 0x1FFF
	fragment = binary.BigEndian.Uint16(b[6:])&(moreFragments|offsetMask) != 0
	return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[head:], b[9], fragment, true
}

// parseIPv6 parses the header of an IPv6 packet and the extension headers.
func parseIPv6(b []byte) (from, to netip.Addr, next []byte, proto byte, fragment, ok bool) {
	if len(b) < 40 {
		return
	}
	from, to = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	proto, next = b[6], b[40:]
	if length := int(binary.BigEndian.Uint16(b[4:])); length != 0 && length < len(next) {
		next = next[:length]
	}
	for range extensionsMost {
		size := 8
		switch proto {
		case protoHopByHop, protoRouting, protoDestination, protoMobility:
			if len(next) >= 2 {
				size = (int(next[1]) + 1) * 8
			}
		case protoAuth:
			if len(next) >= 2 {
				size = (int(next[1]) + 2) * 4
			}
		case protoFragment:
			if len(next) >= 8 {
				// An atomic fragment is whole (RFC 6946).
				const offsetAndMore = 0xFFF9
				fragment = fragment || binary.BigEndian.Uint16(next[2:])&offsetAndMore != 0
			}
		default:
			return from, to, next, proto, fragment, true
		}
		if size > len(next) {
			return
		}
		proto, next = next[0], next[size:]
		if fragment {
			// Behind the first fragment there is no further header to look at.
			return from, to, next, proto, true, true
		}
	}
	return
}
