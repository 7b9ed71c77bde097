// SPDX-License-Identifier: MIT

package kcp

// scaleRate tells the rate limit what leaves for each byte of a segment. The lock is held.
func (s *UDPSession) scaleRate() {
	if s.core.rate.rate == 0 {
		return
	}
	scale := int64(1000)
	if k, p := int64(s.fecActive.data), int64(s.fecActive.parity); k > 0 {
		scale = scale * (k + p) / k
	}
	s.core.rate.scale = scale * int64(1+s.dup.Load())
}

// parityShare is how much of an FEC group counts against the rate limit. Its parity does in proportion, so that a
// session that mostly acknowledges is not held back by the parity of its acknowledgements.
type parityShare struct{ packets, limited int }

func (g *parityShare) count(p span) {
	g.packets++
	if p.limited > 0 {
		g.limited++
	}
}

// of returns the share of a parity packet of that size.
func (g *parityShare) of(size int) int { return size * g.limited / max(1, g.packets) }
