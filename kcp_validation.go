// SPDX-License-Identifier: MIT

package kcp

import "math"

// addressCheck bounds what is sent to an address that has not proved to receive, so that nobody can make this side send
// more to a stranger than he spends himself (RFC 9000 section 8 has the same rule). A nil one is an address that needs
// no proof. It belongs to the state machine: its owner serialises the calls.
//
// Proof is an acknowledgement of a segment with the very sn and ts that it was sent with, or a HELLO that names this
// side's incarnation: all of them are random, and only who receives at the address has seen them. A cumulative
// acknowledgement proves nothing, for it can be guessed.
//
// A peer that has nothing to send would never earn the allowance for what was lost on its way to it. So it is asked: by
// an empty PUSH whose sn lies below all that was ever sent, which every KCP receiver takes for a late duplicate,
// acknowledges and throws away. A part of what may be sent is kept back for that, and for a RESET.
type addressCheck struct {
	blocked bool // something was held back for want of allowance
	probes  uint8
	factor  int32
	left    int32 // bytes that may be sent yet
	pool    int32 // bytes that probes and a RESET may take besides
	poolMax int32 // what the pool is filled up to
	probe   int32 // bytes of a datagram that is only a probe
	reset   int32 // bytes of a datagram that is only a RESET
	probeTS timestamp
	probeSN seqNum
	probeAt millis // when it is asked next
	askedAt millis // when it was asked last
}

const (
	// amplificationDefault is how many bytes are sent for each received (S1.63, RFC 9000
	// section 8.1).
	amplificationDefault = 3
	// amplificationMost keeps the product of it and what came in small.
	amplificationMost = 1 << 10
	// allowanceMost is as good as none, and twice that fits an int32.
	allowanceMost = 1 << 30
	// unprovedKeyed is how many datagrams are sent besides where a key vouches for who asks (RFC 6928 has the number).
	unprovedKeyed = 10
	// proveAfter is how long a session may be open without proof before the peer is asked. Most have it by then.
	proveAfter millis = 1000
	// probesReserved is for how many probes the reserve is enough. Of what comes in one part in poolShare makes up for
	// those that were sent.
	probesReserved = 10
	poolShare      = 3
)

// newAddressCheck demands proof. first is how many bytes may be sent besides, overhead is what a datagram has besides
// its segments, secret is what makes the probe hard to guess.
func newAddressCheck(factor, first, overhead int, secret uint64, sendUna seqNum, now millis) *addressCheck {
	probe, reset := overhead+segmentHeaderSize, overhead+segmentHeaderSize+2+resetLen
	reserve := min(probesReserved*probe+reset, first/2) // S1.67
	return &addressCheck{
		factor: int32(factor), left: int32(first - reserve), pool: int32(reserve), poolMax: int32(reserve),
		probe: int32(probe), reset: int32(reset), probeAt: now + proveAfter,
		probeTS: timestamp(secret), probeSN: belowAll(sendUna, secret>>32), // S1.65
	}
}

// heard notes bytes received from the address. That it is heard is a good moment for the next question.
func (a *addressCheck) heard(bytes int, now millis) {
	if a == nil {
		return
	}
	credit := a.factor * int32(bytes)
	kept := min(credit/poolShare, a.poolMax-a.pool)
	a.pool += kept
	a.left = min(a.left+credit-kept, allowanceMost)
	a.blocked = false
	switch {
	case a.probeAt == never:
		a.probeAt = now
	case a.probes > 0:
		a.probeAt = min(a.probeAt, now+rtoDefault)
	}
}

// acknowledged reports whether an ACK answers a probe.
func (a *addressCheck) acknowledged(sn seqNum, ts timestamp) bool {
	return a != nil && a.probes > 0 && sn == a.probeSN && ts == a.probeTS
}

// demandProof bounds what is sent until the peer has proved to receive at its address.
func (c *core) demandProof(a *addressCheck) { c.addr = a }

