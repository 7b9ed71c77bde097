// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
)

var fecSeeds = flag.Uint64("fecseeds", 400, "seeds of groups that change shape all the time")

const namedConv = 0x11223344

// namedEncoder returns an encoder whose parity names its groups.
func namedEncoder(t testing.TB, k, p int) *fecEncoder {
	t.Helper()
	e := fecNewEncoder(t, fecShape{k, k + p})
	e.nameGroups()
	return e
}

// namedDecoder returns a decoder whose peer may name its groups.
func namedDecoder(t testing.TB) *fecDecoder {
	t.Helper()
	d := fecNewDecoder(t, fecShape{})
	d.expectConv(namedConv)
	d.expectNames()
	return d
}

// namedPayload returns the payload of a data packet: a segment's header and n random bytes.
func namedPayload(r *rand.Rand, n int) []byte {
	b := fecRandom(r, segmentHeaderSize+n)
	binary.LittleEndian.PutUint32(b, namedConv)
	return b
}

// namedClose closes the open group and returns its parity.
func namedClose(e *fecEncoder) (packets [][]byte) {
	for i := range e.close() {
		packets = append(packets, bytes.Clone(e.parity(i)))
	}
	return packets
}

// namedGroup sends payloads as one group and returns its packets, parity last.
func namedGroup(e *fecEncoder, payloads [][]byte) (packets [][]byte) {
	for _, p := range payloads {
		packets = append(packets, fecSend(e, p, 0)...)
	}
	return append(packets, namedClose(e)...)
}

// Every pattern of losses that leaves k packets of a group is recovered, whatever the shape, also
// if the sender closed the group early.
func TestFECNamedGroupsOfEachShape(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for round := range 600 {
		k := 1 + r.IntN([]int{4, 20, 200}[round%3])
		p := 1 + r.IntN(min(12, fecMaxTotal-k))
		e, d := namedEncoder(t, k, p), namedDecoder(t)
		e.next = r.Uint32() | 1<<31*uint32(round%2) - uint32(r.IntN(10))
		for range k { // the first groups show how much is to be kept
			for _, packet := range fecSend(e, namedPayload(r, 9), 0) {
				d.input(packet)
			}
		}
		before := d.stats()
		for range 4 {
			var payloads [][]byte
			for range 1 + r.IntN(k) {
				payloads = append(payloads, namedPayload(r, r.IntN(300)))
			}
			j := len(payloads)
			packets := namedGroup(e, payloads)
			parity := len(packets) - j
			if want := e.shape.parityOf(j); parity != want {
				t.Fatalf("%d of %d/%d packets: %d parity packets, want %d", j, k, p, parity, want)
			}
			lost := r.Perm(len(packets))[:parity]
			var back [][]byte
			for i, packet := range packets {
				if !slices.Contains(lost, i) {
					for _, b := range d.input(packet) {
						back = append(back, bytes.Clone(b))
					}
				}
			}
			want := 0
			for i := range payloads {
				if slices.Contains(lost, i) {
					want++
					if !slices.ContainsFunc(back, func(b []byte) bool {
						return bytes.Equal(b, payloads[i])
					}) {
						t.Errorf("round %d: packet %d of %d/%d was not recovered",
							round, i, j, parity)
					}
				}
			}
			if len(back) > want {
				t.Errorf("%d packets came back, want %d", len(back), want)
			}
		}
		if got := d.stats(); got.errors != before.errors {
			t.Errorf("round %d, %d/%d: %d errors", round, k, p, got.errors)
		}
	}
}

// namedEvent is a packet that arrives.
type namedEvent struct {
	packet []byte
	place  float64
}

// Groups change shape all the time, by setShards and by closing early. The network loses, repeats
// and delays packets. Every recovered packet must have been sent, and without reordering each
// packet that can be recovered is. The long form is -fecseeds 100000.
func TestFECNamedGroupsMakeNoPacketsUp(t *testing.T) {
	var back, owed int
	for seed := range *fecSeeds {
		b, o := namedChangeShapes(t, seed)
		back, owed = back+b, owed+o
	}
	t.Logf("%d of %d packets came back", back, owed)
	if back < owed*97/100 {
		t.Errorf("%d of %d packets came back", back, owed)
	}
}

