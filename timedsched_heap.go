// SPDX-License-Identifier: MIT

package kcp

// timerHeap is a heap of entries, the earliest first, with four children to a node. It has half the
// levels of a binary heap, and the children that are compared lie side by side in one cache line.
type timerHeap []heapItem

// heapItem carries the entry's time itself, so that comparing does not touch
// the entry.
type heapItem struct {
	when  instant
	entry *timerEntry
}

const heapArity = 4

// push adds an entry.
func (h *timerHeap) push(e *timerEntry, when instant) {
	*h = append(*h, heapItem{})
	h.up(len(*h)-1, heapItem{when, e})
}

// advance moves an entry to an earlier time.
func (h timerHeap) advance(e *timerEntry, when instant) {
	h.up(int(e.index), heapItem{when, e})
}

// postpone moves the earliest entry to a later time.
func (h timerHeap) postpone(when instant) { h.down(0, heapItem{when, h[0].entry}) }

// pop removes the earliest entry.
func (h *timerHeap) pop() *timerEntry {
	e := (*h)[0].entry
	h.remove(e)
	return e
}

// remove takes out an entry.
func (h *timerHeap) remove(e *timerEntry) {
	i, last := int(e.index), len(*h)-1
	item := (*h)[last]
	(*h)[last] = heapItem{}
	*h = (*h)[:last]
	switch {
	case i == last:
	case i > 0 && item.when < (*h)[(i-1)/heapArity].when:
		h.up(i, item)
	default:
		h.down(i, item)
	}
}

// up puts item into the free place i or nearer to the root.
func (h timerHeap) up(i int, item heapItem) {
	for i > 0 {
		parent := (i - 1) / heapArity
		if h[parent].when <= item.when {
			break
		}
		h.set(i, h[parent])
		i = parent
	}
	h.set(i, item)
}

// down puts item into the free place i or farther from the root.
func (h timerHeap) down(i int, item heapItem) {
	for {
		first := i*heapArity + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < min(first+heapArity, len(h)); c++ {
			if h[c].when < h[least].when {
				least = c
			}
		}
		if item.when <= h[least].when {
			break
		}
		h.set(i, h[least])
		i = least
	}
	h.set(i, item)
}

func (h timerHeap) set(i int, item heapItem) {
	h[i] = item
	item.entry.index = int32(i)
}
