// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"testing"
)

func TestPartRoundTrip(t *testing.T) {
	for _, want := range []segmentPart{
		{ts: 1, sn: 2, whole: 1, offset: 0, frg: 0, data: []byte{7}},
		{ts: 1<<32 - 1, sn: 1<<32 - 1, whole: 65535, offset: 65533, frg: 255, data: []byte{1, 2}},
		{ts: 5, sn: 6, whole: 9000, offset: 1200, frg: 3, data: pattern(1100, 1)},
	} {
		b := make([]byte, partHeader, partHeader+len(want.data))
		putPart(b, &want)
		b = append(b, want.data...)
		got, ok := parsePart(b)
		if !ok || got.ts != want.ts || got.sn != want.sn || got.whole != want.whole ||
			got.offset != want.offset || got.frg != want.frg || !bytes.Equal(got.data, want.data) {
			t.Errorf("got %+v, %v, want %+v", got, ok, want)
		}
		for n := range min(len(b), partHeader+1) {
			if _, ok := parsePart(b[:n]); ok {
				t.Errorf("%d bytes are taken for a part", n)
			}
		}
		want.whole = want.offset + len(want.data) - 1
		putPart(b, &want)
		if _, ok := parsePart(b); ok {
			t.Errorf("a part beyond its whole is taken: %+v", want)
		}
	}
}

// A probe has exactly its size, and a peer reads its PING and nothing else.
func TestProbeOfAnySize(t *testing.T) {
	for n := probeLeast; n < 2000; n++ {
		b := bytes.Repeat([]byte{0xAA}, n)
		putProbe(b, &segment{conv: 7, wnd: 9, una: 5}, 0x1122334455667788)
		var s segment
		rest, status := parseSegment(b, &s)
		if status != parseOK || len(rest) != 0 || !isControl(&s) || s.conv != 7 || s.una != 5 {
			t.Fatalf("%d bytes: status %d, %d bytes left, %+v", n, status, len(rest), s)
		}
		m, ok := parseControl(s.data)
		if !ok || m.ping != 0x1122334455667788 || m.has != [ctlPong + 1]bool{ctlPing: true} {
			t.Fatalf("%d bytes: %v, %+v", n, ok, m)
		}
	}
}

func FuzzPart(f *testing.F) {
	b := make([]byte, partHeader+3)
	putPart(b, &segmentPart{ts: 1, sn: 2, whole: 10, offset: 3})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parsePart(b)
		if !ok {
			return
		}
		if len(p.data) == 0 || p.offset+len(p.data) > p.whole || p.whole > 65535 {
			t.Fatalf("%+v", p)
		}
		c := bytes.Clone(b)
		putPart(c, &p)
		c[13] = b[13] // has no meaning
		if !bytes.Equal(b, c) {
			t.Fatalf("%x is written as %x", b, c)
		}
	})
}
