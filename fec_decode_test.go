// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// fecGroups splits packets into groups by seqid.
func fecGroups(packets []fecHex, shape fecShape) (groups [][][]byte) {
	for _, p := range packets {
		g := int(fecSeqid(p)) / shape.total
		for len(groups) <= g {
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], p)
	}
	return groups
}

func TestFECDecoderRecoversEveryLossPatternOfRecordedGroups(t *testing.T) {
	for _, v := range fecVectors(t) {
		shape := fecShape{data: v.DataShards, total: v.DataShards + v.ParityShards}
		groups := fecGroups(v.Packets, shape)
		for g, group := range groups {
			spare := len(group) - shape.data // 0 where no parity was sent
			for lost := range uint(1) << len(group) {
				if bits.OnesCount(lost) > spare {
					continue
				}
				d := newFECDecoder()
				d.hint(v.DataShards, v.ParityShards)
				d.shape = shape // as if it had been proven
				var got, want [][]byte
				for i, other := range groups {
					for j, packet := range other {
						if i != g || lost&(1<<j) == 0 {
							for _, payload := range d.input(packet) {
								got = append(got, bytes.Clone(payload))
							}
						} else if j < shape.data {
							want = append(want, packet[fecHeaderSize:])
						}
					}
				}
				if !slices.EqualFunc(got, want, bytes.Equal) {
					t.Fatalf("%v group %d losses %b: got %d payloads %x, want %d %x",
						shape, g, lost, len(got), got, len(want), want)
				}
				d.release()
			}
		}
	}
}

// fecLink feeds a decoder groups of an encoder with packets removed, and reports which payloads are
// recovered.
type fecLink struct {
	encoder *fecEncoder
	decoder *fecDecoder
	random  *rand.Rand
	conv    uint32
	missing map[string]bool
}

func fecNewLink(t testing.TB, shape fecShape) *fecLink {
	l := &fecLink{
		encoder: fecNewEncoder(t, shape), decoder: fecNewDecoder(t, shape),
		random: rand.New(rand.NewPCG(3, 3)), conv: 0x11223344,
	}
	l.encoder.lastMillis = 0 // as if there had been packets before
	return l
}

// group returns the packets of a group. Their payloads resemble each other as those of a busy
// session do.
func (l *fecLink) group() (packets [][]byte) {
	for more := true; more; more = !l.encoder.idle() {
		payload := fecRandom(l.random, 88)
		binary.LittleEndian.PutUint32(payload, l.conv)
		packets = append(packets, fecSend(l.encoder, payload, 0)...)
	}
	return packets
}

// lose inputs packets except for some and reports whether all data lost so far is recovered.
func (l *fecLink) lose(packets [][]byte, lost ...int) bool {
	if l.missing == nil {
		l.missing = map[string]bool{}
	}
	for i, p := range packets {
		if slices.Contains(lost, i) {
			if !fecIsParity(p) {
				l.missing[string(p[fecHeaderSize:])] = true
			}
			continue
		}
		for _, payload := range l.decoder.input(p) {
			delete(l.missing, string(payload))
		}
	}
	return len(l.missing) == 0
}

