// SPDX-License-Identifier: MIT

package kcp

import "math"

// A pathMTU searches for the largest datagram that a path carries (RFC 8899), and notices when the
// path has come to carry less. It is pure, and knows neither segments nor the wire. It says when a
// probe of which size is to leave, and is told of its answer and of the fate of data. Sizes are
// those of a UDP payload. It exists while a session sends much, or has reason to doubt its size.
//
// The size grows after a probe (S4.61) of the next larger size is answered. A probe that is not
// answered is no sign of congestion, and is not repeated as it was: three lost ones end the search.
//
// If large datagrams are lost while none is acknowledged, the size is in doubt (S4.63). Probes of
// the size and of the base then take turns. If none of the former and most of the latter are
// answered, the path has become a black hole for large datagrams (RFC 8899, section 4.3), and the
// size is the base (S4.64). Random loss treats both alike, and any acknowledgement of a large
// datagram ends the doubt.
type pathMTU struct {
	state    pathState
	tries    uint8 // probes since asked[0]; of a doubt, of both sizes
	answers  uint8 // to probes of the base, in a doubt
	losses   uint8 // large datagrams lost since one was acknowledged
	failed   uint8 // probes of the size that is tried lost before asked[0]
	noise    uint8 // 1 if data was lost since that size is tried
	size     uint16
	base     uint16 // is taken for a size that every path carries
	most     uint16 // no larger size is tried
	ceiling  uint16 // sizes from here on have failed
	probing  uint16 // the size that the search tries
	overhead uint16 // bytes of a datagram around its segments
	cutAt    uint16 // see pause
	cutSN    seqNum
	at       millis                  // the next event
	againAt  millis                  // when sizes from ceiling on are tried again
	asked    [pathDoubtProbes]uint64 // numbers of the probes that count
}

// pathState is what a pathMTU is doing.
type pathState uint8

const (
	pathUnbound   pathState = iota // there is no bound, and so no search
	pathBounding                   // it waits for its bound
	pathResting                    // no larger size is tried until againAt
	pathSearching                  // it tries a larger size
	pathDoubting                   // it finds out whether the size still passes
)

const (
	// pathBase is the size that is fallen back to (BASE_PLPMTU, RFC 8899 section 5.1.2).
	pathBase = 1200
	// pathFloor is the least size: the least reassembly buffer of IPv4 less the headers.
	pathFloor = 548
	// pathTries is how many probes of a size are lost before it counts as too large (MAX_PROBES).
	pathTries = 3
	// pathAgain is how long after a search a larger size is tried again (PMTU_RAISE_TIMER), and
	// pathCool is that after a black hole. If data was lost as well, the probes may have been lost
	// for the same reason.
	pathAgain millis = 600_000
	pathCool  millis = 60_000
	pathSoon  millis = 10_000
	// pathGap is how many round trips lie between two sizes.
	pathGap = 4
	// pathLosses is how many large datagrams in a row are lost until the size is in doubt. One that
	// has timed out counts as that many.
	pathLosses = 3
	// pathSilent takes the place of a count of losses after a doubt in which nothing has passed:
	// the path may be gone, and another doubt would tell nothing.
	pathSilent = math.MaxUint8
	// pathDoubtProbes is how many probes settle a doubt, half of them of the base. pathDoubtAnswers
	// of the latter must be answered. At a loss of 20 % each way the five others are all lost in
	// 0.6 % of the doubts, and few timeouts lead to a doubt that lasts until then.
	pathDoubtProbes  = 10
	pathDoubtAnswers = 3
	// pathDoubtSteps is how many of these probes leave in a retransmission timeout.
	pathDoubtSteps = 8
	// pathHold is the least time in ms by which the acknowledgement of a retransmission may end a
	// doubt before it costs probes.
	pathHold millis = 10
)

