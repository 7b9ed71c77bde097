// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// sessionKeyPair returns the sealer of one side and what opens its packets at the other.
func sessionKeyPair(t testing.TB, suite packetSuite) (*keySource, *sealer, *packetOpener) {
	k := kexSource(t, []byte("0123456789abcdef"), suite)
	a, b := kexPair(t, k)
	return k, a.sealing(k), b.opening(k)
}

// sessionPacket seals payload.
func sessionPacket(t testing.TB, s *sealer, payload []byte) []byte {
	t.Helper()
	packet := append(make([]byte, s.headroom()), payload...)
	packet = append(packet, make([]byte, s.tailroom())...)
	if err := s.seal(packet); err != nil {
		t.Fatal(err)
	}
	return packet
}

// sessionVector was computed by another implementation of HKDF, AES and AES-GCM.
var sessionVector = struct{ psk, mask, packet string }{
	psk:  "6e7b561dab0c633ee0a3f40e7beda23906f61ec610dc063f98aea8e255f8116e",
	mask: "d77eaf02ada013ebe95380352d359444",
	packet: "8a94779fd63d62d779f45ee0dc67ea13c13a8b30" +
		"3108c586f39124cf051447d08336950a96a0c847",
}

// The derived keys and a packet have the bytes of the vector.
func TestSessionPacketVector(t *testing.T) {
	k := kexSource(t, kexSequence(0, 32), suiteAESGCM)
	if got := hex.EncodeToString(k.psk[:]); got != sessionVector.psk {
		t.Errorf("the pre-shared key of the handshake is %s", got)
	}
	pad := make([]byte, 16)
	k.mask.Encrypt(pad, pad)
	if got := hex.EncodeToString(pad); got != sessionVector.mask {
		t.Errorf("the mask key makes %s of zeros", got)
	}
	keys := &packetKeys{peerID: 0x01020304, out: [32]byte(kexSequence(100, 32))}
	keys.sent.Store(5)
	packet := sessionPacket(t, keys.sealing(k), []byte("hello, world"))
	if got := hex.EncodeToString(packet); got != sessionVector.packet {
		t.Errorf("the packet is %s", got)
	}
}

func TestSessionPackets(t *testing.T) {
	for _, suite := range []packetSuite{suiteAESGCM, suiteChaCha20, suiteAES128} {
		k, s, o := sessionKeyPair(t, suite)
		scratch := new(sessionScratch)
		for n := range 500 {
			payload := cryptRandom(byte(n), n)
			packet := sessionPacket(t, s, payload)
			if n%2 == 1 { // from elsewhere
				clear(packet)
				if err := s.sealFrom(packet, payload); err != nil {
					t.Fatal(err)
				}
			}
			id, counter, ok := k.unmask(packet, scratch)
			if !ok || id != o.keys.id {
				t.Fatalf("%d bytes: id %x, %v", n, id, ok)
			}
			again := bytes.Clone(packet)
			got, newest, ok := o.open(packet, counter, scratch)
			if !ok || !newest || !bytes.Equal(got, payload) {
				t.Fatalf("%d bytes are not opened", n)
			}
			if _, _, ok := o.open(again, counter, scratch); ok {
				t.Fatalf("%d bytes are opened twice", n)
			}
		}
		if n := s.session.keys.sent.Load(); n != 750 {
			t.Errorf("%d counters used", n)
		}
	}
}

// A packet that was changed in any bit, or is another session's, opens nowhere and changes nothing.
func TestSessionPacketsRefuse(t *testing.T) {
	k, s, o := sessionKeyPair(t, suiteAESGCM)
	scratch := new(sessionScratch)
	packet := sessionPacket(t, s, []byte("a payload of some bytes"))
	for i := range 8 * len(packet) {
		bad := bytes.Clone(packet)
		bad[i/8] ^= 1 << (i % 8)
		id, counter, _ := k.unmask(bad, scratch)
		if id != o.keys.id {
			continue // it is looked for elsewhere
		}
		if _, _, ok := o.open(bad, counter, scratch); ok {
			t.Fatalf("opened with bit %d changed", i)
		}
	}
	for n := range packet {
		if _, counter, ok := k.unmask(packet[:n], scratch); ok {
			if _, _, ok = o.open(bytes.Clone(packet[:n]), counter, scratch); ok {
				t.Fatalf("%d bytes are opened", n)
			}
		}
	}
	if o.keys.next != 0 || o.window.next != 0 {
		t.Error("a bad packet has changed the window")
	}
	_, other, _ := sessionKeyPair(t, suiteAESGCM)
	bad := sessionPacket(t, other, []byte("another session's"))
	_, counter, _ := k.unmask(bad, scratch)
	if _, _, ok := o.open(bad, counter, scratch); ok {
		t.Error("another session's packet is opened")
	}
	own := sessionPacket(t, s, []byte("reflected"))
	reflected := s.session.keys.opening(k)
	_, counter, _ = k.unmask(own, scratch)
	if _, _, ok := reflected.open(own, counter, scratch); ok {
		t.Error("a reflected packet is opened")
	}
}

