// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"hash/maphash"
)

// admission bounds the sessions that a listener has open, and what strangers whose addresses are forged can make of
// that. The demux's lock guards it.
//
// Up to MaxPending sessions may be open whose peers have not proved to receive at their addresses. Beyond it a newcomer
// gets a challenge in place of a session, of which nothing is kept: an empty PUSH whose ts and sn are a keyed function of
// the time and of who is asked. Every KCP receiver takes it for a late duplicate and acknowledges it, which brings the
// numbers back; then its next retransmission opens the session. It is to KCP what a SYN cookie is to TCP (RFC 4987
// section 3.6), and the challenge is no longer than what it answers.
type admission struct {
	block    cipher.Block // keyed at random, made when it is first needed
	scratch  [2 * aes.BlockSize]byte
	vouched  [2]map[sessionKey]struct{} // who has answered: now, and in the span before
	span     millis                     // the newer one's
	prefixes map[uint64]int             // accepted sessions of each prefix
	counts   admissionCounts
}

// admissionCounts counts newcomers that did not get in at once.
type admissionCounts struct {
	challenged, vouched, full, prefixFull uint64
}

const (
	// challengePeriod is how long a challenge can be answered, at least; at most it is twice that.
	challengePeriod millis = 8000
	// vouchSpan is how long an answer can be used, at least; at most it is twice that. It is longer than any RTO: after an
	// outage a peer sends its first segment again so late.
	vouchSpan = rtoMax + challengePeriod
	// vouchedMax bounds the answers that are kept of a period, some 100 bytes each. Beyond it the older ones go.
	vouchedMax = 1 << 15
)

// admissionLimits bound what a listener admits.
type admissionLimits struct {
	sessions  int // on its sockets
	pending   int // accepted ones whose peer's address is not validated
	perPrefix int // accepted ones from one network
}

// verdict is what becomes of who wants to open a session.
type verdict uint8

const (
	verdictRefused   verdict = iota
	verdictCrowded           // too many wait for Accept; it may try again
	verdictChallenge         // it has to prove itself first
	verdictPending           // it gets in, and is to prove itself
	verdictProved
)

// decide decides about a newcomer and, if it gets in, counts it: sessionEnded takes that back. strict asks for its proof
// however few there are. sessions and pending are those that there are.
func (a *admission) decide(l *admissionLimits, key *sessionKey, sessions, pending int, strict bool, now millis) verdict {
	prefix := key.peer.prefixOf()
	switch {
	case sessions >= l.sessions:
		a.counts.full++
		return verdictRefused
	case prefix != 0 && a.prefixes[prefix] >= l.perPrefix:
		a.counts.prefixFull++
		return verdictRefused
	}
	v := verdictPending
	if a.hasVouched(key, now) {
		v = verdictProved
	} else if strict || pending >= l.pending {
		a.counts.challenged++
		return verdictChallenge
	}
	if prefix != 0 {
		if a.prefixes == nil {
			a.prefixes = make(map[uint64]int)
		}
		a.prefixes[prefix]++
	}
	return v
}

// sessionEnded forgets an accepted session of that peer.
func (a *admission) sessionEnded(peer *peerAddr) {
	prefix := peer.prefixOf()
	if n := a.prefixes[prefix]; n > 1 {
		a.prefixes[prefix] = n - 1
	} else {
		delete(a.prefixes, prefix)
	}
}

// challenge returns what a peer has to acknowledge in the period given.
func (a *admission) challenge(key *sessionKey, period millis) (ts timestamp, sn seqNum) {
	if a.block == nil {
		var k [16]byte
		binary.LittleEndian.PutUint64(k[:], randomUint64())
		binary.LittleEndian.PutUint64(k[8:], randomUint64())
		a.block, _ = aes.NewCipher(k[:]) // the key has the right length
	}
	// A CBC-MAC over two blocks: the address, and the rest.
	first, second := a.scratch[:aes.BlockSize], a.scratch[aes.BlockSize:]
	ip := key.peer.udp.Addr().As16()
	copy(first, ip[:])
	a.block.Encrypt(first, first)
	binary.LittleEndian.PutUint32(second, key.conv)
	binary.LittleEndian.PutUint16(second[4:], key.peer.udp.Port())
	binary.LittleEndian.PutUint16(second[6:], uint16(period))
	binary.LittleEndian.PutUint64(second[8:], 0)
	if key.peer.custom != "" {
		binary.LittleEndian.PutUint64(second[8:], maphash.String(tableSeed, key.peer.custom))
	}
	for i, b := range first {
		second[i] ^= b
	}
	a.block.Encrypt(second, second)
	return timestamp(binary.LittleEndian.Uint32(second)), belowAll(0, binary.LittleEndian.Uint64(second[8:]))
}

// answered looks at an ACK that belongs to no session. It reports whether it answers a challenge.
func (a *admission) answered(s *segment, key *sessionKey, now millis) bool {
	if a.block == nil || s.cmd != cmdAck || !s.sn.before(0) {
		return false
	}
	period := now / challengePeriod
	for _, p := range []millis{period, period - 1} {
		if ts, sn := a.challenge(key, p); s.ts == ts && s.sn == sn {
			a.vouch(key, now)
			return true
		}
	}
	return false
}

func (a *admission) vouch(key *sessionKey, now millis) {
	a.turn(now / vouchSpan)
	if len(a.vouched[0]) >= vouchedMax {
		a.vouched[0], a.vouched[1] = nil, a.vouched[0]
	}
	if a.vouched[0] == nil {
		a.vouched[0] = make(map[sessionKey]struct{})
	}
	a.vouched[0][*key] = struct{}{}
	a.counts.vouched++
}

func (a *admission) hasVouched(key *sessionKey, now millis) bool {
	if a.vouched[0] == nil && a.vouched[1] == nil {
		return false
	}
	a.turn(now / vouchSpan)
	_, newer := a.vouched[0][*key]
	_, older := a.vouched[1][*key]
	delete(a.vouched[0], *key)
	delete(a.vouched[1], *key)
	return newer || older
}

// turn forgets what is too old.
func (a *admission) turn(span millis) {
	switch {
	case span == a.span:
	case span == a.span+1:
		a.vouched[0], a.vouched[1] = nil, a.vouched[0]
	default:
		a.vouched = [2]map[sessionKey]struct{}{}
	}
	a.span = span
}
