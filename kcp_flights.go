// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"math/bits"
	"sync"
)

// A flightRing holds the records of the newest flushes, in the order of transmission.
type flightRing struct {
	records []flight  // a power of two of them, or none
	pooled  *[]flight // the same
	count   uint64    // records made
	oldest  uint64    // the number of the first record that came with a larger ring
	hint    uint64    // the number of the record found last
}

const (
	// flightsLeast and flightsMost bound the number of records.
	flightsLeast = 32
	flightsMost  = 512
	// flightsPerRound is how many records a round trip has at most. A session that flushes more
	// often has one record for several flushes.
	flightsPerRound = 128
)

// newest returns the newest record, nil if there is none.
func (r *flightRing) newest() *flight {
	if r.count == 0 {
		return nil
	}
	return r.at(r.count - 1)
}

func (r *flightRing) at(n uint64) *flight { return &r.records[n&uint64(len(r.records)-1)] }

// first returns the number of the oldest record that is kept.
func (r *flightRing) first() uint64 {
	return max(r.count-min(r.count, uint64(len(r.records))), r.oldest)
}

// add returns the place of a new record, and makes the ring larger while its oldest record is
// younger than two round trips: that may still be acknowledged.
func (r *flightRing) add(now, rtt instant) *flight {
	size := uint64(len(r.records))
	if size == 0 {
		r.hold(flightsLeast)
	} else if r.count >= size && size < flightsMost &&
		now-r.at(r.first()).sentAt < 2*rtt+flowUnpaced {
		old := *r
		r.oldest = old.first()
		r.hold(2 * size)
		for n := r.oldest; n != old.count; n++ {
			*r.at(n) = *old.at(n)
		}
		old.release()
	}
	r.count++
	return r.at(r.count - 1)
}

// find returns the record of a transmission, nil if it is not kept.
func (r *flightRing) find(order uint64) *flight {
	low, high := r.first(), r.count
	if low == high || order < r.at(low).order {
		return nil
	}
	// Acknowledgements mostly come in the order of transmission.
	for n := max(r.hint, low); n < min(r.hint+2, high); n++ {
		if r.at(n).order <= order && (n+1 == high || order < r.at(n+1).order) {
			r.hint = n
			return r.at(n)
		}
	}
	for high-low > 1 {
		middle := low + (high-low)/2
		if r.at(middle).order <= order {
			low = middle
		} else {
			high = middle
		}
	}
	r.hint = low
	return r.at(low)
}

// span returns the transmissions that have the record of order, none if it is not kept. It holds
// until there is a newer record.
func (r *flightRing) span(order uint64) flightSpan {
	f := r.find(order)
	if f == nil {
		return flightSpan{}
	}
	s := flightSpan{low: f.order, count: math.MaxUint64 - f.order, tag: f.tag}
	if n := r.hint + 1; n < r.count {
		s.count = r.at(n).order - f.order
	}
	return s
}

// flightPools has records by the logarithm of their number. So a session that sends now and then
// makes no garbage.
var flightPools [10]sync.Pool

// hold takes size records from their pool.
func (r *flightRing) hold(size uint64) {
	if r.pooled, _ = flightPools[bits.Len64(size)-1].Get().(*[]flight); r.pooled == nil {
		records := make([]flight, size)
		r.pooled = &records
	}
	r.records = *r.pooled
}

// release returns the records to their pool and empties the ring.
func (r *flightRing) release() {
	if r.pooled != nil {
		flightPools[bits.Len(uint(len(r.records)))-1].Put(r.pooled)
	}
	*r = flightRing{}
}
