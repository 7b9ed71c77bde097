// SPDX-License-Identifier: MIT

package simnet

// event is something that is due: the end of a packet's serialisation
// (packet nil), or a delivery.
type event struct {
	due    int64 // ns since New
	link   *Link
	seq    uint64 // order of scheduling on the link
	packet *packet
}

// before is a total order that depends on nothing but time and names, so that
// a run repeats: by time, departures first, then by link name, then as scheduled.
func (a *event) before(b *event) bool {
	if a.due != b.due {
		return a.due < b.due
	}
	if (a.packet == nil) != (b.packet == nil) {
		return a.packet == nil
	}
	if a.link != b.link {
		return a.link.name < b.link.name
	}
	return a.seq < b.seq
}

// eventHeap is a binary heap, the earliest event first. It is written out
// because container/heap allocates for each push.
type eventHeap []event

func (h *eventHeap) push(e event) {
	q := append(*h, e)
	i := len(q) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&q[parent]) {
			break
		}
		q[i] = q[parent]
		i = parent
	}
	q[i] = e
	*h = q
}

// pop removes the earliest event. The heap must not be empty.
func (h *eventHeap) pop() event {
	q := *h
	top, last := q[0], len(q)-1
	e := q[last]
	q[last] = event{}
	q = q[:last]
	*h = q
	if last == 0 {
		return top
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && q[child+1].before(&q[child]) {
			child++
		}
		if !q[child].before(&e) {
			break
		}
		q[i] = q[child]
		i = child
	}
	q[i] = e
	return top
}
