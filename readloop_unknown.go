// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
)

// handleUnknown carries out what the door decides about a datagram for which there is no session. It returns the session
// that opens, if one does, with its lock held.
func (r *reader) handleUnknown(p *packet, key sessionKey, custom net.Addr) *UDPSession {
	u := newUnknown(p, r.nonce)
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

// open makes the session of a newcomer that got in and enters it. Accept may return it from then on, but the first thing
// that happens to it is the datagram that opened it: a program that closes it at once would otherwise leave nothing to tell
// the peer's next one by, which would open another.
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

// answersPerSecond bounds the answers that belong to no session, of one socket.
const answersPerSecond = 1000

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
	to := destination{to: key.peer.udp, toAddr: custom, local: r.arrival.local}
	r.tx.lay(&r.ep.txSocket, s, r.ep.demux.answerSealer(r.arrival.nonce), &to)
}

// replayed looks at a packet that a key authenticates. It reports whether the packet is to be dropped, and notes whether it
// could open a session and has been seen before.
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
