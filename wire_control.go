// SPDX-License-Identifier: MIT

package kcp

import "encoding/binary"

// Control messages are in the data of a WINS segment, which every legacy receiver skips (S4.1):
//
//	WINS with sn = 0x5850434B ("KCPX"), ts = 1, data = | type u8 | len u8 | value | type u8 | ...
const (
	controlMagic   seqNum    = 0x5850434B
	controlVersion timestamp = 1
)

// Types of control messages.
const (
	ctlHello  = 1
	ctlFin    = 2
	ctlFinAck = 3
	ctlReset  = 4
	ctlPing   = 5
	ctlPong   = 6
)

// Lengths of the values. The shorter first versions of HELLO and RESET are accepted.
const (
	helloLen      = 22
	helloShortLen = 20 // without the largest datagram
	finLen        = 4
	resetLen      = 18
	resetShortLen = 10 // without the echo
	pingLen       = 8

	// helloSegment is a segment with a HELLO alone.
	helloSegment = segmentHeaderSize + 2 + helloLen

	// maxControl is the longest run of messages that one control segment of this side carries:
	// HELLO, FIN, FINACK, RESET, PING and PONG once each.
	maxControl = 6*2 + helloLen + 2*finLen + resetLen + 2*pingLen
)

// largestDatagram is the size of the largest datagram that this side can receive (S4.7): its
// readers accept any UDP datagram.
const largestDatagram = 65535

// helloShared is bit 0 of a HELLO's flags: several sessions share this address on purpose.
const helloShared = 1 << 0

// helloMarks is bit 1: the first bit of each AEAD nonce is 1 from the side that has accepted the
// session, and 0 from the side that has dialled.
const helloMarks = 1 << 1

// helloProved is bit 5: the address of the receiver of this HELLO is validated.
const helloProved = 1 << 5

// helloOpens is bit 6: the WASK in the same datagram opens the session.
const helloOpens = 1 << 6

// The codes of a RESET are for diagnosis only (S4.21).
const (
	resetAborted  = 1 // closed with a linger time of zero, or the linger time has ended
	resetClosed   = 2 // data for a session that is not read any more
	resetProtocol = 3 // a FIN that has changed
	resetRefused  = 4 // there is no room for the session
	resetUnknown  = 5 // no such session
)

// controlSet is the content of one control segment: a flag for each message, and its values.
type controlSet struct {
	has         [ctlPong + 1]bool
	incarnation uint64 // HELLO
	heard       uint64
	flags       uint32
	largest     uint16 // largest datagram that the sender can receive, 0 if not given
	final       seqNum // FIN
	finalAcked  seqNum // FINACK
	resetCode   uint16 // RESET
	resetFor    uint64
	echo        uint64 // the PING's number or the FIN's final that the RESET answers, 0 for none
	ping        uint64
	pong        uint64
}

func (c *controlSet) empty() bool {
	return c.has == [ctlPong + 1]bool{}
}

// echoed returns what a RESET that answers c echoes.
func (c *controlSet) echoed() uint64 {
	switch {
	case c.has[ctlPing]:
		return c.ping
	case c.has[ctlFin]:
		return uint64(c.final)
	}
	return 0
}

// appendControl appends the messages of c to b.
func appendControl(b []byte, c *controlSet) []byte {
	le := binary.LittleEndian
	if c.has[ctlHello] {
		b = append(b, ctlHello, helloLen)
		b = le.AppendUint64(b, c.incarnation)
		b = le.AppendUint64(b, c.heard)
		b = le.AppendUint32(b, c.flags)
		b = le.AppendUint16(b, c.largest)
	}
	if c.has[ctlFin] {
		b = le.AppendUint32(append(b, ctlFin, finLen), uint32(c.final))
	}
	if c.has[ctlFinAck] {
		b = le.AppendUint32(append(b, ctlFinAck, finLen), uint32(c.finalAcked))
	}
	if c.has[ctlReset] {
		b = le.AppendUint16(append(b, ctlReset, resetLen), c.resetCode)
		b = le.AppendUint64(b, c.resetFor)
		b = le.AppendUint64(b, c.echo)
	}
	if c.has[ctlPing] {
		b = le.AppendUint64(append(b, ctlPing, pingLen), c.ping)
	}
	if c.has[ctlPong] {
		b = le.AppendUint64(append(b, ctlPong, pingLen), c.pong)
	}
	return b
}

// isControl reports whether a segment carries control messages of a version this side speaks.
func isControl(s *segment) bool {
	return s.cmd == cmdWins && s.sn == controlMagic && s.ts == controlVersion && len(s.data) > 0
}

// parseControl reads the messages in b (S4.2). It ignores unknown types, and known types whose
// value is too short. It reads the known part of a longer value, so that later versions may add to
// it. ok is false if a length exceeds the data. Then no message in b counts.
func parseControl(b []byte) (c controlSet, ok bool) {
	le := binary.LittleEndian
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(b[1]) {
			return controlSet{}, false
		}
		kind, v := b[0], b[2:2+int(b[1])]
		b = b[2+len(v):]
		switch {
		case kind == ctlHello && len(v) >= helloShortLen:
			c.incarnation, c.heard = le.Uint64(v), le.Uint64(v[8:])
			c.flags, c.largest = le.Uint32(v[16:]), 0
			if len(v) >= helloLen {
				c.largest = le.Uint16(v[helloShortLen:])
			}
		case kind == ctlFin && len(v) >= finLen:
			c.final = seqNum(le.Uint32(v))
		case kind == ctlFinAck && len(v) >= finLen:
			c.finalAcked = seqNum(le.Uint32(v))
		case kind == ctlReset && len(v) >= resetShortLen:
			c.resetCode, c.resetFor, c.echo = le.Uint16(v), le.Uint64(v[2:]), 0
			if len(v) >= resetLen {
				c.echo = le.Uint64(v[resetShortLen:])
			}
		case kind == ctlPing && len(v) >= pingLen:
			c.ping = le.Uint64(v)
		case kind == ctlPong && len(v) >= pingLen:
			c.pong = le.Uint64(v)
		default:
			continue
		}
		c.has[kind] = true
	}
	return c, true
}

// findControl returns the control messages in a datagram of segments, wherever they are.
func findControl(segments []byte) (m controlSet) {
	var s segment
	for len(segments) > 0 {
		var status parseStatus
		if segments, status = parseSegment(segments, &s); status != parseOK {
			break
		}
		if isControl(&s) {
			// An ACKR or a SKIP has a segment of its own, which leaves the other messages.
			if part, ok := parseControl(s.data); !ok || !part.empty() {
				m = part
			}
		}
	}
	return m
}

// findLists returns the values of the last ACKR and the last SKIP among control messages, nil if
// there is none. Malformed messages have neither.
func findLists(b []byte) (ranges, skips []byte) {
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(b[1]) {
			return nil, nil
		}
		n := 2 + int(b[1])
		switch {
		case b[0] == ctlAckRanges && n >= 2+ackRangesHeader:
			ranges = b[2:n]
		case b[0] == ctlSkip && n >= 2+skipHeader:
			skips = b[2:n]
		}
		b = b[n:]
	}
	return ranges, skips
}

// sharesAddress reports whether a HELLO says that several sessions share the address on purpose.
func (c *controlSet) sharesAddress() bool { return c.has[ctlHello] && c.flags&helloShared != 0 }
