// SPDX-License-Identifier: MIT

package kcp

import "bytes"

// How k and p are found. Between two certain beginnings, that of a group and that of parity, lie the data packets of one
// group; of several if the sender sent no parity for some, or if all parity of some got lost. Each k up to their number is
// a claim about bytes: more than k packets of a group tell whether the code with that k made them. So a k is proven by the
// bytes, or by being the only one that nothing refutes. p is the length of a whole run of parity.

const (
	// fecProofPrefix is how much of each packet is looked at first: the headers, which hardly ever agree by chance.
	fecProofPrefix = 64

	// fecProofBytes is how many bytes must bear a k out that is not the only one possible. A wrong k agrees in each byte
	// that differs between packets with odds of 1 to 255. Packets that do not differ prove nothing, but a wrong k does no
	// harm with them.
	fecProofBytes = 4

	// fecProofTries bounds the ks that are looked at for one group.
	fecProofTries = 64
)

// fecProof is what speaks for a k so far.
type fecProof struct {
	data   int
	group  uint32 // where the parity of the newest group begins that bears it out
	bytes  int    // how many bytes of it do
	before int    // and of others
}

// fecVerdict says what the bytes of a group tell of a k.
type fecVerdict uint8

const (
	fecUntold fecVerdict = iota // not more than k packets are there
	fecUnpaid                   // nor has it been looked at
	fecRefuted
	fecBorneOut
)

// fecSpan is where data ends and parity begins.
type fecSpan struct {
	newest  uint32 // the last data packet received before
	first   uint32 // the first parity packet received behind it; between them packets may be missing
	rows    int    // parity packets from first on without a gap
	start   uint32 // the nearest beginning of a group below newest that is certain
	certain bool   // there is one
	missing int    // packets between start and first
	solid   int    // data packets up to newest without a gap
}

// prove looks whether a packet just kept shows k, or p. It reports whether it did.
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

// spanAt returns the end of data and the beginning of parity that a packet belongs to.
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
	hole := false
	for pos := s.newest; d.reaches(pos) || int32(pos-d.head) > 0; pos-- {
		kind := d.kind(pos)
		if kind == fecParity {
			s.start, s.certain = pos+1, d.kind(pos+1) == fecData
			return
		}
		if kind != fecData {
			s.missing++
			hole = true
		} else if !hole {
			s.solid++
		}
		if d.marked(pos, fecMarkStart) {
			s.start, s.certain = pos, true
			return
		}
	}
}

// proveParity finds p where a run of parity has been received from the first to the last, with data on both sides.
func (d *fecDecoder) proveParity(first uint32) bool {
	end := first
	for d.kind(end) == fecParity {
		end++
	}
	return d.kind(end) == fecData && d.proven(int(end-first))
}

// proven takes p over.
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

// proveData finds k where parity begins; 0 if it is not certain. A polynomial of degree below k is one of degree below any
// larger k as well: of the ks that the bytes bear out the smallest is right.
func (d *fecDecoder) proveData(s *fecSpan) (k int) {
	adjacent := s.newest+1 == s.first
	if adjacent {
		claims := [2]int{s.solid, d.hinted.data}
		if s.certain {
			claims = [2]int{int(s.first - s.start)}
		}
		for _, k := range claims {
			if k > 0 && d.kind(s.first-uint32(k)) == fecData {
				if verdict, n := d.verify(s.first, k, s.rows); verdict == fecBorneOut && d.bornOut(k, n, s.first) {
					return k
				}
			}
		}
	}
	if !s.certain || s.missing > s.rows {
		return 0
	}
	// Where no more is missing than there is parity, nearly every claim has more packets than it needs, also one that has
	// parity of earlier groups among what is missing. Left are the claim that all of it is one group, if exactly as much
	// is missing, and some of several groups of which only the last one has parity.
	best, whole, parts := 0, 0, false
	if int(s.first-s.newest)*int(s.first-s.start) > fecProofTries {
		return 0
	}
	for first := s.first; first != s.newest; first-- {
		length, rows := int(first-s.start), int(s.first-first)+s.rows
		for k := min(length, fecMaxTotal-1); k > 0; k-- {
			switch verdict, n := d.verify(first, k, rows); {
			case verdict == fecUnpaid, verdict == fecBorneOut && n < fecProofBytes:
				return 0
			case verdict == fecBorneOut && (best == 0 || k < best):
				best = k
			case verdict == fecUntold && k == length:
				whole = k
			case verdict == fecUntold && length%k == 0:
				parts = true
			}
		}
	}
	if best > 0 || parts && d.hinted.data != whole {
		return best
	}
	return whole
}

// bornOut adds to the proof of a k and reports whether it is enough. A group counts once.
func (d *fecDecoder) bornOut(k, n int, first uint32) bool {
	p := &d.proof
	switch {
	case p.data != k:
		*p = fecProof{data: k}
	case p.group != first:
		p.before += p.bytes
		p.bytes = 0
	}
	p.group, p.bytes = first, max(p.bytes, n)
	return p.before+p.bytes >= fecProofBytes
}

// verify compares the parity from first on with what k data packets before it make of it. n is how many bytes speak for
// k, at least 1.
func (d *fecDecoder) verify(first uint32, k, rows int) (verdict fecVerdict, n int) {
	if k < 1 || k >= fecMaxTotal {
		return fecUntold, 0
	}
	if d.credit < 0 {
		return fecUnpaid, 0
	}
	rows = min(rows, fecMaxTotal-k)
	if d.between(first-uint32(k), uint32(k))&fecBetweenParity != 0 {
		return fecRefuted, 0
	}
	d.gather(first-uint32(k), k, rows)
	var c fecChoice
	if len(d.members) <= k || !d.choose(&c, k, -1, 0) {
		return fecUntold, 0
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
			return fecRefuted, 0
		}
		verdict = fecBorneOut
		for _, part := range [2][]byte{out[:min(len(out), fecProofPrefix)], out} {
			if d.compute(part, &c, s.index, &weights); !bytes.Equal(part, s.bytes[:len(part)]) {
				return fecRefuted, 0
			}
		}
		d.credit -= c.n
		n += d.telling(s.bytes)
	}
	return verdict, max(n, 1)
}

// telling counts the bytes of the headers that are not alike in all packets of a group.
func (d *fecDecoder) telling(like []byte) (n int) {
	for i := range min(len(like), fecProofPrefix) {
		for _, s := range d.members {
			if i < len(s.bytes) && s.bytes[i] != like[i] {
				n++
				break
			}
		}
	}
	return n
}
