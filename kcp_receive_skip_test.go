// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"slices"
	"testing"
)

// skipSegment returns a datagram of the peer of c with a SKIP of the runs.
func skipSegment(c *core, ts timestamp, sn seqNum, runs ...skipRun) []byte {
	s := skipRuns{n: len(runs)}
	copy(s.runs[:], runs)
	return appendSegment(nil, &segment{conv: 7, cmd: cmdWins, wnd: 32, ts: controlVersion,
		sn: controlMagic, una: c.sendUna,
		data: appendSkip(nil, ts, sn, &s)})
}

// fragment returns a datagram of the peer of c with one PUSH.
func fragment(c *core, sn seqNum, frg uint8, data string) []byte {
	return appendSegment(nil, &segment{conv: 7, cmd: cmdPush, wnd: 32, ts: 500, sn: sn, frg: frg,
		una: c.sendUna, data: []byte(data)})
}

// readText reads all messages that are available, and skips empty ones as a session does.
func readText(c *core) (all []string) {
	for _, m := range coreMessages(c) {
		if len(m) > 0 {
			all = append(all, string(m))
		}
	}
	return all
}

// A skipped message lets those behind it through at once, and what still arrives of it is dropped.
func TestSkippedMessagesCountAsReceived(t *testing.T) {
	for _, base := range inputBases {
		c := controlCore(t, base)
		next := base + 13 // 10, 11, 12 and 14 are there
		c.input(inputAt(1100), fragment(c, next+2, 2, "a"), true)
		c.input(inputAt(1100), fragment(c, next+4, 0, "c"), true)
		c.input(inputAt(1100), fragment(c, next+5, 0, "after"), true)
		flushAll(c, 1100)
		c.input(inputAt(1110), skipSegment(c, 700, next+2,
			skipRun{next, 1, 1}, skipRun{next + 2, 3, 1}), true)
		if c.rcvNxt != next+6 || c.outOfOrder != 0 || c.skipped != 2 {
			t.Errorf("rcvNxt %d, %d out of order, %d skipped; want %d, 0, 2",
				c.rcvNxt, c.outOfOrder, c.skipped, next+6)
		}
		sent := flushAll(c, 1110)
		if i := slices.IndexFunc(sent, func(s segment) bool { return s.cmd == cmdAck }); i < 0 ||
			sent[i].sn != next+2 || sent[i].ts != 700 || sent[i].una != next+6 {
			t.Errorf("answered by %+v, want an ACK of %d", sent, next+2)
		}
		for _, late := range [][]byte{fragment(c, next, 0, "late"), fragment(c, next+3, 1, "b"),
			fragment(c, next+4, 0, "c")} {
			c.input(inputAt(1120), late, true)
		}
		if got := readText(c); !slices.Equal(got, []string{"in", "in", "in", "in", "after"}) {
			t.Errorf("read %q", got)
		}
		if c.stats.badFields != 0 || c.stats.repeats != 3 {
			t.Errorf("%d bad fields, %d duplicates; want 0 and 3",
				c.stats.badFields, c.stats.repeats)
		}
		flushAll(c, 1120)
		c.input(inputAt(1130), skipSegment(c, 730, next+2, skipRun{next + 2, 3, 1}), true)
		if sent := flushAll(c, 1130); count(sent, cmdAck) != 1 || c.skipped != 2 {
			t.Errorf("a SKIP that came again: %d ACKs, %d skipped", count(sent, cmdAck), c.skipped)
		}
	}
}

// The first fragments of a message may wait in the receive queue already.
func TestSkipDropsFragmentsInTheQueue(t *testing.T) {
	c := controlCore(t, 0)
	c.input(inputAt(1100), fragment(c, 13, 0, "whole"), true)
	readText(c)
	for i, f := range []string{"a", "b", "", "d"} {
		if f != "" {
			c.input(inputAt(1100), fragment(c, 15+seqNum(i), uint8(3-i), f), true)
		}
	}
	c.input(inputAt(1100), fragment(c, 19, 0, "after"), true)
	if c.readable() != 2 || len(readText(c)) != 0 {
		t.Fatalf("%d segments readable, want 2 of an incomplete message", c.readable())
	}
	c.input(inputAt(1110), skipSegment(c, 700, 17, skipRun{15, 4, 1}), true)
	if got := readText(c); !slices.Equal(got, []string{"after"}) {
		t.Errorf("read %q, want the next message", got)
	}
	if c.releaseIdle(); c.in != nil || c.heavy != 0 {
		t.Errorf("the ring is kept, or its count of memory is wrong: %d", c.heavy)
	}
}

// A message may have more fragments than the window if it is the next one.
func TestSkipOfAMessageLargerThanTheWindow(t *testing.T) {
	c := controlCore(t, 0)
	c.input(inputAt(1100), fragment(c, 13, 0, "x"), true)
	c.input(inputAt(1100), skipSegment(c, 700, 15, skipRun{16, 200, 1}), true)
	if c.skipped != 0 || c.stats.outOfWindow != 1 {
		t.Errorf("%d skipped, %d out of window: want 0 and 1", c.skipped, c.stats.outOfWindow)
	}
	c.input(inputAt(1100), skipSegment(c, 700, 15, skipRun{15, 200, 1}), true)
	readText(c)
	c.afterRead()
	if readText(c); c.skipped != 1 || c.rcvNxt != 215 {
		t.Errorf("%d skipped, rcvNxt %d: want 1, 215", c.skipped, c.rcvNxt)
	}
}

