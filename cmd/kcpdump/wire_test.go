// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

// clientAddrOf is a client's address with a port of its own.
func clientAddrOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(clientAddr.Addr(), uint16(40000+i))
}

// pushOf is a data segment; its bytes may be changed.
func pushOf(sn uint32, data string) []byte {
	b := append([]byte{0x44, 0x33, 0x22, 0x11, 81, 0, 128, 0}, make([]byte, 16)...)
	binary.LittleEndian.PutUint32(b[12:], sn)
	binary.LittleEndian.PutUint32(b[20:], uint32(len(data)))
	return append(b, data...)
}

func changed(b []byte, at int, value byte) []byte {
	b[at] = value
	return b
}

// fecOf puts a FEC header in front of a payload.
func fecOf(seqid uint32, kind fecKind, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, seqid)
	b = binary.LittleEndian.AppendUint16(b, uint16(kind))
	if kind != fecParity {
		b = binary.LittleEndian.AppendUint16(b, uint16(2+len(payload)))
	}
	return append(b, payload...)
}

func TestMalformedDatagrams(t *testing.T) {
	named := documentedBytes(t)["fec-named"]
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"a good one", pushOf(0, "hello"), "11223344 PUSH 0 len 5; una 0 wnd 128"},
		{"len beyond the datagram", changed(pushOf(0, "hello"), 20, 6), "29 bytes [not KCP, or encrypted]"},
		{"a rest", append(pushOf(0, "a"), 1, 2, 3), "11223344 PUSH 0 len 1; una 0 wnd 128 [too short for a segment] [not KCP, or encrypted]"},
		{"another conversation", append(pushOf(0, "a"), changed(pushOf(1, "b"), 0, 1)...), "11223344 PUSH 0 len 1; una 0 wnd 128 [a segment of another conversation] [not KCP, or encrypted]"},
		{"FEC with a wrong size", changed(fecOf(1, fecData, pushOf(0, "a")), 6, 1), "FEC data 1 [the size of the FEC header is wrong]"},
		{"out of band without a conversation", fecOf(1<<32-1, fecOOB, []byte("ab")), "[too short for a segment]"},
		{"a short named group", named[:19], "FEC parity 2 len 0 [too short for a segment]"},
		{"k of 0", changed(bytes.Clone(named), 7, 0), "[the fields of the FEC group do not fit each other]"},
		{"i beyond p", changed(bytes.Clone(named), 6, 1), "[the fields of the FEC group do not fit each other]"},
		{"another first", changed(bytes.Clone(named), 10, 1), "[the fields of the FEC group do not fit each other]"},
		{"byte 9", changed(bytes.Clone(named), 9, 1), "[the fields of the FEC group do not fit each other]"},
	} {
		lines := mustDump(t, pcapOf(t, up(0, tt.data)), "-port", "4000")
		if !strings.Contains(lines[0], tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, lines[0], tt.want)
		}
	}
}

// Without a port only what is KCP to the last byte is shown, and what follows it.
func TestOtherProtocolsAreLeftAlone(t *testing.T) {
	stun := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)
	var packets []captured
	for i, data := range [][]byte{
		stun, []byte("Q"), bytes.Repeat([]byte{0x51}, 60), make([]byte, 100),
		changed(pushOf(0, "hello"), 20, 4), fecOf(2, fecParity, pushOf(0, "hello")),
	} {
		p := up(i, data)
		p.from = clientAddrOf(i)
		packets = append(packets, p)
	}
	out, errs, status := dump(t, pcapOf(t, packets...))
	if out != "" || status != 0 || !strings.Contains(errs, "6 packets: 0 KCP datagrams, 6 others") {
		t.Errorf("got %q, %q, %d", out, errs, status)
	}
	packets = append([]captured{up(0, pushOf(0, "a")), up(0, pushOf(7, "b"))}, packets...)
	for i := range packets {
		packets[i].from = clientAddr
	}
	if lines := mustDump(t, pcapOf(t, packets...)); len(lines) != 8 {
		t.Errorf("%d lines behind a segment, want 8: %q", len(lines), lines)
	}
}

func TestFilters(t *testing.T) {
	other := up(3, changed(pushOf(0, "x"), 0, 0x45))
	other.from, other.to = clientAddrOf(1), netip.MustParseAddrPort("[2001:db8::2]:5000")
	other.from = netip.MustParseAddrPort("[2001:db8::1]:41000")
	capture := pcapOf(t, up(0, fecOf(0, fecData, pushOf(0, "a"))), up(1, fecOf(1, fecParity, pushOf(0, "a"))), other)
	for _, tt := range []struct {
		args []string
		want int
	}{
		{nil, 3},
		{[]string{"-port", "5000"}, 1},
		{[]string{"-port", "40000"}, 2},
		{[]string{"-conv", "11223344"}, 2}, // with the parity
		{[]string{"-conv", "0x11223345"}, 1},
		{[]string{"-c", "1"}, 1},
	} {
		if lines := mustDump(t, capture, tt.args...); len(lines) != tt.want {
			t.Errorf("%v: %d lines, want %d: %q", tt.args, len(lines), tt.want, lines)
		}
	}
	if lines := mustDump(t, capture, "-conv", "11223345"); !strings.Contains(lines[0], "[2001:db8::1]:41000 > [2001:db8::2]:5000: 11223345 PUSH 0 len 1") {
		t.Errorf("got %q", lines)
	}
}

func TestWhatWasSeenBeforeIsMarked(t *testing.T) {
	ack := changed(pushOf(0, ""), 4, 82)
	ack[16] = 1 // una
	probe := pushOf(1<<30, "")
	lines := mustDump(t, pcapOf(t, up(0, pushOf(0, "a")), up(1, pushOf(1, "b")), up(2, append(pushOf(2, "c"), pushOf(1, "b")...)),
		up(3, pushOf(1, "b")), down(4, ack), up(5, pushOf(0, "a")), up(6, probe), up(7, append(pushOf(5, "f"), pushOf(6, "g")...)), up(8, pushOf(4, "e"))))
	for i, want := range []string{
		"PUSH 0 len 1;", "PUSH 1 len 1;", "PUSH 2 len 1, PUSH 1 len 1 (copy);", "PUSH 1 len 1 (again);", "ACK 0;", "PUSH 0 len 1 (again);",
		"PUSH 1073741824 (probe);", "PUSH 5-6 len 2;", "PUSH 4 len 1;",
	} {
		if !strings.Contains(lines[i], ": 11223344 "+want) {
			t.Errorf("line %d: %s, want %s", i+1, lines[i], want)
		}
	}
}

func TestAnotherIncarnationIsAnotherSession(t *testing.T) {
	hello := func(incarnation byte) []byte {
		return append(pushOf(0, "a"), controlSegment("\x01\x14"+string(incarnation)+strings.Repeat("\x00", 19))...)
	}
	reset := controlSegment("\x04\x0a\x01\x00\x07" + strings.Repeat("\x00", 7))
	text := strings.Join(mustDump(t, pcapOf(t, up(0, hello(7)), down(5, reset), up(10, hello(8))), "-stats"), "\n")
	first, second, _ := strings.Cut(text, "\nsession ")
	if !strings.Contains(first, "reset by 192.0.2.2:4000, code 1 (aborted) of 7") || !strings.Contains(first, "incarnation  7") ||
		!strings.Contains(second, "incarnation  8") || !strings.Contains(second, "no end") {
		t.Errorf("got %s", text)
	}
}
