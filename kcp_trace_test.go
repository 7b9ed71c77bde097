// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"unsafe"
	"weak"
)

func TestTraceRecordFillsACacheLine(t *testing.T) {
	if size := unsafe.Sizeof(traceRecord{}); size != 64 {
		t.Errorf("a record has %d bytes, want 64", size)
	}
	if size := unsafe.Sizeof(traceChunk{}); size > 4096 {
		t.Errorf("a chunk has %d bytes, want at most 4096", size)
	}
}

// startedLog returns a log whose consumer is the test.
func startedLog() *traceLog {
	l := newTraceLog(0, controlRate, func() {})
	l.start()
	return l
}

// drain returns what the numbers of all records that can be read are.
func (t *traceLog) drain() (numbers []uint32) {
	for records := t.batch(); len(records) > 0; records = t.batch() {
		for i := range records {
			numbers = append(numbers, records[i].v[0])
		}
	}
	return numbers
}

// All records arrive in order, whatever number is read at once.
func TestTraceLogKeepsTheOrder(t *testing.T) {
	for _, each := range []int{1, 10, traceChunkRecords, traceChunkRecords + 1, 1000} {
		l := startedLog()
		next := uint32(0)
		for range 20 {
			for range each {
				l.count(0, traceRecovered, 0, next, 0, 0)
				next++
			}
			if l.empty() || l.sleeps() {
				t.Fatal("the log seems to be empty")
			}
			got := l.drain()
			if len(got) != each || got[0] != next-uint32(each) || got[each-1] != next-1 {
				t.Fatalf("%d records at once: got %v before %d", each, got, next)
			}
			if !l.empty() || !l.sleeps() {
				t.Fatal("the log is not empty when all is read")
			}
			l.wakes()
		}
		l.end()
		if !l.over() || l.dropped.Load() != 0 {
			t.Errorf("over %v, %d dropped", l.over(), l.dropped.Load())
		}
	}
}

// A log that nobody reads drops the newest records. The first that finds room again follows the
// number of those.
func TestTraceLogDropsWhatItHasNoRoomFor(t *testing.T) {
	l := startedLog()
	const room = traceChunksMost * traceChunkRecords
	for i := range uint32(room + 100) {
		l.count(0, traceRecovered, 0, i, 0, 0)
	}
	if got := l.dropped.Load(); got != 100 {
		t.Errorf("%d records were dropped, want 100", got)
	}
	if got := l.drain(); len(got) != room || got[room-1] != room-1 {
		t.Errorf("%d records were kept, want %d", len(got), room)
	}
	l.count(0, traceRecovered, 0, 7, 0, 0)
	records := l.batch()
	if len(records) != 2 || records[0].kind != traceDropped || records[0].v[0] != 100 ||
		records[1].v[0] != 7 {
		t.Errorf("the next records are %v", records)
	}
	l.trim()
	if l.free.Load() != nil || l.waiting.Load() != 1 {
		t.Errorf("%d chunks are held", l.waiting.Load())
	}
}

// Before its consumer is started a log holds one chunk, and after an error no more than one.
func TestTraceLogIsSmallWithoutAConsumer(t *testing.T) {
	pending := newTraceLog(0, controlRate, func() {})
	failed := startedLog()
	failed.fail(errors.New("no space left"))
	for name, l := range map[string]*traceLog{"pending": pending, "failed": failed} {
		for range 1000 {
			l.event(0, traceValidated, 0)
		}
		if l.waiting.Load() != 1 || l.dropped.Load() != 1000-traceChunkRecords {
			t.Errorf("%s: %d chunks, %d dropped", name, l.waiting.Load(), l.dropped.Load())
		}
	}
	if failed.err() == nil || pending.err() != nil {
		t.Errorf("errors %v and %v", failed.err(), pending.err())
	}
}

// A log that nobody reads any more holds no memory. One whose records are not wanted misses none.
func TestTraceLogReleasesWhatNobodyReads(t *testing.T) {
	for _, c := range []struct {
		err     error
		dropped uint64
	}{{errors.New("no space left"), 3}, {nil, 0}} {
		l := startedLog()
		for range traceChunksMost * traceChunkRecords {
			l.event(0, traceValidated, 0)
		}
		oldest, newest := weak.Make(l.head), weak.Make(l.tail)
		l.fail(c.err)
		for range 3 {
			l.event(0, traceValidated, 0)
		}
		runtime.GC()
		if oldest.Value() != nil || newest.Value() != nil {
			t.Errorf("%v: the records are kept", c.err)
		}
		if got := l.dropped.Load(); got != c.dropped {
			t.Errorf("%v: %d records count as dropped, want %d", c.err, got, c.dropped)
		}
	}
}

