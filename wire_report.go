// SPDX-License-Identifier: MIT

package kcp

import "encoding/binary"

// ctlReport is the type of a report on parity (S4.45).
const ctlReport = 8

const reportLen = 22

// reportMost is the most data packets that a report counts.
const reportMost = 1 << 20

// A parityReport is what became of the data packets that a sender of parity has sent, from seqid
// first to last (S4.46).
type parityReport struct {
	first, last uint32
	data        uint32 // of these: received
	parity      uint32 // parity packets received in the same time
	recovered   uint32
	longest     uint16 // the longest run of packets not received
}

// packets returns how many data packets a report is about.
func (r *parityReport) packets() uint32 { return r.last - r.first + 1 }

// plausible reports whether the numbers of a report fit each other (S4.47).
func (r *parityReport) plausible() bool {
	n := r.packets()
	return n > 0 && n <= reportMost && r.data <= n && r.recovered <= n-r.data &&
		uint32(r.longest) <= n-r.data
}

// append appends the message to b.
func (r *parityReport) append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, ctlReport, reportLen)
	b = le.AppendUint32(b, r.first)
	b = le.AppendUint32(b, r.last)
	b = le.AppendUint32(b, r.data)
	b = le.AppendUint32(b, r.parity)
	b = le.AppendUint32(b, r.recovered)
	return le.AppendUint16(b, r.longest)
}

// findReport returns the last report among control messages.
func findReport(b []byte) (r parityReport, ok bool) {
	le := binary.LittleEndian
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(b[1]) {
			return parityReport{}, false
		}
		kind, v := b[0], b[2:2+int(b[1])]
		b = b[2+len(v):]
		if kind == ctlReport && len(v) >= reportLen {
			r, ok = parityReport{
				first: le.Uint32(v), last: le.Uint32(v[4:]), data: le.Uint32(v[8:]),
				parity: le.Uint32(v[12:]), recovered: le.Uint32(v[16:]), longest: le.Uint16(v[20:]),
			}, true
		}
	}
	return r, ok
}
