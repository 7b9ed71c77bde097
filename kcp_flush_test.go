// SPDX-License-Identifier: MIT

package kcp

import (
	"container/heap"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
)

// timedCore returns a state machine at 1000 ms that has sent nothing yet, without a congestion window.
func timedCore(t *testing.T, noDelay, interval, resend int) *core {
	c := new(core)
	c.init(7, 1000)
	c.setNoDelay(noDelay, interval, resend, 1)
	t.Cleanup(func() { releaseCore(c) })
	return c
}

// pushData is a datagram of one PUSH for each of the given numbers, sent by a peer whose clock says ts.
func pushData(ts uint32, sns ...seqNum) (data []byte) {
	for _, sn := range sns {
		data = appendSegment(data, &segment{conv: 7, cmd: cmdPush, wnd: 32, ts: ts, sn: sn, data: []byte("x")})
	}
	return data
}

// nextSent runs a state machine that hears nothing until it sends something, and returns when and what; never if it
// waits for ever.
func nextSent(c *core, now millis) (at millis, sent []segment) {
	for range 100 {
		if now = c.nextEvent(now); now == never {
			return never, nil
		}
		if sent = flushAll(c, now); len(sent) > 0 {
			return now, sent
		}
		now++
	}
	panic("woken up 100 times for nothing")
}

// count returns how many of the segments are of a kind.
func count(sent []segment, cmd uint8) (n int) {
	for i := range sent {
		if sent[i].cmd == cmd {
			n++
		}
	}
	return n
}

// timedScript is what the two ends do: it is made beforehand, so that every way to drive them sees the same.
type timedScript struct {
	profile linkProfile
	setup   [2]func(c *core)
	writes  [2]map[millis]int // bytes
	reads   [2]map[millis]bool
	end     millis
}

func newTimedScript(seed uint64) *timedScript {
	rng := rand.New(rand.NewPCG(seed, 77))
	s := &timedScript{end: 1000 + 20_000}
	s.profile = linkProfile{loss: 0.2 * rng.Float64(), delay: 1 + millis(rng.IntN(80)), jitter: millis(rng.IntN(30)), duplicate: 0.02}
	for i := range s.setup {
		snd, rcv, noDelay := 1+rng.IntN(40), 32+rng.IntN(40), rng.IntN(2)
		interval, resend, nc := 10+rng.IntN(100), rng.IntN(4), rng.IntN(2)
		delay, ackNow, stream := rng.IntN(3) == 0, rng.IntN(3) == 0, rng.IntN(2) == 0
		rate, keepAlive := uint32(0), millis(0)
		if rng.IntN(3) == 0 {
			rate = 2000 + uint32(rng.IntN(50_000))
		}
		if rng.IntN(3) == 0 {
			keepAlive = 2000
		}
		s.setup[i] = func(c *core) {
			c.setWindows(snd, rcv)
			c.setNoDelay(noDelay, interval, resend, nc)
			c.writeDelay, c.ackNoDelay, c.stream = delay, ackNow, stream
			c.rate = tokenBucket{rate: rate, last: 1000}
			c.life.keepAlive = keepAlive
			c.ctl.incarnation = uint64(i) + 1
		}
		s.writes[i], s.reads[i] = make(map[millis]int), make(map[millis]bool)
		for range rng.IntN(200) {
			s.writes[i][1000+millis(rng.IntN(10_000))] = 1 + rng.IntN(3000)
		}
		for at := millis(1000); at < s.end; at += 1 + millis(rng.IntN(1+rng.IntN(3000))) {
			s.reads[i][at] = true
		}
	}
	return s
}

