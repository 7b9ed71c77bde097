// SPDX-License-Identifier: MIT

package kcp

import (
	"sync/atomic"
)

// sessionTable finds a session by its peer's address and, depending on key, its conversation id. A
// lookup takes no lock, allocates nothing and writes nothing, so that readers of several sockets do
// not disturb each other. Changes are made under the owner's lock.
//
// It is an open-addressed hash table. A slot is filled once in the life of an array and emptied at
// most once. When too few slots have never been filled, the sessions move to a new array. Readers
// that still use the old one see it unchanged.
type sessionTable struct {
	key   tableKey
	slots atomic.Pointer[tableSlots] // nil while empty
	live  int                        // sessions; with used guarded by the owner's lock
	used  int                        // slots that are or were filled
}

type tableKey uint8

const (
	keySession tableKey = iota // the peer's address and the conversation id
	keyPeer                    // the address alone
)

// tableSlots is an array of slots. tags[i] is written before sessions[i], and only once.
type tableSlots struct {
	sessions []atomic.Pointer[UDPSession]
	tags     []uint32 // hashes, which spare most comparisons with other sessions
}

// goneSession marks emptied slots, behind which other sessions may lie.
var goneSession UDPSession

// leastSlots is the size of a small table: a dialled socket has one session.
const leastSlots = 4

func (t *sessionTable) hash(peer *peerAddr, conv uint32) uint32 {
	if t.key == keyPeer {
		conv = 0
	}
	return peer.hash(conv)
}

// find returns the session of that name, or nil. It may be called at any time.
func (t *sessionTable) find(peer *peerAddr, conv uint32) *UDPSession {
	a := t.slots.Load()
	if a == nil {
		return nil
	}
	hash := t.hash(peer, conv)
	mask := uint32(len(a.tags) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := a.sessions[i].Load()
		if s == nil {
			return nil
		}
		if a.tags[i] == hash && s != &goneSession &&
			(t.key == keyPeer || s.conv == conv) && s.peer == *peer {
			return s
		}
	}
}

// add puts s into the table. Its name must not be taken.
func (t *sessionTable) add(s *UDPSession) {
	a := t.slots.Load()
	if a == nil || t.used >= len(a.tags)/4*3 {
		a = t.resize(a)
	}
	a.put(s, t.hash(&s.peer, s.conv))
	t.live++
	t.used++
}

// remove takes s out of the table. It returns false if s is not there.
func (t *sessionTable) remove(s *UDPSession) bool {
	if !t.replace(s, &goneSession) {
		return false
	}
	t.live--
	switch a := t.slots.Load(); {
	case t.live == 0:
		t.slots.Store(nil)
		t.used = 0
	case t.live < len(a.tags)/8:
		t.resize(a)
	}
	return true
}

// replace puts a session of the same name in the place of s. It returns false if s is not there.
func (t *sessionTable) replace(s, by *UDPSession) bool {
	a := t.slots.Load()
	if a == nil {
		return false
	}
	mask := uint32(len(a.tags) - 1)
	for i := t.hash(&s.peer, s.conv) & mask; ; i = (i + 1) & mask {
		switch a.sessions[i].Load() {
		case nil:
			return false
		case s:
			a.sessions[i].Store(by)
			return true
		}
	}
}

// resize moves the sessions to a new array that is at most half full with one more session.
func (t *sessionTable) resize(old *tableSlots) *tableSlots {
	size := leastSlots
	for size < 2*(t.live+1) {
		size *= 2
	}
	a := &tableSlots{make([]atomic.Pointer[UDPSession], size), make([]uint32, size)}
	for i := range old.len() {
		if s := old.sessions[i].Load(); s != nil && s != &goneSession {
			a.put(s, old.tags[i])
		}
	}
	t.used = t.live
	t.slots.Store(a)
	return a
}

func (a *tableSlots) len() int {
	if a == nil {
		return 0
	}
	return len(a.tags)
}

func (a *tableSlots) put(s *UDPSession, hash uint32) {
	mask := uint32(len(a.tags) - 1)
	i := hash & mask
	for a.sessions[i].Load() != nil {
		i = (i + 1) & mask
	}
	a.tags[i] = hash
	a.sessions[i].Store(s)
}

// all yields the sessions without a lock: those that are there during the whole iteration, and
// perhaps others.
func (t *sessionTable) all(yield func(*UDPSession) bool) {
	a := t.slots.Load()
	for i := range a.len() {
		if s := a.sessions[i].Load(); s != nil && s != &goneSession && !yield(s) {
			return
		}
	}
}
