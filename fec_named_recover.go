// SPDX-License-Identifier: MIT

package kcp

// settle recovers what a group lacks, if it has enough parity, and reports whether all of the group
// is there. If a result does not fit its check, a packet is forged. Then the first parity packets
// are passed over, and then each one in turn, as far as others can replace them.
func (g *fecNamedDecoder) settle(group fecGroup) bool {
	s := &g.solver
	s.missing = s.missing[:0]
	for i := range group.k {
		if !g.holds(group.first + uint32(i)) {
			s.missing = append(s.missing, i)
		}
	}
	m := len(s.missing)
	if m == 0 {
		g.end(group, 0)
		return true
	}
	tried := false
	for pass := 0; g.choose(group, pass, -1); pass++ {
		if g.try(group) {
			return true
		}
		tried = true
	}
	for skip := 1; tried && skip < m; skip++ {
		if g.choose(group, 0, skip) && g.try(group) {
			return true
		}
	}
	if tried {
		g.d.counts.errors++
	}
	return false
}

// try recovers what a group lacks with the parity that was chosen, as far as the allowance goes.
func (g *fecNamedDecoder) try(group fecGroup) bool {
	m := len(g.solver.missing)
	if g.d.credit < 0 {
		return false
	}
	g.d.credit -= m * int(group.k)
	if !g.restore(group) {
		return false
	}
	g.end(group, m)
	return true
}

// holds reports whether a data packet is there.
func (g *fecNamedDecoder) holds(seqid uint32) bool {
	s := g.slot(seqid)
	return s.seqid == seqid && s.held()
}

// choose takes as many parity packets of a group as packets are missing, of one length. It passes
// over so many of them, and over the one that is number skip. It returns false if there are not
// enough.
func (g *fecNamedDecoder) choose(group fecGroup, pass, skip int) bool {
	s := &g.solver
	s.parity, s.chosen, s.length = s.parity[:0], s.chosen[:0], 0
	n := -1
	for i := range g.waits {
		w := &g.waits[i]
		if !w.same(group) {
			continue
		}
		if n++; n < pass || n == skip || s.length != 0 && len(w.bytes) != s.length {
			continue
		}
		if point := fecPoint(w.index); !s.takes(point) {
			s.parity, s.chosen = append(s.parity, point), append(s.chosen, w.bytes)
			s.length = len(w.bytes)
		}
		if len(s.parity) == len(s.missing) {
			return true
		}
	}
	return false
}

// restore computes the missing packets of a group. It returns false, and changes nothing, if one of
// them does not fit its check.
func (g *fecNamedDecoder) restore(group fecGroup) bool {
	s := &g.solver
	var weights [fecMaxTotal]int16
	for i := range group.k {
		if slot := g.slot(group.first + uint32(i)); g.holds(group.first + uint32(i)) {
			if len(slot.prepare()) > s.length {
				return false // the parity is shorter than what it is parity of
			}
			weights[i] = int16(s.weight(i))
		}
	}
	for _, point := range s.parity {
		weights[point] = int16(s.weight(point))
	}
	ok := true
	for _, y := range s.missing {
		if ok = g.restorePacket(group, y, &weights); !ok {
			break
		}
	}
	for i, b := range s.results {
		if ok {
			g.store(group.first+uint32(s.missing[i]), b)
		} else {
			g.d.put(b)
		}
	}
	clear(s.results)
	clear(s.chosen)
	s.results, s.chosen = s.results[:0], s.chosen[:0]
	return ok
}

// restorePacket computes the missing packet y of a group.
func (g *fecNamedDecoder) restorePacket(
	group fecGroup, y uint8, weights *[fecMaxTotal]int16,
) bool {
	s := &g.solver
	const front = fecShardOffset - fecCheckSize
	b := g.d.get(front + s.length)
	s.results = append(s.results, b)
	out := b[front:]
	clear(out)
	weight := s.weight(y)
	for i := range group.k {
		if seqid := group.first + uint32(i); g.holds(seqid) {
			c := s.coefficient(y, weight, i, int(weights[i]))
			g.d.adder.add(out, c, g.slot(seqid).bytes[front:])
		}
	}
	for i, point := range s.parity {
		g.d.adder.add(out, s.coefficient(y, weight, point, int(weights[point])), s.chosen[i])
	}
	size, ok := s.fits(group.first+uint32(y), out)
	if !ok || size < fecLeastShard || !g.d.ours(out[fecCheckSize+fecSizeBytes:]) {
		return false
	}
	s.results[len(s.results)-1] = b[:fecShardOffset+size]
	return true
}

// store keeps a recovered packet, which is a result unless it was received before.
func (g *fecNamedDecoder) store(seqid uint32, b []byte) {
	s := g.claim(seqid)
	if s.arrival == fecForgotten {
		g.d.put(b)
		return
	}
	s.bytes, s.arrival, s.front = b, fecRepaired, fecFrontCheck
	g.d.results = append(g.d.results, b[fecHeaderSize:])
}