// pathTable has the sizes that are tried, besides the bound itself: those of IPv6's least MTU,
// tunnels, PPPoE, and Ethernet with IPv6 and IPv4, then of jumbo frames, and of a loopback
// interface: a quarter of the largest run that the kernel takes at once.
var pathTable = [...]uint16{1200, 1280, 1342, 1392, 1428, 1452, 1472, 8952, 8972, mtuLargest}

// mtuLargest is the largest size.
const mtuLargest = maxRunShare

// maxRunShare is a quarter of 65487 bytes, the largest run, rounded down to a multiple of 8.
const maxRunShare = 65487 / 4 &^ 7

// pathTiming is what a pathMTU has to know of the round trip.
type pathTiming struct{ srtt, rto millis }

// newPathMTU returns a search that has no bound yet. size is in use, base is fallen back to, and
// overhead is what a datagram has besides segments.
func newPathMTU(size, base, overhead int) *pathMTU {
	return &pathMTU{
		size: uint16(size), base: uint16(min(base, size)),
		overhead: uint16(overhead), at: never, againAt: never,
	}
}

// ask reports whether a bound is to be found. It does so once.
func (p *pathMTU) ask() bool {
	if p.state != pathUnbound {
		return false
	}
	p.state = pathBounding
	return true
}

// bound sets the largest size that may be tried, and begins the search.
func (p *pathMTU) bound(most int, now millis) {
	p.most = uint16(min(max(most, 0), mtuLargest))
	if p.state == pathBounding {
		p.search(now)
	}
}

// room returns how many bytes of segments fit a datagram, without an FEC header.
func (p *pathMTU) room() int { return int(p.size) - int(p.overhead) }

// search tries the next larger size from at on, or rests if there is none.
func (p *pathMTU) search(at millis) {
	next := p.above(p.size)
	if next != p.probing {
		p.failed, p.noise = 0, 0
	}
	p.tries, p.probing = 0, next
	if next == 0 {
		p.state, p.at = pathResting, p.againAt
		return
	}
	p.state, p.at = pathSearching, at
}

// above returns the next larger size to try, 0 if there is none.
func (p *pathMTU) above(size uint16) uint16 {
	next := p.most
	for _, s := range pathTable {
		if s > size && s < next {
			next = s
		}
	}
	if next <= size || p.ceiling != 0 && next >= p.ceiling {
		return 0
	}
	return next
}

// below returns the next smaller size.
func (p *pathMTU) below(size uint16) uint16 {
	next := uint16(pathFloor)
	for _, s := range pathTable {
		if s < size {
			next = s
		}
	}
	return min(next, size)
}

// event returns when something is due, never if nothing is to come.
func (p *pathMTU) event() millis { return p.at }

// searching reports whether probes go out to find a larger size.
func (p *pathMTU) searching() bool { return p.state == pathSearching }

// advance does what the time has made due, other than sending a probe.
func (p *pathMTU) advance(now millis) {
	if now < p.at {
		return
	}
	switch {
	case p.state == pathResting:
		p.ceiling, p.againAt = 0, never
		p.search(now)
	case p.state == pathSearching && p.failed+p.tries >= pathTries:
		again := pathAgain
		if p.noise != 0 {
			again = pathSoon
		}
		p.fail(p.probing, now, again)
	case p.state == pathDoubting && p.tries == pathDoubtProbes:
		p.judge(now)
	}
}

// due returns the size of the probe that is to leave now, 0 for none.
func (p *pathMTU) due(now millis) int {
	switch {
	case now < p.at:
		return 0
	case p.state == pathSearching && p.failed+p.tries < pathTries:
		return int(p.probing)
	case p.state == pathDoubting && p.tries < pathDoubtProbes:
		if p.tries%2 != 0 {
			return int(p.base)
		}
		return int(p.size)
	}
	return 0
}

// sent notes that the probe which is due has left, with that number.
func (p *pathMTU) sent(number uint64, now millis, t pathTiming) {
	p.asked[p.tries] = number
	p.tries++
	p.at = now + t.rto
	if p.state == pathDoubting && p.tries < pathDoubtProbes {
		p.at = now + max(t.rto/pathDoubtSteps, 1)
	}
}

