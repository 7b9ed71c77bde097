// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"slices"
)

// controlLine is a bottleneck with a drop-tail queue, in virtual time, and the flows that send
// through it. Every segment is full. Acknowledgements arrive in order, none is lost.
type controlLine struct {
	now    instant
	rate   int64   // bytes a second
	delay  instant // round trip without a queue
	queue  int64   // bytes
	bucket int64   // bytes of a policer's burst; it discards instead of queueing if not 0
	loss   float64 // random, of segments
	batch  instant // interval of acknowledgements, 0 for one a segment
	random *rand.Rand
	flows  []*controlFlow

	busy    instant // when the queue will be empty
	tokens  int64
	filled  instant   // when tokens was up to date
	drops   int64     // segments
	waits   []instant // in the queue, of each segment since the last call of p95
	highest instant   // wait in the queue since it was reset
}

// controlFlow is a sender with a controller.
type controlFlow struct {
	line *controlLine
	c    controller
	mss  int64

	// pause and supply limit what the program sends.
	pause  bool
	supply int64 // bytes a second, 0 for no limit
	ready  instant

	packets     []controlPacket // in flight, in order, from head on; some are done
	head        int
	order       uint64
	delivered   uint64
	lostTotal   uint64
	inFlight    int64
	deliveredAt instant
	firstSentAt instant
	nextSend    instant
	limitedTo   uint64
	srtt        instant
	least       instant
	onAck       func() // is called after each acknowledgement
}

type controlPacket struct {
	order  uint64
	at     instant
	ackAt  instant // 0 if it was dropped
	record *flight
	done   bool // acknowledged or lost
}

const controlMSS = 1400

// newControlLine returns a line with a queue of so many milliseconds, and a flow for each
// controller.
func newControlLine(rate int64, delay, queue instant, cs ...controller) *controlLine {
	l := &controlLine{now: second, rate: rate, delay: delay, random: rand.New(rand.NewPCG(1, 2))}
	l.queue = during(rate, queue)
	for _, c := range cs {
		l.flows = append(l.flows, &controlFlow{line: l, c: c, mss: controlMSS, least: noRTT})
	}
	return l
}

// mbit returns the bytes a second of so many Mbit/s.
func mbit(n float64) int64 { return int64(n * 1e6 / 8) }

// pass returns when the bottleneck has sent a segment.
func (l *controlLine) pass(size int64) (depart instant, ok bool) {
	if l.bucket > 0 {
		l.tokens = min(l.bucket, l.tokens+during(l.rate, l.now-l.filled))
		l.filled = l.now
		if l.tokens < size {
			l.drops++
			return 0, false
		}
		l.tokens -= size
		return l.now, true
	}
	l.busy = max(l.busy, l.now)
	wait := l.busy - l.now
	if during(l.rate, wait)+size > max(l.queue, 4*size) {
		l.drops++
		return 0, false
	}
	l.waits = append(l.waits, wait)
	l.highest = max(l.highest, wait)
	l.busy += instant(mulDiv(size, int64(second), l.rate))
	return l.busy, l.random.Float64() >= l.loss
}

// p95 returns the 95th percentile of the waits in the queue since the last call.
func (l *controlLine) p95() instant {
	waits := l.waits
	l.waits = nil
	if len(waits) == 0 {
		return 0
	}
	slices.Sort(waits)
	return waits[len(waits)*95/100]
}

// run advances the line until the time is reached or stop reports true.
func (l *controlLine) run(until instant, stop func() bool) {
	for stop == nil || !stop() {
		var next *controlFlow
		at := until
		for _, f := range l.flows {
			if t := f.next(); t < at {
				next, at = f, t
			}
		}
		if next == nil {
			l.now = until
			return
		}
		l.now = max(l.now, at)
		next.turn()
	}
}

// next returns when something happens.
func (f *controlFlow) next() instant {
	at := min(f.ackDue(), f.timeout())
	if f.open() && !f.pause {
		at = min(at, max(f.nextSend, f.ready, f.line.now))
	}
	return at
}

// open reports whether the window allows another segment.
func (f *controlFlow) open() bool {
	bytes, _ := f.c.window()
	return f.inFlight+f.mss <= bytes
}

// noteLimited marks what is sent from now on if the program is what limits the sender.
func (f *controlFlow) noteLimited() {
	now := f.line.now
	if f.open() && f.nextSend <= now && (f.pause || f.ready > now) {
		f.limitedTo = f.delivered + uint64(f.inFlight) + 1
	}
}

func (f *controlFlow) ackDue() instant {
	for i := f.head; i < len(f.packets); i++ {
		if p := &f.packets[i]; p.ackAt != 0 && !p.done {
			return p.ackAt
		}
	}
	return instant(unlimited)
}

func (f *controlFlow) timeout() instant {
	if f.head == len(f.packets) {
		return instant(unlimited)
	}
	return f.packets[f.head].at + 2*max(f.srtt, f.line.delay) + 500*millisecond
}

