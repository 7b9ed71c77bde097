// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

func TestInputDropsWhatIsNoSegment(t *testing.T) {
	good := appendSegment(nil, &segment{conv: 7, cmd: cmdWins, wnd: 32, data: []byte("data")})
	change := func(at int, b ...byte) []byte {
		d := bytes.Clone(good)
		copy(d[at:], b)
		return d
	}
	length := func(n uint32) []byte {
		return change(20, binary.LittleEndian.AppendUint32(nil, n)...)
	}
	tests := []struct {
		name string
		data []byte
		want inputResult
	}{
		{"empty", nil, inputShort},
		{"one byte", good[:1], inputShort},
		{"one byte less than a header", good[:23], inputShort},
		{"another conversation", change(0, 8), inputConv},
		{"unknown command below", change(4, 80), inputUnknown},
		{"unknown command above", change(4, 85), inputUnknown},
		{"command zero", change(4, 0), inputUnknown},
		{"length one too many", length(5), inputTruncated},
		{"length of 2^31-1", length(math.MaxInt32), inputTruncated},
		{"length of 2^31", length(1 << 31), inputTruncated},
		{"length that would wrap with the header", length(math.MaxUint32 - 23), inputTruncated},
		{"length of 2^32-1", length(math.MaxUint32), inputTruncated},
		{"data cut off", good[:27], inputTruncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := inputCore(t, 0)
			before := viewOf(c)
			if got := c.input(inputAt(1100), tt.data, true); got != tt.want {
				t.Errorf("input = %d, want %d", got, tt.want)
			}
			if after := viewOf(c); after != before {
				t.Errorf("state changed\nfrom %+v\nto   %+v", before, after)
			}
			if c.stats.inputErrors != 1 || c.stats.segsIn != 0 {
				t.Errorf("counted %d errors and %d segments, want 1 and 0",
					c.stats.inputErrors, c.stats.segsIn)
			}
		})
	}
}

func TestInputTakesSegmentsBeforeTheBadOne(t *testing.T) {
	push := func(sn seqNum) []byte {
		s := segment{conv: 7, cmd: cmdPush, wnd: 32, ts: 500, sn: sn, data: []byte("x")}
		return appendSegment(nil, &s)
	}
	for _, tt := range []struct {
		name   string
		bad    []byte
		want   inputResult
		errors uint64
	}{
		{"another conversation", append(append([]byte{9}, push(1)[1:]...), push(1)...),
			inputConv, 1},
		{"unknown command",
			append(append(push(1)[:4:4], append([]byte{99}, push(1)[5:]...)...), push(1)...),
			inputUnknown, 1},
		{"truncated", push(1)[:24], inputTruncated, 1},
		{"a few bytes", push(1)[:10], inputOK, 0},
	} {
		c := new(core)
		c.init(7, 1000)
		if got := c.input(inputAt(1000), append(push(0), tt.bad...), true); got != tt.want {
			t.Errorf("%s: input = %d, want %d", tt.name, got, tt.want)
		}
		if c.rcvNxt != 1 || c.stats.segsIn != 1 || c.stats.inputErrors != tt.errors {
			t.Errorf("%s: rcvNxt %d, %d segments, %d errors, want 1, 1, %d",
				tt.name, c.rcvNxt, c.stats.segsIn,
				c.stats.inputErrors, tt.errors)
		}
		releaseCore(c)
	}
}

