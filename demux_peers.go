// SPDX-License-Identifier: MIT

package kcp

// The sessions of one peer hang on the first of them, which is in the table of peers. In front stand those that a new
// session from the address replaces, and perhaps some of which it is not known yet that they share it; behind stand
// those that share it. So what a stranger's datagram costs does not grow with the sessions of its address.

// link puts s into its peer's list. Called with the lock held.
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
		last := first
		for next := last.link.next.Load(); next != nil && next.link.place == peerFront; next = last.link.next.Load() {
			last = next
		}
		s.linkBetween(last, last.link.next.Load())
	default:
		s.linkBetween(nil, first)
		d.peers.replace(first, s)
	}
}

// unlink takes s out of its peer's list. A reader that looks through it without the lock may miss the rest: it guesses.
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

// older returns the sessions of an address that a new one from it supersedes: all that do not share the address on purpose.
// Called with the lock held.
func (d *demux) older(peer *peerAddr) (older []*UDPSession) {
	var sharing []*UDPSession
	for s := d.peers.find(peer, 0); s != nil && s.link.place == peerFront; s = s.link.next.Load() {
		if s.sharesAddress.Load() {
			sharing = append(sharing, s)
		} else {
			older = append(older, s)
		}
	}
	for _, s := range sharing {
		d.unlink(s)
		d.link(s)
	}
	return older
}
