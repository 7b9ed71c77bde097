// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/hex"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Each part of an ACKR is encoded as its rule defines.
func TestAckRangesLayout(t *testing.T) {
	ranges := []snRange{{0x01000000 + 531, 0x01000000 + 532}, {0x01000000 + 1, 0x01000000 + 301}}
	const want = "070f" + "0d0c0b0a" + "00000001" + "02" + "01ac02" + "e60101"
	got := appendAckRanges(nil, 0x0a0b0c0d, 0x01000000, ranges, 255)
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

// ackRangesOf returns what an ACKR says, in ascending order, and whether all of it is valid.
func ackRangesOf(value []byte, limit seqNum) (all []snRange, ok bool) {
	a := readAckRanges(value)
	for {
		r, ok := a.next(limit)
		if !ok || r.first == r.end {
			return all, ok
		}
		all = append(all, r)
	}
}

// What is written is read again: the highest ranges, as many as there is room for.
func TestAckRangesRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		base := seqNum(rng.Uint32())
		step := 1 + rng.Uint32N(300)
		var ranges []snRange // ascending
		at := base + seqNum(rng.Uint32N(2))
		for range rng.IntN(100) {
			r := snRange{at, at + 1 + seqNum(rng.Uint32N(step))}
			ranges = append(ranges, r)
			at = r.end + 1 + seqNum(rng.Uint32N(step))
		}
		down := slices.Clone(ranges)
		slices.Reverse(down)
		size := 2 + ackRangesHeader + rng.IntN(300)
		b := appendAckRanges([]byte("x"), 7, base, down, size)[1:]
		if len(b) > min(size, ackRangesLargest) || int(b[1]) != len(b)-2 {
			t.Fatalf("%d bytes with length %d, at most %d", len(b), b[1], size)
		}
		value := findAckRanges(b)
		if a := readAckRanges(value); a.ts != 7 || a.rcvNxt != base {
			t.Fatalf("got ts %d, rcv_nxt %d, want 7, %d", a.ts, a.rcvNxt, base)
		}
		got, ok := ackRangesOf(value, at+1)
		if want := ranges[len(ranges)-len(got):]; !ok || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v; want %v", got, ok, want)
		}
		full := len(b)+ackRangeMost > min(size, ackRangesLargest) || len(got) == ackRangesMost
		if len(got) < len(ranges) && !full {
			t.Fatalf("%d of %d ranges in %d bytes of %d", len(got), len(ranges), len(b), size)
		}
	}
}

func TestReadAckRanges(t *testing.T) {
	const limit = 20
	for _, tt := range []struct {
		name, in string // behind ts and rcv_nxt 10
		want     []snRange
		ok       bool
	}{
		{"none", "00", nil, true},
		{"one", "010203", []snRange{{12, 15}}, true},
		{"two", "02" + "0001" + "0107", []snRange{{10, 11}, {12, 19}}, true},
		{"up to the limit", "01" + "0109", []snRange{{11, 20}}, true},
		{"ECN totals behind", "010203" + "aaaaaaaaaaaaaaaaaaaaaaaa", []snRange{{12, 15}}, true},
		{"a number in more bytes than it needs", "01" + "8200" + "8380800000",
			[]snRange{{12, 15}}, true},
		{"beyond the limit", "01" + "010a", nil, false},
		{"a gap beyond the limit", "01" + "0b01", nil, false},
		{"a gap that wraps", "01" + "ffffffff0f" + "02", nil, false},
		{"a length that wraps", "01" + "02" + "ffffffff0f", nil, false},
		{"a gap of 2^63", "01" + "80808080808080808001" + "01", nil, false},
		{"a gap of more than 64 bits", "01" + "ffffffffffffffffff7f" + "01", nil, false},
		{"length 0", "01" + "0100", nil, false},
		{"a range that touches the one before", "02" + "0101" + "0001", []snRange{{11, 12}}, false},
		{"a count without ranges", "01", nil, false},
		{"a gap without a length", "02" + "0101" + "01", []snRange{{11, 12}}, false},
		{"a number cut off", "01" + "0180", nil, false},
	} {
		b, err := hex.DecodeString("00000000" + "0a000000" + tt.in)
		if err != nil {
			t.Fatal(tt.name, err)
		}
		if got, ok := ackRangesOf(b, limit); ok != tt.ok || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestFindAckRanges(t *testing.T) {
	value := "00000000" + "0a000000" + "00"
	for _, tt := range []struct {
		name, in, want string
	}{
		{"nothing", "", ""},
		{"alone", "0709" + value, value},
		{"behind a PING", "05080000000000000000" + "0709" + value, value},
		{"too short", "0708" + value[:16], ""},
		{"the last of two", "0709" + value + "070a" + value + "aa", value + "aa"},
		{"before a length that lies", "0709" + value + "03ff", ""},
		{"before a type without a length", "0709" + value + "03", ""},
	} {
		b, err := hex.DecodeString(tt.in)
		if err != nil {
			t.Fatal(tt.name, err)
		}
		if got := hex.EncodeToString(findAckRanges(b)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// FuzzAckRanges reads any ACKR. Its ranges ascend and stay below the limit, and a session with data
// in flight accepts it without harm.
func FuzzAckRanges(f *testing.F) {
	f.Add(uint32(20), []byte("\x00\x00\x00\x00\x0a\x00\x00\x00\x02\x00\x01\x01\x07"))
	f.Add(uint32(3), []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01"))
	f.Add(uint32(math.MaxUint32),
		append(make([]byte, 8), 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1))
	f.Fuzz(func(t *testing.T, limit uint32, value []byte) {
		if len(value) < ackRangesHeader || len(value) > 255 {
			return
		}
		a := readAckRanges(value)
		room := a.rcvNxt.distance(seqNum(limit))
		all, _ := ackRangesOf(value, seqNum(limit))
		var end uint64
		for _, r := range all {
			first := uint64(a.rcvNxt.distance(r.first))
			if first < end || r.first == r.end {
				t.Fatalf("a range from %d to %d behind one up to %d", r.first, r.end, end)
			}
			if end = first + uint64(r.first.distance(r.end)); end > uint64(room) {
				t.Fatalf("a range from %d to %d, the limit is %d", r.first, r.end, limit)
			}
		}
		b := append([]byte{ctlAckRanges, uint8(len(value))}, value...)
		for una := range seqNum(3) {
			segmentFeed(t, appendSegment(nil, &segment{conv: 7, cmd: cmdWins, sn: controlMagic,
				ts: controlVersion, una: una, data: b}))
		}
	})
}

// findAckRanges returns the value of an ACKR, nil if there is none.
func findAckRanges(b []byte) (value []byte) {
	value, _ = findLists(b)
	return value
}
