// SPDX-License-Identifier: MIT

package kcp

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
)

// An authenticated packet was sent by a holder of the key, but it may be a repeated one. The wire
// of legacy peers has nothing to detect that by but the nonce, which is random and so different in
// each packet. It is used in three ways:
//
//   - A listener remembers the nonces of packets that could open a session, so that a repeated one
//     opens none (S3.8).
//   - It remembers the nonces of out-of-band packets, which have no sequence numbers, in the same
//     way.
//   - The first bit of a nonce shows whether a dialled or an accepted session has sent the packet,
//     if the HELLO says so. A packet that is sent back is thus recognised (S3.9). If both sides
//     have dialled, the order of their incarnations decides. For peers whose HELLO does not say so,
//     the nonces of packets sent to them are remembered (S3.13).
type replayGuard struct {
	openers nonceSet
	oob     nonceSet
	sent    nonceSet // filled by the sealers
}

// share makes the sets use a budget. It must be called before they are used.
func (g *replayGuard) share(b *nonceBudget) {
	g.openers.budget, g.oob.budget, g.sent.budget = b, b, b
}

// release frees the memory for good.
func (g *replayGuard) release() {
	g.openers.release()
	g.oob.release()
	g.sent.release()
}

// nonceSet remembers at least the last three quarters of nonceSlots nonces, in two generations of
// at most 2 MiB. With a budget there may be fewer. It is safe for concurrent use.
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

// nonceBudget is memory that many sets share. A generation may take half of what is left. Few sets
// thus get as much as they can use, and many get equal parts. The first slots of a set do not
// depend on others.
type nonceBudget struct {
	slots int64
	used  atomic.Int64
}

// dialledNonces is shared by the sets of all dialled sessions with their own sockets: 32 MiB. It is
// enough for seven of them with full sets.
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

// add adds a nonce. It reports whether the nonce was there already.
func (s *nonceSet) add(nonce []byte) (seen bool) {
	h := maphash.Bytes(tableSeed, nonce) | 1
	s.mu.Lock()
	defer s.mu.Unlock()
	if hasNonce(s.older, h) || hasNonce(s.newer, h) {
		return true
	}
	if s.released {
		return false // there is no session left to protect
	}
	if s.count >= len(s.newer)/4*3 {
		s.makeRoom()
	}
	putNonce(s.newer, h)
	s.count++
	return false
}

// has reports whether a nonce is in the set.
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

// release frees the memory for good.
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
