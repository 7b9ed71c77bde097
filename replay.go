// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
)

// What a key vouches for has been sent by a holder of the key, but when, to whom and how often is another matter. The wire
// of deployed peers has nothing to tell it by but the nonce, which is random and so different in each packet. Three
// things are made of that:
//
//   - A listener remembers the nonces of packets that could open a session, so that no session opens from a repeated one,
//     wherever it comes from.
//   - The nonces of out-of-band packets, which have no sequence numbers, are remembered likewise.
//   - The first bit of a nonce tells whether a dialled or an accepted session has sent the packet, and HELLO says that it
//     does, so that a packet sent back to where it came from is known for that. For a peer that has not said so, an old
//     one above all, the nonces of what was sent to it are remembered.
type replayGuard struct {
	openers nonceSet
	oob     nonceSet
	sent    nonceSet
}

// nonceSet remembers nonces: at least the last three quarters of nonceSlots of them, in two generations of at most 2 MiB.
// It may be used by several goroutines.
type nonceSet struct {
	mu    sync.Mutex // guards what follows
	newer []uint64   // open-addressed hashes, 0 is free
	older []uint64
	count int // in newer
}

const (
	nonceSlots      = 1 << 18
	nonceSlotsFirst = 1 << 8
)

// add puts a nonce in. It reports whether it was there already.
func (s *nonceSet) add(nonce []byte) (seen bool) {
	h := maphash.Bytes(tableSeed, nonce) | 1
	s.mu.Lock()
	defer s.mu.Unlock()
	if hasNonce(s.older, h) || hasNonce(s.newer, h) {
		return true
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
	if len(s.newer) == nonceSlots {
		s.newer, s.older, s.count = s.older, s.newer, 0
		if s.newer == nil {
			s.newer = make([]uint64, nonceSlots)
		}
		clear(s.newer)
		return
	}
	bigger := make([]uint64, max(2*len(s.newer), nonceSlotsFirst))
	for _, h := range s.newer {
		if h != 0 {
			putNonce(bigger, h)
		}
	}
	s.newer = bigger
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

// sealer returns what seals the session's packets.
func (s *UDPSession) sealer() *sealer {
	if s.accepted {
		return s.ep.demux.acceptSealer
	}
	return s.ep.sealer
}

// couldOpen reports whether segments begin like those that open a session.
func couldOpen(segments []byte) bool {
	return len(segments) >= segmentHeaderSize && segments[4] == cmdPush &&
		binary.LittleEndian.Uint32(segments[12:]) < wndInitial && binary.LittleEndian.Uint32(segments[16:]) == 0
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
func (r *reader) reflected(s *UDPSession) bool {
	switch {
	case len(r.nonce) == 0:
		return false
	case s.core.ctl.peerMarks:
		return (r.nonce[0]&nonceAccepted != 0) == s.accepted
	}
	return s.ep.demux.replay.sent.has(r.nonce)
}
