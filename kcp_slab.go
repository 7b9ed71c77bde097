// SPDX-License-Identifier: MIT

package kcp

// slabLeast is how many segments a Write must have for a slab, which an idle session does not keep.
const slabLeast = 4

// fillSlab returns the slab for the next segments of a Write, each with room for stride bytes, and how many it takes.
func (c *core) fillSlab(stride int) (s *slab, room int) {
	if c.fill != nil && len(c.fill.buf)-c.fill.used < stride {
		c.fill.release()
		c.fill = nil
	}
	if c.fill == nil {
		c.fill = newSlab(getBuffer(bufferLarge))
	}
	return c.fill, (len(c.fill.buf) - c.fill.used) / stride
}

// enqueueSlab queues the segment whose header is at byte `at` of the slab.
func (c *core) enqueueSlab(s *slab, at, size, stride int) {
	s.refs++
	c.enqueue(s.buf[at+segmentHeaderSize:at+segmentHeaderSize+size:at+stride], 0)
	seg := c.ring.at(c.sendEnd - 1)
	seg.slab, seg.at = s, uint16(at)
}

// free gives back the buffer of a segment of the send window, to the cache if there is one.
func (seg *sendSegment) free(cache *bufferCache) {
	if seg.slab != nil {
		seg.slab.release()
		seg.slab = nil
	} else {
		cache.put(seg.data)
	}
	seg.data = nil
}

// hold keeps a slab while datagrams that lie in it are on their way to the socket.
func (c *core) hold(s *slab) {
	if n := len(c.held); n == 0 || c.held[n-1] != s {
		s.refs++
		c.held = append(c.held, s)
	}
}

// releaseHeld is called when they are out.
func (c *core) releaseHeld() {
	for i, s := range c.held {
		s.release()
		c.held[i] = nil
	}
	c.held = c.held[:0]
}

// keepInSlab makes data, received in s, a segment that stays in it.
func (c *core) keepInSlab(s *slab, data []byte) recvSegment {
	s.refs++
	c.lentBytes += int32(len(data))
	c.lentSegs++
	return recvSegment{data: data, slab: s}
}

// lendLeast is the least size of a segment that stays in a slab.
const lendLeast = bufferSmall

// freeReceived gives back the buffer of a segment that has been received, to the cache if there is one.
func (c *core) freeReceived(seg *recvSegment, cache *bufferCache) {
	if seg.slab != nil {
		c.endLend(seg)
	} else {
		c.heavy -= memoryWeight(cap(seg.data)) - 1
		cache.put(seg.data)
	}
	seg.data = nil
}

func (c *core) endLend(seg *recvSegment) {
	c.lentBytes -= int32(len(seg.data))
	c.lentSegs--
	if seg.slab.refs == 1 {
		c.pinned--
	}
	seg.slab.release()
	seg.slab = nil
}

// own moves a segment into a buffer of its own.
func (c *core) own(seg *recvSegment, cache *bufferCache) {
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
func (c *core) sparse() bool { return int64(c.pinned)*bufferLarge > 3*int64(c.lentBytes) }

// compact takes what is left out of slabs that are mostly empty.
func (c *core) compact(cache *bufferCache) {
	if c.sparse() {
		c.ownAll(nil, cache)
	}
}

// ownAll moves what has been received and not read out of a slab, or out of all for nil.
func (c *core) ownAll(from *slab, cache *bufferCache) {
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
