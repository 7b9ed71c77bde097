// SPDX-License-Identifier: MIT

package kcp

import "unsafe"

// A flow is what a sender keeps while more than a few segments are in flight: what is in flight and
// what was delivered, in bytes, the records of recent flushes, and the pace. It knows neither
// segments nor the wire. A sender without a flow is not limited by its controller.
type flow struct {
	cc      controller
	flights flightRing

	inFlight    int64
	delivered   uint64  // bytes acknowledged
	lost        uint64  // bytes found lost
	deliveredAt instant // of the newest transmission acknowledged
	firstSentAt instant // when it was sent
	limited     uint64  // transmissions are limited until so much is delivered, 0: they are not
	minRTT      instant // the shortest round trip, 0 before the first
	rtt         instant // the latest, flowUnmeasured before the first
	longSince   instant // since when the round trips of a short path are long, 0: they are not
	sentAt      instant // the newest transmission
	open        *flight // the record of the flush that goes on, nil if it has sent nothing

	event  ackEvent   // of the datagram that is being processed
	newest uint64     // the highest transmission that it acknowledges
	named  uint64     // the highest that it names
	last   flightSpan // of the record that an acknowledgement was for last

	mss     int64  // bytes of a full segment with its header
	window  int64  // the controller's, in bytes
	most    uint32 // likewise, in segments
	rate    int64  // the controller's, in bytes a second, 0 for no pacing
	quantum int64
	sight   lossSight
	scale   int64   // thousandths of a byte on the path for a byte of a segment, 0: 1000
	burst   int64   // bytes that leave whatever the rate, after a silence
	next    instant // when the rate allows the next byte
	release instant // when the next quantum leaves
	perByte int64   // time of a byte at the rate, in 2^-20 ns
}

// A flightSpan is the transmissions of a record, those from low to before low+count.
type flightSpan struct {
	low, count uint64
	tag        uint8
}

const (
	// flowLeast is how many segments in flight make a flow. As many may always be sent at once
	// (RFC 6928), so a game or a telephone call never has a flow.
	flowLeast = 10
	// flowIdle is how long a flow without anything in flight is kept.
	flowIdle = 10 * second
	// flowUnpaced is the shortest round trip that is paced. Below it a timer is too coarse.
	flowUnpaced = millisecond
	// flowLonger is how long the round trips of a short path have to be longer than flightPath
	// until it is another path.
	flowLonger = 2 * second
	// flowUnmeasured stands in for the round trip before it is measured.
	flowUnmeasured = second
	// paceCredit is how much time a late wake-up may make up for.
	paceCredit = 5 * millisecond
	// leastPace is the lowest rate, in bytes a second.
	leastPace = 1000
	// pacedBurst is how many full segments may leave at once after a silence.
	pacedBurst = 10
)

func newFlow(cc controller, now instant, mss int) *flow {
	f := &flow{cc: cc, mss: int64(mss), firstSentAt: now, deliveredAt: now, sentAt: now}
	f.event.rtt, f.rtt = -1, flowUnmeasured
	f.obey()
	return f
}

// obey takes over what the controller allows.
func (f *flow) obey() {
	f.window, f.most = f.cc.window()
	rate, quantum := f.cc.pace()
	f.quantum = quantum
	if rate != f.rate {
		f.rate, f.perByte = rate, int64(second)<<20/max(rate, leastPace)
	}
}

// adopt counts a segment that has been sent before the flow began.
func (f *flow) adopt(bytes int64) { f.inFlight += bytes }

// sent notes the transmission number order.
func (f *flow) sent(now instant, order uint64, bytes int64) {
	if f.inFlight == 0 {
		f.firstSentAt, f.deliveredAt = now, now
		if now-f.sentAt >= max(f.minRTT, 1) {
			f.burst = pacedBurst * f.mss
		}
	}
	if f.open == nil {
		f.open = f.record(now, order)
	}
	f.inFlight += bytes
	f.sentAt = now
	f.charge(now, bytes)
}

// record begins the record of a flush, or goes on with the newest if that is not old.
func (f *flow) record(now instant, order uint64) *flight {
	if r := f.flights.newest(); r != nil && f.minRTT > 0 && now-r.sentAt < f.rtt/flightsPerRound {
		return r
	}
	f.last = flightSpan{}
	r := f.flights.add(now, f.rtt)
	*r = flight{
		order: order, sentAt: now, firstSentAt: f.firstSentAt, deliveredAt: f.deliveredAt,
		delivered: f.delivered, lost: f.lost, limited: f.limited != 0,
	}
	return r
}

// flushed ends a flush. limited means that neither the window nor the pace has held back data.
func (f *flow) flushed(now instant, limited bool) {
	if limited {
		f.limited = max(f.delivered+uint64(f.inFlight), 1)
	}
	if f.open == nil {
		return
	}
	f.open.inFlight, f.last = f.inFlight, flightSpan{}
	f.cc.sent(now, f.open)
	f.obey()
	f.open = nil
}

// acked notes that a segment has been acknowledged. order is the transmission that has arrived, 0
// if that is unknown. exact means that the acknowledgement has named it.
func (f *flow) acked(now instant, order uint64, bytes int64, exact bool) {
	f.delivered += uint64(bytes)
	f.deliveredAt = now
	f.event.bytes += bytes
	f.event.segments++
	if order == 0 {
		return
	}
	if order-f.last.low >= f.last.count {
		f.last = f.flights.span(order)
	}
	if f.last.tag != 0 {
		f.event.tagged++
	}
	f.newest = max(f.newest, order)
	if exact {
		f.named = max(f.named, order)
	}
}

