// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/reedsolomon"
)

// fecVector is what a legacy peer sent for some payloads.
type fecVector struct {
	DataShards, ParityShards int
	Payloads, Packets        []fecHex
}

type fecHex []byte

func (h *fecHex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func fecVectors(t testing.TB) []fecVector {
	t.Helper()
	raw, err := os.ReadFile("testdata/fec.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []fecVector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	return vectors
}

func fecNewEncoder(t testing.TB, shape fecShape) *fecEncoder {
	t.Helper()
	e, err := newFECEncoder(shape.data, shape.parity())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.release)
	return e
}

// fecNewDecoder returns a decoder. When the test ends it is released and checked for leaks.
func fecNewDecoder(t testing.TB, hint fecShape) *fecDecoder {
	t.Helper()
	d := newFECDecoder()
	if hint.known() {
		d.hint(hint.data, hint.parity())
	}
	t.Cleanup(func() {
		d.release()
		if got := d.memory(); got != 0 || d.held != 0 {
			t.Errorf("memory after release: got %d and %d held, want 0", got, d.held)
		}
	})
	return d
}

// fecSend encodes one payload and returns the packets to send, parity last.
func fecSend(e *fecEncoder, payload []byte, nowMillis int64) [][]byte {
	packet := append(make([]byte, fecHeaderSize), payload...)
	n := e.encode(packet, nowMillis)
	packets := [][]byte{packet}
	for i := range n {
		packets = append(packets, bytes.Clone(e.parity(i)))
	}
	return packets
}

func fecRandom(r *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n:n]
}

func fecSeqid(packet []byte) uint32 { return binary.LittleEndian.Uint32(packet) }

func fecIsParity(packet []byte) bool {
	return binary.LittleEndian.Uint16(packet[4:]) == fecTypeParity
}

func TestFECHeaderRoundTrip(t *testing.T) {
	for _, want := range []fecHeader{
		{},
		{seqid: 1, kind: fecTypeData, size: 2},
		{seqid: fecOOBSeqid, kind: fecTypeOOB, size: 6},
		{seqid: 0x01020304, kind: fecTypeParity, size: math.MaxUint16},
	} {
		wire := want.append(nil)
		if len(wire) != fecHeaderSize {
			t.Fatalf("%+v: got %d bytes, want %d", want, len(wire), fecHeaderSize)
		}
		if got, ok := parseFECHeader(wire); !ok || got != want {
			t.Errorf("got %+v %v, want %+v", got, ok, want)
		}
		for n := range wire {
			if _, ok := parseFECHeader(wire[:n]); ok {
				t.Errorf("a header of %d bytes was taken", n)
			}
		}
	}
}

func TestFECDataPayloadHasExactlyTheSizeItSays(t *testing.T) {
	packet := func(size uint16, payload int) []byte {
		h := fecHeader{kind: fecTypeData, size: size}
		return append(h.append(nil), make([]byte, payload)...)
	}
	for _, c := range []struct {
		name   string
		packet []byte
		want   int // -1: refused
	}{
		{"nothing", nil, -1},
		{"short header", packet(2, 0)[:7], -1},
		{"empty payload", packet(2, 0), 0},
		{"payload", packet(26, 24), 24},
		{"largest", packet(math.MaxUint16, math.MaxUint16-2), math.MaxUint16 - 2},
		{"size 0", packet(0, 24), -1},
		{"size 1", packet(1, 24), -1},
		{"size beyond the packet", packet(27, 24), -1},
		{"bytes behind size", packet(25, 24), -1},
		{"size of another shard", packet(math.MaxUint16, 24), -1},
	} {
		got, ok := fecDataPayload(c.packet)
		if ok != (c.want >= 0) || ok && len(got) != c.want {
			t.Errorf("%s: got %d bytes and %v, want %d", c.name, len(got), ok, c.want)
		}
	}
}

func TestFECDeployedDataPacketsEndWhereTheirSizeSays(t *testing.T) {
	for _, v := range fecVectors(t) {
		for i, packet := range v.Packets {
			if _, ok := fecDataPayload(packet); !fecIsParity(packet) && !ok {
				t.Errorf("%d/%d packet %d was refused", v.DataShards, v.ParityShards, i)
			}
		}
	}
}

