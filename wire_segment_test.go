// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"reflect"
	"testing"
)

// Each field of the header is where a legacy peer expects it.
func TestSegmentLayout(t *testing.T) {
	s := segment{conv: 0x04030201, cmd: cmdPush, frg: 0x06, wnd: 0x0807, ts: 0x0c0b0a09,
		sn: 0x100f0e0d, una: 0x14131211, data: []byte("data")}
	const want = "01020304" + "51" + "06" + "0708" + "090a0b0c" + "0d0e0f10" + "11121314" +
		"04000000" + "64617461"
	if got := hex.EncodeToString(appendSegment(nil, &s)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := hex.EncodeToString(appendSegment([]byte{0xff}, &s)); got != "ff"+want {
		t.Errorf("appended behind a byte: %s", got)
	}
}

func TestSegmentRoundTrip(t *testing.T) {
	segments := []segment{
		{cmd: cmdPush, data: []byte{}},
		{conv: 1<<32 - 1, cmd: cmdAck, frg: 255, wnd: 65535, ts: 1<<32 - 1, sn: 1<<32 - 1,
			una: 1<<32 - 1, data: []byte{}},
		{conv: 7, cmd: cmdWask, data: []byte{}},
		{conv: 7, cmd: cmdWins, sn: controlMagic, data: bytes.Repeat([]byte{1}, 1376)},
	}
	var b []byte
	for i := range segments {
		b = appendSegment(b, &segments[i])
	}
	rest := b
	for i, want := range segments {
		var got segment
		var status parseStatus
		if rest, status = parseSegment(rest, &got); status != parseOK ||
			!reflect.DeepEqual(got, want) {
			t.Errorf("segment %d: %+v, status %d; want %+v", i, got, status, want)
		}
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes are left", len(rest))
	}
}

func TestParseSegmentRefuses(t *testing.T) {
	whole := appendSegment(nil, &segment{conv: 1, cmd: cmdPush, data: []byte("data")})
	withLen := func(n uint32) []byte {
		b := bytes.Clone(whole)
		binary.LittleEndian.PutUint32(b[20:], n)
		return b
	}
	withCmd := func(cmd byte) []byte {
		b := bytes.Clone(whole)
		b[4] = cmd
		return b
	}
	tests := []struct {
		name string
		in   []byte
		want parseStatus
	}{
		{"nothing", nil, parseShort},
		{"a byte too few", whole[:segmentHeaderSize-1], parseShort},
		{"no data", whole[:segmentHeaderSize], parseTruncated},
		{"a byte of data too few", whole[:len(whole)-1], parseTruncated},
		{"a length one too large", withLen(5), parseTruncated},
		{"a length that is negative as an int32", withLen(1 << 31), parseTruncated},
		{"the largest length", withLen(1<<32 - 1), parseTruncated},
		{"a length that wraps with the header", withLen(1<<32 - segmentHeaderSize), parseTruncated},
		{"command 80", withCmd(80), parseUnknown},
		{"command 85", withCmd(85), parseUnknown},
		{"command 0", withCmd(0), parseUnknown},
		{"command 255", withCmd(255), parseUnknown},
	}
	for _, tt := range tests {
		var s segment
		if rest, got := parseSegment(tt.in, &s); got != tt.want || rest != nil {
			t.Errorf("%s: status %d, %d bytes left; want %d and none",
				tt.name, got, len(rest), tt.want)
		}
	}
}

// An append to a segment's data must not overwrite the next segment.
func TestSegmentDataHasNoSpareCapacity(t *testing.T) {
	b := appendSegment(nil, &segment{cmd: cmdPush, data: []byte("one")})
	b = appendSegment(b, &segment{cmd: cmdPush, data: []byte("two")})
	var s segment
	if _, status := parseSegment(b, &s); status != parseOK || cap(s.data) != 3 {
		t.Errorf("status %d, capacity %d; want 3", status, cap(s.data))
	}
}

func TestSequenceNumbersWrap(t *testing.T) {
	tests := []struct {
		a, b     seqNum
		before   bool
		distance uint32
	}{
		{0, 0, false, 0},
		{0, 1, true, 1},
		{1, 0, false, 1<<32 - 1},
		{1<<32 - 1, 0, true, 1},
		{1<<32 - 1, 1<<31 - 2, true, 1<<31 - 1},
		{0, 1<<31 - 1, true, 1<<31 - 1},
		{0, 1<<31 + 1, false, 1<<31 + 1},
		{1 << 31, 0, true, 1 << 31},
	}
	for _, tt := range tests {
		if got := tt.a.before(tt.b); got != tt.before {
			t.Errorf("%#x before %#x: %v, want %v", tt.a, tt.b, got, tt.before)
		}
		if got := tt.a.distance(tt.b); got != tt.distance {
			t.Errorf("from %#x to %#x: %d, want %d", tt.a, tt.b, got, tt.distance)
		}
	}
}

// FuzzSegment parses any datagram. Its segments are encoded again to the same bytes, and the state
// machine keeps its invariants.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendSegment(nil, &segment{conv: 7, cmd: cmdPush, data: []byte("data")}))
	ack := appendSegment(nil, &segment{conv: 7, cmd: cmdAck, sn: 1, una: 2})
	f.Add(appendSegment(ack, &segment{conv: 7, cmd: cmdWins, sn: controlMagic,
		ts: controlVersion, data: []byte{ctlFin, 4, 9, 0, 0, 0}}))
	f.Add(appendSegment(nil, &segment{conv: 7, cmd: cmdPush, sn: 1<<32 - 1, una: 1 << 31,
		wnd: 65535, ts: 5, frg: 255}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var made []byte
		var s segment
		rest, status := parseSegment(b, &s)
		for ; status == parseOK; rest, status = parseSegment(rest, &s) {
			if len(s.data) > len(b) || s.cmd < cmdPush || s.cmd > cmdWins {
				t.Fatalf("parsed %+v of %x", s, b)
			}
			made = appendSegment(made, &s)
			if len(made)+len(rest) != len(b) {
				t.Fatalf("%d bytes taken and %d left of %d", len(made), len(rest), len(b))
			}
		}
		if !bytes.HasPrefix(b, made) {
			t.Fatalf("%x was read as %x", b, made)
		}
		segmentFeed(t, b)
	})
}

