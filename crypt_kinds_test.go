// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// cryptKind is one kind of packet protection, with the key lengths that it accepts.
type cryptKind struct {
	name string
	make func(key []byte) (BlockCrypt, error)
	good []int
	bad  []int  // lengths that are refused
	says string // the accepted lengths in the error
}

func cryptKinds() []cryptKind {
	return []cryptKind{
		{"aes", NewAESBlockCrypt, []int{16, 24, 32}, []int{0, 15, 17, 33, 64}, "16, 24 or 32"},
		{"sm4", NewSM4BlockCrypt, []int{16}, []int{0, 15, 17, 32}, "16"},
		{"tea", NewTEABlockCrypt, []int{16}, []int{0, 15, 17, 32}, "16"},
		{"xtea", NewXTEABlockCrypt, []int{16}, []int{0, 15, 17, 32}, "16"},
		{"blowfish", NewBlowfishBlockCrypt, []int{1, 32, 56}, []int{0, 57}, "1 to 56"},
		{"twofish", NewTwofishBlockCrypt, []int{16, 24, 32}, []int{0, 8, 17, 33}, "16, 24 or 32"},
		{"cast5", NewCast5BlockCrypt, []int{16}, []int{0, 5, 15, 17}, "16"},
		{"3des", NewTripleDESBlockCrypt, []int{24}, []int{0, 8, 16, 23, 25}, "24"},
		{"salsa20", NewSalsa20BlockCrypt, []int{32, 0, 16, 31, 33, 100}, nil, ""},
		{"xor", NewSimpleXORBlockCrypt, []int{32, 0, 1, 100}, nil, ""},
		{"none", NewNoneBlockCrypt, []int{32, 0}, nil, ""},
		{"aes-gcm", NewAESGCMCrypt, []int{16, 24, 32}, []int{0, 15, 17, 33}, "16, 24 or 32"},
		{"chacha20-poly1305", cryptFromAEAD(chacha20poly1305.New), []int{32}, nil, ""},
		{"xchacha20-poly1305", cryptFromAEAD(chacha20poly1305.NewX), []int{32}, nil, ""},
		{"aes-gcm-own-nonce", cryptFromAEAD(newOwnNonceGCM), []int{16}, nil, ""},
		{"user's own", func([]byte) (BlockCrypt, error) { return userCrypt{}, nil },
			[]int{1}, nil, ""},
		{"user's AEAD elsewhere", cryptFromAEAD(newElsewhereAEAD), []int{16}, nil, ""},
	}
}

func cryptFromAEAD(newAEAD func(key []byte) (cipher.AEAD, error)) func([]byte) (BlockCrypt, error) {
	return func(key []byte) (BlockCrypt, error) {
		aead, err := newAEAD(key)
		return NewAEADCrypt(aead), err
	}
}

// newOwnNonceGCM returns an AEAD that generates its nonces itself.
func newOwnNonceGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// elsewhereAEAD never works in place.
type elsewhereAEAD struct{ cipher.AEAD }

func newElsewhereAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return elsewhereAEAD{aead}, err
}

func (a elsewhereAEAD) Seal(_, nonce, plain, extra []byte) []byte {
	return a.AEAD.Seal(nil, nonce, bytes.Clone(plain), extra)
}

func (a elsewhereAEAD) Open(_, nonce, sealed, extra []byte) ([]byte, error) {
	return a.AEAD.Open(nil, nonce, bytes.Clone(sealed), extra)
}

// userCrypt is a BlockCrypt as a user may write one.
type userCrypt struct{}

func (userCrypt) Encrypt(dst, src []byte) {
	for i := range src {
		dst[i] = src[i] ^ byte(i) ^ 0x5a
	}
}
func (c userCrypt) Decrypt(dst, src []byte) { c.Encrypt(dst, src) }

// cryptMust returns the BlockCrypt of kind with the first of its key lengths.
func cryptMust(t testing.TB, kind cryptKind) BlockCrypt {
	t.Helper()
	block, err := kind.make(cryptRandom(1, kind.good[0]))
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// cryptRandom returns n bytes that are a function of the seed.
func cryptRandom(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// cryptSeal returns payload as a sealed packet of s.
func cryptSeal(t testing.TB, s *sealer, payload []byte) []byte {
	t.Helper()
	packet := make([]byte, s.headroom()+len(payload)+s.tailroom())
	copy(packet[s.headroom():], payload)
	if err := s.seal(packet); err != nil {
		t.Fatal(err)
	}
	return packet
}

// Packets under a key are counted on all sockets together. When half of the key's limit is used up,
// the hook of each socket is called, once. Long nonces have no such limit.
func TestPacketsUnderAKeyAreCounted(t *testing.T) {
	for name, warned := range map[string]bool{
		"AES-GCM": true, "AES-GCM FEC": true, "XChaCha20 streams": false,
	} {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				c := replayConfigs(t)[name]
				told := make(chan string, 100)
				c.OnSocketError = func(op string, err error) { told <- op + " " + err.Error() }
				client, server, l := w.pair(c)
				sendAcross(t, client, server, pattern(10_000, 1))
				time.Sleep(time.Second)
				n := client.Stats().Socket.KeyPackets
				least := client.Stats().PacketsSent + server.Stats().PacketsSent
				if n < 2*least || n > 2*least+2 {
					t.Errorf("%d packets under the key, want twice the %d that were sent", n, least)
				}
				c.BlockCrypt.(*aeadCrypt).packets.Store(keyWarning - 4)
				for range 10 {
					if err := client.SendOOB([]byte("x")); err != nil {
						t.Fatal(err)
					}
					sendAcross(t, server, client, pattern(1000, 2))
				}
				time.Sleep(time.Second)
				want := 0
				if warned {
					want = 2
				}
				if n := len(told); n != want {
					t.Errorf("the hooks were called %d times, want %d", n, want)
				}
				for range len(told) {
					if s := <-told; !strings.HasPrefix(s, "key kcp: 2^31 packets") {
						t.Error(s)
					}
				}
				if n := l.Stats().Socket.KeyPackets; n < keyWarning {
					t.Errorf("%d packets under the key", n)
				}
			})
		})
	}
}
