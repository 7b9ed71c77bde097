// SPDX-License-Identifier: MIT

package kcp

import "sync/atomic"

// A traceRecord is one event of a session's trace, in binary: a cache line. What the fields hold
// depends on the kind.
type traceRecord struct {
	at   instant
	kind traceKind
	name uint8 // an enumeration of the kind
	more uint8 // likewise
	frg  uint8
	v    [traceValues]uint32
}

// traceValues is how many numbers a record has.
const traceValues = 13

// traceUnknown is a number that is not known.
const traceUnknown uint32 = 1<<32 - 1

// A traceKind is the kind of a record.
type traceKind uint8

const (
	traceDropped traceKind = iota
	traceOpened
	traceValidated
	traceClosing
	traceClosed
	traceDatagramsSent
	traceDatagramReceived
	traceSegmentSent
	traceSegmentReceived
	traceSegmentAcked
	traceSegmentLost
	traceSpurious
	traceRangesSent
	traceRangesReceived
	traceRecovered
	traceRepairsReported
	traceFECChanged
	traceControllerChanged
	tracePhaseChanged
	traceMetrics
	traceKinds
)

// traceSource is how a segment came in.
type traceSource uint8

const (
	fromDatagram traceSource = iota
	fromParity               // FEC has recovered it
)

// traceControl is the enumeration of a control message behind those of the commands.
const traceControl = cmdWins - cmdPush + 1

// traceCopy is the enumeration of a copy behind those of lossCause.
const traceCopy = uint8(lossTimeout) + 1

// What datagrams that are sent carry.
const (
	traceKCP uint8 = iota // segments and parity
	traceOOB              // out-of-band data
)

// traceAckedBy is what has acknowledged a segment.
type traceAckedBy uint8

const (
	ackedByAck traceAckedBy = iota
	ackedByUna
	ackedByRanges
)

// traceStates are the phases of all controllers.
var traceStates = [...]string{
	"", "startup", "drain", "probe-down", "cruise", "refill", "probe-up", "probe-rtt",
	"slow-start", "conservative", "avoidance", "other",
}

// traceState returns the index of a controller's phase.
func traceState(name string) uint8 {
	for i, known := range traceStates {
		if name == known {
			return uint8(i)
		}
	}
	return uint8(len(traceStates) - 1)
}

const (
	// traceChunkRecords fill 4 KiB with their header.
	traceChunkRecords = 63
	// traceChunksMost bounds the records of a session that wait: 8064 of them, half a megabyte.
	traceChunksMost = 128
	// traceChunksSoon is how many chunks wake the goroutine that writes the trace at once.
	traceChunksSoon = 8
	// traceMetricsEach is the least time between two records of the metrics.
	traceMetricsEach = instant(1e6)
)

// A traceChunk is a piece of the queue. The producer fills it once, from the first record on.
type traceChunk struct {
	used    atomic.Uint32
	next    atomic.Pointer[traceChunk]
	records [traceChunkRecords]traceRecord
}

// A traceLog is the queue of a session's trace, from the session to the goroutine that writes it.
// It has one producer at a time, the holder of the session's lock, and one consumer. Neither waits
// for the other. If the consumer is slow, records are dropped and counted.
//
// The consumer returns what it has read for reuse, so that in steady state nothing is allocated. A
// trace that is idle holds one chunk.
type traceLog struct {
	begin func() // starts the consumer; nil once it is started

	// The producer's.
	tail     *traceChunk
	epoch    instant // the trace's time 0
	latest   instant
	missed   uint32 // records dropped since one found room
	kind     controlKind
	state    uint8 // the controller's phase, an index of traceStates
	metrics  [traceValues]uint32
	metricAt instant
	report   controlReport // of the latest metrics

	// The consumer's.
	head *traceChunk
	read uint32 // records of head that have been read

	phase   atomic.Uint32 // a tracePhase
	waiting atomic.Int32  // chunks from head to tail
	free    atomic.Pointer[traceChunk]
	dropped atomic.Uint64
	failure atomic.Pointer[error]
	asleep  atomic.Bool
	wake    chan struct{}
}

// A tracePhase is a stage of a trace.
type tracePhase = uint32

const (
	tracePending tracePhase = iota // the consumer is not started: there is one chunk
	traceRuns
	traceEnds     // no records follow
	traceFailed   // nobody reads any more
	traceUnwanted // nobody has ever read: there is nothing that could be missing
)

