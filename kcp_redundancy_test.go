// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"slices"
	"testing"
)

// gameCore returns a state machine in no-delay mode on a path of that round trip. Its peer reads
// the extension.
func gameCore(t *testing.T, rtt millis) *core {
	c := timedCore(t, 1, 10, 2)
	c.ctl.incarnation, c.ctl.peer, c.ctl.peerFlags = 1, 2, helloRanges
	c.ctl.hello.acked = true
	for range 20 {
		c.rtt.sample(rtt, rtt)
	}
	return c
}

// say sends a message of that size at now and returns the numbers of the PUSHes of its datagram.
func say(c *core, now millis, size int) (sns []seqNum) {
	c.send(bytes.Repeat([]byte{byte(c.sendEnd)}, size))
	return pushNumbers(flushAll(c, now))
}

func pushNumbers(sent []segment) (sns []seqNum) {
	for _, s := range sent {
		if s.cmd == cmdPush {
			sns = append(sns, s.sn)
		}
	}
	return sns
}

// ackOf inputs the ACK of a segment with that ts.
func ackOf(c *core, now millis, una, sn seqNum, ts timestamp) {
	inputSegment(c, now, segment{conv: 7, cmd: cmdAck, wnd: 128, ts: ts, sn: sn, una: una})
}

func TestSmallDatagramsCarryTheNewestSegmentsAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule copyRule
		seen uint16
		size int
		want []seqNum // of the fifth message
	}{
		{"by default one", copiesByLoss, 0, 100, []seqNum{4, 3}},
		{"2 % loss", copiesByLoss, seenSome, 100, []seqNum{4, 3, 2}},
		{"8 % loss", copiesByLoss, seenMuch, 100, []seqNum{4, 3, 2, 1}},
		{"8 % loss, as many as fit", copiesByLoss, seenMuch, 140, []seqNum{4, 3, 2}},
		{"messages of half the room", copiesByLoss, 0, 256 - 24, []seqNum{4, 3}},
		{"no room for another", copiesByLoss, 0, 257 - 24, []seqNum{4}},
		{"large", copiesByLoss, 0, 1000, []seqNum{4}},
		{"off", copiesNone, seenMuch, 100, []seqNum{4}},
		{"fixed", 2, 0, 100, []seqNum{4, 3, 2}},
		{"fixed below what is lost", 1, seenMuch, 100, []seqNum{4, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := gameCore(t, 100)
			c.redundant().seen = tt.seen
			c.setCopyRule(tt.rule)
			var got []seqNum
			for i := range millis(5) {
				got = say(c, 1000+20*i, tt.size)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("the datagram has segments %d, want %d", got, tt.want)
			}
		})
	}
}

// What need not be copied, or would do harm, is not.
func TestWhatIsNotCopied(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(c *core)
		want   []seqNum
	}{
		{"control", func(*core) {}, []seqNum{2, 1}},
		{"without no-delay mode", func(c *core) { c.setNoDelay(0, 10, 2, 1) }, []seqNum{2}},
		{"acknowledged", func(c *core) { ackOf(c, 1030, 0, 1, c.ts(1020)) }, []seqNum{2, 0}},
		{"an address that is not validated", func(c *core) {
			c.addr = newAddressCheck(3, 1<<20, 0, 0, 0, c.latest.ms())
		}, []seqNum{2}},
		{"no round trip measured", func(c *core) { c.rtt = rttEstimator{}; c.rtt.init() },
			[]seqNum{2}},
		{"bulk", func(c *core) { c.redundant().spend(1040, bulkBurst+1) }, []seqNum{2}},
		{"data that waits", func(c *core) { c.send([]byte("more")); c.rmtWnd = 3 }, []seqNum{2}},
		{"beyond the rate", func(c *core) { c.rate.set(1000, 1020) }, []seqNum{2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := gameCore(t, 100)
			c.modes.set(modeWriteDelay, false)
			say(c, 1000, 50)
			say(c, 1020, 50)
			tt.before(c)
			if got := say(c, 1040, 50); !slices.Equal(got, tt.want) {
				t.Errorf("the datagram has segments %d, want %d", got, tt.want)
			}
		})
	}
	t.Run("of this millisecond, or older than an RTO", func(t *testing.T) {
		c := gameCore(t, 100)
		say(c, 1000, 50)
		if got := say(c, 1000, 50); !slices.Equal(got, []seqNum{1}) {
			t.Errorf("the datagram has segments %d, want 1", got)
		}
		now := 1000 + c.rto()
		flushAll(c, now) // resends both
		if got := say(c, now, 50); !slices.Equal(got, []seqNum{2}) {
			t.Errorf("the datagram has segments %d, want 2", got)
		}
	})
}

