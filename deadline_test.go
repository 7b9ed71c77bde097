// SPDX-License-Identifier: MIT

package kcp

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// deadlineOwner has one kind of blocking call, as a session has Read.
type deadlineOwner struct {
	mu    sync.Mutex // guards all below
	cond  *waiters
	d     deadline
	ready bool
	looks int // how often a waiting call looked
}

func newDeadlineOwner() *deadlineOwner {
	o := new(deadlineOwner)
	o.cond = new(waiters)
	o.cond.L = &o.mu
	return o
}

// wait returns nil once the owner is ready, or errTimeout. If disarm is set, it disarms the
// deadline when it returns.
func (o *deadlineOwner) wait(disarm bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if disarm {
		defer o.d.disarm()
	}
	for !o.ready {
		o.looks++
		if o.d.passed() {
			return errTimeout
		}
		o.d.arm(o.cond)
		o.cond.Wait()
	}
	return nil
}

func (o *deadlineOwner) set(t time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.d.set(t)
	o.cond.Broadcast()
}

func (o *deadlineOwner) makeReady() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ready = true
	o.cond.Broadcast()
}

func TestDeadlineExpires(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name string
		at   time.Time
		want bool
	}{
		{"none", time.Time{}, false},
		{"long past", time.Unix(0, 0), true},
		{"just past", now.Add(-1), true},
		{"now", now, true},
		{"to come", now.Add(1), false},
		{"without monotonic clock", now.Add(-time.Second).Round(0), true},
	} {
		var d deadline
		d.set(tt.at)
		if got := d.expired(now); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestDeadlineWakesBlockedCalls sets the deadline to each step's time, after the step's wait and
// counted from the start, while calls are blocked.
func TestDeadlineWakesBlockedCalls(t *testing.T) {
	const s = time.Second
	type step struct{ wait, at time.Duration }
	const none = time.Duration(1<<63 - 1)
	for _, tt := range []struct {
		name  string
		steps []step
		want  time.Duration // when the calls time out; none: never
	}{
		{"future", []step{{0, 5 * s}}, 5 * s},
		{"past", []step{{0, -5 * s}}, 0},
		{"now", []step{{2 * s, 2 * s}}, 2 * s},
		{"never set", nil, none},
		{"moved later", []step{{0, 5 * s}, {3 * s, 9 * s}}, 9 * s},
		{"moved later twice", []step{{0, 5 * s}, {3 * s, 9 * s}, {3 * s, 20 * s}}, 20 * s},
		{"moved later, then back", []step{{0, 5 * s}, {1 * s, 9 * s}, {1 * s, 5 * s}}, 5 * s},
		{"moved later, then before the first",
			[]step{{0, 5 * s}, {1 * s, 9 * s}, {1 * s, 4 * s}}, 4 * s},
		{"moved later, first time passed",
			[]step{{0, 5 * s}, {1 * s, 9 * s}, {6 * s, 8 * s}}, 8 * s},
		{"moved earlier", []step{{0, 5 * s}, {1 * s, 3 * s}}, 3 * s},
		{"moved to the past", []step{{0, 5 * s}, {2 * s, 1 * s}}, 2 * s},
		{"set while blocked", []step{{4 * s, 6 * s}}, 6 * s},
		{"taken back", []step{{0, 5 * s}, {1 * s, none}}, none},
		{"taken back and set again", []step{{0, 5 * s}, {1 * s, none}, {8 * s, 12 * s}}, 12 * s},
		{"taken back and set earlier", []step{{0, 5 * s}, {1 * s, none}, {1 * s, 3 * s}}, 3 * s},
	} {
		for _, disarm := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o, start := newDeadlineOwner(), time.Now()
					var wg sync.WaitGroup
					for range 3 {
						wg.Go(func() {
							err := o.wait(disarm)
							got := time.Since(start)
							if tt.want == none && err != nil ||
								tt.want != none && (err != errTimeout || got != tt.want) {
								t.Errorf("got %v after %v, want a timeout after %v",
									err, got, tt.want)
							}
						})
					}
					synctest.Wait()
					for _, step := range tt.steps {
						time.Sleep(step.wait)
						synctest.Wait()
						at := start.Add(step.at)
						if step.at == none {
							at = time.Time{}
						}
						o.set(at)
						synctest.Wait()
					}
					time.Sleep(time.Hour)
					o.makeReady()
					wg.Wait()
				})
			})
		}
	}
}

func TestDeadlineHasNoTimerBeforeSomebodyWaits(t *testing.T) {
	o := newDeadlineOwner()
	o.set(time.Now().Add(time.Hour))
	o.ready = true
	if err := o.wait(false); err != nil {
		t.Fatal(err)
	}
	if o.d.timer != nil {
		t.Error("a call that did not block made a timer")
	}
	o.d.disarm() // nothing to stop: harmless
}

