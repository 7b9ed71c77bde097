// SPDX-License-Identifier: MIT

package kcp

// reordering is how much longer than usual an overtaken segment is waited for (RFC 8985
// section 6.2, step 4).
type reordering struct {
	at    uint32 // low bits of the time of the latest loss that was none
	steps uint8  // of delay beyond that of RFC 9002
	calm  uint8  // losses since then, in rounds
}

const (
	reorderSteps = 16 // most steps
	reorderCalm  = 16 // rounds with a loss that take the steps back
)

// spurious notes that a segment was not lost but late. It counts once a round trip.
func (r *reordering) spurious(now, rtt millis) {
	if r.steps == 0 || millis(uint32(now)-r.at) >= rtt {
		r.steps = min(r.steps+1, reorderSteps)
		r.at = uint32(now)
	}
	r.calm = 0
}

// lost notes a loss. It counts once a round trip.
func (r *reordering) lost(now, rtt millis) {
	if r.steps == 0 || millis(uint32(now)-r.at) < rtt {
		return
	}
	r.at = uint32(now)
	if r.calm++; r.calm >= reorderCalm {
		r.steps, r.calm = 0, 0
	}
}
