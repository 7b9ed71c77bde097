// SPDX-License-Identifier: MIT

package kcp

import "math"

// Finding a peer's k and p. Every packet tells one thing about its sender: whether the shard at this seqid is data or
// parity. A shape (k, k+p) explains the stream if all data stand below k and all parity at or above it, counted by the
// seqid's remainder modulo k+p; there is no phase to find. So search tries every shape against the newest packets.

const (
	// fecPenalty is how many explained packets make up for one that contradicts a shape. 16 keeps one packet in twenty
	// from hiding the truth, and lets a few group boundaries refute a shape that is off by one.
	fecPenalty = 16

	// fecContradictions is how many packets more than a new shape the old one must leave unexplained before it is given
	// up: one outlier changes nothing. Over many groups it must be one in so many of the old shape's: a wrong shape
	// contradicts packets in every second group at least, an attacker those whose true packet got lost.
	fecContradictions = 2
	fecContradictedOf = 4

	// fecSupport is how many packets a shape must explain when some of the groups looked at are missing. Without a gap
	// two groups prove a shape however small they are; with gaps the small shapes fit by chance.
	fecSupport = 24

	// A search looks at some 10,000 positions, some 100,000 if there are wide gaps. Each packet earns a part of one, so
	// that a stream that no shape explains costs less than a microsecond a packet and not a search each.
	fecSearchEarned = 512
	fecSearchSaved  = 1 << 19
)

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
	cost = gaps.looked
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
		// What is proven by whole groups is borne out by the part of one too.
		if types.proves(window, total, wrong) || best.shape.data == k && window%total != 0 {
			shape.data = k
			best.shape, best.window, best.score, best.rival = shape, window, score, seen-fecPenalty*rival
		}
	}
	return best, cost
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
	enough := max(fecContradictions, t.window/current.total/fecContradictedOf)
	return fewer >= enough && oldest >= t.shape.total
}

// fecDetector decides when to search.
type fecDetector struct {
	fecHistory
	doubt int    // packets to go until the shape in use counts as right again
	since int    // packets since doubt began
	clock uint32 // packets
	last  bool   // the previous packet was parity

	searches, trusting fecAllowance // two, so that neither starves the other
}

// track notes a packet and returns the shape to use from it on: nearly always the one in use.
func (d *fecDetector) track(seqid uint32, parity bool, current fecShape) fecShape {
	d.observe(seqid, parity)
	d.clock++
	edge := parity != d.last
	d.last = parity
	if !current.fits(seqid, parity) {
		if d.doubt == 0 {
			d.since = 0
		}
		d.doubt = fecHistorySpan
	}
	if d.doubt == 0 {
		return current
	}
	d.doubt--
	d.since++
	// A change from data to parity or back tells most: some of what may be spent is kept for it.
	if left := d.searches.left(d.clock, fecSearchEarned); left < 0 || !edge && left < fecSearchSaved/2 {
		return current
	}
	// What is not contradicted for a whole group of the new shape is kept, see supersedes: so larger groups than the
	// packets since the first contradiction need not be tried. Twice that allows for packets lost.
	largest := fecMaxTotal
	if current.known() {
		largest = min(largest, 2*d.since)
	}
	best, cost := d.search(current, largest)
	d.searches.debt += cost
	if best.shape == current {
		return current
	}
	d.doubt = 0
	return best.shape
}

// fecAllowance is what may be spent on looking at positions: every packet earns some.
type fecAllowance struct {
	debt int    // spent and not yet earned
	paid uint32 // the clock when debt was reduced last
}

// left returns what may be spent now, when each packet earns so much; less than 0 after something that cost more than
// there was.
func (a *fecAllowance) left(clock uint32, earned int) int {
	a.debt -= int(min(clock-a.paid, fecSearchSaved/fecSearchEarned)) * earned
	a.debt, a.paid = max(a.debt, 0), clock
	return fecSearchSaved - a.debt
}