// run plays the script and returns a digest of every packet and its time. With everyMillisecond each end is flushed each
// millisecond, otherwise only when it says that it needs it.
func (s *timedScript) run(seed uint64, everyMillisecond bool) (digest uint32, packets int) {
	l := newCoreLink(seed, s.profile)
	l.onPacket = func(from int, data []byte) bool {
		digest = crc32.Update(digest, crc32.IEEETable, binary.LittleEndian.AppendUint64(data, uint64(l.now)<<1|uint64(from)))
		packets++
		return true
	}
	buf := make([]byte, 1<<17)
	for i, c := range l.ends {
		s.setup[i](c)
		defer releaseCore(c)
	}
	for l.now = 1000; l.now < s.end; l.now++ {
		l.deliver()
		for i, c := range l.ends {
			if s.reads[i][l.now] {
				for c.recv(buf) >= 0 {
				}
			}
			if n := s.writes[i][l.now]; n > 0 && c.queued() < c.sndWnd {
				for n > 0 {
					m := min(n, c.mss)
					c.send(buf[:m])
					n -= m
				}
				c.delayWrite(l.now)
			}
			if everyMillisecond || c.nextEvent(l.now) <= l.now {
				l.flush(i)
			}
		}
	}
	return digest, packets
}

// deliver hands over what has arrived by now.
func (l *coreLink) deliver() {
	for len(l.queue) > 0 && l.queue[0].at <= l.now {
		p := heap.Pop(&l.queue).(linkPacket)
		l.ends[p.to].input(p.data, true, l.now)
	}
}

func TestNextEventIsNeitherLateNorEarly(t *testing.T) {
	for seed := range uint64(40) {
		s := newTimedScript(seed)
		every, n := s.run(seed, true)
		events, m := s.run(seed, false)
		if every != events {
			t.Errorf("seed %d: flushed each millisecond %d packets leave, flushed at each event %d, or at other times", seed, n, m)
		}
	}
}

func TestNothingToDoIsNoEvent(t *testing.T) {
	c := timedCore(t, 1, 10, 2)
	if at := c.nextEvent(1000); at != never {
		t.Errorf("fresh: next event at %d, want never", at)
	}
	c.send([]byte("x"))
	if at := c.nextEvent(1000); at != 1000 {
		t.Errorf("something to send: next event at %d, want now", at)
	}
	flushAll(c, 1000)
	if at := c.nextEvent(1000); at != 1000+rtoDefault {
		t.Errorf("in flight: next event at %d, want %d", at, 1000+rtoDefault)
	}
	c.input(testAck(c, 1), true, 1050)
	if at := c.nextEvent(1050); at != never {
		t.Errorf("acknowledged: next event at %d, want never", at)
	}
	c.input(pushData(5, 0), true, 2000)
	if at, sent := nextSent(c, 2000); at != 2010 || count(sent, cmdAck) != 1 {
		t.Errorf("an ACK is due at %d (%d of them), want 2010", at, count(sent, cmdAck))
	}
	if at := c.nextEvent(2010); at != never {
		t.Errorf("ACK sent, not read yet: next event at %d, want never", at)
	}
}

func TestAcknowledgementsWaitAtMostTheInterval(t *testing.T) {
	tests := []struct {
		name   string
		window int
		setup  func(c *core)
		steps  [][]seqNum // received at 1000, 1005, 1010 ...
		want   millis
	}{
		{"one segment", 32, nil, [][]seqNum{{0}}, 1040},
		{"the first decides", 32, nil, [][]seqNum{{0}, {1}, {2}}, 1040},
		{"a quarter of the window", 32, nil, [][]seqNum{{0, 1, 2}, {3, 4, 5}, {6, 7}}, 1010},
		{"a quarter of a small window", 8, nil, [][]seqNum{{0}, {1}}, 1005},
		{"a large window counts as 32", 4096, nil, [][]seqNum{{0, 1, 2, 3, 4, 5, 6}, {7}}, 1005},
		{"a window of one", 1, nil, [][]seqNum{{0}}, 1000},
		{"at once if asked for", 32, func(c *core) { c.ackNoDelay = true }, [][]seqNum{{0}}, 1000},
		{"a hole opens", 32, nil, [][]seqNum{{0}, {2}}, 1005},
		{"a hole closes", 32, nil, [][]seqNum{{0, 2}, {1}}, 1000},
		{"a duplicate", 32, nil, [][]seqNum{{0}, {0}}, 1005},
		{"data goes out anyway", 32, func(c *core) { c.send([]byte("y")) }, [][]seqNum{{0}}, 1000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := timedCore(t, 0, 40, 0)
			c.setWindows(32, tt.window)
			if tt.setup != nil {
				tt.setup(c)
			}
			now := millis(1000)
			for i, sns := range tt.steps {
				now = 1000 + 5*millis(i)
				c.input(pushData(uint32(now), sns...), true, now)
				if c.nextEvent(now) <= now {
					break
				}
				if sent := flushAll(c, now); len(sent) > 0 {
					t.Fatalf("sent %+v at %d, before its time", sent, now)
				}
			}
			if at := c.nextEvent(now); at != tt.want {
				t.Fatalf("next event at %d, want %d", at, tt.want)
			}
			if sent := flushAll(c, tt.want); count(sent, cmdAck) == 0 {
				t.Errorf("sent %+v, want ACKs", sent)
			}
		})
	}
}