// gone notes that a transmission is not in flight any more, whatever its fate.
func (f *flow) gone(bytes int64) { f.inFlight -= bytes }

// lose notes that a transmission in flight was lost.
func (f *flow) lose(now instant, l *lossEvent) {
	l.inFlight = f.inFlight
	f.lost += uint64(l.bytes)
	f.event.lost += l.bytes
	l.flight = f.flights.find(l.order)
	f.cc.lost(now, l)
	f.obey()
}

// spurious reverts lose.
func (f *flow) spurious(now instant, bytes int64) {
	f.lost -= min(f.lost, uint64(bytes))
	f.cc.spurious(now, bytes)
	f.obey()
}

// endInput reports what a datagram has acknowledged. timed is false if it came late, such as one
// that FEC has recovered.
func (f *flow) endInput(now instant, left, limit uint32, manner ackManner, timed bool) {
	e := &f.event
	if e.segments == 0 && e.lost == 0 {
		return
	}
	if f.newest != 0 && timed {
		f.measure(now)
	}
	if f.delivered > f.limited {
		f.limited = 0
	}
	e.inFlight, e.left, e.limit, e.manner = f.inFlight, left, limit, manner
	e.sight = f.sight
	e.delivered, e.lostTotal = f.delivered, f.lost
	f.cc.acked(now, e)
	f.obey()
	*e = ackEvent{rtt: -1}
	f.newest, f.named = 0, 0
}

// measure takes a round-trip time and a delivery rate from the newest transmission acknowledged
// (draft-ietf-ccwg-bbr, section 4.1.2.3). The rate is that of the slower of sending and
// acknowledging, so that no acknowledgement, however early, makes it exceed what was sent.
func (f *flow) measure(now instant) {
	e, r := &f.event, f.flights.find(f.newest)
	if r == nil {
		return
	}
	e.newest = r
	if f.named == f.newest {
		e.rtt = max(now-r.sentAt, 1)
		f.noteRTT(now, e.rtt)
	}
	e.sample = int64(f.delivered - r.delivered)
	took := max(r.sentAt-r.firstSentAt, f.deliveredAt-r.deliveredAt)
	f.firstSentAt = r.sentAt
	if took >= f.minRTT && took > 0 {
		e.rate = mulDiv(e.sample, int64(second), int64(took))
	}
}

// noteRTT takes a round-trip time.
func (f *flow) noteRTT(now, rtt instant) {
	f.rtt = rtt
	if f.minRTT == 0 || rtt < f.minRTT {
		f.minRTT = rtt
	}
	if !f.short() || rtt < flightPath {
		f.longSince = 0
	} else if f.longSince == 0 {
		f.longSince = max(now, 1)
	}
}

// outgrown reports whether a path that was short has become another one.
func (f *flow) outgrown(now instant) bool {
	return f.longSince != 0 && now-f.longSince >= flowLonger
}

// short reports whether the round trip is too short to be paced.
func (f *flow) short() bool { return f.minRTT > 0 && f.minRTT < flowUnpaced }

// allows reports whether the window has room for another segment beside so many. On a path that is
// too short to be paced, only a window of segments counts.
func (f *flow) allows(segments uint32) bool {
	return segments < f.most && (f.inFlight < f.window || f.short())
}

// paces reports whether the next segment waits for the rate.
func (f *flow) paces(now instant) bool {
	return f.rate > 0 && f.burst <= 0 && now < f.release && !f.short()
}

// charge takes bytes from what the rate allows. Once that is used up, the next segment waits until
// a quantum may leave.
func (f *flow) charge(now instant, bytes int64) {
	if f.scale != 0 {
		bytes = bytes * f.scale / 1000
	}
	switch {
	case f.rate == 0, f.short():
		return
	case f.burst > 0:
		if f.burst -= bytes; f.burst <= 0 {
			f.next = now
			f.release = now + f.takes(f.quantum)
		}
		return
	}
	quantum := f.takes(f.quantum)
	f.next = max(f.next, now-max(paceCredit, quantum)) + f.takes(bytes)
	if f.next > now {
		f.release = f.next + max(quantum-f.takes(f.mss), 0)
	}
}

// resize sets the size of a full segment with its header.
func (f *flow) resize(mss int) {
	f.mss = int64(mss)
	f.cc.resized(mss)
	f.obey()
}

// collapsed notes that nothing has been acknowledged for three timeouts in a row.
func (f *flow) collapsed(now instant) {
	f.cc.collapsed(now)
	f.obey()
}

// takes returns how long so many bytes take at the rate.
func (f *flow) takes(bytes int64) instant {
	return instant(bytes * f.perByte >> 20)
}

// forget returns the records to their pool. The flow is used no more, or has nothing in flight.
func (f *flow) forget() { f.flights.release() }

// idleAt returns when a flow without anything in flight is dropped.
func (f *flow) idleAt() instant { return f.sentAt + flowIdle }

// size returns how many bytes of memory the flow takes.
func (f *flow) size() int {
	return int(unsafe.Sizeof(*f)) + len(f.flights.records)*int(unsafe.Sizeof(flight{}))
}
