// SPDX-License-Identifier: MIT

package kcp

import (
	"sync"
	"time"
)

// waiters is the condition variable that blocked calls wait on. One of them may wait in the poller
// for the socket instead. L guards what is before it.
type waiters struct {
	polls interface{ interrupt() } // the socket that a call waits for, or nil
	count int32                    // calls that wait for the condition, not for polls
	woken bool                     // some have been woken since it was last set to false
	sync.Cond
}

// Wait waits to be woken. L is held.
func (w *waiters) Wait() {
	w.count++
	w.Cond.Wait()
	w.count--
}

// Broadcast wakes all. L is held.
func (w *waiters) Broadcast() {
	if w.count > 0 {
		w.woken = true
		w.Cond.Broadcast()
	}
	if w.polls != nil {
		w.polls.interrupt()
	}
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)
