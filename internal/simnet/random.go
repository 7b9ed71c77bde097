// SPDX-License-Identifier: MIT

package simnet

import (
	"encoding/binary"
	"math/bits"
)

// purpose distinguishes the random draws for one packet.
type purpose uint64

const (
	drawLoss purpose = iota + 1
	drawBurstStep
	drawBurstLoss
	drawRun
	drawDuplicate
	drawDuplicateDelay
	drawCorrupt
	drawCorruptFirst
	drawCorruptStep
	drawJitter
	drawReorder
	// drawCopy is added for the second copy of a duplicated packet.
	drawCopy purpose = 1 << 8
)

// Odd constants: the fractional parts of the golden ratio and of the square
// roots of 2, 3 and 5.
const (
	oddPhi   = 0x9e3779b97f4a7c15
	oddRoot2 = 0x6a09e667f3bcc909
	oddRoot3 = 0xbb67ae8584caa73b
	oddRoot5 = 0x3c6ef372fe94f82b
)

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection
// in which every input bit sways every output bit.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// chain adds one word to a digest.
func chain(h, w uint64) uint64 {
	return mix(bits.RotateLeft64(h, 23) + oddPhi ^ w)
}

// draw is the random number that key (a link's) gives packet index for what.
func draw(key, index uint64, what purpose) uint64 {
	return mix(mix(key+index*oddPhi) + uint64(what)*oddRoot2)
}

// chance maps a draw to an event of probability p.
func chance(r uint64, p float64) bool {
	return float64(r>>11)*0x1p-53 < p
}

// below maps a draw to [0, limit). It returns 0 when limit is not positive.
func below(r uint64, limit int64) int64 {
	if limit <= 0 {
		return 0
	}
	hi, _ := bits.Mul64(r, uint64(limit))
	return int64(hi)
}

// digest hashes a payload. Four lanes keep the multiplier busy: every packet
// pays for this.
func digest(b []byte) uint64 {
	h := [4]uint64{oddPhi, oddRoot2, oddRoot3, oddRoot5 ^ uint64(len(b))}
	for ; len(b) >= 32; b = b[32:] {
		h[0] = lane(h[0], binary.LittleEndian.Uint64(b))
		h[1] = lane(h[1], binary.LittleEndian.Uint64(b[8:]))
		h[2] = lane(h[2], binary.LittleEndian.Uint64(b[16:]))
		h[3] = lane(h[3], binary.LittleEndian.Uint64(b[24:]))
	}
	for ; len(b) >= 8; b = b[8:] {
		h[0] = lane(h[0], binary.LittleEndian.Uint64(b))
	}
	for _, c := range b {
		h[1] = lane(h[1], uint64(c)+1)
	}
	return chain(chain(chain(mix(h[0]), h[1]), h[2]), h[3])
}

// lane multiplies before and after the rotation: with one product alone, the top
// bit of a word would only ever change one bit that the next word can undo.
func lane(h, w uint64) uint64 {
	return bits.RotateLeft64(h+w*oddRoot3, 31) * oddPhi
}
