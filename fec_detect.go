// SPDX-License-Identifier: MIT

package kcp

import "math"

// Finding a peer's k and p. Every packet tells one thing about its sender: whether the shard at this seqid is data or
// parity. A shape (k, k+p) explains the stream if all data stand below k and all parity at or above it, counted by the
// seqid's remainder modulo k+p; there is no phase to find. fecHistory remembers by position what arrived, so that
// reordering and duplicates change nothing, and search tries every shape against the newest part of it.

const (
	fecHistorySpan  = 1024 // positions searched: four groups of the largest shape
	fecHistoryBits  = 2 * fecHistorySpan
	fecHistoryWords = fecHistoryBits / 64

	// fecPenalty is how many explained packets make up for one that contradicts a shape. 16 keeps one packet in twenty
	// from hiding the truth, and lets a few group boundaries refute a shape that is off by one.
	fecPenalty = 16

	// fecContradictions is how many packets more than a new shape the old one must leave unexplained before it is given
	// up: one outlier changes nothing.
	fecContradictions = 2

	// fecSupport is how many packets a shape must explain when some of the groups looked at are missing. Without a gap
	// two groups prove a shape however small they are; with gaps the small shapes fit by chance.
	fecSupport = 24

	// fecTrustGroups is how many groups back trusts looks: a wrong shape contradicts packets in every second or third.
	fecTrustGroups = 9

	// A search looks at 100,000 positions or so when the history is full. Each packet earns a part of one, so that a
	// stream that no shape explains costs less than a microsecond a packet and not a search each.
	fecSearchEarned = 512
	fecSearchSaved  = 1 << 19
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

// fecTally is the best shape for one size of group on the newest part of the history.
type fecTally struct {
	shape  fecShape // not known if none is proven
	window int      // positions looked at
	score  int      // packets explained, less the penalty for those that contradict
	rival  int      // the same for the next best k
	chance int      // the best score of this size of group, proven or not
}

// search returns the one shape of at most largest shards, other than current, that explains the newest packets; current
// if there is none or more than one; and what looking cost, in positions.
func (h *fecHistory) search(current fecShape, largest int) (best fecTally, cost int) {
	rival := 0
	gaps := h.boundaries(fecWideGap)
	for total := 2; total <= min(largest, h.span); total++ {
		if !gaps.fit(total) {
			continue
		}
		t, looked := h.try(total, current)
		cost += looked
		if t.score > best.score {
			t, best = best, t
		}
		rival = max(rival, t.chance)
	}
	rival = max(rival, best.rival)
	if !best.shape.known() || best.score-rival < min(fecPenalty, best.score/2) {
		return fecTally{shape: current}, cost
	}
	if current.known() {
		cost += best.window
		if !h.supersedes(best, current) {
			return fecTally{shape: current}, cost
		}
	}
	return best, cost
}

// fecWideGap is from where on a gap in the stream says too little about where in it a group ended.
const fecWideGap = 32

// fecGaps are the newest places where parity ended and data began: each has a group's boundary in it, behind low and up
// to high. Outliers make more of them, so a shape has to fit one of three. It leaves a tenth of the shapes to try.
type fecGaps struct {
	low, high [3]uint32
	n         int
}

func (h *fecHistory) boundaries(widest uint32) (g fecGaps) {
	above, known := uint32(0), false // the nearest data above, if nothing else lies between
	pos := h.head
	for i := 0; i < h.span && g.n < len(g.low); i++ {
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

// try finds the best k for one size of group over the newest 2, 3, 4... groups' worth of positions, as far back as the
// packets agree with it. A part of a group at the end proves nothing, but it keeps the shape in the race.
func (h *fecHistory) try(total int, current fecShape) (best fecTally, cost int) {
	var types fecTypes
	shape := fecShape{total: total}
	pos := h.head
	for window := 0; window < h.span; {
		n := min(total, h.span-window)
		pos = h.count(&types, shape, pos, n)
		window += n
		cost += n + total
		if window == total && total < h.span {
			continue
		}
		k, wrong, rival := types.cut(total, current)
		seen := types.dataSeen + types.paritySeen
		if wrong > 1+seen/fecPenalty {
			break
		}
		score := seen - fecPenalty*wrong
		if score <= best.chance || wrong > min(types.dataSeen, types.paritySeen)/8 {
			continue
		}
		best.chance = score
		if types.proves(window, total, wrong) {
			shape.data = k
			best.shape, best.window, best.score, best.rival = shape, window, score, seen-fecPenalty*rival
		}
	}
	return best, cost
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

// proves reports whether a shape that contradicts wrong packets may be believed: two whole groups at least with data and
// parity in more than one of them, next to no contradictions, and enough packets if some are missing.
func (t *fecTypes) proves(window, total, wrong int) bool {
	seen := t.dataSeen + t.paritySeen
	return window >= 2*total && window%total == 0 && t.dataGroups > 1 && t.parityGroups > 1 &&
		wrong <= min(t.dataSeen, t.paritySeen)/16 &&
		(seen == window || seen >= fecSupport && 2*seen >= window)
}

// cut returns the k that contradicts the fewest packets, how many those are, and how many the next best k contradicts.
// The shape that is in use is not tried: its successor is looked for.
func (t *fecTypes) cut(total int, current fecShape) (k, wrong, rival int) {
	wrong, rival = math.MaxInt16, math.MaxInt16
	contradicted := 0 // by k = 0: all data
	for _, n := range t.data[:total] {
		contradicted += int(n)
	}
	for i := 1; i < total; i++ {
		contradicted += int(t.parity[i-1]) - int(t.data[i-1])
		switch {
		case current.total == total && current.data == i:
		case contradicted < wrong:
			k, wrong, rival = i, contradicted, wrong
		case contradicted < rival:
			rival = contradicted
		}
	}
	return k, wrong, rival
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

// supersedes reports whether the newest packets speak for a new shape and against the current one. Contradictions must
// go back to the oldest group looked at: otherwise the new shape owes its fit to packets from before the change.
func (h *fecHistory) supersedes(t fecTally, current fecShape) bool {
	fewer, oldest := 0, 0
	pos := h.head
	for i := range t.window {
		d, p := h.at(pos)
		if d != p {
			if !current.fits(pos, p) {
				fewer++
				oldest = i
			}
			if !t.shape.fits(pos, p) {
				fewer--
			}
		}
		pos = t.shape.before(pos)
	}
	return fewer >= fecContradictions && oldest >= t.shape.total
}

// fecDetector decides when to search.
type fecDetector struct {
	fecHistory
	doubt  int  // packets to go until the shape in use counts as right again
	since  int  // packets since doubt began
	credit int  // positions that a search may look at
	last   bool // the previous packet was parity
}

// track notes a packet and returns the shape to use from it on: nearly always the one in use.
func (d *fecDetector) track(seqid uint32, parity bool, current fecShape) fecShape {
	d.observe(seqid, parity)
	edge := parity != d.last
	d.last = parity
	if !current.fits(seqid, parity) {
		if d.doubt == 0 {
			d.since, d.credit = 0, fecSearchSaved
		}
		d.doubt = fecHistorySpan
	}
	if d.doubt == 0 {
		return current
	}
	d.doubt--
	d.since++
	d.credit = min(d.credit+fecSearchEarned, fecSearchSaved)
	// What is not contradicted for a whole group of the new shape is kept, see supersedes: so larger groups than the
	// packets since the first contradiction need not be tried. Twice that allows for packets lost.
	largest := fecMaxTotal
	if current.known() {
		largest = min(largest, 2*d.since)
	}
	if d.credit < 0 || !edge && d.credit < fecSearchSaved/2 {
		return current
	}
	best, cost := d.search(current, largest)
	d.credit -= cost
	if best.shape == current {
		return current
	}
	d.doubt = 0
	return best.shape
}

// trusts reports whether the packets around the group that begins at base bear the shape in use out well enough to
// recover with it. A wrong shape makes packets up: out of packets alike in size and header comes one that looks like
// them. What tells it is that another shape explains better what came since this group's first packet, or since that of
// one of the groups before; an outlier makes no other shape better.
func (d *fecDetector) trusts(shape fecShape, base uint32) bool {
	if d.doubt == 0 {
		return true
	}
	var wrong [fecTrustGroups]int
	first := max(int(int32(d.head-base)), 0) + 1
	n := 1 + min((d.span-min(first, d.span))/shape.total, fecTrustGroups-1)
	var types fecTypes
	for i, pos := 0, d.head; i < n; i++ {
		pos = d.count(&types, shape, pos, fecTrustStep(i, first, shape))
		wrong[i] = types.against(shape)
	}
	if wrong[n-1] == 0 {
		return true
	}
	gaps := d.boundaries(fecHistorySpan)
	for total := 2; total <= fecMaxTotal; total++ {
		if (gaps.n < len(gaps.low) || gaps.fit(total)) && d.beats(shape, total, first, wrong[:n]) {
			return false
		}
	}
	return true
}

// fecTrustStep is how many positions further the i-th look back of trusts reaches.
func fecTrustStep(i, first int, shape fecShape) int {
	if i == 0 {
		return first
	}
	return shape.total
}

// beats reports whether another shape with groups of this size contradicts fewer packets than wrong, which says it of
// the shape in use for each look back.
func (h *fecHistory) beats(shape fecShape, total, first int, wrong []int) bool {
	var types fecTypes
	pos := h.head
	for i := range wrong {
		pos = h.count(&types, fecShape{total: total}, pos, fecTrustStep(i, first, shape))
		if _, contradicted, _ := types.cut(total, shape); contradicted < wrong[i] {
			return true
		}
	}
	return false
}
