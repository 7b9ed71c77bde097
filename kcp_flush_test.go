// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// timedScript is the sequence of calls at both ends. It is made beforehand, so that every way to
// drive them is compared on the same calls.
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
	s.profile = linkProfile{
		loss: 0.2 * rng.Float64(), delay: 1 + millis(rng.IntN(80)),
		jitter: millis(rng.IntN(30)), duplicate: 0.02,
	}
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
			c.setModes(sessionModes(stream, delay, ackNow, false))
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

// run plays the script and returns a digest of every packet and its time. With everyMillisecond
// each end is flushed each millisecond, otherwise only when its next event is due.
func (s *timedScript) run(seed uint64, everyMillisecond bool) (digest uint32, packets int) {
	l := newCoreLink(seed, s.profile)
	l.onPacket = func(from int, data []byte) bool {
		digest = crc32.Update(digest, crc32.IEEETable,
			binary.LittleEndian.AppendUint64(data, uint64(l.now)<<1|uint64(from)))
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

func TestNextEventIsNeitherLateNorEarly(t *testing.T) {
	for seed := range uint64(40) {
		s := newTimedScript(seed)
		every, n := s.run(seed, true)
		events, m := s.run(seed, false)
		if every != events {
			t.Errorf("seed %d: %d packets with a flush each millisecond, %d with one at each event",
				seed, n, m)
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
	c.input(inputAt(1050), testAck(c, 1), true)
	if at := c.nextEvent(1050); at != never {
		t.Errorf("acknowledged: next event at %d, want never", at)
	}
	c.input(inputAt(2000), pushData(5, 0), true)
	if at, sent := nextSent(c, 2000); at != 2010 || count(sent, cmdAck) != 1 {
		t.Errorf("an ACK is due at %d (%d of them), want 2010", at, count(sent, cmdAck))
	}
	if at := c.nextEvent(2010); at != never {
		t.Errorf("ACK sent, not read yet: next event at %d, want never", at)
	}
}

func TestDelayedWriteLeavesWithTheInterval(t *testing.T) {
	c := timedCore(t, 0, 40, 2)
	c.setMode(modeWriteDelay, true)
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
	t.Log("# a lost segment does not wait for a delayed one, which is sent in the same packet")
	c.input(inputAt(1050), testAck(c, 0, 1), true)
	at, sent := nextSent(c, 1050)
	if at != 1050 || count(sent, cmdPush) != 2 || sent[0].sn != 0 || sent[1].sn != 2 {
		t.Fatalf("at %d left %+v, want segment 0 again and segment 2 at 1050", at, sent)
	}
	t.Log("# the next write starts a new interval")
	write(1060)
	if at, sent := nextSent(c, 1061); at != 1100 || count(sent, cmdPush) != 1 {
		t.Fatalf("%d segments left at %d, want 1 at 1100", count(sent, cmdPush), at)
	}
}

func TestWindowProbesBackOff(t *testing.T) {
	tests := []struct {
		name   string
		closed func(c *core) // closes the peer's window, with something to send at 1000
	}{
		{"closed by the answer to what was in flight", func(c *core) {
			c.send([]byte("x"))
			c.send([]byte("y"))
			flushAll(c, 990)
			c.send([]byte("z"))
			inputSegment(c, 1000, segment{conv: 7, cmd: cmdWins, ts: 5, una: 2})
		}},
		{"closed before there was anything to send", func(c *core) {
			inputSegment(c, 900, segment{conv: 7, cmd: cmdWins, ts: 5})
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
					// An answer with a closed window changes nothing.
					s := segment{conv: 7, cmd: cmdWins, ts: timestamp(now), una: c.sendUna}
					inputSegment(c, now, s)
				}
			}
			inputSegment(c, now+1, segment{conv: 7, cmd: cmdWins, ts: timestamp(now + 1),
				una: c.sendUna, wnd: 9})
			if at, sent := nextSent(c, now+1); at != now+1 || count(sent, cmdPush) != 1 {
				t.Fatalf("window open: at %d left %+v, want the data at %d", at, sent, now+1)
			}
			c.input(inputAt(now+2), testAck(c, c.sendNxt), true)
			if at := c.nextEvent(now + 2); at != never {
				t.Errorf("all acknowledged: next event at %d, want never", at)
			}
		})
	}
}

func TestFirstWindowProbeComesAfterAnRTO(t *testing.T) {
	for _, tt := range []struct{ rtt, from, to millis }{
		{1, 30, 60}, {20, 30, 100}, {100, 100, 350}, {2000, 500, 500},
	} {
		c := timedCore(t, 1, 10, 2)
		c.send([]byte("x"))
		flushAll(c, 1000)
		c.send([]byte("y"))
		now := 1000 + tt.rtt
		ack := segmentsOf(testAck(c, 1, 0))[0]
		ack.wnd = 0
		c.input(inputAt(now), appendSegment(nil, &ack), true)
		at, sent := nextSent(c, now)
		if wait := at - now; wait < tt.from || wait > tt.to || count(sent, cmdWask) != 1 {
			t.Errorf("round trip of %d ms: %+v after %d ms, want a WASK after %d to %d",
				tt.rtt, sent, wait, tt.from, tt.to)
		}
	}
}
