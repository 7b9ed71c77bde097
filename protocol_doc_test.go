// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"regexp"
	"strings"
	"testing"
)

// documentedBytes returns the examples of docs/protocol.md by name. They are blocks of "```hex
// NAME" whose lines begin with bytes, up to two spaces or the end of the line.
func documentedBytes(t *testing.T) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	// A checkout on Windows may have CRLF.
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	examples := map[string][]byte{}
	block := regexp.MustCompile("(?s)\n```hex ([a-z0-9-]+)\n(.*?)\n```")
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		var b []byte
		for _, line := range strings.Split(m[2], "\n") {
			column, _, _ := strings.Cut(line, "  ")
			bytes, err := hex.DecodeString(strings.ReplaceAll(column, " ", ""))
			if err != nil {
				t.Errorf("%s: %q: %v", m[1], line, err)
			}
			b = append(b, bytes...)
		}
		if examples[m[1]] != nil {
			t.Errorf("two examples are called %s", m[1])
		}
		examples[m[1]] = b
	}
	return examples
}

// examplePush is the segment of most examples.
var examplePush = segment{conv: 0x11223344, cmd: cmdPush, wnd: 128, ts: 1000, data: []byte("hello")}

// exampleBytes returns the bytes 0, 1, 2, ... of the example's keys and nonces.
func exampleBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// exampleFEC encodes the example's segment and a shorter one as a group of two with one parity
// packet of that format.
func exampleFEC(t *testing.T, format fecFormat) (packets [][]byte) {
	t.Helper()
	e, err := newFECEncoder(2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if format == fecNamed {
		e.nameGroups()
	}
	second := examplePush
	second.sn, second.data = 1, []byte("hi")
	for _, s := range []segment{examplePush, second} {
		packet := appendSegment(make([]byte, fecHeaderSize), &s)
		ready := e.encode(packet, 1)
		packets = append(packets, packet)
		for i := range ready {
			packets = append(packets, bytes.Clone(e.parity(i)))
		}
	}
	e.release()
	return packets
}

// exampleSealed seals the example's segment with the nonce 0, 1, 2, ... and opens it with the
// sealer that a session would use.
func exampleSealed(t *testing.T, block BlockCrypt, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	payload := appendSegment(nil, &examplePush)
	s := newSealer(block)
	packet := append(exampleBytes(s.headroom()), payload...)
	packet = append(packet, make([]byte, s.tailroom())...)
	if s.aead == nil {
		binary.LittleEndian.PutUint32(packet[cryptNonceSize:], crc32.ChecksumIEEE(payload))
	}
	block.Encrypt(packet, packet)
	if opened, ok := s.open(bytes.Clone(packet)); !ok || !bytes.Equal(opened, payload) {
		t.Error("the session's own sealer does not open the packet")
	}
	return packet
}

// exampleKeys makes the keys of a session from fixed ephemeral keys, as sides A and B of the
// example session do, and seals a packet of each.
func exampleKeys(t *testing.T) map[string][]byte {
	t.Helper()
	k := kexSource(t, exampleBytes(32), suiteAESGCM)
	var a, b packetKeys
	prologue := kexPrologue(0x11223344, 0xC11E, 0x9E)
	asker, kex1, err := k.ask(prologue, 0xA1A2A3A4, bytes.NewReader(kexSequence(0x20, 32)))
	if err != nil {
		t.Fatal(err)
	}
	own := kexPeer{0xB1B2B3B4, 0x5E12, 0x9E}
	kex2, err := k.answer(prologue, kex1, own, &b, bytes.NewReader(kexSequence(0x41, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if said, err := asker.finish(kex2, &a); err != nil || said != own {
		t.Fatal(said, err)
	}
	control := func(m kexMessage, una seqNum) []byte {
		return appendSegment(nil, &segment{conv: 0x11223344, cmd: cmdWins, wnd: 128,
			ts: controlVersion, sn: controlMagic, una: una, data: m.append(nil)})
	}
	ack := segment{conv: 0x11223344, cmd: cmdAck, wnd: 128, ts: 1000, una: 1}
	return map[string][]byte{
		"kex1":           control(kexMessage{ctlKex1, kex1}, 0),
		"kex2":           control(kexMessage{ctlKex2, kex2}, 1),
		"keyed-dialled":  cryptSeal(t, a.sealing(k), appendSegment(nil, &examplePush)),
		"keyed-accepted": cryptSeal(t, b.sealing(k), appendSegment(nil, &ack)),
	}
}

// exampleSession runs two state machines that exchange a message each and end both streams, over a
// line of 20 ms. It returns the datagrams in order.
func exampleSession(t *testing.T) (packets [][]byte) {
	t.Helper()
	link := newCoreLink(1, linkProfile{delay: 20})
	link.onPacket = func(_ int, data []byte) bool {
		packets = append(packets, data)
		return true
	}
	for i, c := range link.ends {
		c.conv = 0x11223344
		c.setMode(modeStream, true)
		c.setNoDelay(1, 10, 2, 1)
		c.setWindows(128, 128)
		c.tsOrigin = []timestamp{0, 0x10000}[i]
		c.ctl.incarnation = []uint64{0xC11E, 0x5E12}[i]
	}
	link.ends[0].send([]byte("hello"))
	buf := make([]byte, 10)
	for range 1000 {
		if !link.step() {
			return packets
		}
		for i, c := range link.ends {
			if n := c.recv(buf); n > 0 && i == 1 {
				c.send([]byte("world"))
				c.closeWrite(link.now)
			}
			if c.endOfStream() {
				c.closeWrite(link.now)
			}
		}
	}
	t.Fatal("the session does not end")
	return nil
}

// exampleCopy sends the example's segment and another one 33 ms later, and returns the datagram of
// the latter.
func exampleCopy(t *testing.T) []byte {
	t.Helper()
	c := timedCore(t, 1, 10, 2)
	c.conv = examplePush.conv
	c.setWindows(128, 128)
	c.rtt.sample(100, 100)
	c.send(examplePush.data)
	flushAll(c, 1000)
	c.send([]byte("hi"))
	var datagram []byte
	for _, s := range flushAll(c, 1033) {
		datagram = appendSegment(datagram, &s)
	}
	return datagram
}

// exampleSkip skips the messages 200, 201, 202, and 204 to 205.
func exampleSkip() []byte {
	var s skipRuns
	for sn := range seqNum(3) {
		s.add(200+sn, 1)
	}
	s.add(204, 2)
	return appendSkip(nil, 1000, 205, &s)
}

// exampleProbe is a probe of 48 bytes.
func exampleProbe() []byte {
	b := make([]byte, 48)
	putProbe(b, &segment{conv: 0x11223344, wnd: 128, una: 4}, 0x1b7e4d9c2a6f8053)
	return b
}

// exampleLastPart is the last two bytes of the example's segment.
func exampleLastPart() []byte {
	s := pushPart(0, examplePush.ts, examplePush.data, 3, 5)
	s.conv, s.wnd = examplePush.conv, examplePush.wnd
	return appendSegment(nil, &s)
}

func controlSegment(m controlSet, wnd uint16, una seqNum) []byte {
	return appendSegment(nil, &segment{
		conv: 0x11223344, cmd: cmdWins, wnd: wnd, ts: controlVersion, sn: controlMagic, una: una,
		data: appendControl(nil, &m),
	})
}

func TestExamplesOfTheProtocolDocument(t *testing.T) {
	key := exampleBytes(32)
	sealed := func(block BlockCrypt, err error) []byte { return exampleSealed(t, block, err) }
	want := map[string][]byte{
		"push": appendSegment(nil, &examplePush),
		"ack": appendSegment(nil, &segment{conv: 0x11223344, cmd: cmdAck, wnd: 128,
			ts: 1000, una: 1}),
		"copy": exampleCopy(t),
		"wask": appendSegment(nil, &segment{conv: 0x11223344, cmd: cmdWask, wnd: 128,
			ts: 1500, una: 7}),
		"wask-end": appendSegment(nil, &segment{conv: 0x11223344, cmd: cmdWask, wnd: 128,
			ts: 1500, sn: snOpensNothing, una: 7}),

		"aes-128":     sealed(NewAESBlockCrypt(key[:16])),
		"blowfish":    sealed(NewBlowfishBlockCrypt(key[:16])),
		"salsa20":     sealed(NewSalsa20BlockCrypt(key)),
		"xor":         sealed(NewSimpleXORBlockCrypt([]byte("secret"))),
		"none":        sealed(NewNoneBlockCrypt(nil)),
		"aes-128-gcm": sealed(NewAESGCMCrypt(key[:16])),

		"hello": controlSegment(controlSet{has: [ctlPong + 1]bool{ctlHello: true},
			incarnation: 0xC11E, flags: helloRanges | helloGroups | helloSkips | helloParts,
			largest: largestDatagram}, 128, 0),
		"ackr": appendSegment(nil, &segment{conv: 0x11223344, cmd: cmdWins, wnd: 128,
			ts: controlVersion, sn: controlMagic, una: 100, data: appendAckRanges(nil, 1000, 100,
				[]snRange{{403, 404}, {101, 401}}, ackRangesLargest)}),
		"skip": appendSegment(nil, &segment{conv: 0x11223344, cmd: cmdWins, wnd: 128,
			ts: controlVersion, sn: controlMagic, una: 100, data: exampleSkip()}),
		"fin-finack": controlSegment(controlSet{
			has:   [ctlPong + 1]bool{ctlFin: true, ctlFinAck: true},
			final: 9, finalAcked: 4}, 128, 4),
		"reset": controlSegment(controlSet{has: [ctlPong + 1]bool{ctlReset: true},
			resetCode: resetClosed, resetFor: 0xC11E}, 32, 5),
		"ping": controlSegment(controlSet{has: [ctlPong + 1]bool{ctlPing: true},
			ping: 0x1b7e4d9c2a6f8053}, 128, 4),
		"probe": exampleProbe(),
		"part":  exampleLastPart(),
		"reset-unknown": controlSegment(controlSet{has: [ctlPong + 1]bool{ctlReset: true},
			resetCode: resetUnknown, echo: 0x1b7e4d9c2a6f8053}, 32, 4),
	}
	for i, name := range []string{"fec-first", "fec-second", "fec-parity"} {
		want[name] = exampleFEC(t, fecImplied)[i]
	}
	report := parityReport{
		first: 1000, last: 1031, data: 29, parity: 16, recovered: 2, longest: 2,
	}
	want["rprt"] = appendSegment(nil, &segment{
		conv: 0x11223344, cmd: cmdWins, wnd: 128, ts: controlVersion, sn: controlMagic, una: 100,
		data: report.append(nil),
	})
	want["fec-named"] = exampleFEC(t, fecNamed)[2]
	oob := fecHeader{seqid: fecOOBSeqid, kind: fecTypeOOB, size: 2 + 4 + 3}.append(nil)
	want["oob"] = append(binary.LittleEndian.AppendUint32(oob, 0x11223344), "pos"...)
	for i, packet := range exampleSession(t) {
		want[fmt.Sprintf("session-%d", i+1)] = packet
	}

	for name, packet := range exampleKeys(t) {
		want[name] = packet
	}

	got := documentedBytes(t)
	for name, packet := range want {
		if !bytes.Equal(got[name], packet) {
			t.Errorf("%s: the document has\n%s, this code makes\n%s",
				name, hex.Dump(got[name]), hex.Dump(packet))
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("nothing checks the example %s", name)
	}
}

// The generator matrix of the code, computed from its description in the document.
func TestParityMatrixOfTheProtocolDocument(t *testing.T) {
	mul := func(a, b byte) (product byte) {
		for ; b > 0; b >>= 1 {
			if b&1 > 0 {
				product ^= a
			}
			carry := a & 0x80
			if a <<= 1; carry > 0 {
				a ^= 0x1D
			}
		}
		return product
	}
	inverse := func(a byte) byte {
		for b := range 256 {
			if mul(a, byte(b)) == 1 {
				return byte(b)
			}
		}
		return 0
	}
	const k = 2
	packets := exampleFEC(t, fecImplied)
	shards := [k][]byte{packets[0][fecShardOffset:], packets[1][fecShardOffset:]}
	got := make([]byte, max(len(shards[0]), len(shards[1])))
	for i, shard := range shards {
		coefficient := byte(1)
		for j := range k {
			if j != i {
				coefficient = mul(coefficient, mul(byte(k^j), inverse(byte(i^j))))
			}
		}
		for n, b := range shard {
			got[n] ^= mul(coefficient, b)
		}
	}
	if want := packets[2][fecShardOffset:]; !bytes.Equal(got, want) {
		t.Errorf("got parity %x, want %x", got, want)
	}
}

// The parity of a group that is named as the document describes it, by arithmetic of its own.
func TestNamedParityOfTheProtocolDocument(t *testing.T) {
	mul := func(a, b byte) (product byte) {
		for x := int(a); b > 0; b >>= 1 {
			if b&1 != 0 {
				product ^= byte(x)
			}
			if x <<= 1; x > 255 {
				x ^= 0x11D
			}
		}
		return product
	}
	packets := exampleFEC(t, fecNamed)
	got := make([]byte, len(packets[2])-fecGroupHeaderSize)
	for m, packet := range packets[:2] {
		c := uint64(crc32.Checksum(packet, crc32.MakeTable(crc32.Castagnoli)))
		c = (c ^ c>>16) * 0x7FEB352D % (1 << 32)
		c = (c ^ c>>15) * 0x846CA68B % (1 << 32)
		shard := binary.LittleEndian.AppendUint32(nil, uint32(c^c>>16))
		coefficient := byte(0)
		for mul(coefficient, 255^byte(m)) != 1 {
			coefficient++
		}
		for n, b := range append(shard, packet[fecShardOffset:]...) {
			got[n] ^= mul(coefficient, b)
		}
	}
	if want := packets[2][fecGroupHeaderSize:]; !bytes.Equal(got, want) {
		t.Errorf("got parity %x, want %x", got, want)
	}
}

// The first block of the CFB keystream in the document.
func TestKeystreamOfTheProtocolDocument(t *testing.T) {
	block, err := aes.NewCipher(exampleBytes(16))
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, aes.BlockSize)
	block.Encrypt(first, cfbIV[:])
	text, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("`%x`", first); !strings.Contains(string(text), want) {
		t.Errorf("the document does not have the first keystream block %s", want)
	}
}