// proved notes that the peer receives at its address. A HELLO tells it so with the next datagram
// (S4.11).
func (c *core) proved() {
	if c.addr != nil {
		c.addr = nil
		c.ctl.wantHello()
	}
}

// heldBack reports whether something waits for the peer's proof.
func (a *addressCheck) heldBack() bool { return a != nil && a.blocked }

// allows reports whether there is allowance for bytes. If not, it makes sure that the peer is asked.
func (a *addressCheck) allows(bytes int, now millis) bool {
	if bytes > int(a.left) {
		a.blocked = true
		if a.probes == 0 {
			a.probeAt = min(a.probeAt, now)
		}
		return false
	}
	return true
}

// take uses up allowance. A nil check needs none.
func (a *addressCheck) take(bytes int) {
	if a != nil {
		a.left -= int32(bytes)
	}
}

// takeBeside uses up allowance for something that is no segment, and reports whether there is as much. If not, the segments do
// not wait: they may be smaller.
func (a *addressCheck) takeBeside(bytes int, now millis) bool {
	if a != nil && !a.allows(bytes, now) {
		a.blocked = false
		return false
	}
	a.take(bytes)
	return true
}

// copies returns how many of n copies of the packets laid out the allowance covers, and takes it.
func (a *addressCheck) copies(packets []span, n int) int {
	if a == nil || n == 0 {
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

// reserve hands out all that is left, for parity, whose size is not known yet. What was not used is given back.
func (a *addressCheck) reserve() (allowance int) {
	if a == nil {
		return math.MaxInt
	}
	allowance, a.left = max(0, int(a.left)), 0
	return allowance
}

func (a *addressCheck) refund(allowance int) {
	if a != nil && allowance != math.MaxInt {
		a.left += int32(allowance)
	}
}

// prove asks the peer to prove that it receives at its address, if that is due. It returns whether there is more to say,
// other than what has to wait for the proof.
func (f *flusher) prove(more bool) bool {
	c := f.c
	a := c.addr
	if a.blocked {
		more = false
	}
	if more || f.now < a.probeAt {
		return more
	}
	cost := int32(f.w.cost(segmentHeaderSize))
	if cost > a.pool-a.reset {
		a.probeAt = never
		return false
	}
	if !f.lay(cmdPush, 0, a.probeTS, a.probeSN, nil) {
		return true
	}
	a.pool -= cost
	a.probes, a.askedAt = min(a.probes+1, maxLevel), f.now
	a.probeAt = f.now + min(backoff(c.rto(), a.probes-1, false), probeLongest) // S1.67
	c.ask(f.now)
	return false
}

// spend takes bytes out of the reserve, and then of the allowance.
func (a *addressCheck) spend(bytes int32) {
	pooled := min(bytes, a.pool)
	a.pool -= pooled
	a.left -= bytes - pooled
}

// probeLongest bounds the wait between two questions: with it the reserve lasts for 26 s, so that the last questions come
// shortly before the default DeadTimeout ends the session.
const probeLongest millis = 5000

// resetReserved says a RESET for which the allowance does not suffice, and nothing else, from the reserve.
func (f *flusher) resetReserved(m *controlSet) {
	a := f.c.addr
	alone := controlSet{resetCode: m.resetCode, resetFor: m.resetFor, echo: m.echo}
	alone.has[ctlReset] = true
	var buf [maxControl]byte
	data := appendControl(buf[:0], &alone)
	cost := int32(f.w.cost(segmentHeaderSize + len(data)))
	if cost <= a.left+a.pool && f.lay(cmdWins, 0, controlVersion, controlMagic, data) {
		a.spend(cost)
	}
}

// asksForProof reports whether the peer is still to be asked, or its answer to be waited for: what is left to deliver
// to it may need no more than that.
func (c *core) asksForProof() bool {
	return c.addr != nil && c.addr.probeAt != never && !c.writeDone()
}