// A copy has the data and the sn of its segment, and a ts of its own. It neither postpones the
// timeout nor counts as a retransmission.
func TestCopiesLeaveTheTimeoutAlone(t *testing.T) {
	c := gameCore(t, 100)
	say(c, 1000, 50)
	due := 1000 + c.rto()
	c.send([]byte("next"))
	sent := flushAll(c, 1030)
	want := bytes.Repeat([]byte{0}, 50)
	if len(sent) != 2 || sent[1].sn != 0 || sent[1].ts != c.ts(1030) ||
		!bytes.Equal(sent[1].data, want) {
		t.Fatalf("sent %+v, want a message and a copy of the first one", sent)
	}
	if at := c.nextEvent(1031); at != due {
		t.Errorf("the next event is at %d, want the timeout at %d", at, due)
	}
	flushAll(c, due)
	if c.stats.timeoutRetrans != 1 || c.copiedSegments() != 2 || c.inFlight != 2 {
		t.Errorf("%d timeouts, %d copies, %d in flight, want 1, 2 and 2",
			c.stats.timeoutRetrans, c.copiedSegments(), c.inFlight)
	}
	checkCore(t, c)
}

// An ACK of any transmission acknowledges the segment, and tells the round trip if it identifies
// one. It shows a spurious loss only if the segment was taken for lost.
func TestAcknowledgementsOfCopies(t *testing.T) {
	for _, tt := range []struct {
		name     string
		resend   bool // the timeout expires before
		ts       millis
		rtt      millis // 0: not measured
		lost     bool   // the outcome
		spurious uint64
		bad      uint64
	}{
		{"first", false, 1000, 105, false, 0, 0},
		{"a copy", false, 1040, 65, true, 0, 0},
		{"an older copy", false, 1020, 0, true, 0, 0},
		{"none", false, 1041, 0, false, 0, 1},
		{"before the first", false, 999, 0, false, 0, 1},
		{"first, after its timeout", true, 1000, 145, false, 1, 0},
		{"a copy, after the timeout", true, 1040, 105, true, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := gameCore(t, 100)
			c.setCopyRule(3)
			say(c, 1000, 50)
			say(c, 1020, 50)
			if got := say(c, 1040, 50); !slices.Equal(got, []seqNum{2, 1, 0}) {
				t.Fatalf("the datagram has segments %d", got)
			}
			now := millis(1105)
			if tt.resend {
				now = 1000 + c.rto()
				flushAll(c, now)
				now = 1145
			}
			c.rtt.latest = 0
			ackOf(c, now, 0, 0, c.ts(tt.ts))
			if got := c.rtt.latest; got != tt.rtt {
				t.Errorf("a round trip of %d ms, want %d", got, tt.rtt)
			}
			if got := c.again.seen > 0; got != tt.lost {
				t.Errorf("counted as lost: %v, want %v", got, tt.lost)
			}
			if c.stats.spurious != tt.spurious || c.stats.badFields != tt.bad {
				t.Errorf("%d spurious losses and %d bad fields, want %d and %d",
					c.stats.spurious, c.stats.badFields, tt.spurious, tt.bad)
			}
			if got := c.ring.isOutstanding(0); got != (tt.bad > 0) {
				t.Errorf("outstanding: %v", got)
			}
			checkCore(t, c)
		})
	}
}

