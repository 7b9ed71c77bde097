// SPDX-License-Identifier: MIT

package kcp

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

func newCongestion() *congestion { return &congestion{size: 1, ssthresh: ssthreshInit} }

func (c *congestion) window() (int64, uint32) { return unlimited, c.size }
func (c *congestion) pace() (int64, int64)    { return 0, 0 }
func (c *congestion) sent(instant, *flight)   {}
func (c *congestion) resized(int)             {}
func (c *congestion) collapsed(instant)       {}
func (c *congestion) report(*controlReport)   {}

// acked grows the window by the newly acknowledged segments, up to the limit. It grows only while
// it is what limits the sender (the concern of RFC 7661, in its simplest form).
func (c *congestion) acked(_ instant, e *ackEvent) {
	n := e.segments
	if e.left+n < c.size {
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

func (c *congestion) lost(_ instant, e *lossEvent) {
	if e.order <= c.recovery && e.cause != lossTimeout {
		return
	}
	if e.order > c.recovery {
		c.before.size, c.before.ssthresh = c.size, c.ssthresh
		c.ssthresh = max(min(e.segments, c.size)/2, ssthreshMin)
	}
	if e.cause == lossTimeout {
		c.size = 1
	} else {
		c.size = c.ssthresh
	}
	c.credit = 0
	c.recovery = e.newest
}

// spurious reverts the latest timeout when a segment taken for lost has arrived after all. This is
// the response of RFC 3522; the echoed ts serves as detection.
func (c *congestion) spurious(instant, int64) {
	if c.before.size > c.size {
		c.size, c.ssthresh = c.before.size, c.before.ssthresh
	}
	c.before.size = 0
}
