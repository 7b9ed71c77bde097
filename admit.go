// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"net"
)

// admit decides what becomes of a datagram for which there is no session: a new session for a PUSH inside the initial
// window, an answer to what belongs to a session that has ended, nothing otherwise.
func (r *reader) admit(p *packet, key sessionKey, custom net.Addr) *UDPSession {
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
	l := d.listener
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
	rivals, ok := d.rivals(&key.peer, &first, &m)
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
	switch v := r.pass(l, &key, custom, len(rivals) > 0); v {
	case verdictPending, verdictProved:
		for _, s := range rivals {
			s.rivalled(r.now)
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

// opens reports whether a segment begins a session. Who begins one has received nothing of it yet: an una says that this
// one has another end somewhere.
func opens(s *segment) bool { return s.cmd == cmdPush && uint32(s.sn) < wndInitial && s.una == 0 }

// knocks reports whether a WASK opens a session: the peer says so, for it waits for that before it has data.
func knocks(s *segment, m *controlSet) bool {
	return s.cmd == cmdWask && s.sn == 0 && s.una == 0 && m.has[ctlHello] && m.incarnation != 0 && m.flags&helloOpens != 0
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

// headlessPatience is how long a session is kept whose first segment does not come, which was overtaken by a later one: as
// long as a peer goes on with the default DeadTimeout, or with that of the listener where it is longer.
const headlessPatience millis = 30_000

// begin reports whether the first segment of a session has come behind a later one, once. Called with the lock held.
func (s *UDPSession) begin() bool {
	if !s.headless || s.ended || s.core.rcvNxt == 0 {
		return false
	}
	s.headless, s.lingerAt = false, never
	return true
}

// offer lets Accept return a session whose first segment has come. There is room for it however many wait: what came
// before has been acknowledged.
func (d *demux) offer(s *UDPSession) bool {
	d.mu.Lock()
	l := d.listener
	d.mu.Unlock()
	return l != nil && l.offer(s, math.MaxInt)
}

// open makes the session of a newcomer that got in and enters it. Accept may return it from then on, but the first thing
// that happens to it is the datagram that opened it: a program that closes it at once would otherwise leave nothing to tell
// the peer's next one by, which would open another.
func (r *reader) open(l *Listener, key *sessionKey, custom net.Addr, begins, shared, proved bool) *UDPSession {
	d := r.ep.demux
	s := newSession(r.ep, key.conv, key.peer, custom, &l.opts)
	s.accepted, s.listener = true, l.number
	s.core.ctl.accepted = true
	if shared {
		s.sharesAddress.Store(true) // before it is in the list of its peer's sessions
	}
	if !proved {
		s.demandProof(l.opts.amplification)
	}
	if d.add(s) != nil {
		d.mu.Lock()
		d.admission.leave(&key.peer)
		d.mu.Unlock()
		return nil
	}
	DefaultSnmp.connOpened(false)
	if !r.enter(s, *key) {
		return nil
	}
	s.isPending(s.core.addr != nil)
	if !begins {
		s.headless = true
		s.lingerAt = r.now + max(headlessPatience, s.core.life.deadTimeout)
		return s
	}
	if !l.offer(s, l.opts.backlog) {
		r.leave()
		s.turnAway()
		return nil
	}
	return s
}

// turnAway ends a session that Accept will never return, and gives back what it has received.
func (s *UDPSession) turnAway() {
	s.replaced()
	s.mu.Lock()
	s.releaseReading()
	s.mu.Unlock()
}

// lateTS is how much older than the newest segment one that is only late can be, in milliseconds: what begins with an
// older clock comes from a peer that was restarted.
const lateTS = 10000

// yields reports whether a time-wait record makes way for the datagram: a restarted peer has another incarnation, or,
// being an old one, begins a stream with a clock that has begun anew.
func (w *timeWait) yields(first *segment, m *controlSet) bool {
	if first.cmd != cmdPush && !knocks(first, m) {
		return false
	}
	if m.has[ctlHello] && w.peer != 0 {
		return m.incarnation != w.peer
	}
	return w.peer == 0 && first.sn == 0 && first.una == 0 && int32(w.newestTS-first.ts) > lateTS
}

// stray reports whether a datagram looks like a restarted peer's, which asks whether there is a listener, or whose HELLO
// was lost.
func (w *timeWait) stray(first *segment, m *controlSet, now millis) bool {
	if first.cmd == cmdWask {
		return m.has[ctlHello] && m.incarnation != w.peer
	}
	return w.peer != 0 && w.newestAt >= 0 && first.cmd == cmdPush && !clockFits(first.ts, w.newestTS, now-w.newestAt)
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

// asksWindow reports whether there is a WASK among the segments.
func asksWindow(segments []byte) bool {
	var s segment
	for len(segments) > 0 {
		var status parseStatus
		if segments, status = parseSegment(segments, &s); status != parseOK {
			break
		}
		if s.cmd == cmdWask {
			return true
		}
	}
	return false
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
	r.leave()
	r.opened++
	r.tx.lay(r.ep, r.ep.demux.answerSealer(r.nonce), s, outgoing{to: key.peer.udp, toAddr: custom, local: r.local})
}

// lay adds a datagram of one segment that no session stands behind.
func (tx *txScratch) lay(ep *endpoint, sealer *sealer, s *segment, o outgoing) {
	tx.reserve(ep, 0)
	start := tx.w.start
	b := appendSegment(tx.w.arena[start:start+sealer.headroom()], s)
	end := start + len(b) + sealer.tailroom()
	if sealer.seal(tx.w.arena[start:end]) != nil {
		return
	}
	tx.w.start = end
	o.buf = tx.w.arena[start:end]
	tx.batch = append(tx.batch, o)
}
