// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"fmt"
	"math"
	"testing"
)

// timedCore returns a state machine at 1000 ms that has sent nothing yet, without a congestion
// window.
func timedCore(t *testing.T, noDelay, interval, resend int) *core {
	c := new(core)
	c.init(7, 1000)
	c.setNoDelay(noDelay, interval, resend, 1)
	t.Cleanup(func() { releaseCore(c) })
	return c
}

// inputCore returns a state machine in the middle of a transfer, around sequence number base.
// Segments base+2 to base+5 are in flight, and base+4 of them is acknowledged. Segments base+10 to
// base+12 and base+14 are received. Its receive window has 32 segments.
func inputCore(t testing.TB, base seqNum) *core {
	c := new(core)
	c.init(7, 1000)
	c.setNoDelay(1, 10, 2, 1)
	c.sendUna, c.sendNxt, c.sendEnd = base, base, base
	c.readNxt, c.rcvNxt = base+10, base+10
	for range 6 {
		c.send([]byte("out"))
	}
	flushAll(c, 1000)
	c.input(inputAt(1040), testAck(c, base, base+4), true)
	c.input(inputAt(1040), testAck(c, base+2), true)
	var data []byte
	for _, n := range []seqNum{10, 11, 12, 14} {
		data = appendSegment(data, &segment{conv: 7, cmd: cmdPush, wnd: 32, ts: 500, sn: base + n,
			una: base + 2, data: []byte("in")})
	}
	c.input(inputAt(1041), data, true)
	flushAll(c, 1060)
	t.Cleanup(func() { releaseCore(c) })
	c.stats = coreStats{}
	return c
}

// controlCore is inputCore with control messages on and a known peer, whose packets no key
// authenticates.
func controlCore(t testing.TB, base seqNum) *core {
	c := inputCore(t, base)
	c.ctl.incarnation, c.ctl.peer, c.ctl.peerFlags = 1<<63|5, 77, helloRanges
	return c
}

// inputAt returns the context of an input at that time, with nothing lent besides.
func inputAt(now millis) *inputContext { return &inputContext{now: now.instant()} }

func releaseCore(c *core) {
	c.releaseSending()
	c.releaseReceived()
	c.releaseIdle()
}

// inputSegment inputs a datagram of one segment.
func inputSegment(c *core, now millis, s segment) inputResult {
	return c.input(inputAt(now), appendSegment(nil, &s), true)
}

// pushData returns a datagram with one PUSH for each of the given numbers. ts is the sender's
// clock.
func pushData(ts timestamp, sns ...seqNum) (data []byte) {
	for _, sn := range sns {
		data = appendSegment(data,
			&segment{conv: 7, cmd: cmdPush, wnd: 32, ts: ts, sn: sn, data: []byte("x")})
	}
	return data
}

// testAck returns a datagram that acknowledges everything before una, and the given segments.
func testAck(c *core, una seqNum, sns ...seqNum) []byte {
	data := ackData(nil, c, una, sns...)
	if len(sns) == 0 {
		data = appendSegment(nil, &segment{conv: c.conv, cmd: cmdWins, wnd: 32, ts: 500, una: una})
	}
	return data
}

// ackData appends a datagram of ACKs for the given segments, as the peer of c sends it.
func ackData(b []byte, c *core, una seqNum, sns ...seqNum) []byte {
	for _, sn := range sns {
		b = appendSegment(b, &segment{
			conv: c.conv, cmd: cmdAck, wnd: uint16(c.sndWnd),
			ts: c.ts(c.ring.at(sn).sentAt), sn: sn, una: una,
		})
	}
	return b
}

// flushAll returns the segments that a state machine sends at now.
func flushAll(c *core, now millis) (sent []segment) {
	w := packetWriter{arena: make([]byte, 1<<17), maxPackets: 1 << 10}
	for more := true; more; {
		w.reset(0, 0, c.mtu)
		more = c.flush(now.instant(), &w)
		for _, p := range w.packets {
			sent = append(sent, segmentsOf(bytes.Clone(w.arena[p.start:p.end]))...)
		}
	}
	return sent
}

