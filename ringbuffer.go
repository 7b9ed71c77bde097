// SPDX-License-Identifier: MIT

package kcp

const (
	// ringBufferMin is the least capacity a RingBuffer allocates.
	ringBufferMin = 8
	// ringBufferDoubling is the capacity up to which a full RingBuffer doubles. Above it grows by a
	// tenth, because a large ring that is half empty costs more than more frequent copies.
	ringBufferDoubling = 1024
)

// RingBuffer is a queue of T in an array that grows when all but one of its slots are taken, and
// never shrinks. Free slots are cleared, so that popped elements can be collected. The zero value
// is an empty queue. It is not safe for concurrent use.
type RingBuffer[T any] struct {
	slots []T
	head  int // index of the oldest element
	count int
}

// NewRingBuffer returns an empty queue of size slots. It holds one element less before it grows. A
// size below 8 counts as 8.
func NewRingBuffer[T any](size int) *RingBuffer[T] {
	return &RingBuffer[T]{slots: make([]T, max(size, ringBufferMin))}
}

// slot returns the index of the i-th oldest element, 0 <= i <= len(slots).
func (r *RingBuffer[T]) slot(i int) int {
	i += r.head
	if i >= len(r.slots) {
		i -= len(r.slots)
	}
	return i
}

// Len returns the number of elements.
func (r *RingBuffer[T]) Len() int { return r.count }

// MaxLen returns how many elements fit before the queue grows: one less than the number of slots.
func (r *RingBuffer[T]) MaxLen() int { return max(len(r.slots)-1, 0) }

// IsEmpty reports whether there is no element.
func (r *RingBuffer[T]) IsEmpty() bool { return r.count == 0 }

// IsFull reports whether the next Push makes the queue grow.
func (r *RingBuffer[T]) IsFull() bool { return r.count == r.MaxLen() }

// Push appends v behind the newest element.
func (r *RingBuffer[T]) Push(v T) {
	if r.IsFull() {
		r.grow()
	}
	r.slots[r.slot(r.count)] = v
	r.count++
}

// Pop removes the oldest element and returns it. If the queue is empty, it returns the zero value
// and false.
func (r *RingBuffer[T]) Pop() (T, bool) {
	var zero T
	if r.count == 0 {
		return zero, false
	}
	v := r.slots[r.head]
	r.slots[r.head] = zero
	r.head = r.slot(1)
	r.count--
	return v, true
}

// Peek returns a pointer to the oldest element, valid until the next Push, Pop, Discard or Clear.
// If the queue is empty, it returns nil and false.
func (r *RingBuffer[T]) Peek() (*T, bool) {
	if r.count == 0 {
		return nil, false
	}
	return &r.slots[r.head], true
}

// Discard removes the n oldest elements, or all if there are fewer, and returns how many it
// removed. A negative n counts as 0.
func (r *RingBuffer[T]) Discard(n int) int {
	n = min(max(n, 0), r.count)
	if n == 0 {
		return 0
	}
	first := min(n, len(r.slots)-r.head)
	clear(r.slots[r.head : r.head+first])
	clear(r.slots[:n-first])
	r.head = r.slot(n)
	r.count -= n
	return n
}

// Clear removes all elements and keeps the array.
func (r *RingBuffer[T]) Clear() {
	r.Discard(r.count)
	r.head = 0
}

// ForEach calls fn with a pointer to each element, the oldest first, until fn returns false. fn may
// change the element, but not the queue.
func (r *RingBuffer[T]) ForEach(fn func(*T) bool) {
	for i := range r.count {
		if !fn(&r.slots[r.slot(i)]) {
			return
		}
	}
}

// ForEachReverse is ForEach with the newest element first.
func (r *RingBuffer[T]) ForEachReverse(fn func(*T) bool) {
	for i := r.count - 1; i >= 0; i-- {
		if !fn(&r.slots[r.slot(i)]) {
			return
		}
	}
}

// grow moves the elements to the front of a larger array.
func (r *RingBuffer[T]) grow() {
	size := len(r.slots)
	switch {
	case size < ringBufferMin:
		size = ringBufferMin
	case size < ringBufferDoubling:
		size *= 2
	default:
		size += (size + 9) / 10
	}
	slots := make([]T, size)
	n := copy(slots, r.slots[r.head:min(r.head+r.count, len(r.slots))])
	copy(slots[n:], r.slots[:r.count-n])
	r.slots, r.head = slots, 0
}
