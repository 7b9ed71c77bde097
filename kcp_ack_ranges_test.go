// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
)

// ackPath is a path of 20 Mbit/s that loses packets at random in both directions.
type ackPath struct {
	rtt  millis
	loss float64
	// answer, if set, replaces what the receiver sends; nil drops it.
	answer func(l *coreLink, data []byte) []byte
}

// ackCounts is what a transfer took.
type ackCounts struct {
	received int // segments that were needed
	repeats  int // that were received again
	pushes   int // sent
	acks     int // datagrams of the receiver
	ranges   int // of these, with ACKR
	share    float64
	read     int
	took     millis
	bad      uint64
}

// run transfers size bytes, at most for so long.
func (p ackPath) run(t *testing.T, seed uint64, size int, limit millis) (r ackCounts) {
	t.Helper()
	const rate = 20e6 / 8
	lines := &[2]line{{rate: rate, queue: int(rate * p.rtt / 1000)}, {rate: rate, queue: rate}}
	l := newLineLink(seed, linkProfile{delay: p.rtt / 2}, lines)
	window := 2 * int(rate*p.rtt/1000) / 1400
	for _, c := range l.ends {
		c.setNoDelay(1, 10, 2, 1)
		c.setWindows(window, window)
		c.setMode(modeFixedWindows, true)
		c.setMode(modeStream, true)
	}
	send := l.onPacket
	l.onPacket = func(from int, data []byte) bool {
		for _, s := range segmentsOf(data) {
			if s.cmd == cmdPush {
				r.pushes++
			}
			if isControl(&s) && findAckRanges(s.data) != nil {
				r.ranges++
			}
		}
		if from == 1 && p.answer != nil {
			if data = p.answer(l, data); data == nil {
				return false
			}
		}
		if l.chance(p.loss) {
			lines[from].sent++
			lines[from].bytes += len(data)
			return false
		}
		return send(from, data)
	}
	r.took, r.read = l.bulk(t, size, size, limit)
	r.repeats, r.received = int(l.ends[1].stats.repeats), int(l.ends[1].rcvNxt)
	r.acks, r.share = lines[1].sent, float64(lines[1].bytes)/float64(lines[0].bytes)
	r.bad = l.ends[0].stats.badFields + l.ends[1].stats.badFields
	return r
}

// A lost acknowledgement causes no retransmission where ranges repeat it. Without ranges 4 % of the
// segments are received again at a loss of 5 %, and 20 % at one of 20 %.
func TestRangesRepeatLostAcknowledgements(t *testing.T) {
	for _, tt := range []struct {
		rtt  millis
		loss float64
		most float64 // spurious retransmissions for each segment
	}{
		{20, 0.05, 0.01}, {100, 0.05, 0.01}, {100, 0.2, 0.02}, {300, 0.2, 0.02},
	} {
		t.Run(fmt.Sprintf("RTT %d loss %v", tt.rtt, tt.loss), func(t *testing.T) {
			r := ackPath{rtt: tt.rtt, loss: tt.loss}.run(t, 1, 3<<20, 60_000)
			share := float64(r.repeats) / float64(r.received)
			t.Logf("%d ms, %d of %d segments received again, %.3f sent for each",
				r.took, r.repeats, r.received, float64(r.pushes)/float64(r.received))
			if r.read < 3<<20 || share > tt.most {
				t.Errorf("%d bytes, %.1f %% again, want at most %.1f %%",
					r.read, 100*share, 100*tt.most)
			}
			if r.ranges == 0 || r.bad > 0 {
				t.Errorf("%d ACKR, %d invalid values", r.ranges, r.bad)
			}
		})
	}
}

