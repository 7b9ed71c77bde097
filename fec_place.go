// SPDX-License-Identifier: MIT

package kcp

// Where a group lies (S2.11). Seqids do not show it: legacy senders before v5.6.16 skip no seqids
// for parity that they do not send, so that groups begin anywhere. What holds for every known
// encoder is certain:
//
//   - k data packets make a group. Then come its p parity packets, without a gap in seqids, or the
//     next group.
//   - Parity right behind data is therefore the group's first parity packet, and parity right
//     before data its last.
//   - From the beginning of a group, the next ones begin k or k+p further, and the received packets
//     show which.
//
// A group is settled only if the row of one of its parity packets is certain.

// settleAround checks what a packet that was just kept makes certain or completes.
func (d *fecDecoder) settleAround(pos uint32, kind fecKind) {
	if !d.shape.known() && d.prove(pos, kind) {
		d.settleAll()
		return
	}
	if d.shape.data == 0 {
		return
	}
	if kind == fecParity {
		d.settleParity(pos)
		return
	}
	d.dropUncovered(pos)
	if d.isOpen(pos - 1) {
		d.settleParity(pos - 1)
	}
	if pos != d.top {
		d.settleAbove(pos, d.reach())
	}
}

// reach returns how far from a group's first packet its last one may be. While p is not known, it
// is how many rows may be checked.
func (d *fecDecoder) reach() uint32 {
	if d.shape.known() {
		return uint32(d.shape.total)
	}
	return uint32(2 * d.shape.data)
}

// settleAll checks all parity packets held.
func (d *fecDecoder) settleAll() {
	for pos := d.tail; int32(d.top-pos) >= 0 && d.open > 0 && !d.refuted; pos++ {
		if d.isOpen(pos) {
			d.settleParity(pos)
		}
	}
}

// settleAbove checks the first parity packet within n positions above one, settleBelow the first
// below.
func (d *fecDecoder) settleAbove(pos, n uint32) {
	for ; n > 0 && int32(d.top-pos) > 0 && d.open > 0; n-- {
		if pos++; d.isOpen(pos) {
			d.settleParity(pos)
			return
		}
	}
}

func (d *fecDecoder) settleBelow(pos, n uint32) {
	for ; n > 0 && d.open > 0; n-- {
		if pos--; d.isOpen(pos) {
			d.settleParity(pos)
			return
		}
	}
}

// dropUncovered releases a data packet whose group has no parity: more than k data packets in a row
// end at pos.
func (d *fecDecoder) dropUncovered(pos uint32) {
	if pos == d.lastData+1 {
		d.run++
	} else {
		d.run = 1
	}
	if d.lastData = pos; d.run > d.shape.data {
		if s := d.slot(pos - uint32(d.shape.data)); s.pos == pos-uint32(d.shape.data) {
			d.drop(s)
		}
	}
}

// settleParity settles the group of a parity packet if its place is certain (S2.10).
func (d *fecDecoder) settleParity(pos uint32) {
	if d.refuted {
		return
	}
	row, ok := d.row(pos)
	if !ok {
		return
	}
	base := pos - row - uint32(d.shape.data)
	d.settle(base)
	if d.marked(base, fecMarkDone) && d.isOpen(pos) { // one more than was known
		s := d.slot(pos)
		d.drop(s)
		s.marks |= fecMarkDone | fecMarkParity
	}
}

// row returns the index of the parity packet at pos in its group. It returns false if that is not
// certain.
func (d *fecDecoder) row(pos uint32) (row uint32, ok bool) {
	first := pos
	for d.kind(first-1) == fecParity && pos-first < fecMaxTotal {
		first--
	}
	if row = pos - first; d.kind(first-1) == fecData {
		if d.shape.known() && int(row) >= d.shape.parity() {
			d.refute()
			return 0, false
		}
		return row, true
	}
	if d.shape.known() {
		low, high := d.rowBounds(pos, first)
		if low > high {
			d.refute()
			return 0, false
		}
		if low == high {
			return low, true
		}
	}
	if row, ok = d.rowFromBelow(pos); ok || d.refuted {
		return row, ok
	}
	return d.rowFromAbove(pos)
}

