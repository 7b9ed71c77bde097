// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// FuzzFECDecoder feeds a decoder packets of any content, and then a valid stream, which it must
// recover again. Each input is a list of packets: length u16, bytes.
func FuzzFECDecoder(f *testing.F) {
	for _, v := range fecVectors(f) {
		var seed []byte
		for i, p := range v.Packets {
			if i%4 != 2 {
				seed = append(binary.LittleEndian.AppendUint16(seed, uint16(len(p))), p...)
			}
		}
		f.Add(uint8(v.DataShards), uint8(v.ParityShards), true, seed)
		f.Add(uint8(3), uint8(2), false, seed)
	}
	f.Fuzz(func(t *testing.T, k, p uint8, conv bool, stream []byte) {
		d := newFECDecoder()
		d.hint(int(k), int(p))
		if conv && len(stream) >= 14 {
			d.expectConv(binary.LittleEndian.Uint32(stream[10:]))
		}
		for range 2000 {
			if len(stream) < 2 {
				break
			}
			n := min(int(binary.LittleEndian.Uint16(stream)), len(stream)-2)
			packet := bytes.Clone(stream[2 : 2+n])
			stream = stream[2+n:]
			for _, payload := range d.input(packet) {
				if len(payload) > fecMaxPacket {
					t.Fatalf("recovered %d bytes", len(payload))
				}
			}
			if got := d.memory(); got > fecMemoryLimit+fecTablesLimit {
				t.Fatalf("memory: got %d", got)
			}
		}
		d.conv = anyConv
		fecCheckServesHonestStream(t, d)
		d.release()
		if got := d.memory(); got != 0 {
			t.Fatalf("memory after release: got %d", got)
		}
	})
}

// fecCheckServesHonestStream sends a stream without losses until it is recognised, and then with
// one loss in each group.
func fecCheckServesHonestStream(t *testing.T, d *fecDecoder) {
	t.Helper()
	e, err := newFECEncoder(4, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.release()
	e.next, e.lastMillis = 600, 0
	r := rand.New(rand.NewPCG(8, 8))
	for range 2 * fecWindowLarge / 6 {
		for more := true; more; more = !e.idle() {
			for _, packet := range fecSend(e, fecRandom(r, 50), 0) {
				d.input(packet)
			}
		}
	}
	want := fecShape{4, 6}
	for g := range 10 {
		returned := 0
		for more := true; more; more = !e.idle() {
			for _, packet := range fecSend(e, fecRandom(r, 50), 0) {
				if int(fecSeqid(packet)%6) == g%4 {
					continue
				}
				returned += len(d.input(packet))
			}
		}
		if returned != 1 {
			t.Fatalf("group %d: got %d payloads, want 1; shape %v, want %v",
				g, returned, d.shape, want)
		}
	}
}

// FuzzFECHeader checks that a header that parses is the one that was sent.
func FuzzFECHeader(f *testing.F) {
	f.Add(fecHeader{seqid: 7, kind: fecTypeData, size: 2}.append(nil))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, packet []byte) {
		h, ok := parseFECHeader(packet)
		if ok != (len(packet) >= fecHeaderSize) {
			t.Fatalf("%d bytes: got %v", len(packet), ok)
		}
		if ok && !bytes.Equal(h.append(nil), packet[:fecHeaderSize]) {
			t.Fatalf("%+v is not %x", h, packet[:fecHeaderSize])
		}
		if payload, ok := fecDataPayload(packet); ok && len(payload) != int(h.size)-fecSizeBytes {
			t.Fatalf("payload of %d bytes with size %d", len(payload), h.size)
		}
	})
}