func TestInputIgnoresNumbersThatNoHonestPeerSends(t *testing.T) {
	type change func(s *segment, base seqNum, c *core)
	ack := func(sn seqNum, ts func(c *core) timestamp) change {
		return func(s *segment, base seqNum, c *core) {
			s.cmd, s.sn, s.ts = cmdAck, base+sn, ts(c)
		}
	}
	sent := func(c *core) timestamp { return c.ts(1000) }
	push := func(sn seqNum, frg uint8) change {
		return func(s *segment, base seqNum, _ *core) {
			s.cmd, s.sn, s.frg, s.data = cmdPush, base+sn, frg, []byte("forged")
		}
	}
	tests := []struct {
		name   string
		change change
		// the counter that must be 1; nil: an honest peer may send it late
		counted func(s *coreStats) uint64
	}{
		{"una one beyond what was sent",
			func(s *segment, base seqNum, _ *core) { s.una, s.wnd = base+7, 0 }, badFields},
		{"una far beyond",
			func(s *segment, base seqNum, _ *core) { s.una, s.wnd = base+1<<30, 0 }, badFields},
		{"una from the past with another window",
			func(s *segment, base seqNum, _ *core) { s.una, s.wnd = base+1, 5 }, nil},
		{"una half the circle away",
			func(s *segment, base seqNum, _ *core) { s.una, s.wnd = base+2+1<<31, 5 }, nil},
		{"ACK for what was never sent", ack(6, sent), nil},
		{"ACK far ahead", ack(1<<30, sent), nil},
		{"ACK for what has been acknowledged", ack(1, sent), nil},
		{"ACK again above una", ack(4, sent), nil},
		{"ACK with the ts of nobody", ack(3, func(*core) timestamp { return 77 }), badFields},
		{"ACK with a ts from before the first transmission",
			ack(3, func(c *core) timestamp { return c.ts(999) }), badFields},
		{"ACK with a ts from the future",
			ack(3, func(c *core) timestamp { return c.ts(1061) }), badFields},
		{"ACK with a ts half the circle away",
			ack(3, func(c *core) timestamp { return c.ts(1000) + 1<<31 }), badFields},
		{"PUSH at the end of the window", push(13+32, 0), outOfWindow},
		{"PUSH far ahead", push(1<<30, 0), outOfWindow},
		{"PUSH of as many fragments as the window", push(13, 32), badFields},
		{"PUSH of the most fragments", push(13, 255), badFields},
		{"window update older than the newest",
			func(s *segment, _ seqNum, _ *core) { s.ts, s.wnd = 499, 3 }, nil},
	}
	for _, tt := range tests {
		for _, base := range inputBases {
			c := inputCore(t, base)
			before := viewOf(c)
			s := segment{conv: 7, cmd: cmdWins, wnd: 32, ts: 500, una: base + 2}
			tt.change(&s, base, c)
			if got := c.input(inputAt(1100), appendSegment(nil, &s), true); got != inputOK {
				t.Errorf("%s at %d: input = %d, want 0", tt.name, base, got)
			}
			if after := viewOf(c); after != before {
				t.Errorf("%s at %d: state changed\nfrom %+v\nto   %+v",
					tt.name, base, before, after)
			}
			if tt.counted != nil && tt.counted(&c.stats) != 1 {
				t.Errorf("%s at %d: not counted: %+v", tt.name, base, c.stats)
			}
		}
	}
}

func TestInputAcknowledgesDuplicatesAndKeepsTheFirst(t *testing.T) {
	for _, base := range inputBases {
		c := inputCore(t, base)
		before := viewOf(c)
		var data []byte
		for _, n := range []seqNum{2, 10, 12, 14} {
			data = appendSegment(data, &segment{conv: 7, cmd: cmdPush, wnd: 32, ts: 501,
				sn: base + n, una: base + 2, data: []byte("other")})
		}
		c.input(inputAt(1100), data, true)
		if c.stats.repeats != 4 || len(c.acks) != 4 || c.rcvNxt != before.rcvNxt ||
			c.outOfOrder != before.beyond {
			t.Errorf("at %d: %d repeats, %d ACKs, rcvNxt %d, %d beyond; want 4, 4, %d, %d",
				base, c.stats.repeats, len(c.acks),
				c.rcvNxt, c.outOfOrder, before.rcvNxt, before.beyond)
		}
		var got []byte
		buf := make([]byte, 100)
		for n := c.recv(buf); n >= 0; n = c.recv(buf) {
			got = append(got, buf[:n]...)
		}
		if string(got) != "ininin" {
			t.Errorf("at %d: read %q, want the first copies", base, got)
		}
	}
}

