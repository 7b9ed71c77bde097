// SPDX-License-Identifier: MIT

package kcp

import "math"

// readRound measures how much arrives and is read in a round trip, to find out whether the receive
// window limits the peer. That is dynamic right-sizing (Fisk and Feng, 2001), which TCP does too.
// The numbers are the low 16 bits of a clock or of a count.
type readRound struct {
	at      uint16 // when the round began, ms
	read    uint16 // segments read by then
	arrived uint16 // segments received by then
	peak    uint16 // the most that arrived in one of the recent rounds
	rtt     uint16 // the round trip, ms, 0 if unknown
}

// roundMost is the longest round trip in ms. A peer that answers late makes a round no longer than
// that.
const roundMost = 3000

// measured takes the time of a round trip.
func (r *readRound) measured(took millis) {
	took = min(max(took, 1), roundMost)
	if r.rtt > 0 {
		took = (took + millis(r.rtt) + 1) / 2
	}
	r.rtt = uint16(took)
}

// unmeasuredMost is the largest window, in segments, that a round of unknown length calls for.
const unmeasuredMost = 256

// next returns the window that the round calls for, and begins another round if it is over. read
// and arrived are the segments read and received since the session began. waiting are those that
// the program could read before the latest datagram came, which may have filled a gap before many
// more. gapped are those behind a gap. window is the present one.
//
// While the program keeps up, the window is four times what has arrived in the round: the window
// may have limited that. It is eight times as much behind a gap, which takes several rounds if a
// segment is lost again. Otherwise it is twice what was read in the round. So a program that reads
// slowly gets no more, nor does a peer that leaves a gap.
func (r *readRound) next(now millis, read, arrived uint16, waiting, gapped, window uint32) uint32 {
	took := uint16(now) - r.at
	n, in := uint32(read-r.read), uint32(arrived-r.arrived)
	keepsUp := n > 0 && 4*waiting <= window
	times := uint32(4)
	if gapped > 0 {
		times = 8
	}
	switch {
	case r.rtt > 0 && took >= r.rtt:
	case !keepsUp || 2*n < in:
		return 0
	case r.rtt == 0:
		return min(times*in, unmeasuredMost)
	default:
		return min(times*in, math.MaxUint16)
	}
	// What was counted in a longer time counts in part.
	n, in = n*uint32(r.rtt)/uint32(took), in*uint32(r.rtt)/uint32(took)
	r.at, r.read, r.arrived = uint16(now), read, arrived
	r.peak = uint16(max(in, uint32(r.peak-r.peak/8)))
	most := min(times*uint32(r.peak), math.MaxUint16)
	if keepsUp {
		return most
	}
	return min(2*n, most)
}
