// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"math"
)

// The header of FEC packets (docs/protocol.md section 2):
//
//	0               4       6       8
//	|  seqid u32    | type  | size  | payload ...        data: size = 2 + len(payload)
//	|  seqid u32    | type  | parity bytes ...           parity of everything from size on
//	|  seqid u32    | type  | i | k | p | 0 | first u32 | parity bytes ...     of a named group
//
// A shard is what lies behind the type: a lost data packet is recovered with its size.
const (
	fecHeaderSize  = 8 // of a data and of an out-of-band packet
	fecShardOffset = 6 // where the shard begins
	fecSizeBytes   = 2 // the size field counts itself

	fecTypeData, fecTypeParity, fecTypeOOB, fecTypeGroup = 0xF1, 0xF2, 0xF3, 0xF4

	fecGroupHeaderSize = 14 // of a parity packet that names its group

	// fecOOBSeqid belongs to no group: every seqid of a group is below fecShape.wrap, which is at
	// most this.
	fecOOBSeqid = math.MaxUint32
)

// fecHeader is the first 8 bytes of a FEC packet (S2.2). In a parity packet, size is the first two
// bytes of parity.
type fecHeader struct {
	seqid uint32
	kind  uint16
	size  uint16
}

// append appends the header's wire form to b.
func (h fecHeader) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.seqid)
	b = binary.LittleEndian.AppendUint16(b, h.kind)
	return binary.LittleEndian.AppendUint16(b, h.size)
}

// parseFECHeader reads the header of a packet. It returns false if the packet is too short.
func parseFECHeader(packet []byte) (h fecHeader, ok bool) {
	if len(packet) < fecHeaderSize {
		return h, false
	}
	h.seqid = binary.LittleEndian.Uint32(packet)
	h.kind = binary.LittleEndian.Uint16(packet[4:])
	h.size = binary.LittleEndian.Uint16(packet[fecShardOffset:])
	return h, true
}

// fecDataPayload returns what follows the header of a data or out-of-band packet (S2.8). It returns
// false if the packet is short, or its size field differs from what arrived. Bytes behind size are
// refused instead of cut off: legacy peers never send any, and parity would cover them.
func fecDataPayload(packet []byte) ([]byte, bool) {
	h, ok := parseFECHeader(packet)
	if !ok || int(h.size) != len(packet)-fecShardOffset {
		return nil, false
	}
	return packet[fecHeaderSize:], true
}

// helloGroups is bit 3 of a HELLO's flags: the sender reads parity packets that name their group.
const helloGroups = 1 << 3

// fecGroup is the header of a parity packet that names its group (S2.19): parity index of the p
// over the k data packets from seqid first on.
type fecGroup struct {
	first       uint32
	index, k, p uint8
}

// next returns the seqid behind the group's last data packet.
func (g fecGroup) next() uint32 { return g.first + uint32(g.k) }

// append appends the header's wire form to b.
func (g fecGroup) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, g.next())
	b = binary.LittleEndian.AppendUint16(b, fecTypeGroup)
	b = append(b, g.index, g.k, g.p, 0)
	return binary.LittleEndian.AppendUint32(b, g.first)
}

// parseFECGroup reads the header of a parity packet that names its group, and returns the parity
// behind it. It returns false if the packet is too short or its fields do not fit each other
// (S2.21).
func parseFECGroup(packet []byte) (g fecGroup, parity []byte, ok bool) {
	if len(packet) < fecGroupHeaderSize || binary.LittleEndian.Uint16(packet[4:]) != fecTypeGroup {
		return g, nil, false
	}
	g = fecGroup{
		first: binary.LittleEndian.Uint32(packet[10:]),
		index: packet[6], k: packet[7], p: packet[8],
	}
	ok = g.k > 0 && g.index < g.p && packet[9] == 0 &&
		g.next() == binary.LittleEndian.Uint32(packet)
	return g, packet[fecGroupHeaderSize:], ok
}

// isFECGroup reports whether an opened datagram is a parity packet that names its group.
func isFECGroup(packet []byte) bool {
	return len(packet) >= fecHeaderSize &&
		binary.LittleEndian.Uint16(packet[4:]) == fecTypeGroup
}
