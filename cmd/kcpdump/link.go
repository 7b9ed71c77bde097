// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"

	"github.com/gopacket/gopacket/layers"
)

// EtherTypes.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86DD
	etherVLAN = 0x8100
	etherQinQ = 0x88A8
	etherOld  = 0x9100 // of stacked VLANs, before 802.1ad
)

// Link types of which gopacket has other numbers, or none.
const (
	linkRawBSD  layers.LinkType = 12 // LINKTYPE_RAW as OpenBSD and old files number it
	linkRawBSD2 layers.LinkType = 14
	linkSLL2    layers.LinkType = 276
)

// tagsMost is the number of VLAN tags that are skipped.
const tagsMost = 4

// network returns the IP packet of a frame. It returns nil if there is none, and known is false for
// a link type that is not supported.
func network(link layers.LinkType, b []byte) (packet []byte, known bool) {
	var ether uint16
	switch link {
	case layers.LinkTypeRaw, linkRawBSD, linkRawBSD2, layers.LinkTypeIPv4, layers.LinkTypeIPv6:
		return b, true
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		return loopback(link, b), true
	case layers.LinkTypeEthernet:
		//  0        6        12     14
		//  | to     | from   | type | ...
		if len(b) < 14 {
			return nil, true
		}
		ether, b = binary.BigEndian.Uint16(b[12:]), b[14:]
	case layers.LinkTypeLinuxSLL:
		//  0      2        4        6         14     16
		//  | kind | device | length | address | type | ...
		if len(b) < 16 {
			return nil, true
		}
		ether, b = binary.BigEndian.Uint16(b[14:]), b[16:]
	case linkSLL2:
		//  0      2    4       8        10     11       12        20
		//  | type | 0  | index | device | kind | length | address | ...
		if len(b) < 20 {
			return nil, true
		}
		ether, b = binary.BigEndian.Uint16(b), b[20:]
	default:
		return nil, false
	}
	for range tagsMost {
		if ether != etherVLAN && ether != etherQinQ && ether != etherOld || len(b) < 4 {
			break
		}
		ether, b = binary.BigEndian.Uint16(b[2:]), b[4:]
	}
	if ether != etherIPv4 && ether != etherIPv6 {
		return nil, true
	}
	return b, true
}

// loopback returns the IP packet behind the address family of a BSD loopback frame. The family is
// in the byte order of the machine that captured, or in network order; its values differ between
// systems. The version of the packet tells IPv4 from IPv6.
func loopback(link layers.LinkType, b []byte) []byte {
	if len(b) < 4 {
		return nil
	}
	family := binary.BigEndian.Uint32(b)
	if link == layers.LinkTypeNull && family > 0xFFFF {
		family = binary.LittleEndian.Uint32(b)
	}
	switch family {
	case 2, 10, 23, 24, 28, 30: // AF_INET, and AF_INET6 of Linux, Windows, NetBSD, FreeBSD, macOS
		return b[4:]
	}
	return nil
}
