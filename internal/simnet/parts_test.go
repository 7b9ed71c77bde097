// SPDX-License-Identifier: MIT

package simnet

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHeapReturnsEventsInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	links := []*Link{{name: "a"}, {name: "b"}, {name: "c"}}
	for range 200 {
		var h eventHeap
		var want []event
		for i := range r.IntN(200) {
			e := event{due: r.Int64N(10), link: links[r.IntN(3)], seq: uint64(i)}
			if r.IntN(2) == 0 {
				e.packet = &packet{}
			}
			want = append(want, e)
			h.push(e)
		}
		slices.SortFunc(want, func(a, b event) int {
			if a.before(&b) {
				return -1
			}
			return 1
		})
		for i, w := range want {
			if got := h.pop(); got != w {
				t.Fatalf("event %d of %d is %+v, want %+v", i, len(want), got, w)
			}
		}
		if len(h) != 0 {
			t.Fatalf("%d events left", len(h))
		}
	}
}

func TestFifoKeepsOrderAndStaysSmall(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var q fifo[int]
	in, out := 0, 0
	for range 100000 {
		if q.len() < 50 && r.IntN(2) == 0 || q.len() == 0 {
			q.push(in)
			in++
		} else {
			if front := *q.front(); front != out {
				t.Fatalf("front is %d, want %d", front, out)
			}
			if got := q.pop(); got != out {
				t.Fatalf("got %d, want %d", got, out)
			}
			out++
		}
		if q.len() != in-out {
			t.Fatalf("len is %d, want %d", q.len(), in-out)
		}
	}
	if cap(q.items) > 256 {
		t.Errorf("a queue of at most 50 takes %d places", cap(q.items))
	}
}

func TestDigestDependsOnEveryBit(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	seen := make(map[uint64]bool)
	for size := range 100 {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		h := digest(b)
		if seen[h] {
			t.Fatalf("size %d: a digest twice", size)
		}
		seen[h] = true
		for bit := range size * 8 {
			b[bit/8] ^= 1 << (bit % 8)
			g := digest(b)
			b[bit/8] ^= 1 << (bit % 8)
			if d := bits.OnesCount64(g ^ h); seen[g] || d < 8 {
				t.Fatalf("size %d: bit %d changes %d bits of the digest", size, bit, d)
			}
			seen[g] = true
		}
	}
	if digest(make([]byte, 8)) == digest(make([]byte, 9)) || digest(nil) == digest([]byte{0}) {
		t.Error("the digest does not depend on the length")
	}
}

func TestDrawsAreEvenAndIndependent(t *testing.T) {
	const count = 100000
	for _, c := range []struct {
		name string
		draw func(i uint64) uint64
	}{
		{"by index", func(i uint64) uint64 { return draw(1, i, drawLoss) }},
		{"by key", func(i uint64) uint64 { return draw(i, 1, drawLoss) }},
		{"by purpose", func(i uint64) uint64 { return draw(1, 1, purpose(i)) }},
		{"two purposes", func(i uint64) uint64 { return draw(1, i, drawLoss) ^ draw(1, i, drawCorrupt) }},
		{"a copy", func(i uint64) uint64 { return draw(1, i, drawCorrupt) ^ draw(1, i, drawCorrupt+drawCopy) }},
		{"two links", func(i uint64) uint64 { return draw(1, i, drawLoss) ^ draw(2, i, drawLoss) }},
		{"in a row", func(i uint64) uint64 { return draw(1, i, drawLoss) ^ draw(1, i+1, drawLoss) }},
	} {
		var tenth [10]int
		for i := range uint64(count) {
			tenth[below(c.draw(i), 10)]++
		}
		for i, got := range tenth {
			checkShare(t, c.name, got, count, 0.1)
			if t.Failed() {
				t.Fatalf("%s: tenth %d", c.name, i)
			}
		}
	}
	if below(1<<63, 0) != 0 || below(1<<63, -1) != 0 || below(1<<63, 7) != 3 {
		t.Error("below is off")
	}
}
