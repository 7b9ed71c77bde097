// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"sync/atomic"
	"unsafe"
)

// memoryDefault is what the sessions of one listener may hold together: more than a thousand busy ones with the default
// windows need, and little enough for a small machine to bear.
const memoryDefault = 2 << 30

// memorySegment is what a segment counts, however little it carries: the buffer of a whole packet. One that is larger
// counts as several.
const memorySegment = bufferPacket

// memoryWeight returns how many segments a buffer of so many bytes counts as.
func memoryWeight(bytes int) uint32 { return uint32(max(1, (bytes+memorySegment-1)/memorySegment)) }

// roomLeast is how many segments a session may hold each way, however much others do: so it gets on.
const roomLeast = 8

// memoryUncounted is what a session may hold without its being counted, some segments and the rings for them: less than
// roomLeast allows it in any case. So sessions of small messages do not all write to the account with each of them.
const memoryUncounted = 8 << 10

// roomAll is room for more than any window.
const roomAll = math.MaxInt32

// memoryAccount adds up what the sessions of a demux hold for their peers: what has been received and not read, what has
// been written and not acknowledged, and the shards that error correction keeps. A session may hold no more than what is
// then left over for all others (the dynamic threshold of shared switch buffers: Choudhury and Hahne, 1998), so that a few
// cannot take it all, and those who are read go on at the expense of those who are not.
type memoryAccount struct {
	most    int64 // 0: no bound; read and written atomically, and so aligned
	held    atomic.Int64
	refused atomic.Uint64 // segments and packets that were thrown away
}

// room returns how many segments more a session may hold that holds so many bytes, and how many are left until all is
// taken. An eighth of the memory is for those alone that would otherwise not get on.
func (m *memoryAccount) room(own int64) (segs, spare uint32) {
	most := atomic.LoadInt64(&m.most)
	if most == 0 {
		return roomAll, roomAll
	}
	free := most - m.held.Load()
	room := (free - most/8 - own) / (2 * memorySegment)
	left := (free + memorySegment - 1) / memorySegment
	return uint32(min(max(room, 0), roomAll)), uint32(min(max(left, 0), roomAll))
}

// memory is how many bytes the state machine holds.
func (c *core) memory() int {
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
	case c.room >= c.beyond+c.heavy+weight || sn.before(c.rcvNxt):
		return false
	case sn == c.rcvNxt:
		return c.room < weight && !c.takesNext(weight)
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
	return c.spare >= need && c.peekSegments() == 0
}

// took notes that a segment has been received that counts as so many.
func (c *core) took(weight uint32) {
	c.room -= min(c.room, weight)
	c.spare -= min(c.spare, weight)
}
