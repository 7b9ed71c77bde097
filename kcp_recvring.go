// SPDX-License-Identifier: MIT

package kcp

import "math/bits"

// recvSegment is a slot of the receive window.
type recvSegment struct {
	data []byte // pooled, or in slab
	slab *slab
	frg  uint8
}

// recvRing is the storage of a receive window, indexed by sequence number.
type recvRing struct {
	slots   []recvSegment
	present bitmap
	parts   *partialSegments // nil unless segments have arrived in part
}

func (r *recvRing) size() uint32 { return uint32(len(r.slots)) }

func (r *recvRing) slot(sn seqNum) uint32 { return uint32(sn) & uint32(len(r.slots)-1) }

func (r *recvRing) at(sn seqNum) *recvSegment { return &r.slots[uint32(sn)&uint32(len(r.slots)-1)] }

func getRecvRing(n uint32) *recvRing {
	size := ringSize(n)
	if r, _ := recvRings[bits.Len32(size)].Get().(*recvRing); r != nil {
		return r
	}
	return &recvRing{slots: make([]recvSegment, size), present: make(bitmap, (size+63)/64)}
}

// putRecvRing takes back a ring that holds nothing.
func putRecvRing(r *recvRing) {
	recvRings[bits.Len32(r.size())].Put(r)
}

func (r *recvRing) grow(n uint32, from seqNum) *recvRing {
	bigger := getRecvRing(n)
	for i := range r.size() {
		sn := from + seqNum(i)
		if r.present.has(r.slot(sn)) {
			*bigger.at(sn) = *r.at(sn)
			bigger.present.set(bigger.slot(sn))
		}
	}
	bigger.parts, r.parts = r.parts, nil
	clear(r.slots)
	clear(r.present)
	putRecvRing(r)
	return bigger
}

// newestRanges fills ranges with the runs of segments that are present from next to before end, the
// highest first, and returns how many there are.
func (r *recvRing) newestRanges(next, end seqNum, ranges []snRange) (n int) {
	left := next.distance(end)
	for n < len(ranges) {
		left -= r.present.runBack(r.slot(end-1), left, r.size(), false)
		if left == 0 {
			break
		}
		end = next + seqNum(left)
		left -= r.present.runBack(r.slot(end-1), left, r.size(), true)
		ranges[n] = snRange{next + seqNum(left), end}
		n++
		end = ranges[n-1].first
	}
	return n
}
