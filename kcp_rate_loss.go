// SPDX-License-Identifier: MIT

package kcp

import "math"

// lossOne is a loss rate of 1. Loss rates are fractions of it.
const lossOne = int64(1) << 16

// lossFloor tells random losses from those of a full queue by when they occur. What is lost while
// no queue stands, and while the sender sends less than the path delivers, is the path's own.
type lossFloor struct {
	floor      int64 // the random loss rate
	dispersion int64 // how much burstier than independent losses, in units of dispersionOne

	// The bucket that is being filled, in segments.
	acked uint32
	lost  uint32

	acks, quietAcks    uint32 // acknowledgements of this bucket: all, and those without a queue
	judged, queuedAcks uint32 // those of this loss round: all, and those with a queue

	keptCount uint32
	allCount  uint32
	calmCount uint32
	kept      [32]lossBucket // without a standing queue
	all       [16]lossBucket
	calm      [16]lossBucket // a phase of sending less than the path delivers each
}

// lossBucket is the outcome of a number of transmissions.
type lossBucket struct {
	at   uint32 // milliseconds
	n    uint16 // segments
	lost uint16 // of them
}

const (
	bucketFull    = 60 // segments
	bucketFirst   = 20
	bucketWindow  = 10 * second
	calmLeast     = 30 // segments
	calmMost      = 1000
	dispersionOne = 16
	// floorLeast is the loss rate below which a path counts as one without random loss.
	floorLeast = lossOne * 3 / 1000
	// excessLeast is the loss beyond the floor that always counts as random, that of the draft.
	excessLeast = lossOne / 50
	// startupExcess is the further loss that ends startup without a queue. A line with a short
	// queue loses half of what is sent at twice its rate.
	startupExcess = lossOne * 8 / 100
)

func newLossBucket(at, n, lost uint32) lossBucket {
	for n > math.MaxUint16 {
		n, lost = n/2, lost/2
	}
	return lossBucket{at, uint16(n), uint16(min(lost, n))}
}

// rate returns the share that was lost.
func (b lossBucket) rate() int64 { return int64(b.lost) * lossOne / max(int64(b.n), 1) }

// add counts further transmissions.
func (b *lossBucket) add(n, lost uint32) {
	*b = newLossBucket(b.at, uint32(b.n)+n, uint32(b.lost)+lost)
}

// within reports whether a bucket is of the last time.
func (b lossBucket) within(now uint32) bool {
	return b.n > 0 && now-b.at < uint32(bucketWindow.ms())
}

func (l *lossFloor) init() { l.dispersion = dispersionOne }

// known reports whether the loss rate has been measured.
func (l *lossFloor) known() bool { return l.allCount > 0 }

// nextCalm begins another calm phase.
func (l *lossFloor) nextCalm() {
	l.calmCount++
	*l.calmNow() = lossBucket{}
}

func (l *lossFloor) calmNow() *lossBucket { return &l.calm[l.calmCount%uint32(len(l.calm))] }

// noteLost counts a lost segment, which may have been sent in a calm phase.
func (l *lossFloor) noteLost(calm bool) {
	l.lost++
	if calm {
		l.calmNow().add(1, 1)
	}
}

// takeBack reverts noteLost.
func (l *lossFloor) takeBack(segments uint32) { l.lost -= min(l.lost, segments) }

// noteAcked counts acknowledged segments, and those of them that were sent in a calm phase. What a
// probe loses is none of the floor, even if its queue is too short to be seen.
func (l *lossFloor) noteAcked(segments, calm uint32, queued, probed bool) {
	l.acked += segments
	l.calmNow().add(calm, 0)
	l.acks++
	l.judged++
	if queued {
		l.queuedAcks++
	}
	if !queued && !probed {
		l.quietAcks++
	}
}

// queued reports whether a queue stood in a tenth of this loss round.
func (l *lossFloor) queued() bool { return 10*uint64(l.queuedAcks) > uint64(l.judged) }

func (l *lossFloor) resetQueued() { l.queuedAcks, l.judged = 0, 0 }

// round ends the bucket if it is full, and estimates the floor then.
func (l *lossFloor) round(now instant) {
	n := l.acked + l.lost
	if n < bucketFull && (l.known() || n < bucketFirst) {
		return
	}
	b := newLossBucket(uint32(now.ms()), n, l.lost)
	l.all[l.allCount%uint32(len(l.all))] = b
	l.allCount++
	if 4*uint64(l.quietAcks) >= 3*uint64(l.acks) || b.rate() < l.floor {
		l.kept[l.keptCount%uint32(len(l.kept))] = b
		l.keptCount++
	}
	l.acked, l.lost, l.acks, l.quietAcks = 0, 0, 0, 0
	l.estimate(b)
}