func TestInputTakesWindowFromTheNewestPacket(t *testing.T) {
	c := new(core)
	c.init(7, 1000)
	c.setNoDelay(1, 10, 2, 1)
	c.ctl.incarnation, c.ctl.peer = 1, 2 // a WINS of such a peer bears its clock
	defer releaseCore(c)
	wins := func(ts timestamp, una seqNum, wnd uint16) []byte {
		return appendSegment(nil, &segment{conv: 7, cmd: cmdWins, ts: ts, una: una, wnd: wnd})
	}
	for range 8 {
		c.send([]byte("x"))
	}
	flushAll(c, 1000)
	steps := []struct {
		name string
		data []byte
		want uint32
	}{
		{"first", wins(100, 0, 20), 20},
		{"newer", wins(150, 0, 0), 0},
		{"overtaken by a newer one", wins(140, 0, 20), 0},
		{"equally old", wins(150, 0, 7), 7},
		{"more acknowledged, as an ACK has it", ackData(nil, c, 2, 1), 32},
		{"less acknowledged", wins(149, 1, 3), 32},
		{"closed at what is acknowledged", wins(160, 3, 0), 0},
		{"an ACK that the closing overtook", ackData(nil, c, 2, 3), 0},
		{"opened again", wins(170, 4, 9), 9},
		{"an ACK from before it opened", appendSegment(nil,
			&segment{conv: 7, cmd: cmdAck, sn: 3, ts: c.ts(1000), una: 4, wnd: 0}), 9},
		{"an ACK of what the full queue could not take", appendSegment(nil,
			&segment{conv: 7, cmd: cmdAck, sn: 4, ts: c.ts(1000), una: 4, wnd: 9}), 9},
		{"and then the closing", wins(180, 4, 0), 0},
		{"a clock that begins anew", wins(math.MaxUint32-staleWindow, 4, 11), 11},
	}
	for _, s := range steps {
		c.input(inputAt(1010), s.data, true)
		if c.rmtWnd != s.want {
			t.Errorf("%s: window %d, want %d", s.name, c.rmtWnd, s.want)
		}
	}
	c.input(inputAt(1010), wins(200, 6, 1), false)
	if c.rmtWnd != 11 {
		t.Errorf("from a recovered packet: window %d, want 11", c.rmtWnd)
	}
}

func TestForgedFirstUnaDoesNotFreezeTheWindow(t *testing.T) {
	for _, base := range inputBases {
		for _, back := range []seqNum{1, wndMax, wndMax + 1, 1<<31 - 1} {
			c := new(core)
			c.init(7, 1000)
			c.setNoDelay(1, 10, 2, 1)
			c.sendUna, c.sendNxt, c.sendEnd = base, base, base
			wins := segment{conv: 7, cmd: cmdWins, ts: 500, wnd: 9, una: base - back}
			c.input(inputAt(1000), appendSegment(nil, &wins), true)
			for range 3 {
				c.send([]byte("x"))
			}
			flushAll(c, 1000)
			wins.una, wins.wnd = base+3, 4
			c.input(inputAt(1000), appendSegment(nil, &wins), true)
			if c.rmtWnd != 4 {
				t.Errorf("after una %d below %d: window %d, want 4", back, base, c.rmtWnd)
			}
			releaseCore(c)
		}
	}
}

func TestEmptyPushIsAMessageOfNoBytes(t *testing.T) {
	c := new(core)
	c.init(7, 1000)
	for sn := range seqNum(2) {
		inputSegment(c, 1000, segment{conv: 7, cmd: cmdPush, sn: sn, wnd: 32})
	}
	if n := c.peekSize(); n != 0 {
		t.Errorf("peekSize = %d, want 0", n)
	}
	for _, want := range []int{0, 0, -1} {
		if n := c.recv(nil); n != want {
			t.Errorf("recv = %d, want %d", n, want)
		}
	}
	if got := flushAll(c, 1100); len(got) != 1 || got[0].cmd != cmdAck || got[0].una != 2 {
		t.Errorf("sent %+v, want one ACK up to 2", got)
	}
	releaseCore(c)
}

// An attacker that knows the conv can make a receiver hold memory only in proportion to what it
// sends.
func TestReceiverHoldsMemoryInProportion(t *testing.T) {
	receiver := func() *core {
		c := new(core)
		c.init(7, 1000)
		c.setWindows(wndMax, wndMax)
		t.Cleanup(func() { releaseCore(c) })
		return c
	}
	t.Run("far ahead", func(t *testing.T) {
		c := receiver()
		for _, sn := range []seqNum{wndMax - 1, wndMax / 2, reachLeast} {
			c.input(inputAt(1000), pushData(5, sn), true)
			if c.in != nil || len(c.acks) > 0 || c.stats.outOfWindow == 0 {
				t.Fatalf("segment %d of a peer that has sent nothing was taken", sn)
			}
		}
		c.input(inputAt(1000), pushData(5, reachLeast-1), true)
		if c.outOfOrder != 1 {
			t.Fatalf("segment %d was not taken", reachLeast-1)
		}
		for sn := range seqNum(wndMax / reachShare) {
			c.input(inputAt(1000), pushData(5, sn), true)
		}
		c.input(inputAt(1000), pushData(5, wndMax-1), true)
		if c.outOfOrder != 1 {
			t.Errorf("after %d segments the last of the window was not taken", c.stats.segsIn)
		}
	})
	t.Run("larger than a packet", func(t *testing.T) {
		c := receiver()
		data := pattern(2000, 1)
		inputSegment(c, 1000, segment{conv: 7, cmd: cmdPush, data: data})
		if got := cap(c.in.at(0).data); got > 3000 {
			t.Errorf("2000 bytes take %d", got)
		}
		buf := make([]byte, 3000)
		if n := c.recv(buf); !bytes.Equal(buf[:max(n, 0)], data) {
			t.Errorf("recv = %d, or other bytes", n)
		}
	})
	t.Run("duplicates while nothing can be sent", func(t *testing.T) {
		c := receiver()
		c.setWindows(0, 32)
		for range 10_000 {
			c.input(inputAt(1000), pushData(5, 0, 0, 0), true)
		}
		if len(c.acks) > acksLeast {
			t.Errorf("%d ACKs are kept", len(c.acks))
		}
	})
}

