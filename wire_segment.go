// SPDX-License-Identifier: MIT

package kcp

import "encoding/binary"

// The KCP segment (docs/protocol.md S1.1). All integers are little-endian.
//
//	0       4   5   6     8       12      16      20      24
//	| conv  |cmd|frg| wnd |  ts   |  sn   |  una  |  len  | data[len] |
const (
	segmentHeaderSize = 24
	segmentSNOffset   = 12
)

// maxFragments is the most segments that a message may have: frg counts down from 255.
const maxFragments = 256

// Segment commands.
const (
	cmdPush = 81 // data
	cmdAck  = 82 // acknowledges one PUSH
	cmdWask = 83 // asks the peer for its window
	cmdWins = 84 // announces the window; carries control messages in its data
)

// seqNum is a segment sequence number, modulo 2^32.
type seqNum uint32

// before reports whether a comes before b: the one wrap-safe comparison (S1.3).
func (a seqNum) before(b seqNum) bool { return int32(a-b) < 0 }

// distance returns how far b lies ahead of a, modulo 2^32.
func (a seqNum) distance(b seqNum) uint32 { return uint32(b - a) }

// timestamp is a time on the wire, in milliseconds of the sender's clock, modulo 2^32.
type timestamp uint32

// since returns the time from b to a, negative if a comes before b.
func (a timestamp) since(b timestamp) millis { return millis(int32(a - b)) }

// before reports whether a comes before b.
func (a timestamp) before(b timestamp) bool { return a.since(b) < 0 }

// A segment is one parsed segment. data aliases the datagram it was parsed from.
type segment struct {
	conv uint32
	cmd  uint8
	frg  uint8
	wnd  uint16
	ts   timestamp
	sn   seqNum
	una  seqNum
	data []byte
}

// parseStatus is why the parsing of a datagram has stopped.
type parseStatus uint8

const (
	parseOK        parseStatus = iota
	parseShort                 // fewer than 24 bytes are left
	parseTruncated             // len goes beyond the datagram
	parseUnknown               // a cmd that does not exist
)

// parseSegment parses the first segment of b and returns the rest. The length is compared as an
// unsigned number, so a len of 2^31 or more is truncated on 32-bit systems too.
func parseSegment(b []byte, s *segment) (rest []byte, status parseStatus) {
	if len(b) < segmentHeaderSize {
		return nil, parseShort
	}
	_ = b[segmentHeaderSize-1]
	s.conv = binary.LittleEndian.Uint32(b)
	s.cmd = b[4]
	s.frg = b[5]
	s.wnd = binary.LittleEndian.Uint16(b[6:])
	s.ts = timestamp(binary.LittleEndian.Uint32(b[8:]))
	s.sn = seqNum(binary.LittleEndian.Uint32(b[12:]))
	s.una = seqNum(binary.LittleEndian.Uint32(b[16:]))
	n := binary.LittleEndian.Uint32(b[20:])
	b = b[segmentHeaderSize:]
	if uint64(n) > uint64(len(b)) {
		return nil, parseTruncated
	}
	if s.cmd < cmdPush || s.cmd > cmdWins {
		return nil, parseUnknown
	}
	s.data = b[:n:n]
	return b[n:], parseOK
}

// putHeader writes the 24-byte header of s, with dataLen as its len, to b.
func putHeader(b []byte, s *segment, dataLen int) {
	_ = b[segmentHeaderSize-1]
	binary.LittleEndian.PutUint32(b, s.conv)
	b[4] = s.cmd
	b[5] = s.frg
	binary.LittleEndian.PutUint16(b[6:], s.wnd)
	binary.LittleEndian.PutUint32(b[8:], uint32(s.ts))
	binary.LittleEndian.PutUint32(b[12:], uint32(s.sn))
	binary.LittleEndian.PutUint32(b[16:], uint32(s.una))
	binary.LittleEndian.PutUint32(b[20:], uint32(dataLen))
}

// appendSegment appends s, header and data, to b.
func appendSegment(b []byte, s *segment) []byte {
	n := len(b)
	b = append(b, make([]byte, segmentHeaderSize)...)
	putHeader(b[n:], s, len(s.data))
	return append(b, s.data...)
}

// clockSlack is how far a peer's clock may be from the expected one. A packet can be late, and this
// machine can have slept, for as long as the peer waits. Sessions begin at a random point of 2^32
// ms. So one restart in 36000 looks like the earlier peer, or a few more after a long silence.
const clockSlack millis = 60000

// clockFits reports whether ts can be of the clock that showed newest so long ago. The peer may
// have slept, and its clock stood still.
func clockFits(ts, newest timestamp, ago millis) bool {
	ahead := ts.since(newest)
	return ago > 1<<31-2*clockSlack || -clockSlack < ahead && ahead < ago+clockSlack
}

// probeDistance is the least distance of a probe's sn below everything else.
const probeDistance = 1 << 29

// belowAll returns one of 2^29 sequence numbers far below any that a receiver can expect whose peer
// has seen everything below una acknowledged.
func belowAll(una seqNum, secret uint64) seqNum {
	return una - probeDistance - seqNum(secret&(probeDistance-1))
}