// segmentFeed inputs a datagram to a session's state machine with data in flight, and checks the
// machine's invariants.
func segmentFeed(t *testing.T, b []byte) {
	var c core
	c.init(7, 1000)
	c.ctl.incarnation, c.ctl.peer = 1, 2
	c.ctl.peerFlags = helloRanges
	c.setMode(modeStream, true)
	defer func() {
		c.releaseSending()
		c.releaseReceived()
		c.releaseIdle()
	}()
	c.send(make([]byte, 5*c.mss))
	out := packetWriter{arena: make([]byte, 1<<16), maxPackets: 16}
	out.reset(0, 0, c.mtu)
	c.flush(millis(1000).instant(), &out)
	for i := range millis(3) {
		c.input(inputAt(1000+i), b, i != 1)
		una, nxt, end := c.sendUna, c.sendNxt, c.sendEnd
		switch {
		case nxt.before(una) || end.before(nxt) || una.distance(end) > 5:
			t.Fatalf("sending: una %d, next %d, end %d", una, nxt, end)
		case c.rcvNxt.before(c.readNxt) || c.readable()+c.outOfOrder > 2*c.rcvWnd:
			t.Fatalf("receiving: read %d, next %d, beyond %d", c.readNxt, c.rcvNxt, c.outOfOrder)
		}
		out.reset(0, 0, c.mtu)
		c.flush((1000 + i).instant(), &out)
		for _, p := range out.packets {
			if p.end-p.start > c.mtu {
				t.Fatalf("a packet of %d bytes", p.end-p.start)
			}
		}
		for size := c.peekSize(); size >= 0; size = c.peekSize() {
			c.recv(make([]byte, size))
		}
	}
}
