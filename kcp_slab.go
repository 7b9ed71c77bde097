// SPDX-License-Identifier: MIT

package kcp

// keepInSlab returns a segment for data that was received in s and stays there.
func (rcv *receiver) keepInSlab(s *slab, data []byte) recvSegment {
	s.refs++
	rcv.lentBytes += int32(len(data))
	rcv.lentSegs++
	return recvSegment{data: data, slab: s}
}

// lendLeast is the least size of a segment that stays in a slab.
const lendLeast = bufferSmall

// freeReceived releases the buffer of a received segment, to the cache if there is one.
func (rcv *receiver) freeReceived(seg *recvSegment, cache *bufferCache) {
	if seg.slab != nil {
		rcv.endLend(seg)
	} else {
		rcv.unweigh(seg)
		cache.put(seg.data)
	}
	seg.data = nil
}

// unweigh takes a segment out of the count of large ones, which is in a buffer of its own.
func (rcv *receiver) unweigh(seg *recvSegment) { rcv.heavy -= memoryWeight(cap(seg.data)) - 1 }

func (rcv *receiver) endLend(seg *recvSegment) {
	rcv.lentBytes -= int32(len(seg.data))
	rcv.lentSegs--
	if seg.slab.refs == 1 {
		rcv.pinned--
	}
	seg.slab.release()
	seg.slab = nil
}

// own copies a segment out of its slab.
func (rcv *receiver) own(seg *recvSegment, cache *bufferCache) {
	if seg.slab == nil {
		return
	}
	data := cache.clone(seg.data)
	rcv.heavy += memoryWeight(cap(data)) - 1
	rcv.endLend(seg)
	seg.data = data
}

// sparse reports whether the slabs of received data are filled to less than a third, as when a few
// segments wait behind a gap. A peer must not make a small window cost many times its memory.
func (rcv *receiver) sparse() bool { return int64(rcv.pinned)*bufferLarge > 3*int64(rcv.lentBytes) }

// compact copies the remaining segments out of slabs that are mostly empty.
func (rcv *receiver) compact(cache *bufferCache) {
	if rcv.sparse() {
		rcv.ownAll(nil, cache)
	}
}

// ownAll copies what has been received and not read out of the slab from, or out of all slabs if
// from is nil.
func (rcv *receiver) ownAll(from *slab, cache *bufferCache) {
	if rcv.in == nil {
		return
	}
	for i := uint32(0); rcv.lentSegs > 0 && i < rcv.in.size(); i++ {
		slot := rcv.in.slot(rcv.readNxt + seqNum(i))
		seg := &rcv.in.slots[slot]
		if rcv.in.present.has(slot) && (from == nil || seg.slab == from) {
			rcv.own(seg, cache)
		}
	}
}

// pin notes that a slab of received data is kept with the segments in it.
func (rcv *receiver) pin(cache *bufferCache) {
	rcv.pinned++
	rcv.compact(cache)
}
