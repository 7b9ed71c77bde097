// SPDX-License-Identifier: MIT

package kcp

import (
	"sync"
	"sync/atomic"
)

// keyTable finds the keys of a packet, and the session that has them, by the receiver id in the
// packet. A lookup takes no lock and writes nothing.
//
// It is an open-addressed hash table, like sessionTable. A slot is filled once in the life of an
// array and emptied at most once. A socket that was opened for one session has no table.
type keyTable struct {
	slots atomic.Pointer[keySlots] // nil while empty

	mu    sync.Mutex // guards what follows, and changes; taken with no session's lock held
	live  int
	used  int
	ended RingBuffer[endedKeys] // sorted by time
}

// keySlots is an array of slots.
type keySlots []keySlot

// A keySlot has the keys of one receiver id. The owner is written before the keys.
type keySlot struct {
	keys  atomic.Pointer[keyring]
	owner atomic.Pointer[UDPSession] // nil: the session has ended
}

// endedKeys are keys of a session that has ended. Its record answers packets under them.
type endedKeys struct {
	id    uint32
	until millis
}

// goneKeys marks emptied slots.
var goneKeys keyring

// at returns the slot that is n places behind the first one for id. Ids are random.
func (a keySlots) at(id uint32, n int) *keySlot {
	i := int(uint64(id)*uint64(len(a))>>32) + n
	if i >= len(a) {
		i -= len(a)
	}
	return &a[i]
}

// find returns the slot of id, nil if there is none.
func (t *keyTable) slot(id uint32) *keySlot {
	p := t.slots.Load()
	if p == nil {
		return nil
	}
	for n := range *p {
		slot := p.at(id, n)
		switch k := slot.keys.Load(); {
		case k == nil:
			return nil
		case k != &goneKeys && k.id == id:
			return slot
		}
	}
	return nil
}

// find returns the keys of that id and the session that has them. The session is nil if it has
// ended. The keys are nil if there are none.
func (t *keyTable) find(id uint32) (*keyring, *UDPSession) {
	slot := t.slot(id)
	if slot == nil {
		return nil, nil
	}
	k := slot.keys.Load()
	if k == &goneKeys {
		return nil, nil
	}
	return k, slot.owner.Load()
}

// add adds the keys of s. It returns false if their id is taken.
func (t *keyTable) add(k *keyring, s *UDPSession) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.id == 0 || t.slot(k.id) != nil {
		return false
	}
	p := t.slots.Load()
	if p == nil || t.used >= len(*p)*4/5 {
		p = t.resize(p)
	}
	p.put(k, s)
	t.live++
	t.used++
	return true
}

func (a keySlots) put(k *keyring, s *UDPSession) {
	n := 0
	for a.at(k.id, n).keys.Load() != nil {
		n++
	}
	slot := a.at(k.id, n)
	slot.owner.Store(s)
	slot.keys.Store(k)
}

// resize moves the keys to a new array, which is three fifths full.
func (t *keyTable) resize(old *keySlots) *keySlots {
	a := make(keySlots, max(leastSlots, t.live*5/3+1))
	if old != nil {
		for i := range *old {
			if k := (*old)[i].keys.Load(); k != nil && k != &goneKeys {
				a.put(k, (*old)[i].owner.Load())
			}
		}
	}
	t.used = t.live
	t.slots.Store(&a)
	return &a
}

// remove removes the keys of that id, if there are any.
func (t *keyTable) remove(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(id)
}

func (t *keyTable) removeLocked(id uint32) {
	slot := t.slot(id)
	if slot == nil {
		return
	}
	slot.owner.Store(nil)
	slot.keys.Store(&goneKeys)
	switch t.live--; {
	case t.live == 0:
		t.slots.Store(nil)
		t.used = 0
	case t.live < len(*t.slots.Load())/4:
		t.resize(t.slots.Load())
	}
}

// end keeps the keys of a session that has ended until a time.
func (t *keyTable) end(ids [3]uint32, until, now millis) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweepLocked(now)
	for _, id := range ids {
		slot := t.slot(id)
		switch {
		case slot == nil:
		case until <= now:
			t.removeLocked(id)
		default:
			slot.owner.Store(nil)
			t.ended.Push(endedKeys{id, until})
		}
	}
}

// sweep removes the keys of sessions that ended some time ago. A nil table has none.
func (t *keyTable) sweep(now millis) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweepLocked(now)
}

func (t *keyTable) sweepLocked(now millis) {
	for {
		oldest, ok := t.ended.Peek()
		if !ok {
			t.ended = RingBuffer[endedKeys]{} // it does not shrink otherwise
			return
		}
		if oldest.until > now {
			return
		}
		t.removeLocked(oldest.id)
		t.ended.Pop()
	}
}

// addKeys implements sessionHost.
func (d *demux) addKeys(k *keyring, s *UDPSession) bool {
	if s.opener == byDial {
		return true // there is no other session on the socket
	}
	if d.keys.Load() == nil {
		d.keys.CompareAndSwap(nil, new(keyTable))
	}
	return d.keys.Load().add(k, s)
}

// removeKeys implements sessionHost.
func (d *demux) removeKeys(id uint32) {
	if t := d.keys.Load(); t != nil && id != 0 {
		t.remove(id)
	}
}

// endKeys implements sessionHost. The keys are kept as long as a record that is not renewed.
func (d *demux) endKeys(ids [3]uint32, outcome endedOutcome) {
	t := d.keys.Load()
	if t == nil || ids == [3]uint32{} {
		return
	}
	now := d.sched.now().ms()
	until := now + timeWaitPeriod
	if outcome == endedUnheard {
		until = now // there is no record
	}
	t.end(ids, until, now)
}

// findKeys returns the keys of a receiver id, and the session that may have them. That is the only
// session of a socket that was opened for it. Either may be nil.
func (e *endpoint) findKeys(id uint32) (*keyring, *UDPSession) {
	if t := e.demux.keys.Load(); t != nil {
		return t.find(id)
	}
	if s := e.sole.Load(); s != nil && s.opener == byDial {
		return nil, s
	}
	return nil, nil
}
