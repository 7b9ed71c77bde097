// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"testing"
)

// fuzzSealers returns a sealer of every kind, including the one without a cipher.
func fuzzSealers(f *testing.F) []*sealer {
	sealers := []*sealer{newSealer(nil)}
	for _, kind := range cryptKinds() {
		sealers = append(sealers, newSealer(cryptMust(f, kind)))
	}
	return sealers
}

// FuzzOpen offers anything that an attacker may send to every kind of sealer.
func FuzzOpen(f *testing.F) {
	sealers := fuzzSealers(f)
	for _, v := range cryptVectors(f) {
		f.Add(v.bytes(f, v.Packet))
	}
	for n := range 40 {
		f.Add(make([]byte, n))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for i, s := range sealers {
			// Space behind the packet shows whether open stays inside it.
			arena := append(bytes.Clone(data), 0xee, 0xee, 0xee, 0xee)
			packet := arena[:len(data)]
			payload, ok := s.open(packet)
			if !bytes.HasSuffix(arena, []byte{0xee, 0xee, 0xee, 0xee}) {
				t.Fatalf("sealer %d wrote behind the packet", i)
			}
			if !ok {
				continue
			}
			if s.authenticates() {
				t.Fatalf("sealer %d: %d bytes were forged", i, len(data))
			}
			if want := len(data) - s.headroom() - s.tailroom(); len(payload) != want {
				t.Fatalf("sealer %d: got a payload of %d bytes, want %d", i, len(payload), want)
			}
			if len(payload) > 0 && &payload[0] != &packet[s.headroom()] {
				t.Fatalf("sealer %d: the payload is no part of the packet", i)
			}
		}
	})
}

// FuzzSealOpen seals and opens any payload, and damages it in between.
func FuzzSealOpen(f *testing.F) {
	sealers := fuzzSealers(f)
	f.Add([]byte("hello"), uint(77))
	f.Add([]byte{}, uint(0))
	f.Add(make([]byte, 1373), uint(11000))
	f.Fuzz(func(t *testing.T, payload []byte, bit uint) {
		for i, s := range sealers {
			packet := cryptSeal(t, s, payload)
			damaged := bytes.Clone(packet)
			got, ok := s.open(packet)
			if !ok || !bytes.Equal(got, payload) {
				t.Fatalf("sealer %d: got %x, %v, want %x", i, got, ok, payload)
			}
			if !s.authenticates() {
				continue
			}
			bit %= uint(len(damaged)) * 8
			damaged[bit/8] ^= 1 << (bit % 8)
			if _, ok := s.open(damaged); ok {
				t.Fatalf("sealer %d: accepted with bit %d flipped", i, bit)
			}
		}
	})
}
