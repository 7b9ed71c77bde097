// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"slices"
	"testing"
)

// thinLink joins two ends by 10 Mbit/s in one direction and a line in the other.
func thinLink(delay millis, interval, window, queue int, back line) (*coreLink, *[2]line) {
	lines := &[2]line{{rate: 10e6 / 8, queue: queue}, back}
	l := newLineLink(1, linkProfile{delay: delay}, lines)
	for _, c := range l.ends {
		c.setNoDelay(1, interval, 2, 1)
		c.setWindows(window, window)
		c.stream = true
	}
	return l, lines
}

// The return path carries 48 acknowledgements a second. With one for every second segment of 10
// Mbit/s its queue would fill, a round trip would take seconds, and half of them would be dropped.
func TestAcknowledgementsFitAThinReturnPath(t *testing.T) {
	const size = 2 << 20
	for _, tt := range []struct {
		name          string
		delay         millis
		interval      int
		window, queue int
		back          int // its queue
		least         int // kB/s
		acks          int // datagrams, at most
	}{
		{"queue out holds the window", 25, 20, 128, 400_000, 16_000, 200, 520},
		{"interval 100", 100, 100, 128, 400_000, 4000, 230, 450},
		{"large window", 100, 10, 1024, 400_000, 4000, 440, 250},
		{"losses on the way out", 100, 10, 1024, 64_000, 4000, 140, 300},
		{"losses, small window", 25, 20, 128, 64_000, 4000, 95, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, lines := thinLink(tt.delay, tt.interval, tt.window, tt.queue, line{rate: 20e3 / 8, queue: tt.back})
			took, read := l.bulk(t, size, size, 60_000)
			if read < size || read/int(took) < tt.least {
				t.Errorf("%d of %d bytes in %d ms, want %d kB/s", read, size, took, tt.least)
			}
			if n := lines[1].sent; n > tt.acks {
				t.Errorf("%d datagrams went back, want at most %d", n, tt.acks)
			}
		})
	}
}

// Acknowledgements are delayed only where the return path has a queue, and the peer knows PING.
func TestAcknowledgementsAreNotThinnedWithoutNeed(t *testing.T) {
	const size = 2 << 20
	for _, tt := range []struct {
		name   string
		back   int // bytes a second
		legacy bool
	}{
		{"the same both ways", 10e6 / 8, false},
		{"a legacy sender", 20e3 / 8, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, lines := thinLink(25, 20, 64, 400_000, line{rate: tt.back, queue: 16_000})
			if tt.legacy {
				l.ends[0].ctl.incarnation = 0
			}
			b := l.ends[1]
			pings, send := 0, l.onPacket
			l.onPacket = func(from int, data []byte) bool {
				for _, s := range segmentsOf(data) {
					if m, ok := parseControl(s.data); from == 1 && isControl(&s) && ok && m.has[ctlPing] {
						pings++
					}
				}
				return send(from, data)
			}
			took, read := l.bulk(t, size, size, 60_000)
			if read < size {
				t.Fatalf("%d of %d bytes in %d ms", read, size, took)
			}
			if b.thin.wait(l.now) != 0 {
				t.Errorf("acknowledgements wait: %+v", b.thin)
			}
			if want := size / l.ends[0].mss / 2; lines[1].sent < want {
				t.Errorf("%d datagrams went back, want %d, one for every second segment", lines[1].sent, want)
			}
			if tt.legacy != (pings == 0) || pings > int(took/thinPing)+1 {
				t.Errorf("%d PINGs in %d ms, want one in %d at most, and none to a legacy peer", pings, took, thinPing)
			}
		})
	}
}

func TestAckThinningFollowsThePing(t *testing.T) {
	type step struct {
		at    millis
		ask   bool
		reply bool
		want  millis
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"nothing measured", []step{{0, true, false, 0}, {5000, false, false, 0}}},
		{"no queue", []step{{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0}, {189, false, true, 0}}},
		{"a queue", []step{{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0}, {350, false, true, 50}, {400, false, false, 50}}},
		{"a queue that grows, the answer still out", []step{{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0}, {350, false, true, 50}, {400, true, false, 50}, {800, false, false, 87}}},
		{"a lost answer tells of no queue", []step{{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0}, {1500, false, false, 0}}},
		{"a queue that is gone", []step{{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0}, {350, false, true, 50}, {400, true, false, 50}, {450, false, true, 0}}},
		{"a long queue", []step{{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0}, {2150, false, true, thinMost}}},
		{"an old measurement", []step{{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0}, {350, false, true, 50}, {3100, false, false, 0}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := timedCore(t, 1, 10, 2)
			c.ctl.incarnation, c.ctl.peer = 1, 2
			for _, s := range tt.steps {
				now := 1000 + s.at
				if s.ask {
					c.measurePath(now)
				}
				if s.reply {
					c.ctl.pingNumber = 0
					c.thin.answered(now, c.newestAt, c.newestTS)
				}
				if got := c.thin.wait(now); got != s.want {
					t.Errorf("at %d the wait is %d ms, want %d", s.at, got, s.want)
				}
			}
		})
	}
}

