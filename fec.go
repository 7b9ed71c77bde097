// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Forward error correction (docs/protocol.md section 2): k data packets with consecutive seqids make a group, its p parity
// packets take the next p seqids, and any k of the k+p bring the group back.
//
//	0               4       6       8
//	|  seqid u32    | type  | size  | payload ...        data: size = 2 + len(payload)
//	|  seqid u32    | type  | parity bytes ...           parity of everything from size on
//
// A shard is what lies behind the type: a lost data packet comes back with its size.
const (
	fecHeaderSize  = 8 // of a data and of an out-of-band packet
	fecShardOffset = 6 // where the shard begins
	fecSizeBytes   = 2 // the size field counts itself

	fecTypeData, fecTypeParity, fecTypeOOB = 0xF1, 0xF2, 0xF3

	// fecOOBSeqid is no group's: every seqid of a group is below fecShape.wrap, which is at most this.
	fecOOBSeqid = math.MaxUint32

	// fecMaxTotal bounds k+p: the code has so many points. Beyond it deployed peers change to another code.
	fecMaxTotal = 256

	// fecMaxPacket is the largest packet taken for a shard: no peer has an MTU above 1500.
	fecMaxPacket = 1500

	// fecParityGap is how far apart in ms the last two data packets of a group may be for its parity to be sent.
	// Deployed peers do the same: by then the sender's own retransmission is on its way.
	fecParityGap = 500
)

// fecHeader is the first 8 bytes of a FEC packet. In a parity packet size is the first two parity bytes.
type fecHeader struct {
	seqid uint32
	kind  uint16
	size  uint16
}

// append adds the header's wire form to b.
func (h fecHeader) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.seqid)
	b = binary.LittleEndian.AppendUint16(b, h.kind)
	return binary.LittleEndian.AppendUint16(b, h.size)
}

// parseFECHeader reads the header of a packet; false if the packet is shorter than one.
func parseFECHeader(packet []byte) (h fecHeader, ok bool) {
	if len(packet) < fecHeaderSize {
		return h, false
	}
	h.seqid = binary.LittleEndian.Uint32(packet)
	h.kind = binary.LittleEndian.Uint16(packet[4:])
	h.size = binary.LittleEndian.Uint16(packet[fecShardOffset:])
	return h, true
}

// fecDataPayload returns what a data or out-of-band packet carries behind its header; false if the packet is short or
// its size field is not exactly what arrived. Bytes behind size are refused rather than cut off: deployed peers never
// send any, their parity would cover them, and so they could only be somebody else's.
func fecDataPayload(packet []byte) ([]byte, bool) {
	h, ok := parseFECHeader(packet)
	if !ok || int(h.size) != len(packet)-fecShardOffset {
		return nil, false
	}
	return packet[fecHeaderSize:], true
}

// fecShape is how a stream is cut into groups; its zero value is "not known".
type fecShape struct {
	data  int // k, 1..255
	total int // k+p, 2..256
}

// newFECShape checks shard counts; the error names the argument.
func newFECShape(dataShards, parityShards int) (fecShape, error) {
	switch {
	case dataShards < 1 || dataShards >= fecMaxTotal:
		return fecShape{}, badArgument("dataShards", dataShards, fmt.Sprintf("1 to %d", fecMaxTotal-1))
	case parityShards < 1 || parityShards > fecMaxTotal-dataShards:
		return fecShape{}, badArgument("parityShards", parityShards,
			fmt.Sprintf("1 to %d with %d data shards", fecMaxTotal-dataShards, dataShards))
	}
	return fecShape{data: dataShards, total: dataShards + parityShards}, nil
}

func (s fecShape) parity() int { return s.total - s.data }

func (s fecShape) known() bool { return s.total != 0 }

// wrap is where seqids start again at 0: a whole number of groups, so that seqid mod total is the shard's index always.
func (s fecShape) wrap() uint32 {
	return math.MaxUint32 / uint32(s.total) * uint32(s.total)
}

// fits reports whether a packet of this seqid and type has its place in the shape.
func (s fecShape) fits(seqid uint32, parity bool) bool {
	if !s.known() || seqid > math.MaxUint32-fecMaxTotal && seqid >= s.wrap() {
		return false
	}
	return (int(seqid%uint32(s.total)) >= s.data) == parity
}

// align returns the first group boundary at or after seqid.
func (s fecShape) align(seqid uint32) uint32 {
	total := uint64(s.total)
	next := (uint64(seqid) + total - 1) / total * total
	if next >= uint64(s.wrap()) {
		return 0
	}
	return uint32(next)
}

// fecMiddle returns the one of three seqids that lies between the other two on the circle of 32-bit numbers: one
// outlier among three never moves it.
func fecMiddle(a, b, c uint32) uint32 {
	ab, bc, ac := fecDistance(a, b), fecDistance(b, c), fecDistance(a, c)
	switch {
	case ac >= ab && ac >= bc:
		return b
	case ab >= bc:
		return c
	default:
		return a
	}
}

func fecDistance(a, b uint32) uint32 {
	if d := a - b; int32(d) >= 0 {
		return d
	}
	return b - a
}

// fecShards is a Reed-Solomon configuration; 0/0 is none.
type fecShards struct{ data, parity int }

// check validates a configuration and makes all that is none 0/0: both numbers zero or less. The error names the argument
// that is out of range, by the names that they have for the caller.
func (f fecShards) check(dataName, parityName string) (fecShards, error) {
	switch {
	case f.data <= 0 && f.parity <= 0:
		return fecShards{}, nil
	case f.data <= 0 || f.data >= fecMaxTotal:
		return f, badArgument(dataName, f.data, fmt.Sprintf("1 to %d", fecMaxTotal-1))
	case f.parity <= 0 || f.parity > fecMaxTotal-f.data:
		return f, badArgument(parityName, f.parity, fmt.Sprintf("1 to %d with %d data shards", fecMaxTotal-f.data, f.data))
	}
	return f, nil
}
