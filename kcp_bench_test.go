// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"testing"
	"time"
)

// benchWindows are the windows whose costs are compared.
var benchWindows = [2]int{128, 32768}

// ackPacket is the number of ACKs in a datagram of 1400 bytes.
const ackPacket = 58

// compareWindows runs bench at both windows. The second reports as "ratio" its cost relative to the
// first.
func compareWindows(b *testing.B, bench func(b *testing.B, window int) (perOp float64)) {
	least := 0.0
	for _, window := range benchWindows {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			b.ReportAllocs()
			cost := bench(b, window)
			if window != benchWindows[0] && least > 0 {
				b.ReportMetric(cost/least, "ratio")
			} else {
				least = cost
			}
		})
	}
}

// fullWindow returns a state machine with its window in flight, and the writer it sends to.
func fullWindow(window, resend int) (*core, *packetWriter) {
	c := new(core)
	c.init(1, 1000)
	c.setWindows(window, window)
	c.setNoDelay(1, 10, resend, 1)
	c.rmtWnd = uint32(window)
	w := &packetWriter{arena: make([]byte, 1<<18), maxPackets: 128}
	refill(c, w, 1000)
	return c, w
}

var benchPayload [64]byte

// refill queues and sends as much as the windows allow, in small segments, as on a path that
// carries all of it.
func refill(c *core, w *packetWriter, now millis) {
	c.flight.limit, c.flight.best = wndMax, wndMax
	for c.queued() < c.sndWnd {
		c.send(benchPayload[:])
	}
	for more := true; more; {
		w.reset(0, 0, c.mtu)
		more = c.flush(now.instant(), w)
	}
}

// BenchmarkFlush measures a flush with the whole window in flight and nothing due.
func BenchmarkFlush(b *testing.B) {
	compareWindows(b, func(b *testing.B, window int) float64 {
		c, w := fullWindow(window, 2)
		defer c.releaseSending()
		for b.Loop() {
			w.reset(0, 0, c.mtu)
			c.flush(millis(1001).instant(), w)
		}
		if len(w.packets) > 0 {
			b.Fatal("something was sent")
		}
		return float64(b.Elapsed()) / float64(b.N)
	})
}

// timedAcks feeds datagrams of 58 ACKs that pick makes and returns the cost of one. Making the
// datagram and refilling the window is not counted.
func timedAcks(b *testing.B, window, resend int,
	pick func(c *core, sns []seqNum) (una seqNum)) float64 {
	c, w := fullWindow(window, resend)
	defer c.releaseSending()
	now := millis(1000)
	var (
		sns   [ackPacket]seqNum
		data  []byte
		spent time.Duration
	)
	for b.Loop() {
		if c.queuedOutstanding() < ackPacket+1 {
			c.acknowledgedBelow(c.sendNxt, nil)
		}
		if c.queuedOutstanding() <= uint32(window)-ackPacket &&
			c.sendNxt-c.sendUna < seqNum(window) {
			now++
			refill(c, w, now)
		}
		una := pick(c, sns[:])
		data = ackData(data[:0], c, una, sns[:]...)
		before, begin := c.queuedOutstanding(), time.Now()
		c.input(inputAt(now), data, true)
		spent += time.Since(begin)
		if before-c.queuedOutstanding() < ackPacket {
			b.Fatalf("%d of %d ACKs took effect", before-c.queuedOutstanding(), ackPacket)
		}
	}
	cost := float64(spent) / float64(b.N)
	b.ReportMetric(cost, "ns/packet")
	return cost
}

// BenchmarkInputAck measures a datagram of 58 ACKs in order, and the worst case: ACKs of the newest
// segments alone, below which everything is a hole.
func BenchmarkInputAck(b *testing.B) {
	b.Run("in-order", func(b *testing.B) {
		compareWindows(b, func(b *testing.B, window int) float64 {
			return timedAcks(b, window, 2, func(c *core, sns []seqNum) seqNum {
				for i := range sns {
					sns[i] = c.sendUna + seqNum(i)
				}
				return c.sendUna
			})
		})
	})
	b.Run("newest-first", func(b *testing.B) {
		compareWindows(b, func(b *testing.B, window int) float64 {
			return timedAcks(b, window, 0, func(c *core, sns []seqNum) seqNum {
				sn := c.sendNxt
				for i := range sns {
					for sn--; !c.ring.isOutstanding(sn); sn-- {
					}
					sns[i] = sn
				}
				return c.sendUna
			})
		})
	})
}

// BenchmarkInputPush measures a datagram of 58 small data segments and the flush of their ACKs. It
// does so in order, and with a receive window in which every second segment is a hole.
func BenchmarkInputPush(b *testing.B) {
	for _, order := range []struct {
		name string
		sn   func(next seqNum, window, i int) seqNum
	}{
		{"in-order", func(next seqNum, _, i int) seqNum { return next + seqNum(i) }},
		{"holes", func(next seqNum, window, i int) seqNum { return next + seqNum(window-1-2*i) }},
	} {
		b.Run(order.name, func(b *testing.B) {
			compareWindows(b, func(b *testing.B, window int) float64 {
				return timedPushes(b, window, order.sn)
			})
		})
	}
}

func timedPushes(b *testing.B, window int, order func(next seqNum, window, i int) seqNum) float64 {
	c := new(core)
	c.init(1, 1000)
	c.setWindows(window, window)
	defer c.releaseReceived()
	w := &packetWriter{arena: make([]byte, 1<<16), maxPackets: 16}
	data, buf := []byte(nil), make([]byte, 1500)
	next, at := seqNum(0), 0
	var spent time.Duration
	for b.Loop() {
		data = data[:0]
		for range ackPacket {
			sn := order(next, window, at)
			if at++; sn.before(c.rcvNxt) || at > window {
				// The window holds all it can of this pattern: begin behind it.
				c.releaseReceived()
				c.rcvNxt += seqNum(window)
				c.readNxt = c.rcvNxt
				next, at = c.rcvNxt, 1
				sn = order(next, window, 0)
			}
			data = appendSegment(data,
				&segment{conv: 1, cmd: cmdPush, ts: timestamp(sn), sn: sn, data: benchPayload[:1]})
		}
		begin := time.Now()
		c.input(inputAt(1000), data, true)
		w.reset(0, 0, c.mtu)
		for c.flush(millis(1000).instant(), w) {
			w.reset(0, 0, c.mtu)
		}
		for c.recv(buf) >= 0 {
		}
		spent += time.Since(begin)
		if c.stats.outOfWindow > 0 {
			b.Fatal("a segment missed the window")
		}
	}
	cost := float64(spent) / float64(b.N)
	b.ReportMetric(cost, "ns/packet")
	return cost
}

func TestSteadyStateOfTheCoreAllocatesNothing(t *testing.T) {
	if batchTestRace() {
		t.Skip("the race detector makes pools forget")
	}
	c, w := fullWindow(128, 2)
	defer c.releaseSending()
	data, sns := make([]byte, 0, 2048), make([]seqNum, ackPacket)
	now := millis(1000)
	round := func() {
		now++
		for i := range sns {
			sns[i] = c.sendUna + seqNum(i)
		}
		c.input(inputAt(now), ackData(data, c, c.sendUna, sns...), true)
		refill(c, w, now)
	}
	round()
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Errorf("acknowledging and sending %d segments: %v allocations, want 0", ackPacket, n)
	}
}
