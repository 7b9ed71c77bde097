// SPDX-License-Identifier: MIT

package kcp

const (
	// fecTrustGroups is how many groups trusts looks at. A wrong shape contradicts packets in every second one, less
	// what is lost; fecTrustRate is in how many there must be one for another shape to be the better one.
	fecTrustGroups = 9
	fecTrustRate   = 3
	fecTrustEarned = 1024 // positions a packet, as fecSearchEarned: some 1.5 us
)

// trusts reports whether the packets around the group that begins at base bear the shape in use out well enough to
// recover with it. A wrong shape makes packets up: out of packets alike in size and header comes one that looks like
// them. What tells it is that another shape explains better what came since this group's first packet, or since that of
// one of the groups before; an outlier makes no other shape better.
//
// What that takes has an allowance as searching has; while nothing is left of it the answer is no.
func (d *fecDetector) trusts(shape fecShape, base uint32) bool {
	if d.doubt == 0 {
		return true
	}
	if d.trusting.left(d.clock, fecTrustEarned) < 0 {
		return false
	}
	first := min(max(int(int32(d.head-base)), 0)+1, d.span)
	looks, n := d.looks(shape, first)
	if looks[n-1].wrong == 0 {
		return true
	}
	gaps := d.boundaries(fecHistorySpan)
	d.trusting.debt += gaps.looked
	for total := 2; total <= fecMaxTotal; total++ {
		if (gaps.n < len(gaps.low) || gaps.fit(total)) && d.beats(shape, total, looks[:n]) {
			return false
		}
	}
	return true
}

// fecLook is one look back: how many positions it takes in, how many of the packets there contradict the shape in use,
// and how many fewer another shape must contradict to be the better one.
type fecLook struct {
	window, wrong, fewer int
}

// looks lists the looks back to the first packet of a group and to that of each group before which adds a contradiction;
// there is always one.
func (d *fecDetector) looks(shape fecShape, first int) (looks [fecTrustGroups]fecLook, n int) {
	var types fecTypes
	last := min(d.span, first+(fecTrustGroups-1)*shape.total)
	pos, step := d.head, first
	for window := first; window <= last; window += step {
		pos = d.count(&types, shape, pos, step)
		step = shape.total
		if wrong := types.against(shape); n == 0 || wrong > looks[n-1].wrong {
			looks[n] = fecLook{window, wrong, 1 + (window-1)/shape.total/fecTrustRate}
			n++
		}
	}
	return looks, n
}

// beats reports whether another shape with groups of this size is better in one of the looks.
func (d *fecDetector) beats(shape fecShape, total int, looks []fecLook) bool {
	var types fecTypes
	pos, window := d.head, 0
	for _, look := range looks {
		pos = d.count(&types, fecShape{total: total}, pos, look.window-window)
		d.trusting.debt += look.window - window + total
		window = look.window
		if _, contradicted, _ := types.cut(total, shape); look.wrong-contradicted >= look.fewer {
			return true
		}
	}
	return false
}
