// SPDX-License-Identifier: MIT

package kcp

// congestion is KCP's classic congestion window, in segments: slow start from one segment, additive increase above
// the threshold, halved on a fast loss, back to one on a timeout. One loss event counts once a round trip.
// (docs/protocol.md section 1; the recovery period is that of RFC 6582.)
type congestion struct {
	off      bool // nc = 1: the send and receive windows alone limit
	window   uint32
	ssthresh uint32
	credit   uint32                            // acknowledged segments towards the next increase
	recovery uint64                            // transmissions up to this one belong to a loss already answered
	before   struct{ window, ssthresh uint32 } // the last timeout
}

func (c *congestion) init() {
	c.window, c.ssthresh = 1, ssthreshInit
}

// acked grows the window for n newly acknowledged segments, up to limit. The window grows only while it is what
// holds the sender back (RFC 7661's concern, in its simplest form).
func (c *congestion) acked(n, inFlight, limit uint32) {
	if inFlight+n < c.window {
		return
	}
	if c.window < c.ssthresh {
		grow := min(n, c.ssthresh-c.window)
		c.window += grow
		n -= grow
	}
	c.credit += n
	for c.credit >= c.window {
		c.credit -= c.window
		c.window++
	}
	if c.window > limit {
		c.window, c.credit = max(limit, 1), 0
	}
}

// lost answers the loss of the transmission number order; newest is the newest transmission made.
func (c *congestion) lost(cause lossCause, order, newest uint64, inFlight uint32) {
	if order <= c.recovery && cause != lossTimeout {
		return
	}
	if order > c.recovery {
		c.before.window, c.before.ssthresh = c.window, c.ssthresh
		c.ssthresh = max(min(inFlight, c.window)/2, ssthreshMin)
	}
	if cause == lossTimeout {
		c.window = 1
	} else {
		c.window = c.ssthresh
	}
	c.credit = 0
	c.recovery = newest
}

// undo takes back what the last timeout did, when a segment it gave up for lost turns out to have arrived (RFC 3522's
// response, without its detection: the echoed ts tells).
func (c *congestion) undo() {
	if c.before.window > c.window {
		c.window, c.ssthresh = c.before.window, c.before.ssthresh
	}
	c.before.window = 0
}