// A queue in the direction of the data delays the answer to a PING as well. No acknowledgements are
// delayed for it.
func TestQueueOfTheDataDelaysNoAcknowledgements(t *testing.T) {
	var thin ackThinning
	clock := millis(70_000) // of the peer, behind this side's
	ask := func(at millis) { thin.askedAt, thin.asked = uint16(at), 1 }
	ask(1000)
	thin.answered(1050, 1050, timestamp(1050-25-clock))
	ask(1100)
	thin.answered(1350, 1350, timestamp(1350-225-clock))
	if got := thin.wait(1350); got != 0 {
		t.Errorf("acknowledgements wait %d ms for the data's queue of 200 ms", got)
	}
	ask(1400)
	thin.answered(1650, 1650, timestamp(1650-25-clock))
	if got := thin.wait(1650); got != 50 {
		t.Errorf("acknowledgements wait %d ms where theirs is the queue, want 50", got)
	}
}

func TestAcknowledgementsWaitAtMostTheInterval(t *testing.T) {
	tests := []struct {
		name   string
		window int
		setup  func(c *core)
		steps  [][]seqNum // received at 1000, 1005, 1010 ...
		want   millis
	}{
		{"one segment", 32, nil, [][]seqNum{{0}}, 1040},
		{"the first decides", 32, nil, [][]seqNum{{0}, {1}, {2}}, 1040},
		{"a quarter of the window", 32, nil, [][]seqNum{{0, 1, 2}, {3, 4, 5}, {6, 7}}, 1010},
		{"a quarter of a small window", 8, nil, [][]seqNum{{0}, {1}}, 1005},
		{"a large window counts as 32", 4096, nil, [][]seqNum{{0, 1, 2, 3, 4, 5, 6}, {7}}, 1005},
		{"a window of one", 1, nil, [][]seqNum{{0}}, 1000},
		{"at once if asked for", 32, func(c *core) { c.ackNoDelay = true }, [][]seqNum{{0}}, 1000},
		{"a hole opens", 32, nil, [][]seqNum{{0}, {2}}, 1005},
		{"a hole closes", 32, nil, [][]seqNum{{0, 2}, {1}}, 1000},
		{"a duplicate", 32, nil, [][]seqNum{{0}, {0}}, 1005},
		{"data goes out anyway", 32, func(c *core) { c.send([]byte("y")) }, [][]seqNum{{0}}, 1000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := timedCore(t, 0, 40, 0)
			c.setWindows(32, tt.window)
			if tt.setup != nil {
				tt.setup(c)
			}
			now := millis(1000)
			for i, sns := range tt.steps {
				now = 1000 + 5*millis(i)
				c.input(inputAt(now), pushData(timestamp(now), sns...), true)
				if c.nextEvent(now) <= now {
					break
				}
				if sent := flushAll(c, now); len(sent) > 0 {
					t.Fatalf("sent %+v at %d, before its time", sent, now)
				}
			}
			if at := c.nextEvent(now); at != tt.want {
				t.Fatalf("next event at %d, want %d", at, tt.want)
			}
			if sent := flushAll(c, tt.want); count(sent, cmdAck) == 0 {
				t.Errorf("sent %+v, want ACKs", sent)
			}
		})
	}
}

