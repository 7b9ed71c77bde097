// SPDX-License-Identifier: MIT

package kcp

import "testing"

func TestReorderingGrowsByRoundsAndIsForgotten(t *testing.T) {
	var r reordering
	for range 5 {
		r.spurious(1000, 100)
	}
	if r.steps != 1 {
		t.Errorf("%d steps within a round trip, want 1", r.steps)
	}
	for i := range millis(40) {
		r.spurious(1100+100*i, 100)
	}
	if r.steps != reorderSteps {
		t.Errorf("%d steps, want %d", r.steps, reorderSteps)
	}
	now := millis(6000)
	for i := range reorderCalm {
		if r.steps != reorderSteps {
			t.Errorf("%d steps after %d rounds with a loss, want %d", r.steps, i, reorderSteps)
		}
		r.lost(now, 100)
		r.lost(now+50, 100) // of the same round
		now += 100
	}
	if r.steps != 0 {
		t.Errorf("%d steps after %d rounds with losses alone, want 0", r.steps, reorderCalm)
	}
}

// Segments that were taken for lost and were late make the sender more patient, with or without a
// count.
func TestLateSegmentsMakePatient(t *testing.T) {
	for _, resend := range []int{0, 2} {
		l := newCoreLink(3, linkProfile{delay: 50, jitter: 40})
		for _, c := range l.ends {
			c.setNoDelay(1, 10, resend, 1)
			c.setWindows(64, 64)
		}
		a := l.ends[0]
		l.bulk(t, 300*a.mss, a.mss, 60_000)
		early := a.stats.fastRetrans + a.stats.earlyRetrans
		l.bulk(t, 3000*a.mss, a.mss, 60_000)
		late := a.stats.fastRetrans + a.stats.earlyRetrans - early
		t.Logf("resend %d: %d of 300 and %d of 3000 resent, %d spurious, %d steps",
			resend, early, late, a.stats.spurious, a.reorder.steps)
		if late > 150 || a.stats.spurious == 0 {
			t.Errorf("resend %d: %d of 3000 segments were resent for being late, want at most 150",
				resend, late)
		}
	}
}

// A segment whose acknowledgement was lost is resent needlessly. That is no reordering, so the
// sender does not become more patient, which would leave real losses to the timeout.
func TestLostAcknowledgementsDoNotMakePatient(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ack   func(c *core, first, second []byte) []byte
		steps uint8
	}{
		{"lost", func(c *core, _, _ []byte) []byte { return testAck(c, 4) }, 0},
		{"late", func(_ *core, first, _ []byte) []byte { return first }, 1},
		{"of the retransmission", func(_ *core, _, second []byte) []byte { return second }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := timedCore(t, 1, 10, 0)
			c.setWindows(32, 32)
			c.rtt.sample(50, 50)
			for range 8 {
				c.send([]byte("x"))
			}
			flushAll(c, 1000)
			first := testAck(c, 0, 0, 1, 2, 3)
			c.input(inputAt(1050), testAck(c, 0, 4, 5, 6, 7), true)
			now, sent := nextSent(c, 1050)
			if len(sent) != 4 || c.stats.earlyRetrans != 4 {
				t.Fatalf("%d segments resent at %d, want 4: %+v", len(sent), now, c.stats)
			}
			second := testAck(c, 0, 0, 1, 2, 3)
			at := now + 5
			if tt.name == "of the retransmission" {
				at = now + 50
			}
			c.input(inputAt(at), tt.ack(c, first, second), true)
			if c.reorder.steps != tt.steps {
				t.Errorf("%d steps, want %d", c.reorder.steps, tt.steps)
			}
			if want := uint64(4); tt.name != "of the retransmission" && c.stats.spurious != want {
				t.Errorf("%d spurious, want %d", c.stats.spurious, want)
			}
			if c.inFlight != 0 {
				t.Errorf("%d segments in flight", c.inFlight)
			}
		})
	}
}
