// SPDX-License-Identifier: MIT

package kcp

import "math"

// ackThinning makes acknowledgements rarer where they wait in a queue. 10 Mbit/s take 450 a second,
// of which a return path of 20 kbit/s carries 48. The others delay or displace each other (RFC 3449
// section 4).
//
// While a stream arrives, its receiver measures the path by PING. The ts of the data tells how much
// of a round trip is the queue of the data itself. Acknowledgements are delayed by a quarter of the
// rest of the excess over the shortest round trip (S1.27). So the queue settles where all
// acknowledgements fit, and a path without a queue is not slowed down. Peers that do not know PING
// are acknowledged as usual.
type ackThinning struct {
	askedAt uint16 // on the clock's low 16 bits: when the latest PING left
	forward uint16 // clock minus ts of the fastest PUSH; invalid while least is 0
	least   uint16 // the shortest round trip, ms, plus one; 0: none yet
	quarter uint8  // of what the latest took longer, ms
	asked   uint8  // how many PINGs have left since the latest answer
}

const (
	// thinShare is the divisor of the excess. With a quarter, 20 kbit/s settle at a queue of 85 ms.
	thinShare = 4
	// thinLeast and thinMost bound the delay. Less is noise of a busy machine or a queue of data.
	// 100 ms is the delay of legacy peers with default settings.
	thinLeast millis = 10
	thinMost  millis = 100
	// thinPing is the shortest interval of measurements while the path has no queue.
	thinPing millis = 100
	// thinStale is the greatest age of a measurement. The stream has paused meanwhile.
	thinStale millis = 3000
	// thinLate is how many usual round trips a PING takes before it is repeated, thinLost the least
	// time.
	thinLate        = 4
	thinLost millis = 500
	// thinAsked bounds the doubling of that wait.
	thinAsked = 4
)

// usual returns the latest round trip, as far as it is known.
func (t *ackThinning) usual() millis { return millis(t.least) + thinShare*millis(t.quarter) }

// since returns how long ago the latest PING left, modulo 2^16 ms.
func (t *ackThinning) since(now millis) millis { return millis(uint16(now) - t.askedAt) }

// wait returns how long acknowledgements of a stream are delayed, 0 for not at all. Where a queue
// has been seen, a late PING indicates that the queue has grown.
func (t *ackThinning) wait(now millis) millis {
	since, quarter := t.since(now), millis(t.quarter)
	if t.least == 0 || since >= thinStale || quarter < thinLeast {
		return 0
	}
	if t.asked > 0 { // the queue grows
		quarter = max(quarter, (min(since, thinLate*t.usual())-millis(t.least-1))/thinShare)
	}
	return min(quarter, thinMost)
}

// answered processes the answer to a PING. The newest PUSH arrived at newestAt and was sent at ts
// on the peer's clock.
func (t *ackThinning) answered(now, newestAt millis, ts timestamp) {
	if t.asked == 0 {
		return
	}
	rtt := min(uint16(t.since(now)), 1<<15)
	took := uint16(newestAt) - uint16(ts)
	if t.least == 0 || int16(took-t.forward) < 0 {
		t.forward = took
	}
	if t.least == 0 || rtt < t.least-1 {
		t.least = rtt + 1
	}
	queued := rtt + 1 - t.least
	queued -= min(took-t.forward, queued) // of the data
	// It goes down slowly, because the queue is gone for as long as acknowledgements are delayed.
	t.quarter = max(uint8(min(queued/thinShare, math.MaxUint8)), uint8(int(t.quarter)*3/4))
	t.asked = 0
}