// traceNowhere is a full chunk: the tail of logs that nobody reads, in place of their memory.
var traceNowhere = func() *traceChunk {
	c := new(traceChunk)
	c.used.Store(traceChunkRecords)
	return c
}()

// newTraceLog returns the queue of a trace that begins at now. begin is called once the trace is to
// be written, with the session's lock held.
func newTraceLog(now instant, kind controlKind, begin func()) *traceLog {
	c := new(traceChunk)
	t := &traceLog{
		begin: begin, epoch: now, latest: now, metricAt: now - traceMetricsEach,
		kind: kind, tail: c, head: c, wake: make(chan struct{}, 1),
	}
	t.waiting.Store(1)
	return t
}

// start starts the consumer, unless it is or the trace has ended.
func (t *traceLog) start() {
	if t.phase.CompareAndSwap(tracePending, traceRuns) {
		t.begin()
		t.begin = nil
	}
}

// end ends the trace: the producer adds nothing more. A trace that has not been started is not
// written.
func (t *traceLog) end() {
	if t.phase.CompareAndSwap(traceRuns, traceEnds) {
		t.signal()
		return
	}
	t.phase.CompareAndSwap(tracePending, traceFailed)
}

// add returns a new record to be filled in, nil if there is no room. publish is called then.
func (t *traceLog) add(at instant, kind traceKind) *traceRecord {
	c := t.tail
	n := c.used.Load()
	if n == traceChunkRecords {
		if c = t.extend(); c == nil {
			if t.phase.Load() != traceUnwanted {
				t.missed++
				t.dropped.Add(1)
			}
			return nil
		}
		n = c.used.Load()
	}
	t.latest = max(t.latest, at)
	r := &c.records[n]
	*r = traceRecord{at: t.latest - t.epoch, kind: kind}
	return r
}

// publish hands the record that add has returned to the consumer.
func (t *traceLog) publish() {
	t.tail.used.Add(1)
	if t.asleep.Load() {
		t.asleep.Store(false)
		t.signal()
	}
}

// extend appends a chunk to the queue. It returns nil if the queue is full.
func (t *traceLog) extend() *traceChunk {
	switch phase := t.phase.Load(); {
	case phase >= traceFailed:
		t.tail = traceNowhere
		return nil
	case phase == tracePending, t.waiting.Load() >= traceChunksMost:
		return nil
	}
	c := t.reuse()
	if t.missed > 0 {
		r := &c.records[0]
		*r = traceRecord{at: t.latest - t.epoch, kind: traceDropped}
		r.v[0], t.missed = t.missed, 0
		c.used.Store(1)
	}
	if t.waiting.Add(1) == traceChunksSoon {
		t.signal()
	}
	t.tail.next.Store(c)
	t.tail = c
	return c
}

// reuse returns an empty chunk: one that the consumer has read, if there is one. The producer alone
// takes chunks from the list, so that a chunk is not back at its head between load and swap.
func (t *traceLog) reuse() *traceChunk {
	for {
		c := t.free.Load()
		if c == nil {
			return new(traceChunk)
		}
		if t.free.CompareAndSwap(c, c.next.Load()) {
			c.next.Store(nil)
			c.used.Store(0)
			return c
		}
	}
}

// signal wakes the consumer.
func (t *traceLog) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// batch returns the records that can be read, nil for none. They stay valid until the next call,
// which only the consumer makes.
func (t *traceLog) batch() []traceRecord {
	if t.read == traceChunkRecords {
		next := t.head.next.Load()
		if next == nil {
			return nil
		}
		t.release(t.head)
		t.head, t.read = next, 0
	}
	used := t.head.used.Load()
	records := t.head.records[t.read:used]
	t.read = used
	return records
}

// release returns a chunk for reuse.
func (t *traceLog) release(c *traceChunk) {
	t.waiting.Add(-1)
	for {
		free := t.free.Load()
		c.next.Store(free)
		if t.free.CompareAndSwap(free, c) {
			return
		}
	}
}

// empty reports whether all records have been read.
func (t *traceLog) empty() bool {
	if t.read < traceChunkRecords {
		return t.head.used.Load() == t.read
	}
	return t.head.next.Load() == nil
}

// sleeps is called by the consumer when it has read all. It reports whether there is nothing yet:
// wake receives then once there is more.
func (t *traceLog) sleeps() bool {
	t.asleep.Store(true)
	return t.empty() && t.phase.Load() == traceRuns
}

// wakes is called after sleeps. It reports whether the consumer may wait for more.
func (t *traceLog) wakes() bool {
	t.asleep.Store(false)
	return t.phase.Load() == traceRuns
}

