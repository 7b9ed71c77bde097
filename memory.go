// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"sync/atomic"
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

// memoryGrant is how many segments a state machine may hold besides those it has. Its owner grants it from the account, and
// renews the grant whenever the state machine may have changed.
type memoryGrant struct {
	room    uint32 // segments that may come in or be queued
	spare   uint32 // segments until nothing is left for anybody
	refused uint32 // segments thrown away for want of room
}

// grant replaces what was granted before.
func (g *memoryGrant) grant(room, spare uint32) { g.room, g.spare = room, spare }

// refuse notes a segment that is thrown away.
func (g *memoryGrant) refuse() { g.refused++ }

// takeRefused returns how many segments have been refused since it was last called.
func (g *memoryGrant) takeRefused() (n uint32) {
	n, g.refused = g.refused, 0
	return n
}

// use notes that a segment has been received that counts as so many.
func (g *memoryGrant) use(weight uint32) {
	g.room -= min(g.room, weight)
	g.spare -= min(g.spare, weight)
}
