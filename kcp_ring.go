// SPDX-License-Identifier: MIT

package kcp

import (
	"math/bits"
	"sync"
)

// minRing is the smallest ring: enough for a request and its answer, and small beside its buffers.
const minRing = 16

// bitmap is one bit a ring slot; its length in bits is a power of two.
type bitmap []uint64

func (b bitmap) set(slot uint32) { b[slot>>6] |= 1 << (slot & 63) }

func (b bitmap) clear(slot uint32) { b[slot>>6] &^= 1 << (slot & 63) }

func (b bitmap) has(slot uint32) bool { return b[slot>>6]&(1<<(slot&63)) != 0 }

// run returns how many of the n slots from slot on, in ring order, have the value want without a
// gap.
func (b bitmap) run(slot, n, size uint32, want bool) uint32 {
	var done uint32
	for done < n {
		at := (slot + done) & (size - 1)
		word := b[at>>6]
		if want {
			word = ^word
		}
		// The bits left in this word; a ring smaller than a word wraps earlier.
		left := min(64-at&63, size-at, n-done)
		zeros := uint32(bits.TrailingZeros64(word >> (at & 63)))
		if zeros < left {
			return done + zeros
		}
		done += left
	}
	return n
}

// runBack is run from slot downwards.
func (b bitmap) runBack(slot, n, size uint32, want bool) uint32 {
	var done uint32
	for done < n {
		at := (slot - done) & (size - 1)
		word := b[at>>6]
		if want {
			word = ^word
		}
		left := min(at&63+1, n-done)
		zeros := uint32(bits.LeadingZeros64(word << (63 - at&63)))
		if zeros < left {
			return done + zeros
		}
		done += left
	}
	return n
}

// Rings are pooled by size. A session borrows one while data is under way and returns it empty. So
// an idle session holds none, and a busy one makes no garbage.
var (
	sendRings [33]sync.Pool
	recvRings [33]sync.Pool
)

// ringSize returns the power of two, at least minRing, that holds n slots.
func ringSize(n uint32) uint32 {
	if n <= minRing {
		return minRing
	}
	return 1 << bits.Len32(n-1)
}
