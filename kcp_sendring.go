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
	at      uint16    // where its header stands in slab
	xmits   uint8     // transmissions, 255 for more
	copies  uint8     // likewise, in datagrams with other data; they are no transmissions
	copyTS  timestamp // ts of its latest copy
	list    uint8     // the list it is in: its back-off level, lostList or skipList
	level   uint8     // back-off level: how often its timeout has expired
	frg     uint8
	cause   lossCause
	term    segmentTerm
}

// segmentTerm is how long a segment is sent.
type segmentTerm uint8

const (
	termNone  segmentTerm = iota // until it is acknowledged
	termTimed                    // as long as the deadline of its message has not passed
	termOver                     // its message is given up: a SKIP takes the place of its data
)

// Lists of segments in flight. List i holds the segments whose timeout has expired i times, in the
// order of transmission. So its head has the earliest deadline of the list, and the next event of a
// window is the least of a few heads. lostList holds segments that have been found lost and wait to
// be resent. skipList holds those of messages that were given up, which wait for a SKIP.
const (
	maxLevel = 19 // 1.5^19 times the least RTO is beyond the 60 s bound
	lostList = maxLevel + 1
	skipList = lostList + 1
	numLists = skipList + 1

	// waitLists are the lists of segments that are not in flight.
	waitLists = 1<<lostList | 1<<skipList
)

type segmentList struct {
	head, tail seqNum
	n          uint32
}

// sendRing is the storage of a send window, indexed by sequence number. The lists are linked by
// sequence numbers, so they stay valid when the ring grows.
type sendRing struct {
	// The fields that a session with a segment or two in flight uses share a cache line, with
	// lists[0].
	slots       []sendSegment
	outstanding bitmap // sent and not acknowledged
	used        uint32 // bit i: list i is not empty
	lists       [numLists]segmentList
	timed       *timedMessages // nil until a message had a deadline
}

// lost returns how many segments have been found lost and wait to be resent.
func (r *sendRing) lost() uint32 { return r.count(lostList) }

// skipping returns how many segments wait for a SKIP.
func (r *sendRing) skipping() uint32 { return r.count(skipList) }

func (r *sendRing) count(list uint8) uint32 {
	if r.used&(1<<list) == 0 {
		return 0
	}
	return r.lists[list].n
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

// unlink removes sn from its list.
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

// putSendRing returns an empty ring to its pool: no data, no bit set, no list in use. Slots are
// written whole when they are filled, so nothing is cleared here.
func putSendRing(r *sendRing) {
	if r.timed != nil {
		r.timed.clear()
	}
	sendRings[bits.Len32(r.size())].Put(r)
}

// grow returns a ring of at least n slots that holds what r holds between from and to, and releases
// r.
func (r *sendRing) grow(n uint32, from, to seqNum) *sendRing {
	bigger := getSendRing(n)
	for sn := from; sn != to; sn++ {
		*bigger.at(sn) = *r.at(sn)
		if r.isOutstanding(sn) {
			bigger.outstanding.set(bigger.slot(sn))
		}
	}
	bigger.lists, bigger.used = r.lists, r.used
	if r.timed != nil {
		bigger.timed, r.timed = r.timed, nil
	}
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
	lossFast              // enough ACKs of segments sent later
	lossEarly             // an ACK of a later one, more than a round trip ago
	lossProbe             // its first timeout, whose cause is unknown
	lossWindow            // the peer had no room for it
	lossTimeout           // its retransmission timeout has expired
)

// inFlight reports whether a segment that was sent counts as in flight.
func (seg *sendSegment) inFlight() bool { return seg.list < lostList }

// bytes returns the size of the segment with its header.
func (seg *sendSegment) bytes() int64 { return int64(len(seg.data) + segmentHeaderSize) }

// free releases the buffer of a segment, to the cache if there is one.
func (seg *sendSegment) free(cache *bufferCache) {
	if seg.slab != nil {
		seg.slab.release()
		seg.slab = nil
	} else {
		cache.put(seg.data)
	}
	seg.data = nil
}
