// SPDX-License-Identifier: MIT

package kcp

import "unsafe"

// heldBytes is how many bytes the state machine holds.
func (c *core) heldBytes() int {
	// A Read that is copying has taken segments out whose slab is not given back yet.
	segs := max(0, int(c.readable()+c.beyond+c.queued())-int(c.lentSegs))
	n := (segs+int(c.heavy))*memorySegment + int(c.pinned)*bufferLarge
	if c.in != nil {
		n += len(c.in.slots) * int(unsafe.Sizeof(recvSegment{}))
	}
	if c.ring != nil {
		n += len(c.ring.slots) * int(unsafe.Sizeof(sendSegment{}))
	}
	return n
}

// refuses reports whether there is no room for a new segment that counts as so many, and lies at-1 segments beyond the
// next to be read. Those beyond a hole get half of the room.
func (c *core) refuses(sn seqNum, at, weight uint32) bool {
	switch {
	case c.memory.room >= c.beyond+c.heavy+weight || sn.before(c.rcvNxt):
		return false
	case sn == c.rcvNxt:
		return c.memory.room < weight && !c.takesNext(weight)
	}
	return c.in == nil || at > c.in.size() || !c.in.present.has(c.in.slot(sn))
}

// spareCommon is how many segments of the last memory are for those that count as one: what completes the largest message.
// Segments that count as many, one in each of a hundred sessions, would leave nothing for that.
const spareCommon = 256

// takesNext reports whether the next segment is taken without room for it: the first few are, and, until there is no memory
// at all, what completes a message.
func (c *core) takesNext(weight uint32) bool {
	if c.readable()+c.heavy+weight <= roomLeast {
		return true
	}
	need := weight
	if weight > 1 {
		need += spareCommon
	}
	return c.memory.spare >= need && c.peekSegments() == 0
}
