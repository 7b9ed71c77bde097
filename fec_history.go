// SPDX-License-Identifier: MIT

package kcp

const (
	fecHistorySpan  = 1024 // positions searched: four groups of the largest shape
	fecHistoryBits  = 2 * fecHistorySpan
	fecHistoryWords = fecHistoryBits / 64

	// fecWideGap is from where on a gap in the stream says too little about where in it a group ended.
	fecWideGap = 32
)

// fecHistory is what arrived lately, one bit a seqid for data and one for parity. Both are set where packets contradict
// each other: such a position counts as neither.
type fecHistory struct {
	recent [3]uint32 // seqids of the newest three packets
	middle uint32    // the middle one of recent: where the stream is, whatever a single outlier says
	head   uint32    // the newest position that middle has had
	span   int       // positions up to head that the history covers, 0 before the first packet
	data   [fecHistoryWords]uint64
	parity [fecHistoryWords]uint64
}

// observe notes a packet. One that is far from the stream moves nothing, a second one beside it does.
func (h *fecHistory) observe(seqid uint32, parity bool) {
	if h.span == 0 {
		h.recent = [3]uint32{seqid, seqid, seqid}
	} else {
		h.recent = [3]uint32{h.recent[1], h.recent[2], seqid}
	}
	h.middle = fecMiddle(h.recent[0], h.recent[1], h.recent[2])
	h.advance()
	// Half of the bits are for packets that are ahead of the middle.
	if off := int32(seqid - h.head); off <= -fecHistorySpan || off >= fecHistorySpan {
		return
	}
	bits := &h.data
	if parity {
		bits = &h.parity
	}
	bits[seqid/64%fecHistoryWords] |= 1 << (seqid % 64)
}

// advance moves head up to middle.
func (h *fecHistory) advance() {
	step := int32(h.middle - h.head)
	switch {
	case h.span == 0 || step >= fecHistorySpan || step <= -fecHistorySpan:
		h.head, h.span = h.middle, 1
		h.data, h.parity = [fecHistoryWords]uint64{}, [fecHistoryWords]uint64{}
		return
	case step <= 0:
		return
	}
	for i := uint32(0); i < uint32(step); i++ {
		ahead := h.head + fecHistorySpan + i // seen for the first time, it takes the place of what is out of reach
		h.data[ahead/64%fecHistoryWords] &^= 1 << (ahead % 64)
		h.parity[ahead/64%fecHistoryWords] &^= 1 << (ahead % 64)
	}
	h.head = h.middle
	h.span = min(h.span+int(step), fecHistorySpan)
}

// at tells what was seen at a position.
func (h *fecHistory) at(pos uint32) (data, parity bool) {
	word, bit := pos/64%fecHistoryWords, uint64(1)<<(pos%64)
	return h.data[word]&bit != 0, h.parity[word]&bit != 0
}

// fecGaps are the newest places where parity ended and data began: each has a group's boundary in it, behind low and up
// to high. Outliers make more of them, so a shape has to fit one of three. It leaves a tenth of the shapes to try.
type fecGaps struct {
	low, high [3]uint32
	n         int
	looked    int // positions that finding them took
}

func (h *fecHistory) boundaries(widest uint32) (g fecGaps) {
	above, known := uint32(0), false // the nearest data above, if nothing else lies between
	pos := h.head
	for ; g.looked < h.span && g.n < len(g.low); g.looked++ {
		d, p := h.at(pos)
		switch {
		case d == p:
		case d:
			above, known = pos, true
		case known && above-pos > widest:
			known = false
		case known:
			g.low[g.n], g.high[g.n] = pos, above
			g.n++
			known = false
		}
		pos--
	}
	return g
}

func (g *fecGaps) fit(total int) bool {
	for i := range g.n {
		if low, high := g.low[i], g.high[i]; high < low || high-high%uint32(total) > low {
			return true
		}
	}
	return false
}

// fecTypes counts by index in the group what was seen there.
type fecTypes struct {
	data, parity [fecMaxTotal]uint16
	dataSeen     int
	paritySeen   int
	dataGroups   int // groups' worths with data in them
	parityGroups int
}

// count adds the types of n positions down from pos, at most a group's worth, and returns the position below.
func (h *fecHistory) count(types *fecTypes, shape fecShape, pos uint32, n int) uint32 {
	data, parity := 0, 0
	index := int(pos % uint32(shape.total))
	for range n {
		d, p := h.at(pos)
		if d != p {
			if d {
				types.data[index]++
				data++
			} else {
				types.parity[index]++
				parity++
			}
		}
		pos = shape.before(pos)
		if index--; index < 0 {
			index = shape.total - 1
		}
	}
	types.dataSeen += data
	types.paritySeen += parity
	if data > 0 {
		types.dataGroups++
	}
	if parity > 0 {
		types.parityGroups++
	}
	return pos
}

// against returns how many of the packets contradict a shape.
func (t *fecTypes) against(shape fecShape) (n int) {
	for i := range shape.total {
		if i < shape.data {
			n += int(t.parity[i])
		} else {
			n += int(t.data[i])
		}
	}
	return n
}
