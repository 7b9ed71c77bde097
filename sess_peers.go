// SPDX-License-Identifier: MIT

package kcp

// linkBetween puts s between two neighbours, either of which may be nil.
func (s *UDPSession) linkBetween(prev, next *UDPSession) {
	s.link.prev = prev
	s.link.next.Store(next)
	if next != nil {
		next.link.prev = s
	}
	if prev != nil {
		prev.link.next.Store(s)
	}
}

// parityGuesses bounds the sessions of one peer that are compared for a parity packet.
const parityGuesses = 64

// nearestOfPeer returns the session whose newest shard is nearest to seqID: s, or one behind it in
// its peer's list.
func (s *UDPSession) nearestOfPeer(seqID uint32) *UDPSession {
	nearest := s
	c := s.link.next.Load()
	for left := parityGuesses; c != nil && left > 0; left-- {
		if c.shardGap(seqID) < nearest.shardGap(seqID) {
			nearest = c
		}
		c = c.link.next.Load()
	}
	return nearest
}

// shardGap returns how far a shard lies from the newest one of this session.
func (s *UDPSession) shardGap(seqID uint32) uint32 {
	gap := int32(seqID - s.newestSeqID.Load())
	if gap < 0 {
		gap = -gap
	}
	return uint32(gap)
}
