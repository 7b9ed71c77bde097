// SPDX-License-Identifier: MIT

package kcp

import "time"

// deadline is the time at which blocked calls of one kind (Read, Write or Accept) fail. The zero
// value is no deadline. Its owner's mutex guards it. That mutex is also the L of the condition
// variable on which the calls wait, which is always the same one. A blocking call reads
//
//	for !ready {
//		if d.passed() {
//			return errTimeout
//		}
//		d.arm(cond)
//		cond.Wait()
//	}
//
// There is no timer before the first arm. Later it is used again and moved only if it would fire
// too late: a program that sets its deadline 30 s ahead before each Read moves a timer every 30 s.
// When the timer fires it wakes all calls, and those that still have to wait arm it again. For a
// deadline without a waiting call it fires at most once more.
type deadline struct {
	at      time.Time
	timer   *time.Timer // made by the first arm
	cond    *waiters    // what the timer wakes
	firesAt time.Time   // when the timer fires; zero: it is not running
	passes  func()      // called too when the timer fires, with L held; nil for none
}

// set makes t the deadline; the zero time is none. The owner then broadcasts, so that waiting calls
// check it.
func (d *deadline) set(t time.Time) {
	d.at = t
	if t.IsZero() {
		d.stop()
	}
}

// expired reports whether the deadline has passed at the time now.
func (d *deadline) expired(now time.Time) bool {
	return !d.at.IsZero() && !now.Before(d.at)
}

// passed is expired at the present time, which is read only if there is a deadline.
func (d *deadline) passed() bool {
	return !d.at.IsZero() && d.expired(time.Now())
}

// arm ensures that c is woken when the deadline passes. It must be called before each c.Wait.
func (d *deadline) arm(c *waiters) {
	if d.at.IsZero() {
		return
	}
	if !d.firesAt.IsZero() && !d.firesAt.After(d.at) {
		return
	}
	d.firesAt = d.at
	wait := time.Until(d.at)
	if d.timer == nil {
		d.cond = c
		d.timer = time.AfterFunc(wait, d.fire)
		return
	}
	d.timer.Reset(wait)
}

// fire is called by the timer. It may come late, after disarm or a new deadline: calls then only
// check again.
func (d *deadline) fire() {
	d.cond.L.Lock()
	defer d.cond.L.Unlock()
	d.firesAt = time.Time{}
	d.cond.Broadcast()
	if d.passes != nil {
		d.passes()
	}
}

// disarm stops the timer, so that it no longer refers to the owner. Calls that still wait are
// woken, and arm it again if they need it.
func (d *deadline) disarm() {
	if d.stop() {
		d.cond.Broadcast()
	}
}

// stop ends the timer and reports whether it was running.
func (d *deadline) stop() bool {
	if d.firesAt.IsZero() {
		return false
	}
	d.timer.Stop()
	d.firesAt = time.Time{}
	return true
}
