// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// twoPushes is the text of two packets, as every form of capture must show them.
func checkTwoPushes(t *testing.T, capture []byte) {
	t.Helper()
	lines := mustDump(t, capture, "-time", "date")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "2026-03-04 05:06:07.000000 192.0.2.1:40000 > 192.0.2.2:4000: 11223344 PUSH 0 len 1;") ||
		!strings.HasPrefix(lines[1], "2026-03-04 05:06:07.001000 192.0.2.1:40000 > 192.0.2.2:4000: 11223344 PUSH 1 len 1;") {
		t.Errorf("got %q", lines)
	}
}

// pcapHeader is that of a capture of raw IP packets.
func pcapHeader(order binary.AppendByteOrder, magic uint32) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(order.AppendUint16(b, 2), 4)
	b = order.AppendUint32(append(b, make([]byte, 8)...), 65535)
	return order.AppendUint32(b, uint32(layers.LinkTypeRaw))
}

// block is a block of a pcapng file. The length of its body is a multiple of four.
func block(kind uint32, body []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(le.AppendUint32(nil, kind), uint32(12+len(body)))
	return le.AppendUint32(append(b, body...), uint32(12+len(body)))
}

// ngSection is a section header and an interface of raw IP packets.
func ngSection() []byte {
	le := binary.LittleEndian
	b := block(magicNG, append(le.AppendUint32(nil, 0x1A2B3C4D), 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255))
	return append(b, block(1, []byte{byte(layers.LinkTypeRaw), 0, 0, 0, 0, 0, 4, 0})...)
}

func TestFormsOfCaptures(t *testing.T) {
	packets := [][]byte{ipOf(t, up(0, pushOf(0, "a"))), ipOf(t, up(1, pushOf(1, "b")))}
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for magic, unit := range map[uint32]int64{0xA1B2C3D4: 1000, 0xA1B23C4D: 1} {
			b := pcapHeader(order, magic)
			for i, p := range packets {
				b = order.AppendUint32(b, uint32(startTime.Unix()))
				b = order.AppendUint32(b, uint32(int64(i)*1e6/unit))
				b = order.AppendUint32(order.AppendUint32(b, uint32(len(p))), uint32(len(p)))
				b = append(b, p...)
			}
			checkTwoPushes(t, b)
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			_, _ = w.Write(b)
			_ = w.Close()
			checkTwoPushes(t, z.Bytes())
		}
	}

	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := w.AddInterface(pcapgo.NgInterface{LinkType: layers.LinkTypeRaw})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		info := gopacket.CaptureInfo{Timestamp: up(i, nil).at, InterfaceIndex: raw}
		if i == 0 {
			info.InterfaceIndex, p = 0, append([]byte("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x08\x00"), p...)
		}
		info.CaptureLength, info.Length = len(p), len(p)
		if err := w.WritePacket(info, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	checkTwoPushes(t, b.Bytes())
}

func TestBrokenCaptures(t *testing.T) {
	whole := pcapOf(t, up(0, pushOf(0, "a")), up(1, pushOf(1, "b")))
	long := pcapHeader(binary.LittleEndian, 0xA1B2C3D4)
	long = append(long, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 127, 255, 255, 255, 127)
	for _, tt := range []struct {
		name    string
		capture []byte
		want    string
		lines   int
	}{
		{"empty", nil, "EOF", 0},
		{"two bytes", []byte{1, 2}, "unexpected EOF", 0},
		{"text", []byte("hello, this is a text that is long enough"), "not a pcap or pcapng file", 0},
		{"cut in the header", whole[:20], "not a pcap or pcapng file", 0},
		{"cut in a packet", whole[:len(whole)-1], "packet 2: unexpected EOF", 1},
		{"a packet of 2 GB", long, "packet 1:", 0},
		{"gzip of nothing", []byte{0x1f, 0x8b, 8}, "unexpected EOF", 0},
	} {
		out, errs, status := dump(t, tt.capture)
		if status != statusFailed || !strings.Contains(errs, tt.want) || strings.Count(out, "\n") != tt.lines {
			t.Errorf("%s: status %d, %q, %q; want %d lines and %q", tt.name, status, out, errs, tt.lines, tt.want)
		}
	}
	if _, errs, status := dump(t, nil, "no-such-file"); status != statusFailed || !strings.Contains(errs, "no-such-file") {
		t.Errorf("status %d, %q", status, errs)
	}
}

// endless repeats its bytes.
type endless struct {
	head, again []byte
	read        int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		from := e.head
		if len(from) == 0 {
			from = e.again[e.read%len(e.again):]
		}
		k := copy(p[n:], from)
		if len(e.head) > 0 {
			e.head = e.head[k:]
		} else {
			e.read += k
		}
		n += k
	}
	return n, nil
}

