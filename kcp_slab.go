// SPDX-License-Identifier: MIT

package kcp

// keepInSlab makes data, received in s, a segment that stays in it.
func (c *receiver) keepInSlab(s *slab, data []byte) recvSegment {
	s.refs++
	c.lentBytes += int32(len(data))
	c.lentSegs++
	return recvSegment{data: data, slab: s}
}

// lendLeast is the least size of a segment that stays in a slab.
const lendLeast = bufferSmall

// freeReceived gives back the buffer of a segment that has been received, to the cache if there is one.
func (c *receiver) freeReceived(seg *recvSegment, cache *bufferCache) {
	if seg.slab != nil {
		c.endLend(seg)
	} else {
		c.heavy -= memoryWeight(cap(seg.data)) - 1
		cache.put(seg.data)
	}
	seg.data = nil
}

func (c *receiver) endLend(seg *recvSegment) {
	c.lentBytes -= int32(len(seg.data))
	c.lentSegs--
	if seg.slab.refs == 1 {
		c.pinned--
	}
	seg.slab.release()
	seg.slab = nil
}

// own moves a segment into a buffer of its own.
func (c *receiver) own(seg *recvSegment, cache *bufferCache) {
	if seg.slab == nil {
		return
	}
	data := cache.clone(seg.data)
	c.heavy += memoryWeight(cap(data)) - 1
	c.endLend(seg)
	seg.data = data
}

// sparse reports whether the slabs of received data hold less than a third of what they take, as when a few segments wait
// behind a hole. A peer must not make a small window cost many times its memory.
func (c *receiver) sparse() bool { return int64(c.pinned)*bufferLarge > 3*int64(c.lentBytes) }

// compact takes what is left out of slabs that are mostly empty.
func (c *receiver) compact(cache *bufferCache) {
	if c.sparse() {
		c.ownAll(nil, cache)
	}
}

// ownAll moves what has been received and not read out of a slab, or out of all for nil.
func (c *receiver) ownAll(from *slab, cache *bufferCache) {
	if c.in == nil {
		return
	}
	for i := uint32(0); c.lentSegs > 0 && i < c.in.size(); i++ {
		slot := c.in.slot(c.readNxt + seqNum(i))
		if seg := &c.in.slots[slot]; c.in.present.has(slot) && (from == nil || seg.slab == from) {
			c.own(seg, cache)
		}
	}
}

// pin notes that a slab of received data stays with the segments in it.
func (c *receiver) pin(cache *bufferCache) {
	c.pinned++
	c.compact(cache)
}