// A cumulative acknowledgement does not tell whether the segment or its copy has arrived. So it
// neither lengthens the timeout nor takes a loss back.
func TestCumulativeAcknowledgementsOfCopies(t *testing.T) {
	c := gameCore(t, 100)
	say(c, 1000, 50)
	say(c, 1090, 50)
	rto := c.rto()
	ackOf(c, 1100, 0, 1, c.ts(1090)) // invalid timing is none of this test's
	c.rtt.latest = -1
	c.rtt = rttEstimator{}
	c.rtt.init()
	c.rtt.sample(100, 100)
	for range 20 {
		c.rtt.sample(100, 100)
	}
	inputSegment(c, 1109, segment{conv: 7, cmd: cmdWins, wnd: 128, una: 2})
	if c.rto() > rto || c.stats.spurious != 0 || c.queuedOutstanding() != 0 {
		t.Errorf("an RTO of %d ms, want %d; %d spurious losses", c.rto(), rto, c.stats.spurious)
	}
}

// Retransmissions ride with what follows them, the oldest first, until one is acknowledged. In a
// run of losses each datagram behind the run then has what the reader waits for.
func TestRetransmissionsRideWithLaterData(t *testing.T) {
	c := gameCore(t, 100)
	now := millis(1000)
	for range 3 {
		say(c, now, 50)
		now += 20
	}
	at, sent := nextSent(c, now)
	if got := pushNumbers(sent); !slices.Equal(got, []seqNum{0, 2}) {
		t.Fatalf("the retransmission has segments %d, want 0 and the newest", got)
	}
	if got := say(c, at+5, 50); !slices.Equal(got, []seqNum{3, 0, 2}) {
		t.Errorf("the next datagram has segments %d, want 3, 0 and 2", got)
	}
	ackOf(c, at+6, 1, 0, c.ts(at))
	if got := say(c, at+7, 50); slices.Contains(got, 0) {
		t.Errorf("behind the acknowledgement it has segments %d", got)
	}
}

// Where losses come in runs, copies are an eighth of a round trip apart.
func TestCopiesAreSpreadAgainstRunsOfLosses(t *testing.T) {
	for _, tt := range []struct {
		runs uint16
		want []seqNum
	}{{0, []seqNum{9, 8, 7, 6}}, {seenRuns, []seqNum{9, 8, 6, 4}}} {
		c := gameCore(t, 80)
		r := c.redundant()
		r.seen, r.runs = seenMuch, tt.runs
		var got []seqNum
		for i := range millis(10) {
			got = say(c, 1000+6*i, 50)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("with runs of %d: segments %d, want %d", tt.runs, got, tt.want)
		}
	}
}

