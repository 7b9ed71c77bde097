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

// peerKind is what is known of the peer at an address, from its sessions on a socket. A greater one
// counts more.
type peerKind uint8

const (
	peerNone   peerKind = iota // there is no session
	peerSilent                 // nothing is known
	peerLegacy                 // the peer has answered, but not with a HELLO
	peerShares                 // the peer knows that several sessions may share an address (S4.6)
)

// peerKind returns what the session knows of its peer.
func (s *UDPSession) peerKind() peerKind {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c := &s.core; {
	case c.ctl.known():
		return peerShares
	case c.ctl.met || c.delivered > 0:
		return peerLegacy
	}
	return peerSilent
}