func namedChangeShapes(t *testing.T, seed uint64) (back, owed int) {
	r := rand.New(rand.NewPCG(seed, 4))
	shape := fecRandomShape(r, 12)
	e, d := fecNewEncoder(t, shape), namedDecoder(t)
	e.lastMillis = 0
	named := 0 // the first packet of named groups
	if r.IntN(2) == 0 {
		named = r.IntN(60) // as when the peer's HELLO comes
	}
	loss, again := r.Float64()*0.4, r.Float64()*0.3
	late := 1 + float64(r.IntN(2))*r.Float64()*60
	sent := map[string]bool{}
	var events []namedEvent
	groupLost, groupData := 0, 0
	emit := func(n int, packet []byte) (lost bool) {
		if lost = r.Float64() < loss; !lost {
			events = append(events, namedEvent{packet, float64(n) + r.ExpFloat64()*late/8})
		}
		if r.Float64() < again {
			events = append(events, namedEvent{packet, float64(n) + r.Float64()*late})
			lost = false
		}
		return lost
	}
	ended := func(n int, parity [][]byte) {
		there := 0
		for _, p := range parity {
			if !emit(n, p) {
				there++
			}
		}
		if len(parity) > 0 {
			if there >= groupLost && n > named+40 {
				owed += groupLost
			}
			groupLost, groupData = 0, 0
		}
	}
	for n := range 300 {
		if n == named {
			e.nameGroups()
			groupLost, groupData = 0, 0
		}
		if r.IntN(20) == 0 {
			if shape := fecRandomShape(r, 12); e.setShards(shape.data, shape.parity()) != nil {
				t.Fatal(shape)
			}
		}
		// Packets that are alike in all but a few bytes, any mixture of which looks like one.
		payload := make([]byte, segmentHeaderSize+20)
		binary.LittleEndian.PutUint32(payload, namedConv)
		binary.LittleEndian.PutUint32(payload[12:], uint32(n))
		payload[30] = byte(r.IntN(3))
		sent[string(payload)] = true
		packets := fecSend(e, payload, 0)
		groupData++
		if emit(n, packets[0]) {
			groupLost++
		}
		ended(n, packets[1:])
		if r.IntN(5) == 0 {
			ended(n, namedClose(e))
		}
	}
	slices.SortStableFunc(events, func(a, b namedEvent) int {
		return cmp.Compare(a.place, b.place)
	})
	for _, ev := range events {
		for _, payload := range d.input(ev.packet) {
			if back++; !sent[string(payload)] {
				t.Errorf("seed %d: a packet was made up", seed)
			}
		}
		if got := d.memory(); got > fecMemoryLimit+fecTablesLimit {
			t.Fatalf("seed %d: %d bytes", seed, got)
		}
	}
	d.release()
	return back, owed
}

// namedForgeries returns packets that an attacker may send about a stream near seqid. Those of one
// who knows the conversation pass as its parity, but for the check.
func namedForgeries(r *rand.Rand, seqid uint32, knows bool) (packets [][]byte) {
	for range 1 + r.IntN(4) {
		g := fecGroup{first: seqid - r.Uint32N(12)}
		g.k, g.p = uint8(1+r.IntN(12)), uint8(1+r.IntN(4))
		if knows && g.k == 1 {
			g.k = 2 // a forged data packet would do as well
		}
		g.index = uint8(r.IntN(int(g.p)))
		if r.IntN(10) == 0 {
			g.first, g.k = r.Uint32(), uint8(1+r.IntN(255))
		}
		packet := append(g.append(nil), fecRandom(r, fecCheckSize+fecLeastShard+r.IntN(40))...)
		if knows {
			sum := uint8(0)
			for m := range g.k {
				sum ^= fecInverse(fecPoint(g.index) ^ m)
			}
			for i := range 4 {
				packet[fecGroupHeaderSize+6+i] = fecProduct(sum, uint8(uint32(namedConv)>>(8*i)))
			}
		} else {
			switch r.IntN(4) {
			case 0:
				packet = packet[:r.IntN(len(packet))]
			case 1:
				packet[6+r.IntN(8)] = byte(r.Uint32())
			}
		}
		packets = append(packets, packet)
	}
	return packets
}