func TestFECShardCountsAreChecked(t *testing.T) {
	for _, c := range []struct {
		k, p int
		want string // in the error
	}{
		{1, 1, ""}, {10, 3, ""}, {255, 1, ""}, {1, 255, ""}, {128, 128, ""},
		{0, 1, "dataShards"}, {-1, 1, "dataShards"}, {256, 1, "dataShards"},
		{math.MaxInt, 1, "dataShards"},
		{1, 0, "parityShards"}, {1, -1, "parityShards"}, {1, 256, "parityShards"},
		{128, 129, "parityShards"},
		{10, math.MaxInt, "parityShards"}, {0, 0, "dataShards"},
	} {
		_, err := newFECEncoder(c.k, c.p)
		if c.want == "" && err != nil ||
			c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("newFECEncoder(%d, %d): got %v, want %q", c.k, c.p, err, c.want)
		}
		e := fecNewEncoder(t, fecShape{data: 10, total: 13})
		if got := e.setShards(c.k, c.p); (got == nil) != (err == nil) {
			t.Errorf("setShards(%d, %d): got %v, want %v", c.k, c.p, got, err)
		}
	}
}

func TestFECSeqidsWrapAtAWholeNumberOfGroups(t *testing.T) {
	for total := 2; total <= fecMaxTotal; total++ {
		s := fecShape{data: 1, total: total}
		want := uint32(uint64(math.MaxUint32) / uint64(total) * uint64(total))
		if s.wrap() != want || s.wrap() > fecOOBSeqid {
			t.Errorf("total %d: got %d, want %d", total, s.wrap(), want)
		}
		if got := s.align(want - 1); got != 0 {
			t.Errorf("total %d: align(wrap-1): got %d, want 0", total, got)
		}
	}
}

func TestFECMiddleIsNeverTheOutlier(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 10000 {
		near := r.Uint32()
		three := []uint32{near, near + r.Uint32N(100), near + 1000 + r.Uint32N(math.MaxUint32-2000)}
		r.Shuffle(3, func(i, j int) { three[i], three[j] = three[j], three[i] })
		if got := fecMiddle(three[0], three[1], three[2]); got-near >= 100 {
			t.Fatalf("of %d: got %d, want one near %d", three, got, near)
		}
	}
}

func TestFECCodeIsTheLibrarysDefaultMatrix(t *testing.T) {
	for _, shape := range []fecShape{
		{1, 2}, {1, 255}, {2, 4}, {3, 4}, {5, 10}, {10, 13}, {10, 255}, {20, 30}, {64, 96},
		{100, 255}, {254, 255},
	} {
		codec, err := reedsolomon.New(shape.data, shape.parity())
		if err != nil {
			t.Fatal(err)
		}
		weights := fecEncodeWeights(shape)
		column := make([][]byte, shape.parity())
		for x := range shape.data {
			for i := range column {
				column[i] = []byte{0}
			}
			if err := codec.EncodeIdx([]byte{1}, x, column); err != nil {
				t.Fatal(err)
			}
			for i := range column {
				y := shape.data + i
				got := fecCoefficient(uint8(y), weights[y], uint8(x), weights[x])
				if got != column[i][0] {
					t.Fatalf("%v row %d column %d: got %d, want %d", shape, i, x, got, column[i][0])
				}
			}
		}
	}
}

func TestFECEncoderOutputIsWhatDeployedPeersSend(t *testing.T) {
	for _, v := range fecVectors(t) {
		e := fecNewEncoder(t, fecShape{data: v.DataShards, total: v.DataShards + v.ParityShards})
		var got [][]byte
		for _, payload := range v.Payloads {
			got = append(got, fecSend(e, payload, 1000)...)
		}
		if len(got) != len(v.Packets) {
			t.Fatalf("%d/%d: got %d packets, want %d",
				v.DataShards, v.ParityShards, len(got), len(v.Packets))
		}
		for i, want := range v.Packets {
			if !bytes.Equal(got[i], want) {
				t.Errorf("%d/%d packet %d: got %x, want %x",
					v.DataShards, v.ParityShards, i, got[i], want)
			}
		}
	}
}

func TestFECParityIsTheSameWhateverTheSizesBefore(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	used := fecNewEncoder(t, fecShape{data: 4, total: 7})
	fresh := fecNewEncoder(t, fecShape{data: 4, total: 7})
	for range 50 {
		fresh.release()
		fresh.next = used.next
		for range 4 {
			payload := fecRandom(r, r.IntN(1400))
			got, want := fecSend(used, payload, 0), fecSend(fresh, payload, 0)
			for i := range want {
				if len(got) != len(want) || !bytes.Equal(got[i], want[i]) {
					t.Fatalf("packet %d of %d differs from a new encoder's", i, len(want))
				}
			}
		}
	}
}

