// SPDX-License-Identifier: MIT

package kcp

import "math"

// farewell repeats the RESET of a session that was aborted. A RESET is never acknowledged, and a
// peer that only reads would wait for ever if the first one is lost. The time-wait record of the
// session answers packets that still arrive.
//
// A RESET names the peer's incarnation. If that is not known, HELLO takes its place. A peer with
// the extension then names itself in its next datagram, which the record answers by a RESET.
type farewell struct {
	env    *sessionEnv
	sealer *sealer
	conv   uint32
	to     destination
	una    seqNum
	reset  controlSet
	left   int    // bytes that may still be sent to the address
	most   uint8  // how often it is repeated at most
	sent   uint8  // how often it has been repeated
	rto    millis // between the first two
	until  millis // nothing is sent any more, and a socket that the library opened may close
	timer  timerEntry
}

const (
	// abortPeriod is how long a RESET is repeated: long enough for a queue that the session itself
	// has filled to drain. With a back-off of up to a second it is sent about six times.
	abortPeriod millis = 3000
	// abortAtOnce is the same where the program has asked for an end without delay, so that its
	// socket closes soon. The RESET is sent about four times. The period is longer if the round
	// trip is.
	abortAtOnce millis = 1000
)

// abortedLocked reports whether s has ended by a RESET of this side. A RESET after a regular end,
// towards a peer that has sent no data since, does not count. s.mu must be held.
func (s *UDPSession) abortedLocked() bool {
	ctl := &s.core.ctl
	return ctl.resetCode != 0 && !ctl.wasReset() && (ctl.resetCode != resetClosed || ctl.unread())
}

// farewellLocked returns what repeats the RESET of s, or nil if none is to be repeated. s must have
// ended, and s.mu must be held.
func (s *UDPSession) farewellLocked() *farewell {
	c := &s.core
	asks := !c.ctl.known() && c.ctl.incarnation != 0 && c.stats.segsIn > 0
	switch {
	case !c.ctl.resetSent() && !asks || !s.abortedLocked():
		return nil
	case s.life.linger == 0 && s.life.closed() && s.env.owner == connGiven && s.opener == byDial:
		return nil // the program wants its connection closed at once
	}
	now := s.now()
	f := &farewell{
		env: s.env, sealer: s.sealerLocked(), conv: s.conv, to: s.destinationLocked(),
		una: c.acknowledgedTo(), left: c.addr.rest(), rto: c.rto(), until: now + abortPeriod,
	}
	if s.life.closed() && s.life.linger == 0 {
		f.until = now + min(max(5*f.rto, abortAtOnce), abortPeriod)
	}
	f.reset.has[ctlReset], f.reset.resetCode, f.reset.resetFor = !asks, c.ctl.resetCode, c.ctl.peer
	if f.most = math.MaxUint8; asks {
		f.most = helloLimit - min(c.ctl.hello.tries, helloLimit) // S4.9
	}
	if c.ctl.replacement != 0 {
		f.reset.resetFor, f.una = c.ctl.replacement, 0
	}
	c.fillHello(&f.reset) // see inputReset
	s.env.clock.bind(&f.timer, f)
	return f
}

// begin schedules the first repetition.
func (f *farewell) begin(now millis) { f.schedule(now + f.rto) }

func (f *farewell) schedule(at millis) {
	f.timer.schedule(min(at, f.until).instant())
}

func (f *farewell) runTimed(now instant, b *timedBatch) {
	at := now.ms()
	var buf [maxControl]byte
	data := appendControl(buf[:0], &f.reset)
	cost := f.sealer.headroom() + segmentHeaderSize + len(data) + f.sealer.tailroom()
	spent := cost > f.left || f.sent >= f.most
	if at >= f.until || spent || f.env.owned() && f.env.host.isStopping() {
		f.env.host.farewellOver()
		return
	}
	f.left -= cost
	reset := segment{conv: f.conv, cmd: cmdWins, wnd: wndInitial,
		ts: controlVersion, sn: controlMagic, una: f.una,
		data: data}
	f.env.host.sendTimed(&reset, f.sealer, &f.to, b)
	f.sent++
	f.schedule(at + min(backoff(f.rto, f.sent, true), max(f.rto, lingerBackoff)))
}
