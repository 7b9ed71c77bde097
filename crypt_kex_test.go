// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// kexVectors are vectors of github.com/flynn/noise for Noise_NNpsk0_25519_AESGCM_SHA256.
var kexVectors = []struct {
	prologue, payload1, payload2, message1, message2, cipher3, cipher4 string
}{
	{
		"", "", "",
		"358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254" +
			"4833316e6c21d899aec6c5f0c6e85e13",
		"64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466" +
			"d3ec4419885d86e6d7310fb1d2263afd",
		"6a7b199c69a64cc2ea3c556cf17489fd2ae452d3f3c2a0871cebd327fc31c6",
		"e58d43e0c69d8c15df523586b2c58ca40cb0472b5b3775f1cca807fee28a71",
	},
	{
		"6e6f74736563726574", "746573745f6d73675f30", "746573745f6d73675f31",
		"358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254" +
			"d2f8054fcaf80f347006e0fc25590a31fd33c4626fe59283ea40",
		"64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466" +
			"e21a3177614fce09f014af55e853ed6b88b0e4628e071b23e905",
		"6a7b199c69a64cc2ea3c556cf17489fd2ae452d3f3c2a0871cebd327fc31c6",
		"e58d43e0c69d8c15df523586b2c58ca40cb0472b5b3775f1cca807fee28a71",
	},
}

func kexHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kexSequence returns the bytes from first on.
func kexSequence(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func TestHandshakeVectors(t *testing.T) {
	psk := [32]byte(kexHex(t, "2176657279736563726574766572797365637265747665727973656372657421"))
	for _, v := range kexVectors {
		prologue := kexHex(t, v.prologue)
		a, err := newKex(&psk, prologue, true, bytes.NewReader(kexSequence(0x20, 32)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := newKex(&psk, prologue, false, bytes.NewReader(kexSequence(0x41, 32)))
		if err != nil {
			t.Fatal(err)
		}
		message1, _, _, err := a.WriteMessage(nil, kexHex(t, v.payload1))
		if err != nil || hex.EncodeToString(message1) != v.message1 {
			t.Fatalf("message 1 is %x, %v", message1, err)
		}
		if _, _, _, err = b.ReadMessage(nil, message1); err != nil {
			t.Fatal(err)
		}
		message2, in, out, err := b.WriteMessage(nil, kexHex(t, v.payload2))
		if err != nil || hex.EncodeToString(message2) != v.message2 {
			t.Fatalf("message 2 is %x, %v", message2, err)
		}
		_, out2, in2, err := a.ReadMessage(nil, message2)
		if err != nil || in.UnsafeKey() != out2.UnsafeKey() || out.UnsafeKey() != in2.UnsafeKey() {
			t.Fatalf("the keys of the two sides differ, %v", err)
		}
		for _, c := range []struct{ want, text string }{
			{v.cipher3, "79656c6c6f777375626d6172696e65"},
			{v.cipher4, "7375626d6172696e6579656c6c6f77"},
		} {
			state := out2
			if c.want == v.cipher4 {
				state = out
			}
			got, err := state.Encrypt(nil, nil, kexHex(t, c.text))
			if err != nil || hex.EncodeToString(got) != c.want {
				t.Errorf("ciphertext %x, %v, want %s", got, err, c.want)
			}
		}
	}
}

// kexSource returns what session keys are made from.
func kexSource(t testing.TB, key []byte, suite packetSuite) *keySource {
	t.Helper()
	k, err := newKeySource(key, suite)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// kexPair makes the keys of both sides of a session.
func kexPair(t testing.TB, k *keySource) (dialled, accepted *packetKeys) {
	t.Helper()
	dialled, accepted = new(packetKeys), new(packetKeys)
	prologue := kexPrologue(7, 8, 9)
	asker, message1, err := k.ask(prologue, 0x11111111, nil)
	if err != nil || len(message1) != kexMessage1Size {
		t.Fatal(len(message1), err)
	}
	message2, err := k.answer(prologue, message1, kexPeer{0x22222222, 5, 6}, accepted, nil)
	if err != nil || len(message2) != kexMessage2Size {
		t.Fatal(len(message2), err)
	}
	peer, err := asker.finish(message2, dialled)
	if err != nil || peer != (kexPeer{0x22222222, 5, 6}) {
		t.Fatal(peer, err)
	}
	return dialled, accepted
}

func TestHandshakeGivesBothSidesTheSameKeys(t *testing.T) {
	for _, suite := range []packetSuite{suiteAESGCM, suiteChaCha20, suiteAES128} {
		a, b := kexPair(t, kexSource(t, []byte("key"), suite))
		if a.out != b.in || a.in != b.out || a.out == a.in {
			t.Error("the keys do not fit each other")
		}
		if a.id != b.peerID || a.peerID != b.id || a.id == b.id {
			t.Errorf("ids %x %x and %x %x", a.id, a.peerID, b.id, b.peerID)
		}
	}
}

// A message for another session, made with another pre-shared key, or changed in any bit, gives no
// keys. KEX2 may still come afterwards.
func TestHandshakeRefuses(t *testing.T) {
	k, other := kexSource(t, []byte("key"), suiteAESGCM), kexSource(t, []byte("Key"), suiteAESGCM)
	prologue := kexPrologue(7, 8, 9)
	asker, message1, err := k.ask(prologue, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	own, keys := kexPeer{id: 2}, new(packetKeys)
	for _, p := range [][]byte{
		kexPrologue(6, 8, 9), kexPrologue(7, 7, 9), kexPrologue(7, 8, 8), nil,
	} {
		if _, err := k.answer(p, message1, own, keys, nil); err == nil {
			t.Errorf("KEX1 is answered with the prologue %x", p)
		}
	}
	if _, err := other.answer(prologue, message1, own, keys, nil); err == nil {
		t.Error("KEX1 is answered with another pre-shared key")
	}
	message2, err := k.answer(prologue, message1, own, new(packetKeys), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * max(len(message1), len(message2)) {
		if i < 8*len(message1) {
			bad := bytes.Clone(message1)
			bad[i/8] ^= 1 << (i % 8)
			if _, err := k.answer(prologue, bad, own, keys, nil); err == nil {
				t.Errorf("KEX1 is answered with bit %d changed", i)
			}
		}
		if i < 8*len(message2) && i != 8*kexPublicSize+7 { // Curve25519 ignores the highest bit
			bad := bytes.Clone(message2)
			bad[i/8] ^= 1 << (i % 8)
			if _, err := asker.finish(bad, keys); err == nil {
				t.Errorf("KEX2 gives keys with bit %d changed", i)
			}
		}
	}
	for n := range message2 {
		if _, err := asker.finish(message2[:n], keys); err == nil {
			t.Errorf("KEX2 gives keys with %d bytes", n)
		}
	}
	if keys.id != 0 || keys.out != [32]byte{} {
		t.Error("a message that was refused has set keys")
	}
	if _, err := asker.finish(message2, keys); err != nil || keys.id != 1 || keys.peerID != 2 {
		t.Errorf("KEX2 behind bad ones: %v", err)
	}
}
