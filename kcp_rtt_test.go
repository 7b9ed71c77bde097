// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"
	"time"
)

// With little in flight, a segment is retransmitted a few times before the wait grows.
func TestTimeoutsBackOff(t *testing.T) {
	tests := []struct {
		name     string
		noDelay  int
		rtt      millis // of a first segment; 0: no sample
		interval int
		want     []millis // waits
	}{
		{"normal, no sample", 0, 0, 40, []millis{200, 200, 200, 200, 400, 800,
			1000, 1000, 1000, 1000, 1000, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000}},
		{"no delay, no sample", 1, 0, 10, []millis{200, 200, 200, 200, 300, 450, 675,
			1000, 1000, 1000, 1000, 1000, 1500, 2250, 3375, 5062, 7593, 11389, 17083}},
		{"normal, least", 0, 1, 10, []millis{100, 100, 100, 100, 100, 200, 400}},
		{"no delay, least", 1, 1, 10, []millis{30, 30, 30, 30, 30, 45, 67, 100}},
		{"normal, measured", 0, 300, 10, []millis{900, 900, 900, 900, 900, 1800, 3600}},
		{"normal, long interval", 0, 100, 1000, []millis{1100, 1100, 1100, 1100, 1100, 2200}},
		{"normal, beyond the bound", 0, 50000, 10, []millis{60000, 60000}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := timedCore(t, tt.noDelay, tt.interval, 2)
			now := millis(1000)
			if tt.rtt > 0 {
				c.send([]byte("x"))
				flushAll(c, now)
				data := testAck(c, 0, 0)
				now += tt.rtt
				c.input(inputAt(now), data, true)
			}
			c.send([]byte("y"))
			flushAll(c, now)
			for i, want := range tt.want {
				at, sent := nextSent(c, now)
				if at-now != want || count(sent, cmdPush) != 1 {
					t.Fatalf("retransmission %d: %d segments after %d ms, want one after %d",
						i+1, count(sent, cmdPush), at-now, want)
				}
				now = at
			}
			if got := c.stats.timeoutRetrans; got != uint64(len(tt.want)) {
				t.Errorf("counted %d timeouts, want %d", got, len(tt.want))
			}
			// An ACK of the last transmission gives the round trip, and the next segment begins
			// without back-off.
			data := testAck(c, c.sendUna, c.sendUna)
			c.input(inputAt(now+7), data, true)
			c.send([]byte("z"))
			flushAll(c, now+7)
			if at, _ := nextSent(c, now+7); at != now+7+c.rto() {
				t.Errorf("the next segment waits %d ms, want an RTO of %d", at-now-7, c.rto())
			}
		})
	}
}

// With more in flight the wait grows from the first timeout on, because the path may be overloaded.
func TestTimeoutsOfAFlightBackOff(t *testing.T) {
	c := timedCore(t, 0, 10, 0)
	now := millis(1000)
	c.send([]byte("x"))
	flushAll(c, now)
	data := testAck(c, 0, 0)
	now++
	c.input(inputAt(now), data, true)
	for range thinFlight + 1 {
		c.send([]byte("y"))
	}
	flushAll(c, now)
	for _, want := range []millis{100, 200, 400, 800} {
		at, _ := nextSent(c, now)
		if at-now != want {
			t.Fatalf("sent again after %d ms, want %d", at-now, want)
		}
		now = at
	}
}

// After an outage a retransmission arrives, and what was sent behind it may be lost once more. It
// must not wait as long as the outage has lasted.
func TestAnAcknowledgementEndsTheBackOffOfAll(t *testing.T) {
	c := timedCore(t, 0, 10, 0)
	c.rtt.sample(50, 50)
	now := millis(1000)
	for range thinFlight + 4 {
		c.send([]byte("x"))
	}
	flushAll(c, now)
	for range 6 {
		now, _ = nextSent(c, now)
	}
	if at := c.nextEvent(now); at-now < 5000 {
		t.Fatalf("a wait of %d ms after six timeouts, want more than 5 s", at-now)
	}
	c.input(inputAt(now+50), testAck(c, c.sendUna+1), true)
	if at, sent := nextSent(c, now+50); at > now+c.rto() || len(sent) == 0 {
		t.Errorf("%d segments sent again %d ms after their transmission, want an RTO of %d",
			len(sent), at-now, c.rto())
	}
}

// What waits to be sent again has arrived, and its acknowledgement was lost in an outage. That is
// no measure of how long an acknowledgement takes.
func TestLostAcknowledgementsLeaveTheRTOAlone(t *testing.T) {
	c := timedCore(t, 0, 10, 0)
	c.ctl.incarnation, c.ctl.peer, c.ctl.peerFlags = 1, 2, helloRanges
	c.rtt.sample(50, 50)
	c.setWindows(300, 32)
	c.rmtWnd = 300
	now, rto := millis(1000), c.rto()
	for range 300 {
		c.send([]byte("x"))
	}
	flushAll(c, now)
	for c.timeouts < 6 {
		now, _ = nextSent(c, now)
	}
	once := c.sendNxt - 1
	if seg := c.ring.at(once); seg.xmits != 1 || seg.list != lostList {
		t.Fatalf("the last segment was sent %d times and is in list %d", seg.xmits, seg.list)
	}
	una := c.sendUna
	data := ackData(nil, c, una+1, una)
	value := appendAckRanges(nil, 0, una+1, []snRange{{una + 2, c.sendNxt}}, ackRangesLargest)
	data = appendSegment(data, &segment{conv: c.conv, cmd: cmdWins, wnd: 32, ts: controlVersion,
		sn: controlMagic, una: una + 1, data: value})
	c.input(inputAt(now+50), data, true)
	if c.queuedOutstanding() != 1 {
		t.Fatalf("%d segments are outstanding, want one", c.queuedOutstanding())
	}
	if c.rto() > 2*rto {
		t.Errorf("an RTO of %d ms after an outage, %d before", c.rto(), rto)
	}
}

// A paced sender sends little from time to time to measure the path. The acknowledgement of what is
// then the last segment waits for the interval of the peer, and that is no loss.
func TestPausesOfAPacedSenderTimeNothingOut(t *testing.T) {
	p := simProfile{Delay: 20 * time.Millisecond, Rate: 20e6 / 8, Queue: 2000 * 1428}
	c := Config{StreamMode: true, NoDelay: true, SendWindow: 1024, ReceiveWindow: 1024}
	pairRun(t, 1, p, c, func(t *testing.T, n *connPair) {
		took := n.move(t, pattern(20e6, 1))
		st := n.client.Stats()
		if st.TimeoutRetransmits != 0 || st.SpuriousRetransmits != 0 {
			t.Errorf("%d timeouts and %d spurious retransmissions on a line without loss",
				st.TimeoutRetransmits, st.SpuriousRetransmits)
		}
		if took < 8*time.Second || took > 10*time.Second {
			t.Errorf("20 MB took %v, want less than 10s, and more than 8s for pauses", took)
		}
	})
}