// over reports whether the consumer has read all that there will be.
func (t *traceLog) over() bool { return t.phase.Load() != traceRuns && t.empty() }

// trim releases the memory that is not in use.
func (t *traceLog) trim() { t.free.Store(nil) }

// fail ends the trace because it cannot be written: err, which is nil if it is not wanted. It is
// the consumer's last call, and releases the records.
func (t *traceLog) fail(err error) {
	phase := traceUnwanted
	if err != nil {
		t.failure.Store(&err)
		phase = traceFailed
	}
	t.phase.Store(phase)
	t.head = nil
	t.trim()
}

// err returns the error that has ended the trace, or nil.
func (t *traceLog) err() error {
	if err := t.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// event records an event without further data.
func (t *traceLog) event(at instant, kind traceKind, name uint8) {
	if r := t.add(at, kind); r != nil {
		r.name = name
		t.publish()
	}
}

// count records an event with up to three numbers.
func (t *traceLog) count(at instant, kind traceKind, name uint8, a, b, c uint32) {
	if r := t.add(at, kind); r != nil {
		r.name = name
		r.v[0], r.v[1], r.v[2] = a, b, c
		t.publish()
	}
}

// segment records a segment that is sent or received. name is why it is sent, or how it came in.
func (t *traceLog) segment(at instant, kind traceKind, s *segment, size int, name uint8) {
	if r := t.add(at, kind); r != nil {
		r.name, r.more, r.frg = name, s.cmd-cmdPush, s.frg
		if s.cmd == cmdWins && s.sn == controlMagic && s.ts == controlVersion && size > 0 {
			r.more = traceControl
		}
		r.v = [traceValues]uint32{
			uint32(s.sn), uint32(s.ts), uint32(s.una), uint32(s.wnd), uint32(size),
		}
		t.publish()
	}
}

// traceRangesMost is how many ranges a record has room for.
const traceRangesMost = 5

// ranges records what a receiver holds. total are the ranges of the message, of which the first few
// are given.
func (t *traceLog) ranges(at instant, kind traceKind, una seqNum, held []snRange, total int) {
	if r := t.add(at, kind); r != nil {
		held = held[:min(len(held), traceRangesMost)]
		r.name = uint8(len(held))
		r.v[0], r.v[1] = uint32(una), uint32(total)
		for i := range held {
			r.v[2+2*i], r.v[3+2*i] = uint32(held[i].first), uint32(held[i].end-1)
		}
		t.publish()
	}
}

// sent records the ranges of a value that is sent.
func (t *traceLog) sent(at instant, value []byte) {
	t.value(at, traceRangesSent, value, readAckRanges(value).rcvNxt-1)
}

// received records the ranges of a value that has come in. Nothing beyond limit has been sent.
func (t *traceLog) received(at instant, value []byte, limit seqNum) {
	t.value(at, traceRangesReceived, value, limit)
}

func (t *traceLog) value(at instant, kind traceKind, value []byte, limit seqNum) {
	var held [traceRangesMost]snRange
	a, n := readAckRanges(value), 0
	total := int(a.left)
	for ; n < len(held); n++ {
		r, ok := a.next(limit)
		if !ok || r.first == r.end {
			break
		}
		held[n] = r
	}
	t.ranges(at, kind, a.rcvNxt, held[:n], total)
}

// acked records that a segment is acknowledged: after how many transmissions, and how long after
// the latest.
func (t *traceLog) acked(
	at instant, sn seqNum, by traceAckedBy, transmissions uint8, waited millis,
) {
	t.count(at, traceSegmentAcked, uint8(by), uint32(sn), uint32(transmissions), uint32(waited))
}

// control records the controller and its phase if they have changed. It reports whether the metrics
// are due.
func (t *traceLog) control(at instant, kind controlKind, state string) (due bool) {
	if kind != t.kind {
		t.kind = kind
		t.event(at, traceControllerChanged, uint8(kind))
	}
	if phase := traceState(state); phase != t.state {
		if r := t.add(at, tracePhaseChanged); r != nil {
			r.name, r.more = phase, t.state
			t.publish()
		}
		t.state = phase
	}
	return at-t.metricAt >= traceMetricsEach
}

// measure records the metrics if they have changed.
func (t *traceLog) measure(at instant, v *[traceValues]uint32) {
	if t.metrics == *v {
		return
	}
	if r := t.add(at, traceMetrics); r != nil {
		t.metrics, t.metricAt = *v, at
		r.v = *v
		t.publish()
	}
}