// answered takes the number of a PONG.
func (p *pathMTU) answered(number uint64, now millis, t pathTiming) {
	for i, n := range p.asked[:p.tries] {
		if n != number || n == 0 {
			continue
		}
		p.asked[i] = 0
		switch {
		case p.state == pathSearching:
			p.size, p.losses = p.probing, 0
			p.search(now + pathGap*t.srtt)
		case p.state == pathDoubting && i%2 == 0:
			p.trust(now)
		case p.state == pathDoubting:
			p.answers++
		}
		return
	}
}

// large reports whether a datagram of that size tells something about the path: it is larger than
// the base, and no larger than what fits the present size.
func (p *pathMTU) large(size int) bool { return size > int(p.base) && size <= int(p.size) }

// acked notes that the peer has received data in a datagram of that size.
func (p *pathMTU) acked(size int, now millis) {
	if !p.large(size) {
		return
	}
	p.losses = 0
	if p.state == pathDoubting {
		p.trust(now)
	}
}

// heard notes that something has arrived, of whatever size.
func (p *pathMTU) heard() {
	if p.losses == pathSilent {
		p.losses = 0
	}
}

// lost notes that data in a datagram of that size was lost. late means that its timeout has
// expired.
func (p *pathMTU) lost(size int, late bool, now millis, t pathTiming) {
	p.noise = 1
	if !p.large(size) || p.state == pathDoubting || p.losses == pathSilent {
		return
	}
	p.losses = min(p.losses+1, pathLosses)
	if late {
		p.losses = pathLosses
	}
	if p.losses < pathLosses {
		return
	}
	if p.state == pathSearching {
		p.failed += p.tries
	}
	p.state, p.tries, p.answers = pathDoubting, 0, 0
	p.at = now + t.srtt + pathHold
}

// trust ends a doubt: large datagrams pass.
func (p *pathMTU) trust(now millis) {
	p.losses = 0
	if p.most == 0 {
		p.state, p.at = pathUnbound, never
		return
	}
	p.search(now)
}

// judge ends a doubt after its last probe.
func (p *pathMTU) judge(now millis) {
	if p.answers < pathDoubtAnswers {
		p.trust(now)
		if p.answers == 0 {
			p.losses = pathSilent
		}
		return
	}
	failed := p.size
	p.size = p.base
	p.fail(failed, now, pathCool)
}

// fail notes that a size does not pass, and goes on with what is smaller.
func (p *pathMTU) fail(size uint16, now, again millis) {
	if p.ceiling == 0 || size < p.ceiling {
		p.ceiling = size
	}
	p.probing = 0
	p.againAt, p.losses = min(p.againAt, now+again), 0
	if p.most == 0 {
		p.state, p.at = pathUnbound, never
		return
	}
	p.search(now)
}

// refused notes that the system has refused a datagram of that size.
func (p *pathMTU) refused(size int, now millis) {
	if size <= pathFloor || size > int(p.size) && (p.state != pathSearching ||
		size != int(p.probing)) {
		return // such a size is not in use
	}
	if size <= int(p.size) {
		p.size = p.below(uint16(size))
		p.base = min(p.base, p.size)
	}
	p.fail(uint16(size), now, pathAgain)
}

// limit makes the size no larger than what the peer takes, but not less than the base.
func (p *pathMTU) limit(takes int) {
	p.size = max(min(p.size, uint16(min(takes, mtuLargest))), p.base)
}

// resume returns how much of the segment sn has left in parts, when the last flush had no room for
// all of it.
func (p *pathMTU) resume(sn seqNum) int {
	if p.cutSN != sn {
		return 0
	}
	return int(p.cutAt)
}

// pause notes how much of the segment sn has left in parts, 0 if that is all of it.
func (p *pathMTU) pause(sn seqNum, at int) { p.cutSN, p.cutAt = sn, uint16(at) }
