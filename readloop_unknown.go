// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
)

// handleUnknown decides what becomes of a datagram for which there is no session: a new session for a PUSH inside the initial
// window, an answer to what belongs to a session that has ended, nothing otherwise.
func (r *reader) handleUnknown(p *packet, key sessionKey, custom net.Addr) *UDPSession {
	var first segment
	if p.kind != packetPlain && p.kind != packetData {
		r.counters.inErrs++
		return nil
	}
	if _, status := parseSegment(p.segments, &first); status != parseOK {
		r.counters.inErrs++
		return nil
	}
	d := r.ep.demux
	m := findControl(p.segments)
	d.mu.Lock()
	l := d.backlog
	if w := d.waits.get(key, r.now); w != nil {
		if !w.yields(&first, &m) {
			stray := w.stray(&first, &m, r.now)
			if !stray {
				w.renew(r.now)
			}
			record := *w
			d.mu.Unlock()
			if stray {
				r.answerStray(key, custom)
			} else {
				r.answerEnded(&record, p.segments, &first, &m, key, custom)
			}
			return nil
		}
		d.waits.drop(key)
	}
	if l != nil && d.admission.answered(&first, &key, r.now) {
		d.mu.Unlock()
		return nil
	}
	rivals, ok := d.superseded(&key.peer, &first, &m)
	d.mu.Unlock()
	opening := opens(&first) || knocks(&first, &m)
	if l == nil || !opening || !ok {
		if l != nil && first.cmd == cmdWask {
			// Somebody who waits for a listener to be there. No session opens for it.
			r.answerStray(key, custom)
			return nil
		}
		r.counters.inErrs++
		if !opening {
			r.answerUnknown(&first, &m, key, custom)
		}
		return nil
	}
	if r.stale {
		// A session opens once from a packet, whoever sends it again.
		r.counters.inErrs++
		return nil
	}
	switch v := r.check(l, &key, custom, len(rivals) > 0); v {
	case verdictPending, verdictProved:
		for _, s := range rivals {
			s.superseded(r.now)
		}
		return r.open(l, &key, custom, first.sn == 0, m.sharesAddress(), v == verdictProved)
	case verdictRefused, verdictCrowded:
		r.counters.inErrs++
		if knocks(&first, &m) || v == verdictRefused {
			r.refuse(&m, key, custom)
		}
	}
	return nil
}

// refuse tells a newcomer that there is no room for it, if it knows the extension. That is shorter than what it has sent.
func (r *reader) refuse(m *controlSet, key sessionKey, custom net.Addr) {
	if !m.has[ctlHello] || m.incarnation == 0 {
		return
	}
	answer := controlSet{resetCode: resetRefused, resetFor: m.incarnation}
	answer.has[ctlReset] = true
	r.answerControl(&answer, 0, key, custom)
}

// open makes the session of a newcomer that got in and enters it. Accept may return it from then on, but the first thing
// that happens to it is the datagram that opened it: a program that closes it at once would otherwise leave nothing to tell
// the peer's next one by, which would open another.
func (r *reader) open(l *backlog, key *sessionKey, custom net.Addr, begins, shared, proved bool) *UDPSession {
	s := l.open(r.ep, key, custom, shared, proved)
	if s == nil || !r.lockSession(s, *key) {
		return nil
	}
	if s.opened(begins, r.now) && !l.offer(s) {
		r.unlockSession()
		s.turnAway()
		return nil
	}
	return s
}

// answerEnded answers a datagram for a session that has ended: FINACK for a FIN, RESET for data, where the peer knows
// the extension.
func (r *reader) answerEnded(w *timeWait, segments []byte, first *segment, m *controlSet, key sessionKey, custom net.Addr) {
	peer := w.peer
	if w.aborted && peer == 0 && m.has[ctlHello] {
		peer = m.incarnation
	}
	if peer == 0 || m.has[ctlReset] {
		return
	}
	var answer controlSet
	una := w.rcvNxt
	switch {
	case w.aborted:
		answer.has[ctlReset], answer.resetCode, answer.resetFor, answer.echo = true, resetAborted, peer, m.echoed()
		if first.cmd == cmdPush && !first.sn.before(w.rcvNxt) {
			una = first.sn
		}
	case first.cmd == cmdPush && !first.sn.before(w.rcvNxt):
		answer.has[ctlReset], answer.resetCode, answer.resetFor = true, resetClosed, w.peer
		una = first.sn
	case m.has[ctlFin]:
		answer.has[ctlFinAck], answer.finalAcked = true, m.final
	case m.has[ctlPing]:
		answer.has[ctlReset], answer.resetCode, answer.resetFor, answer.echo = true, resetClosed, w.peer, m.echoed()
	case m.has[ctlHello] && m.incarnation == w.peer && asksWindow(segments):
		// It waits for something of this session, which will not come any more.
		answer.has[ctlReset], answer.resetCode, answer.resetFor = true, resetClosed, w.peer
	case first.cmd == cmdPush:
		// A repeated segment whose acknowledgement was lost.
		r.answer(&segment{conv: key.conv, cmd: cmdAck, wnd: wndInitial, ts: first.ts, sn: first.sn, una: w.rcvNxt}, key, custom)
		return
	default:
		return
	}
	if answer.has[ctlReset] && r.ep.sealer.authenticates() {
		// It says whose session it was: see inputReset. Without a key it would be too long an answer to a stranger.
		answer.has[ctlHello], answer.incarnation, answer.heard, answer.largest = true, w.incarnation, w.peer, largestDatagram
	}
	r.answerControl(&answer, una, key, custom)
}