func TestFECDecoderKeepsRecoveringWhateverElseArrives(t *testing.T) {
	shape := fecShape{3, 5}
	forged := func(l *fecLink, seqid uint32, kind uint16, payload int) []byte {
		h := fecHeader{seqid: seqid, kind: kind, size: uint16(2 + payload)}
		return append(h.append(nil), fecRandom(l.random, payload)...)
	}
	for _, c := range []struct {
		name  string
		forge func(l *fecLink, seqid uint32) []byte // seqid is the next group's first
	}{
		{"nothing", nil},
		{"empty", func(l *fecLink, seqid uint32) []byte {
			return nil
		}},
		{"header only", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid, fecTypeData, 0)
		}},
		{"parity without a shard", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+3, fecTypeParity, 0)
		}},
		{"short header", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid, fecTypeData, 0)[:7]
		}},
		{"oversized data", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid, fecTypeData, 1493)
		}},
		{"oversized parity", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+3, fecTypeParity, 60000)
		}},
		{"size that lies", func(l *fecLink, seqid uint32) []byte {
			return append(forged(l, seqid, fecTypeData, 88), 0)
		}},
		{"type of out-of-band", func(l *fecLink, seqid uint32) []byte {
			return forged(l, fecOOBSeqid, fecTypeOOB, 88)
		}},
		{"unknown type", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid, 0x51, 88)
		}},
		{"far ahead", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+1<<30, fecTypeData, 88)
		}},
		{"half round the circle", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+1<<31, fecTypeParity, 88)
		}},
		{"far behind", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid-100000, fecTypeParity, 88)
		}},
		{"beyond the wrap", func(l *fecLink, seqid uint32) []byte {
			return forged(l, fecOOBSeqid, fecTypeData, 88)
		}},
		{"data where parity belongs", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+3, fecTypeData, 88)
		}},
		{"parity where data belongs", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid, fecTypeParity, 88)
		}},
		{"parity ahead of the peer's", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+3, fecTypeParity, 88)
		}},
		{"short parity ahead", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+3, fecTypeParity, 10)
		}},
		{"long parity ahead", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+4, fecTypeParity, 1400)
		}},
		{"data ahead of the peer's", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+1, fecTypeData, 88)
		}},
		{"parity two groups ahead", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid+13, fecTypeParity, 88)
		}},
		{"the last packet again", func(l *fecLink, seqid uint32) []byte {
			return forged(l, seqid-1, fecTypeParity, 88)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := fecNewLink(t, shape)
			l.encoder.next = 1000000
			l.decoder.expectConv(l.conv)
			for g := range 100 {
				packets := l.group()
				if c.forge != nil {
					for _, payload := range l.decoder.input(c.forge(l, fecSeqid(packets[0]))) {
						delete(l.missing, string(payload))
					}
				}
				l.lose(packets, g%3)
			}
			// a group that a forged packet makes doubtful may take some more to come back
			for range 8 {
				l.lose(l.group())
			}
			if len(l.missing) != 0 {
				t.Errorf("%d packets of 100 groups did not come back: %+v",
					len(l.missing), l.decoder.stats())
			}
		})
	}
}

func TestFECDecoderFindsTheForgedShardAmongHonestOnes(t *testing.T) {
	for _, c := range []struct {
		name   string
		shape  fecShape
		forged []int // arrive before the honest packets of these indexes
		lost   []int
		want   bool
	}{
		{"parity, another is spare", fecShape{4, 7}, []int{4}, []int{0}, true},
		{"all parity, one lost", fecShape{4, 7}, []int{4, 5, 6}, []int{2}, true},
		{"parity whose honest packet is lost", fecShape{4, 7}, []int{5}, []int{1, 5}, true},
		{"data, not of the session", fecShape{4, 7}, []int{1}, []int{1, 2}, true},
		{"no spare at all", fecShape{4, 6}, []int{4}, []int{0, 1, 4}, false},
	} {
		l := fecNewLink(t, c.shape)
		l.decoder.expectConv(l.conv)
		l.lose(l.group())
		packets := l.group()
		for _, i := range c.forged {
			f := fecRandom(l.random, len(packets[i]))
			copy(f, packets[i][:fecHeaderSize])
			l.decoder.input(f)
		}
		if got := l.lose(packets, c.lost...); got != c.want {
			t.Errorf("%s: recovered %v, want %v: %+v", c.name, got, c.want, l.decoder.stats())
		}
		clear(l.missing)
		if !l.lose(l.group(), 0) {
			t.Errorf("%s: the next group was not recovered", c.name)
		}
	}
}

