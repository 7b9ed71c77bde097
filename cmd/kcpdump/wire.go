// SPDX-License-Identifier: MIT

package main

import "encoding/binary"

// A command is the cmd of a segment (S1.1).
type command uint8

const (
	cmdPush command = 81
	cmdAck  command = 82
	cmdWask command = 83
	cmdWins command = 84
)

func (c command) String() string {
	switch c {
	case cmdPush:
		return "PUSH"
	case cmdAck:
		return "ACK"
	case cmdWask:
		return "WASK"
	case cmdWins:
		return "WINS"
	}
	return ""
}

// MarshalText makes a command a word in JSON.
func (c command) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

const segmentHeader = 24

// A segment is one KCP segment (S1.1):
//
//	0       4   5   6     8       12      16      20      24
//	| conv  |cmd|frg| wnd |  ts   |  sn   |  una  |  len  | data[len] |
type segment struct {
	Conv hex32   `json:"-"` // that of the datagram
	Cmd  command `json:"cmd"`
	Frg  uint8   `json:"frg,omitempty"`
	Wnd  uint16  `json:"wnd"`
	TS   uint32  `json:"ts"`
	SN   uint32  `json:"sn"`
	Una  uint32  `json:"una"`
	Len  uint32  `json:"len"`

	data []byte
	// Control are the messages of a control segment (S4.1).
	Control []control `json:"control,omitempty"`
	// Again is set for a PUSH whose sn has been seen before in this direction, and Copy if new data
	// is in front of it in the same datagram (S1.77).
	Again bool `json:"again,omitempty"`
	Copy  bool `json:"copy,omitempty"`
	// Probe is set for a PUSH that asks whether an address receives (S1.65).
	Probe bool `json:"probe,omitempty"`
	// Fault is why the control messages cannot be read to their end.
	Fault string `json:"fault,omitempty"`
}

// isControl reports whether a segment carries control messages of the known version (S4.1, S4.2).
func (s *segment) isControl() bool {
	const magic, version = 0x5850434B, 1
	return s.Cmd == cmdWins && s.SN == magic && s.TS == version && s.Len > 0
}

// Faults of a datagram.
const (
	faultShort   = "too short for a segment"
	faultConv    = "a segment of another conversation"
	faultLength  = "the length of a segment exceeds the datagram"
	faultCommand = "unknown command"
	faultSize    = "the size of the FEC header is wrong"
	faultGroup   = "the fields of the FEC group do not fit each other"
	faultEmpty   = "empty"
)

// parseSegment parses the segment at the beginning of b, and its fault if it has one (S1.5). conv is
// the conversation of the segments in front of it, if any is true.
func parseSegment(b []byte, conv hex32, any bool) (s segment, rest []byte, fault string) {
	if len(b) < segmentHeader {
		return s, b, faultShort
	}
	le := binary.LittleEndian
	s = segment{
		Conv: hex32(le.Uint32(b)), Cmd: command(b[4]), Frg: b[5], Wnd: le.Uint16(b[6:]), TS: le.Uint32(b[8:]),
		SN: le.Uint32(b[12:]), Una: le.Uint32(b[16:]), Len: le.Uint32(b[20:]),
	}
	switch {
	case any && s.Conv != conv:
		return s, b, faultConv
	case s.Cmd.String() == "":
		return s, b, faultCommand
	case uint64(s.Len) > uint64(len(b)-segmentHeader):
		return s, b, faultLength
	}
	end := segmentHeader + int(s.Len)
	s.data, rest = b[segmentHeader:end], b[end:]
	if s.isControl() {
		s.Control, s.Fault = parseControl(s.data)
	}
	return s, rest, ""
}

// A fecKind is the type of a FEC header (S2.1).
type fecKind uint16

const (
	fecData   fecKind = 0xF1
	fecParity fecKind = 0xF2
	fecOOB    fecKind = 0xF3
	fecNamed  fecKind = 0xF4
)

func (k fecKind) String() string {
	switch k {
	case fecData:
		return "data"
	case fecParity, fecNamed:
		return "parity"
	case fecOOB:
		return "oob"
	}
	return ""
}

const (
	fecHeaderSize   = 8
	namedHeaderSize = 18 // with the parity of the checks
)

// A fecHeader is what a FEC packet names about itself (S2.1, S2.19), and what is known about its
// group otherwise.
//
//	0               4       6       8
//	|  seqid u32    | type  | size  | payload ...
//	|  seqid u32    | F4 00 | i | k | p | 0 | first u32 | check u32 | parity ...
type fecHeader struct {
	kind  fecKind
	Kind  string `json:"kind"`
	SeqID uint32 `json:"seqid"`
	Size  int    `json:"size"` // of the payload or parity
	// Group is nil if it is not known to which group the packet belongs.
	Group *fecGroup `json:"group,omitempty"`
}