// estimate computes the floor and the dispersion after another bucket.
func (l *lossFloor) estimate(newest lossBucket) {
	var count, sum int64
	for _, b := range l.kept {
		if b.within(newest.at) {
			sum += b.rate()
			count++
		}
	}
	if count == 0 {
		// Other flows keep the queue full. Without a floor this one would yield to each loss.
		l.floor = max(l.floor, l.calmRate(0))
		return
	}
	mean := sum / count
	l.dispersion = dispersionOne
	if count >= 4 && mean > 0 {
		var v int64
		for _, b := range l.kept {
			if b.within(newest.at) {
				d := b.rate() - mean
				v += d * d
			}
		}
		// The variance of the buckets over that of independent losses.
		d := mulDiv(v/(count-1)*dispersionOne, int64(newest.n), mean*(lossOne-mean))
		l.dispersion = min(max(d, dispersionOne), 20*dispersionOne)
	}
	l.floor = mean
	if q, n := l.calmSum(); n >= calmLeast {
		margin := lossOne * 3 * (dispersionOne + l.dispersion) / (4 * dispersionOne * n)
		l.floor = min(mean, q+2*l.deviation(q, n)+margin)
	}
}

// deviation returns the standard deviation of the loss rate of n segments where the path loses q.
func (l *lossFloor) deviation(q, n int64) int64 {
	return sqrt(l.dispersion * q * (lossOne - q) / (dispersionOne * n))
}

// calmSum returns the loss rate of the newest calm phases, and their segments.
func (l *lossFloor) calmSum() (rate, n int64) {
	var lost int64
	for i := uint32(0); i < uint32(len(l.calm)) && n < calmMost; i++ {
		b := l.calm[(l.calmCount-i)%uint32(len(l.calm))]
		n += int64(b.n)
		lost += int64(b.lost)
	}
	return lost * lossOne / max(n, 1), n
}

// threshold returns the loss rate of n segments above which it indicates congestion.
func (l *lossFloor) threshold(n int64) int64 {
	n = max(n, 1)
	q := l.floor
	if q < floorLeast {
		return excessLeast
	}
	return min(q+excessLeast+5*l.deviation(q, n)/2+3*lossOne/n, lossOne*6/10)
}

// startThreshold is threshold during startup, which makes losses of its own. So the best bucket
// counts, and the losses have to be many unless a queue stands.
func (l *lossFloor) startThreshold(n int64, queued bool) int64 {
	least := lossOne
	for _, b := range l.all {
		if b.n >= bucketFull {
			least = min(least, b.rate())
		}
	}
	n = max(n, 1)
	t := least + excessLeast + 5*l.deviation(least, n)/2 + 3*lossOne/n
	if !queued {
		t += startupExcess
	}
	return min(t, lossOne-1)
}

// contrast reports whether more is lost, by a share of at least least, than in calm phases.
func (l *lossFloor) contrast(least int64) bool {
	q, n := l.calmSum()
	if n < calmLeast {
		return false
	}
	var all, lost int64
	for _, b := range l.all {
		all += int64(b.n)
		lost += int64(b.lost)
	}
	return lost*lossOne/max(all, 1) > q+least+5*l.deviation(q, n)/2+2*lossOne/n
}

// newest returns the loss rate of the newest bucket.
func (l *lossFloor) newest() int64 { return l.all[(l.allCount-1)%uint32(len(l.all))].rate() }

// calmRate returns the loss rate of the calm phases, or a substitute if they are too few.
func (l *lossFloor) calmRate(substitute int64) int64 {
	if q, n := l.calmSum(); n >= calmLeast {
		return q
	}
	return substitute
}

// dropBucket drops what has been counted since the last bucket was full, and in this calm phase.
func (l *lossFloor) dropBucket() {
	l.acked, l.lost, l.acks, l.quietAcks = 0, 0, 0, 0
	*l.calmNow() = lossBucket{}
}

// forget drops what was measured while more was sent than the path sustains.
func (l *lossFloor) forget() {
	clear(l.kept[:])
	clear(l.all[:])
	l.acked, l.lost, l.acks, l.quietAcks = 0, 0, 0, 0
	l.floor = l.calmRate(0)
}
