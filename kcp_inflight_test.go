// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"
)

// On this line a window takes longer than the first timeout, which is a guess. Segments in its
// queue were retransmitted again and again and delayed the missing ones. The 9,000 bytes took 54 s,
// with 5.4 bytes sent for each.
func TestSlowLineIsNotFilledWithRepetitions(t *testing.T) {
	const size = 9000
	for _, tt := range []struct {
		name   string
		stream bool
		chunk  int
		jitter millis
	}{
		{"stream", true, size, 0},
		{"stream, jitter", true, size, 30},
		{"messages", false, 300, 0},
		{"messages, jitter", false, 300, 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			slow := line{rate: 9600 / 8, queue: 6000}
			lines := [2]line{slow, slow}
			l := newLineLink(1, linkProfile{delay: 300, jitter: tt.jitter}, &lines)
			for _, c := range l.ends {
				c.setNoDelay(1, 10, 2, 1)
				c.setWindows(128, 128)
				c.setMode(modeStream, tt.stream)
			}
			took, read := l.bulk(t, size, tt.chunk, 60_000)
			if read < size || took > 14_000 {
				t.Errorf("%d of %d bytes arrived in %d ms, want all in 14 s: the line needs 8",
					read, size, took)
			}
			if lines[0].bytes > 5*size/2 {
				t.Errorf("%d bytes were sent for %d, want at most 2.5 times as many",
					lines[0].bytes, size)
			}
		})
	}
}

// A round trip longer than the first timeout is no evidence of a loss. 128 segments in flight were
// retransmitted.
func TestFirstWindowOnALongPathIsSentOnce(t *testing.T) {
	for _, nc := range []int{0, 1} {
		l := newCoreLink(1, linkProfile{delay: 400})
		for _, c := range l.ends {
			c.setNoDelay(1, 10, 2, nc)
			c.setWindows(128, 128)
		}
		a := l.ends[0]
		_, read := l.bulk(t, 100*a.mss, a.mss, 60_000)
		if n := a.stats.timeoutRetrans; read < 100*a.mss || n > 3 {
			t.Errorf("nc %d: %d bytes arrived, %d segments were resent, want all and at most 3",
				nc, read, n)
		}
	}
}
