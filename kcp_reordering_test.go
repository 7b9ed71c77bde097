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