func TestFECDecoderChecksWhatComesOut(t *testing.T) {
	for _, c := range []struct {
		name string
		// changes the only shard of a group; parity is made of it and the shard lost
		last func(shard []byte)
		want int
	}{
		{"nothing wrong", func([]byte) {}, 1},
		{"size 0", func(s []byte) { binary.LittleEndian.PutUint16(s, 0) }, 0},
		{"size 1", func(s []byte) { binary.LittleEndian.PutUint16(s, 1) }, 0},
		{"size beyond the shard",
			func(s []byte) { binary.LittleEndian.PutUint16(s, uint16(len(s)+1)) }, 0},
		{"bytes behind size",
			func(s []byte) { binary.LittleEndian.PutUint16(s, uint16(len(s)-1)) }, 0},
		{"padding", func(s []byte) {
			binary.LittleEndian.PutUint16(s, uint16(len(s)-1))
			s[len(s)-1] = 0
		}, 1},
		{"another conversation", func(s []byte) { s[2]++ }, 0},
		{"too short for one",
			func(s []byte) { binary.LittleEndian.PutUint16(s, 5); clear(s[5:]) }, 0},
	} {
		d := fecNewDecoder(t, fecShape{1, 2})
		d.shape = fecShape{1, 2} // as if it had been proven
		d.expectConv(0x01010101)
		parity := append(fecHeader{seqid: 1, kind: fecTypeParity}.append(nil)[:fecShardOffset],
			bytes.Repeat([]byte{1}, 40)...)
		shard := parity[fecShardOffset:] // with one data shard its parity is the same
		binary.LittleEndian.PutUint16(shard, 40)
		c.last(shard)
		if got := len(d.input(parity)); got != c.want {
			t.Errorf("%s: got %d payloads, want %d", c.name, got, c.want)
		}
	}
}

func TestFECDecoderRecoversAcrossTheWrap(t *testing.T) {
	for _, shape := range []fecShape{{1, 2}, {3, 4}, {10, 13}, {20, 30}, {200, 255}} {
		l := fecNewLink(t, shape)
		l.encoder.next = shape.wrap() - 5*uint32(shape.total)
		l.decoder.shape = shape // as if it had been proven
		var pending [][]byte
		for g := range 12 {
			packets := l.group()
			lost := g % shape.data
			if g == 4 { // a packet of the last group before the wrap comes after the wrap
				pending = [][]byte{packets[shape.total-1]}
				packets = packets[:shape.total-1]
				for i := range packets {
					if i < shape.parity() {
						continue
					}
					l.decoder.input(packets[i])
				}
				continue
			}
			if !l.lose(packets, lost) {
				t.Errorf("%v: group %d around the wrap was not recovered: %+v",
					shape, g, l.decoder.stats())
			}
			if pending != nil {
				if got := len(l.decoder.input(pending[0])); got != min(shape.parity(), shape.data) {
					t.Errorf("%v: got %d payloads from the group before the wrap, want %d",
						shape, got, min(shape.parity(), shape.data))
				}
				pending = nil
			}
		}
	}
}

func TestFECDecoderFollowsAJumpOfTheStream(t *testing.T) {
	for _, to := range []uint32{0, 1 << 20, 1 << 31, 3 << 30} {
		l := fecNewLink(t, fecShape{4, 6})
		l.encoder.next = l.encoder.shape.align(1 << 30)
		for range 5 {
			l.lose(l.group())
		}
		l.encoder.next = l.encoder.shape.align(to)
		for range fecStaleRun/l.encoder.shape.total + 3 { // its shape must be found again there
			l.lose(l.group())
		}
		for g := range 10 {
			if !l.lose(l.group(), 0, 3) {
				t.Fatalf("to %d: group %d behind the jump was not recovered", to, g)
			}
		}
	}
}

func TestFECDecoderMemoryIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, shape := range []fecShape{
		{1, 2}, {3, 4}, {5, 6}, {10, 13}, {60, 63}, {127, 255}, {200, 255}, {254, 255},
	} {
		d := fecNewDecoder(t, shape)
		most := 0
		for s := uint32(0); s < 1500; s++ {
			index := int(s % uint32(shape.total))
			kind := uint16(fecTypeData)
			if index >= shape.data {
				kind = fecTypeParity
			} else if index == 0 || index < shape.parity() {
				continue // many a group stays as open as can be
			}
			for range 2 { // two that differ
				packet := append(fecHeader{seqid: s, kind: kind, size: 1494}.append(nil),
					fecRandom(r, 1492)...)
				d.input(packet)
				most = max(most, d.memory())
			}
		}
		if limit := fecMemoryLimit + fecTablesLimit; most > limit {
			t.Errorf("%v: got %d bytes, want %d at most", shape, most, limit)
		}
		d.release()
		if got := d.memory(); got != 0 {
			t.Errorf("%v: got %d bytes after release, want 0", shape, got)
		}
	}
}