// rowBounds bounds the row of a parity packet by the packets around it. first is the lowest of the
// parity packets that lie below it without a gap.
func (d *fecDecoder) rowBounds(pos, first uint32) (low, high uint32) {
	p := uint32(d.shape.parity())
	last := pos
	for d.kind(last+1) == fecParity && last-pos < fecMaxTotal {
		last++
	}
	low, high = pos-first, p-1-min(last-pos, p-1)
	for i := uint32(1); i < p; i++ { // the nearest data on both sides
		if d.kind(pos-i) == fecData {
			high = min(high, i-1)
			break
		}
	}
	for i := uint32(1); i < p; i++ {
		if d.kind(pos+i) == fecData {
			low = max(low, p-i)
			break
		}
	}
	return low, high
}

// fecBetween is what was received where a group has its parity, or the next group its data.
type fecBetween uint8

const (
	fecBetweenNothing fecBetween = iota
	fecBetweenData
	fecBetweenParity
	fecBetweenBoth
)

// between returns what was received of n positions from pos on.
func (d *fecDecoder) between(pos, n uint32) (seen fecBetween) {
	for i := range n {
		switch d.kind(pos + i) {
		case fecData:
			seen |= fecBetweenData
		case fecParity:
			seen |= fecBetweenParity
		}
	}
	return seen
}

// decisive returns how many positions behind a group's data are either all its parity or all the
// next group's data.
func (d *fecDecoder) decisive() uint32 {
	if d.shape.known() {
		return uint32(min(d.shape.data, d.shape.parity()))
	}
	return 1
}

// rowFromBelow counts groups from the nearest certain beginning of a group below pos.
func (d *fecDecoder) rowFromBelow(pos uint32) (row uint32, ok bool) {
	start, far := pos-1, 3*d.reach()
	for !d.marked(start, fecMarkStart) {
		if start--; pos-start > far {
			return 0, false
		}
	}
	k, n := uint32(d.shape.data), d.decisive()
	for {
		if start += k; int32(pos-start) < 0 {
			d.refute() // parity among a group's data
			return 0, false
		}
		if pos-start < k && (!d.shape.known() || pos-start < n) {
			return pos - start, true
		}
		switch d.between(start, n) {
		case fecBetweenBoth:
			d.refute()
			return 0, false
		case fecBetweenNothing:
			return 0, false
		case fecBetweenParity:
			if !d.shape.known() {
				return 0, false
			}
			if p := uint32(d.shape.parity()); pos-start >= p {
				start += p
			} else {
				return pos - start, true
			}
		}
	}
}

// rowFromAbove counts groups down from the nearest certain beginning of a group above pos.
func (d *fecDecoder) rowFromAbove(pos uint32) (row uint32, ok bool) {
	if !d.shape.known() {
		return 0, false
	}
	start := pos
	for far := pos + min(3*d.reach(), d.top+1-pos); !d.marked(start, fecMarkStart); {
		if start++; int32(start-far) > 0 {
			return 0, false
		}
	}
	k, p, n := uint32(d.shape.data), uint32(d.shape.parity()), d.decisive()
	for int32(start-pos) > 0 {
		switch d.between(start-n, n) {
		case fecBetweenBoth:
			d.refute()
			return 0, false
		case fecBetweenNothing:
			return 0, false
		case fecBetweenParity:
			if start-pos <= p {
				return p - (start - pos), true
			}
			start -= p
		}
		start -= k
	}
	d.refute() // parity among a group's data
	return 0, false
}

