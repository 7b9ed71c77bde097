// SPDX-License-Identifier: MIT

package kcp

// keepInSlab makes data, received in s, a segment that stays in it.
func (rcv *receiver) keepInSlab(s *slab, data []byte) recvSegment {
	s.refs++
	rcv.lentBytes += int32(len(data))
	rcv.lentSegs++
	return recvSegment{data: data, slab: s}
}

// lendLeast is the least size of a segment that stays in a slab.
const lendLeast = bufferSmall

// freeReceived gives back the buffer of a segment that has been received, to the cache if there is one.
func (rcv *receiver) freeReceived(seg *recvSegment, cache *bufferCache) {
	if seg.slab != nil {
		rcv.endLend(seg)
	} else {
		rcv.heavy -= memoryWeight(cap(seg.data)) - 1
		cache.put(seg.data)
	}
	seg.data = nil
}

func (rcv *receiver) endLend(seg *recvSegment) {
	rcv.lentBytes -= int32(len(seg.data))
	rcv.lentSegs--
	if seg.slab.refs == 1 {
		rcv.pinned--
	}
	seg.slab.release()
	seg.slab = nil
}

// own moves a segment into a buffer of its own.
func (rcv *receiver) own(seg *recvSegment, cache *bufferCache) {
	if seg.slab == nil {
		return
	}
	data := cache.clone(seg.data)
	rcv.heavy += memoryWeight(cap(data)) - 1
	rcv.endLend(seg)
	seg.data = data
}

// sparse reports whether the slabs of received data hold less than a third of what they take, as when a few segments wait
// behind a hole. A peer must not make a small window cost many times its memory.
func (rcv *receiver) sparse() bool { return int64(rcv.pinned)*bufferLarge > 3*int64(rcv.lentBytes) }

// compact takes what is left out of slabs that are mostly empty.
func (rcv *receiver) compact(cache *bufferCache) {
	if rcv.sparse() {
		rcv.ownAll(nil, cache)
	}
}

// ownAll moves what has been received and not read out of a slab, or out of all for nil.
func (rcv *receiver) ownAll(from *slab, cache *bufferCache) {
	if rcv.in == nil {
		return
	}
	for i := uint32(0); rcv.lentSegs > 0 && i < rcv.in.size(); i++ {
		slot := rcv.in.slot(rcv.readNxt + seqNum(i))
		if seg := &rcv.in.slots[slot]; rcv.in.present.has(slot) && (from == nil || seg.slab == from) {
			rcv.own(seg, cache)
		}
	}
}

// pin notes that a slab of received data stays with the segments in it.
func (rcv *receiver) pin(cache *bufferCache) {
	rcv.pinned++
	rcv.compact(cache)
}
