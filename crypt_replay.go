// SPDX-License-Identifier: MIT

package kcp

import (
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
	sent    nonceSet // filled by the sealers
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
