// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const benchEntries = 100_000

type idleTask struct {
	entry timerEntry
	_     [152]byte // a session around it: entries share no cache line
}

func (t *idleTask) runTimed(instant, *timedBatch) {}

func benchSched(b *testing.B, workers int) (*TimedSched, []idleTask) {
	s := NewTimedSched(workers)
	b.Cleanup(s.Close)
	tasks := make([]idleTask, benchEntries)
	for i := range tasks {
		s.bind(&tasks[i].entry, &tasks[i])
		tasks[i].entry.schedule(1<<61 + instant(rand.Int64N(int64(time.Hour))))
	}
	return s, tasks
}

// BenchmarkTimedSchedPending measures the usual case: the pending firing is early enough.
func BenchmarkTimedSchedPending(b *testing.B) {
	_, tasks := benchSched(b, 1)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % benchEntries
		tasks[i].entry.schedule(1 << 62)
	}
}

// BenchmarkTimedSchedReschedule moves random entries of one worker's 100,000 earlier, by up to half
// of the span that they cover.
func BenchmarkTimedSchedReschedule(b *testing.B) {
	_, tasks := benchSched(b, 1)
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		e := &tasks[r.IntN(benchEntries)].entry
		e.schedule(instant(e.pending.Load() - r.Int64N(int64(30*time.Minute))))
	}
}

// BenchmarkTimedSchedFire removes the earliest of 100,000 entries and inserts it again.
func BenchmarkTimedSchedFire(b *testing.B) {
	_, tasks := benchSched(b, 1)
	w := tasks[0].entry.worker
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		w.mu.Lock()
		when := w.heap[0].when
		e := w.heap.pop()
		e.pending.Store(0)
		w.mu.Unlock()
		e.schedule(when + instant(r.Int64N(int64(time.Hour))))
	}
}

type countTask struct {
	entry timerEntry
	n     *atomic.Int64
}

func (t *countTask) runTimed(now instant, _ *timedBatch) {
	t.n.Add(1)
	t.entry.schedule(now + 1000)
}

func BenchmarkTimedSchedEndToEnd(b *testing.B) {
	s := NewTimedSched(1)
	defer s.Close()
	var n atomic.Int64
	tasks := make([]countTask, benchEntries)
	for i := range tasks {
		tasks[i].n = &n
		s.bind(&tasks[i].entry, &tasks[i])
		tasks[i].entry.schedule(1)
	}
	b.ReportAllocs()
	start := n.Load()
	t0 := time.Now()
	for b.Loop() {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(time.Since(t0))/float64(n.Load()-start), "ns/firing")
}

type tickTask struct {
	entry timerEntry
	done  *sync.WaitGroup
	_     [128]byte // a session around it: entries share no cache line
}

func (t *tickTask) runTimed(instant, *timedBatch) { t.done.Done() }

// BenchmarkTimedSchedTick makes 10,000 of 100,000 entries due at once and waits until the workers
// have run them all. TestTenThousandDueSessionsLeaveInFewBatches counts the system calls of such a
// tick.
func BenchmarkTimedSchedTick(b *testing.B) {
	const due = 10_000
	s, _ := benchSched(b, 2)
	var done sync.WaitGroup
	tasks := make([]tickTask, due)
	for i := range tasks {
		tasks[i].done = &done
		s.bind(&tasks[i].entry, &tasks[i])
	}
	b.ReportAllocs()
	for b.Loop() {
		done.Add(due)
		at := s.now() + instant(2*time.Millisecond)
		for i := range tasks {
			tasks[i].entry.schedule(at)
		}
		done.Wait()
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/due, "ns/firing")
}