// A datagram without data carries copies only on a path that loses, and once the program pauses.
func TestAcknowledgementsCarryCopiesInAPause(t *testing.T) {
	carried := func(seen uint16, every, after millis) []seqNum {
		c := gameCore(t, 100)
		c.redundant().seen = seen
		now := millis(1000)
		for range 50 {
			say(c, now, 50)
			inputSegment(c, now+1, segment{conv: 7, cmd: cmdWins, wnd: 128, una: c.sendEnd})
			now += every
		}
		say(c, now, 50)
		c.input(inputAt(now+after), pushData(timestamp(now), c.rcvNxt), true)
		sent := flushAll(c, now+after+c.interval)
		if count(sent, cmdAck) != 1 {
			t.Fatalf("sent %+v, want an ACK", sent)
		}
		return pushNumbers(sent)
	}
	for _, tt := range []struct {
		name         string
		seen         uint16
		every, after millis
		want         []seqNum
	}{
		{"a path that loses nothing", 0, 500, 30, nil},
		{"one that loses", seenMuch, 500, 30, []seqNum{50}},
		{"younger than a quarter of a round trip", seenMuch, 500, 10, nil},
		{"the next message is near", seenMuch, 33, 30, nil},
		{"the next message is overdue", seenMuch, 33, 80, []seqNum{50}},
	} {
		if got := carried(tt.seen, tt.every, tt.after); !slices.Equal(got, tt.want) {
			t.Errorf("%s: copies of %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A copy that was not needed is not acknowledged by itself, and behind an ACK within the
// interval: a talk sends no further datagrams for it. A legacy peer is answered at once.
func TestCopiesThatWereNotNeeded(t *testing.T) {
	push := func(sn seqNum) segment {
		return segment{conv: 7, cmd: cmdPush, wnd: 128, ts: 400, sn: sn, data: []byte("x")}
	}
	ack := segment{conv: 7, cmd: cmdAck, wnd: 128}
	probe := push(0)
	probe.data = nil
	for _, tt := range []struct {
		name     string
		legacy   bool
		datagram []segment
		acks     int
		at       millis // when the ACKs leave
	}{
		{"behind new data", false, []segment{push(1), push(0)}, 1, 10},
		{"behind an ACK", false, []segment{ack, push(0)}, 1, 10},
		{"alone", false, []segment{push(0)}, 1, 0},
		{"in front of new data", false, []segment{push(0), push(1)}, 1, 0},
		{"a probe", false, []segment{push(1), probe}, 2, 0},
		{"a copy that was needed", false, []segment{push(2), push(1)}, 2, 0},
		{"of a legacy peer", true, []segment{push(1), push(0)}, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := gameCore(t, 100)
			if tt.legacy {
				c.ctl.peer, c.ctl.incarnation = 0, 0
			}
			c.input(inputAt(1000), pushData(300, 0), true)
			flushAll(c, 1010)
			var data []byte
			for i := range tt.datagram {
				data = appendSegment(data, &tt.datagram[i])
			}
			c.input(inputAt(2000), data, true)
			if got := len(c.acks); got != tt.acks {
				t.Errorf("%d ACKs are pending, want %d", got, tt.acks)
			}
			if got := c.ackAt - 2000; got != tt.at {
				t.Errorf("they leave after %d ms, want %d", got, tt.at)
			}
		})
	}
}

// The rate that counts as bulk is 64 kB/s, with some room for what is sent at once.
func TestBulkIsMoreThanSmallMessages(t *testing.T) {
	for _, tt := range []struct {
		bytes int
		every millis
		want  bool
	}{{120, 2, false}, {1000, 16, false}, {1300, 17, true}, {16 << 10, 1000, false}} {
		var r redundancy
		for now := millis(0); now < 10000; now += tt.every {
			r.spend(now, tt.bytes)
		}
		if got := r.bulk(); got != tt.want {
			t.Errorf("%d bytes each %d ms: bulk is %v, want %v", tt.bytes, tt.every, got, tt.want)
		}
	}
}

func TestSharesOfLosses(t *testing.T) {
	for _, tt := range []struct {
		name string
		lost func(sn seqNum) bool
		seen [2]uint16 // bounds
		runs [2]uint16
	}{
		{"none", func(seqNum) bool { return false }, [2]uint16{0, 0}, [2]uint16{0, 0}},
		{"one in twenty", func(sn seqNum) bool { return sn%20 == 7 },
			[2]uint16{seenSome, seenMuch}, [2]uint16{0, 0}},
		{"three of twenty in a row", func(sn seqNum) bool { return sn%20 < 3 },
			[2]uint16{seenMuch, seenOne / 5}, [2]uint16{seenRuns, seenOne}},
		{"all", func(seqNum) bool { return true },
			[2]uint16{seenOne * 9 / 10, seenOne}, [2]uint16{seenOne * 9 / 10, seenOne}},
	} {
		var r redundancy
		for sn := seqNum(0); sn < 2000; sn++ {
			r.outcome(sn, tt.lost(sn))
		}
		if r.seen < tt.seen[0] || r.seen > tt.seen[1] {
			t.Errorf("%s: seen %d, want %d", tt.name, r.seen, tt.seen)
		}
		if r.runs < tt.runs[0] || r.runs > tt.runs[1] {
			t.Errorf("%s: runs %d, want %d", tt.name, r.runs, tt.runs)
		}
	}
}

// Copies take no memory in the steady state.
func TestCopiesAllocateNothing(t *testing.T) {
	c := gameCore(t, 100)
	c.redundant().seen = seenMuch
	w := packetWriter{arena: make([]byte, 1<<14), maxPackets: 8}
	message := make([]byte, 100)
	now := millis(1000)
	step := func() {
		c.send(message)
		w.reset(0, 0, c.mtu)
		c.flush(now.instant(), &w)
		now += 20
		if c.sendUna+3 == c.sendNxt {
			c.acknowledged(c.sendUna, c.ring.at(c.sendUna).firstTS, now, nil)
		}
	}
	for range 100 {
		step()
	}
	before := c.copiedSegments()
	if n := testing.AllocsPerRun(200, step); n > 0 {
		t.Errorf("%v allocations for a message, want none", n)
	}
	if c.copiedSegments() < before+200 {
		t.Errorf("%d copies for 200 messages", c.copiedSegments()-before)
	}
}

// A second retransmission is made twice, an eighth of a round trip apart, and so is the first one
// of the oldest segment on a path that loses much.
func TestLaterRetransmissionsAreMadeTwice(t *testing.T) {
	for _, tt := range []struct {
		name   string
		seen   uint16
		rule   copyRule
		ride   bool // a message leaves before the second transmission
		first  []millis
		copies uint64
	}{
		{"little loss", 0, copiesByLoss, false, []millis{112, 12}, 1},
		{"much loss", seenHeavy, copiesByLoss, false, []millis{12, 100}, 1},
		{"with a message", seenHeavy, copiesByLoss, true, []millis{112}, 1},
		{"off", seenHeavy, copiesNone, false, []millis{112, 112}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := gameCore(t, 100)
			c.redundant().seen = tt.seen
			c.setCopyRule(tt.rule)
			say(c, 1000, 50)
			now, sent := nextSent(c, 1000)
			if count(sent, cmdPush) != 1 || c.stats.timeoutRetrans != 1 {
				t.Fatalf("sent %+v, want the retransmission", sent)
			}
			if tt.ride {
				now += 5
				if got := say(c, now, 50); !slices.Equal(got, []seqNum{1, 0}) {
					t.Fatalf("the message left with %d", got)
				}
				now -= 5
			}
			for i, want := range tt.first {
				at, sent := nextSent(c, now)
				if at-now != want || sent[0].sn != 0 || sent[0].ts != c.ts(at) {
					t.Fatalf("transmission %d comes after %d ms, want %d", i, at-now, want)
				}
				now = at
			}
			if got := c.copiedSegments(); got < tt.copies {
				t.Errorf("%d copies, want %d", got, tt.copies)
			}
			checkCore(t, c)
		})
	}
}

// What need not or must not be made twice is not: the peer has it, the path may be gone, it is too
// short, or the controller takes losses for congestion.
func TestRetransmissionsThatAreMadeOnce(t *testing.T) {
	again := func(c *core) (at millis, sent []segment) {
		say(c, 1000, 50)
		now := millis(1000)
		for range 2 {
			now, _ = nextSent(c, now)
		}
		at, sent = nextSent(c, now)
		return at - now, sent
	}
	for _, tt := range []struct {
		name    string
		rtt     millis
		prepare func(c *core)
	}{
		{"a short path", 7, func(*core) {}},
		{"an unknown path", 100, func(c *core) { c.rtt = rttEstimator{}; c.rtt.init() }},
		{"CUBIC", 100, func(c *core) {
			c.setControl(controlCubic, 0)
			c.beginFlow(c.latest, 1)
		}},
		{"a controller that has not filled the path", 100, func(c *core) {
			c.beginFlow(c.latest, 1)
		}},
		{"bulk", 100, func(c *core) {
			c.redundant().spend(1000, 2*bulkBurst)
			c.redundant().spend(1000, 2*bulkBurst)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := gameCore(t, tt.rtt)
			tt.prepare(c)
			if wait, _ := again(c); wait < c.rto() {
				t.Errorf("a transmission %d ms after the retransmission, want an RTO of %d",
					wait, c.rto())
			}
		})
	}
	t.Run("acknowledged", func(t *testing.T) {
		c := gameCore(t, 100)
		c.redundant().seen = seenHeavy
		say(c, 1000, 50)
		now, _ := nextSent(c, 1000)
		ackOf(c, now+2, 1, 0, c.ts(now))
		if at, sent := nextSent(c, now+2); at != never {
			t.Errorf("sent %+v at %d, want nothing", sent, at)
		}
	})
	t.Run("more than are kept", func(t *testing.T) {
		var r redundancy
		for sn := range seqNum(20) {
			r.double(sn, millis(100+sn))
		}
		for sn := range seqNum(len(r.twins)) {
			if got, at := r.nextTwin(90); got != sn || at != millis(100+sn) {
				t.Errorf("the next is %d at %d, want %d at %d", got, at, sn, 100+sn)
			}
			r.twinDone()
		}
		if _, at := r.nextTwin(90); at != never {
			t.Errorf("another one at %d", at)
		}
	})
}
