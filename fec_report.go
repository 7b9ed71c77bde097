// SPDX-License-Identifier: MIT

package kcp

import "math"

// fecLossCount counts what became of the data packets of a sender whose parity names its groups,
// for a report to it (S4.45). A packet is counted when the parity of a later group arrives: by then
// it is lost, or was recovered.
type fecLossCount struct {
	from, to  uint32 // seqids counted since the latest report
	data      uint32 // of these: received
	recovered uint32
	parity    uint32 // parity packets received
	run       uint32 // packets lost in a row up to `to`, of those counted
	longest   uint16 // the longest run
}

// restart begins to count at a seqid.
func (l *fecLossCount) restart(seqid uint32) {
	*l = fecLossCount{from: seqid, to: seqid}
}

// note counts the packet behind those counted so far.
func (l *fecLossCount) note(a fecArrival) {
	l.to++
	switch a {
	case fecArrived, fecDoubtful, fecForgotten:
		l.data++
		l.run = 0
		return
	case fecRepaired:
		l.recovered++
	}
	l.run++
	l.longest = uint16(min(max(uint32(l.longest), l.run), math.MaxUint16))
}

// takeReport returns what became of the data packets since the last call. ok is false if nothing is
// known yet. A run of lost packets across two reports counts in each as far as it is there, so that
// the numbers of a report fit each other.
func (d *fecDecoder) takeReport() (r parityReport, ok bool) {
	if d.named == nil {
		return r, false
	}
	l := &d.named.loss
	if l.to == l.from || l.parity == 0 {
		return r, false
	}
	r = parityReport{
		first: l.from, last: l.to - 1, data: l.data, parity: l.parity,
		recovered: l.recovered, longest: l.longest,
	}
	*l = fecLossCount{from: l.to, to: l.to}
	return r, true
}

// countTo counts the packets below a seqid. They must be in the window, or counting begins again.
func (g *fecNamedDecoder) countTo(seqid uint32) {
	l := &g.loss
	n := int32(seqid - l.to)
	if n <= 0 {
		return
	}
	if !g.reaches(l.to) {
		l.restart(seqid)
		return
	}
	for ; n > 0; n-- {
		l.note(g.at(l.to))
	}
}
