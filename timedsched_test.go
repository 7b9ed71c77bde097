// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimedSchedRunsEachFunctionAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewTimedSched(2)
		defer s.Close()
		start := time.Now()
		var mu sync.Mutex
		ran := make(map[int]time.Duration)
		for i := 50; i >= -1; i-- {
			s.Put(func() {
				mu.Lock()
				defer mu.Unlock()
				ran[i] = time.Since(start)
			}, start.Add(time.Duration(i)*time.Second))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for i := -1; i <= 50; i++ {
			want := max(time.Duration(i)*time.Second, 1) // the scheduler's time 0 stands for none
			if got, ok := ran[i]; !ok || got != want {
				t.Errorf("function for second %d ran %v at %v, want %v", i, ok, got, want)
			}
		}
	})
}

func TestTimedSchedFunctionMayPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewTimedSched(1)
		defer s.Close()
		done := make(chan time.Duration)
		start := time.Now()
		s.Put(func() {
			s.Put(func() { done <- time.Since(start) }, start.Add(3*time.Second))
		}, start.Add(time.Second))
		if got := <-done; got != 3*time.Second {
			t.Errorf("ran at %v, want 3s", got)
		}
	})
}

func TestTimedSchedAfterCloseRunsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewTimedSched(2)
		ran := false
		s.Put(func() { ran = true }, time.Now().Add(time.Second))
		s.Close()
		s.Close()
		s.Put(func() { ran = true }, time.Now().Add(time.Second))
		time.Sleep(time.Minute)
		synctest.Wait()
		if ran {
			t.Error("a function ran after Close")
		}
	})
}

func TestTimedSchedHasNoGoroutineBeforeItsFirstUse(t *testing.T) {
	before := runtime.NumGoroutine()
	s := NewTimedSched(64)
	if n := runtime.NumGoroutine(); n > before { // an earlier test's may have ended
		t.Errorf("%d goroutines, want %d", n, before)
	}
	s.Close()
}

// countingTask counts its runs and records the time of the last.
type countingTask struct {
	entry timerEntry
	runs  int
	at    instant
}

func (c *countingTask) runTimed(now instant, _ *timedBatch) { c.runs, c.at = c.runs+1, now }

func TestTimerEntryFiresNoLaterThanAsked(t *testing.T) {
	const second = instant(time.Second)
	tests := []struct {
		name      string
		schedules []instant
		runs      int
		at        instant
	}{
		{"once", []instant{5 * second}, 1, 5 * second},
		{"moved earlier", []instant{5 * second, 2 * second}, 1, 2 * second},
		{"a later one changes nothing", []instant{2 * second, 5 * second}, 1, 2 * second},
		{"in the past", []instant{-second}, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewTimedSched(1)
				defer s.Close()
				var c countingTask
				s.bind(&c.entry, &c)
				for _, when := range tt.schedules {
					c.entry.schedule(when)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if c.runs != tt.runs || c.at != tt.at {
					t.Errorf("ran %d times, the last at %d; want %d at %d",
						c.runs, c.at, tt.runs, tt.at)
				}
			})
		})
	}
}

// Times that are moved cost no run before the last of them.
func TestTimerEntryMoves(t *testing.T) {
	const (
		second = instant(time.Second)
		year   = instant(365 * 24 * time.Hour)
		wrap   = instant(1<<32) * instant(time.Millisecond)
		most   = instant(laterMost) * instant(time.Millisecond)
	)
	tests := []struct {
		name  string
		moves []instant
		runs  int
		at    instant
	}{
		{"once", []instant{5 * second}, 1, 5 * second},
		{"earlier", []instant{5 * second, 2 * second}, 1, 2 * second},
		{"later", []instant{2 * second, 5 * second}, 1, 5 * second},
		{"later and back", []instant{2 * second, 9 * second, 5 * second}, 1, 5 * second},
		{"later and to the first", []instant{2 * second, 9 * second, 2 * second}, 1, 2 * second},
		{"later and earlier", []instant{2 * second, 9 * second, second}, 1, second},
		{"earlier and later", []instant{9 * second, 2 * second, 5 * second}, 1, 5 * second},
		{"in the past", []instant{-second}, 1, 1},
		{"to the time without low bits", []instant{wrap - second, wrap}, 1, wrap - 1_000_000},
		{"over the wrap", []instant{wrap - second, wrap + second}, 1, wrap + second},
		{"by a year", []instant{second, year}, 1, second + most},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewTimedSched(1)
				defer s.Close()
				var c countingTask
				s.bind(&c.entry, &c)
				for _, when := range tt.moves {
					c.entry.move(when)
				}
				time.Sleep(time.Duration(year))
				synctest.Wait()
				if c.runs != tt.runs || c.at != tt.at {
					t.Errorf("ran %d times, the last at %d; want %d at %d",
						c.runs, c.at, tt.runs, tt.at)
				}
			})
		})
	}
}

