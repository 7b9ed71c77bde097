// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"time"
)

// runTimed flushes the session when its time has come. What the timer was set for has often been
// dealt with: a timeout, by an acknowledgement. A flush of nothing would cost several times as much
// as looking, and would split the batch of other sessions.
func (s *UDPSession) runTimed(now instant, b *timedBatch) {
	s.mu.Lock()
	probe := s.missingLocked(now.ms())
	early := s.rearmLocked(now.ms())
	s.mu.Unlock()
	if probe != nil {
		s.env.host.sendTimed(&probe.ping, probe.sealer, &probe.to, b)
	}
	if !early {
		s.env.host.flushTimed(s, b)
	}
}

// flushNow sends what is due, from the caller's goroutine.
func (s *UDPSession) flushNow() {
	s.mu.Lock()
	s.unlockAndFlush(s.env.clock.now())
}

// unlockAndFlush is like flushNow, but is called with s.mu held. now is the scheduler's current
// time.
func (s *UDPSession) unlockAndFlush(now instant) { s.env.host.unlockAndFlush(s, now) }

// unlockAndSend is like unlockAndFlush if something is due, and otherwise releases s.mu alone.
func (s *UDPSession) unlockAndSend(due bool) {
	if due {
		s.unlockAndFlush(s.env.clock.now())
		return
	}
	s.mu.Unlock()
}

// lock implements turnOwner.
func (s *UDPSession) lock() { s.mu.Lock() }

// unlockAndBeginTurn implements turnOwner. A flush while a turn is out makes another one follow it.
func (s *UDPSession) unlockAndBeginTurn(
	t *turn, fine instant, w *packetWriter, n *counters,
) (need int) {
	s.turns.queued = false
	if s.turns.busy() || s.life.ended() {
		s.turns.repeat()
		s.mu.Unlock()
		return 0
	}
	s.turns.adapt(&s.core, s.core.clock(fine).ms())
	s.applyFECLocked()
	s.searchPathLocked(s.core.clock(fine))
	if need = s.turns.frame(w, s.frameLocked(), s.core.mtu); need > 0 {
		s.mu.Unlock()
		return need
	}
	copies := int(s.dup.Load())
	s.core.setScale(s.turns.rateScale(copies))
	at := s.core.clock(fine) // another flush may have looked at the clock later
	now := at.ms()
	s.giveUpClosingLocked(now)
	s.openRequiredLocked(now)
	w.rider = s.keys.rider(now)
	more := s.core.flush(at, w)
	s.keys.rode(&w.rider, now, s.core.rto())
	ending := s.turns.ending(&s.core, w, now)
	laid := ending != groupStays || len(w.packets) > 0
	if laid {
		s.turns.begin(more)
	}
	ended, _ := s.updateLocked(now, more && laid)
	s.countLocked(n)
	receipt := s.core.rate.receipt()
	if laid {
		s.describeTurnLocked(t, w, copies)
		t.now, t.receipt, t.ending = now, receipt, ending
	}
	logs := s.takeLogsLocked(w.packets)
	s.mu.Unlock()
	if laid {
		t.logs = logs
	} else {
		s.log.Load().report(logs)
	}
	if ended {
		s.finish()
	}
	return 0
}

// describeTurnLocked sets t to what is needed to send the packets laid out in w. s.mu must be held.
func (s *UDPSession) describeTurnLocked(t *turn, w *packetWriter, copies int) {
	t.owner, t.destination = s, s.destinationLocked()
	t.sealer = s.sealerLocked()
	t.remember = t.sealer.session == nil && s.core.ctl.marking.remembers()
	t.dup, t.copies = copies, s.core.addr.copies(w.packets, copies)
	t.log = &s.log
	if s.turns.encoder != nil {
		t.encoder = s.turns.encoder
		t.reserved = s.core.addr.reserve()
	} else {
		t.reserved = math.MaxInt
	}
}

// frameLocked returns a sealer with the head and the tail of the session's packets. s.mu must be
// held.
func (s *UDPSession) frameLocked() *sealer {
	if s.keys.have() {
		return sessionFrame
	}
	return s.env.sealer
}

// openRequiredLocked begins a session whose data waits for keys. s.mu must be held.
func (s *UDPSession) openRequiredLocked(now millis) {
	if s.core.openRequired(now) && s.keys.required() {
		s.keys.expect(now + max(s.core.life.deadTimeout, keysPatience))
	}
}

// keysPatience is how long required keys are awaited without a Config.DeadTimeout that is longer.
const keysPatience millis = 10_000

// exchangeAtLocked returns when a message of a key exchange is to be sent. s.mu must be held.
func (s *UDPSession) exchangeAtLocked() millis {
	switch {
	case s.core.addr.heldBack():
		return never
	case s.core.opensRequired():
		return 0
	}
	return s.keys.exchangeAt()
}

// lookAtLocked returns when the keys of the session are to be looked at. s.mu must be held.
func (s *UDPSession) lookAtLocked() millis {
	return min(s.keys.limitAt(), s.keys.probeAt(s.core.missedAt()))
}

// A missingProbe is a PING under the pre-shared key.
type missingProbe struct {
	ping   segment
	sealer *sealer
	to     destination
}

