// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"slices"
	"testing"
)

// scripted is a controller of a fixed window that keeps what it was told.
type scripted struct {
	size      uint32
	acks      []ackEvent
	losses    []lossEvent
	undone    int // bytes
	collapses int
}

func (s *scripted) window() (int64, uint32)         { return unlimited, s.size }
func (s *scripted) pace() (int64, int64)            { return 0, 0 }
func (s *scripted) sent(instant, *flight)           {}
func (s *scripted) acked(_ instant, a *ackEvent)    { s.acks = append(s.acks, *a) }
func (s *scripted) lost(_ instant, l *lossEvent)    { s.losses = append(s.losses, *l) }
func (s *scripted) spurious(_ instant, bytes int64) { s.undone += int(bytes) }
func (s *scripted) collapsed(instant)               { s.collapses++ }
func (s *scripted) resized(int)                     {}
func (s *scripted) report(r *controlReport)         { r.state = "scripted" }

// A controller hears of every transmission, of a datagram's acknowledgements at once, and of each
// loss, and its window holds.
func TestControllerIsToldAndObeyed(t *testing.T) {
	for _, tt := range []struct {
		name string
		size uint32
		want int // segments in flight
	}{{"scripted", 6, 6}, {"cap on top of it", math.MaxUint32, flightStart}} {
		t.Run(tt.name, func(t *testing.T) {
			s := &scripted{size: tt.size}
			c := new(core)
			c.init(7, 1000)
			c.setNoDelay(1, 10, 2, 1)
			c.setWindows(1000, 32)
			c.rmtWnd = 1000
			c.cc = s
			defer releaseCore(c)
			for c.queued() < 1000 {
				c.send([]byte("x"))
			}
			if got := count(flushAll(c, 1000), cmdPush); got != tt.want {
				t.Fatalf("%d segments leave, want %d", got, tt.want)
			}
			if got := c.congestionWindow(); tt.size != math.MaxUint32 && got != tt.size {
				t.Errorf("a congestion window of %d, want %d", got, tt.size)
			}
			// Segments 1 to 3 are acknowledged by one datagram, which shows that segment 0 is lost.
			c.input(inputAt(1050), testAck(c, 0, 1, 2, 3), true)
			want := ackEvent{segments: 3, rtt: -1, left: uint32(tt.want) - 3, limit: 1000}
			if !slices.Equal(s.acks, []ackEvent{want}) {
				t.Errorf("acknowledged: %+v, want once %+v", s.acks, want)
			}
			lost := lossEvent{order: 1, newest: uint64(tt.want), bytes: segmentHeaderSize + 1,
				segments: uint32(tt.want) - 3, cause: lossFast}
			if !slices.Equal(s.losses, []lossEvent{lost}) {
				t.Errorf("lost: %+v, want %+v", s.losses, lost)
			}
			if c.inFlight != uint32(tt.want)-4 {
				t.Errorf("%d segments in flight, want %d", c.inFlight, tt.want-4)
			}
		})
	}
}

// What was given up by a timeout and then acknowledged by its own ts is taken back.
func TestControllerTakesATimeoutBack(t *testing.T) {
	s := &scripted{size: 4}
	c := new(core)
	c.init(7, 1000)
	c.cc = s
	defer releaseCore(c)
	c.send([]byte("x"))
	flushAll(c, 1000)
	ack := testAck(c, 0, 0)
	now, _ := nextSent(c, 1000)
	if len(s.losses) != 1 || s.losses[0].cause != lossTimeout {
		t.Fatalf("lost: %+v, want one timeout", s.losses)
	}
	c.input(inputAt(now+1), ack, true)
	if s.undone != segmentHeaderSize+1 {
		t.Errorf("%d bytes taken back, want those of the segment", s.undone)
	}
}
