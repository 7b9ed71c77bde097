// SPDX-License-Identifier: MIT

package kcp

// The sessions of one peer are a list whose head is in the table of peers. At the front are the
// sessions that a new one from the address supersedes, and some that are not known yet to share the
// address. At the back are those that share it. The cost of a datagram without a session thus does
// not grow with the sessions of its address.

// link puts s into its peer's list. d.mu must be held.
func (d *demux) link(s *UDPSession) {
	s.link.place = peerFront
	if s.sharesAddress.Load() {
		s.link.place = peerBack
	}
	first := d.peers.find(&s.peer, 0)
	switch {
	case first == nil:
		d.peers.add(s)
	case s.link.place == peerBack:
		last, next := first, first.link.next.Load()
		for next != nil && next.link.place == peerFront {
			last, next = next, next.link.next.Load()
		}
		s.linkBetween(last, last.link.next.Load())
	default:
		s.linkBetween(nil, first)
		d.peers.replace(first, s)
	}
}

// unlink takes s out of its peer's list. A reader without the lock may miss the rest of the list,
// which only makes its guess worse.
func (d *demux) unlink(s *UDPSession) {
	next := s.link.next.Load()
	if next != nil {
		next.link.prev = s.link.prev
	}
	switch {
	case s.link.prev != nil:
		s.link.prev.link.next.Store(next)
	case next != nil:
		d.peers.replace(s, next)
	default:
		d.peers.remove(s)
	}
	s.link.prev = nil
	s.link.next.Store(nil) // whatever keeps s keeps no other session
}

// older returns the sessions of an address that a new one supersedes: those that do not share it on
// purpose (S1.60). It reports whether others do. d.mu must be held.
func (d *demux) older(peer *peerAddr) (older []*UDPSession, shared bool) {
	var sharing []*UDPSession
	s := d.peers.find(peer, 0)
	for ; s != nil && s.link.place == peerFront; s = s.link.next.Load() {
		if s.sharesAddress.Load() {
			sharing = append(sharing, s)
		} else {
			older = append(older, s)
		}
	}
	shared = s != nil || len(sharing) > 0
	for _, s := range sharing {
		d.unlink(s)
		d.link(s)
	}
	return older, shared
}