// settle completes the group that certainly begins at base, as far as its packets allow.
func (d *fecDecoder) settle(base uint32) {
	first := d.claim(base)
	if first.marks&fecMarkDone != 0 {
		if first.marks&fecMarkStart == 0 {
			d.refute() // it lies within another one
		}
		return
	}
	data, ok := d.look(base)
	fresh := first.marks&fecMarkGroup == 0
	if !ok || fresh && !d.follows(base) {
		d.refute()
		return
	}
	first.marks |= fecMarkStart | fecMarkGroup
	if d.shape.known() {
		d.claim(base + uint32(d.shape.total)).marks |= fecMarkStart
	}
	if data == d.shape.data {
		d.counts.complete++
		d.finish(base, 0)
	} else if d.gather(base, d.shape.data, d.rows(base)); len(d.members) >= d.shape.data {
		if n := d.recover(base); n > 0 {
			d.counts.recovered++
			d.finish(base, n)
		}
	}
	if fresh && d.open > 0 && !d.refuted {
		d.settleBelow(base, d.reach())
		d.settleAbove(base+d.reach()-1, d.reach())
	}
}

// look counts the data packets of a group. It returns false if one of its packets has the wrong
// type.
func (d *fecDecoder) look(base uint32) (data int, ok bool) {
	k := uint32(d.shape.data)
	for pos := base; pos != base+k; pos++ {
		switch d.kind(pos) {
		case fecData:
			data++
		case fecParity:
			return 0, false
		}
	}
	return data, !d.shape.known() || d.between(base+k, uint32(d.shape.parity()))&fecBetweenData == 0
}

// rows returns how many parity packets the group at base may have. While p is not known, parity
// from k positions on may be the next group's.
func (d *fecDecoder) rows(base uint32) int {
	if d.shape.known() {
		return d.shape.parity()
	}
	n := 0
	end := base + uint32(d.shape.data)
	for n < d.shape.data && d.kind(end+uint32(n)) != fecData {
		n++
	}
	return min(n, fecMaxTotal-d.shape.data)
}

// follows reports whether a group can begin at base after the nearest one below whose beginning is
// certain.
func (d *fecDecoder) follows(base uint32) bool {
	if !d.shape.known() {
		return true
	}
	k, total := d.shape.data, d.shape.total
	for n := 0; n <= total; n++ {
		if !d.marked(base-uint32(n), fecMarkStart) {
			continue
		}
		for rest := n; rest >= 0; rest -= total {
			if rest == 0 {
				return true
			}
			// groups without parity lie between, or k is a divisor of the right one
			if rest%k == 0 {
				return d.verify(base+uint32(k), k, d.shape.parity()) != fecRefuted
			}
		}
		return false
	}
	return true
}

// gather lists the packets of a group that are held: data, parity, and spare ones for positions
// without a packet.
func (d *fecDecoder) gather(base uint32, k, rows int) {
	d.members = d.members[:0]
	for i := range k + rows {
		pos := base + uint32(i)
		s := d.slot(pos)
		if s.pos == pos && s.bytes != nil && (s.kind == fecData) == (i < k) {
			d.members = append(d.members, fecShard{index: uint8(i), bytes: s.bytes})
		}
	}
	for _, s := range d.spares {
		if i := s.pos - base; i < uint32(k+rows) {
			d.members = append(d.members, fecShard{index: uint8(i), bytes: s.bytes})
		}
	}
}

// finish releases a group's packets and records that no more are needed. recovered of its parity
// packets were used.
func (d *fecDecoder) finish(base uint32, recovered int) {
	k, known := d.shape.data, d.shape.known()
	for i := range k + d.rows(base) {
		if i >= k && !known && d.kind(base+uint32(i)) != fecParity {
			break
		}
		s := d.claim(base + uint32(i))
		d.drop(s)
		s.marks = s.marks&^(fecMarkGroup|fecMarkTried) | fecMarkDone
		if i >= k {
			s.marks |= fecMarkParity
		}
	}
	for i := len(d.spares) - 1; i >= 0; i-- {
		if d.spares[i].pos-base < d.reach() {
			d.dropSpare(i)
		}
	}
	d.counts.packets += uint64(recovered)
	d.counts.parityUnused -= uint64(recovered)
}