// The acknowledgements of a stream take at most 2 % of the bytes of its data.
func TestAcknowledgementsTakeAFractionOfTheBytes(t *testing.T) {
	for _, rtt := range []millis{20, 100, 300} {
		for _, loss := range []float64{0, 0.01, 0.05} {
			t.Run(fmt.Sprintf("RTT %d loss %v", rtt, loss), func(t *testing.T) {
				r := ackPath{rtt: rtt, loss: loss}.run(t, 2, 6<<20, 60_000)
				rounds := int(r.took / rtt)
				t.Logf("%.2f %% in %d datagrams, %d ms", 100*r.share, r.acks, r.took)
				if r.read < 6<<20 || r.share > 0.02 {
					t.Errorf("%d bytes, ACKs take %.2f %%, want at most 2 %%", r.read, 100*r.share)
				}
				if r.acks < acksPerRound*rounds {
					t.Errorf("%d datagrams in %d round trips", r.acks, rounds)
				}
			})
		}
	}
}

// A peer without bit 2 in its HELLO, or without a HELLO, is sent no ACKR. One from it counts: its
// HELLO may have been lost.
func TestRangesAreOnlyForPeersThatReadThem(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags uint8
		known bool
		want  bool
	}{
		{"a legacy peer", 0, false, false},
		{"an earlier version", helloShared | helloMarks, true, false},
		{"one that reads them", helloRanges, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := controlCore(t, 0)
			if c.ctl.peerFlags = tt.flags; !tt.known {
				c.ctl.peer = 0
			}
			c.input(inputAt(1100), pushData(1000, 16, 18, 20), true)
			sent := flushAll(c, 1200)
			got := slices.ContainsFunc(sent, func(s segment) bool {
				return isControl(&s) && findAckRanges(s.data) != nil
			})
			if exact := count(sent, cmdAck); got != tt.want || exact == 0 {
				t.Errorf("ACKR %v beside %d ACKs, want %v", got, exact, tt.want)
			}
			before := c.queuedOutstanding()
			inputSegment(c, 1210, rangesSegment(c, 2, "02"+"0101"+"0101"))
			if took := before - c.queuedOutstanding(); took != 2 {
				t.Errorf("an ACKR acknowledges %d segments, want 2", took)
			}
		})
	}
}

// rangesSegment returns a segment with an ACKR for c. counted is the count and the ranges.
func rangesSegment(c *core, rcvNxt seqNum, counted string) segment {
	value := binary.LittleEndian.AppendUint32(nil, 0)
	value = binary.LittleEndian.AppendUint32(value, uint32(rcvNxt))
	ranges, err := hex.DecodeString(counted)
	if err != nil {
		panic(err)
	}
	value = append(value, ranges...)
	return segment{conv: c.conv, cmd: cmdWins, wnd: 32, ts: controlVersion, sn: controlMagic,
		una: c.sendUna, data: append([]byte{ctlAckRanges, uint8(len(value))}, value...)}
}

// The ACKR of a receiver says what it holds, and stands behind the exact ACKs. They are the newest,
// and those of segments that others have overtaken.
func TestRangesStandBehindTheExactAcks(t *testing.T) {
	for _, base := range inputBases {
		c := controlCore(t, base) // has up to base+12, and base+14
		c.input(inputAt(1100), pushData(1000, base+16, base+17, base+20), true)
		c.input(inputAt(1101), pushData(1001, base+18, base+19, base+23, base+24), true)
		sent := flushAll(c, 1200)
		var acks []seqNum
		for len(sent) > 0 && sent[0].cmd == cmdAck {
			acks = append(acks, sent[0].sn-base)
			sent = sent[1:]
		}
		if want := []seqNum{20, 18, 19, 24}; !slices.Equal(acks, want) {
			t.Errorf("base %d: ACKs for %d, want %d", base, acks, want)
		}
		if len(sent) == 0 || !isControl(&sent[0]) {
			t.Fatalf("base %d: %+v behind the ACKs, want an ACKR", base, sent)
		}
		value := findAckRanges(sent[0].data)
		a := readAckRanges(value)
		got, _ := ackRangesOf(value, base+100)
		want := []snRange{{base + 14, base + 15}, {base + 16, base + 21}, {base + 23, base + 25}}
		if a.ts != 1001 || a.rcvNxt != base+13 || !slices.Equal(got, want) {
			t.Errorf("base %d: ts %d, rcv_nxt %d, %v; want 1001, %d, %v",
				base, a.ts, a.rcvNxt, got, base+13, want)
		}
	}
}