func TestAcknowledgementsThatUnaCoversAreLeftOut(t *testing.T) {
	tests := []struct {
		received, want []seqNum // numbers of the ACKs that leave
	}{
		{[]seqNum{0, 1, 2, 3}, []seqNum{3}},
		{[]seqNum{0, 1, 3, 5}, []seqNum{3, 5}},
		{[]seqNum{1, 2, 3}, []seqNum{1, 2, 3}},
		{[]seqNum{2, 1, 0}, []seqNum{0}},
		{[]seqNum{5, 0, 1}, []seqNum{5, 1}},
		{[]seqNum{0, 0, 0}, []seqNum{0}},
	}
	for _, tt := range tests {
		c := timedCore(t, 0, 40, 0)
		c.input(pushData(900, tt.received...), true, 1000)
		_, sent := nextSent(c, 1000)
		var got []seqNum
		for _, s := range sent {
			got = append(got, s.sn)
			if s.cmd != cmdAck || s.ts != 900 || s.una != c.rcvNxt {
				t.Errorf("received %v: sent %+v, want ACKs of ts 900 and una %d", tt.received, s, c.rcvNxt)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("received %v: ACKs for %v, want %v", tt.received, got, tt.want)
		}
	}
}

func TestDelayedWriteLeavesWithTheInterval(t *testing.T) {
	c := timedCore(t, 0, 40, 2)
	c.writeDelay = true
	write := func(now millis) {
		c.send([]byte("x"))
		c.delayWrite(now)
	}
	write(1000)
	write(1030)
	if at, sent := nextSent(c, 1030); at != 1040 || count(sent, cmdPush) != 2 {
		t.Fatalf("%d segments left at %d, want 2 at 1040", count(sent, cmdPush), at)
	}
	write(1041)
	if at := c.nextEvent(1041); at != 1081 {
		t.Fatalf("the next write leaves at %d, want 1081", at)
	}
	c.setNoDelay(-1, -1, 1, -1)
	// What was lost does not wait for what is delayed, which leaves in the same packet.
	c.input(testAck(c, 0, 1), true, 1050)
	at, sent := nextSent(c, 1050)
	if at != 1050 || count(sent, cmdPush) != 2 || sent[0].sn != 0 || sent[1].sn != 2 {
		t.Fatalf("at %d left %+v, want segment 0 again and segment 2 at 1050", at, sent)
	}
	// The next write's interval begins anew.
	write(1060)
	if at, sent := nextSent(c, 1061); at != 1100 || count(sent, cmdPush) != 1 {
		t.Fatalf("%d segments left at %d, want 1 at 1100", count(sent, cmdPush), at)
	}
}

func TestWindowProbesBackOff(t *testing.T) {
	tests := []struct {
		name   string
		closed func(c *core) // closes the peer's window and leaves something to send at 1000
	}{
		{"closed by the answer to what was in flight", func(c *core) {
			c.send([]byte("x"))
			c.send([]byte("y"))
			flushAll(c, 990)
			c.send([]byte("z"))
			c.input(appendSegment(nil, &segment{conv: 7, cmd: cmdWins, ts: 5, una: 2}), true, 1000)
		}},
		{"closed before there was anything to send", func(c *core) {
			c.input(appendSegment(nil, &segment{conv: 7, cmd: cmdWins, ts: 5}), true, 900)
			c.send([]byte("z"))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := timedCore(t, 0, 40, 2)
			tt.closed(c)
			now, wait := millis(1000), probeInit
			for range 20 {
				at, sent := nextSent(c, now)
				if at != now+wait || len(sent) != 1 || sent[0].cmd != cmdWask {
					t.Fatalf("after %d ms left %+v, want a WASK after %d", at-now, sent, wait)
				}
				now, wait = at, min(wait+wait/2, probeLimit)
				if c.stats.probes%3 == 0 {
					// An answer that the window is still closed changes nothing.
					c.input(appendSegment(nil, &segment{conv: 7, cmd: cmdWins, ts: uint32(now), una: c.sendUna}), true, now)
				}
			}
			c.input(appendSegment(nil, &segment{conv: 7, cmd: cmdWins, ts: uint32(now + 1), una: c.sendUna, wnd: 9}), true, now+1)
			if at, sent := nextSent(c, now+1); at != now+1 || count(sent, cmdPush) != 1 {
				t.Fatalf("window open: at %d left %+v, want the data at %d", at, sent, now+1)
			}
			c.input(testAck(c, c.sendNxt), true, now+2)
			if at := c.nextEvent(now + 2); at != never {
				t.Errorf("all acknowledged: next event at %d, want never", at)
			}
		})
	}
}

// A peer that shrinks its window leaves segments in flight that it will not take. It is alive as long as it answers.
func TestPeerThatDoesNotReadIsNotDead(t *testing.T) {
	c := timedCore(t, 0, 40, 0)
	c.life.deadTimeout = 30_000
	for range 20 {
		c.send([]byte("x"))
	}
	flushAll(c, 1000)
	now := millis(1010)
	c.input(appendSegment(nil, &segment{conv: 7, cmd: cmdWins, ts: 1, una: 5}), true, now)
	for now < 200_000 {
		at, sent := nextSent(c, now)
		if c.deadAt() <= at {
			t.Fatalf("given up at %d, though the peer answers", c.deadAt())
		}
		if now = at; count(sent, cmdWask) > 0 {
			c.input(appendSegment(nil, &segment{conv: 7, cmd: cmdWins, ts: uint32(now), una: 5}), true, now+1)
		}
	}
	// The window opens again, and the peer goes away.
	now++
	c.input(appendSegment(nil, &segment{conv: 7, cmd: cmdWins, ts: uint32(now), una: 5, wnd: 32}), true, now)
	gone := now
	for c.nextEvent(now) < c.deadAt() {
		now = c.nextEvent(now)
		flushAll(c, now)
	}
	if d := c.deadAt() - gone; d != c.life.deadTimeout {
		t.Errorf("silent, the peer is given up after %d ms, want %d", d, c.life.deadTimeout)
	}
}

func TestClosedWindowAndSilenceIsDeath(t *testing.T) {
	c := timedCore(t, 0, 40, 0)
	c.life.deadTimeout = 30_000
	c.input(appendSegment(nil, &segment{conv: 7, cmd: cmdWins, ts: 1}), true, 1000)
	now := millis(500_000)
	c.send([]byte("x"))
	for c.nextEvent(now) < c.deadAt() {
		now = c.nextEvent(now)
		flushAll(c, now)
	}
	if want := 500_000 + probeInit + c.life.deadTimeout; c.deadAt() != want {
		t.Errorf("given up at %d, want %d: the timeout behind the first probe", c.deadAt(), want)
	}
}

// What little is in flight is sent again a few times before the wait grows.
func TestTimeoutsBackOff(t *testing.T) {
	tests := []struct {
		name     string
		noDelay  int
		rtt      millis // of a first segment; 0: no sample
		interval int
		want     []millis // waits
	}{
		{"normal, no sample", 0, 0, 40, []millis{200, 200, 200, 200, 400, 800, 1000, 1000, 1000, 1000, 1000, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000}},
		{"no delay, no sample", 1, 0, 10, []millis{200, 200, 200, 200, 300, 450, 675, 1000, 1000, 1000, 1000, 1000, 1500, 2250, 3375, 5062, 7593, 11389, 17083}},
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
				c.input(data, true, now)
			}
			c.send([]byte("y"))
			flushAll(c, now)
			for i, want := range tt.want {
				at, sent := nextSent(c, now)
				if at-now != want || count(sent, cmdPush) != 1 {
					t.Fatalf("retransmission %d: %d segments after %d ms, want one after %d", i+1, count(sent, cmdPush), at-now, want)
				}
				now = at
			}
			if got := c.stats.timeoutRetrans; got != uint64(len(tt.want)) {
				t.Errorf("counted %d timeouts, want %d", got, len(tt.want))
			}
			// An ACK of the last transmission tells the round trip, and the next segment begins without back-off.
			data := testAck(c, c.sendUna, c.sendUna)
			c.input(data, true, now+7)
			c.send([]byte("z"))
			flushAll(c, now+7)
			if at, _ := nextSent(c, now+7); at != now+7+c.rto() {
				t.Errorf("the next segment waits %d ms, want an RTO of %d", at-now-7, c.rto())
			}
		})
	}
}

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
		{"enough later ones", 2, true, []step{{50, []seqNum{1, 2}}}, []seqNum{0}, 50, coreStats{fastRetrans: 1}},
		{"enough in two datagrams", 2, true, []step{{50, []seqNum{1}}, {51, []seqNum{2}}}, []seqNum{0}, 51, coreStats{fastRetrans: 1}},
		{"one is too few", 2, true, []step{{50, []seqNum{1}}}, []seqNum{0, 2, 3}, 150, coreStats{timeoutRetrans: 3}},
		{"two holes", 1, true, []step{{50, []seqNum{2}}}, []seqNum{0, 1}, 50, coreStats{fastRetrans: 2}},
		{"off", 0, true, []step{{50, []seqNum{1, 2, 3}}}, []seqNum{0}, 150, coreStats{timeoutRetrans: 1}},
		{"nothing new to send", 0, false, []step{{50, []seqNum{1}}}, []seqNum{0}, 56, coreStats{earlyRetrans: 1}},
		{"nothing new, but it was only late", 0, false, []step{{50, []seqNum{1}}, {55, []seqNum{0}}}, []seqNum{2, 3}, 150, coreStats{timeoutRetrans: 2}},
		{"the newest is no news of older ones", 0, false, []step{{50, []seqNum{0}}}, []seqNum{1, 2, 3}, 150, coreStats{timeoutRetrans: 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := timedCore(t, 0, 100, tt.resend)
			for range 4 {
				c.send([]byte("x"))
			}
			flushAll(c, 1000)
			if tt.more {
				c.writeDelay, c.flushAt = true, 6000
				c.send([]byte("new"))
			}
			now := millis(1000)
			for i, s := range tt.steps {
				if sent := flushAll(c, now); len(sent) > 0 {
					t.Fatalf("before step %d left %+v", i, sent)
				}
				now = 1000 + s.at
				c.input(testAck(c, 0, s.acks...), true, now)
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
			if s.fastRetrans != tt.stats.fastRetrans || s.earlyRetrans != tt.stats.earlyRetrans || s.timeoutRetrans != tt.stats.timeoutRetrans {
				t.Errorf("counted %d fast, %d early, %d timeouts, want %d, %d, %d", s.fastRetrans, s.earlyRetrans,
					s.timeoutRetrans, tt.stats.fastRetrans, tt.stats.earlyRetrans, tt.stats.timeoutRetrans)
			}
		})
	}
}

