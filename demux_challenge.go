// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"hash/maphash"
)

// admission limits the sessions of a listener, and what an attacker can do to it from forged
// addresses. The demux's lock guards it.
//
// Up to MaxPending sessions may have addresses that are not validated. Beyond that, a new peer is
// sent a challenge instead (S1.74), and no state is kept: an empty PUSH whose ts and sn are a keyed
// function of the time and the peer. Every KCP receiver takes it for a late duplicate and
// acknowledges it, which returns the numbers. Then the peer's next retransmission opens the
// session.
//
// A challenge is to KCP what a SYN cookie is to TCP (RFC 4987, section 3.6). It is no longer than
// what it answers.
type admission struct {
	block    cipher.Block // keyed at random, made when it is first needed
	scratch  [2 * aes.BlockSize]byte
	vouched  [2]map[sessionKey]struct{} // peers that answered: now, and in the period before
	span     millis                     // the number of the newer period
	prefixes map[uint64]int             // accepted sessions of each prefix
	counts   admissionCounts
}

// admissionCounts counts new peers that were not admitted at once.
type admissionCounts struct {
	challenged, vouched, full, prefixFull uint64
}

const (
	// challengePeriod is the least time in which a challenge can be answered. The longest is twice
	// that.
	challengePeriod millis = 8000
	// vouchSpan is the least time for which an answer counts. The longest is twice that. It exceeds
	// any RTO, because after an outage a peer repeats its first segment that late.
	vouchSpan = rtoMax + challengePeriod
	// vouchedMax bounds the answers that are kept of a period, at some 100 bytes each. If there are
	// more, the older period is dropped.
	vouchedMax = 1 << 15
)

// admissionLimits are the limits of what a listener admits.
type admissionLimits struct {
	sessions  int // on its sockets
	pending   int // accepted ones whose peer's address is not validated
	perPrefix int // accepted ones from one network
}

// look fills in what is known of the sender of an opening datagram.
func (a *admission) look(v *doorView, key *sessionKey) {
	v.prefix = a.prefixes[key.peer.prefixOf()]
	if a.hasVouched(key, v.now) {
		v.address = addressValidated
	}
}

// note records the door's decision about a datagram and fills in the numbers of a challenge.
func (a *admission) note(d *decision, key *sessionKey, now millis) {
	switch d.count {
	case countValidated:
		a.vouch(key, now)
	case countChallenged:
		a.counts.challenged++
		d.reply.ts, d.reply.sn = a.challenge(key, now/challengePeriod)
	case countFull:
		a.counts.full++
	case countPrefixFull:
		a.counts.prefixFull++
	}
	if d.action != doorOpen && d.action != doorOpenValidated {
		return
	}
	a.spend(key)
	if prefix := key.peer.prefixOf(); prefix != 0 {
		if a.prefixes == nil {
			a.prefixes = make(map[uint64]int)
		}
		a.prefixes[prefix]++
	}
}

// sessionEnded is called when an accepted session of that peer has ended.
func (a *admission) sessionEnded(peer *peerAddr) {
	prefix := peer.prefixOf()
	if n := a.prefixes[prefix]; n > 1 {
		a.prefixes[prefix] = n - 1
	} else {
		delete(a.prefixes, prefix)
	}
}

// challenge returns the numbers that a peer has to acknowledge in the given period.
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
	ts = timestamp(binary.LittleEndian.Uint32(second))
	return ts, belowAll(0, binary.LittleEndian.Uint64(second[8:]))
}

// answers reports whether a segment without a session answers a challenge (S1.49).
func (a *admission) answers(s *segment, key *sessionKey, now millis) bool {
	if a.block == nil || s.cmd != cmdAck || !s.sn.before(0) {
		return false
	}
	period := now / challengePeriod
	for _, p := range []millis{period, period - 1} {
		if ts, sn := a.challenge(key, p); s.ts == ts && s.sn == sn {
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
	return newer || older
}

// spend forgets an answer that has opened a session. An answer counts once.
func (a *admission) spend(key *sessionKey) {
	delete(a.vouched[0], *key)
	delete(a.vouched[1], *key)
}

// turn forgets expired answers.
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
