// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"math/bits"
)

// How k and p are found (S2.12). Between the certain beginnings of a group and of parity lie the
// data packets of one group. They are those of several groups if the sender sent no parity for
// some, or all parity of some was lost. Each k up to their number is a claim. The positions of
// packets refute most claims. The bytes do too: more than k packets of a group show whether the
// code with that k could have made them.
//
// A true claim is never refuted, so that the last one left is proven. Bytes that agree with a claim
// prove nothing: data that changes little from packet to packet agrees with a smaller k too. p is
// the length of a whole run of parity.

// fecProofPrefix is how much of each packet is compared first: the headers, which rarely agree by
// chance.
const fecProofPrefix = 64

// fecProof is the set of ks that have been refuted.
type fecProof [fecMaxTotal / 64]uint64

func (p *fecProof) refuted(k int) bool { return p[k/64]&(1<<(k%64)) != 0 }

func (p *fecProof) refute(k int) { p[k/64] |= 1 << (k % 64) }

// left returns the only k that is not refuted, or 0 if there are several. It returns false if there
// is none.
func (p *fecProof) left() (k int, ok bool) {
	for i, word := range p {
		if i == 0 {
			word |= 1
		}
		switch free := ^word; {
		case free == 0:
		case k != 0 || free&(free-1) != 0:
			return 0, true
		default:
			k = 64*i + bits.TrailingZeros64(free)
		}
	}
	return k, k != 0
}

// fecVerdict is what the bytes of a group show about a k.
type fecVerdict uint8

const (
	fecUntold fecVerdict = iota // at most k packets are there, or the allowance is spent
	fecRefuted
	fecBorneOut
)

// fecSpan is where data ends and parity begins.
type fecSpan struct {
	newest  uint32 // the last data packet received before
	first   uint32 // the first parity packet received behind it, perhaps after a gap
	rows    int    // parity packets from first on without a gap
	start   uint32 // the nearest certain beginning of a group below newest
	certain bool   // there is one
	missing int    // packets between start and first
}

// prove checks whether a packet that was just kept shows k or p. It reports whether it did.
func (d *fecDecoder) prove(pos uint32, kind fecKind) bool {
	span, ok := d.spanAt(pos, kind)
	if !ok {
		return false
	}
	if d.shape.data > 0 {
		return span.newest+1 == span.first && d.proveParity(span.first)
	}
	if len(d.slots) < fecWindowLarge && span.first-d.tail > fecSmallGroup {
		d.resize(fecWindowLarge)
	}
	d.measure(&span)
	k := d.proveData(&span)
	if k == 0 {
		return false
	}
	d.shape = fecShape{data: k}
	if span.newest+1 == span.first && d.proveParity(span.first) {
		return true
	}
	if d.reported.data != k {
		d.counts.shapesDetected++
		d.reported = fecShape{data: k}
	}
	return true
}

// spanAt returns the end of data and the beginning of parity around a packet.
func (d *fecDecoder) spanAt(pos uint32, kind fecKind) (s fecSpan, ok bool) {
	s.first = pos
	if kind == fecData {
		if d.kind(pos-1) == fecParity {
			s.first = pos - 1
		}
		for n := 0; d.kind(s.first) != fecParity; n++ { // a late one
			if int32(s.first-d.top) >= 0 || n == fecMaxTotal {
				return s, false
			}
			s.first++
		}
	}
	for n := 0; d.kind(s.first-1) == fecParity && n < fecMaxTotal; n++ {
		s.first--
	}
	for d.kind(s.first+uint32(s.rows)) == fecParity && s.rows < fecMaxTotal {
		s.rows++
	}
	s.newest = s.first - 1
	for n := 0; d.kind(s.newest) != fecData; n++ {
		if d.kind(s.newest) == fecParity || n == fecMaxTotal {
			return s, false
		}
		s.newest--
	}
	return s, true
}

