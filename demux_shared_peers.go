// SPDX-License-Identifier: MIT

package kcp

import "time"

// peerKindLooks bounds the sessions of an address that are looked at: the oldest and some new ones.
const peerKindLooks = 4

// peerKind returns what is known of the peer at an address.
func (d *demux) peerKind(peer *peerAddr) (kind peerKind) {
	s := d.peers.find(peer, 0)
	for left := peerKindLooks; s != nil && left > 0 && kind < peerShares; left-- {
		kind = max(kind, s.peerKind())
		s = s.link.next.Load()
	}
	return kind
}

// noteKind records what a session that has ended on a shared socket knew of its peer.
func (t *sharedSet) noteKind(s *UDPSession) {
	kind := s.peerKind()
	if kind < peerLegacy {
		return
	}
	t.registry.mu.Lock()
	defer t.registry.mu.Unlock()
	t.registry.legacy.note(&s.peer, kind, time.Now())
}

// isLegacy reports whether the peer at an address was a legacy peer when its last session ended.
func (r *sharedRegistry) isLegacy(peer *peerAddr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.legacy.has(peer, time.Now())
}

// legacyPeers remembers addresses of legacy peers. Without it, many sessions that are dialled at
// once after a pause would share the address towards such a peer.
type legacyPeers struct {
	until map[peerAddr]time.Time
}

const (
	// legacyRemembered is how long an address is remembered: its peer may be replaced by one with
	// the extension.
	legacyRemembered = 10 * time.Minute
	// legacyMost bounds the addresses.
	legacyMost = 1024
)

// note records what was found at an address.
func (l *legacyPeers) note(peer *peerAddr, kind peerKind, now time.Time) {
	if kind != peerLegacy {
		delete(l.until, *peer)
		return
	}
	if l.until == nil {
		l.until = make(map[peerAddr]time.Time)
	}
	if _, known := l.until[*peer]; !known && len(l.until) >= legacyMost {
		l.makeRoom(now)
	}
	l.until[*peer] = now.Add(legacyRemembered)
}

// makeRoom drops what is out of date, or else any address.
func (l *legacyPeers) makeRoom(now time.Time) {
	var any peerAddr
	for peer, until := range l.until {
		if any = peer; now.After(until) {
			delete(l.until, peer)
		}
	}
	if len(l.until) >= legacyMost {
		delete(l.until, any)
	}
}

// has reports whether the peer at an address is remembered as a legacy peer.
func (l *legacyPeers) has(peer *peerAddr, now time.Time) bool {
	until, ok := l.until[*peer]
	return ok && now.Before(until)
}
