// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"math"
)

// Forward error correction (docs/protocol.md, section 2): k data packets with consecutive seqids
// make a group. Its p parity packets take the next p seqids. Any k of the k+p packets recover the
// group.
const (
	// fecMaxTotal bounds k+p (S2.1): the code has that many points. Beyond it legacy peers use
	// another code.
	fecMaxTotal = 256

	// fecMaxPacket is the largest packet accepted as a shard. Only a peer whose path carries more
	// has an MTU above 1500.
	fecMaxPacket = bufferHuge

	// fecParityGap is the least time in ms between the last two data packets of a group for which
	// no parity is sent (S2.5). Legacy peers do the same: the sender's own retransmission is on its
	// way by then.
	fecParityGap = 500
)

// fecShape is how a stream is divided into groups. Its zero value is an unknown shape.
type fecShape struct {
	data  int // k, 1..255
	total int // k+p, 2..256
}

// newFECShape checks shard counts. An error names the argument.
func newFECShape(dataShards, parityShards int) (fecShape, error) {
	switch {
	case dataShards < 1 || dataShards >= fecMaxTotal:
		want := fmt.Sprintf("1 to %d", fecMaxTotal-1)
		return fecShape{}, badArgument("dataShards", dataShards, want)
	case parityShards < 1 || parityShards > fecMaxTotal-dataShards:
		return fecShape{}, badArgument("parityShards", parityShards,
			fmt.Sprintf("1 to %d with %d data shards", fecMaxTotal-dataShards, dataShards))
	}
	return fecShape{data: dataShards, total: dataShards + parityShards}, nil
}

func (s fecShape) parity() int { return s.total - s.data }

// parityOf returns the parity of a group that is closed with n data packets: their share and half a
// packet, rounded up.
func (s fecShape) parityOf(n int) int {
	return min(s.parity(), (2*s.parity()*n+3*s.data-1)/(2*s.data))
}

func (s fecShape) known() bool { return s.total != 0 }

// wrap returns where seqids start again at 0 (S2.3). It is a whole number of groups, so that seqid
// mod total is always the shard's index.
func (s fecShape) wrap() uint32 {
	return math.MaxUint32 / uint32(s.total) * uint32(s.total)
}

// fits reports whether a packet of this seqid and type has a place in the shape.
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

// fecMiddle returns the one of three seqids that lies between the other two on the circle of 32-bit
// numbers. A single outlier does not move it.
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

// fecShards is a Reed-Solomon configuration. 0/0 is none.
type fecShards struct{ data, parity int }

// check validates a configuration. It returns 0/0 if both numbers are zero or less. An error names
// the argument that is out of range, as the caller calls it.
func (f fecShards) check(dataName, parityName string) (fecShards, error) {
	switch {
	case f.data <= 0 && f.parity <= 0:
		return fecShards{}, nil
	case f.data <= 0 || f.data >= fecMaxTotal:
		return f, badArgument(dataName, f.data, fmt.Sprintf("1 to %d", fecMaxTotal-1))
	case f.parity <= 0 || f.parity > fecMaxTotal-f.data:
		want := fmt.Sprintf("1 to %d with %d data shards", fecMaxTotal-f.data, f.data)
		return f, badArgument(parityName, f.parity, want)
	}
	return f, nil
}

// fecPair is a valid fecShards in two bytes.
type fecPair struct{ data, parity uint8 }

func (f fecShards) pair() fecPair { return fecPair{uint8(f.data), uint8(f.parity)} }
