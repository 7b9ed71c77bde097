// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"math/bits"
)

// The value of ACKR repeats which segments a receiver holds beyond rcv_nxt (docs/protocol.md
// S4.35). Both numbers of a range are varints of 7 bits a byte, the low bits first:
//
//	0      4          8     9
//	| ts   | rcv_nxt  | n   | gap, length | gap, length | ... | ect0 u32 | ect1 u32 | ce u32 |
const (
	ctlAckRanges = 7

	ackRangesMost   = 64    // ranges in a message
	ackRangesHeader = 9     // bytes before the first range
	ackRangeMost    = 2 * 5 // bytes of a range

	// ackRangesLargest is the size of the largest message, with its type and length.
	ackRangesLargest = 2 + 255
)

// helloRanges is bit 2 of a HELLO's flags: the sender reads ACKR.
const helloRanges = 1 << 2

// A snRange is the sequence numbers from first to before end.
type snRange struct{ first, end seqNum }

// appendAckRanges appends an ACKR of at most size bytes, type and length included, with as many of
// the ranges as fit. They come in descending order, and none touches another (S4.36). ts is that of
// the newest PUSH.
func appendAckRanges(b []byte, ts timestamp, rcvNxt seqNum, ranges []snRange, size int) []byte {
	ranges = ranges[:rangesThatFit(rcvNxt, ranges, min(size, ackRangesLargest)-2-ackRangesHeader)]
	start := len(b)
	b = append(b, ctlAckRanges, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(ts))
	b = binary.LittleEndian.AppendUint32(b, uint32(rcvNxt))
	b = append(b, uint8(len(ranges)))
	at := rcvNxt
	for i := len(ranges) - 1; i >= 0; i-- {
		r := ranges[i]
		b = binary.AppendUvarint(b, uint64(at.distance(r.first)))
		b = binary.AppendUvarint(b, uint64(r.first.distance(r.end)))
		at = r.end
	}
	b[start+1] = uint8(len(b) - start - 2)
	return b
}

// rangesThatFit returns how many of the ranges, from the first on, take at most size bytes.
func rangesThatFit(rcvNxt seqNum, ranges []snRange, size int) (n int) {
	used := 0 // by those before, with their gaps
	for i, r := range ranges {
		length := varintSize(r.first.distance(r.end))
		if i >= ackRangesMost || used+length+varintSize(rcvNxt.distance(r.first)) > size {
			break
		}
		n++
		if i+1 < len(ranges) {
			used += length + varintSize(ranges[i+1].end.distance(r.first))
		}
	}
	return n
}

// varintSize returns how many bytes a varint takes.
func varintSize(v uint32) int { return (bits.Len32(v|1) + 6) / 7 }

// ackRanges reads the value of an ACKR, range by range.
type ackRanges struct {
	ts     timestamp
	rcvNxt seqNum
	at     seqNum // the end of the previous range
	left   uint8
	b      []byte
}

// readAckRanges begins to read a value of at least ackRangesHeader bytes.
func readAckRanges(value []byte) ackRanges {
	le := binary.LittleEndian
	rcvNxt := seqNum(le.Uint32(value[4:]))
	return ackRanges{
		ts: timestamp(le.Uint32(value)), rcvNxt: rcvNxt, at: rcvNxt,
		left: value[8], b: value[ackRangesHeader:],
	}
}

// next returns the next range. ok is false if it does not lie between the one before and limit, or
// is cut off or empty (S4.38). Nothing behind such a range is read. The range is empty, and ok is
// true, after the last one.
func (a *ackRanges) next(limit seqNum) (r snRange, ok bool) {
	if a.left == 0 {
		return snRange{}, true
	}
	gap, n := binary.Uvarint(a.b)
	if n <= 0 {
		return snRange{}, false
	}
	length, m := binary.Uvarint(a.b[n:])
	room := uint64(a.at.distance(limit))
	if m <= 0 || length == 0 || gap > room || length > room-gap || gap == 0 && a.at != a.rcvNxt {
		return snRange{}, false
	}
	a.b = a.b[n+m:]
	a.left--
	first := a.at + seqNum(gap)
	a.at = first + seqNum(length)
	return snRange{first, a.at}, true
}
