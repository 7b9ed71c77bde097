// SPDX-License-Identifier: MIT

package kcp

import "math"

// flightLimit bounds what is in flight by what the path has been seen to deliver. It stands beside
// the controller. Without it a large window is sent at once. A short queue on the
// path then drops nearly all of it. On a path at memory speed it fills the peer's socket buffer and
// leaves the processor's caches before it is read.
//
// The limit counts rounds, from a transmission to its acknowledgement. Twice what the best of the
// recent rounds delivered may be in flight (S1.19). So the limit doubles each round until the path
// delivers no more, and random loss of up to a half does not lower it. On very short paths a round
// that takes too long indicates a queue, and the limit goes down.
type flightLimit struct {
	limit  uint32  // segments in flight
	best   uint32  // most segments delivered in a recent round
	fast   uint32  // the limit of a short path
	count  uint32  // segments delivered in this round
	floor  uint16  // the least limit
	mtu    uint16  // the size of full segments, 0: mtuDefault
	bound  bool    // the limit has blocked a segment in this round
	probe  uint64  // the transmission whose acknowledgement ends the round, 0 between rounds
	sentAt instant // when the round began
	least  instant // the shortest round: 0 before the first; or roundsUntimed
}

const (
	// flightStart is the initial limit, and the least on a path without loss. Legacy peers with
	// their usual settings send as much at once.
	flightStart = 128
	// flightLossy is the least limit after a loss. On 10 Mbit/s with a queue of 25 packets the
	// goodput was 88 % of the line with 128, and 95 % with 32.
	flightLossy = 32
	// flightFast is the least limit of a short path: twice what 10 Gbit/s hold in 0.2 ms. One half
	// is prepared while the other is under way.
	flightFast = 512
	// flightFew is the least of these bounds for large segments.
	flightFew = 8
	// flightPath is the longest round of a short path. Longer rounds set no limit by their time.
	flightPath = instant(8e6)
	// flightQueue is by how much a round may exceed twice the shortest one before it counts as
	// queued.
	flightQueue = instant(400e3)
	// roundsUntimed is the shortest round if rounds are not measured.
	roundsUntimed instant = -1
)

func (f *flightLimit) init() {
	f.limit, f.floor, f.fast, f.least = flightStart, flightStart, wndMax, roundsUntimed
}

// resize sets the size of full segments. The bounds are meant for those of the default MTU: the
// same bytes are fewer large segments.
func (f *flightLimit) resize(mtu int) {
	old := f.scaled(1 << 16)
	f.mtu = uint16(min(max(mtu, mtuDefault), math.MaxUint16))
	now := f.scaled(1 << 16)
	if old == now {
		return
	}
	rescale := func(n uint32) uint32 { return uint32(uint64(n) * uint64(now) / uint64(old)) }
	f.best, f.count = rescale(f.best), rescale(f.count)
	f.limit = max(rescale(f.limit), f.scaled(uint32(f.floor)))
	if f.fast < wndMax {
		f.fast = max(rescale(f.fast), f.scaled(flightFast))
	}
}

// scaled returns how many full segments have the bytes of n segments of the default MTU.
func (f *flightLimit) scaled(n uint32) uint32 {
	if f.mtu <= mtuDefault {
		return n
	}
	return max(n*mtuDefault/uint32(f.mtu), flightFew)
}

// timeRounds enables the measurement of rounds, for an owner with a clock finer than a millisecond.
func (f *flightLimit) timeRounds() { f.least = 0 }

// sent begins a round with a transmission, unless one is under way.
func (f *flightLimit) sent(order uint64, now instant) {
	if f.probe == 0 {
		f.probe, f.sentAt, f.count = order, now, 0
	}
}

// acked counts what has been delivered, and ends the round once the transmission that began it is
// acknowledged. newest is the highest transmission acknowledged so far. A peer that delays
// acknowledgements gives no measure of the time of a round.
func (f *flightLimit) acked(now instant, newest uint64, segments uint32, delayed bool) {
	f.count += segments
	if f.probe != 0 && newest >= f.probe {
		if !delayed && f.least != roundsUntimed {
			f.round(now - f.sentAt)
		}
		f.end()
	}
}

// lost ends the round early if the transmission that measures it is lost.
func (f *flightLimit) lost(order uint64) {
	f.floor = flightLossy
	if f.probe == order {
		f.bound = true
		f.end()
	}
}

func (f *flightLimit) end() {
	if f.bound {
		f.best -= f.best / 8
	}
	f.best = max(f.best, f.count)
	f.limit = min(max(2*f.best, f.scaled(uint32(f.floor))), f.fast)
	f.probe, f.bound = 0, false
}

// round evaluates the time of a round on a short path.
func (f *flightLimit) round(took instant) {
	if f.least == 0 || took < f.least {
		f.least = took
	}
	switch {
	case f.least >= flightPath:
		f.fast = wndMax
	case took > 2*f.least+flightQueue:
		f.fast = max(min(f.fast, f.limit)*3/4, f.scaled(flightFast))
	case f.bound:
		f.fast = min(f.fast+f.fast/8, wndMax)
	}
}

// short reports whether rounds have shown that the path is short.
func (f *flightLimit) short() bool { return f.least > 0 && f.least < flightPath }

// holds reports whether another segment has to wait.
func (f *flightLimit) holds(inFlight uint32) bool {
	if inFlight < f.limit {
		return false
	}
	f.bound = true
	return true
}
