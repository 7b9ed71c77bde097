// SPDX-License-Identifier: MIT

package kcp

import "math"

// burst counts the full segments that leave in an interval, to tell how soon a segment that is not
// full will be filled. Its clocks have 16 bits, to save memory: what happened a minute ago may look
// recent, and then a delayed write waits less than it should.
type burst struct {
	begin uint16 // on the clock's low 16 bits: when the present interval began
	full  uint16 // likewise: when the latest full segment left
	count uint8  // full segments in the present interval
	last  uint8  // and in the one before it
	spare uint8  // and since a segment left early that was not full
}

const (
	// burstLeast is how many full segments in an interval are a burst, and how many let one leave
	// early that is not full. So those add an eighth of packets at most.
	burstLeast = 8
	// burstGaps is how many times the mean distance of full segments a writer is awaited.
	burstGaps = 2
)

// elapsed returns the time since an instant of which the low 16 bits are known.
func elapsed(now millis, since uint16) millis { return millis(uint16(now) - since) }

// sent notes that a full segment leaves.
func (b *burst) sent(now, interval millis) {
	switch since := elapsed(now, b.begin); {
	case since >= 2*interval:
		b.begin, b.last, b.count = uint16(now), 0, 0
	case since >= interval:
		b.begin, b.last, b.count = uint16(now), b.count, 0
	}
	b.full = uint16(now)
	b.count = min(b.count, math.MaxUint8-1) + 1
	b.spare = min(b.spare, math.MaxUint8-1) + 1
}

// wait returns how long a segment that is not full waits for more data. Within a burst, a writer
// that goes on fills it much sooner than in an interval. One that does not go on may be waiting for
// its peer, which may be waiting for the rest of a message.
func (b *burst) wait(now, interval millis) millis {
	n := b.count
	switch since := elapsed(now, b.begin); {
	case since >= 2*interval:
		return interval
	case since < interval:
		n = max(n, b.last)
	}
	if n < burstLeast || elapsed(now, b.full) > max(interval/burstLeast, 1) {
		return interval
	}
	return min(burstGaps*interval/millis(n)+1, interval) // the clock may be about to tick
}

// release reports whether a segment that is not full may leave early, and counts it then.
func (b *burst) release(now, interval millis) bool {
	if b.spare < burstLeast || b.wait(now, interval) == interval {
		return false
	}
	b.spare -= burstLeast
	return true
}