// A small packet size leaves room for fewer ranges, and too small a one for none.
func TestRangesFitThePacket(t *testing.T) {
	for mtu := 60; mtu < 400; mtu++ { // less has no room for a PING
		c := controlCore(t, 0)
		c.setMTU(mtu)
		c.setWindows(0, 1000)
		for sn := seqNum(16); sn < 400; sn += 2 {
			c.input(inputAt(1100), pushData(1000, sn), true)
		}
		w := packetWriter{arena: make([]byte, 1<<16), maxPackets: 1 << 10}
		w.reset(0, 0, c.mtu)
		c.flush(millis(1100).instant(), &w)
		ranges := 0
		for i, p := range w.packets {
			if p.size() > mtu {
				t.Fatalf("MTU %d: a packet of %d bytes", mtu, p.size())
			}
			for j, s := range segmentsOf(w.arena[p.start:p.end]) {
				if isControl(&s) && findAckRanges(s.data) != nil {
					if ranges++; i > 0 || j == 0 {
						t.Errorf("MTU %d: ACKR is segment %d of packet %d", mtu, j, i)
					}
				}
			}
		}
		if want := mtu >= 69; (ranges == 1) != want || ranges > 1 {
			t.Errorf("MTU %d: %d ACKR", mtu, ranges)
		}
	}
}

// Nothing that an ACKR says acknowledges more than what is in flight. What no correct peer sends is
// counted.
func TestForgedRanges(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rcvNxt  seqNum // 0 is the first in flight, 10 has not been sent
		counted string
		want    []seqNum
		bad     uint64
	}{
		{"none", 0, "00", nil, 0},
		{"one", 0, "01" + "0203", []seqNum{2, 3, 4}, 0},
		{"several", 0, "03" + "0101" + "0102" + "0203", []seqNum{1, 3, 4, 7, 8, 9}, 0},
		{"from una on, as from a full queue", 0, "01" + "0002", []seqNum{0, 1}, 0},
		{"everything", 0, "01" + "000a", []seqNum{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 0},
		{"overtaken by una", ^seqNum(4), "02" + "0102" + "0304", []seqNum{1, 2, 3, 4}, 0},
		{"far below una", ^seqNum(70000), "01" + "0101", nil, 0},
		{"one too many", 0, "01" + "010a", nil, 1},
		{"a gap to what was not sent", 0, "01" + "0a01", nil, 1},
		{"rcv_nxt beyond what was sent", 11, "01" + "0101", nil, 1},
		{"rcv_nxt at the end", 10, "01" + "0001", nil, 1},
		{"rcv_nxt far ahead", 1 << 31, "01" + "0001", nil, 1},
		{"length 0", 0, "02" + "0100" + "0101", nil, 1},
		{"valid, then too long", 0, "02" + "0101" + "0120", []seqNum{1}, 1},
		{"adjacent", 0, "02" + "0101" + "0001", []seqNum{1}, 1},
		{"a gap of 2^32 - 1", 0, "01" + "ffffffff0f" + "02", nil, 1},
		{"a length of 2^32", 0, "01" + "01" + "8080808010", nil, 1},
		{"more ranges than allowed", 0, "41" + "0101", nil, 1},
		{"fewer ranges than counted", 0, "03" + "0101", []seqNum{1}, 1},
	} {
		for _, base := range inputBases {
			c := timedCore(t, 1, 10, 2)
			c.ctl.incarnation, c.ctl.peer, c.ctl.peerFlags = 1, 2, helloRanges
			c.sendUna, c.sendNxt, c.sendEnd = base, base, base
			for range 12 {
				c.send([]byte("data"))
			}
			c.setWindows(10, 0)
			flushAll(c, 1000)
			before := viewOf(c)
			s := rangesSegment(c, base+tt.rcvNxt, tt.counted)
			for i := range millis(3) { // repeated, it changes nothing more
				inputSegment(c, 1010+i, s)
			}
			var got []seqNum
			for sn := base; sn != c.sendNxt; sn++ {
				if sn.before(c.sendUna) || !c.ring.isOutstanding(sn) {
					got = append(got, sn-base)
				}
			}
			if !slices.Equal(got, tt.want) || c.stats.badFields != 3*tt.bad {
				t.Errorf("%s, base %d: acknowledges %d, counted %d; want %d, %d",
					tt.name, base, got, c.stats.badFields, tt.want, 3*tt.bad)
			}
			after := viewOf(c)
			if after.sendNxt != before.sendNxt || after.rtt != before.rtt ||
				len(tt.want) == 0 && after != before {
				t.Errorf("%s, base %d: %+v became %+v", tt.name, base, before, after)
			}
			checkCore(t, c)
		}
	}
}

