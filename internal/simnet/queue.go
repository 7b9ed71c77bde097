// SPDX-License-Identifier: MIT

package simnet

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// bucket is the content of a policer in bits times 1e9, as that of packet.left. The zero value is
// that of a link without a policer.
type bucket struct {
	policer Policer // whose tokens these are
	tokens  int64
	at      int64 // the instant of the last packet
}

// take reports whether a packet of size bytes passes at t, and takes its tokens if so.
func (b *bucket) take(p Policer, size int, t int64) bool {
	if p.Rate == 0 {
		*b = bucket{}
		return true
	}
	limit := int64(p.Bucket) * 8 * int64(time.Second)
	if b.policer != p {
		*b = bucket{policer: p, tokens: limit, at: t}
	}
	// A product that does not fit fills every bucket.
	hi, earned := bits.Mul64(uint64(t-b.at), uint64(p.Rate))
	if hi > 0 || earned > math.MaxInt64 {
		earned = math.MaxInt64
	}
	b.tokens += min(int64(earned), limit-b.tokens)
	b.at = t
	need := int64(size) * 8 * int64(time.Second)
	if need > b.tokens {
		return false
	}
	b.tokens -= need
	return true
}

// waits are how long the packets of a link waited for the line, in µs.
type waits struct{ times []uint32 }

// record notes the wait of p, which has left a line of so many bits a second at t. The time that p
// itself took on the line is not part of it.
func (w *waits) record(p *packet, t, rate int64) {
	if w == nil {
		return
	}
	wait := t - p.at
	if rate > 0 {
		wait -= int64(p.size) * 8 * int64(time.Second) / rate
	}
	w.times = append(w.times, uint32(min(max(wait, 0)/1000, math.MaxUint32)))
}

// MeasureQueue begins to note how long each packet waits for the line, and drops what was noted
// before. The notes take 4 bytes a packet.
func (l *Link) MeasureQueue() {
	l.net.do(func(int64) { l.waits = new(waits) })
}

// QueueDelay returns the quantile q, 0 to 1, of the times that packets have waited for the line
// since MeasureQueue, in whole microseconds. It is 0 if there were none.
func (l *Link) QueueDelay(q float64) time.Duration {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.waits == nil || len(l.waits.times) == 0 {
		return 0
	}
	slices.Sort(l.waits.times)
	i := min(int(q*float64(len(l.waits.times))), len(l.waits.times)-1)
	return time.Duration(l.waits.times[i]) * time.Microsecond
}
