// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"slices"
	"testing"
)

// scripted is a controller of a fixed window that keeps what it was told.
type scripted struct {
	size   uint32
	orders []uint64
	acks   []ackEvent
	losses []lossEvent
	undone int
}

func (s *scripted) window() uint32               { return s.size }
func (s *scripted) sent(order uint64, _ instant) { s.orders = append(s.orders, order) }
func (s *scripted) acked(e ackEvent)             { s.acks = append(s.acks, e) }
func (s *scripted) lost(e lossEvent)             { s.losses = append(s.losses, e) }
func (s *scripted) undo()                        { s.undone++ }

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
			c.flight.wrap(s)
			defer releaseCore(c)
			for c.queued() < 1000 {
				c.send([]byte("x"))
			}
			if got := count(flushAll(c, 1000), cmdPush); got != tt.want ||
				len(s.orders) != tt.want || s.orders[0] != 1 {
				t.Fatalf("%d segments leave, the controller was told of %d, want %d",
					got, len(s.orders), tt.want)
			}
			if got := c.congestionWindow(); tt.size != math.MaxUint32 && got != tt.size {
				t.Errorf("a congestion window of %d, want %d", got, tt.size)
			}
			// Segments 1 to 3 are acknowledged by one datagram, which shows that segment 0 is lost.
			c.input(inputAt(1050), testAck(c, 0, 1, 2, 3), true)
			want := ackEvent{now: millis(1050).instant(), newest: 4, segments: 3,
				inFlight: uint32(tt.want) - 3, limit: 1000, delayed: true}
			if !slices.Equal(s.acks, []ackEvent{want}) {
				t.Errorf("acknowledged: %+v, want once %+v", s.acks, want)
			}
			lost := lossEvent{order: 1, newest: uint64(tt.want),
				inFlight: uint32(tt.want) - 3, cause: lossFast}
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
	c.flight.wrap(s)
	defer releaseCore(c)
	c.send([]byte("x"))
	flushAll(c, 1000)
	ack := testAck(c, 0, 0)
	now, _ := nextSent(c, 1000)
	if len(s.losses) != 1 || s.losses[0].cause != lossTimeout {
		t.Fatalf("lost: %+v, want one timeout", s.losses)
	}
	c.input(inputAt(now+1), ack, true)
	if s.undone != 1 {
		t.Errorf("taken back %d times, want once", s.undone)
	}
}