// A range validates no address: whoever did not receive anything can guess it.
func TestRangesValidateNoAddress(t *testing.T) {
	c := controlCore(t, 0)
	c.demandProof(newAddressCheck(3, 1<<16, 0, 1, c.sendUna, 1000))
	inputSegment(c, 1100, rangesSegment(c, 2, "01"+"0004"))
	if c.addr == nil {
		t.Error("an ACKR has validated the address")
	}
	if c.queuedOutstanding() != 0 {
		t.Errorf("%d segments are left in flight", c.queuedOutstanding())
	}
}

// A peer that acknowledges everything at once, unseen, is sent no more by ranges than by una. It
// receives less than an honest one.
func TestOptimisticRangesGainNothing(t *testing.T) {
	claim := func(a *core, ranges bool) []byte {
		n := a.sendUna.distance(a.sendNxt)
		if !ranges || n == 0 {
			return testAck(a, a.sendNxt)
		}
		s := rangesSegment(a, a.sendUna,
			hex.EncodeToString(binary.AppendUvarint([]byte{1, 0}, uint64(n))))
		return appendSegment(nil, &s)
	}
	const size, limit = 32 << 20, 3000
	run := func(cheats, ranges bool) ackCounts {
		path := ackPath{rtt: 100, loss: 0.05}
		if cheats {
			path.answer = func(l *coreLink, data []byte) []byte {
				// Half a round trip earlier than an honest answer could arrive.
				l.ends[0].input(inputAt(l.now), claim(l.ends[0], ranges), true)
				return data
			}
		}
		return path.run(t, 3, size, limit)
	}
	honest, una, got := run(false, false), run(true, false), run(true, true)
	t.Logf("%d segments sent and %d bytes read, by una %d and %d, honest %d and %d",
		got.pushes, got.read, una.pushes, una.read, honest.pushes, honest.read)
	if got.pushes > una.pushes+una.pushes/10 {
		t.Errorf("ranges obtain %d segments, una %d", got.pushes, una.pushes)
	}
	if got.read > honest.read/2 {
		t.Errorf("it reads %d bytes, an honest peer %d", got.read, honest.read)
	}
}

// Neither end of an ACKR allocates.
func TestRangesAllocateNothing(t *testing.T) {
	c := controlCore(t, 0)
	c.input(inputAt(1100), pushData(1000, 16, 18, 20), true)
	w := packetWriter{arena: make([]byte, 1<<16), maxPackets: 8}
	again, now := pushData(1000, 18), millis(1200)
	ranges := rangesSegment(c, 2, "01"+"0101")
	answer := appendSegment(nil, &ranges)
	ctx, sent := inputAt(now), 0
	allocs := testing.AllocsPerRun(100, func() {
		now++
		ctx.now = now.instant()
		c.input(ctx, again, true)
		c.input(ctx, answer, true)
		w.reset(0, 0, c.mtu)
		c.flush(now.instant(), &w)
		sent += len(w.packets)
	})
	if allocs > 0 || sent < 100 {
		t.Errorf("%v allocations for an ACKR, %d packets", allocs, sent)
	}
}