// A key is not used for more packets than it is good for.
func TestSessionKeyIsUsedUp(t *testing.T) {
	k, s, o := sessionKeyPair(t, suiteAESGCM)
	s.session.keys.sent.Store(sessionKeyMost - 1)
	packet := sessionPacket(t, s, []byte("the last one"))
	_, counter, _ := k.unmask(packet, new(sessionScratch))
	if _, _, ok := o.open(packet, counter, new(sessionScratch)); !ok {
		t.Error("the last packet is not opened")
	}
	if err := s.seal(make([]byte, 100)); err == nil {
		t.Error("a packet is sealed with a key that is used up")
	}
	if _, _, ok := o.open(make([]byte, 100), sessionKeyMost, new(sessionScratch)); ok {
		t.Error("a counter beyond the bound is accepted")
	}
}

// An opener that begins again accepts nothing that may have been received before.
func TestOpenerBeginsBehindTheHighest(t *testing.T) {
	k, s, o := sessionKeyPair(t, suiteAESGCM)
	scratch := new(sessionScratch)
	late := sessionPacket(t, s, []byte("late"))
	for range 10 {
		packet := sessionPacket(t, s, []byte("in time"))
		_, counter, _ := k.unmask(packet, scratch)
		if _, _, ok := o.open(packet, counter, scratch); !ok {
			t.Fatal("not opened")
		}
	}
	o = o.keys.opening(k)
	if _, _, ok := o.open(late, 0, scratch); ok {
		t.Error("a counter below the highest is accepted")
	}
	packet := sessionPacket(t, s, []byte("new"))
	if _, newest, ok := o.open(packet, 11, scratch); !ok || !newest {
		t.Error("the next packet is not opened")
	}
}

// Packets look like noise: each bit of the headers of many packets is set in about half of them.
func TestSessionHeadersAreMasked(t *testing.T) {
	_, s, _ := sessionKeyPair(t, suiteAESGCM)
	const packets = 4000
	var set [8 * sessionHeaderSize]int
	for range packets {
		packet := sessionPacket(t, s, make([]byte, 24))
		for i := range set {
			set[i] += int(packet[i/8] >> (i % 8) & 1)
		}
	}
	for i, n := range set {
		if n < packets*2/5 || n > packets*3/5 {
			t.Errorf("bit %d is set in %d of %d packets", i, n, packets)
		}
	}
}

func TestXChaCha20Poly1305(t *testing.T) {
	key := cryptRandom(1, 32)
	block, err := NewXChaCha20Poly1305Crypt(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := newSealer(block), newSealer(NewAEADCrypt(aead))
	packet := sessionPacket(t, ours, []byte("hello"))
	if got, ok := theirs.open(packet); !ok || string(got) != "hello" {
		t.Error("NewAEADCrypt with XChaCha20-Poly1305 does not open it")
	}
	if !ours.same(theirs) || ours.keySource() == nil || theirs.keySource() != nil {
		t.Error("the two differ in more than the keys of sessions")
	}
	for _, n := range []int{0, 16, 31, 33} {
		if block, err := NewXChaCha20Poly1305Crypt(make([]byte, n)); err == nil || block != nil {
			t.Errorf("a key of %d bytes is accepted", n)
		}
	}
}

func FuzzSessionPacket(f *testing.F) {
	k, s, o := sessionKeyPair(f, suiteAESGCM)
	f.Add(sessionPacket(f, s, []byte("hello, world"))[:20])
	f.Add(make([]byte, sessionPacketLeast))
	f.Fuzz(func(t *testing.T, b []byte) {
		scratch := new(sessionScratch)
		if _, counter, ok := k.unmask(b, scratch); ok {
			if _, _, ok = o.open(b, counter, scratch); ok {
				t.Error("a forged packet is opened")
			}
		}
	})
}

// Sealing and opening allocate nothing.
func TestSessionPacketsAllocateNothing(t *testing.T) {
	k, s, o := sessionKeyPair(t, suiteAESGCM)
	scratch, packet := new(sessionScratch), make([]byte, 1400)
	rand.NewChaCha8([32]byte{}).Read(packet)
	if n := testing.AllocsPerRun(1000, func() {
		if s.seal(packet) != nil {
			t.Error("not sealed")
		}
		_, counter, _ := k.unmask(packet, scratch)
		if _, _, ok := o.open(packet, counter, scratch); !ok {
			t.Error("not opened")
		}
	}); n >= 1 {
		t.Errorf("%v allocations a packet", n)
	}
}
