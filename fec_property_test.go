// SPDX-License-Identifier: MIT

package kcp

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// fecModel says for one group what a decoder owes.
type fecModel struct {
	payloads [][]byte
	arrived  map[uint32]bool // by index
	done     bool
	whole    bool // done without recovering
}

// TestFECRecoversExactlyWhatIsRecoverable drives random shards, sizes, order, loss and duplicates past a decoder and
// holds it to a model: with the k-th different packet of a group all its missing data come back at once, never anything
// else, never twice; and what did not come back is counted.
func TestFECRecoversExactlyWhatIsRecoverable(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		shape := fecRandomShape(r, []int{3, 8, 20, 60}[r.IntN(4)])
		fecCheckAgainstModel(t, r, shape, seed)
	}
	fecCheckAgainstModel(t, rand.New(rand.NewPCG(1, 2)), fecShape{200, 255}, 1000)
	fecCheckAgainstModel(t, rand.New(rand.NewPCG(1, 3)), fecShape{127, 255}, 1001)
}

func fecCheckAgainstModel(t *testing.T, r *rand.Rand, shape fecShape, seed uint64) {
	t.Helper()
	e, d := fecNewEncoder(t, shape), fecNewDecoder(t, shape)
	e.next, e.sent = shape.align(r.Uint32N(shape.wrap())), true
	d.at, d.looked = e.next, fecFirstLooks // as if there had been packets before
	const groups = 20
	models := map[uint32]*fecModel{}
	type event struct {
		packet []byte
		place  float64
	}
	var events []event
	loss, late := r.Float64()*0.4, r.IntN(shape.total)
	largest := 1 + r.IntN(1400)
	place := 0.0
	for range groups {
		m := &fecModel{arrived: map[uint32]bool{}}
		models[e.next] = m
		for more := true; more; more = !e.idle() {
			payload := fecRandom(r, r.IntN(largest))
			m.payloads = append(m.payloads, payload)
			for _, p := range fecSend(e, payload, 0) {
				for place++; r.Float64() >= loss; {
					events = append(events, event{p, place + r.Float64()*float64(late)})
					if r.IntN(10) > 0 {
						break // else once more
					}
				}
			}
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.place, b.place) })
	for _, ev := range events {
		seqid := fecSeqid(ev.packet)
		base := seqid - seqid%uint32(shape.total)
		m := models[base]
		got := d.input(ev.packet)
		m.arrived[seqid-base] = true
		var want [][]byte
		if !m.done && len(m.arrived) == shape.data {
			m.done, m.whole = true, true
			for i, payload := range m.payloads {
				if !m.arrived[uint32(i)] {
					m.whole = false
					want = append(want, payload)
				}
			}
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("seed %d, %v, seqid %d: got %d payloads, want %d", seed, shape, seqid, len(got), len(want))
		}
	}
	var want fecStats
	for _, m := range models {
		switch {
		case m.whole:
			want.complete++
		case m.done:
			want.recovered++
		case len(m.arrived) > 0:
			want.failed++
		}
	}
	fecFlush(t, e, d)
	got := d.stats()
	if got.complete-uint64(fecFlushGroups) != want.complete || got.recovered != want.recovered || got.failed != want.failed {
		t.Errorf("seed %d, %v: got %+v, want %+v", seed, shape, got, want)
	}
	if got.parity != got.packets+got.parityUnused {
		t.Errorf("seed %d, %v: %d parity packets, %d used, %d unused", seed, shape, got.parity, got.packets, got.parityUnused)
	}
}

// fecFlushGroups is more than a ring holds.
const fecFlushGroups = fecRingMaxGroups + 1

// fecFlush sends whole groups until all earlier ones have left the ring.
func fecFlush(t *testing.T, e *fecEncoder, d *fecDecoder) {
	t.Helper()
	for range fecFlushGroups {
		for more := true; more; more = !e.idle() {
			for _, p := range fecSend(e, []byte("flush"), 0) {
				if got := d.input(p); len(got) != 0 {
					t.Errorf("%d payloads recovered where nothing was lost", len(got))
				}
			}
		}
	}
}

// TestFECChangesOfShapeMakeNoPacketsUp sends packets alike in size and header, of which any mixture looks like one, in
// groups that change again and again, over a network that loses, repeats and delays packets by more than a change is
// apart, to a receiver that is configured alike or otherwise. Whatever comes back must have been sent.
func TestFECChangesOfShapeMakeNoPacketsUp(t *testing.T) {
	for seed := range uint64(50) {
		fecChangeShapes(t, seed)
	}
}

func fecChangeShapes(t *testing.T, seed uint64) {
	const conv = 0x11223344
	r := rand.New(rand.NewPCG(seed, 4))
	e, d := fecNewEncoder(t, fecRandomShape(r, 12)), fecNewDecoder(t, fecShape{})
	e.sent = true
	switch r.IntN(3) {
	case 0:
		d.hint(e.shape.data, e.shape.parity())
	case 1:
		other := fecRandomShape(r, 12)
		d.hint(other.data, other.parity())
		d.unhint() // as with a peer that may be configured so
	}
	d.expectConv(conv)
	type event struct {
		packet []byte
		place  float64
	}
	var events []event
	sent := map[string]bool{}
	loss, again, late := r.Float64()*0.5, r.Float64()*0.3, 1+r.Float64()*200
	for n := range 2000 {
		if r.IntN(100) == 0 {
			if shape := fecRandomShape(r, 12); e.setShards(shape.data, shape.parity()) != nil {
				t.Fatal(shape)
			}
		}
		payload := fecRandom(r, 40)
		binary.LittleEndian.PutUint32(payload, conv)
		sent[string(payload)] = true
		for _, p := range fecSend(e, payload, 0) {
			if r.Float64() >= loss {
				events = append(events, event{p, float64(n) + r.ExpFloat64()*late/8})
			}
			if r.Float64() < again {
				events = append(events, event{p, float64(n) + r.Float64()*late})
			}
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.place, b.place) })
	for i, ev := range events {
		if r.IntN(500) == 0 {
			d.release() // the session was idle
		}
		for _, payload := range d.input(ev.packet) {
			if !sent[string(payload)] {
				t.Errorf("seed %d, packet %d of %d, grouped as %v: made up a packet", seed, i, len(events), d.shape)
			}
		}
	}
}
