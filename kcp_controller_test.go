// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
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
			c.setNoDelay(1, 10, 2, -1)
			c.setControl(controlClassic, 0)
			c.setWindows(1000, 32)
			c.rmtWnd = 1000
			c.flow = newFlow(s, millis(1000).instant(), c.mtu)
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
			const size = segmentHeaderSize + 1
			left := uint32(tt.want) - 4
			first := flight{
				order: 1, sentAt: 1000e6, firstSentAt: 1000e6, deliveredAt: 1000e6,
				inFlight: int64(tt.want) * size,
			}
			want := ackEvent{
				bytes: 3 * size, segments: 3, lost: size, rtt: 50e6, newest: &first,
				rate: 3 * size * 20, sample: 3 * size, inFlight: int64(left) * size, left: left,
				limit: 1000, delivered: 3 * size, lostTotal: size,
			}
			if len(s.acks) != 1 || s.acks[0].newest == nil || *s.acks[0].newest != first {
				t.Fatalf("acknowledged: %+v, want once %+v", s.acks, want)
			}
			if want.newest = s.acks[0].newest; s.acks[0] != want {
				t.Errorf("acknowledged: %+v, want once %+v", s.acks, want)
			}
			if len(s.losses) != 1 || s.losses[0].flight == nil || *s.losses[0].flight != first {
				t.Fatalf("lost: %+v, want one with its record", s.losses)
			}
			lost := lossEvent{
				flight: s.losses[0].flight, order: 1, newest: uint64(tt.want), bytes: size,
				inFlight: int64(tt.want-3) * size, segments: left + 1, cause: lossFast,
			}
			if s.losses[0] != lost {
				t.Errorf("lost: %+v, want %+v", s.losses, lost)
			}
			if c.inFlight != uint32(tt.want)-4 {
				t.Errorf("%d segments in flight, want %d", c.inFlight, tt.want-4)
			}
		})
	}
}

// The first timeout of a segment may be an acknowledgement that is late. The controller is told
// once the retransmission turns out to have been needed, or has timed out as well.
func TestControllerIsToldOfTimeoutsThatWereLosses(t *testing.T) {
	const size = segmentHeaderSize + 1
	for _, tt := range []struct {
		name   string
		late   bool // the acknowledgement of the first transmission
		again  bool // the retransmission times out, too
		losses int  // told
		cause  lossCause
		undone int
		count  uint64 // spurious
	}{
		{"the acknowledgement was late", true, false, 0, lossNone, 0, 1},
		{"the segment was lost", false, false, 1, lossProbe, 0, 0},
		{"the retransmission, too", false, true, 1, lossTimeout, 0, 0},
		{"both were late", true, true, 1, lossTimeout, size, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &scripted{size: 4}
			c := timedCore(t, 0, 100, 0)
			c.rtt.sample(50, 50)
			c.flow = newFlow(s, millis(1000).instant(), c.mtu)
			c.send([]byte("x"))
			flushAll(c, 1000)
			first := testAck(c, c.sendUna, c.sendUna)
			now, _ := nextSent(c, 1000)
			if len(s.losses) != 0 || c.timeouts != 1 {
				t.Fatalf("lost: %+v, %d timeouts, want none told and one", s.losses, c.timeouts)
			}
			if tt.again {
				now, _ = nextSent(c, now)
			}
			ack := first
			if !tt.late {
				ack = testAck(c, c.sendUna, c.sendUna)
			}
			c.input(inputAt(now+50), ack, true)
			if len(s.losses) != tt.losses || tt.losses > 0 && s.losses[0].cause != tt.cause {
				t.Errorf("lost: %+v, want %d of cause %d", s.losses, tt.losses, tt.cause)
			}
			if s.undone != tt.undone || c.stats.spurious != tt.count || c.timeouts != 0 {
				t.Errorf("%d bytes taken back, %d spurious, %d timeouts, want %d, %d, 0",
					s.undone, c.stats.spurious, c.timeouts, tt.undone, tt.count)
			}
			if c.flow.inFlight != 0 || c.flow.delivered != size {
				t.Errorf("%d bytes in flight, %d delivered, want 0 and %d",
					c.flow.inFlight, c.flow.delivered, size)
			}
		})
	}
}

// Three timeouts in a row without an acknowledgement are a path that is gone. Until one comes, no
// more is in flight than may always be sent, beside the first segment.
func TestControllerHearsOfACollapse(t *testing.T) {
	s := &scripted{size: 300}
	c := timedCore(t, 1, 10, 2)
	c.rtt.sample(50, 50)
	c.setWindows(300, 32)
	c.rmtWnd = 300
	c.flow = newFlow(s, millis(1000).instant(), c.mtu)
	for range 300 {
		c.send([]byte("x"))
	}
	now := millis(1000)
	if n := len(flushAll(c, now)); n < 100 {
		t.Fatalf("%d segments leave", n)
	}
	for c.timeouts < collapseAfter {
		if s.collapses > 0 {
			t.Fatalf("collapsed after %d timeouts", c.timeouts)
		}
		at, sent := nextSent(c, now)
		if now = at; len(sent) > flowLeast+1 || c.inFlight > flowLeast+1 {
			t.Fatalf("%d segments leave at %d, %d are in flight", len(sent), now, c.inFlight)
		}
	}
	if s.collapses != 1 {
		t.Errorf("collapsed %d times, want once", s.collapses)
	}
	c.input(inputAt(now+1), testAck(c, c.sendUna, c.sendUna), true)
	if c.timeouts != 0 || len(flushAll(c, now+1)) <= flowLeast {
		t.Errorf("%d timeouts after an acknowledgement, %d in flight", c.timeouts, c.inFlight)
	}
}
