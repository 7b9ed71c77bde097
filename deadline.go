// SPDX-License-Identifier: MIT

package kcp

import "time"

// deadline is the time at which blocked calls of one kind (Read, Write or
// Accept) give up. The zero value is none. It is guarded by its owner's
// mutex, which is also the L of the condition variable the calls wait on,
// the same one for the deadline's whole life. A blocking call reads
//
//	for !ready {
//		if d.passed() {
//			return errTimeout
//		}
//		d.arm(cond)
//		cond.Wait()
//	}
//
// There is no timer before the first arm. From then on it is used again and
// moved only when it would fire too late: a program that puts its deadline
// 30 s ahead before each Read moves a timer every 30 s. When the timer
// fires it wakes everybody, and who still has to wait arms it again, so
// nothing fires for a deadline nobody waits for, but for one last time.
type deadline struct {
	at      time.Time
	timer   *time.Timer // made by the first arm
	cond    *waiters    // what the timer wakes
	firesAt time.Time   // when the timer fires; zero: it is not running
}

// set makes t the deadline, the zero time for none. Afterwards the owner
// broadcasts, so that waiting calls look again.
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

// passed is expired at the present time, which it looks up only if there is
// a deadline.
func (d *deadline) passed() bool {
	return !d.at.IsZero() && d.expired(time.Now())
}

// arm makes sure that c is woken when the deadline passes. It is called
// right before c.Wait, each time.
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

// fire runs when the timer does. It may come late, after disarm or a new
// deadline: then those it wakes just look again.
func (d *deadline) fire() {
	d.cond.L.Lock()
	defer d.cond.L.Unlock()
	d.firesAt = time.Time{}
	d.cond.Broadcast()
}

// disarm stops the timer, so that it holds the owner no longer. Calls that
// still wait are woken to arm it again if they need it: whoever leaves may
// call disarm without asking who else waits.
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
