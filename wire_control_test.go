// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/hex"
	"reflect"
	"testing"
)

// controlAll returns every message at once.
func controlAll() controlSet {
	c := controlSet{
		incarnation: 0x0807060504030201, heard: 0x100f0e0d0c0b0a09, flags: 0x14131211,
		final:      0x18171615,
		finalAcked: 0x1c1b1a19, resetCode: 0x1e1d, resetFor: 0x262524232221201f,
		largest: 0x3837, echo: 0x403f3e3d3c3b3a39,
		ping: 0x2e2d2c2b2a292827, pong: 0x363534333231302f,
	}
	for kind := ctlHello; kind <= ctlPong; kind++ {
		c.has[kind] = true
	}
	return c
}

// Each message is encoded as its rule defines.
func TestControlLayout(t *testing.T) {
	c := controlAll()
	const want = "0116" + "0102030405060708" + "090a0b0c0d0e0f10" + "11121314" + "3738" +
		"0204" + "15161718" +
		"0304" + "191a1b1c" +
		"0412" + "1d1e" + "1f20212223242526" + "393a3b3c3d3e3f40" +
		"0508" + "2728292a2b2c2d2e" +
		"0608" + "2f30313233343536"
	got := appendControl(nil, &c)
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
	if len(got) != maxControl {
		t.Errorf("all messages take %d bytes, maxControl is %d", len(got), maxControl)
	}
	if n := segmentHeaderSize + 2 + helloLen; n != helloSegment {
		t.Errorf("a HELLO takes %d bytes, helloSegment is %d", n, helloSegment)
	}
}

func TestControlRoundTrip(t *testing.T) {
	all := controlAll()
	for mask := range 1 << ctlPong {
		var c controlSet
		for kind := ctlHello; kind <= ctlPong; kind++ {
			if mask>>(kind-1)&1 == 0 {
				continue
			}
			c.has[kind] = true
			switch kind {
			case ctlHello:
				c.incarnation, c.heard = all.incarnation, all.heard
				c.flags, c.largest = all.flags, all.largest
			case ctlFin:
				c.final = all.final
			case ctlFinAck:
				c.finalAcked = all.finalAcked
			case ctlReset:
				c.resetCode, c.resetFor, c.echo = all.resetCode, all.resetFor, all.echo
			case ctlPing:
				c.ping = all.ping
			case ctlPong:
				c.pong = all.pong
			}
		}
		if got, ok := parseControl(appendControl(nil, &c)); !ok || got != c {
			t.Errorf("messages %06b: got %+v, %v; want %+v", mask, got, ok, c)
		}
		if c.empty() != (mask == 0) {
			t.Errorf("messages %06b: empty is %v", mask, c.empty())
		}
	}
}

