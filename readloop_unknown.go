// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
)

// handleUnknown carries out what the door decides about a datagram without a session. It returns
// the session that opens, with its lock held, or nil.
func (r *reader) handleUnknown(p *packet, key sessionKey, custom net.Addr) *UDPSession {
	u := newUnknown(p, r.nonce)
	if u.first.cmd == 0 {
		r.counters.inErrs++ // S1.39, without the lock of the demux
		return nil
	}
	v := r.ep.demux.judge(&u, &key, r.now)
	r.counters.inErrs += v.errors
	var buf [maxControl]byte
	switch v.action {
	case doorAnswer:
		reply := v.segment(key.conv, buf[:0])
		r.answer(&reply, key, custom)
	case doorChallenge:
		reply := v.segment(key.conv, nil)
		r.lay(&reply, &key, custom)
	case doorOpen, doorOpenValidated:
		for _, s := range v.older {
			s.superseded(r.now)
		}
		return r.open(&v, &u, &key, custom)
	}
	return nil
}

// open opens the session of a new peer and takes its lock. Accept may return the session from then
// on, but its first input is the datagram that opened it. Otherwise a program that closes it at
// once would leave no record, and the peer's next datagram would open another session.
func (r *reader) open(v *verdict, u *unknown, key *sessionKey, custom net.Addr) *UDPSession {
	s := v.backlog.open(r.ep, key, custom, u.control.sharesAddress(), v.action == doorOpenValidated)
	if s == nil || !r.lockSession(s, *key) {
		return nil
	}
	if s.openedLocked(u.first.sn == 0, r.now) && !v.backlog.offer(s) {
		r.unlockSession()
		s.turnAway()
		return nil
	}
	return s
}

// answer sends one segment without a session. It is at most a header longer than the datagram that
// it answers, and the number per second is bounded.
func (r *reader) answer(s *segment, key sessionKey, custom net.Addr) {
	if r.ep.mayAnswer(r.now) {
		r.lay(s, &key, custom)
	}
}

// lay is like answer without the bound.
func (r *reader) lay(s *segment, key *sessionKey, custom net.Addr) {
	r.unlockSession()
	to := destination{to: key.peer.udp, toAddr: custom, local: r.arrival.local}
	sealer := r.answers
	if sealer == nil {
		sealer = r.ep.demux.answerSealer(r.arrival.nonce)
		r.opened++
	}
	r.tx.lay(&r.ep.txSocket, s, sealer, &to)
}

// replayed checks the nonce of an authenticated packet. It reports whether the packet is to be
// dropped, and records whether it may open a session (S3.8).
func (r *reader) replayed(p *packet) (drop bool) {
	g, a := &r.ep.demux.replay, &r.arrival
	r.nonce = nonceFresh
	switch p.kind {
	case packetOOB:
		return g.oob.add(a.nonce)
	case packetPlain, packetData:
		if couldOpen(p.segments) && (g.openers.add(a.nonce) || g.sent.has(a.nonce)) {
			r.nonce = nonceSeen
		}
	}
	return false
}

// keepRaw returns the datagram as it arrived, in case it is not KCP: a cipher opens it in place.
func (r *reader) keepRaw(data []byte, strays *strayQueue) []byte {
	if strays == nil || r.ep.sealer.headroom() == 0 {
		return data
	}
	r.raw = append(r.raw[:0], data...)
	return r.raw
}

// dialledAs returns the address by which a dialled session over a net.PacketConn knows its peer.
// Such a connection may name sources otherwise than the program names the peer, or not at all. The
// conversation id then decides, until a datagram has come from the dialled address itself.
func (r *reader) dialledAs(p *packet, peer *peerAddr, custom net.Addr) (*peerAddr, net.Addr) {
	var match *UDPSession
	for s := range r.ep.demux.sessions.all {
		if s.peer == *peer {
			s.marks.add(markExactSource)
			return peer, custom
		}
		if !s.marks.has(markExactSource) && (s.conv == p.conv || p.kind == packetParity) {
			match = s
		}
	}
	if match == nil {
		return peer, custom
	}
	return &match.peer, match.remoteAddr()
}