// FuzzInput feeds forged datagrams to both ends of a lossless exchange, through the state machine
// and through the shell. Neither may panic or become inconsistent. An attacker that knows neither
// conv nor sequence numbers cannot change what is delivered: what is read is a prefix of what was
// written.
func FuzzInput(f *testing.F) {
	c := inputCore(f, 0)
	f.Add(testAck(c, 2, 3), uint64(1))
	f.Add(appendSegment(nil, &segment{conv: 7, cmd: cmdPush, sn: 3, frg: 2, data: []byte("abc")}),
		uint64(2))
	f.Add(appendSegment(nil, &segment{conv: 7, cmd: cmdWask, una: 1 << 31}), uint64(3))
	f.Add(appendSegment(nil, &segment{conv: 7, cmd: cmdWins, sn: controlMagic, ts: controlVersion,
		data: appendControl(nil, &controlSet{has: [ctlPong + 1]bool{ctlHello: true, ctlFin: true},
			incarnation: 5, final: 9})}), uint64(4))
	f.Add(appendSegment(nil, &segment{conv: 7, cmd: cmdPush, sn: math.MaxUint32})[:30-8], uint64(5))
	f.Fuzz(func(t *testing.T, forged []byte, seed uint64) {
		fuzzExchange(t, forged, seed, true)
		fuzzExchange(t, forged, seed, false)
		fuzzShell(forged)
	})
}

// fuzzExchange runs an exchange of two state machines with forged datagrams in between. With ours,
// the forged segments have the conversation's number, and only the invariants of the state machine
// are checked.
func fuzzExchange(t *testing.T, forged []byte, seed uint64, ours bool) {
	l := newCoreLink(seed, linkProfile{delay: 5})
	rng := rand.New(rand.NewPCG(seed, 5))
	for _, c := range l.ends {
		c.ctl.incarnation = uint64(len(forged)) + 1
		c.setWindows(1+rng.IntN(64), 32+rng.IntN(32))
		c.setNoDelay(1, 10, 2, rng.IntN(2))
		defer releaseCore(c)
	}
	if !ours && len(forged) >= 4 {
		forged = bytes.Clone(forged)
		binary.LittleEndian.PutUint32(forged, 8)
	}
	written := pattern(4000, 3)
	var read []byte
	buf := make([]byte, 1<<18)
	for rest := written; ; {
		for len(rest) > 0 && l.ends[0].queued() < l.ends[0].sndWnd {
			n := min(len(rest), 1+rng.IntN(300))
			l.ends[0].send(rest[:n])
			rest = rest[n:]
		}
		for i, c := range l.ends {
			c.input(inputAt(l.now), forged, rng.IntN(2) == 0)
			checkCore(t, c)
			for n := c.recv(buf); n >= 0; n = c.recv(buf) {
				if i == 1 {
					read = append(read, buf[:n]...)
				}
			}
			if c.nextEvent(l.now) <= l.now {
				l.flush(i)
			}
		}
		if l.now > 4000 || !l.step() || !ours && len(read) == len(written) {
			break
		}
	}
	if !ours && !bytes.Equal(read, written) {
		t.Fatalf("%d of %d bytes arrived, or others", len(read), len(written))
	}
}

// fuzzShell feeds a datagram to the shell alone.
func fuzzShell(forged []byte) {
	k := NewKCP(7, func([]byte, int) {})
	k.Send([]byte("hello"))
	k.Update()
	buf := make([]byte, 1<<16)
	for _, kind := range []PacketType{IKCP_PACKET_REGULAR, IKCP_PACKET_FEC} {
		k.Input(forged, kind, true)
		for k.Recv(buf) >= 0 {
		}
		k.Update()
		k.Check()
	}
	releaseCore(&k.core)
}