func (f *controlFlow) turn() {
	now := f.line.now
	switch {
	case f.ackDue() <= now:
		f.acknowledge()
	case f.timeout() <= now:
		f.lose(f.head, lossTimeout)
	default:
		f.send()
	}
}

// send sends a burst.
func (f *controlFlow) send() {
	now := f.line.now
	rate, quantum := f.c.pace()
	record := &flight{order: f.order + 1, sentAt: now, delivered: f.delivered, lost: f.lostTotal}
	if f.inFlight == 0 {
		f.firstSentAt, f.deliveredAt = now, now
	}
	record.firstSentAt, record.deliveredAt = f.firstSentAt, f.deliveredAt
	sent := int64(0)
	for sent == 0 || f.open() && f.ready <= now && sent+f.mss <= quantum {
		f.order++
		p := controlPacket{order: f.order, at: now, record: record}
		if depart, ok := f.line.pass(f.mss); ok {
			p.ackAt = depart + f.line.delay
			if b := f.line.batch; b > 0 {
				p.ackAt = (p.ackAt + b - 1) / b * b
			}
		}
		f.packets = append(f.packets, p)
		f.inFlight += f.mss
		sent += f.mss
		if f.supply > 0 {
			f.ready = max(f.ready, now) + instant(mulDiv(f.mss, int64(second), f.supply))
		}
	}
	record.inFlight, record.limited = f.inFlight, f.limitedTo > f.delivered
	f.c.sent(now, record)
	if rate > 0 {
		took := instant(mulDiv(sent, int64(second), rate))
		f.nextSend = max(f.nextSend, now-5*millisecond) + took
	}
	f.noteLimited()
}

// lose reports packet i lost.
func (f *controlFlow) lose(i int, cause lossCause) {
	p := f.packets[i]
	f.packets[i].done = true
	f.trim()
	f.lostTotal += uint64(f.mss)
	f.c.lost(f.line.now, &lossEvent{
		flight: p.record, order: p.order, newest: f.order, bytes: f.mss, inFlight: f.inFlight,
		segments: uint32(f.inFlight / f.mss), cause: cause,
	})
	f.inFlight -= f.mss
}

// trim releases the packets at the head that are done.
func (f *controlFlow) trim() {
	for f.head < len(f.packets) && f.packets[f.head].done {
		f.head++
	}
	if f.head > 4096 {
		f.packets = f.packets[:copy(f.packets, f.packets[f.head:])]
		f.head = 0
	}
}

// acknowledge takes all acknowledgements that are due.
func (f *controlFlow) acknowledge() {
	now := f.line.now
	a := ackEvent{manner: acksRepeated}
	var newest controlPacket
	for i := f.head; i < len(f.packets) && (f.line.batch > 0 || newest.record == nil); i++ {
		p := &f.packets[i]
		if p.ackAt > now {
			break
		}
		if p.ackAt == 0 || p.done {
			continue
		}
		a.bytes += f.mss
		a.segments++
		if p.record.tag != 0 {
			a.tagged++
		}
		newest, p.done = *p, true
	}
	f.trim()
	f.inFlight -= a.bytes
	f.delivered += uint64(a.bytes)
	f.deliveredAt = now
	a.rtt, a.newest = now-newest.at, newest.record
	f.srtt, f.least = a.rtt, min(f.least, a.rtt)
	a.sample = int64(f.delivered - newest.record.delivered)
	took := max(newest.record.sentAt-newest.record.firstSentAt, now-newest.record.deliveredAt)
	if took >= f.least {
		a.rate = perSecond(a.sample, took)
	}
	f.firstSentAt = newest.at
	before := f.lostTotal
	for f.head < len(f.packets) && f.packets[f.head].order+3 <= newest.order {
		f.lose(f.head, lossFast)
	}
	a.lost = int64(f.lostTotal - before)
	a.inFlight, a.left = f.inFlight, uint32(f.inFlight/f.mss)
	a.delivered, a.lostTotal, a.limit = f.delivered, f.lostTotal, unlimitedSegments
	f.c.acked(now, &a)
	f.noteLimited()
	if f.onAck != nil {
		f.onAck()
	}
}

// until runs the line until the only flow's controller is in a state, for ten seconds at most.
func (l *controlLine) until(state string) bool {
	return l.when(func() bool { return l.state() == state })
}

// when runs the line until the condition holds, for ten seconds at most.
func (l *controlLine) when(holds func() bool) bool {
	l.run(l.now+10*second, holds)
	return holds()
}

func (l *controlLine) state() string {
	var r controlReport
	l.flows[0].c.report(&r)
	return r.state
}

// goodput returns the bytes a second that flow i delivers in a time.
func (l *controlLine) goodput(i int, took instant) int64 {
	before := l.flows[i].delivered
	l.run(l.now+took, nil)
	return perSecond(int64(l.flows[i].delivered-before), took)
}
