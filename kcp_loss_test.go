// SPDX-License-Identifier: MIT

package kcp

import (
	"slices"
	"testing"
)

func TestLossIsFoundByWhatArrives(t *testing.T) {
	type step struct {
		at   millis // after the four segments 0 to 3 were sent
		acks []seqNum
	}
	tests := []struct {
		name   string
		resend int
		more   bool // there is something new to send
		steps  []step
		want   []seqNum // sent again
		when   millis
		stats  coreStats
	}{
		{"enough later ones", 2, true, []step{{50, []seqNum{1, 2}}}, []seqNum{0}, 50,
			coreStats{fastRetrans: 1}},
		{"enough in two datagrams", 2, true, []step{{50, []seqNum{1}}, {51, []seqNum{2}}},
			[]seqNum{0}, 51, coreStats{fastRetrans: 1}},
		{"one is too few", 2, true, []step{{50, []seqNum{1}}}, []seqNum{0}, 56,
			coreStats{earlyRetrans: 1}},
		{"two holes", 1, true, []step{{50, []seqNum{2}}}, []seqNum{0, 1}, 50,
			coreStats{fastRetrans: 2}},
		{"off", 0, true, []step{{50, []seqNum{1, 2, 3}}}, []seqNum{0}, 56,
			coreStats{earlyRetrans: 1}},
		{"nothing new to send", 0, false, []step{{50, []seqNum{1}}}, []seqNum{0}, 56,
			coreStats{earlyRetrans: 1}},
		{"nothing new, but it was only late", 0, false,
			[]step{{50, []seqNum{1}}, {55, []seqNum{0}}}, []seqNum{2, 3}, 150,
			coreStats{timeoutRetrans: 2}},
		{"the newest is no news of older ones", 0, false, []step{{50, []seqNum{0}}},
			[]seqNum{1, 2, 3}, 150, coreStats{timeoutRetrans: 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := timedCore(t, 0, 100, tt.resend)
			for range 4 {
				c.send([]byte("x"))
			}
			flushAll(c, 1000)
			if tt.more {
				c.setMode(modeWriteDelay, true)
				c.flushAt = 6000
				c.send([]byte("new"))
			}
			now := millis(1000)
			for i, s := range tt.steps {
				if sent := flushAll(c, now); len(sent) > 0 {
					t.Fatalf("before step %d left %+v", i, sent)
				}
				now = 1000 + s.at
				c.input(inputAt(now), testAck(c, 0, s.acks...), true)
			}
			at, sent := nextSent(c, now)
			var got []seqNum
			for _, s := range sent {
				if s.sn < 4 { // what is new rides along
					got = append(got, s.sn)
				}
			}
			if at != 1000+tt.when || !slices.Equal(got, tt.want) {
				t.Errorf("%v left after %d ms, want %v after %d", got, at-1000, tt.want, tt.when)
			}
			s := &c.stats
			if s.fastRetrans != tt.stats.fastRetrans || s.earlyRetrans != tt.stats.earlyRetrans ||
				s.timeoutRetrans != tt.stats.timeoutRetrans {
				t.Errorf("counted %d fast, %d early, %d timeouts, want %d, %d, %d",
					s.fastRetrans, s.earlyRetrans,
					s.timeoutRetrans, tt.stats.fastRetrans, tt.stats.earlyRetrans,
					tt.stats.timeoutRetrans)
			}
		})
	}
}

// With nothing acknowledged, the first segment is retransmitted with back-off, whatever the
// congestion window allows for those behind it. Once a round trip is known, everything that was
// lost with it is retransmitted.
func TestWholeFirstWindowLost(t *testing.T) {
	for _, nc := range []int{0, 1} {
		l := newCoreLink(1, linkProfile{delay: 20})
		for _, c := range l.ends {
			c.setNoDelay(1, 10, 2, nc)
			c.setWindows(32, 32)
		}
		l.onPacket = func(from int, _ []byte) bool { return from == 1 || l.now-1000 >= 600 }
		a := l.ends[0]
		took, read := l.bulk(t, 20*a.mss, a.mss, 60_000)
		if read < 20*a.mss || took > 2500 {
			t.Errorf("nc %d: %d of %d bytes in %d ms, want all within 2 s of the outage of 0.6 s",
				nc, read, 20*a.mss, took)
		}
	}
}