func TestRateLimitHoldsInEverySecond(t *testing.T) {
	for _, rate := range []uint32{200_000, 2_000_000} {
		for _, size := range []int{10, 1376} {
			l := newCoreLink(1, linkProfile{delay: 30, loss: 0.005})
			c := l.ends[0]
			for _, c := range l.ends {
				c.setWindows(4096, 4096)
				c.setNoDelay(1, 10, 2, 1)
			}
			c.rate = tokenBucket{rate: rate, last: l.now}
			sent := make([]int, 10_000) // bytes in each millisecond
			l.onPacket = func(from int, data []byte) bool {
				if from == 0 {
					for _, s := range segmentsOf(data) {
						sent[l.now-1000] += segmentHeaderSize + len(s.data)
					}
				}
				return true
			}
			buf := make([]byte, 1<<16)
			for l.now < 1000+3990 {
				for c.queued() < c.sndWnd {
					c.send(buf[:size])
				}
				for l.ends[1].recv(buf) >= 0 {
				}
				l.flush(0)
				if !l.step() {
					break
				}
			}
			least := int(rate) * 95 / 100
			if perSecond := 4096 * (segmentHeaderSize + size) * 1000 / 60; perSecond < 3*int(rate) {
				least = 0 // the window holds it back more
			}
			second := 0
			for i := range 3990 {
				second += sent[i]
				if i >= 1000 {
					second -= sent[i-1000]
				}
				if i > 1500 && i < 3980 && (second > int(rate)*105/100 || second < least) {
					t.Errorf("rate %d, messages of %d: %d bytes in the second before %d ms", rate, size, second, i)
					break
				}
			}
			for _, c := range l.ends {
				releaseCore(c)
			}
		}
	}
}