// A fecGroup is a packet's place in its group.
type fecGroup struct {
	First  uint32 `json:"first"` // seqid of the first data packet
	Index  int    `json:"index"` // of the packet, from 0; parity is behind the data
	Data   int    `json:"data"`
	Parity int    `json:"parity"`
	Named  bool   `json:"named,omitempty"` // by the packet itself
}

// An oob is an out-of-band packet (S2.18).
type oob struct {
	Len int `json:"len"`
}

// A datagram is one decoded datagram of KCP. It has a FEC header, or segments, or both.
type datagram struct {
	Conv     *hex32     `json:"conv,omitempty"` // nil for parity
	FEC      *fecHeader `json:"fec,omitempty"`
	OOB      *oob       `json:"oob,omitempty"`
	Segments []segment  `json:"segments,omitempty"`
	// Fault is why receivers drop what is behind the segments.
	Fault string `json:"fault,omitempty"`
	size  int
}

// kindAt returns the kind of the FEC header at the beginning of b, 0 for none.
func kindAt(b []byte) fecKind {
	if len(b) < fecHeaderSize {
		return 0
	}
	k := fecKind(binary.LittleEndian.Uint16(b[4:]))
	if k.String() == "" {
		return 0
	}
	return k
}

// parse decodes a datagram without its protection.
func parse(b []byte) *datagram {
	d := &datagram{size: len(b)}
	switch k := kindAt(b); k {
	case 0:
		d.parseSegments(b)
	case fecParity:
		d.FEC = newFECHeader(k, b)
		d.FEC.Size = len(b) - 6
	case fecNamed:
		d.parseNamed(b)
	default:
		d.FEC = newFECHeader(k, b)
		d.FEC.Size = len(b) - fecHeaderSize
		if int(binary.LittleEndian.Uint16(b[6:])) != len(b)-6 {
			d.Fault = faultSize
			return d
		}
		if k == fecData {
			d.parseSegments(b[fecHeaderSize:])
			return d
		}
		if b = b[fecHeaderSize:]; len(b) < 4 {
			d.Fault = faultShort
			return d
		}
		conv := hex32(binary.LittleEndian.Uint32(b))
		d.Conv, d.OOB = &conv, &oob{len(b) - 4}
	}
	return d
}

func newFECHeader(k fecKind, b []byte) *fecHeader {
	return &fecHeader{kind: k, Kind: k.String(), SeqID: binary.LittleEndian.Uint32(b)}
}

// parseSegments decodes segments up to the first one that is invalid.
func (d *datagram) parseSegments(b []byte) {
	if len(b) == 0 {
		d.Fault = faultEmpty
		return
	}
	var conv hex32
	for len(b) > 0 {
		s, rest, fault := parseSegment(b, conv, len(d.Segments) > 0)
		if fault != "" {
			d.Fault = fault
			return
		}
		conv, b = s.Conv, rest
		d.Conv = &conv
		d.Segments = append(d.Segments, s)
	}
}

// parseNamed decodes parity that names its group (S2.19, S2.21).
func (d *datagram) parseNamed(b []byte) {
	d.FEC = newFECHeader(fecNamed, b)
	if len(b) < namedHeaderSize+2 {
		d.Fault = faultShort
		return
	}
	g := &fecGroup{
		First: binary.LittleEndian.Uint32(b[10:]), Data: int(b[7]), Parity: int(b[8]),
		Index: int(b[7]) + int(b[6]), Named: true,
	}
	d.FEC.Size = len(b) - namedHeaderSize
	if g.Data == 0 || b[6] >= b[8] || g.Data+g.Parity > 256 || b[9] != 0 || d.FEC.SeqID != g.First+uint32(g.Data) {
		d.Fault = faultGroup
		return
	}
	d.FEC.Group = g
}

// plausible reports whether a datagram is KCP to the last byte. Parity has nothing that shows it.
func (d *datagram) plausible() bool {
	if d.Fault != "" {
		return false
	}
	if d.FEC != nil {
		switch d.FEC.kind {
		case fecParity, fecNamed:
			return false
		case fecOOB:
			return d.FEC.SeqID == 1<<32-1
		}
	}
	for i := range d.Segments {
		s := &d.Segments[i]
		if s.Cmd != cmdPush && (s.Frg != 0 || s.Len > 0 && s.Cmd != cmdWins) {
			return false
		}
	}
	return len(d.Segments) > 0
}