// What no correct peer sends changes nothing but counters. Neither does what was received whole.
func TestForgedSkip(t *testing.T) {
	for _, base := range inputBases {
		next := base + 13
		for name, c := range map[string]struct {
			runs []skipRun
			bad  uint64
			out  uint64
		}{
			"received":                   {runs: []skipRun{{base + 2, 1, 3}}},
			"readable":                   {runs: []skipRun{{base + 10, 3, 1}}},
			"received and waiting":       {runs: []skipRun{{next + 1, 1, 1}}},
			"a readable one and the gap": {runs: []skipRun{{next - 1, 2, 1}}, bad: 1},
			"all that is readable":       {runs: []skipRun{{base + 10, 4, 1}}, bad: 1},
			"whole messages as one":      {runs: []skipRun{{next, 3, 1}}, bad: 1},
			"beyond the window":          {runs: []skipRun{{next + 60, 1, 1}}, out: 1},
			"far beyond the window":      {runs: []skipRun{{next + 1<<30, 1, 1000}}, out: 1000},
			"partly beyond the window":   {runs: []skipRun{{next + 20, 20, 1}}, out: 1},
			"behind":                     {runs: []skipRun{{next - 1<<30, 256, 4}}},
			"no fragments":               {runs: []skipRun{{next, 0, 1}}, bad: 1},
			"too many":                   {runs: []skipRun{{next, 1, 1025}}, bad: 1},
		} {
			t.Run(name, func(t *testing.T) {
				s := controlCore(t, base)
				before := viewOf(s)
				s.input(inputAt(1100), skipSegment(s, 700, next, c.runs...), true)
				if after := viewOf(s); after != before || s.skipped != 0 {
					t.Errorf("%+v became %+v, %d skipped", before, after, s.skipped)
				}
				if s.stats.badFields != c.bad || s.stats.outOfWindow != c.out {
					t.Errorf("%d bad fields, %d out of window; want %d, %d",
						s.stats.badFields, s.stats.outOfWindow, c.bad, c.out)
				}
				if got := readText(s); !slices.Equal(got, []string{"in", "in", "in"}) {
					t.Errorf("read %q", got)
				}
			})
		}
	}
}

// Nothing is skipped behind the end of the stream, and a SKIP before it lets the stream end.
func TestSkipBeforeTheEnd(t *testing.T) {
	c := controlCore(t, 0)
	fin := controlSet{has: [ctlPong + 1]bool{ctlFin: true}, final: 16}
	c.input(inputAt(1100), controlTo(7, fin), true)
	c.input(inputAt(1110), skipSegment(c, 700, 16, skipRun{13, 1, 1}, skipRun{15, 2, 1}), true)
	if c.rcvNxt != 15 || c.skipped != 1 || c.stats.badFields != 1 {
		t.Errorf("rcvNxt %d, %d skipped, %d bad; want 15, 1, 1",
			c.rcvNxt, c.skipped, c.stats.badFields)
	}
	c.input(inputAt(1120), skipSegment(c, 700, 15, skipRun{15, 1, 1}), true)
	readText(c)
	if !c.endOfStream() || c.cutShort() {
		t.Error("the stream does not end")
	}
}

// controlTo returns a datagram of control messages.
func controlTo(conv uint32, m controlSet) []byte {
	return appendSegment(nil, &segment{conv: conv, cmd: cmdWins, wnd: 32, ts: controlVersion,
		sn: controlMagic, data: appendControl(nil, &m)})
}

// FuzzSkipInput inputs PUSHes and SKIPs of a hostile peer. What is read are whole messages of what
// was pushed, and the work of a datagram is bounded.
func FuzzSkipInput(f *testing.F) {
	f.Add([]byte{0, 3, 2, 1, 3, 4, 1, 1, 0, 5, 0, 2, 9})
	f.Add([]byte{1, 3, 1, 1, 1, 0, 3, 0, 2, 9, 1, 0, 200, 4, 2, 9})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 2048 {
			return
		}
		b := fuzzBytes(in)
		c := controlCore(t, inputBases[b.u8()%4])
		first := c.rcvNxt
		readText(c)
		for i := 0; len(b) > 0 && i < 300; i++ {
			now := c.latest.ms() + 1
			switch sn := first + seqNum(int8(b.u8())); b.u8() % 4 {
			case 0:
				c.input(inputAt(now), fragment(c, sn, b.u8()%8, "data"), true)
			case 1:
				c.input(inputAt(now), skipSegment(c, 700, sn, skipRun{sn, uint32(b.u8())%9 + 1,
					uint32(b.u8())%9 + 1}), true)
			case 2:
				for _, m := range coreMessages(c) {
					m = bytes.ReplaceAll(m, []byte("data"), nil)
					if len(m) > 0 && string(m) != "in" {
						t.Fatalf("read %q", m)
					}
				}
			case 3:
				flushAll(c, now)
			}
			checkCore(t, c)
		}
	})
}
