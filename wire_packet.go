// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
)

// packetKind is the kind of an opened datagram by its first bytes.
type packetKind uint8

const (
	packetBad    packetKind = iota
	packetPlain             // KCP segments
	packetData              // an FEC data shard: a header, then KCP segments
	packetParity            // an FEC parity shard
	packetOOB               // out of band
)

// A packet is an opened datagram.
type packet struct {
	kind     packetKind
	all      []byte // with its FEC header
	segments []byte // KCP segments, or the payload of an out-of-band packet behind its conv
	conv     uint32 // of all kinds but parity
}

// An inputContext is what the owner of a state machine lends it for a call of input. The state
// machine keeps nothing of it, except segments that stay in the slab.
type inputContext struct {
	now   instant
	cache *bufferCache // nil: buffers come from the shared pools
	slab  *slab        // holds the datagram, and may keep large segments; nil: all are copied
	kex   kexMessage   // of the datagram; the owner takes it before it feeds the next one
}

// parse distinguishes the kinds by the two bytes at offset 4, which no KCP segment can have there
// (S2.6). It validates what it needs.
func (p *packet) parse(b []byte) {
	p.kind, p.all = packetBad, b
	if len(b) < fecHeaderSize {
		return
	}
	switch binary.LittleEndian.Uint16(b[4:]) {
	case fecTypeData:
		payload, ok := fecDataPayload(b)
		if !ok || len(payload) < segmentHeaderSize {
			return
		}
		p.kind, p.segments, p.conv = packetData, payload, binary.LittleEndian.Uint32(payload)
	case fecTypeParity, fecTypeGroup:
		p.kind = packetParity
	case fecTypeOOB:
		payload, ok := fecDataPayload(b)
		if !ok || len(payload) < 4 {
			return
		}
		p.kind, p.segments, p.conv = packetOOB, payload[4:], binary.LittleEndian.Uint32(payload)
	default:
		if len(b) < segmentHeaderSize {
			return
		}
		p.kind, p.segments, p.conv = packetPlain, b, binary.LittleEndian.Uint32(b)
	}
}

// plausible reports whether a packet can be KCP's by its bytes.
func (p *packet) plausible() bool {
	switch p.kind {
	case packetBad:
		return false
	case packetPlain, packetData:
		var first segment
		_, status := parseSegment(p.segments, &first)
		return status == parseOK
	}
	return true
}

// couldOpen reports whether segments begin like those that open a session.
func couldOpen(segments []byte) bool {
	if len(segments) < segmentHeaderSize || binary.LittleEndian.Uint32(segments[16:]) != 0 {
		return false
	}
	sn := binary.LittleEndian.Uint32(segments[segmentSNOffset:])
	return segments[4] == cmdPush && sn < wndInitial || segments[4] == cmdWask && sn == 0
}

// opens reports whether a segment begins a session. The sender of such a segment has received
// nothing yet. A nonzero una means that its session has another end elsewhere.
func opens(s *segment) bool { return s.cmd == cmdPush && uint32(s.sn) < wndInitial && s.una == 0 }

// knocks reports whether a WASK opens a session, as its HELLO says.
func knocks(s *segment, m *controlSet) bool {
	return s.cmd == cmdWask && s.sn == 0 && s.una == 0 &&
		m.has[ctlHello] && m.incarnation != 0 && m.flags&helloOpens != 0
}

// asksWindow reports whether the segments include a WASK.
func asksWindow(segments []byte) bool {
	var s segment
	for len(segments) > 0 {
		var status parseStatus
		if segments, status = parseSegment(segments, &s); status != parseOK {
			break
		}
		if s.cmd == cmdWask {
			return true
		}
	}
	return false
}
