// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"fmt"
)

// hex32 and hex64 are numbers that are shown in hexadecimal, since they are names.
type (
	hex32 uint32
	hex64 uint64
)

func (h hex32) String() string { return fmt.Sprintf("%08x", uint32(h)) }
func (h hex64) String() string { return fmt.Sprintf("%x", uint64(h)) }

// MarshalText writes the number as String does.
func (h hex32) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// MarshalText writes the number as String does.
func (h hex64) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// hexBytes are bytes that are shown in hexadecimal.
type hexBytes []byte

// MarshalText writes the bytes in hexadecimal.
func (h hexBytes) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(h)), nil }

// A controlType is the type of a control message (S4.1).
type controlType uint8

const (
	ctlHello  controlType = 1
	ctlFin    controlType = 2
	ctlFinAck controlType = 3
	ctlReset  controlType = 4
	ctlPing   controlType = 5
	ctlPong   controlType = 6
	ctlAckr   controlType = 7
	ctlRprt   controlType = 8
	ctlPad    controlType = 9
	ctlKex1   controlType = 10
	ctlKex2   controlType = 11
	ctlSkip   controlType = 12
)

// controlKinds are the known control messages. A value shorter than least is not read (S4.2).
var controlKinds = [...]struct {
	name  string
	least int
	parse func(v []byte) fmt.Stringer
}{
	ctlHello:  {"HELLO", 20, func(v []byte) fmt.Stringer { return parseHello(v) }},
	ctlFin:    {"FIN", 4, func(v []byte) fmt.Stringer { return parseFinal(v) }},
	ctlFinAck: {"FINACK", 4, func(v []byte) fmt.Stringer { return parseFinal(v) }},
	ctlReset:  {"RESET", 10, func(v []byte) fmt.Stringer { return parseReset(v) }},
	ctlPing:   {"PING", 8, func(v []byte) fmt.Stringer { return parseNumber(v) }},
	ctlPong:   {"PONG", 8, func(v []byte) fmt.Stringer { return parseNumber(v) }},
	ctlAckr:   {"ACKR", 9, func(v []byte) fmt.Stringer { return parseAckr(v) }},
	ctlRprt:   {"RPRT", 22, func(v []byte) fmt.Stringer { return parseRprt(v) }},
	ctlPad:    {"PAD", 0, func(v []byte) fmt.Stringer { return pad{len(v)} }},
	ctlKex1:   {"KEX1", 1, func(v []byte) fmt.Stringer { return kex{v[0], v[1:]} }},
	ctlKex2:   {"KEX2", 1, func(v []byte) fmt.Stringer { return kex{v[0], v[1:]} }},
	ctlSkip:   {"SKIP", 13, func(v []byte) fmt.Stringer { return parseSkip(v) }},
}

// A control is one control message. Value is what is known of it, and nil if nothing is.
type control struct {
	Type  controlType  `json:"type"`
	Name  string       `json:"name,omitempty"`
	Value fmt.Stringer `json:"value,omitempty"`
	Raw   hexBytes     `json:"raw,omitempty"` // of a message that is not known
}

const faultControl = "the length of a control message exceeds its segment"

// parseControl parses the messages in the data of a control segment:
//
//	| type u8 | len u8 | value | type u8 | len u8 | value ...
func parseControl(b []byte) (messages []control, fault string) {
	for len(b) > 0 {
		if len(b) < 2 || int(b[1]) > len(b)-2 {
			return messages, faultControl
		}
		m := control{Type: controlType(b[0])}
		v := b[2 : 2+int(b[1])]
		if int(m.Type) < len(controlKinds) {
			m.Name = controlKinds[m.Type].name
		}
		if m.Name != "" && len(v) >= controlKinds[m.Type].least {
			m.Value = controlKinds[m.Type].parse(v)
		} else {
			m.Raw = v
		}
		messages, b = append(messages, m), b[2+len(v):]
	}
	return messages, ""
}

func (m control) String() string {
	name := m.Name
	if name == "" {
		name = fmt.Sprintf("control message %d", m.Type)
	}
	if m.Value == nil {
		return fmt.Sprintf("%s [%x]", name, []byte(m.Raw))
	}
	if text := m.Value.String(); text != "" {
		return name + " " + text
	}
	return name
}

// varint parses a number of 7 bits a byte (S4.35). rest is nil if it is cut off or longer than five
// bytes.
func varint(b []byte) (n uint32, rest []byte) {
	var sum uint64
	for i := 0; i < len(b) && i < 5; i++ {
		sum |= uint64(b[i]&0x7F) << (7 * i)
		if b[i] < 0x80 {
			if sum > 1<<32-1 {
				return 0, nil
			}
			return uint32(sum), b[i+1:]
		}
	}
	return 0, nil
}

// u32 returns the i-th u32 of a value.
func u32(v []byte, i int) uint32 { return binary.LittleEndian.Uint32(v[4*i:]) }