// Forged parity changes nothing but counters: what is recovered, and when, is the same with it and
// without.
func TestFECNamedForgedParityChangesNothing(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		knows := seed%2 == 1
		e, honest, attacked := namedEncoder(t, 5, 2), namedDecoder(t), namedDecoder(t)
		recovered, forged := 0, 0
		for range 100 {
			var payloads [][]byte
			for range 1 + r.IntN(5) {
				payloads = append(payloads, namedPayload(r, 40))
			}
			packets := namedGroup(e, payloads)
			lost := r.IntN(len(packets))
			for i, packet := range packets {
				for _, f := range namedForgeries(r, e.next, knows) {
					forged++
					if got := attacked.input(f); len(got) > 0 {
						t.Fatalf("seed %d: recovered %d packets from forged parity", seed, len(got))
					}
				}
				if i == lost {
					continue
				}
				want := honest.input(packet)
				got := attacked.input(packet)
				if !slices.EqualFunc(got, want, bytes.Equal) {
					t.Fatalf("seed %d: recovered %d packets, want %d", seed, len(got), len(want))
				}
				recovered += len(got)
			}
			if got := attacked.memory(); got > 128<<10 {
				t.Fatalf("seed %d: %d bytes of memory", seed, got)
			}
		}
		if got := attacked.stats(); recovered < 20 || got.errors == 0 ||
			got.packets != honest.stats().packets {
			t.Errorf("seed %d: %d recovered, %+v", seed, recovered, got)
		}
		honest.release()
		attacked.release()
	}
}

// A peer that is not known to name its groups cannot begin to do so.
func TestFECNamedParityOfALegacyPeerIsDropped(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	e, d := namedEncoder(t, 3, 1), fecNewDecoder(t, fecShape{})
	d.expectConv(namedConv)
	packets := namedGroup(e, [][]byte{namedPayload(r, 9), namedPayload(r, 9), namedPayload(r, 9)})
	for i, packet := range packets {
		if i != 1 && len(d.input(packet)) > 0 {
			t.Error("recovered a packet")
		}
	}
	if got := d.stats(); got.parityUnused != 1 || d.named != nil {
		t.Errorf("%+v", got)
	}
}

// A data packet that was forged under a seqid of the stream is found by the check, whatever the
// coefficients are.
func TestFECNamedChecksFindSubstitutes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for round := range 2000 {
		k := 2 + r.IntN(8)
		e, d := namedEncoder(t, k, 1+r.IntN(3)), namedDecoder(t)
		var payloads [][]byte
		for range k {
			payloads = append(payloads, namedPayload(r, 30))
		}
		packets := namedGroup(e, payloads)
		other := bytes.Clone(packets[0])
		other[40] ^= 1 << (round % 8)
		d.input(other) // in place of the true one
		for _, packet := range packets[2:] {
			if got := d.input(packet); len(got) > 0 && !bytes.Equal(got[0], payloads[1]) {
				t.Fatalf("round %d: a packet was made up", round)
			}
		}
		e.release()
		d.release()
	}
}

func TestFECNamedSteadyStateDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	e, d := namedEncoder(t, 10, 3), namedDecoder(t)
	payload := namedPayload(r, 1000)
	packet := make([]byte, fecHeaderSize+len(payload))
	n := 0
	step := func() {
		copy(packet[fecHeaderSize:], payload)
		ready := e.encode(packet, 0)
		if n++; n%7 != 0 {
			d.input(packet)
		}
		for i := range ready {
			d.input(e.parity(i))
		}
	}
	for range 2000 {
		step()
	}
	if got := testing.AllocsPerRun(3000, step); got > 0 {
		t.Errorf("%v allocations a packet", got)
	}
	if got := d.stats(); got.packets == 0 || got.errors > 0 {
		t.Errorf("%+v", got)
	}
}

// What a decoder keeps is bounded by the size of the peer's groups.
func TestFECNamedMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, tt := range []struct{ k, p, most int }{
		{5, 1, 80 << 10}, {10, 3, 90 << 10}, {255, 1, fecMemoryLimit + fecTablesLimit},
	} {
		e, d := namedEncoder(t, tt.k, tt.p), namedDecoder(t)
		for range 4000 {
			for i, packet := range fecSend(e, namedPayload(r, 1340), 0) {
				if i > 0 || r.IntN(20) > 0 {
					d.input(packet)
				}
			}
			if got := d.memory(); got > tt.most {
				t.Fatalf("%d/%d: %d bytes, want at most %d", tt.k, tt.p, got, tt.most)
			}
		}
	}
}

