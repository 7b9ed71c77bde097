// SPDX-License-Identifier: MIT

package kcp

import (
	"slices"
	"testing"
	"time"
)

// A burst is told from a slow stream by the full segments of an interval.
func TestBurstShortensTheWaitOfWhatIsLeft(t *testing.T) {
	const interval = 20
	tests := []struct {
		name   string
		every  millis // between full segments, 0 for 256 at once
		during millis
		after  millis // since the latest full segment
		want   millis
	}{
		{"nothing before", 1, 0, 0, interval},
		{"a full segment in 4 ms", 4, 200, 0, interval},
		{"in 2 ms", 2, 200, 0, 5},
		{"in 1 ms", 1, 200, 0, 3},
		{"many at once", 0, 1, 0, 1},
		{"many at once, just now", 0, 1, 2, 1},
		{"many at once, a while ago", 0, 1, 3, interval},
		{"and long ago", 0, 1, 70_000, interval},
	}
	for _, tt := range tests {
		for _, begin := range []millis{0, 5_000, 65_530, 1 << 40} {
			var b burst
			last := begin
			for now := begin; now < begin+tt.during; now += max(tt.every, 1) {
				last = now
				n := 1
				if tt.every == 0 {
					n = 256
				}
				for range n {
					b.sent(now, interval)
				}
			}
			if got := b.wait(last+tt.after, interval); got != tt.want {
				t.Errorf("%s, from %d: waits %d ms, want %d", tt.name, begin, got, tt.want)
			}
		}
	}
}

// A new interval does not end a burst before it has as many segments as the one before.
func TestBurstGoesOnIntoTheNextInterval(t *testing.T) {
	const interval = 20
	var b burst
	for now := range millis(200) {
		b.sent(now, interval)
		if got := b.wait(now, interval); now > burstLeast && got > 6 {
			t.Fatalf("after %d ms of one full segment a millisecond the wait is %d ms", now, got)
		}
	}
}

// Of eight full segments, one that is not full leaves early.
func TestBurstLimitsWhatLeavesEarly(t *testing.T) {
	const interval = 20
	var b burst
	full, early := 0, 0
	for now := range millis(2000) {
		for range 5 {
			b.sent(now, interval)
			full++
		}
		if b.release(now, interval) {
			early++
		}
	}
	if early > full/burstLeast || early < full/burstLeast-2 {
		t.Errorf("%d left early beside %d full segments", early, full)
	}
	if now := millis(2000 + 3*interval); b.release(now, interval) {
		t.Error("one leaves early though the burst is over")
	}
}

// delayedStream writes size bytes in a stream whose writes are delayed, n at a time and as often as
// every says. It returns how many packets with new data that takes, and the time of the last.
func delayedStream(
	t *testing.T, size, n int, every time.Duration,
) (packets int, last time.Duration) {
	t.Helper()
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{StreamMode: true, WriteDelay: true,
			NoDelay: true, NoCongestionControl: true, Interval: 20 * time.Millisecond})
		times := delayPackets(t, w, client)
		go func() {
			b := make([]byte, 64<<10)
			for _, err := server.Read(b); err == nil; _, err = server.Read(b) {
			}
		}()
		for range size / n {
			mustWrite(t, client, make([]byte, n))
			time.Sleep(every)
		}
		time.Sleep(time.Second)
		got := times()
		packets, last = len(got), slices.Max(got)
		client.SetLinger(0)
		_ = client.Close()
	})
	return packets, last
}

// Small writes still share packets, also in a burst.
func TestDelayedWritesOfABurstStillShareItsPackets(t *testing.T) {
	const size = 256 << 10
	for n, every := range map[int]time.Duration{
		100:  50 * time.Microsecond,  // 2 MB/s
		1000: 500 * time.Microsecond, // 2 MB/s
		1001: 10 * time.Millisecond,  // 100 kB/s
		4000: 400 * time.Microsecond, // 10 MB/s
	} {
		packets, _ := delayedStream(t, size, n, every)
		full := size / (1400 - segmentHeaderSize)
		if most := full*9/8 + 16; packets > most {
			t.Errorf("writes of %d bytes every %v: %d packets, want at most %d",
				n, every, packets, most)
		}
	}
}