func TestCongestionWindow(t *testing.T) {
	c := new(core)
	c.init(7, 1000)
	c.setNoDelay(0, 10, 2, 0)
	c.setWindows(64, 64)
	c.rmtWnd = 64
	defer releaseCore(c)
	for c.queued() < 64 {
		c.send([]byte("x"))
	}
	now := millis(1000)
	// round acknowledges all that is in flight, a round trip later, and returns how many segments leave then.
	round := func() int {
		now += 50
		for c.queued() < 64 {
			c.send([]byte("x"))
		}
		c.input(testAck(c, c.sendNxt), true, now)
		return count(flushAll(c, now), cmdPush)
	}
	if n := count(flushAll(c, now), cmdPush); n != 1 {
		t.Fatalf("%d segments leave at first, want 1", n)
	}
	for i, want := range []int{2, 3, 4, 5, 6, 7, 8} {
		if n := round(); n != want {
			t.Fatalf("round %d: %d segments leave, want %d", i+1, n, want)
		}
	}
	// A hole that later ones have overtaken halves it.
	now += 50
	c.input(testAck(c, c.sendUna, c.sendUna+2, c.sendUna+3), true, now)
	if c.cc.window != 3 || c.cc.ssthresh != 3 {
		t.Errorf("after a fast loss: window %d, threshold %d, want 3 and 3", c.cc.window, c.cc.ssthresh)
	}
	flushAll(c, now)
	// A timeout goes back to one.
	now, _ = nextSent(c, now)
	if c.cc.window != 1 || c.cc.ssthresh < ssthreshMin {
		t.Errorf("after a timeout: window %d, threshold %d, want 1 and at least %d", c.cc.window, c.cc.ssthresh, ssthreshMin)
	}
	// It never grows beyond the windows.
	c.setWindows(10, 0)
	for range 300 {
		now = max(now, min(c.nextEvent(now), now+1000))
		flushAll(c, now)
		if n := round(); n > 10 {
			t.Fatalf("%d segments leave with a window of 10", n)
		}
	}
	if c.cc.window > 64 {
		t.Errorf("the window grew to %d", c.cc.window)
	}
	// Switched off, the windows alone decide.
	c.setNoDelay(-1, -1, -1, 1)
	c.setWindows(20, 0)
	if n := round(); n != 20 {
		t.Errorf("without it %d segments leave, want 20", n)
	}
}

// With more in flight the wait grows from the first timeout on: a path that cannot carry it is not to be flooded.
func TestTimeoutsOfAFlightBackOff(t *testing.T) {
	c := timedCore(t, 0, 10, 0)
	now := millis(1000)
	c.send([]byte("x"))
	flushAll(c, now)
	data := testAck(c, 0, 0)
	now++
	c.input(data, true, now)
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

// A state machine without the extension has no RESET to say: it does not wait for one.
func TestResetWithoutTheExtension(t *testing.T) {
	c := timedCore(t, 0, 10, 0)
	c.ctl.resetDue = true
	flushAll(c, 1000)
	if at := c.nextEvent(1000); c.ctl.incarnation == 0 && at <= 1000 {
		t.Errorf("a flush is due at %d again, with nothing to say", at)
	}
}