func TestAcknowledgementsThatUnaCoversAreLeftOut(t *testing.T) {
	tests := []struct {
		received, want []seqNum // numbers of the ACKs that leave
	}{
		{[]seqNum{0, 1, 2, 3}, []seqNum{3}},
		{[]seqNum{0, 1, 3, 5}, []seqNum{3, 5}},
		{[]seqNum{1, 2, 3}, []seqNum{1, 2, 3}},
		{[]seqNum{2, 1, 0}, []seqNum{0}},
		{[]seqNum{5, 0, 1}, []seqNum{5, 1}},
		{[]seqNum{0, 0, 0}, []seqNum{0}},
	}
	for _, tt := range tests {
		c := timedCore(t, 0, 40, 0)
		c.input(inputAt(1000), pushData(900, tt.received...), true)
		_, sent := nextSent(c, 1000)
		var got []seqNum
		for _, s := range sent {
			got = append(got, s.sn)
			if s.cmd != cmdAck || s.ts != 900 || s.una != c.rcvNxt {
				t.Errorf("received %v: sent %+v, want ACKs of ts 900 and una %d", tt.received, s, c.rcvNxt)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("received %v: ACKs for %v, want %v", tt.received, got, tt.want)
		}
	}
}

// legacyGroup is the received part of 10 data and 3 parity packets.
type legacyGroup struct {
	data [10][]byte
	has  [10]bool
	got  int
}

// legacyTransfer returns the number of retransmissions that a legacy sender needs to deliver 1,500
// segments. The link has the given loss and reordering. Parity, if any, is for groups of 10.
func legacyTransfer(t *testing.T, seed uint64, ours, parity bool, loss float64, jitter millis) int {
	l := newCoreLink(seed, linkProfile{loss: loss, delay: 10, jitter: jitter})
	c, r := l.ends[1], legacyReceiver{have: make(map[seqNum]bool)}
	defer releaseCore(c)
	c.setNoDelay(1, 20, 2, 1)
	c.setWindows(128, 128)
	var groups []*legacyGroup
	s := &legacySender{end: 1500, wnd: 32, rto: rtoDefault}
	fill := 0
	carry := func(group, index int, data []byte) {
		l.carry(1, append([]byte{byte(group), byte(group >> 8), byte(index)}, data...))
	}
	s.out = func(data []byte, now millis) {
		l.now = now
		if fill == 0 {
			groups = append(groups, new(legacyGroup))
		}
		g := len(groups) - 1
		groups[g].data[fill] = data
		carry(g, fill, data)
		if fill++; fill == 10 {
			for i := 10; parity && i < 13; i++ {
				carry(g, i, nil)
			}
			fill = 0
		}
	}
	take := func(data []byte, trusted bool) {
		if !ours {
			r.input(data)
			return
		}
		c.input(inputAt(l.now), data, trusted)
		coreMessages(c)
	}
	answer := func() {
		if ours && c.nextEvent(l.now) <= l.now {
			l.flush(1)
		}
		if data := r.flush(l.now); !ours && data != nil {
			l.carry(0, data)
		}
	}
	for ; s.una != s.end; l.now++ {
		if l.now > 200_000 {
			t.Fatalf("%d of %d segments in 200 s", s.una, s.end)
		}
		for len(l.queue) > 0 && l.queue[0].at <= l.now {
			p := l.pop()
			if p.to == 0 {
				s.input(p.data, l.now)
				continue
			}
			g, i := groups[int(p.data[0])|int(p.data[1])<<8], int(p.data[2])
			if i < 10 {
				g.has[i] = true
				take(p.data[3:], true)
			}
			if g.got++; parity && g.got == 10 {
				for i := range g.data {
					if !g.has[i] {
						take(g.data[i], false)
					}
				}
			}
			if ours || len(r.acks) >= acksHeld {
				answer()
			}
		}
		answer()
		if l.now%legacyInterval == 0 {
			s.flush(l.now)
		}
	}
	return s.repeats
}

// A legacy sender must not retransmit more to this library than to a legacy receiver.
func TestLegacySenderDoesNotRepeatMore(t *testing.T) {
	tests := []struct {
		parity bool
		loss   float64
		jitter millis
	}{{false, 0, 0}, {false, 0, 5}, {true, 0.02, 0}, {true, 0.05, 0}, {true, 0.02, 5}, {false, 0.05, 0}}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("parity %v loss %v jitter %d", tt.parity, tt.loss, tt.jitter), func(t *testing.T) {
			var ours, theirs int
			for seed := range uint64(2) {
				ours += legacyTransfer(t, seed, true, tt.parity, tt.loss, tt.jitter)
				theirs += legacyTransfer(t, seed, false, tt.parity, tt.loss, tt.jitter)
			}
			t.Logf("%d segments again, to its own kind %d", ours, theirs)
			if ours > theirs+theirs/4+20 {
				t.Errorf("%d segments again, to its own kind %d", ours, theirs)
			}
		})
	}
}