// measure completes a span.
func (d *fecDecoder) measure(s *fecSpan) {
	s.missing = int(s.first-s.newest) - 1
	for pos := s.newest; d.reaches(pos) || int32(pos-d.head) > 0; pos-- {
		kind := d.kind(pos)
		if kind == fecParity {
			s.start, s.certain = pos+1, d.kind(pos+1) == fecData
			return
		}
		if kind != fecData {
			s.missing++
		}
		if d.marked(pos, fecMarkStart) {
			s.start, s.certain = pos, true
			return
		}
	}
}

// proveParity finds p if a run of parity has been received from the first to the last packet, with
// data on both sides (S2.13).
func (d *fecDecoder) proveParity(first uint32) bool {
	end := first
	for d.kind(end) == fecParity {
		end++
	}
	return d.kind(end) == fecData && d.proven(int(end-first))
}

// proven records p.
func (d *fecDecoder) proven(p int) bool {
	shape, err := newFECShape(d.shape.data, p)
	if err != nil {
		return false
	}
	d.shape = shape
	if shape != d.reported {
		if d.reported.data != shape.data || d.reported.known() {
			d.counts.shapesDetected++
		}
		d.reported = shape
	}
	if shape.total > fecSmallGroup && len(d.slots) < fecWindowLarge {
		d.resize(fecWindowLarge)
	}
	return true
}

// proveData refutes the ks that do not fit a span, and returns the one that is left, or 0 while
// there are several.
func (d *fecDecoder) proveData(s *fecSpan) (k int) {
	if !s.certain {
		return 0
	}
	for k := range fecMaxTotal {
		if !d.proof.refuted(k) && !d.possible(k, s) {
			d.proof.refute(k)
		}
	}
	k, ok := d.proof.left()
	if !ok { // one of the packets was forged
		d.proof = fecProof{}
	}
	return k
}

// possible reports whether a group of k data packets may end in a span. Its parity may begin at any
// position behind the newest data.
func (d *fecDecoder) possible(k int, s *fecSpan) bool {
	for first := s.first; first != s.newest && k > 0; first-- {
		if s.holds(k, first) {
			if verdict := d.verify(first, k, int(s.first-first)+s.rows); verdict != fecRefuted {
				return true
			}
		}
	}
	return false
}

// holds reports whether the positions from the start of a span to a group of k with its parity at
// first are none or whole groups. These are groups without parity, or groups whose parity was not
// received.
func (s *fecSpan) holds(k int, first uint32) bool {
	rest := int(first-s.start) - k
	if rest%k == 0 {
		return rest >= 0
	}
	// the rest was parity, at least as much for each group as here
	for rest -= k; rest > 0; rest -= k {
		if rest >= s.rows && rest <= s.missing {
			return true
		}
	}
	return false
}

// verify compares the parity from first on with what the k data packets before it give.
func (d *fecDecoder) verify(first uint32, k, rows int) (verdict fecVerdict) {
	if k < 1 || k >= fecMaxTotal {
		return fecUntold
	}
	rows = min(rows, fecMaxTotal-k)
	if d.between(first-uint32(k), uint32(k))&fecBetweenParity != 0 {
		return fecRefuted
	}
	d.gather(first-uint32(k), k, rows)
	var c fecChoice
	if len(d.members) <= k || d.credit < 0 || !d.choose(&c, k, -1, 0) {
		return fecUntold
	}
	var weights [fecMaxTotal]uint8
	c.weigh(&weights)
	d.credit -= c.n*c.n/32 + c.n/4
	out := d.get(c.length)
	defer d.put(out)
	for _, s := range d.members {
		if int(s.index) < k || c.has(s.index) {
			continue
		}
		if len(s.bytes) != c.length {
			return fecRefuted
		}
		verdict = fecBorneOut
		for _, part := range [2][]byte{out[:min(len(out), fecProofPrefix)], out} {
			if d.compute(part, &c, s.index, &weights); !bytes.Equal(part, s.bytes[:len(part)]) {
				return fecRefuted
			}
		}
		d.credit -= c.n
	}
	return verdict
}