func TestFECDecoderReleasedGoesOn(t *testing.T) {
	l := fecNewLink(t, fecShape{4, 6})
	for range 2 { // the shape is proven
		l.lose(l.group())
	}
	for range 10 {
		l.lose(l.group()[:3])
		l.decoder.release()
		if !l.lose(l.group(), 1, 2) {
			t.Fatal("not recovered after release")
		}
	}
}

// A forged packet with a distant seqid, the first after a release, does not redirect the decoder.
func TestFECDecoderReleasedIsNotLedAway(t *testing.T) {
	l := fecNewLink(t, fecShape{4, 6})
	for g := range 5 {
		l.lose(l.group())
		l.decoder.release()
		packets := l.group()
		far := fecSeqid(packets[0]) + 1<<30
		forged := fecHeader{seqid: far, kind: fecTypeData, size: 90}.append(nil)
		l.decoder.input(append(forged, fecRandom(l.random, 88)...))
		if !l.lose(packets, 0) || !l.lose(l.group(), 1, 2) {
			t.Fatalf("round %d: not recovered beside a forged packet", g)
		}
	}
}

// A hint is dropped even after a parity packet has fitted it.
func TestFECHintIsDroppedForAPeerThatMayDiffer(t *testing.T) {
	l := fecNewLink(t, fecShape{3, 5})
	l.lose(l.group())
	if l.decoder.unhint(); l.decoder.shape.known() {
		t.Errorf("the shape is still %v", l.decoder.shape)
	}
	for range 2 {
		l.lose(l.group())
	}
	if l.decoder.unhint(); l.decoder.shape != l.encoder.shape {
		t.Errorf("shown by the stream and not kept: %v", l.decoder.shape)
	}
	if !l.lose(l.group(), 0, 1) {
		t.Error("not recovered")
	}
}

func TestFECForgedShardsDoNotBuyWorkOverAndOver(t *testing.T) {
	// Every packet of the attacker meets a group that has enough shards and never decodes
	// correctly.
	l := fecNewLink(t, fecShape{10, 20})
	l.decoder.expectConv(l.conv)
	packets := l.group()
	l.lose(packets[:10], 4)
	for i := range 200 {
		f := fecRandom(l.random, len(packets[0]))
		copy(f, packets[10+i%10][:fecShardOffset])
		before := l.decoder.credit
		if got := l.decoder.input(f); len(got) != 0 {
			t.Fatal("a forged packet was returned")
		}
		spent := before + fecTryEarned - l.decoder.credit
		if spent > fecTrySaved+fecTryEarned || l.decoder.credit < -2*max(l.decoder.shape.data, 10) {
			t.Fatalf("packet %d: spent %d, left %d", i, spent, l.decoder.credit)
		}
	}
	if got := l.decoder.memory(); got > fecMemoryLimit {
		t.Errorf("got %d bytes", got)
	}
}

