// SPDX-License-Identifier: MIT

package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/seedkcp/kcp"
)

// cipherKinds are the names that --cipher takes, and the size of their keys in bytes.
var cipherKinds = []struct {
	name    string
	keySize int
	make    func(key []byte) (kcp.BlockCrypt, error)
}{
	{"aes-128-gcm", 16, kcp.NewAESGCMCrypt},
	{"aes-256-gcm", 32, kcp.NewAESGCMCrypt},
	{"aes-128", 16, kcp.NewAESBlockCrypt},
	{"aes-192", 24, kcp.NewAESBlockCrypt},
	{"aes-256", 32, kcp.NewAESBlockCrypt},
	{"salsa20", 32, kcp.NewSalsa20BlockCrypt},
	{"sm4", 16, kcp.NewSM4BlockCrypt},
	{"twofish", 32, kcp.NewTwofishBlockCrypt},
	{"blowfish", 32, kcp.NewBlowfishBlockCrypt},
	{"cast5", 16, kcp.NewCast5BlockCrypt},
	{"3des", 24, kcp.NewTripleDESBlockCrypt},
	{"tea", 16, kcp.NewTEABlockCrypt},
	{"xtea", 16, kcp.NewXTEABlockCrypt},
	{"xor", 32, kcp.NewSimpleXORBlockCrypt},
	{"crc", 0, kcp.NewNoneBlockCrypt},
}

const noCipher = "none"

// defaultKey is the default pass phrase. It protects nothing.
const defaultKey = "kcpperf"

// newCipher returns the cipher of that name, nil for "none", with a key made from a pass phrase.
func newCipher(name, phrase string) (kcp.BlockCrypt, error) {
	if name == noCipher {
		return nil, nil
	}
	for _, k := range cipherKinds {
		if k.name != name {
			continue
		}
		key, err := newKey(name, phrase)
		if err != nil {
			return nil, err
		}
		return k.make(key)
	}
	return nil, fmt.Errorf("there is no cipher %q: want %s or one of %s", name, noCipher, strings.Join(cipherNames(), ", "))
}

// loggedCipher returns the cipher of that name for a session whose key is logged. With one that
// [kcp.NewAEADCrypt] makes, a session never has keys of its own, which the log would not have.
func loggedCipher(name, phrase string) (kcp.BlockCrypt, error) {
	block, err := newCipher(name, phrase)
	if err != nil || !strings.HasSuffix(name, "-gcm") {
		return block, err
	}
	key, err := newKey(name, phrase)
	if err != nil {
		return nil, err
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(b)
	return kcp.NewAEADCrypt(aead), err
}

// newKey makes the key of a cipher from a pass phrase, nil for a cipher without a key.
func newKey(name, phrase string) ([]byte, error) {
	for _, k := range cipherKinds {
		if k.name == name && k.keySize > 0 {
			return pbkdf2.Key(sha256.New, phrase, []byte("kcpperf"), 4096, k.keySize)
		}
	}
	return nil, nil
}