// FuzzFECNamed feeds a decoder packets of any content, and then a valid stream. Each input is a
// list of packets: length u16, bytes.
func FuzzFECNamed(f *testing.F) {
	r := rand.New(rand.NewPCG(6, 6))
	e := namedEncoder(f, 4, 2)
	var seed []byte
	for range 6 {
		for i, p := range namedGroup(e, [][]byte{
			namedPayload(r, 9), namedPayload(r, 9), namedPayload(r, 9),
		}) {
			if i != 1 {
				seed = append(binary.LittleEndian.AppendUint16(seed, uint16(len(p))), p...)
			}
		}
	}
	f.Add(true, seed)
	f.Add(false, seed)
	f.Fuzz(func(t *testing.T, conv bool, stream []byte) {
		d := newFECDecoder()
		d.expectNames()
		if conv {
			d.expectConv(namedConv)
		}
		for range 2000 {
			if len(stream) < 2 {
				break
			}
			n := min(int(binary.LittleEndian.Uint16(stream)), len(stream)-2)
			packet := bytes.Clone(stream[2 : 2+n])
			stream = stream[2+n:]
			for _, payload := range d.input(packet) {
				if len(payload) > fecMaxPacket || len(payload) < segmentHeaderSize {
					t.Fatalf("recovered %d bytes", len(payload))
				}
			}
			if got := d.memory(); got > fecMemoryLimit+fecTablesLimit {
				t.Fatalf("memory: got %d", got)
			}
		}
		namedServesHonestStream(t, d)
		d.release()
		if got := d.memory(); got != 0 {
			t.Fatalf("memory after release: got %d", got)
		}
	})
}

// namedServesHonestStream sends groups until one is recovered, and then with a loss in each.
func namedServesHonestStream(t *testing.T, d *fecDecoder) {
	t.Helper()
	d.expectConv(namedConv)
	r := rand.New(rand.NewPCG(8, 8))
	e := namedEncoder(t, 4, 2)
	e.next = 1 << 30
	returned := 0
	for g := range 60 {
		for i, packet := range namedGroup(e, [][]byte{
			namedPayload(r, 50), namedPayload(r, 50), namedPayload(r, 50), namedPayload(r, 50),
		}) {
			if i != g%4 {
				if got := len(d.input(packet)); g >= 10 {
					returned += got
				}
			}
		}
	}
	if returned != 50 {
		t.Fatalf("got %d payloads, want 50", returned)
	}
}

// The numbers of each report fit each other, whatever is lost, and however long a run of losses is.
func TestFECReportsFitThemselves(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, run := range []int{1, 3, 40} {
		e, d := namedEncoder(t, 4, 2), namedDecoder(t)
		reports, longest := 0, uint16(0)
		for lost := 0; e.next < 4000; {
			group := namedGroup(e, [][]byte{namedPayload(r, 50), namedPayload(r, 9)})
			for _, packet := range group {
				if lost == 0 && r.IntN(5*run) == 0 {
					lost = run
				}
				if lost > 0 {
					lost--
					continue
				}
				d.input(packet)
			}
			if report, ok := d.takeReport(); ok {
				if !report.plausible() {
					t.Fatalf("runs of %d: %+v", run, report)
				}
				reports, longest = reports+1, max(longest, report.longest)
			}
		}
		if reports < 100 || int(longest) < (run+1)/2 {
			t.Errorf("runs of %d: %d reports, the longest run is %d", run, reports, longest)
		}
	}
}

// A sender begins with groups that are not named. The seqids of their parity are no data packets,
// so that a report does not call them lost.
func TestFECReportsBeginWithTheFirstNamedGroup(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	e, d := fecNewEncoder(t, fecShape{5, 7}), namedDecoder(t)
	send := func(group [][]byte) {
		for _, packet := range group {
			d.input(packet)
		}
	}
	for range 17 { // the last group is open
		for _, packet := range fecSend(e, namedPayload(r, 50), 0) {
			d.input(packet)
		}
	}
	e.nameGroups()
	first := e.next
	for range 4 {
		send(namedGroup(e, [][]byte{namedPayload(r, 50), namedPayload(r, 9)}))
	}
	report, ok := d.takeReport()
	want := parityReport{first: first, last: first + 5, data: 6, parity: report.parity}
	if !ok || report != want || report.parity == 0 {
		t.Errorf("got %+v, %v, want %+v and parity", report, ok, want)
	}
}

// Parity that arrives before any data is no error: its data is late or lost.
func TestFECNamedParityBeforeData(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	e, d := namedEncoder(t, 2, 1), namedDecoder(t)
	d.naming = fecNamesPause // the peer's parity makes the decoder
	group := namedGroup(e, [][]byte{namedPayload(r, 50), namedPayload(r, 9)})
	d.input(group[2])
	if s := d.stats(); s.errors != 0 || s.parity != 1 || s.parityUnused != 1 {
		t.Errorf("%d errors, %d parity packets, %d unused; want 0, 1, 1",
			s.errors, s.parity, s.parityUnused)
	}
	for range 20 {
		group = namedGroup(e, [][]byte{namedPayload(r, 50), namedPayload(r, 9)})
		d.input(group[0])
		if recovered := d.input(group[2]); len(recovered) != 1 {
			t.Fatalf("%d packets recovered, want 1", len(recovered))
		}
	}
}
