// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"slices"
)

// Linux hands several datagrams to the network card as one packet, which the card cuts (UDP_SEGMENT,
// see udp(7)). A capture on the sending machine has that packet. All its datagrams but the last are
// of one size, which is not in the capture.

// A flow is one direction between two addresses.
type flow struct {
	secret *secret // that opened the last datagram; nil for none
	known  bool    // a datagram was KCP beyond doubt
	sizes  [4]int  // of the datagrams of runs, the newest first
	fails  int     // searches without a result since the last success
	shape  shape   // of its FEC groups
	conv   *hex32  // of its newest segments
}

// searchesMost bounds the searches for a datagram in packets that nothing opens.
const searchesMost = 16

// A part is one datagram of a captured packet.
type part struct {
	payload []byte // without protection
	secret  *secret
	length  int // with protection
	// broken is set if no key opens the rest of the packet.
	broken bool
}

// open removes the protection of a packet's datagrams. It returns no parts if no key fits.
func (f *flow) open(secrets []*secret, b []byte) (parts []part) {
	if s := f.secret; s != nil {
		if parts = f.openWith(s, b); parts != nil {
			return parts
		}
	}
	for _, s := range secrets {
		if s != f.secret {
			if parts = f.openWith(s, b); parts != nil {
				f.secret = s
				return parts
			}
		}
	}
	return nil
}

// openWith opens the datagrams of a packet with one key.
func (f *flow) openWith(s *secret, b []byte) (parts []part) {
	for len(b) > 0 {
		payload, length := f.first(s, b)
		if length == 0 {
			if parts != nil {
				parts = append(parts, part{length: len(b), broken: true})
			}
			return parts
		}
		if length < len(b) {
			f.learn(length)
		}
		parts = append(parts, part{payload: payload, secret: s, length: length})
		b = b[length:]
	}
	return parts
}

// first opens the first datagram of a packet. It returns a length of 0 if it cannot be opened.
func (f *flow) first(s *secret, b []byte) (payload []byte, length int) {
	if payload, ok := s.open(b); ok {
		return payload, len(b)
	}
	for _, size := range f.sizes {
		if size > 0 && size < len(b) {
			if payload, ok := s.open(b[:size]); ok {
				return payload, size
			}
		}
	}
	if f.fails >= searchesMost || len(b) < 2*(s.overhead()+shortest) {
		return nil, 0
	}
	if payload, length = s.search(b); length == 0 {
		f.fails++
	} else {
		f.fails = 0
	}
	return payload, length
}

// learn puts a size in front of the others.
func (f *flow) learn(size int) {
	i := slices.Index(f.sizes[:], size)
	if i < 0 {
		i = len(f.sizes) - 1
	}
	copy(f.sizes[1:i+1], f.sizes[:i])
	f.sizes[0] = size
}

// split returns the datagrams of a packet without protection.
func (f *flow) split(b []byte) (parts []part) {
	size := 0
	for len(b) > 0 {
		n, sized := f.boundary(b, size)
		if sized {
			size = n
			f.learn(n)
		}
		parts = append(parts, part{payload: b[:n], length: n})
		b = b[n:]
	}
	return parts
}

// boundary returns the length of the first datagram of a packet, and whether the others have that
// size too. size is that of the datagrams in front, 0 for none. Segments need no boundary: those of
// several datagrams are one list.
func (f *flow) boundary(b []byte, size int) (n int, sized bool) {
	if size > 0 && size < len(b) {
		return size, true
	}
	switch kindAt(b) {
	case fecData, fecOOB:
		// The size counts itself and the payload. What follows must look like another datagram.
		if n := int(binary.LittleEndian.Uint16(b[6:])) + 6; n > fecHeaderSize && beginsAt(b, n) {
			return n, true
		}
	case fecParity, fecNamed:
		for _, size := range f.sizes {
			if beginsAt(b, size) {
				return size, true
			}
		}
		seqid := binary.LittleEndian.Uint32(b)
		for n := fecHeaderSize + shortest; n < len(b); n++ {
			if kindAt(b[n:]) != 0 && binary.LittleEndian.Uint32(b[n:])-seqid <= 1 {
				return n, true
			}
		}
	default:
		return segmentsEnd(b), false
	}
	return len(b), false
}

// segmentsEnd returns where segments end and a FEC header begins.
func segmentsEnd(b []byte) int {
	rest := b
	var conv hex32
	for len(rest) > 0 {
		s, behind, fault := parseSegment(rest, conv, len(rest) < len(b))
		if fault != "" {
			if n := len(b) - len(rest); n > 0 && kindAt(rest) != 0 {
				return n
			}
			return len(b)
		}
		conv, rest = s.Conv, behind
	}
	return len(b)
}

// beginsAt reports whether a datagram seems to begin at an offset of b within it.
func beginsAt(b []byte, n int) bool {
	if n <= 0 || n >= len(b) {
		return false
	}
	if kindAt(b[n:]) != 0 {
		return true
	}
	_, _, fault := parseSegment(b[n:], 0, false)
	return fault == ""
}
