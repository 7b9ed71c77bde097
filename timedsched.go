// SPDX-License-Identifier: MIT

package kcp

import (
	"runtime"
	"sync/atomic"
	"time"
)

// SystemTimedSched is the scheduler of every session that was not given one of its own. Its limit
// of goroutines is GOMAXPROCS at the program's start; they run only while there is something to do.
// Inside a testing/synctest bubble use a scheduler made there.
var SystemTimedSched *TimedSched = NewTimedSched(0)

// timedTask is what a scheduler calls.
type timedTask interface {
	// runTimed does what is due at the time now, in the scheduler's time.
	// It is called on a worker without any lock of the scheduler, and may
	// schedule its own entry and others. b collects the work that the tasks
	// of one wake-up leave to its end. A panic ends the program: the state
	// it leaves behind could not be trusted.
	runTimed(now instant, b *timedBatch)
}

// timedBatch is what the tasks of one wake-up of a worker share. A task puts
// there the work that is cheaper to do once for all of them.
type timedBatch struct{ work timedWork }

// timedWork is the work of a wake-up.
type timedWork interface {
	finish()  // ends the work of one wake-up
	release() // is called once, when the worker's goroutine ends
}

// finish ends the work of one wake-up.
func (b *timedBatch) finish() {
	if b.work != nil {
		b.work.finish()
	}
}

// release gives up the work.
func (b *timedBatch) release() {
	if b.work != nil {
		b.work.release()
		b.work = nil
	}
}

// TimedSched calls functions at given times on a fixed number of
// goroutines. Each starts when it is needed and ends when it has had nothing
// scheduled for 100 ms. All methods may be called from any goroutine, and
// from the scheduled functions.
type TimedSched struct {
	epoch   time.Time
	workers []schedWorker
	next    atomic.Uint32 // the worker that the next entry is bound to
}

// NewTimedSched returns a scheduler with at most parallel goroutines; 0 or
// less means GOMAXPROCS. Close ends them.
func NewTimedSched(parallel int) *TimedSched {
	if parallel <= 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	s := &TimedSched{epoch: time.Now(), workers: make([]schedWorker, parallel)}
	for i := range s.workers {
		s.workers[i].sched = s
	}
	return s
}

// Put calls f once at the deadline, or at once if it has passed. f should be
// short: what is due later on the same goroutine waits for it. If f panics,
// the program ends. After Close f is never called.
func (s *TimedSched) Put(f func(), deadline time.Time) {
	p := &putTask{f: f}
	s.bind(&p.entry, p)
	p.entry.schedule(instant(deadline.Sub(s.epoch)))
}

// putTask is a function given to Put.
type putTask struct {
	entry timerEntry
	f     func()
}

func (p *putTask) runTimed(instant, *timedBatch) { p.f() }

// Close ends the scheduler and its goroutines: what is not due yet never
// runs. It does not wait for functions that run, or are about to. Closing
// again does nothing.
func (s *TimedSched) Close() {
	for i := range s.workers {
		s.workers[i].close()
	}
}

// now returns the nanoseconds since the scheduler was made. The clock is
// monotonic, and virtual inside a synctest bubble.
func (s *TimedSched) now() instant { return instant(time.Since(s.epoch)) }

// bind ties an entry to a task and, in turn, to one of the workers. It is
// called once, before anything else is done with the entry.
func (s *TimedSched) bind(e *timerEntry, t timedTask) {
	e.worker = &s.workers[s.next.Add(1)%uint32(len(s.workers))]
	e.task = t
}

// timerEntry is a task's place in a scheduler, part of the task itself so
// that scheduling allocates nothing. The zero value is bound to nothing; it
// may be stopped, but not scheduled. After bind its methods may be called
// from any goroutine.
type timerEntry struct {
	// pending is the time of the firing to come, 0 if there is none. It is
	// written under the worker's lock.
	pending atomic.Int64
	worker  *schedWorker
	task    timedTask
	index   int32 // place in the worker's heap while pending; guarded by its lock
	// later is the low bits of the time in milliseconds that move has put off the firing to, or 0.
	later atomic.Uint32
}

// schedule makes the task run at the time when, in the scheduler's time, or earlier. A firing that
// is already to come no later is enough, which costs one atomic load. After it the entry is no
// longer scheduled; the task finds what is due and schedules the rest. The entry counts as fired
// before runTimed is called, so what is scheduled meanwhile is never lost.
func (e *timerEntry) schedule(when instant) {
	when = max(when, 1) // 0 stands for none
	if p := e.pending.Load(); p != 0 && instant(p) <= when {
		return
	}
	e.worker.schedule(e, when)
}

// move is schedule for a task that has a single time: the task runs at the time that it was given
// last, and not at an earlier one before. It may run early all the same, and then calls move again.
// The calls must be serialised, and the entry's schedule must not be used.
//
// An entry in the heap stays where it is. The worker looks at its new time when the old one comes.
// So a timeout that is moved with each packet takes neither a lock nor a run of the task.
func (e *timerEntry) move(when instant) {
	when = max(when, 1)
	for p := instant(e.pending.Load()); p != 0 && p <= when; {
		e.later.Store(laterBits(p, when))
		// The worker stores pending and then looks at later again: one side sees the other.
		now := instant(e.pending.Load())
		if now == p {
			return
		}
		p = now
	}
	e.worker.move(e, when)
}

// laterMost is the longest time in milliseconds that a firing is put off at once.
const laterMost millis = 1 << 30

// laterBits returns what stands for the time when in timerEntry.later, if the firing to come is at
// p.
func laterBits(p, when instant) uint32 {
	bits := uint32(min(when.ms(), p.ms()+laterMost))
	if bits == 0 {
		bits-- // a millisecond earlier
	}
	return bits
}

// putOffTo returns the time that move has put a firing off to which is due at p, or p.
func (e *timerEntry) putOffTo(p instant) instant {
	bits := e.later.Load()
	if bits == 0 {
		return p
	}
	at := p.ms()
	return max(p, (at + millis(int32(bits-uint32(at)))).instant())
}

// stop takes back what was scheduled. The task may be about to run all the
// same, once.
func (e *timerEntry) stop() {
	if e.worker != nil && e.pending.Load() != 0 {
		e.worker.stop(e)
	}
}
