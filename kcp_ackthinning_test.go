// SPDX-License-Identifier: MIT

package kcp

import "testing"

// thinLink joins two ends by 10 Mbit/s in one direction and a line in the other.
func thinLink(delay millis, interval, window, queue int, back line) (*coreLink, *[2]line) {
	lines := &[2]line{{rate: 10e6 / 8, queue: queue}, back}
	l := newLineLink(1, linkProfile{delay: delay}, lines)
	for _, c := range l.ends {
		c.setNoDelay(1, interval, 2, 1)
		c.setWindows(window, window)
		c.setMode(modeStream, true)
	}
	return l, lines
}

// The return path carries 48 acknowledgements a second. One for every second segment of 10 Mbit/s
// would fill its queue. A round trip would take seconds, and half of them would be dropped.
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
		{"queue out holds the window", 25, 20, 128, 400_000, 16_000, 400, 300},
		{"interval 100", 100, 100, 128, 400_000, 4000, 370, 300},
		{"large window", 100, 10, 1024, 400_000, 4000, 440, 250},
		{"losses on the way out", 100, 10, 1024, 64_000, 4000, 250, 300},
		{"losses, small window", 25, 20, 128, 64_000, 4000, 250, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// With losses a transfer takes half or twice as long, by chance.
			var took millis
			acks := 0
			const runs = 12
			for i := range runs {
				l, lines := thinLink(tt.delay-6+millis(i), tt.interval, tt.window, tt.queue,
					line{rate: 20e3 / 8, queue: tt.back})
				ms, read := l.bulk(t, size, size, 60_000)
				if read < size {
					t.Errorf("%d of %d bytes in %d ms", read, size, ms)
				}
				took += ms
				acks += lines[1].sent
			}
			t.Logf("%d kB/s, %d datagrams", runs*size/int(took), acks/runs)
			if got := runs * size / int(took); got < tt.least {
				t.Errorf("%d kB/s, want %d", got, tt.least)
			}
			if got := acks / runs; got > tt.acks {
				t.Errorf("%d datagrams went back, want at most %d", got, tt.acks)
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
					if m, ok := parseControl(s.data); from == 1 && isControl(&s) &&
						ok && m.has[ctlPing] {
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
			each := perAckMost
			if tt.legacy {
				each = 2
			}
			if want := size / l.ends[0].mss / each; lines[1].sent < want {
				t.Errorf("%d datagrams went back, want %d, one for every %d segments",
					lines[1].sent, want, each)
			}
			if tt.legacy != (pings == 0) || pings > int(took/thinPing)+1 {
				t.Errorf("%d PINGs in %d ms, want one in %d at most, and none to a legacy peer",
					pings, took, thinPing)
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
		{"no queue", []step{
			{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0},
			{189, false, true, 0},
		}},
		{"a queue", []step{
			{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0},
			{350, false, true, 50}, {400, false, false, 50},
		}},
		{"a queue that grows, the answer still out", []step{
			{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0},
			{350, false, true, 50}, {400, true, false, 50}, {800, false, false, 87},
		}},
		{"a lost answer tells of no queue", []step{
			{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0},
			{1500, false, false, 0},
		}},
		{"a queue that is gone", []step{
			{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0},
			{350, false, true, 50}, {400, true, false, 50}, {450, false, true, 37},
			{500, true, false, 37}, {550, false, true, 27}, {600, true, false, 27},
			{650, false, true, 20}, {700, true, false, 20}, {750, false, true, 15},
			{800, true, false, 15}, {850, false, true, 11}, {900, true, false, 11},
			{950, false, true, 0},
		}},
		{"a long queue", []step{
			{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0},
			{2150, false, true, thinMost},
		}},
		{"an old measurement", []step{
			{0, true, false, 0}, {50, false, true, 0}, {100, true, false, 0},
			{350, false, true, 50}, {3100, false, false, 0},
		}},
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
