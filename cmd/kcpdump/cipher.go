// SPDX-License-Identifier: MIT

package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/seedkcp/kcp"
)

// cipherKinds are the names that -crypt and a key log take.
var cipherKinds = []struct {
	name string
	// keySizes are the lengths of its keys in bytes, none for a cipher without a key.
	keySizes []int
	block    func(key []byte) (kcp.BlockCrypt, error) // of a cipher with a CRC
	aead     func(key []byte) (cipher.AEAD, error)
}{
	{name: "aes-128-gcm", keySizes: []int{16}, aead: newGCM},
	{name: "aes-192-gcm", keySizes: []int{24}, aead: newGCM},
	{name: "aes-256-gcm", keySizes: []int{32}, aead: newGCM},
	{name: "chacha20-poly1305", keySizes: []int{32}, aead: chacha20poly1305.New},
	{name: "xchacha20-poly1305", keySizes: []int{32}, aead: chacha20poly1305.NewX},
	{name: "aes-128", keySizes: []int{16}, block: kcp.NewAESBlockCrypt},
	{name: "aes-192", keySizes: []int{24}, block: kcp.NewAESBlockCrypt},
	{name: "aes-256", keySizes: []int{32}, block: kcp.NewAESBlockCrypt},
	{name: "salsa20", keySizes: []int{32}, block: kcp.NewSalsa20BlockCrypt},
	{name: "sm4", keySizes: []int{16}, block: kcp.NewSM4BlockCrypt},
	{name: "twofish", keySizes: []int{32, 24, 16}, block: kcp.NewTwofishBlockCrypt},
	{name: "blowfish", keySizes: upTo(32, 56), block: kcp.NewBlowfishBlockCrypt},
	{name: "cast5", keySizes: []int{16}, block: kcp.NewCast5BlockCrypt},
	{name: "3des", keySizes: []int{24}, block: kcp.NewTripleDESBlockCrypt},
	{name: "tea", keySizes: []int{16}, block: kcp.NewTEABlockCrypt},
	{name: "xtea", keySizes: []int{16}, block: kcp.NewXTEABlockCrypt},
	{name: "xor", keySizes: upTo(32, 256), block: kcp.NewSimpleXORBlockCrypt},
	{name: "crc", block: kcp.NewNoneBlockCrypt},
}

// upTo returns the key sizes from 1 to most, the usual one first.
func upTo(usual, most int) []int {
	sizes := []int{usual}
	for n := 1; n <= most; n++ {
		sizes = append(sizes, n)
	}
	return sizes
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// A secret is a cipher with its key.
type secret struct {
	name  string
	block kcp.BlockCrypt // nil for an AEAD
	aead  cipher.AEAD    // nil for a cipher with a CRC
}

// newSecret returns the cipher of that name with that key.
func newSecret(name string, key []byte) (*secret, error) {
	var names []string
	for _, k := range cipherKinds {
		names = append(names, k.name)
		if k.name != name {
			continue
		}
		if len(k.keySizes) == 0 {
			key = nil
		} else if !slices.Contains(k.keySizes, len(key)) {
			return nil, fmt.Errorf("%s: a key of %d bytes, want %d", name, len(key), k.keySizes[0])
		}
		s := &secret{name: name}
		var err error
		if k.aead != nil {
			s.aead, err = k.aead(key)
		} else {
			s.block, err = k.block(key)
		}
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	return nil, fmt.Errorf("there is no cipher %q: want one of %s", name, strings.Join(names, ", "))
}

// keySize returns the usual length of a cipher's key, and whether there is such a cipher.
func keySize(name string) (size int, ok bool) {
	for _, k := range cipherKinds {
		if k.name == name {
			if len(k.keySizes) == 0 {
				return 0, true
			}
			return k.keySizes[0], true
		}
	}
	return 0, false
}

// cryptoHeader is that of all ciphers but AEADs (S3.1):
//
//	| nonce, 16 random bytes | CRC-32 of the payload, u32 | payload ... |
const (
	cryptoNonce  = 16
	cryptoHeader = cryptoNonce + crc32.Size
)

// overhead is the number of bytes that protection adds to a datagram.
func (s *secret) overhead() int {
	if s.aead != nil {
		return s.aead.NonceSize() + s.aead.Overhead()
	}
	return cryptoHeader
}

// open returns the payload of a whole protected datagram. The bytes of packet stay as they are.
func (s *secret) open(packet []byte) (payload []byte, ok bool) {
	if len(packet) <= s.overhead() {
		return nil, false
	}
	if s.aead != nil {
		n := s.aead.NonceSize()
		payload, err := s.aead.Open(nil, packet[:n], packet[n:], nil)
		return payload, err == nil
	}
	plain := make([]byte, len(packet))
	s.block.Decrypt(plain, packet)
	payload = plain[cryptoHeader:]
	return payload, crc32.ChecksumIEEE(payload) == binary.LittleEndian.Uint32(plain[cryptoNonce:])
}

// shortest is the shortest payload of a datagram: a segment header.
const shortest = segmentHeader

// search looks for the first datagram in a run of them, as a capture has it before the network card
// cuts it. It returns that datagram's payload, and its length with the protection. The cost of an
// AEAD grows with the square of the run, so only lengths up to searchMost are tried.
func (s *secret) search(run []byte) (payload []byte, length int) {
	const searchMost = 1500
	if s.aead != nil {
		// Most runs are of full datagrams.
		for length = min(len(run), searchMost); length >= s.overhead()+shortest; length-- {
			if payload, ok := s.open(run[:length]); ok {
				return payload, length
			}
		}
		return nil, 0
	}
	if len(run) < cryptoHeader+shortest {
		return nil, 0
	}
	// Every method decrypts from the front on, so that the first datagram is right in the run.
	plain := make([]byte, min(len(run), frameMost))
	s.block.Decrypt(plain, run[:len(plain)])
	want := binary.LittleEndian.Uint32(plain[cryptoNonce:])
	sum := crc32.ChecksumIEEE(plain[cryptoHeader : cryptoHeader+shortest-1])
	for end := cryptoHeader + shortest; end <= len(plain); end++ {
		if sum = crc32.Update(sum, crc32.IEEETable, plain[end-1:end]); sum == want {
			return plain[cryptoHeader:end], end
		}
	}
	return nil, 0
}