func TestDeadlineMovedLaterLeavesTheTimerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newDeadlineOwner()
		start := time.Now()
		o.set(start.Add(30 * time.Second))
		// A thousand calls, each after it set the deadline 30 s ahead.
		for range 1000 {
			o.set(time.Now().Add(30 * time.Second))
			o.ready = false
			done := make(chan error)
			go func() { done <- o.wait(false) }()
			time.Sleep(10 * time.Millisecond)
			o.makeReady()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		o.mu.Lock()
		if got, want := o.d.firesAt, start.Add(30*time.Second); !got.Equal(want) {
			t.Errorf("the timer fires at %v, want %v", got, want)
		}
		o.mu.Unlock()
		time.Sleep(time.Hour)
		o.mu.Lock()
		defer o.mu.Unlock()
		if !o.d.firesAt.IsZero() {
			t.Error("the timer still runs although no call waits")
		}
	})
}

func TestDeadlineTimerFiresOnceForCallsThatWaitLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newDeadlineOwner()
		o.set(time.Now().Add(time.Second))
		done := make(chan error)
		go func() { done <- o.wait(false) }()
		synctest.Wait()
		o.set(time.Now().Add(time.Minute))
		if err := <-done; err != errTimeout {
			t.Fatalf("got %v, want %v", err, errTimeout)
		}
		// At the start, when set was called, at the first and the last time.
		if o.looks != 4 {
			t.Errorf("the blocked call looked %d times, want 4", o.looks)
		}
	})
}

func TestDeadlineDisarmedNoLongerHoldsATimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newDeadlineOwner()
		o.set(time.Now().Add(time.Second))
		o.mu.Lock()
		o.d.arm(o.cond)
		o.d.disarm()
		if o.d.timer.Stop() {
			t.Error("the timer was still running")
		}
		o.mu.Unlock()
	})
}

// TestDeadlineFiringLate runs the timer's function after the deadline has changed, as happens when
// it had to wait for the lock.
func TestDeadlineFiringLate(t *testing.T) {
	for name, change := range map[string]func(d *deadline, c *waiters){
		"disarmed": func(d *deadline, c *waiters) { d.disarm() },
		"moved":    func(d *deadline, c *waiters) { d.set(time.Now().Add(time.Minute)) },
		"moved, armed": func(d *deadline, c *waiters) {
			d.set(time.Now().Add(time.Minute))
			d.arm(c)
		},
		"stopped, armed": func(d *deadline, c *waiters) {
			d.disarm()
			d.set(time.Now().Add(time.Minute))
			d.arm(c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, start := newDeadlineOwner(), time.Now()
				o.d.set(start.Add(time.Second))
				o.mu.Lock()
				o.d.arm(o.cond)
				change(&o.d, o.cond)
				o.mu.Unlock()
				o.d.fire()
				o.set(start.Add(10 * time.Second))
				if err := o.wait(true); err != errTimeout {
					t.Errorf("got %v, want %v", err, errTimeout)
				}
				if got, want := time.Since(start), 10*time.Second; got != want {
					t.Errorf("gave up after %v, want %v", got, want)
				}
			})
		})
	}
}

func TestDeadlineConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newDeadlineOwner()
		var waiters, setters sync.WaitGroup
		for i := range 8 {
			waiters.Go(func() {
				for o.wait(i%2 == 0) != nil {
					time.Sleep(time.Millisecond)
				}
			})
			setters.Go(func() {
				for j := range 200 {
					o.set(time.Now().Add(time.Duration(j%7-2) * time.Millisecond))
					time.Sleep(time.Duration(i) * time.Millisecond / 3)
				}
			})
		}
		setters.Wait()
		o.makeReady()
		waiters.Wait()
	})
}

func TestDeadlineCostsNoAllocationAfterTheFirstCall(t *testing.T) {
	o := newDeadlineOwner()
	got := testing.AllocsPerRun(1000, func() {
		o.mu.Lock()
		o.d.set(time.Now().Add(time.Hour))
		if o.d.passed() {
			t.Error("passed an hour early")
		}
		o.d.arm(o.cond)
		o.d.disarm()
		o.mu.Unlock()
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

// BenchmarkDeadline measures what a deadline adds to a blocking call: with the timer left running
// between the calls, and stopped each time.
func BenchmarkDeadline(b *testing.B) {
	for _, bb := range []struct {
		name   string
		disarm bool
	}{{"keep", false}, {"disarm", true}} {
		b.Run(bb.name, func(b *testing.B) {
			o := newDeadlineOwner()
			b.ReportAllocs()
			for b.Loop() {
				o.d.set(time.Now().Add(time.Hour))
				if o.d.passed() {
					b.Fatal("passed")
				}
				o.d.arm(o.cond)
				if bb.disarm {
					o.d.disarm()
				}
			}
			o.d.disarm()
		})
	}
}
