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
//
// A shard is what lies behind the type: a lost data packet is recovered with its size.
const (
	fecHeaderSize  = 8 // of a data and of an out-of-band packet
	fecShardOffset = 6 // where the shard begins
	fecSizeBytes   = 2 // the size field counts itself

	fecTypeData, fecTypeParity, fecTypeOOB = 0xF1, 0xF2, 0xF3

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
