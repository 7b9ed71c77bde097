// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"slices"
	"testing"
)

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
		{"at once if asked for", 32, func(c *core) { c.setMode(modeACKNoDelay, true) },
			[][]seqNum{{0}}, 1000},
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
		received, want []seqNum // numbers of the ACKs that are sent
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
				t.Errorf("received %v: sent %+v, want ACKs of ts 900 and una %d",
					tt.received, s, c.rcvNxt)
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
	}{
		{false, 0, 0}, {false, 0, 5}, {true, 0.02, 0}, {true, 0.05, 0}, {true, 0.02, 5},
		{false, 0.05, 0},
	}
	for _, tt := range tests {
		title := fmt.Sprintf("parity %v loss %v jitter %d", tt.parity, tt.loss, tt.jitter)
		t.Run(title, func(t *testing.T) {
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
