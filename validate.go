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
	factor  int
	left    int // bytes that may be sent yet
	probeTS uint32
	probeSN seqNum
	probeAt millis // when it is asked next
}

const (
	// amplificationDefault is how many bytes are sent for each received (RFC 9000 section 8.1).
	amplificationDefault = 3
	// amplificationMost keeps the product of it and what came in small.
	amplificationMost = 1 << 10
	// allowanceMost is as good as none, and keeps int from overflowing where it has 32 bits.
	allowanceMost = 1 << 30
	// unprovedKeyed is how many datagrams are sent besides where a key vouches for who asks (RFC 6928 has the number).
	unprovedKeyed = 10
	// proveAfter is how long a session may be open without proof before the peer is asked. Most have it by then.
	proveAfter millis = 1000
	// probesReserved is for how many probes allowance is kept that nothing else may use. What a session opens with is no
	// shorter than a probe, and 8 bytes of data make up for the fourth, so that a full datagram has its allowance all the
	// same.
	probesReserved = 4
)

// begin demands proof. first is how many bytes may be sent besides, secret is what makes the probe hard to guess.
func (a *addressCheck) begin(factor, first int, secret uint64, sendUna seqNum, now millis) {
	*a = addressCheck{
		open: true, factor: factor, left: first, probeAt: now + proveAfter,
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

// heard notes bytes received from the address.
func (a *addressCheck) heard(bytes int, now millis) {
	if !a.open {
		return
	}
	a.left = min(a.left+a.factor*bytes, allowanceMost)
	a.broke = false
	if a.probeAt == never {
		a.probeAt = now
	}
}

func (a *addressCheck) prove() { *a = addressCheck{} }

// acknowledged looks at an ACK.
func (a *addressCheck) acknowledged(sn seqNum, ts uint32) {
	if a.open && a.probes > 0 && sn == a.probeSN && ts == a.probeTS {
		a.prove()
	}
}

// allows reports whether there is allowance for bytes, and a reserve besides. If not, it makes sure that the peer is
// asked.
func (a *addressCheck) allows(bytes, reserve int, now millis) bool {
	if bytes+reserve > a.left {
		a.broke = true
		if a.probes == 0 {
			a.probeAt = min(a.probeAt, now)
		}
		return false
	}
	return true
}

// reserve is what of the allowance is kept for probes of so many bytes.
func (a *addressCheck) reserve(probe int) int { return max(0, probesReserved-int(a.probes)) * probe }

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
		n = max(0, min(n, a.left/bytes))
	}
	a.left -= n * bytes
	return n
}

// lend hands out all that is left, for parity, whose size is not known yet. What was not used is given back.
func (a *addressCheck) lend() (allowance int) {
	if !a.open {
		return math.MaxInt
	}
	allowance, a.left = max(0, a.left), 0
	return allowance
}

func (a *addressCheck) giveBack(allowance int) {
	if a.open && allowance != math.MaxInt {
		a.left += allowance
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
	cost := f.w.cost(segmentHeaderSize)
	if cost > a.left {
		a.probeAt = never
		return false
	}
	if !f.lay(cmdPush, 0, a.probeTS, a.probeSN, nil) {
		return true
	}
	a.left -= cost
	a.probes = min(a.probes+1, maxLevel)
	a.probeAt = f.now + c.proveWait(a.probes)
	c.ask(f.now)
	return false
}

// The third question waits for proveLater, the fourth and those behind it for proveLast. They are few, so that an outage of
// half a minute must not take them all.
const (
	proveLater millis = 8000
	proveLast  millis = 25000
)

// proveWait is how long the peer is waited for after so many questions.
func (c *core) proveWait(asked uint8) millis {
	switch asked {
	case 1:
		return c.shortBackoff(0)
	case 2:
		return proveLater
	}
	return proveLast
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
	s.core.addr.begin(factor, first, randomUint64(), s.core.sendUna, s.now())
}
