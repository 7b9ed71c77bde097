// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
)

// What a key vouches for has been sent by a holder of the key, but when, to whom and how often is another matter. The wire
// of deployed peers has nothing to tell it by but the nonce, which is random and so different in each packet. Three
// things are made of that:
//
//   - A listener remembers the nonces of packets that could open a session, so that no session opens from a repeated one,
//     wherever it comes from.
//   - The nonces of out-of-band packets, which have no sequence numbers, are remembered likewise.
//   - The first bit of a nonce tells whether a dialled or an accepted session has sent the packet, and HELLO says that it
//     does, so that a packet sent back to where it came from is known for that. Where both sides have dialled, the order
//     of their incarnations decides (marking). For a peer that has not said so, an old one above all, the nonces of what
//     was sent to it are remembered.
type replayGuard struct {
	openers nonceSet
	oob     nonceSet
	sent    nonceSet
}

// share makes the sets take part in a budget, before they are used.
func (g *replayGuard) share(b *nonceBudget) { g.openers.budget, g.oob.budget, g.sent.budget = b, b, b }

// release gives the memory back for good.
func (g *replayGuard) release() {
	g.openers.release()
	g.oob.release()
	g.sent.release()
}

// nonceSet remembers nonces: at least the last three quarters of nonceSlots of them, in two generations of at most 2 MiB.
// With a budget they may be fewer. It may be used by several goroutines.
type nonceSet struct {
	budget *nonceBudget // nil: the set has memory of its own

	mu       sync.Mutex // guards what follows
	newer    []uint64   // open-addressed hashes, 0 is free
	older    []uint64
	count    int // in newer
	released bool
}

const (
	nonceSlots      = 1 << 18
	nonceSlotsFirst = 1 << 8
)

// nonceBudget is memory that many sets share. A generation may take half of what is left over for all, so that few sets
// get as much as they can use and many get equal parts; what each has at first does not depend on others.
type nonceBudget struct {
	slots int64
	used  atomic.Int64
}

// dialledNonces is shared by the sets of all dialled sessions with sockets of their own: 32 MiB. Seven of them can
// remember as much as they may.
var dialledNonces = nonceBudget{slots: 16 * nonceSlots}

// largest returns the most slots that a generation may have.
func (b *nonceBudget) largest() int {
	if b == nil {
		return nonceSlots
	}
	half := (b.slots - b.used.Load()) / 2
	if half <= nonceSlotsFirst {
		return nonceSlotsFirst
	}
	return min(1<<(bits.Len64(uint64(half))-1), nonceSlots)
}

func (b *nonceBudget) take(slots int) {
	if b != nil {
		b.used.Add(int64(slots))
	}
}

// add puts a nonce in. It reports whether it was there already.
func (s *nonceSet) add(nonce []byte) (seen bool) {
	h := maphash.Bytes(tableSeed, nonce) | 1
	s.mu.Lock()
	defer s.mu.Unlock()
	if hasNonce(s.older, h) || hasNonce(s.newer, h) {
		return true
	}
	if s.released {
		return false // nobody is left to be protected
	}
	if s.count >= len(s.newer)/4*3 {
		s.makeRoom()
	}
	putNonce(s.newer, h)
	s.count++
	return false
}

// has reports whether a nonce is in.
func (s *nonceSet) has(nonce []byte) bool {
	h := maphash.Bytes(tableSeed, nonce) | 1
	s.mu.Lock()
	defer s.mu.Unlock()
	return hasNonce(s.newer, h) || hasNonce(s.older, h)
}

// makeRoom grows the newer generation, or makes it the older one.
func (s *nonceSet) makeRoom() {
	largest := s.budget.largest()
	if len(s.newer) < largest {
		bigger := make([]uint64, max(2*len(s.newer), nonceSlotsFirst))
		for _, h := range s.newer {
			if h != 0 {
				putNonce(bigger, h)
			}
		}
		s.budget.take(len(bigger) - len(s.newer))
		s.newer = bigger
		return
	}
	free := s.older
	s.older, s.count = s.newer, 0
	if len(free) == 0 || len(free) > largest {
		s.budget.take(-len(free))
		free = make([]uint64, min(len(s.older), largest))
		s.budget.take(len(free))
	}
	clear(free)
	s.newer = free
}

// release gives the memory back for good.
func (s *nonceSet) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget.take(-len(s.newer) - len(s.older))
	s.newer, s.older, s.count, s.released = nil, nil, 0, true
}

func hasNonce(slots []uint64, h uint64) bool {
	if len(slots) == 0 {
		return false
	}
	mask := uint64(len(slots) - 1)
	for i := h >> 32 & mask; slots[i] != 0; i = (i + 1) & mask {
		if slots[i] == h {
			return true
		}
	}
	return false
}

func putNonce(slots []uint64, h uint64) {
	mask := uint64(len(slots) - 1)
	i := h >> 32 & mask
	for slots[i] != 0 {
		i = (i + 1) & mask
	}
	slots[i] = h
}

