// SPDX-License-Identifier: MIT

package kcp

import (
	"container/heap"
	"testing"
)

// lineHeader is what IPv4 and UDP add to a datagram.
const lineHeader = 28

// line is one direction of a path of limited rate.
type line struct {
	rate  int // bytes a second
	queue int // bytes that wait, beyond which it drops
	free  int64
	sent  int // packets
	bytes int
}

// take returns how many milliseconds after now a packet has left the line; false drops it.
func (n *line) take(now millis, size int) (millis, bool) {
	n.sent++
	n.bytes += size
	size += lineHeader
	at := int64(now) * 1e6
	wait := max(n.free-at, 0)
	if wait*int64(n.rate)/1e9+int64(size) > int64(n.queue) {
		return 0, false
	}
	n.free = at + wait + int64(size)*1e9/int64(n.rate)
	return millis((n.free - at + 999_999) / 1e6), true
}

// newLineLink joins two state machines by a line each way; lines[0] is that of end 0.
func newLineLink(seed uint64, p linkProfile, lines *[2]line) *coreLink {
	l := newCoreLink(seed, p)
	for i, c := range l.ends {
		c.ctl.incarnation = uint64(i) + 1
	}
	l.ends[0].ctl.dialled = true
	l.onPacket = func(from int, data []byte) bool {
		if wait, ok := lines[from].take(l.now, len(data)); ok {
			at := l.now + wait + l.profile.delay
			if l.profile.jitter > 0 {
				at += millis(l.rng.Int64N(int64(l.profile.jitter)))
			}
			l.sent++
			heap.Push(&l.queue, linkPacket{at: at, seq: l.sent, to: 1 - from, data: data})
		}
		return false
	}
	return l
}

// bulk sends size bytes from end 0 to end 1, each Write of chunk bytes, and returns when and how many end 1 has read,
// which is all of them unless the limit is over.
func (l *coreLink) bulk(t *testing.T, size, chunk int, limit millis) (took millis, read int) {
	t.Helper()
	start, buf := l.now, make([]byte, 1<<17)
	a, b := l.ends[0], l.ends[1]
	defer releaseCore(a)
	defer releaseCore(b)
	for left := size; read < size && l.now-start < limit; {
		for n := b.recv(buf); n >= 0; n = b.recv(buf) {
			read += n
		}
		for left > 0 && a.queued() < a.sndWnd {
			n := min(left, chunk, a.cut(a.sendEnd))
			a.send(buf[:n])
			left -= n
		}
		for i, c := range l.ends {
			if c.nextEvent(l.now) <= l.now {
				l.flush(i)
			}
		}
		if read < size && !l.step() {
			t.Fatalf("nothing left to happen with %d of %d bytes there", read, size)
		}
	}
	return l.now - start, read
}

// On a line that takes longer for a window than the first timeout, which is a guess, what waits in its queue was sent again
// and again, in the way of what was missing: 54 s and 5.4 bytes sent for each of these 9,000.
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
				c.stream = tt.stream
			}
			took, read := l.bulk(t, size, tt.chunk, 60_000)
			if read < size || took > 14_000 {
				t.Errorf("%d of %d bytes arrived in %d ms, want all in 14 s: the line needs 8", read, size, took)
			}
			if lines[0].bytes > 5*size/2 {
				t.Errorf("%d bytes were sent for %d, want at most 2.5 times as many", lines[0].bytes, size)
			}
		})
	}
}

// A round trip that is longer than the first timeout says nothing of a loss: 128 segments in flight were sent again.
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
			t.Errorf("nc %d: %d bytes arrived and %d segments were sent again, want all and 3 at most, the first one", nc, read, n)
		}
	}
}

// With nothing acknowledged, the first segment is sent again with back-off, whatever the congestion window says of those
// behind it; once a round trip is known, all that was lost with it is.
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
			t.Errorf("nc %d: %d of %d bytes in %d ms, want all within 2 s of the outage of 0.6 s", nc, read, 20*a.mss, took)
		}
	}
}