// nextSent runs a state machine without input until it sends something. It returns the time and the
// segments, or never if nothing is due.
func nextSent(c *core, now millis) (at millis, sent []segment) {
	for range 100 {
		if now = c.nextEvent(now); now == never {
			return never, nil
		}
		if sent = flushAll(c, now); len(sent) > 0 {
			return now, sent
		}
		now++
	}
	panic("woken up 100 times for nothing")
}

// segmentsOf parses a datagram that holds nothing but whole segments.
func segmentsOf(data []byte) (all []segment) {
	for len(data) > 0 {
		var s segment
		var status parseStatus
		if data, status = parseSegment(data, &s); status != parseOK {
			panic("a datagram that is no row of segments was sent")
		}
		all = append(all, s)
	}
	return all
}

// count returns how many of the segments are of a kind.
func count(sent []segment, cmd uint8) (n int) {
	for i := range sent {
		if sent[i].cmd == cmd {
			n++
		}
	}
	return n
}

// coreMessages reads all messages that are available.
func coreMessages(c *core) (all [][]byte) {
	for n := c.peekSize(); n >= 0; n = c.peekSize() {
		m := make([]byte, n)
		c.recv(m)
		all = append(all, m)
	}
	return all
}

// inputView is the part of a state machine that an invalid datagram must not change.
type inputView struct {
	sendUna, sendNxt, sendEnd, readNxt, rcvNxt seqNum
	rmtWnd, inFlight, outstanding, beyond      uint32
	acks                                       int
	askWindow, windowDue                       bool
	delivered                                  uint64
	rtt                                        rttEstimator
	window                                     uint32
}

func viewOf(c *core) inputView {
	return inputView{
		c.sendUna, c.sendNxt, c.sendEnd, c.readNxt, c.rcvNxt, c.rmtWnd, c.inFlight,
		c.queuedOutstanding(), c.outOfOrder,
		len(c.acks), c.askWindow, c.windowDue, c.delivered, c.rtt, c.congestionWindow(),
	}
}

// inputBases are starting sequence numbers: zero, and some that wrap early.
var inputBases = []seqNum{0, math.MaxUint32 - 12, math.MaxUint32 - 3, 1 << 31}

// checkCore checks the invariants that hold between any two calls.
func checkCore(t *testing.T, c *core) {
	t.Helper()
	if err := coreFault(c); err != nil {
		t.Fatal(err)
	}
}

// coreFault returns which of these invariants does not hold.
func coreFault(c *core) error {
	if c.sendNxt.before(c.sendUna) || c.sendEnd.before(c.sendNxt) || c.rcvNxt.before(c.readNxt) {
		return fmt.Errorf("sequence numbers out of order: %d %d %d, %d %d",
			c.sendUna, c.sendNxt, c.sendEnd, c.readNxt, c.rcvNxt)
	}
	if c.queuedOutstanding() > c.sendUna.distance(c.sendNxt) ||
		c.readable()+c.outOfOrder > 2*wndMax {
		return fmt.Errorf("more in flight than sent, or more received than there is room for: %+v",
			viewOf(c))
	}
	if c.ring == nil {
		if c.sendUna != c.sendEnd || c.inFlight != 0 {
			return fmt.Errorf("no ring for what is queued: %+v", viewOf(c))
		}
		return nil
	}
	listed, outstanding := uint32(0), uint32(0)
	for i := range c.ring.lists {
		listed += c.ring.lists[i].n
	}
	for sn := c.sendUna; sn != c.sendNxt; sn++ {
		if c.ring.isOutstanding(sn) {
			outstanding++
		}
	}
	if listed != outstanding || outstanding != c.queuedOutstanding() {
		return fmt.Errorf("%d segments in lists, %d outstanding, %d counted",
			listed, outstanding, c.queuedOutstanding())
	}
	return nil
}

func badFields(s *coreStats) uint64 { return s.badFields }

func outOfWindow(s *coreStats) uint64 { return s.outOfWindow }
