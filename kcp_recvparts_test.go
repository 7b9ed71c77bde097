// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// pushPart returns the segment of the part of a PUSH from an offset to another.
func pushPart(sn seqNum, ts timestamp, data []byte, from, to int) segment {
	p := segmentPart{ts: ts, sn: sn, whole: len(data), offset: from}
	b := make([]byte, partHeader, partHeader+to-from)
	putPart(b, &p)
	return segment{conv: 7, cmd: cmdWins, wnd: 32, ts: partVersion, sn: controlMagic,
		data: append(b, data[from:to]...)}
}

func partsCore(t *testing.T) *core {
	t.Helper()
	c := new(core)
	c.init(7, 1000)
	c.ctl.incarnation, c.ctl.peer = 1, 2
	c.setMode(modeStream, true)
	t.Cleanup(func() { releaseCore(c) })
	return c
}

// Parts in any order, repeated, overlapping and of other cuts make up the segment.
func TestPartsInAnyOrder(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 8))
		c := partsCore(t)
		data := pattern(1+rng.IntN(9000), seed)
		most := (len(data) + 7) / 8 * (1 + rng.IntN(8))
		got := make([]byte, 1<<16)
		n := -1
		for range 10_000 {
			from := rng.IntN((len(data)+most-1)/most) * most
			if rng.IntN(4) == 0 {
				from = rng.IntN(len(data))
			}
			to := min(len(data), from+most)
			s := pushPart(0, 1000, data, from, to)
			c.input(inputAt(1100), appendSegment(nil, &s), true)
			if n = c.recv(got); n >= 0 {
				break
			}
		}
		if !bytes.Equal(got[:max(n, 0)], data) {
			t.Fatalf("seed %d: %d bytes of %d, or changed", seed, n, len(data))
		}
		if c.releaseIdle(); c.in != nil || c.heavy != 0 {
			t.Fatalf("seed %d: the ring is kept", seed)
		}
		acks := flushAll(c, 1300)
		if len(acks) == 0 || acks[0].cmd != cmdAck || acks[0].sn != 0 || acks[0].ts != 1000 {
			t.Fatalf("seed %d: no acknowledgement: %+v", seed, acks)
		}
	}
}

// What a peer sends in part is bounded, and is released with the session.
func TestPartsThatNeverCompleteAreBounded(t *testing.T) {
	before := buffersOutstanding()
	c := partsCore(t)
	c.setWindows(0, 1000)
	data := pattern(16000, 1)
	for sn := range seqNum(900) {
		s := pushPart(sn+1, 1000, data, 0, 100)
		c.input(inputAt(1100), appendSegment(nil, &s), true)
	}
	if c.in == nil || c.in.parts.n != partialMost || c.in.parts.size() > partialMost*bufferHuge {
		t.Errorf("%d bytes are held", c.heldBytes())
	}
	bad := pushPart(1, 1000, data, 0, 100)
	for n := range bad.data {
		s := bad
		s.data = bad.data[:n]
		c.input(inputAt(1100), appendSegment(nil, &s), true)
	}
	for _, sn := range []seqNum{1000, 1 << 31, 1<<32 - 1} {
		s := pushPart(sn, 1000, data, 0, 100)
		c.input(inputAt(1100), appendSegment(nil, &s), true)
	}
	if c.in.parts.n != partialMost || c.in.size() > 1024 {
		t.Errorf("%d segments in part, a ring of %d", c.in.parts.n, c.in.size())
	}
	c.releaseReceived()
	c.releaseIdle()
	if c.in != nil || buffersOutstanding() != before {
		t.Errorf("%d buffers are left", buffersOutstanding()-before)
	}
}

// A part of what has been received already is acknowledged: the acknowledgement was lost.
func TestPartOfAReceivedSegmentIsAcknowledgedAgain(t *testing.T) {
	c := partsCore(t)
	data := pattern(3000, 1)
	push := segment{conv: 7, cmd: cmdPush, wnd: 32, ts: 1000, data: data}
	c.input(inputAt(1100), appendSegment(nil, &push), true)
	flushAll(c, 1300)
	s := pushPart(0, 1500, data, 0, 1000)
	c.input(inputAt(1600), appendSegment(nil, &s), true)
	acks := flushAll(c, 1800)
	if len(acks) == 0 || acks[0].cmd != cmdAck || acks[0].sn != 0 || acks[0].ts != 1500 {
		t.Errorf("no acknowledgement: %+v", acks)
	}
	if n := c.recv(make([]byte, 4000)); n != len(data) || c.in.parts != nil {
		t.Errorf("%d bytes", n)
	}
}

// A part of another segment under the same number replaces what was there.
func TestPartsOfDifferentSegmentsDoNotMix(t *testing.T) {
	c := partsCore(t)
	one, other := bytes.Repeat([]byte{1}, 3000), bytes.Repeat([]byte{2}, 3001)
	for _, s := range []segment{
		pushPart(0, 1000, one, 0, 1500), pushPart(0, 1000, other, 1500, 3001),
		pushPart(0, 1000, other, 0, 1500),
	} {
		c.input(inputAt(1100), appendSegment(nil, &s), true)
	}
	got := make([]byte, 4000)
	if n := c.recv(got); n != 3001 || !bytes.Equal(got[:n], other) {
		t.Errorf("%d bytes, or mixed ones", n)
	}
}
