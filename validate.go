// SPDX-License-Identifier: MIT

package kcp

import "math"

// addressCheck bounds what is sent to an address that has not proved to receive, so that nobody can make this side send
// more to a stranger than he spends himself (RFC 9000 section 8 has the same rule). The zero value is an address that
// needs no proof. It belongs to the state machine: its owner serialises the calls.
//
// Proof is an acknowledgement of a segment with the very sn and ts that it was sent with, or a HELLO that names this
// side's incarnation: all of them are random, and only who receives at the address has seen them. A cumulative
// acknowledgement proves nothing, for it can be guessed.
//
// A peer that has nothing to send would never earn the allowance for what was lost on its way to it. So it is asked: by
// an empty PUSH whose sn lies below all that was ever sent, which every KCP receiver takes for a late duplicate,
// acknowledges and throws away.
type addressCheck struct {
	open    bool // no proof yet
	broke   bool // something was held back for want of allowance
	probes  uint8
	factor  int32
	left    int32 // bytes that may be sent yet
	pool    int32 // bytes that probes may take besides
	pooled  int32 // bytes that the pool has had
	probe   int32 // bytes of a datagram that is only a probe
	probeTS uint32
	probeSN seqNum
	probeAt millis // when it is asked next
}

const (
	// amplificationDefault is how many bytes are sent for each received (RFC 9000 section 8.1).
	amplificationDefault = 3
	// amplificationMost keeps the product of it and what came in small.
	amplificationMost = 1 << 10
	// allowanceMost is as good as none, and twice that fits an int32.
	allowanceMost = 1 << 30
	// unprovedKeyed is how many datagrams are sent besides where a key vouches for who asks (RFC 6928 has the number).
	unprovedKeyed = 10
	// proveAfter is how long a session may be open without proof before the peer is asked. Most have it by then.
	proveAfter millis = 1000
	// probesFirst is for how many probes the first allowance is kept. What a session opens with is no shorter than a
	// probe, and a few bytes of data make up for the fourth, so that a full datagram has its allowance all the same. Of
	// the rest of what comes in one part in poolShare is kept for further probes, up to poolMost.
	probesFirst = 4
	poolShare   = 3
	poolMost    = 640
)

// begin demands proof. first is how many bytes may be sent besides, probe is what a datagram with nothing but a probe
// takes, secret is what makes the probe hard to guess.
func (a *addressCheck) begin(factor, first, probe int, secret uint64, sendUna seqNum, now millis) {
	*a = addressCheck{
		open: true, factor: int32(factor), left: int32(first), probe: int32(probe), probeAt: now + proveAfter,
		probeTS: uint32(secret), probeSN: belowAll(sendUna, secret>>32),
	}
}

// probeDistance is how far below everything else a probe's sn lies, at least.
const probeDistance = 1 << 29

// belowAll returns a sequence number far below what a receiver can wait for whose peer has had everything below una
// acknowledged: one of 2^29.
func belowAll(una seqNum, secret uint64) seqNum {
	return una - probeDistance - seqNum(secret&(probeDistance-1))
}

// isProbe reports whether a segment asks for nothing but its acknowledgement. Its ts is nobody's clock.
func (c *core) isProbe(s *segment) bool {
	return s.cmd == cmdPush && len(s.data) == 0 && s.sn.before(c.rcvNxt-probeDistance/2)
}

// heard notes bytes received from the address. That it is heard is a good moment for the next question.
func (a *addressCheck) heard(bytes int, now millis) {
	if !a.open {
		return
	}
	credit := a.factor * int32(bytes)
	kept := max(0, min(credit, probesFirst*a.probe-a.pooled))
	kept += max(0, min((credit-kept)/poolShare, poolMost-a.pool-kept))
	a.pool += kept
	a.pooled = min(a.pooled+kept, allowanceMost)
	a.left = min(a.left+credit-kept, allowanceMost)
	a.broke = false
	switch {
	case a.probeAt == never:
		a.probeAt = now
	case a.probes > 0:
		a.probeAt = min(a.probeAt, now+proveAfter)
	}
}

func (a *addressCheck) prove() { *a = addressCheck{} }

// acknowledged looks at an ACK.
func (a *addressCheck) acknowledged(sn seqNum, ts uint32) {
	if a.open && a.probes > 0 && sn == a.probeSN && ts == a.probeTS {
		a.prove()
	}
}

// allows reports whether there is allowance for bytes. If not, it makes sure that the peer is asked.
func (a *addressCheck) allows(bytes int, now millis) bool {
	if bytes > int(a.left) {
		a.broke = true
		if a.probes == 0 {
			a.probeAt = min(a.probeAt, now)
		}
		return false
	}
	return true
}

// copies returns how many of n copies of the packets laid out the allowance covers, and takes it.
func (a *addressCheck) copies(packets []span, n int) int {
	if !a.open || n == 0 {
		return n
	}
	bytes := 0
	for _, p := range packets {
		bytes += p.size()
	}
	if bytes > 0 {
		n = max(0, min(n, int(a.left)/bytes))
	}
	a.left -= int32(n * bytes)
	return n
}

// lend hands out all that is left, for parity, whose size is not known yet. What was not used is given back.
func (a *addressCheck) lend() (allowance int) {
	if !a.open {
		return math.MaxInt
	}
	allowance, a.left = max(0, int(a.left)), 0
	return allowance
}

func (a *addressCheck) giveBack(allowance int) {
	if a.open && allowance != math.MaxInt {
		a.left += int32(allowance)
	}
}

// prove asks the peer to prove that it receives at its address, if that is due. It returns whether there is more to say,
// other than what has to wait for the proof.
func (f *flusher) prove(more bool) bool {
	c := f.c
	a := &c.addr
	if a.broke {
		more = false
	}
	if more || f.now < a.probeAt {
		return more
	}
	cost := int32(f.w.cost(segmentHeaderSize))
	if cost > a.left+a.pool {
		a.probeAt = never
		return false
	}
	if !f.lay(cmdPush, 0, a.probeTS, a.probeSN, nil) {
		return true
	}
	pooled := min(cost, a.pool)
	a.pool -= pooled
	a.left -= cost - pooled
	a.probes = min(a.probes+1, maxLevel)
	a.probeAt = f.now + c.proveWait(a.probes)
	c.ask(f.now)
	return false
}

// The second question comes when an answer to the first is overdue, the third proveAgain later and each behind it after
// three times as long, up to proveLongest: what comes in pays for few, and an outage of half a minute must not take them
// all.
const (
	proveAgain   millis = 2000
	proveLongest millis = 60_000
)

// proveWait is how long the peer is waited for after so many questions.
func (c *core) proveWait(asked uint8) millis {
	if asked <= 1 {
		return c.shortBackoff(0)
	}
	wait := proveAgain
	for ; asked > 2 && wait < proveLongest; asked-- {
		wait *= 3
	}
	return min(wait, proveLongest)
}

// demandProof bounds what a new session sends until its peer has proved itself; a factor of 0 does not.
func (s *UDPSession) demandProof(factor int) {
	first := s.mtu
	switch {
	case factor == 0:
		first = allowanceMost
	case s.core.ctl.keyed:
		first *= unprovedKeyed
	}
	s.core.addr.begin(factor, first, s.overhead()+segmentHeaderSize, randomUint64(), s.core.sendUna, s.now())
}
