// SPDX-License-Identifier: MIT

package kcp

import "net"

// underKeys delivers a datagram under the keys of a session. It returns false if the datagram is
// not one, and is to be opened under the pre-shared key.
//
// A datagram from another address than the peer's (S3.21) is dropped before it is opened: a session
// does not follow its peer.
func (r *reader) underKeys(data []byte, peer *peerAddr) bool {
	source := r.ep.sealer.keySource()
	r.sealed.packet = nil
	if source == nil || r.ep.demux.keys.Load() == nil && r.ep.sole.Load() == nil ||
		!r.sealed.parse(data, source) {
		return false
	}
	_, s := r.ep.findKeys(r.sealed.id)
	if s == nil || s.peer != *peer && r.ep.sources != sourcesByConv {
		return false
	}
	if r.session != s || s.life.ended() {
		r.unlockSession()
		if !r.lockSession(s, sessionKey{s.peer, s.conv}) {
			return false
		}
	}
	r.arrival.nonce = nil
	return s.receiveKeyedLocked(&r.lent, &r.packet, &r.sealed, &r.arrival, &r.counters)
}

// endedKeys answers a datagram under the keys of a session that has ended, as its record says. It
// returns false if the datagram is not one.
func (r *reader) endedKeys(data []byte, peer *peerAddr, custom net.Addr) bool {
	if r.sealed.packet == nil {
		return false
	}
	k, s := r.ep.findKeys(r.sealed.id)
	if k == nil || s != nil {
		return false
	}
	source, sealed := r.ep.sealer.keySource(), &r.sealed
	if sealed.counter >= sessionKeyMost {
		return false
	}
	payload, ok := openCounted(source.suite.aead(&k.in), data, sealed.counter, &sealed.scratch)
	if !ok {
		return false
	}
	r.unlockSession()
	p := &r.packet
	if p.parse(payload); p.kind == packetBad {
		r.counters.inErrs++
		return true
	}
	// Such a datagram opens no session, whatever is in it.
	r.arrival.nonce, r.nonce, r.answers = nil, nonceSeen, k.sealing(source)
	r.handleUnknown(p, sessionKey{*peer, p.conv}, custom)
	r.answers = nil
	return true
}