func TestParseControl(t *testing.T) {
	fin := controlSet{has: [ctlPong + 1]bool{ctlFin: true}, final: 9}
	hello := controlSet{has: [ctlPong + 1]bool{ctlHello: true}, incarnation: 5, heard: 6, flags: 3}
	reset := controlSet{has: [ctlPong + 1]bool{ctlReset: true}, resetCode: 2, resetFor: 5}
	tests := []struct {
		name string
		in   string
		want controlSet
		ok   bool
	}{
		{"nothing", "", controlSet{}, true},
		{"an unknown type before", "0700" + "020409000000", fin, true},
		{"an unknown type behind", "020409000000" + "ff02aabb", fin, true},
		{"type 0", "0001aa" + "020409000000", fin, true},
		{"a longer value", "020609000000aabb", fin, true},
		{"a shorter value is skipped", "020309000000"[:10], controlSet{}, true},
		{"the last of two counts", "020401000000" + "020409000000", fin, true},
		{"a HELLO of the first version",
			"0114" + "0500000000000000" + "0600000000000000" + "03000000", hello, true},
		{"a HELLO cut within what was added",
			"0115" + "0500000000000000" + "0600000000000000" + "03000000" + "aa", hello, true},
		{"a HELLO shorter than the first version",
			"0113" + "0500000000000000" + "0600000000000000" + "030000", controlSet{}, true},
		{"a RESET of the first version", "040a" + "0200" + "0500000000000000", reset, true},
		{"a RESET cut within what was added",
			"0411" + "0200" + "0500000000000000" + "aaaaaaaaaaaaaa", reset, true},
		{"a long RESET, then a short one", "0412" + "0100" + "0600000000000000" +
			"0700000000000000" + "040a" + "0200" + "0500000000000000", reset, true},
		{"a type without a length", "02", controlSet{}, false},
		{"a length beyond the end", "020509000000", controlSet{}, false},
		{"a lie behind a truth", "020409000000" + "03ff", controlSet{}, false},
	}
	for _, tt := range tests {
		b, err := hex.DecodeString(tt.in)
		if err != nil {
			t.Fatal(tt.name, err)
		}
		if got, ok := parseControl(b); ok != tt.ok || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestIsControl(t *testing.T) {
	data := []byte{ctlPing, 0}
	tests := []struct {
		name string
		s    segment
		want bool
	}{
		{"control", segment{cmd: cmdWins, sn: controlMagic, ts: controlVersion, data: data}, true},
		{"a plain window update", segment{cmd: cmdWins, ts: controlVersion}, false},
		{"without data", segment{cmd: cmdWins, sn: controlMagic, ts: controlVersion}, false},
		{"another version", segment{cmd: cmdWins, sn: controlMagic, ts: 2, data: data}, false},
		{"another number",
			segment{cmd: cmdWins, sn: controlMagic + 1, ts: controlVersion, data: data}, false},
		{"another command",
			segment{cmd: cmdPush, sn: controlMagic, ts: controlVersion, data: data}, false},
	}
	for _, tt := range tests {
		if got := isControl(&tt.s); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestFindControl(t *testing.T) {
	hello := controlSet{has: [ctlPong + 1]bool{ctlHello: true}, incarnation: 5}
	control := segment{cmd: cmdWins, sn: controlMagic, ts: controlVersion,
		data: appendControl(nil, &hello)}
	push := segment{cmd: cmdPush, data: []byte("data")}
	join := func(all ...segment) (b []byte) {
		for i := range all {
			b = appendSegment(b, &all[i])
		}
		return b
	}
	ranges := control
	ranges.data = appendAckRanges(nil, 1, 2, []snRange{{3, 4}}, ackRangesLargest)
	lie := control
	lie.data = []byte{ctlHello, 255}
	tests := []struct {
		name string
		in   []byte
		want controlSet
	}{
		{"nothing", nil, controlSet{}},
		{"data alone", join(push), controlSet{}},
		{"behind data", join(push, push, control), hello},
		{"before data", join(control, push), hello},
		{"behind a segment that is cut off",
			join(push, control)[:segmentHeaderSize+3], controlSet{}},
		{"before an ACKR", join(push, control, ranges), hello},
		{"behind an ACKR", join(push, ranges, control), hello},
		{"with a length that lies", join(push, lie), controlSet{}},
	}
	for _, tt := range tests {
		if got := findControl(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// FuzzControl parses any control messages. What is read is encoded again to the same bytes, and a
// session accepts it without harm.
func FuzzControl(f *testing.F) {
	all := controlAll()
	f.Add([]byte{})
	f.Add(appendControl(nil, &all))
	f.Add([]byte{7, 3, 1, 2, 3, ctlFin, 4, 0, 0, 0, 0})
	f.Add(appendAckRanges(nil, 1000, 1, []snRange{{4, 5}, {2, 3}}, ackRangesLargest))
	f.Add(append([]byte{ctlReset, 18, 5, 0}, make([]byte, 16)...))
	f.Add(append([]byte{ctlHello, 20}, make([]byte, 20)...))
	f.Add([]byte{ctlReset, 10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := parseControl(b)
		if !ok && c != (controlSet{}) {
			t.Fatalf("%x is invalid, and was parsed as %+v", b, c)
		}
		if again, ok := parseControl(appendControl(nil, &c)); !ok || again != c {
			t.Fatalf("%+v became %+v", c, again)
		}
		if len(b) > 1300 {
			return
		}
		for una := range seqNum(3) {
			segmentFeed(t, appendSegment(nil, &segment{conv: 7, cmd: cmdWins, sn: controlMagic,
				ts: controlVersion, una: una, data: b}))
		}
	})
}