// missingLocked returns a PING under the pre-shared key if the peer of a session with keys has been
// silent for so long that it may have lost them. s.mu must be held.
func (s *UDPSession) missingLocked(now millis) *missingProbe {
	c := &s.core
	if s.life.ended() || now < s.keys.probeAt(c.missedAt()) {
		return nil
	}
	m := controlSet{ping: s.keys.probe(randomUint64, now, c.life.heardAt, c.rto())}
	m.has[ctlPing] = true
	c.fillHello(&m)
	return &missingProbe{
		ping: segment{
			conv: s.conv, cmd: cmdWins, wnd: wndInitial, ts: controlVersion, sn: controlMagic,
			una: c.rcvNxt, data: appendControl(nil, &m),
		},
		sealer: s.preSharedLocked(), to: s.destinationLocked(),
	}
}

// destinationLocked returns where the session's datagrams go. s.mu must be held.
func (s *UDPSession) destinationLocked() destination {
	return destination{to: s.peer.udp, toAddr: s.remoteAddr(), local: s.local}
}

// endTurn implements turnOwner.
func (s *UDPSession) endTurn(t *turn) (again bool) {
	s.mu.Lock()
	again = s.turns.end()
	s.turns.noteSent()
	s.core.rate.reconcile(t.receipt, t.limited)
	s.core.releaseHeld()
	s.core.addr.refund(t.reserved)
	s.sent.add(t.packets, t.bytes)
	if s.core.trace != nil {
		s.core.trace.count(s.env.clock.now(), traceDatagramsSent, traceKCP,
			uint32(t.packets), uint32(t.bytes), uint32(t.parity))
	}
	gone := s.life.removed()
	if gone {
		s.turns.releaseEncoder()
		s.endTraceLocked()
	}
	s.mu.Unlock()
	if gone {
		s.env.host.left()
	}
	return again && !gone
}

// applyFECLocked applies the configuration that SetFEC asked for. No turn may be out, and s.mu must
// be held.
func (s *UDPSession) applyFECLocked() {
	if s.turns.applyFEC(s.core.ctl.readsGroups()) {
		if s.turns.namesGroups() {
			s.core.ctl.expectReports()
		}
		if s.core.trace != nil {
			s.core.trace.count(s.env.clock.now(), traceFECChanged, 0,
				uint32(s.turns.active.data), uint32(s.turns.active.parity), 0)
		}
		s.applyMTULocked()
	}
}

// searchPathLocked is called before a flush. It begins the search for the path's MTU when there is
// a reason, moves it on, and applies what it has found. s.mu must be held.
func (s *UDPSession) searchPathLocked(at instant) {
	c := &s.core
	if c.path == nil {
		if s.search == mtuFixed || !c.wantsPath() {
			return
		}
		c.beginPath(int(s.pathMTU), pathBase, s.sealerOverhead())
	}
	if c.flow != nil && s.search != mtuFixed && c.path.ask() {
		go s.boundPath() // it makes system calls
	}
	c.path.advance(at.ms())
	s.applyPathLocked(at)
}

// sealerOverhead returns how many bytes a datagram has besides segments and the FEC header.
func (s *UDPSession) sealerOverhead() int {
	return s.env.sealer.headroom() + s.env.sealer.tailroom()
}

// boundPath finds what this host can send to the peer in one packet, and begins the search up to
// what the host, the program and the peer allow.
func (s *UDPSession) boundPath() {
	most := s.env.host.pathBound(&s.peer, int(s.pathMost)) // neither changes
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.core.path == nil || s.life.ended() {
		return
	}
	takes := min(s.core.ctl.takes(), s.env.sealer.largest())
	s.core.path.limit(takes)
	s.core.path.bound(min(most, takes), s.now())
	s.armLocked(s.now())
}

// applyPathLocked sets the size of datagrams to what the search has found. s.mu must be held.
func (s *UDPSession) applyPathLocked(at instant) {
	size := s.core.path.size
	if size == s.pathMTU {
		return
	}
	before := s.pathMTU
	if !s.resizeLocked(size) {
		s.core.endPath() // there is no room for data
		return
	}
	if size < before {
		s.core.pathShrunk(at)
	}
}

// datagramRefused notes that the socket has refused a datagram of that size to the session's peer.
func (s *UDPSession) datagramRefused(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.ended() {
		return
	}
	c := &s.core
	if c.path == nil {
		if size > int(s.pathMTU) {
			return
		}
		c.beginPath(int(s.pathMTU), pathBase, s.sealerOverhead())
	}
	at := c.clock(s.env.clock.now())
	c.path.refused(size, at.ms())
	s.applyPathLocked(at)
	s.turns.repeat()
	s.armLocked(at.ms())
}

// sendPatience limits the wait for packets that are being sent. Only a packet connection of the
// program's can take as long.
const sendPatience = time.Second

// awaitSends waits until the packets that have been laid out are out.
func (s *UDPSession) awaitSends() {
	patience := time.NewTimer(sendPatience)
	defer patience.Stop()
	// The second wait, if any, is for a split that an earlier call has made.
	for range 2 {
		s.mu.Lock()
		drained, ours := s.turns.split()
		s.mu.Unlock()
		if drained == nil {
			break
		}
		select {
		case <-drained:
		case <-patience.C:
			return
		}
		if ours {
			break
		}
	}
	written := s.env.host.written()
	if written == nil {
		return
	}
	select {
	case <-written:
	case <-patience.C:
	}
}
