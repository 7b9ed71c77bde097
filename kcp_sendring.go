// SPDX-License-Identifier: MIT

package kcp

import "math/bits"

// sendSegment is a slot of the send window.
type sendSegment struct {
	data    []byte // pooled, or in slab; nil once acknowledged
	slab    *slab
	order   uint64    // number of its latest transmission, counted over the session
	sentAt  millis    // time of its latest transmission
	firstTS timestamp // ts of its first transmission
	prev    seqNum    // neighbours in its list
	next    seqNum
	xmits   uint16
	at      uint16 // where its header stands in slab
	list    uint8  // the list it is in: its back-off level, or lostList
	level   uint8  // back-off level: how often its retransmission timer has run out
	frg     uint8
	cause   lossCause
}

// Lists of segments in flight. List i holds those whose timer has run out i times, in the order of transmission, so
// that its head always has the earliest deadline of the list: the next event of a whole window is the least of a
// few heads. lostList holds what has been found lost and waits to be sent again.
const (
	maxLevel = 19 // 1.5^19 times the least RTO is beyond the 60 s bound
	lostList = maxLevel + 1
	numLists = lostList + 1
)

type segmentList struct {
	head, tail seqNum
	n          uint32
}

// sendRing is the storage of a send window, indexed by sequence number. The lists are linked by sequence numbers, so
// they stay valid when the ring grows.
type sendRing struct {
	// What a session with a segment or two in flight looks at lies in one cache line, lists[0] included.
	slots       []sendSegment
	outstanding bitmap // sent and not acknowledged
	used        uint32 // bit i: list i is not empty
	lists       [numLists]segmentList
}

// lost is how many segments have been found lost and wait to be sent again.
func (r *sendRing) lost() uint32 {
	if r.used&(1<<lostList) == 0 {
		return 0
	}
	return r.lists[lostList].n
}

func (r *sendRing) size() uint32 { return uint32(len(r.slots)) }

func (r *sendRing) slot(sn seqNum) uint32 { return uint32(sn) & uint32(len(r.slots)-1) }

func (r *sendRing) at(sn seqNum) *sendSegment { return &r.slots[uint32(sn)&uint32(len(r.slots)-1)] }

func (r *sendRing) isOutstanding(s seqNum) bool { return r.outstanding.has(r.slot(s)) }

// push appends sn to list l.
func (r *sendRing) push(l uint8, sn seqNum) {
	list, seg := &r.lists[l], r.at(sn)
	seg.list = l
	if list.n == 0 {
		list.head = sn
	} else {
		r.at(list.tail).next = sn
		seg.prev = list.tail
	}
	list.tail = sn
	list.n++
	r.used |= 1 << l
}

// unlink takes sn out of the list it is in.
func (r *sendRing) unlink(sn seqNum) {
	seg := r.at(sn)
	list := &r.lists[seg.list]
	if sn != list.head {
		r.at(seg.prev).next = seg.next
	} else {
		list.head = seg.next
	}
	if sn != list.tail {
		r.at(seg.next).prev = seg.prev
	} else {
		list.tail = seg.prev
	}
	if list.n--; list.n == 0 {
		r.used &^= 1 << seg.list
	}
}

func getSendRing(n uint32) *sendRing {
	size := ringSize(n)
	if r, _ := sendRings[bits.Len32(size)].Get().(*sendRing); r != nil {
		return r
	}
	return &sendRing{slots: make([]sendSegment, size), outstanding: make(bitmap, (size+63)/64)}
}

// putSendRing takes back a ring that holds nothing: no data, no bit set, no list in use. Slots are written whole when
// they are filled, so that nothing need be cleared here.
func putSendRing(r *sendRing) {
	sendRings[bits.Len32(r.size())].Put(r)
}

// grow returns a ring of at least n slots that holds what r holds between from and to, and gives r back.
func (r *sendRing) grow(n uint32, from, to seqNum) *sendRing {
	bigger := getSendRing(n)
	for sn := from; sn != to; sn++ {
		*bigger.at(sn) = *r.at(sn)
		if r.isOutstanding(sn) {
			bigger.outstanding.set(bigger.slot(sn))
		}
	}
	bigger.lists, bigger.used = r.lists, r.used
	clear(r.slots)
	clear(r.outstanding)
	r.lists, r.used = [numLists]segmentList{}, 0
	putSendRing(r)
	return bigger
}

// lossCause is how a segment was found lost.
type lossCause uint8

const (
	lossNone    lossCause = iota
	lossFast              // enough ACKs for segments sent later
	lossEarly             // some ACK for a later one, a round trip has passed, and there is nothing new to send
	lossTimeout           // its retransmission timer ran out
)

// free gives back the buffer of a segment of the send window, to the cache if there is one.
func (seg *sendSegment) free(cache *bufferCache) {
	if seg.slab != nil {
		seg.slab.release()
		seg.slab = nil
	} else {
		cache.put(seg.data)
	}
	seg.data = nil
}
