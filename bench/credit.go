// SPDX-License-Identifier: MIT

package main

import (
	"math"
	"sync/atomic"
	"time"
)

// creditTimeout is after how long without progress what is under way counts
// as lost. A receiver that merely waits for a processor is back earlier.
const creditTimeout = 20 * time.Millisecond

// credit bounds how many datagrams are under way, which number themselves
// from 0. One goroutine takes, one gives.
type credit struct {
	window   uint64
	sent     uint64 // the taker's alone
	seen     atomic.Uint64
	resumeAt atomic.Uint64 // the value of seen that wakes the taker, math.MaxUint64 if it is awake
	wake     chan struct{}
	stopped  chan struct{}
	timer    *time.Timer
}

func newCredit(window int) *credit {
	c := &credit{window: uint64(window), wake: make(chan struct{}, 1), stopped: make(chan struct{}), timer: time.NewTimer(time.Hour)}
	c.resumeAt.Store(math.MaxUint64)
	return c
}

// take waits until n more datagrams, at most half a window, may be sent and
// returns the number of the first.
func (c *credit) take(n uint64) (first uint64, err error) {
	for c.sent+n-c.seen.Load() > c.window {
		if err := c.await(c.sent - c.window/2); err != nil {
			return 0, err
		}
	}
	first = c.sent
	c.sent += n
	return first, nil
}

// await sleeps until seen has come to target: half a window, so that the
// goroutines do not wake each other for every datagram.
func (c *credit) await(target uint64) error {
	before := c.seen.Load()
	c.resumeAt.Store(target)
	defer c.resumeAt.Store(math.MaxUint64)
	if c.seen.Load() >= target {
		return nil
	}
	c.timer.Reset(creditTimeout)
	select {
	case <-c.wake:
	case <-c.timer.C:
		c.seen.CompareAndSwap(before, c.sent)
	case <-c.stopped:
		return errStopped
	}
	return nil
}

// give reports that all datagrams before next have arrived or are lost.
func (c *credit) give(next uint64) {
	for {
		seen := c.seen.Load()
		if next <= seen {
			return
		}
		if c.seen.CompareAndSwap(seen, next) {
			break
		}
	}
	if next >= c.resumeAt.Load() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// stop ends take. It may be called once.
func (c *credit) stop() { close(c.stopped) }