// A session may end before its trace is started, and after it.
func TestTraceLogThatEndsBeforeItIsStarted(t *testing.T) {
	starts := 0
	l := newTraceLog(0, controlRate, func() { starts++ })
	l.end()
	l.start()
	if starts != 0 {
		t.Error("a trace was started that had ended")
	}
	l = newTraceLog(0, controlRate, func() { starts++ })
	l.start()
	l.start()
	l.end()
	l.start()
	if starts != 1 || !l.over() {
		t.Errorf("started %d times, over %v", starts, l.over())
	}
}

// Times never go back, though a batch of datagrams was read before the latest flush.
func TestTraceTimesAreMonotonic(t *testing.T) {
	l := newTraceLog(100, controlRate, nil)
	for _, at := range []instant{150, 120, 170} {
		l.event(at, traceValidated, 0)
	}
	var got []instant
	for _, r := range l.batch() {
		got = append(got, r.at)
	}
	if want := []instant{50, 50, 70}; !slices.Equal(got, want) {
		t.Errorf("times %v, want %v", got, want)
	}
}

// One goroutine writes and one reads, without a lock. What arrives and what is dropped is all.
func TestTraceLogWithoutLock(t *testing.T) {
	l := startedLog()
	const records = 200_000
	go func() {
		for i := range uint32(records) {
			l.count(0, traceRecovered, 0, i, 0, 0)
			if i%1000 == 0 {
				runtime.Gosched()
			}
		}
		l.end()
	}()
	var next, read, dropped uint32
	for !l.over() {
		if l.sleeps() {
			<-l.wake
		}
		l.wakes()
		for records := l.batch(); len(records) > 0; records = l.batch() {
			for i := range records {
				switch r := &records[i]; {
				case r.kind == traceDropped:
					dropped += r.v[0]
				case r.v[0] < next:
					t.Fatalf("record %d follows %d", r.v[0], next-1)
				default:
					next, read = r.v[0]+1, read+1
				}
			}
		}
	}
	dropped += l.missed
	if read+dropped != records || uint64(dropped) != l.dropped.Load() {
		t.Errorf("%d records were read and %d dropped of %d", read, dropped, records)
	}
}

// tracedRounds returns a function that acknowledges a datagram full of segments and sends as many,
// and then reads the trace, if there is one.
func tracedRounds(c *core, w *packetWriter) func() (records int) {
	data, sns := make([]byte, 0, 2048), make([]seqNum, ackPacket)
	now, ctx := millis(1000), new(inputContext)
	return func() (records int) {
		now++
		ctx.now = now.instant()
		for i := range sns {
			sns[i] = c.sendUna + seqNum(i)
		}
		c.input(ctx, ackData(data, c, c.sendUna, sns...), true)
		refill(c, w, now)
		if c.trace != nil {
			for batch := c.trace.batch(); len(batch) > 0; batch = c.trace.batch() {
				records += len(batch)
			}
		}
		return records
	}
}

// A session that is traced allocates nothing for a packet.
func TestTracingAllocatesNothing(t *testing.T) {
	if batchTestRace() {
		t.Skip("the race detector makes pools forget")
	}
	c, w := fullWindow(128, 2)
	defer c.releaseSending()
	c.setTrace(startedLog())
	round, seen := tracedRounds(c, w), 0
	for range 10 {
		round()
	}
	if n := testing.AllocsPerRun(1000, func() { seen += round() }); n > 0 {
		t.Errorf("%v allocations in a round", n)
	}
	if least := 1000 * ackPacket * 3; seen < least {
		t.Errorf("%d records, want at least %d", seen, least)
	}
}

// BenchmarkTracing measures what a segment that is sent and acknowledged costs.
func BenchmarkTracing(b *testing.B) {
	for name, log := range map[string]*traceLog{"off": nil, "on": startedLog()} {
		b.Run(name, func(b *testing.B) {
			c, w := fullWindow(128, 2)
			defer c.releaseSending()
			c.setTrace(log)
			round := tracedRounds(c, w)
			for b.Loop() {
				round()
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/ackPacket, "ns/segment")
		})
	}
}

// Every phase of a controller has a name in the trace.
func TestTraceKnowsAllPhases(t *testing.T) {
	known := func(name string) {
		if got := traceStates[traceState(name)]; got != name {
			t.Errorf("phase %q is traced as %q", name, got)
		}
	}
	for _, name := range rateStates {
		known(name)
	}
	for _, c := range []cubicController{
		{cwnd: 2, ssthresh: 1}, {ssthresh: 1}, {ssthresh: 1, cssRounds: 1},
	} {
		var r controlReport
		c.report(&r)
		known(r.state)
	}
	if got := traceStates[traceState("unheard of")]; got != "other" {
		t.Errorf("an unknown phase is traced as %q", got)
	}
}
