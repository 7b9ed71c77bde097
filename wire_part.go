// SPDX-License-Identifier: MIT

package kcp

import "encoding/binary"

// A PUSH that no longer fits a datagram of the path leaves in parts (docs/protocol.md S4.65). A
// part is a WINS like that of the control messages, with another version as its ts and the
// following data:
//
//	0      4      8       10       12    13   14
//	| ts   | sn   | whole | offset | frg | 0  | bytes ... |
const partVersion timestamp = 2

// partHeader is the size of the fields before the bytes.
const partHeader = 14

// helloParts is bit 8 of a HELLO's flags: the sender reads parts.
const helloParts = 1 << 8

// A segmentPart is a part of the data of a PUSH.
type segmentPart struct {
	ts     timestamp // as in the PUSH
	sn     seqNum
	whole  int // bytes of data in the PUSH
	offset int // of them, those before the part
	frg    uint8
	data   []byte
}

// putPart writes the fields of p before its data to b.
func putPart(b []byte, p *segmentPart) {
	le := binary.LittleEndian
	_ = b[partHeader-1]
	le.PutUint32(b, uint32(p.ts))
	le.PutUint32(b[4:], uint32(p.sn))
	le.PutUint16(b[8:], uint16(p.whole))
	le.PutUint16(b[10:], uint16(p.offset))
	b[12], b[13] = p.frg, 0
}

// isPart reports whether a segment carries a part.
func isPart(s *segment) bool {
	return s.cmd == cmdWins && s.sn == controlMagic && s.ts == partVersion
}

// parsePart reads the data of a part. ok is false if it is empty or does not lie within the whole.
func parsePart(b []byte) (p segmentPart, ok bool) {
	if len(b) <= partHeader {
		return p, false
	}
	le := binary.LittleEndian
	p = segmentPart{
		ts: timestamp(le.Uint32(b)), sn: seqNum(le.Uint32(b[4:])), whole: int(le.Uint16(b[8:])),
		offset: int(le.Uint16(b[10:])), frg: b[12], data: b[partHeader:],
	}
	return p, p.offset+len(p.data) <= p.whole
}

// ctlPad is the type of a control message that fills a datagram (S4.60). Its value has any length
// and no meaning.
const ctlPad = 9

// padMost is the most bytes of one PAD, with its type and length.
const padMost = 2 + 255

// probeLeast is the size of the shortest probe: a segment with a PING and no PAD, or one of a PAD
// at least.
const probeLeast = segmentHeaderSize + 2 + pingLen + 2

// putProbe fills b, which has probeLeast bytes at least, with a segment of PING and PADs. s has the
// conversation, the window and una.
func putProbe(b []byte, s *segment, number uint64) {
	s.cmd, s.frg, s.ts, s.sn = cmdWins, 0, controlVersion, controlMagic
	putHeader(b, s, len(b)-segmentHeaderSize)
	b[segmentHeaderSize], b[segmentHeaderSize+1] = ctlPing, pingLen
	b = b[segmentHeaderSize+2:]
	binary.LittleEndian.PutUint64(b, number)
	for b = b[pingLen:]; len(b) > 0; {
		n := min(len(b), padMost)
		if len(b)-n == 1 {
			n-- // a PAD has two bytes at least
		}
		b[0], b[1] = ctlPad, uint8(n-2)
		clear(b[2:n])
		b = b[n:]
	}
}
