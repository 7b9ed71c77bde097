// SPDX-License-Identifier: MIT

package kcp

import (
	"sync"
	"time"
)

// dueBatch is how many due tasks a worker takes out of its heap under one lock. Without a bound,
// 100,000 tasks due at once would delay all callers of schedule by tens of milliseconds. The
// packets of the first tasks would also wait for the last one.
const dueBatch = 1024

// noWake is for a timer that does not run yet.
const noWake = 1<<63 - 1

// schedIdle is how long a goroutine stays that has nothing scheduled. That is
// long enough for busy sessions not to start one again and again, and short
// enough for programs that look for goroutines left over.
const schedIdle = instant(100 * time.Millisecond)

// workerState is what a worker's goroutine does.
type workerState uint8

const (
	workerNone    workerState = iota // there is none
	workerRunning                    // it will look at the heap before it sleeps
	workerAsleep                     // until wakeAt
	workerIdle                       // until wakeAt, when it ends if the heap is empty still
)

// schedWorker is one goroutine of a scheduler with a heap of its own. The
// goroutine is there while something is scheduled, and a little longer.
type schedWorker struct {
	sched *TimedSched

	mu     sync.Mutex // guards all below, and pending and index of the entries bound here
	heap   timerHeap
	state  workerState
	timer  *time.Timer // made with the first goroutine
	wakeAt instant     // while asleep or idle: when timer fires
	closed bool
	wake   chan struct{} // made with the timer; holds a wake-up that is due at once
	done   chan struct{} // made with the timer; closed by close

	_ [64]byte // keeps two workers' locks out of one cache line
}

// schedule makes e fire at the time when, or earlier if it does already.
func (w *schedWorker) schedule(e *timerEntry, when instant) {
	w.mu.Lock()
	w.scheduleLocked(e, when)
	w.mu.Unlock()
}

// move makes e fire at the time when.
func (w *schedWorker) move(e *timerEntry, when instant) {
	w.mu.Lock()
	if p := instant(e.pending.Load()); p != 0 && p <= when {
		e.later.Store(laterBits(p, when))
	} else {
		e.later.Store(0)
		w.scheduleLocked(e, when)
	}
	w.mu.Unlock()
}

// scheduleLocked is schedule with w.mu held.
func (w *schedWorker) scheduleLocked(e *timerEntry, when instant) {
	if w.closed {
		return
	}
	switch p := e.pending.Load(); {
	case p == 0:
		w.heap.push(e, when)
	case when < instant(p):
		w.heap.advance(e, when)
	default:
		return
	}
	e.pending.Store(int64(when))
	switch w.state {
	case workerNone:
		w.start()
	case workerAsleep, workerIdle:
		w.state = workerAsleep
		if when < w.wakeAt {
			// Moving the timer from here is cheaper than waking the goroutine
			// to let it do so.
			w.sleepUntil(when)
		}
	}
}

// start starts the goroutine. w.mu must be held.
func (w *schedWorker) start() {
	if w.timer == nil {
		w.timer = time.NewTimer(noWake)
		w.wake, w.done = make(chan struct{}, 1), make(chan struct{})
	}
	w.state = workerRunning
	go w.run()
}

// stop takes e out of the heap.
func (w *schedWorker) stop(e *timerEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.pending.Load() == 0 {
		return
	}
	w.heap.remove(e)
	e.pending.Store(0)
	if len(w.heap) == 0 && w.state == workerAsleep {
		w.idle(w.sched.now())
	}
}

// idle makes the goroutine wait for something to do for a while. w.mu must be
// held.
func (w *schedWorker) idle(now instant) {
	w.releaseHeap()
	w.state = workerIdle
	w.sleepUntil(now + schedIdle)
}

// heapKeeps is the longest empty heap that is kept for the next entries.
const heapKeeps = 1024

// releaseHeap gives a large heap back that has become empty.
func (w *schedWorker) releaseHeap() {
	if cap(w.heap) > heapKeeps {
		w.heap = nil
	}
}

// close empties the heap and ends the goroutine.
func (w *schedWorker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	for _, item := range w.heap {
		item.entry.pending.Store(0)
	}
	w.heap = nil
	if w.done != nil {
		close(w.done)
	}
}

// sleepUntil sets the timer, or wakes the goroutine if the time has come. A timer that is reset to
// the past would run in the caller's goroutine in a synctest bubble. The race detector of Go 1.26
// does not survive that. w.mu must be held.
func (w *schedWorker) sleepUntil(when instant) {
	w.wakeAt = when
	if wait := time.Duration(when - w.sched.now()); wait > 0 {
		w.timer.Reset(wait)
		return
	}
	select {
	case w.wake <- struct{}{}:
	default: // it has been woken already
	}
}

// run is the goroutine.
func (w *schedWorker) run() {
	var due []*timerEntry
	var batch timedBatch
	defer batch.release()
	for {
		var (
			now  instant
			open bool
		)
		due, now, open = w.collect(due[:0])
		if !open {
			return
		}
		if len(due) == 0 {
			select {
			case <-w.timer.C:
			case <-w.wake:
			case <-w.done:
			}
			continue
		}
		for _, e := range due {
			e.task.runTimed(now, &batch)
		}
		batch.finish()
		clear(due) // keep no ended session alive
	}
}

// putOff moves the first entry of the heap to the time that it was put off to. It returns false if
// that is not after now. w.mu must be held.
func (w *schedWorker) putOff(e *timerEntry, now instant) bool {
	at := w.heap[0].when
	until := e.putOffTo(at)
	for until > now {
		e.pending.Store(int64(until))
		again := e.putOffTo(at)
		if again == until { // a move from here on sees the new time
			w.heap.postpone(until)
			return true
		}
		until = again
	}
	return false
}

// collect appends to due what is due, at most dueBatch entries, and returns
// it with the time it took for the present. If nothing is due, it sets the
// timer, and the caller has to wait for it. It returns false if the goroutine
// is to end: the scheduler is closed, or has had nothing to do for a while.
func (w *schedWorker) collect(due []*timerEntry) ([]*timerEntry, instant, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.sched.now()
	if w.closed || w.state == workerIdle && now >= w.wakeAt {
		w.timer.Stop()
		w.state = workerNone
		return due, 0, false
	}
	for n := 0; len(w.heap) > 0 && w.heap[0].when <= now && n < dueBatch; n++ {
		if e := w.heap[0].entry; !w.putOff(e, now) {
			w.heap.pop()
			e.pending.Store(0)
			due = append(due, e)
		}
	}
	switch {
	case len(due) > 0:
		w.state = workerRunning
	case len(w.heap) == 0:
		w.idle(now)
	default:
		w.state = workerAsleep
		w.sleepUntil(w.heap[0].when)
	}
	return due, now, true
}