func TestFECStatsTellWhatBecameOfEachGroup(t *testing.T) {
	l := fecNewLink(t, fecShape{3, 5})
	l.lose(l.group())             // complete
	l.lose(l.group(), 1)          // recovered, one parity unused
	l.lose(l.group(), 0, 1)       // recovered with both
	l.lose(l.group(), 0, 1, 3)    // failed, one parity unused
	l.lose(l.group(), 0, 1, 2, 3) // failed, only parity arrived
	for range fecWindowLarge / 4 {
		l.lose(l.group())
	}
	l.decoder.input([]byte{1, 2, 3})
	rest := uint64(fecWindowLarge / 4)
	want := fecStats{
		complete: 1 + rest, recovered: 2, failed: 2, packets: 3,
		parity: 2 + 2 + 2 + 1 + 1 + 2*rest, parityUnused: 2 + 1 + 0 + 1 + 1 + 2*rest, errors: 1,
	}
	if got := l.decoder.stats(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFECHintIsUsedUntilTheStreamShowsOthers(t *testing.T) {
	shape := fecShape{3, 5}
	t.Run("impossible", func(t *testing.T) {
		d := fecNewDecoder(t, fecShape{})
		for _, h := range [][2]int{{0, 0}, {-1, 3}, {200, 100}} {
			if d.hint(h[0], h[1]); d.shape.known() {
				t.Errorf("hint(%d, %d) was taken", h[0], h[1])
			}
		}
	})
	t.Run("right", func(t *testing.T) {
		l := fecNewLink(t, shape)
		if !l.lose(l.group(), 0) {
			t.Error("the first group was not recovered")
		}
		l.lose(l.group())
		if l.lose(l.group()); l.decoder.shape != shape {
			t.Errorf("got %v, want %v", l.decoder.shape, shape)
		}
		if l.decoder.hint(10, 3); l.decoder.shape != shape {
			t.Error("a later hint was believed more than the stream")
		}
	})
	t.Run("none", func(t *testing.T) {
		l := fecNewLink(t, shape)
		l.decoder = fecNewDecoder(t, fecShape{})
		l.lose(l.group())
		l.lose(l.group())
		if !l.lose(l.group(), 0) {
			t.Error("not recovered after two groups")
		}
	})
}

func TestFECWrongShapeMakesNoPacketsUp(t *testing.T) {
	// This is the worst case for a receiver: packets alike in size and header, any mixture of which
	// looks like one. Only what nothing contradicts may be recovered. One correct packet is
	// therefore let through here.
	r := rand.New(rand.NewPCG(5, 5))
	for _, c := range []struct{ truth, hint fecShape }{
		{fecShape{12, 19}, fecShape{13, 20}}, {fecShape{10, 13}, fecShape{3, 4}},
		{fecShape{3, 4}, fecShape{10, 13}},
		{fecShape{20, 23}, fecShape{10, 13}}, {fecShape{21, 22}, fecShape{10, 11}},
		{fecShape{7, 8}, fecShape{3, 4}},
		{fecShape{10, 13}, fecShape{23, 26}}, {fecShape{4, 6}, fecShape{10, 12}},
		{fecShape{1, 2}, fecShape{2, 3}},
		{fecShape{100, 103}, fecShape{99, 102}}, {fecShape{128, 255}, fecShape{10, 13}},
	} {
		for start := range uint32(3) {
			l := fecNewLink(t, c.truth)
			l.decoder = fecNewDecoder(t, c.hint)
			l.decoder.expectConv(l.conv)
			l.encoder.next = c.truth.align(start * 777777)
			sent := map[string]bool{}
			for g := range 12 {
				for i, p := range l.group() {
					sent[string(p[fecHeaderSize:])] = true
					if g > 0 && i < c.truth.data && r.IntN(20) == 0 {
						continue
					}
					for _, payload := range l.decoder.input(p) {
						if !sent[string(payload)] {
							t.Errorf("%v with hint %v, group %d index %d: made up a packet",
								c.truth, c.hint, g, i)
						}
					}
				}
			}
			if l.decoder.shape != c.truth {
				t.Errorf("%v with hint %v: got %v", c.truth, c.hint, l.decoder.shape)
			}
		}
	}
}

func TestFECCodecIsSharedByGoroutines(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			l := &fecLink{random: rand.New(rand.NewPCG(uint64(i), 6)), conv: 1,
				decoder: newFECDecoder()}
			l.encoder, _ = newFECEncoder(5+i, 2)
			l.encoder.lastMillis = 0
			l.decoder.hint(5+i, 2)
			for range 50 {
				if !l.lose(l.group(), i, i+1) {
					t.Errorf("session %d: a group was not recovered", i)
				}
			}
			l.decoder.release()
			l.encoder.release()
		})
	}
	wg.Wait()
}

// fecForgery returns a packet of an attacker who sees the peer's next seqid but not the
// conversation id.
type fecForgery func(r *rand.Rand, next uint32, shape fecShape) (seqid uint32, kind uint16,
	size int)

