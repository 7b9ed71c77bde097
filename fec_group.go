// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// The code of groups that their parity packets name (S2.22). The coefficient of a data packet does
// not depend on how many follow it, so that a sender may close a group at any time:
//
//	parity[i] = sum over the data packets m of data[m] / (point(i) - m), with point(i) = 255 - i
//
// This is a Cauchy matrix over GF(2^8), of which each square part can be inverted: any k of the
// k + p packets recover the others. Each data packet takes part together with a check of its
// content (S2.20), which costs nothing in the data packet itself. What is recovered must fit the
// check that is recovered with it.

const (
	// fecCheckSize is the size of the check in front of a shard.
	fecCheckSize = 4

	// fecGroupOverhead is by how many bytes a parity packet that names its group is longer than a
	// data packet with the same segments.
	fecGroupOverhead = fecGroupHeaderSize + fecCheckSize + fecSizeBytes - fecHeaderSize
)

var fecCastagnoli = crc32.MakeTable(crc32.Castagnoli)

// fecCheck returns the check of a data packet from its seqid on.
//
// A CRC is linear. It fits a sum of packets whenever it fits each of them, and where the
// coefficients are 1 a recovered packet is such a sum, whether or not it is the right one.
// Therefore the bits of the CRC are mixed, by multiplications of 32-bit numbers.
func fecCheck(packet []byte) uint32 {
	return fecMix(crc32.Update(0, fecCastagnoli, packet))
}

func fecMix(c uint32) uint32 {
	c ^= c >> 16
	c *= 0x7FEB352D
	c ^= c >> 15
	c *= 0x846CA68B
	return c ^ c>>16
}

// fecPoint returns the point of a parity packet. That of a data packet is its index in the group.
func fecPoint(index uint8) uint8 { return 255 - index }

// fecInverse returns 1/x for x other than 0.
func fecInverse(x uint8) uint8 { return fecExp[fecFieldOrder-int(fecLog[x])] }

// fecProduct returns x*y.
func fecProduct(x, y uint8) uint8 {
	if x == 0 || y == 0 {
		return 0
	}
	return fecExp[int(fecLog[x])+int(fecLog[y])]
}

// fecNames reports whether the parity of a group can be of a conversation: all its data packets
// begin with that id behind the size, so that the parity has a multiple of it there.
func fecNames(g fecGroup, parity []byte, conv uint32) bool {
	const at = fecCheckSize + fecSizeBytes
	if len(parity) < at+4 {
		return false
	}
	sum := uint8(0)
	for m := range g.k {
		sum ^= fecInverse(fecPoint(g.index) ^ m)
	}
	for i := range 4 {
		if fecProduct(sum, uint8(conv>>(8*i))) != parity[at+i] {
			return false
		}
	}
	return true
}

// fecSolver computes the missing data packets of a group from its other data packets and as many
// parity packets. Its sets hold points.
type fecSolver struct {
	missing []uint8
	parity  []uint8
	chosen  [][]byte // the parity packets at the points of parity
	length  int      // of each
	results [][]byte // what has been computed, in the order of missing
	scratch [fecShardOffset]byte
}

// takes reports whether the parity packet at a point has been chosen.
func (s *fecSolver) takes(point uint8) bool { return slices.Contains(s.parity, point) }

// weight returns the logarithm of the factor of a known packet for all that are missing.
func (s *fecSolver) weight(point uint8) int {
	return int(fecWeight(point, s.missing)) - int(fecWeight(point, s.parity))
}

// coefficient returns that of the known packet at a point, which has the given weight, for the
// missing data packet y.
func (s *fecSolver) coefficient(y uint8, weightY int, point uint8, weight int) uint8 {
	log := weight - weightY - int(fecLog[y^point]) + 3*fecFieldOrder
	return fecExp[log%fecFieldOrder]
}

// fits reports whether a recovered packet, its check and its shard, is as its check says, and
// returns the size of the shard. Bytes behind the shard must be padding.
func (s *fecSolver) fits(seqid uint32, b []byte) (size int, ok bool) {
	shard := b[fecCheckSize:]
	if size = int(binary.LittleEndian.Uint16(shard)); size < fecSizeBytes || size > len(shard) {
		return 0, false
	}
	for _, pad := range shard[size:] {
		if pad != 0 {
			return 0, false
		}
	}
	h := s.scratch[:]
	binary.LittleEndian.PutUint32(h, seqid)
	binary.LittleEndian.PutUint16(h[4:], fecTypeData)
	sum := crc32.Update(crc32.Update(0, fecCastagnoli, h), fecCastagnoli, shard[:size])
	return size, fecMix(sum) == binary.LittleEndian.Uint32(b)
}
