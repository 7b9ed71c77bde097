// SPDX-License-Identifier: MIT

package kcp

const (
	// fecSpreadMean is the mean time in ms between data packets up to which the parity of a group
	// is spread over the next one: 200 packets a second.
	fecSpreadMean = 5

	// fecSpreadGap is the longest time in ms between two data packets up to which it is spread.
	// After a longer one the next group may be late as well.
	fecSpreadGap = 20
)

// fecTrail is the parity of a group that is sent between the data packets of the next one (S2.26).
// A burst of losses thus does not take the last data of a group together with its parity.
type fecTrail struct {
	buffers [][]byte // of which the first count are parity packets, each of that size
	size    int
	next    int // to be sent
	count   int
	at      int64 // when the group was complete, as nowMillis of encode
	share   parityShare
}

// left returns how many parity packets are held.
func (r *fecTrail) left() int { return r.count - r.next }

// take returns the next parity packet and its share. It is valid until the next encode.
func (r *fecTrail) take() (packet []byte, share *parityShare) {
	r.next++
	return r.buffers[r.next-1][:r.size], &r.share
}

// drop drops what is held.
func (r *fecTrail) drop() { r.next, r.count = 0, 0 }

// fecPace is how fast the data packets of the open group follow each other, in ms of encode's
// clock. It includes the time before the first one.
type fecPace struct {
	from int64 // when the group before was complete
	gap  int64 // the longest
}

// spreads reports whether a group of so many packets that is complete now came fast enough for its
// parity to wait.
func (p *fecPace) spreads(packets int, now int64) bool {
	return p.gap <= fecSpreadGap && now-p.from <= int64(packets)*fecSpreadMean
}

// due returns how many parity packets of the group before are to be sent behind the data packet
// that was just encoded. One follows each data packet. All do if the group is complete, because its
// own are ready, and if the data has slowed down.
func (e *fecEncoder) due(ready int, nowMillis int64) int {
	left := e.trail.left()
	if ready > 0 || nowMillis-e.trail.at > int64(e.trail.count)*fecSpreadMean {
		return left
	}
	return min(left, 1)
}

// hold keeps the parity that is ready, if it is to be spread over the next group, and reports
// whether it does. Nothing may be held. The parity of a group of less data than parity is not.
func (e *fecEncoder) hold(nowMillis int64) bool {
	if e.format != fecNamed || e.ready == 0 || e.shape.data < e.ready ||
		!e.pace.spreads(e.shape.data, nowMillis) {
		return false
	}
	r := &e.trail
	r.buffers, e.buffers = e.buffers, r.buffers
	r.size, r.at, r.share = e.head+e.longest, nowMillis, e.share
	r.next, r.count = 0, e.ready
	e.ready, e.share = 0, parityShare{}
	if len(e.buffers) != len(r.buffers) { // there were none yet, or of another shape
		e.free(e.buffers)
		e.buffers = make([][]byte, len(r.buffers))
	}
	return true
}

// free releases buffers.
func (e *fecEncoder) free(buffers [][]byte) {
	for _, b := range buffers {
		if b != nil {
			e.held.Add(-int32(cap(b)))
			putBuffer(b)
		}
	}
}