// movedTask is moved by its owner while the worker runs it, each with the lock, as a session is.
type movedTask struct {
	countingTask
	mu   sync.Mutex
	want instant // what it was moved to last
}

func (m *movedTask) runTimed(now instant, _ *timedBatch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.want > now {
		m.entry.move(m.want)
	} else if m.want != 0 {
		m.want, m.at = 0, now
	}
}

// A time that is moved while the worker looks at the entry is not lost.
func TestTimerEntryMovesWhileItFires(t *testing.T) {
	s := NewTimedSched(1)
	defer s.Close()
	var m movedTask
	s.bind(&m.entry, &m)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		for range 50 {
			m.mu.Lock()
			m.want = s.now() + instant(rng.IntN(3))*instant(time.Millisecond)
			m.entry.move(m.want)
			m.mu.Unlock()
		}
		for begin := time.Now(); ; runtime.Gosched() {
			m.mu.Lock()
			done := m.want == 0
			m.mu.Unlock()
			if done {
				break
			}
			if time.Since(begin) > 10*time.Second {
				t.Fatal("the last time was lost")
			}
		}
	}
}

// The memory of many entries is released when all of them have fired, or were stopped.
func TestAnEmptyHeapIsGivenBack(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := NewTimedSched(1)
			defer s.Close()
			entries := make([]countingTask, 10*heapKeeps)
			for i := range entries {
				s.bind(&entries[i].entry, &entries[i])
				entries[i].entry.schedule(instant(time.Second))
			}
			if stopped {
				synctest.Wait()
				for i := range entries {
					entries[i].entry.stop()
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			w := &s.workers[0]
			w.mu.Lock()
			defer w.mu.Unlock()
			if n := cap(w.heap); n > heapKeeps {
				t.Errorf("stopped %v: an empty heap has room for %d entries", stopped, n)
			}
		})
	}
}

func TestTimerEntryStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewTimedSched(1)
		defer s.Close()
		var c, other countingTask
		s.bind(&c.entry, &c)
		s.bind(&other.entry, &other)
		c.entry.schedule(instant(time.Second))
		other.entry.schedule(instant(2 * time.Second))
		c.entry.stop()
		c.entry.stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.runs != 0 || other.runs != 1 {
			t.Errorf("the stopped entry ran %d times and the other %d, want 0 and 1",
				c.runs, other.runs)
		}
		c.entry.schedule(s.now() + instant(time.Second))
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.runs != 1 {
			t.Errorf("scheduled again it ran %d times, want 1", c.runs)
		}
	})
}

// An idle scheduler has no goroutine after a while, and still works.
func TestTimedSchedEndsItsGoroutinesWhenThereIsNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewTimedSched(2)
		defer s.Close()
		var far countingTask
		s.bind(&far.entry, &far)
		before := bubbleGoroutines()
		for round := range 3 {
			done := make(chan struct{}, 2)
			for range 2 {
				s.Put(func() { done <- struct{}{} }, time.Now().Add(time.Second))
			}
			far.entry.schedule(s.now() + instant(time.Hour))
			<-done
			<-done
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := bubbleGoroutines(); n != before+1 {
				t.Errorf("round %d: %d goroutines while one entry is scheduled, want %d",
					round, n, before+1)
			}
			far.entry.stop()
			time.Sleep(time.Duration(schedIdle))
			synctest.Wait()
			if n := bubbleGoroutines(); n != before {
				t.Errorf("round %d: %d goroutines with nothing scheduled, want %d",
					round, n, before)
			}
		}
		if far.runs != 0 {
			t.Error("a stopped entry ran")
		}
	})
}

// An entry that is scheduled while the goroutine ends still runs.
func TestTimedSchedAtTheEndOfItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewTimedSched(1)
		defer s.Close()
		for i := range 200 {
			done := make(chan struct{})
			start := time.Now()
			s.Put(func() { close(done) }, start.Add(time.Millisecond))
			<-done
			if took := time.Since(start); took != time.Millisecond {
				t.Fatalf("round %d: ran after %v", i, took)
			}
			time.Sleep(time.Duration(schedIdle) + time.Duration(i%5-2)*time.Nanosecond)
		}
	})
}
