// SPDX-License-Identifier: MIT

package kcp

import "math"

// addressCheck limits what is sent to an unvalidated address. A forged source address thus cannot
// be used to amplify traffic (RFC 9000 section 8 has the same rule). A nil check is a validated
// address. It is part of the state machine, whose owner serialises the calls.
//
// An ACK validates an address if it has the sn and ts of a segment that was sent there, a HELLO if
// it has the incarnation of this side. These values are random, and only a receiver at the address
// knows them. A cumulative acknowledgement validates nothing, because it can be guessed.
//
// A peer with nothing to send would never earn allowance for what was lost on its way. So it is
// probed with an empty PUSH whose sn lies below everything ever sent. Every KCP receiver takes that
// for a late duplicate, acknowledges it and drops it. A part of the allowance is reserved for
// probes and a RESET.
type addressCheck struct {
	blocked bool // something waits for allowance
	probes  uint8
	factor  int32
	left    int32 // bytes that may still be sent
	pool    int32 // reserved bytes, for probes and a RESET
	poolMax int32 // the most bytes in the pool
	probe   int32 // bytes of a datagram that is only a probe
	reset   int32 // bytes of a datagram that is only a RESET
	probeTS timestamp
	probeSN seqNum
	probeAt millis // when the peer is probed next
	askedAt millis // when it was probed last
}

const (
	// amplificationDefault is how many bytes are sent for each received (S1.63, RFC 9000
	// section 8.1).
	amplificationDefault = 3
	// amplificationMost keeps its product with the size of a datagram small.
	amplificationMost = 1 << 10
	// allowanceMost is practically no limit, and twice that fits an int32.
	allowanceMost = 1 << 30
	// unprovedKeyed is how many datagrams are sent in addition if a key authenticates the peer (the
	// number of RFC 6928).
	unprovedKeyed = 10
	// proveAfter is how long a session may be open before its peer is probed. Most addresses are
	// validated by then.
	proveAfter millis = 1000
	// probesReserved is for how many probes the reserve suffices. One part in poolShare of what is
	// received replenishes it.
	probesReserved = 10
	poolShare      = 3
)

// newAddressCheck returns a check for an unvalidated address. first is how many bytes may be sent
// in addition, overhead is the size of a datagram without its segments, and secret makes the probe
// hard to guess.
func newAddressCheck(factor, first, overhead int, secret uint64, sendUna seqNum,
	now millis) *addressCheck {
	probe, reset := overhead+segmentHeaderSize, overhead+segmentHeaderSize+2+resetLen
	reserve := min(probesReserved*probe+reset, first/2) // S1.67
	return &addressCheck{
		factor: int32(factor), left: int32(first - reserve),
		pool: int32(reserve), poolMax: int32(reserve),
		probe: int32(probe), reset: int32(reset), probeAt: now + proveAfter,
		probeTS: timestamp(secret), probeSN: belowAll(sendUna, secret>>32), // S1.65
	}
}

// heard notes bytes received from the address. The moment is good for the next probe, because the
// path works.
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

// demandProof limits what is sent until the peer's address is validated.
func (c *core) demandProof(a *addressCheck) { c.addr = a }

// proved notes that the peer receives at its address. A HELLO tells it so with the next datagram
// (S4.11).
func (c *core) proved() {
	if c.addr != nil {
		c.addr = nil
		c.ctl.wantHello()
		if c.trace != nil {
			c.trace.event(c.latest, traceValidated, 0)
			c.trace.start()
		}
	}
}

// heldBack reports whether something waits for the validation or for allowance.
func (a *addressCheck) heldBack() bool { return a != nil && a.blocked }

// allows reports whether there is allowance for bytes. If not, it makes sure that the peer is
// probed.
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

// take uses up allowance. A nil check has no limit.
func (a *addressCheck) take(bytes int) {
	if a != nil {
		a.left -= int32(bytes)
	}
}

// takeBeside uses up allowance for a packet without segments, and reports whether there is enough.
// If not, segments are not blocked, because they may be smaller.
func (a *addressCheck) takeBeside(bytes int, now millis) bool {
	if a != nil && !a.allows(bytes, now) {
		a.blocked = false
		return false
	}
	a.take(bytes)
	return true
}

// copies returns how many of n copies of the packets laid out the allowance covers, and uses it up.
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

// reserve takes all allowance that is left, for parity, whose size is not known yet. refund returns
// the rest.
func (a *addressCheck) reserve() (allowance int) {
	if a == nil {
		return math.MaxInt
	}
	allowance, a.left = max(0, int(a.left)), 0
	return allowance
}

// rest returns how many bytes may be sent once the session has ended, the reserve included.
func (a *addressCheck) rest() int {
	if a == nil {
		return math.MaxInt
	}
	return int(a.left) + int(a.pool)
}

func (a *addressCheck) refund(allowance int) {
	if a != nil && allowance != math.MaxInt {
		a.left += int32(allowance)
	}
}

// prove probes the peer if that is due. It returns whether there is more to send, not counting what
// has to wait for the validation.
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

// spend takes bytes from the reserve first, and then from the allowance.
func (a *addressCheck) spend(bytes int32) {
	pooled := min(bytes, a.pool)
	a.pool -= pooled
	a.left -= bytes - pooled
}

// probeLongest bounds the wait between two probes. With it the reserve lasts for 26 s, so the last
// probes leave shortly before the default DeadTimeout ends the session.
const probeLongest millis = 5000

// resetReserved lays out a RESET for which the allowance does not suffice, and nothing else, from
// the reserve.
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

// asksForProof reports whether the peer is still to be probed, or its answer to be awaited. What is
// left to deliver may need nothing else.
func (c *core) asksForProof() bool {
	return c.addr != nil && c.addr.probeAt != never && !c.writeDone()
}
