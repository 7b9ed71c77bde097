// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestWrongKeyLengthNamesTheRightOnes(t *testing.T) {
	for _, kind := range cryptKinds() {
		for _, n := range kind.good {
			if block, err := kind.make(make([]byte, n)); err != nil || block == nil {
				t.Errorf("%s, %d bytes: got %v, %v", kind.name, n, block, err)
			}
		}
		for _, n := range kind.bad {
			block, err := kind.make(make([]byte, n))
			want := fmt.Sprintf("takes a key of %s bytes, got %d", kind.says, n)
			if block != nil || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %d bytes: got %v, %v; want nil and %q",
					kind.name, n, block, err, want)
			}
		}
	}
}

func TestFeedbackEqualsTheTextbookForEveryLength(t *testing.T) {
	for _, kind := range cryptKinds() {
		crypt, ok := cryptMust(t, kind).(*cfbCrypt)
		if !ok {
			continue
		}
		cipherBlock := crypt.block
		for n := range 2*crypt.chunk + 40 {
			// Each length around the block and the chunk size, and a few others.
			if near := (n + 20) % crypt.chunk; near > 40 && n%307 != 0 {
				continue
			}
			plain := cryptRandom(8, n)
			want := make([]byte, n)
			feedback := cfbIV[:cipherBlock.BlockSize()]
			for i := 0; i < n; i += len(feedback) {
				stream := make([]byte, len(feedback))
				cipherBlock.Encrypt(stream, feedback)
				for j := i; j < min(i+len(stream), n); j++ {
					want[j] = plain[j] ^ stream[j-i]
				}
				if i+len(stream) <= n {
					feedback = want[i : i+len(stream)]
				}
			}
			got := make([]byte, n)
			crypt.Encrypt(got, plain)
			if !bytes.Equal(got, want) {
				t.Fatalf("%s, %d bytes: encrypted wrongly", kind.name, n)
			}
			back := make([]byte, n+3)
			if crypt.Decrypt(back, got); !bytes.Equal(back[:n], plain) {
				t.Fatalf("%s, %d bytes: decrypted wrongly", kind.name, n)
			}
			if crypt.Decrypt(got, got); !bytes.Equal(got, plain) {
				t.Fatalf("%s, %d bytes: decrypted wrongly in place", kind.name, n)
			}
		}
	}
}

func TestPairsAreEncryptedAsEachByItself(t *testing.T) {
	pairs := 0
	for _, k := range cryptKinds() {
		crypt, err := k.make(make([]byte, k.good[0]))
		if err != nil {
			t.Fatal(err)
		}
		c, ok := crypt.(*cfbCrypt)
		if !ok || !c.pairs() {
			continue
		}
		pairs++
		for _, n := range [][2]int{
			{16, 16}, {16, 1500}, {1500, 20}, {31, 33}, {47, 48}, {1400, 1400}, {1399, 1385},
		} {
			in := [2][]byte{pattern(n[0], 1), pattern(n[1], 2)}
			var want [2][]byte
			for i := range in {
				want[i] = make([]byte, n[i])
				c.Encrypt(want[i], in[i])
			}
			c.encryptPair(in[0], in[1])
			if !bytes.Equal(in[0], want[0]) || !bytes.Equal(in[1], want[1]) {
				t.Errorf("%s: packets of %d bytes differ from those encrypted each by itself",
					k.name, n)
			}
		}
	}
	if pairs < 3 {
		t.Errorf("%d ciphers encrypt pairs, want AES, SM4 and Twofish", pairs)
	}
}

func TestBlockCryptWorksOnOtherMemoryAsInPlace(t *testing.T) {
	for _, kind := range cryptKinds() {
		block := cryptMust(t, kind)
		for n := range 90 {
			plain := cryptRandom(9, n)
			inPlace, elsewhere := bytes.Clone(plain), make([]byte, n)
			if kind.name != "aes-gcm-own-nonce" {
				block.Encrypt(inPlace, inPlace)
				block.Encrypt(elsewhere, plain)
				if !bytes.Equal(inPlace, elsewhere) {
					t.Fatalf("%s, %d bytes: in place %x, elsewhere %x",
						kind.name, n, inPlace, elsewhere)
				}
			}
			if !bytes.Equal(plain, cryptRandom(9, n)) {
				t.Fatalf("%s: Encrypt changed its source", kind.name)
			}
		}
	}
}

func TestAEADCalledAsABlockCryptNeverGivesPlainText(t *testing.T) {
	block, err := NewAESGCMCrypt(cryptRandom(1, 16))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 120 {
		plain := cryptRandom(10, n)
		sealed, opened := make([]byte, n), make([]byte, n)
		block.Encrypt(sealed, plain)
		block.Decrypt(opened, sealed)
		if n < 28 {
			if !bytes.Equal(sealed, make([]byte, n)) {
				t.Errorf("%d bytes: got %x, want zeros", n, sealed)
			}
			continue
		}
		want := append(bytes.Clone(plain[:n-16]), make([]byte, 16)...)
		if !bytes.Equal(opened, want) {
			t.Errorf("%d bytes: got %x, want %x", n, opened, want)
		}
		sealed[n-1] ^= 1
		if block.Decrypt(opened, sealed); !bytes.Equal(opened, make([]byte, n)) {
			t.Errorf("%d bytes: damaged packet gave %x, want zeros", n, opened)
		}
	}
	// Wrapped by a user it looks like a cipher without authentication. It must refuse to work and
	// not protect nothing.
	s := newSealer(struct{ BlockCrypt }{block})
	packet := cryptSeal(t, s, cryptRandom(11, 100))
	if bytes.Contains(packet, cryptRandom(11, 100)[:16]) {
		t.Error("wrapped AEAD let plain text through")
	}
}

// One object of each kind encrypts and decrypts concurrently with known results. A cipher with
// scratch memory in itself fails this.
func TestSharedCiphersDoNotCorruptPackets(t *testing.T) {
	for _, kind := range cryptKinds() {
		if kind.name == "aes-gcm-own-nonce" {
			continue
		}
		block := cryptMust(t, kind)
		plain := cryptRandom(12, 1400)
		sealed, opened := make([]byte, 1400), make([]byte, 1400)
		block.Encrypt(sealed, plain)
		block.Decrypt(opened, sealed)
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				got := make([]byte, 1400)
				for range 30 {
					if i%2 == 0 {
						if block.Encrypt(got, plain); !bytes.Equal(got, sealed) {
							t.Errorf("%s: encryption was disturbed", kind.name)
							return
						}
					} else if block.Decrypt(got, sealed); !bytes.Equal(got, opened) {
						t.Errorf("%s: decryption was disturbed", kind.name)
						return
					}
				}
			})
		}
		group.Wait()
	}
}
