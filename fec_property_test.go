// SPDX-License-Identifier: MIT

package kcp

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// fecModel is what a decoder must recover of one group.
type fecModel struct {
	payloads [][]byte
	arrived  map[uint32]bool // by index
	done     bool            // enough has arrived
	missing  []string        // of the payloads, when that was so
}

// TestFECRecoversWhatIsRecoverable feeds a decoder that knows the shape with random shards, sizes,
// order, loss and duplicates, and compares it with a model. A recovered packet is missing from a
// group of which enough has arrived, and is recovered once. Nearly all recoverable packets are
// recovered, and the others are counted.
func TestFECRecoversWhatIsRecoverable(t *testing.T) {
	var back, owed int
	check := func(r *rand.Rand, shape fecShape, seed uint64) {
		b, o := fecCheckAgainstModel(t, r, shape, seed)
		back, owed = back+b, owed+o
	}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		check(r, fecRandomShape(r, []int{3, 8, 20, 60}[r.IntN(4)]), seed)
	}
	check(rand.New(rand.NewPCG(1, 2)), fecShape{200, 255}, 1000)
	check(rand.New(rand.NewPCG(1, 3)), fecShape{127, 255}, 1001)
	t.Logf("%d of %d packets came back", back, owed)
	if back*100 < owed*95 {
		t.Errorf("%d of %d packets came back, want 95 %%", back, owed)
	}
}

func fecCheckAgainstModel(t *testing.T, r *rand.Rand, shape fecShape,
	seed uint64) (back, owed int) {
	t.Helper()
	e, d := fecNewEncoder(t, shape), fecNewDecoder(t, shape)
	e.next, e.lastMillis = shape.align(r.Uint32N(shape.wrap())), 0
	d.at, d.looked, d.shape = e.next, fecFirstLooks, shape // as if there had been packets before
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
		m.arrived[seqid-base] = true
		if !m.done && len(m.arrived) == shape.data {
			m.done = true
			for i, payload := range m.payloads {
				if !m.arrived[uint32(i)] {
					m.missing = append(m.missing, string(payload))
					owed++
				}
			}
		}
		for _, payload := range d.input(ev.packet) {
			missing := false
			for _, m := range models {
				if i := slices.Index(m.missing, string(payload)); m.done && i >= 0 {
					m.missing = slices.Delete(m.missing, i, i+1)
					missing = true
					break
				}
			}
			if !missing {
				t.Fatalf("seed %d, %v, seqid %d: a packet came back that was not missing",
					seed, shape, seqid)
			}
			back++
		}
	}
	fecFlush(t, e, d)
	if got := d.stats(); got.parity != got.packets+got.parityUnused || got.packets != uint64(back) {
		t.Errorf("seed %d, %v: %d parity packets, %d used, %d unused",
			seed, shape, got.parity, got.packets, got.parityUnused)
	}
	return back, owed
}

// fecFlush sends whole groups until all earlier ones have left the ring.
func fecFlush(t *testing.T, e *fecEncoder, d *fecDecoder) {
	t.Helper()
	for range fecWindowLarge/e.shape.total + 2 {
		for more := true; more; more = !e.idle() {
			for _, p := range fecSend(e, []byte("flush"), 0) {
				if got := d.input(p); len(got) != 0 {
					t.Errorf("%d payloads recovered where nothing was lost", len(got))
				}
			}
		}
	}
}

// TestFECChangesOfShapeMakeNoPacketsUp sends packets alike in size and header, any mixture of which
// looks like one. Their groups change shape again and again. The network loses, repeats and delays
// packets by more than the time between changes. The receiver has the same configuration or
// another. Every recovered packet must have been sent.
func TestFECChangesOfShapeMakeNoPacketsUp(t *testing.T) {
	for seed := range uint64(300) {
		fecChangeShapes(t, seed)
	}
}

func fecChangeShapes(t *testing.T, seed uint64) {
	const conv = 0x11223344
	r := rand.New(rand.NewPCG(seed, 4))
	e, d := fecNewEncoder(t, fecRandomShape(r, 12)), fecNewDecoder(t, fecShape{})
	e.lastMillis = 0
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
				t.Errorf("seed %d, packet %d of %d, grouped as %v: made up a packet",
					seed, i, len(events), d.shape)
			}
		}
	}
}

func fecRandomShape(r *rand.Rand, most int) fecShape {
	data := 1 + r.IntN(most-1)
	return fecShape{data: data, total: data + 1 + r.IntN(most-data)}
}
