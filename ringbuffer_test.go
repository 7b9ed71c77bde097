// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// ringTestContents returns what ForEach visits.
func ringTestContents[T any](r *RingBuffer[T]) []T {
	var all []T
	r.ForEach(func(v *T) bool {
		all = append(all, *v)
		return true
	})
	return all
}

// ringTestCompare fails unless r holds exactly want.
func ringTestCompare(t *testing.T, r *RingBuffer[int], want []int) {
	t.Helper()
	if got := ringTestContents(r); !slices.Equal(got, want) {
		t.Fatalf("ForEach: got %v, want %v", got, want)
	}
	var reversed []int
	r.ForEachReverse(func(v *int) bool {
		reversed = append(reversed, *v)
		return true
	})
	slices.Reverse(reversed)
	if !slices.Equal(reversed, want) {
		t.Fatalf("ForEachReverse, turned round: got %v, want %v", reversed, want)
	}
	if r.Len() != len(want) || r.IsEmpty() != (len(want) == 0) ||
		r.IsFull() != (len(want) == r.MaxLen()) {
		t.Fatalf("got Len %d, IsEmpty %v, IsFull %v, MaxLen %d with %d elements",
			r.Len(), r.IsEmpty(), r.IsFull(), r.MaxLen(), len(want))
	}
	first, ok := r.Peek()
	if ok != (len(want) > 0) || ok && *first != want[0] || !ok && first != nil {
		t.Fatalf("Peek: got %v, %v with %d elements", first, ok, len(want))
	}
	for i := len(want); i < len(r.slots); i++ {
		if v := r.slots[r.slot(i)]; v != 0 {
			t.Fatalf("free slot %d behind the newest still holds %d", i-len(want), v)
		}
	}
}

func TestRingBufferIsAQueue(t *testing.T) {
	for name, r := range map[string]*RingBuffer[int]{
		"zero value": {},
		"size 0":     NewRingBuffer[int](0),
		"size 13":    NewRingBuffer[int](13),
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 1))
			var want []int
			next := 1
			for range 3000 {
				switch rng.IntN(12) {
				case 0, 1, 2, 3, 4:
					for range rng.IntN(4) {
						r.Push(next)
						want = append(want, next)
						next++
					}
				case 5, 6, 7, 8:
					v, ok := r.Pop()
					if ok != (len(want) > 0) || ok && v != want[0] || !ok && v != 0 {
						t.Fatalf("Pop: got %d, %v with %v queued", v, ok, want)
					}
					want = want[min(1, len(want)):]
				case 9, 10:
					n := rng.IntN(9) - 2
					wantN := min(max(n, 0), len(want))
					if got := r.Discard(n); got != wantN {
						t.Fatalf("Discard(%d): got %d, want %d", n, got, wantN)
					}
					want = want[wantN:]
				case 11:
					if rng.IntN(20) == 0 {
						r.Clear()
						want = nil
					}
				}
				ringTestCompare(t, r, want)
			}
		})
	}
}

func TestRingBufferGrowsByDoublingThenByATenth(t *testing.T) {
	// One slot of the array stays free: MaxLen is one less than its size.
	for _, tt := range []struct{ size, wantFirst, wantNext int }{
		{-1 << 30, 7, 15}, {-1, 7, 15}, {0, 7, 15}, {8, 7, 15}, {9, 8, 17},
		{512, 511, 1023}, {1023, 1022, 2045},
		{1024, 1023, 1126}, {1127, 1126, 1239}, {10000, 9999, 10999},
	} {
		r := NewRingBuffer[int](tt.size)
		if got := r.MaxLen(); got != tt.wantFirst {
			t.Errorf("NewRingBuffer(%d): got room for %d, want %d", tt.size, got, tt.wantFirst)
		}
		// Start in the middle, so that the elements wrap around the end.
		for range tt.wantFirst / 2 {
			r.Push(0)
		}
		r.Discard(tt.wantFirst / 2)
		for i := range tt.wantFirst + 1 {
			r.Push(i)
		}
		if got := r.MaxLen(); got != tt.wantNext {
			t.Errorf("NewRingBuffer(%d), full: grows to %d, want %d", tt.size, got, tt.wantNext)
		}
		for i, v := range ringTestContents(r) {
			if v != i {
				t.Fatalf("NewRingBuffer(%d): element %d is %d after growing", tt.size, i, v)
			}
		}
	}
}

func TestRingBufferForEachStopsAndMayChangeElements(t *testing.T) {
	r := NewRingBuffer[int](8)
	for i := range 6 {
		r.Push(i)
	}
	visited := 0
	r.ForEach(func(v *int) bool {
		visited++
		*v += 10
		return visited < 2
	})
	r.ForEachReverse(func(v *int) bool {
		visited++
		*v += 100
		return visited < 5
	})
	if want := []int{10, 11, 2, 103, 104, 105}; !slices.Equal(ringTestContents(r), want) {
		t.Errorf("got %v, want %v", ringTestContents(r), want)
	}
	if first, ok := r.Peek(); ok {
		*first = 7
	}
	if v, ok := r.Pop(); !ok || v != 7 {
		t.Errorf("Pop after a change through Peek: got %d, %v, want 7, true", v, ok)
	}
}

func TestRingBufferSteadyStateDoesNotAllocate(t *testing.T) {
	r := NewRingBuffer[*int](8)
	v := new(int)
	got := testing.AllocsPerRun(1000, func() {
		for range 8 {
			r.Push(v)
		}
		r.Pop()
		r.Discard(7)
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func BenchmarkRingBuffer(b *testing.B) {
	r := NewRingBuffer[[]byte](1000)
	v := make([]byte, 1)
	for range 500 {
		r.Push(v)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Push(v)
		r.Pop()
	}
}
