// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// cryptVector is one packet that a legacy peer sealed.
type cryptVector struct {
	Cipher, Key, Nonce, Packet, Payload string
}

func (v cryptVector) bytes(t testing.TB, field string) []byte {
	t.Helper()
	b, err := hex.DecodeString(field)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func cryptVectors(t testing.TB) []cryptVector {
	t.Helper()
	data, err := os.ReadFile("testdata/crypt.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []cryptVector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 90 {
		t.Fatalf("got %d vectors, want at least 90", len(vectors))
	}
	return vectors
}

func TestSealerMatchesRecordedPackets(t *testing.T) {
	for i, v := range cryptVectors(t) {
		key, packet, payload := v.bytes(t, v.Key), v.bytes(t, v.Packet), v.bytes(t, v.Payload)
		var block BlockCrypt
		var err error
		name := v.Cipher
		for _, bits := range []string{"-128", "-192", "-256"} {
			name = strings.TrimSuffix(name, bits)
		}
		for _, kind := range cryptKinds() {
			if kind.name == name {
				block, err = kind.make(key)
			}
		}
		if err != nil || block == nil {
			t.Fatalf("vector %d: no cipher %s (%v)", i, v.Cipher, err)
		}
		s := newSealer(block)
		SetEntropy(bytes.NewReader(v.bytes(t, v.Nonce)))
		if got := cryptSeal(t, s, payload); !bytes.Equal(got, packet) {
			t.Errorf("vector %d %s: sealed packet\n got %x\nwant %x", i, v.Cipher, got, packet)
		}
		SetEntropy(nil)
		if got, ok := s.open(packet); !ok || !bytes.Equal(got, payload) {
			t.Errorf("vector %d %s: opened %v\n got %x\nwant %x", i, v.Cipher, ok, got, payload)
		}
	}
}

func TestSealerRoundTripStaysInThePacket(t *testing.T) {
	none := func([]byte) (BlockCrypt, error) { return nil, nil }
	for _, kind := range append(cryptKinds(), cryptKind{name: "nil", make: none, good: []int{0}}) {
		s := newSealer(cryptMust(t, kind))
		for _, n := range []int{0, 1, 7, 8, 9, 24, 100, 507, 1379, 1380, 1516, 3000, 9000} {
			size := s.headroom() + n + s.tailroom()
			// The bytes around a packet belong to other packets.
			arena := bytes.Repeat([]byte{0xee}, size+64)
			packet, payload := arena[32:32+size], cryptRandom(2, n)
			copy(packet[s.headroom():], payload)
			if err := s.seal(packet); err != nil {
				t.Fatalf("%s, %d bytes: %v", kind.name, n, err)
			}
			if kind.name != "nil" && kind.name != "none" && n > 8 &&
				bytes.Contains(packet, payload) {
				t.Errorf("%s, %d bytes: the payload is readable", kind.name, n)
			}
			got, ok := s.open(packet)
			if !ok || !bytes.Equal(got, payload) {
				t.Errorf("%s, %d bytes: round trip failed", kind.name, n)
			}
			if n > 0 && &got[0] != &packet[s.headroom()] && kind.name != "aes-gcm-own-nonce" {
				t.Errorf("%s: the payload was moved", kind.name)
			}
			for i, b := range append(arena[:32:32], arena[32+size:]...) {
				if b != 0xee {
					t.Fatalf("%s, %d bytes: byte %d beside the packet was written", kind.name, n, i)
				}
			}
		}
	}
}

func TestNoCipherMeansNoHeader(t *testing.T) {
	for name, block := range map[string]BlockCrypt{
		"nil": nil, "nil AEAD": NewAEADCrypt(nil), "typed nil": (*aeadCrypt)(nil),
	} {
		s := newSealer(block)
		if s.headroom() != 0 || s.tailroom() != 0 || s.authenticates() {
			t.Errorf("%s: got room %d, %d, authenticates %v",
				name, s.headroom(), s.tailroom(), s.authenticates())
		}
	}
	if NewAEADCrypt(nil) != nil {
		t.Error("NewAEADCrypt(nil) is not nil")
	}
}

func TestSealerRoomAndAuthentication(t *testing.T) {
	type room struct {
		head, tail int
		auth       bool
	}
	special := map[string]room{
		"aes-gcm": {12, 16, true}, "chacha20-poly1305": {12, 16, true},
		"xchacha20-poly1305": {24, 16, true}, "aes-gcm-own-nonce": {0, 28, true},
		"user's AEAD elsewhere": {12, 16, true},
	}
	for _, kind := range cryptKinds() {
		want, ok := special[kind.name]
		if !ok {
			want = room{20, 0, false}
		}
		s := newSealer(cryptMust(t, kind))
		if got := (room{s.headroom(), s.tailroom(), s.authenticates()}); got != want {
			t.Errorf("%s: got %+v, want %+v", kind.name, got, want)
		}
		for n := range s.headroom() + s.tailroom() {
			if err := s.seal(make([]byte, n)); err == nil {
				t.Errorf("%s: sealed %d bytes without room for the header", kind.name, n)
			}
		}
	}
}

func TestShortAndForeignPacketsAreDropped(t *testing.T) {
	for _, kind := range cryptKinds() {
		s := newSealer(cryptMust(t, kind))
		for n := range 1600 {
			if n > 100 && n%97 != 0 {
				continue
			}
			if payload, ok := s.open(cryptRandom(3, n)); ok {
				t.Errorf("%s: %d random bytes opened to %d", kind.name, n, len(payload))
			}
		}
		sealed := cryptSeal(t, s, cryptRandom(4, 60))
		for n := range sealed {
			if payload, ok := s.open(bytes.Clone(sealed[:n])); ok {
				t.Errorf("%s: the first %d of %d bytes opened to %d",
					kind.name, n, len(sealed), len(payload))
			}
		}
		if _, ok := s.open(nil); ok {
			t.Errorf("%s: nothing opened", kind.name)
		}
	}
}

func TestEverySingleBitFlipOfAnAEADPacketIsRejected(t *testing.T) {
	for _, kind := range cryptKinds() {
		s := newSealer(cryptMust(t, kind))
		if !s.authenticates() {
			continue
		}
		for _, n := range []int{0, 24, 157} {
			sealed := cryptSeal(t, s, cryptRandom(5, n))
			for bit := range len(sealed) * 8 {
				packet := bytes.Clone(sealed)
				packet[bit/8] ^= 1 << (bit % 8)
				if _, ok := s.open(packet); ok {
					t.Fatalf("%s, %d bytes: accepted with bit %d flipped", kind.name, n, bit)
				}
			}
			if _, ok := s.open(sealed); !ok {
				t.Fatalf("%s: the unchanged packet was rejected", kind.name)
			}
		}
	}
}

func TestDamagedPayloadIsDetectedByTheChecksum(t *testing.T) {
	for _, kind := range cryptKinds() {
		s := newSealer(cryptMust(t, kind))
		sealed := cryptSeal(t, s, cryptRandom(6, 100))
		for i := s.headroom(); i < len(sealed); i++ {
			packet := bytes.Clone(sealed)
			packet[i] ^= 0x10
			if _, ok := s.open(packet); ok {
				t.Errorf("%s: damage at byte %d went unnoticed", kind.name, i)
			}
		}
	}
}

func TestWrongKeyOpensNothing(t *testing.T) {
	for _, kind := range cryptKinds() {
		if kind.name == "none" || kind.name == "user's own" {
			continue // have no key
		}
		other, err := kind.make(cryptRandom(99, kind.good[0]))
		if err != nil {
			t.Fatal(err)
		}
		sealed := cryptSeal(t, newSealer(cryptMust(t, kind)), cryptRandom(7, 100))
		if _, ok := newSealer(other).open(sealed); ok {
			t.Errorf("%s: opened with another key", kind.name)
		}
	}
}

// longAEAD breaks the contract of cipher.AEAD.
type longAEAD struct{ elsewhereAEAD }

func (longAEAD) Overhead() int { return 15 }

func TestAEADWithAWrongOverheadIsNotSent(t *testing.T) {
	aead, err := newElsewhereAEAD(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	s := newSealer(NewAEADCrypt(longAEAD{aead.(elsewhereAEAD)}))
	if err := s.seal(make([]byte, 100)); !errors.Is(err, errAEADLength) {
		t.Errorf("got %v, want %v", err, errAEADLength)
	}
}

func TestSealFailsWithTheNonceSource(t *testing.T) {
	defer SetEntropy(nil)
	broken := errors.New("no entropy")
	for _, kind := range cryptKinds() {
		s := newSealer(cryptMust(t, kind))
		if s.headroom() == 0 {
			continue
		}
		packet := make([]byte, 200)
		SetEntropy(cryptErrReader{broken})
		if err := s.seal(packet); !errors.Is(err, broken) {
			t.Errorf("%s: got %v, want %v", kind.name, err, broken)
		}
		if s.sealPair(packet, make([]byte, 200)) {
			t.Errorf("%s: sealed a pair without nonces", kind.name)
		}
		// Fewer bytes than a nonce are no nonce.
		SetEntropy(io.LimitReader(cryptErrReader{}, int64(s.headroom()/2)))
		if err := s.seal(packet); err == nil {
			t.Errorf("%s: sealed with half a nonce", kind.name)
		}
	}
	if err := newSealer(nil).seal(make([]byte, 10)); err != nil {
		t.Errorf("no cipher needs no nonce, got %v", err)
	}
}

// cryptErrReader returns its error, or zeros if it has none.
type cryptErrReader struct{ err error }

func (r cryptErrReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	clear(p)
	return len(p), nil
}

func TestOpenAndSealDoNotAllocate(t *testing.T) {
	for _, kind := range cryptKinds() {
		switch kind.name {
		case "aes-gcm-own-nonce", "user's AEAD elsewhere":
			continue // what these do is their own affair
		}
		s := newSealer(cryptMust(t, kind))
		packet := cryptSeal(t, s, cryptRandom(13, 1380))
		// Where ChaCha20-Poly1305 has no assembly it allocates itself, as AES-GCM may without AES
		// instructions. The sealer must not add to it.
		var own float64
		if s.aead != nil {
			nonce, body := packet[:s.head], packet[s.head:]
			own = testing.AllocsPerRun(200, func() { s.aead.aead.Open(body[:0], nonce, body, nil) })
		}
		opened := func(packet []byte) {
			if _, ok := s.open(packet); ok {
				t.Errorf("%s: opened", kind.name)
			}
		}
		for _, run := range []struct {
			name string
			f    func()
			want float64
		}{
			{"open of what is too short",
				func() { opened(packet[:s.headroom()+s.tailroom()-1]) }, 0},
			{"open of what does not verify", func() { packet[40]++; opened(packet) }, own},
			{"seal", func() { s.seal(packet) }, own},
		} {
			if got := testing.AllocsPerRun(200, run.f); got > run.want {
				t.Errorf("%s: %s: got %v allocations, want %v", kind.name, run.name, got, run.want)
			}
		}
	}
}