func TestFECParityIsSkippedBehindALongGap(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape fecShape
		times []int64 // of data packets, in ms
		want  []int   // parity packets ready behind each
	}{
		{"the encoder's first packet ends a group", fecShape{1, 3}, []int64{0, 1}, []int{0, 2}},
		{"499 ms", fecShape{2, 3}, []int64{0, 499}, []int{0, 1}},
		{"500 ms", fecShape{2, 3}, []int64{0, 500}, []int{0, 0}},
		{"long gap early in the group", fecShape{3, 4}, []int64{0, 5000, 5001}, []int{0, 0, 1}},
		{"long gap between groups", fecShape{2, 3}, []int64{0, 1, 9000, 9001}, []int{0, 1, 0, 1}},
		{"groups of one, gap to the one before", fecShape{1, 2},
			[]int64{0, 600, 700, 1200}, []int{0, 0, 1, 0}},
		{"a clock that steps back", fecShape{2, 3}, []int64{1000, 400}, []int{0, 1}},
	} {
		e := fecNewEncoder(t, c.shape)
		for i, now := range c.times {
			packets := fecSend(e, []byte("payload"), now)
			if got := len(packets) - 1; got != c.want[i] {
				t.Errorf("%s: parity behind packet %d: got %d, want %d", c.name, i, got, c.want[i])
			}
			group, index := i/c.shape.data, i%c.shape.data
			if got, want := fecSeqid(packets[0]), uint32(group*c.shape.total+index); got != want {
				t.Errorf("%s: seqid of packet %d: got %d, want %d: skipped parity keeps its seqids",
					c.name, i, got, want)
			}
		}
	}
}

func TestFECEncoderChangesShardsAtAGroupBoundary(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to fecShape
		before   int // data packets sent before setShards
		left     int // data packets until the change
		want     uint32
	}{
		{"nothing sent", fecShape{10, 13}, fecShape{3, 4}, 0, 0, 3145728},
		{"between groups", fecShape{3, 4}, fecShape{10, 13}, 6, 0, 3145740},
		{"within a group", fecShape{3, 4}, fecShape{10, 13}, 7, 2, 3145740},
		{"to a multiple", fecShape{3, 4}, fecShape{6, 8}, 1, 2, 3145736},
		{"same shards", fecShape{3, 4}, fecShape{3, 4}, 3, 0, 4},
		{"smaller", fecShape{10, 13}, fecShape{1, 2}, 1, 9, 3145742},
	} {
		e := fecNewEncoder(t, c.from)
		for range c.before {
			fecSend(e, []byte("before"), 0)
		}
		if err := e.setShards(c.to.data, c.to.parity()); err != nil {
			t.Fatal(err)
		}
		for range c.left {
			fecSend(e, []byte("left"), 0)
		}
		packets := fecSend(e, []byte("behind"), 0)
		if got := fecSeqid(packets[0]); got != c.want || got%uint32(c.to.total) != 0 {
			t.Errorf("%s: got seqid %d, want %d", c.name, got, c.want)
		}
		for range c.to.data - 1 {
			packets = fecSend(e, []byte("behind"), 0)
		}
		if got := len(packets) - 1; got != c.to.parity() {
			t.Errorf("%s: got %d parity packets, want %d", c.name, got, c.to.parity())
		}
	}
}

func TestFECEncoderKeepsTheIndexAcrossTheWrap(t *testing.T) {
	for _, shape := range []fecShape{{1, 2}, {3, 4}, {10, 13}, {200, 255}} {
		e := fecNewEncoder(t, shape)
		e.next = shape.wrap() - 2*uint32(shape.total)
		e.lastMillis = 0
		want := e.next
		for range 4 * shape.data {
			for _, packet := range fecSend(e, []byte{1}, 0) {
				if got := fecSeqid(packet); got != want || !shape.fits(got, fecIsParity(packet)) {
					t.Fatalf("%v: got seqid %d, want %d", shape, got, want)
				}
				if want++; want == shape.wrap() {
					want = 0
				}
			}
		}
	}
}

func TestFECEncoderReleasedHoldsNothingAndGoesOn(t *testing.T) {
	e := fecNewEncoder(t, fecShape{3, 5})
	fecSend(e, []byte("a"), 0)
	if e.idle() {
		t.Error("idle with a group open")
	}
	e.release()
	if e.buffers != nil || !e.idle() {
		t.Errorf("after release: got %d buffers, idle %v", len(e.buffers), e.idle())
	}
	packets := fecSend(e, []byte("b"), 0)
	if got := fecSeqid(packets[0]); got != 5 {
		t.Errorf("behind an abandoned group: got seqid %d, want 5", got)
	}
	fecSend(e, []byte("c"), 0)
	if got := len(fecSend(e, []byte("d"), 0)) - 1; got != 2 {
		t.Errorf("got %d parity packets, want 2", got)
	}
	if !e.idle() {
		t.Error("not idle between groups")
	}
	e.release()
	e.release()
	if got := fecSeqid(fecSend(e, []byte("e"), 0)[0]); got != 10 {
		t.Errorf("behind a whole group: got seqid %d, want 10", got)
	}
}
