// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/layers"
)

// v6 is an IPv6 address with the port of the client, 1, or of the server, 2.
func v6(n byte) netip.AddrPort {
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: n}
	return netip.AddrPortFrom(netip.AddrFrom16(a), []uint16{0, 40000, 4000}[n])
}

// withExtensions puts extension headers between an IPv6 header and its payload.
func withExtensions(packet []byte, first byte, extensions string) []byte {
	b := slices.Insert(bytes.Clone(packet), 40, []byte(extensions)...)
	b[6] = first
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

func TestIPPackets(t *testing.T) {
	ipv4 := ipOf(t, up(0, pushOf(0, "a")))
	p := up(0, pushOf(0, "a"))
	p.from, p.to = v6(1), v6(2)
	ipv6 := ipOf(t, p)
	options := slices.Insert(bytes.Clone(ipv4), 20, 1, 1, 1, 1)
	options[0], options[3] = 0x46, options[3]+4
	fragment := func(flags byte) []byte { return changed(bytes.Clone(ipv4), 6, flags) }
	const shown = "11223344 PUSH 0 len 1;"
	for _, tt := range []struct {
		name   string
		packet []byte
		want   string
	}{
		{"IPv4", ipv4, shown},
		{"IPv4 with options", options, shown},
		{"not to be fragmented", fragment(0x40), shown},
		{"a first fragment", fragment(0x20), "192.0.2.1 > 192.0.2.2: [fragment of a UDP datagram, skipped]"},
		{"a later fragment", changed(bytes.Clone(ipv4), 7, 9), "192.0.2.1 > 192.0.2.2: [fragment of a UDP datagram, skipped]"},
		{"a header of 16 bytes", changed(bytes.Clone(ipv4), 0, 0x44), ""},
		{"a header beyond the packet", changed(bytes.Clone(ipv4[:40]), 0, 0x4f), ""},
		{"a total length within the header", changed(bytes.Clone(ipv4), 3, 19), ""},
		{"a total length of 0, of a run", changed(bytes.Clone(ipv4), 3, 0), shown},
		{"TCP", changed(bytes.Clone(ipv4), 9, 6), ""},
		{"version 5", changed(bytes.Clone(ipv4), 0, 0x55), ""},
		{"a UDP length of 7", changed(bytes.Clone(ipv4), 25, 7), ""},
		{"a UDP length of 0, of a run", changed(bytes.Clone(ipv4), 25, 0), shown},
		{"a UDP length beyond the packet", changed(bytes.Clone(ipv4), 25, 60), shown[:len(shown)-1] + "; una 0 wnd 128 [27 bytes are not in the capture]"},
		{"IPv6", ipv6, shown},
		{"hop by hop, routing, destination", withExtensions(ipv6, 0, "\x2b\x00______\x3c\x00______\x11\x01______________"), shown},
		{"authentication", withExtensions(ipv6, 51, "\x11\x01__________"), shown},
		{"an atomic fragment", withExtensions(ipv6, 44, "\x11\x00\x00\x00____"), shown},
		{"an IPv6 fragment", withExtensions(ipv6, 44, "\x11\x00\x00\x01____"), "2001:db8::1 > 2001:db8::2: [fragment of a UDP datagram, skipped]"},
		{"a fragment of TCP", withExtensions(ipv6, 44, "\x06\x00\x00\x01____"), ""},
		{"an extension beyond the packet", withExtensions(ipv6, 0, "\x11\xff______"), ""},
		{"too many extensions", withExtensions(ipv6, 0, strings.Repeat("\x00\x00______", 9)), ""},
		{"no next header", withExtensions(ipv6, 59, ""), ""},
	} {
		lines := mustDump(t, pcapOfFrames(t, layers.LinkTypeRaw, tt.packet), "-port", "4000")
		if tt.packet[0] != 0 && strings.Contains(tt.want, "fragment") {
			lines = mustDump(t, pcapOfFrames(t, layers.LinkTypeRaw, tt.packet))
		}
		if !strings.Contains(lines[0], tt.want) || tt.want == "" && lines[0] != "" {
			t.Errorf("%s: got %q, want %q", tt.name, lines[0], tt.want)
		}
	}
	for n := range len(ipv6) {
		parseIP(ipv6[:n])
		if n < len(ipv4) {
			parseIP(ipv4[:n])
		}
	}
}