// nonceAccepted is the bit of a nonce's first byte that accepted sessions and listeners set and dialled ones clear.
const nonceAccepted = 0x80

// nonceMarked is the least length of a nonce that gives a bit away for that: of AES-GCM's 96 bits 95 are left.
const nonceMarked = 12

// nonce draws one.
func (s *sealer) nonce(p []byte) error {
	err := readNonce(p)
	if s.marks {
		p[0] = p[0]&^nonceAccepted | s.mark
	}
	return err
}

// forBothSides returns the sealers of dialled and of accepted sessions.
func (s *sealer) forBothSides() (dials, accepts *sealer) {
	a, b := *s, *s
	a.marks = s.aead != nil && s.head >= nonceMarked
	b.marks = a.marks
	if b.marks {
		b.mark = nonceAccepted
	}
	return &a, &b
}

// marking is how a session tells what it has sent itself from what its peer has sent.
type marking uint8

const (
	// markNone: the peer has not said that it marks its nonces. Those of what is sent are remembered.
	markNone marking = iota
	// markRole: one side has dialled and the other accepted, which their marks show.
	markRole
	// markUpper: both sides have dialled, and this one's incarnation is the greater. It sends with the mark of an accepted
	// session from now on. What bears no mark may be its own of before, whose nonces it has kept, or the peer's.
	markUpper
	// markLower: both have dialled, and the peer's incarnation is the greater. Nonces are remembered until it has shown
	// that it knows.
	markLower
	// markLowerKnown: it has. From now on all of the peer's packets bear the mark.
	markLowerKnown
)

// remembers reports whether the nonces of what is sent are to be kept.
func (m marking) remembers() bool { return m == markNone || m == markLower }

// chooseMarks finds how a session and its peer, which has just said that it marks its nonces, are told apart. marked says
// what the packet bears that the peer said it in. Two accepted sessions are not told apart by their marks.
func (s *controlState) chooseMarks(marked bool) {
	switch {
	case marked == s.dialled:
		s.marking = markRole
	case !s.dialled:
	case s.incarnation > s.peer:
		s.marking = markUpper
	default:
		s.marking = markLower
	}
}

// answerSealer returns what seals an answer that no session stands behind to a packet with that nonce: it bears the mark
// that the packet does not, or its receiver would take it for its own.
func (d *demux) answerSealer(nonce []byte) *sealer {
	if d.acceptSealer.marks && len(nonce) > 0 && nonce[0]&nonceAccepted != 0 {
		return d.sealer
	}
	return d.acceptSealer
}

// sealer returns what seals the session's packets. The lock is held.
func (s *UDPSession) sealer() *sealer {
	if s.accepted || s.core.ctl.marking == markUpper {
		return s.ep.demux.acceptSealer
	}
	return s.ep.sealer
}

// couldOpen reports whether segments begin like those that open a session.
func couldOpen(segments []byte) bool {
	if len(segments) < segmentHeaderSize || binary.LittleEndian.Uint32(segments[16:]) != 0 {
		return false
	}
	sn := binary.LittleEndian.Uint32(segments[segmentSNOffset:])
	return segments[4] == cmdPush && sn < wndInitial || segments[4] == cmdWask && sn == 0
}

// replayed looks at a packet that a key vouches for. It reports whether it is to be dropped, and notes whether it could
// open a session and has been seen before.
func (r *reader) replayed(p *packet) (drop bool) {
	g := &r.ep.demux.replay
	r.stale = false
	switch p.kind {
	case packetOOB:
		return g.oob.add(r.nonce)
	case packetPlain, packetData:
		if couldOpen(p.segments) {
			r.stale = g.openers.add(r.nonce) || g.sent.has(r.nonce)
		}
	}
	return false
}

// reflected reports whether the packet at hand, which is for s, is one that this side has sent. The lock of s is held.
func (r *reader) reflected(p *packet, s *UDPSession) bool {
	if len(r.nonce) == 0 {
		return false
	}
	ctl := &s.core.ctl
	marked := r.nonce[0]&nonceAccepted != 0
	switch ctl.marking {
	case markRole:
		return marked == s.accepted
	case markUpper:
		if marked {
			return true
		}
	case markLower:
		if marked {
			ctl.marking = markLowerKnown
			return false
		}
	case markLowerKnown:
		// A peer that was started anew does not know yet.
		return !marked && !ctl.strangerIn(p)
	}
	return s.ep.demux.replay.sent.has(r.nonce)
}

// strangerIn reports whether the HELLO in a packet is neither this side's nor its peer's.
func (s *controlState) strangerIn(p *packet) bool {
	if p.kind != packetPlain && p.kind != packetData {
		return false
	}
	m := findControl(p.segments)
	return m.has[ctlHello] && m.incarnation != s.incarnation && m.incarnation != s.peer
}
