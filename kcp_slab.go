// SPDX-License-Identifier: MIT

package kcp

import "sync"

// slab is a large buffer that the segments of one session share. Those of a Write lie in one behind each other with room
// for their headers, as
//
//	| header 24 | data | header 24 | data | ...
//
// so that full ones leave from where they are, as one run of datagrams. Those that the socket delivered as one run stay
// where the kernel put them until they are read. Either way the bytes are copied once less.
type slab struct {
	buf  []byte // pooled, of bufferLarge
	refs int    // segments in it, and other users; guarded by the session's lock
	used int    // of buf, by a Write
}

var slabs = sync.Pool{New: func() any { return new(slab) }}

// newSlab returns a slab with one user.
func newSlab(buf []byte) *slab {
	s := slabs.Get().(*slab)
	s.buf, s.refs, s.used = buf, 1, 0
	return s
}

// release ends a use. The buffer goes back with the last.
func (s *slab) release() {
	if s.refs--; s.refs == 0 {
		putBuffer(s.buf)
		s.recycle()
	}
}

// recycle takes back a slab without users whose buffer stays with its owner.
func (s *slab) recycle() {
	s.buf = nil
	slabs.Put(s)
}

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

// freeSent gives back the buffer of a segment of the send window.
func (c *core) freeSent(seg *sendSegment) {
	if seg.slab != nil {
		seg.slab.release()
		seg.slab = nil
	} else {
		c.putBuffer(seg.data)
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

// keepInSlab makes data, received in the slab at hand, a segment that stays in it.
func (c *core) keepInSlab(data []byte) recvSegment {
	c.slab.refs++
	c.lentBytes += int32(len(data))
	c.lentSegs++
	return recvSegment{data: data, slab: c.slab}
}

// lendLeast is the least size of a segment that stays in a slab.
const lendLeast = bufferSmall

// freeReceived gives back the buffer of a segment that has been received.
func (c *core) freeReceived(seg *recvSegment) {
	if seg.slab != nil {
		c.endLend(seg)
	} else {
		c.heavy -= memoryWeight(cap(seg.data)) - 1
		c.putBuffer(seg.data)
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
func (c *core) own(seg *recvSegment) {
	if seg.slab == nil {
		return
	}
	data := c.keep(seg.data)
	c.heavy += memoryWeight(cap(data)) - 1
	c.endLend(seg)
	seg.data = data
}

// sparse reports whether the slabs of received data hold less than a third of what they take, as when a few segments wait
// behind a hole. A peer must not make a small window cost many times its memory.
func (c *core) sparse() bool { return int64(c.pinned)*bufferLarge > 3*int64(c.lentBytes) }

// compact takes what is left out of slabs that are mostly empty.
func (c *core) compact() {
	if c.sparse() {
		c.ownAll(nil)
	}
}

// ownAll moves what has been received and not read out of a slab, or out of all for nil.
func (c *core) ownAll(from *slab) {
	if c.in == nil {
		return
	}
	for i := uint32(0); c.lentSegs > 0 && i < c.in.size(); i++ {
		slot := c.in.slot(c.readNxt + seqNum(i))
		if seg := &c.in.slots[slot]; c.in.present.has(slot) && (from == nil || seg.slab == from) {
			c.own(seg)
		}
	}
}
