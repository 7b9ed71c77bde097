// SPDX-License-Identifier: MIT

package kcp

import "math"

// congestion is KCP's classic congestion window, in segments. It begins with slow start from one
// segment, and grows additively above the threshold. A fast loss halves it, and a timeout sets it
// to one. One loss event counts once a round trip. The recovery period is that of RFC 6582 (S1.18).
type congestion struct {
	size     uint32 // the window
	ssthresh uint32
	credit   uint32                          // acknowledged segments towards the next increase
	recovery uint64                          // the loss of transmissions up to this one is handled
	before   struct{ size, ssthresh uint32 } // the last timeout
}

func (c *congestion) init() {
	c.size, c.ssthresh = 1, ssthreshInit
}

func (c *congestion) window() uint32 { return c.size }

func (c *congestion) sent(uint64, instant) {}

// acked grows the window by the newly acknowledged segments, up to the limit. It grows only while
// it is what limits the sender (the concern of RFC 7661, in its simplest form).
func (c *congestion) acked(e ackEvent) {
	n := e.segments
	if e.inFlight+n < c.size {
		return
	}
	if c.size < c.ssthresh {
		grow := min(n, c.ssthresh-c.size)
		c.size += grow
		n -= grow
	}
	c.credit += n
	for c.credit >= c.size {
		c.credit -= c.size
		c.size++
	}
	if c.size > e.limit {
		c.size, c.credit = max(e.limit, 1), 0
	}
}

func (c *congestion) lost(e lossEvent) {
	if e.order <= c.recovery && e.cause != lossTimeout {
		return
	}
	if e.order > c.recovery {
		c.before.size, c.before.ssthresh = c.size, c.ssthresh
		c.ssthresh = max(min(e.inFlight, c.size)/2, ssthreshMin)
	}
	if e.cause == lossTimeout {
		c.size = 1
	} else {
		c.size = c.ssthresh
	}
	c.credit = 0
	c.recovery = e.newest
}

// undo reverts the latest timeout when a segment taken for lost has arrived after all. This is the
// response of RFC 3522; the echoed ts serves as detection.
func (c *congestion) undo() {
	if c.before.size > c.size {
		c.size, c.ssthresh = c.before.size, c.before.ssthresh
	}
	c.before.size = 0
}

// uncontrolled is no congestion control (nc = 1): only the windows of both sides limit what is in
// flight. The classic window behind it is kept up to date for the case that it is enabled again.
type uncontrolled congestion

func (u *uncontrolled) classic() *congestion { return (*congestion)(u) }

func (u *uncontrolled) window() uint32       { return math.MaxUint32 }
func (u *uncontrolled) sent(uint64, instant) {}
func (u *uncontrolled) acked(e ackEvent)     { u.classic().acked(e) }
func (u *uncontrolled) lost(e lossEvent)     { u.classic().lost(e) }
func (u *uncontrolled) undo()                { u.classic().undo() }