// answerUnknown tells a peer whose packet a key vouches for that its session does not exist.
func (r *reader) answerUnknown(first *segment, m *controlSet, key sessionKey, custom net.Addr) {
	if !r.ep.sealer.authenticates() || m.has[ctlReset] || first.cmd != cmdPush && !m.has[ctlFin] && !m.has[ctlPing] {
		return
	}
	una := first.sn
	if first.cmd != cmdPush {
		una = first.una
	}
	answer := controlSet{has: [ctlPong + 1]bool{ctlReset: true}, resetCode: resetUnknown, echo: m.echoed()}
	r.answerControl(&answer, una, key, custom)
}

// answerStray tells somebody that there is a listener, and nothing else: it acknowledges nothing. A restarted peer whose
// HELLO was lost repeats it then.
func (r *reader) answerStray(key sessionKey, custom net.Addr) {
	r.answer(&segment{conv: key.conv, cmd: cmdWins, wnd: wndInitial}, key, custom)
}

// answersPerSecond bounds the answers that belong to no session, of one socket.
const answersPerSecond = 1000

func (r *reader) answerControl(m *controlSet, una seqNum, key sessionKey, custom net.Addr) {
	var buf [maxControl]byte
	r.answer(&segment{conv: key.conv, cmd: cmdWins, wnd: wndInitial, ts: controlVersion, sn: controlMagic, una: una,
		data: appendControl(buf[:0], m)}, key, custom)
}

// answer sends one segment that no session stands behind. It is never longer than what it answers by more than a
// header, and there are only so many a second.
func (r *reader) answer(s *segment, key sessionKey, custom net.Addr) {
	if second := r.now / 1000; second != r.answerSecond {
		r.answerSecond, r.answers = second, 0
	}
	if r.answers++; r.answers > answersPerSecond {
		return
	}
	r.lay(s, &key, custom)
}

// lay is answer for what may be sent without such a limit.
func (r *reader) lay(s *segment, key *sessionKey, custom net.Addr) {
	r.unlockSession()
	r.opened++
	to := destination{to: key.peer.udp, toAddr: custom, local: r.local}
	r.tx.lay(&r.ep.txSocket, s, r.ep.demux.answerSealer(r.nonce), &to)
}

// check decides whether a newcomer gets in. rivals says that it would end other sessions: where no key vouches for it, it
// has to prove first that it is not a stranger who has forged their address.
func (r *reader) check(l *backlog, key *sessionKey, custom net.Addr, rivals bool) verdict {
	d := r.ep.demux
	room := l.room()
	if room == roomNone {
		l.refuse()
		return verdictCrowded
	}
	limits := admissionLimits{l.opts.maxSessions, l.opts.maxPending, l.opts.maxPerPrefix}
	strict := room == roomScarce || rivals && !r.ep.sealer.authenticates()
	d.mu.Lock()
	v := d.admission.decide(&limits, key, d.sessions.live, int(d.pending.Load()), strict, r.now)
	var s segment
	if v == verdictChallenge {
		s = segment{conv: key.conv, cmd: cmdPush, wnd: wndInitial}
		s.ts, s.sn = d.admission.challenge(key, r.now/challengePeriod)
	}
	d.mu.Unlock()
	if v == verdictChallenge {
		r.lay(&s, key, custom)
	}
	return v
}

// replayed looks at a packet that a key vouches for. It reports whether it is to be dropped, and notes whether it could
// open a session and has been seen before.
func (r *reader) replayed(p *packet) (drop bool) {
	g := &r.ep.demux.replay
	r.stale = false
	switch p.kind {
	case packetOOB:
		return g.oob.add(r.nonce)
	case packetPlain, packetData:
		if couldOpen(p.segments) {
			r.stale = g.openers.add(r.nonce) || g.sent.has(r.nonce)
		}
	}
	return false
}

// reflected reports whether the packet at hand, which is for s, is one that this side has sent. The lock of s is held.
func (r *reader) reflected(p *packet, s *UDPSession) bool {
	if len(r.nonce) == 0 {
		return false
	}
	ctl := &s.core.ctl
	marked := r.nonce[0]&nonceAccepted != 0
	switch ctl.marking {
	case markRole:
		return marked == s.accepted
	case markUpper:
		if marked {
			return true
		}
	case markLower:
		if marked {
			ctl.marking = markLowerKnown
			return false
		}
	case markLowerKnown:
		// A peer that was started anew does not know yet.
		return !marked && !ctl.strangerIn(p)
	}
	return r.ep.demux.replay.sent.has(r.nonce)
}

// keepRaw returns the datagram as it came for the case that it is not KCP: a cipher opens it in place.
func (r *reader) keepRaw(data []byte, strays *strayQueue) []byte {
	if strays == nil || r.ep.sealer.headroom() == 0 {
		return data
	}
	r.raw = append(r.raw[:0], data...)
	return r.raw
}

// dialledAs returns under which address a dialled session over a net.PacketConn knows its peer. Such a connection may name
// sources otherwise than the program names the peer: by the address of a proxy, or not at all. So the conversation id
// decides, until a datagram has come from the very address that was dialled.
func (r *reader) dialledAs(p *packet, peer *peerAddr, custom net.Addr) (*peerAddr, net.Addr) {
	var match *UDPSession
	for s := range r.ep.demux.sessions.all {
		if s.peer == *peer {
			s.exactSource.Store(true)
			return peer, custom
		}
		if !s.exactSource.Load() && (s.conv == p.conv || p.kind == packetParity) {
			match = s
		}
	}
	if match == nil {
		return peer, custom
	}
	return &match.peer, match.remoteAddr()
}