func TestFECSurvivesOneForgedPacketEach100ms(t *testing.T) {
	right := func(seqid uint32, shape fecShape) uint16 {
		if shape.fits(seqid, true) {
			return fecTypeParity
		}
		return fecTypeData
	}
	forgeries := []struct {
		name  string
		forge fecForgery
	}{
		{"anything anywhere", func(r *rand.Rand, next uint32,
			shape fecShape) (uint32, uint16, int) {
			return r.Uint32(), fecTypeData + uint16(r.IntN(2)), 2 + r.IntN(1400)
		}},
		{"always the same far place", func(r *rand.Rand, next uint32,
			shape fecShape) (uint32, uint16, int) {
			seqid := 1<<30 + r.Uint32N(20)
			return seqid, right(seqid, shape), 88
		}},
		{"half round the circle", func(r *rand.Rand, next uint32,
			shape fecShape) (uint32, uint16, int) {
			return next + 1<<31, fecTypeData, 88
		}},
		{"parity ahead of the peer's", func(r *rand.Rand, next uint32,
			shape fecShape) (uint32, uint16, int) {
			seqid := next + r.Uint32N(uint32(shape.total))
			for right(seqid, shape) != fecTypeParity {
				seqid++
			}
			return seqid, fecTypeParity, 88
		}},
		{"right type ahead, any size", func(r *rand.Rand, next uint32,
			shape fecShape) (uint32, uint16, int) {
			seqid := next + r.Uint32N(uint32(shape.total))
			return seqid, right(seqid, shape), 2 + r.IntN(1400)
		}},
		{"wrong type near", func(r *rand.Rand, next uint32,
			shape fecShape) (uint32, uint16, int) {
			seqid := next - 30 + r.Uint32N(60)
			return seqid, fecTypeData + fecTypeParity - right(seqid, shape), 88
		}},
		{"parity at the very next seqid", func(r *rand.Rand, next uint32,
			shape fecShape) (uint32, uint16, int) {
			return next, fecTypeParity, 88
		}},
		{"types of other shards", func(r *rand.Rand, next uint32,
			shape fecShape) (uint32, uint16, int) {
			seqid := next + r.Uint32N(10)
			return seqid, right(seqid, fecShape{5, 7}), 88
		}},
		{"another packet with a seqid just used", func(r *rand.Rand, next uint32,
			shape fecShape) (uint32, uint16, int) {
			seqid := next - 1 - r.Uint32N(5)
			return seqid, right(seqid, shape), 88
		}},
	}
	// A data packet every 10 ms, so one forged packet to ten of them.
	for _, shape := range []fecShape{{10, 13}, {3, 4}} {
		for _, c := range forgeries {
			t.Run(fmt.Sprintf("%d+%d/%s", shape.data, shape.parity(), c.name), func(t *testing.T) {
				l := fecNewLink(t, shape)
				l.decoder.expectConv(l.conv)
				l.encoder.next = shape.align(1000000)
				recoverable, sent := 0, map[string]bool{}
				sentData := 0
				for range 6000 / shape.data {
					arrived, lostData := 0, 0
					for i, packet := range l.group() {
						if i < shape.data {
							sent[string(packet[fecHeaderSize:])] = true
							if sentData++; sentData%10 == 0 {
								seqid, kind, size := c.forge(l.random, fecSeqid(packet), shape)
								h := fecHeader{seqid: seqid, kind: kind, size: uint16(2 + size)}
								f := append(h.append(nil), fecRandom(l.random, size)...)
								for _, payload := range l.decoder.input(f) {
									if !sent[string(payload)] {
										t.Error("made up a packet")
									}
								}
							}
						}
						if l.random.IntN(20) == 0 {
							if i < shape.data {
								lostData++
							}
							continue
						}
						arrived++
						for _, payload := range l.decoder.input(packet) {
							if !sent[string(payload)] {
								t.Error("made up a packet")
							}
						}
					}
					if lostData > 0 && arrived >= shape.data {
						recoverable++
					}
				}
				if got := l.decoder.stats().recovered; got*100 < uint64(recoverable)*95 {
					t.Errorf("recovered %d of %d groups: %+v", got, recoverable, l.decoder.stats())
				}
			})
		}
	}
}
