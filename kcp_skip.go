// SPDX-License-Identifier: MIT

package kcp

import (
	"sort"
	"unsafe"
)

// timedState is what has become of a message with a deadline.
type timedState uint8

const (
	timedWaits timedState = iota // the deadline has not passed
	// timedLate: the deadline has passed, and what is in flight of the message may still be on its
	// way. It is not sent again, and counts as lost at the time that replaces the deadline.
	timedLate
	timedSkipped // the peer is told to skip the message, until it has acknowledged that
	timedDone    // acknowledged or dropped, or its deadline counts no more
)

// timedMessage is a message with a deadline.
type timedMessage struct {
	deadline millis
	first    seqNum
	count    uint16 // its segments
	left     uint16 // those that are not acknowledged
	state    timedState
}

// end returns the sequence number behind the message.
func (m *timedMessage) end() seqNum { return m.first + seqNum(m.count) }

// timedMessages are the messages with a deadline of a send window, in the order of sequence
// numbers. They know nothing of the segments. A ring has them once there was a deadline.
type timedMessages struct {
	list   []timedMessage
	head   int    // of list; those before are done
	next   millis // the earliest event, eventUnknown if it has to be looked for
	sorted int    // list has its deadlines in order up to here
	skipAt millis // the next SKIP leaves at this time at the earliest

	skipped int    // messages that the peer is told to skip
	dropped uint32 // messages that were given up, since takeDropped
}

// eventUnknown is the next event of timedMessages that have changed.
const eventUnknown millis = -1

// timedKept is how many done messages may stay at the head of the list.
const timedKept = 32

// add adds a message behind the others.
func (t *timedMessages) add(first seqNum, count uint16, deadline millis) {
	n := len(t.list)
	if n == t.head {
		t.reset()
		n, t.next = 0, deadline
	}
	if t.sorted == n && (n == 0 || t.list[n-1].deadline <= deadline) {
		t.sorted++
	}
	t.list = append(t.list,
		timedMessage{deadline: deadline, first: first, count: count, left: count})
	if t.next != eventUnknown {
		t.next = min(t.next, deadline)
	}
}

// reset forgets all messages.
func (t *timedMessages) reset() {
	t.list, t.head, t.sorted, t.next, t.skipped = t.list[:0], 0, 0, never, 0
}

// from returns the index of the first message that ends behind sn.
func (t *timedMessages) from(sn seqNum) int {
	n := sort.Search(len(t.list)-t.head, func(i int) bool {
		return sn.before(t.list[t.head+i].end())
	})
	return t.head + n
}

// find returns the message that has the segment sn, or nil.
func (t *timedMessages) find(sn seqNum) *timedMessage {
	if i := t.from(sn); i < len(t.list) && !sn.before(t.list[i].first) {
		return &t.list[i]
	}
	return nil
}

// acknowledged notes that a segment of a message has been acknowledged.
func (t *timedMessages) acknowledged(sn seqNum) {
	m := t.find(sn)
	if m == nil {
		return
	}
	if m.left--; m.left == 0 {
		t.set(m, timedDone)
		t.trim()
	}
}

// skip notes that a segment of a message has been found lost. A late message is given up thereby.
func (t *timedMessages) skip(sn seqNum) {
	if m := t.find(sn); m != nil && m.state == timedLate {
		t.giveUp(m, timedSkipped)
	}
}

// giveUp notes that a message is given up.
func (t *timedMessages) giveUp(m *timedMessage, state timedState) {
	t.set(m, state)
	t.dropped++
}

// takeDropped returns how many messages were given up since the last call.
func (t *timedMessages) takeDropped() (n uint32) {
	n, t.dropped = t.dropped, 0
	return n
}

// set changes the state of a message.
func (t *timedMessages) set(m *timedMessage, state timedState) {
	if m.state == timedSkipped {
		t.skipped--
	}
	if state == timedSkipped {
		t.skipped++
	}
	m.state = state
	if m.deadline == t.next {
		t.next = eventUnknown
	}
}

// postpone sets another time for the event of a message.
func (t *timedMessages) postpone(m *timedMessage, state timedState, until millis) {
	t.set(m, state)
	m.deadline = until
	t.sorted = t.head
	if t.next != eventUnknown {
		t.next = min(t.next, until)
	}
}

// trim removes the messages at the head that are done.
func (t *timedMessages) trim() {
	for t.head < len(t.list) && t.list[t.head].state == timedDone {
		t.head++
	}
	if t.head == len(t.list) {
		t.reset()
	} else if t.head >= timedKept && 2*t.head >= len(t.list) {
		t.list = t.list[:copy(t.list, t.list[t.head:])]
		t.sorted, t.head = max(t.sorted-t.head, 0), 0
	}
}

// event returns the time of the earliest deadline, never if there is none.
func (t *timedMessages) event() millis {
	if t.next != eventUnknown {
		return t.next
	}
	t.next = never
	for i := t.head; i < len(t.list); i++ {
		m := &t.list[i]
		if m.state != timedWaits && m.state != timedLate {
			continue
		}
		t.next = min(t.next, m.deadline)
		if i < t.sorted && t.sorted == len(t.list) {
			break
		}
	}
	return t.next
}

// due reports whether the event of a message has come.
func (m *timedMessage) due(now millis) bool { return m.state <= timedLate && m.deadline <= now }

// removeDone removes the messages that are done from the i-th on.
func (t *timedMessages) removeDone(i int) {
	inOrder := t.sorted == len(t.list)
	kept := t.list[:i]
	for _, m := range t.list[i:] {
		if m.state != timedDone {
			kept = append(kept, m)
		}
	}
	t.list = kept
	if t.sorted = min(t.sorted, i); inOrder {
		t.sorted = len(kept)
	}
	t.trim()
}

// clear forgets all messages, for a ring that is empty. A list that has become long is released.
func (t *timedMessages) clear() {
	if t.reset(); cap(t.list) > timedLong {
		t.list = nil
	}
	t.skipAt = 0
}

// timedLong is how many messages a pooled list holds at most.
const timedLong = 1024

// size returns how many bytes of memory the list takes.
func (t *timedMessages) size() int { return cap(t.list) * int(unsafe.Sizeof(timedMessage{})) }
