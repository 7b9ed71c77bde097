// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"sync/atomic"
)

// memoryDefault is what the sessions of one listener may hold together. It is more than a thousand
// busy sessions with the default windows need, and fits a small machine.
const memoryDefault = 2 << 30

// memorySegment is what a segment counts, whatever its size: the buffer of a whole packet. A larger
// segment counts as several.
const memorySegment = bufferPacket

// memoryWeight returns how many segments a buffer of that many bytes counts as.
func memoryWeight(bytes int) uint32 { return uint32(max(1, (bytes+memorySegment-1)/memorySegment)) }

// roomLeast is how many segments a session may always hold each way, so that it makes progress.
const roomLeast = 8

// memoryUncounted is what a session may hold without being counted: some segments and the rings for
// them. It is less than roomLeast allows. Sessions with small messages thus do not write to the
// account for each message.
const memoryUncounted = 8 << 10

// roomAll is room for more than any window.
const roomAll = math.MaxInt32

// memoryAccount adds up what the sessions of a demux hold: received data that was not read, written
// data that was not acknowledged, and the shards of error correction. A session may hold no more
// than what is left for all others (the dynamic threshold of shared switch buffers: Choudhury and
// Hahne, 1998). A few sessions thus cannot take all memory, and idle readers yield to active ones.
type memoryAccount struct {
	most    int64 // 0: no bound; accessed atomically, and so aligned
	held    atomic.Int64
	refused atomic.Uint64 // segments and packets that were dropped
}

// room returns what a session may hold that holds own bytes. An eighth of the memory is reserved
// for sessions that would make no progress otherwise. Half of it is not for windows that have
// grown, so that those of a few sessions leave all others the windows that are set.
func (m *memoryAccount) room(own int64) memoryGrant {
	most := atomic.LoadInt64(&m.most)
	if most == 0 {
		return memoryGrant{room: roomAll, spare: roomAll, growth: math.MaxUint16}
	}
	free := most - m.held.Load()
	segments := func(bytes, each int64) int64 { return max(bytes, 0) / each }
	return memoryGrant{
		room:   uint32(min(segments(free-most/8-own, 2*memorySegment), roomAll)),
		spare:  uint32(min(segments(free+memorySegment-1, memorySegment), roomAll)),
		growth: uint16(min(segments(free-most/2-own, 2*memorySegment), math.MaxUint16)),
	}
}

// memoryGrant is how many more segments a state machine may hold. Its owner grants it from the
// account, and renews the grant whenever the state machine may have changed.
type memoryGrant struct {
	room    uint32 // segments that may be received or queued
	spare   uint32 // segments until all memory is taken
	growth  uint16 // of room, what a window that has grown may take beyond the one that is set
	refused uint16 // segments dropped for lack of room
}

// grant replaces the grant.
func (g *memoryGrant) grant(now memoryGrant) {
	g.room, g.spare, g.growth = now.room, now.spare, now.growth
}

// refuse counts a segment that is dropped.
func (g *memoryGrant) refuse() {
	if g.refused < math.MaxUint16 {
		g.refused++
	}
}

// takeRefused returns how many segments were refused since the last call.
func (g *memoryGrant) takeRefused() (n uint16) {
	n, g.refused = g.refused, 0
	return n
}

// use records that a segment of that weight has been received.
func (g *memoryGrant) use(weight uint32) {
	g.room -= min(g.room, weight)
	g.spare -= min(g.spare, weight)
	g.growth -= uint16(min(uint32(g.growth), weight))
}