// A capture that has everything but packets is given up, and does not fill the memory.
func TestMetadataIsBounded(t *testing.T) {
	name := block(4, append([]byte{1, 0, 8, 0, 192, 0, 2, 1, 'h', 'o', 's', 0}, 0, 0, 0, 0))
	secrets := block(10, append([]byte{1, 2, 3, 4, 4, 0, 0, 0}, "abcd"...))
	iface := block(1, []byte{byte(layers.LinkTypeRaw), 0, 0, 0, 0, 0, 4, 0})
	for what, again := range map[string][]byte{"names": name, "secrets": secrets, "interfaces": iface} {
		in := &endless{head: ngSection(), again: again}
		c, err := openCapture(in)
		if err == nil {
			_, err = c.next()
		}
		if err == nil || in.read > 2*metadataMost {
			t.Errorf("%s: %v after %d bytes", what, err, in.read)
		}
	}
	// Interfaces between packets do not add up either.
	packet := ipOf(t, up(0, pushOf(0, "a")))
	packet = append(packet, make([]byte, -len(packet)&3)...)
	le := binary.LittleEndian
	simple := block(3, append(le.AppendUint32(nil, uint32(len(packet))), packet...))
	c, err := openCapture(&endless{head: ngSection(), again: append(bytes.Clone(iface), simple...)})
	n := 0
	for ; err == nil; n++ {
		_, err = c.next()
	}
	if n > interfacesMost+1 || !strings.Contains(err.Error(), "interfaces") {
		t.Errorf("%v after %d packets", err, n)
	}
}

func TestLinkTypes(t *testing.T) {
	ipv4 := ipOf(t, up(0, pushOf(0, "a")))
	p6 := up(0, pushOf(0, "a"))
	p6.from, p6.to = v6(1), v6(2)
	ipv6 := ipOf(t, p6)
	const mac = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"
	for _, tt := range []struct {
		name   string
		link   layers.LinkType
		v4, v6 string // in front of the packet
	}{
		{"raw", layers.LinkTypeRaw, "", ""},
		{"raw by another number", 12, "", ""},
		{"IPv4", layers.LinkTypeIPv4, "", ""},
		{"IPv6", layers.LinkTypeIPv6, "", ""},
		{"Ethernet", layers.LinkTypeEthernet, mac + "\x08\x00", mac + "\x86\xdd"},
		{"VLAN", layers.LinkTypeEthernet, mac + "\x81\x00\x00\x07\x08\x00", mac + "\x81\x00\x00\x07\x86\xdd"},
		{"VLAN in VLAN", layers.LinkTypeEthernet, mac + "\x88\xa8\x00\x07\x81\x00\x00\x08\x08\x00", mac + "\x91\x00\x00\x07\x81\x00\x00\x08\x86\xdd"},
		{"Linux cooked", layers.LinkTypeLinuxSLL, "\x00\x00\x03\x04\x00\x06\x01\x02\x03\x04\x05\x06\x00\x00\x08\x00", "\x00\x00\x03\x04\x00\x06\x01\x02\x03\x04\x05\x06\x00\x00\x86\xdd"},
		{"Linux cooked 2", linkSLL2, "\x08\x00\x00\x00\x00\x00\x00\x01\x03\x04\x00\x06\x01\x02\x03\x04\x05\x06\x00\x00", "\x86\xdd\x00\x00\x00\x00\x00\x01\x03\x04\x00\x06\x01\x02\x03\x04\x05\x06\x00\x00"},
		{"loopback of BSD", layers.LinkTypeNull, "\x02\x00\x00\x00", "\x1e\x00\x00\x00"},
		{"loopback of a big-endian machine", layers.LinkTypeNull, "\x00\x00\x00\x02", "\x00\x00\x00\x1c"},
		{"loopback of OpenBSD", layers.LinkTypeLoop, "\x00\x00\x00\x02", "\x00\x00\x00\x18"},
	} {
		frame4, frame6 := append([]byte(tt.v4), ipv4...), append([]byte(tt.v6), ipv6...)
		// Padding behind the packet, and frames that are too short for their headers.
		frames := [][]byte{append(frame4, 0, 0, 0), append(frame6, 0, 0)}
		for n := range len(tt.v4) + 8 {
			frames = append(frames, frame4[:n])
		}
		lines := mustDump(t, pcapOfFrames(t, tt.link, frames...))
		if len(lines) != 2 || !strings.Contains(lines[0], "192.0.2.1:40000 > 192.0.2.2:4000: 11223344 PUSH 0 len 1;") ||
			!strings.Contains(lines[1], "[2001:db8::1]:40000 > [2001:db8::2]:4000: 11223344 PUSH 0 len 1;") {
			t.Errorf("%s: got %q", tt.name, lines)
		}
	}
	_, errs, status := dump(t, pcapOfFrames(t, layers.LinkTypePPP, ipv4))
	if status != 0 || !strings.Contains(errs, "link type 9 is not supported") {
		t.Errorf("status %d, %q", status, errs)
	}
	arp := append([]byte(mac+"\x08\x06"), make([]byte, 28)...)
	if _, errs, _ := dump(t, pcapOfFrames(t, layers.LinkTypeEthernet, arp)); !strings.Contains(errs, "1 others") {
		t.Errorf("ARP: %q", errs)
	}
}
