// SPDX-License-Identifier: MIT

package main

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"fmt"
	"strings"

	"github.com/seedkcp/kcp"
)

// defaultKey is the archived tunnel's, spelling included. It protects nothing.
const defaultKey = "it's a secrect"

// The derivation of the packet key from the shared secret.
const (
	keySalt   = "kcp-go"
	keyRounds = 4096
	keySize   = 32
)

// packetKey derives the key of the ciphers from the shared secret.
func packetKey(secret string) ([]byte, error) {
	return pbkdf2.Key(sha1.New, secret, []byte(keySalt), keyRounds, keySize)
}

// cipher is a way to protect packets. Both ends must use the same.
type cipher struct {
	name    string
	keySize int // the first bytes of the packet key that it takes
	// make is nil for no cipher, and no header.
	make func(key []byte) (kcp.BlockCrypt, error)
}

// ciphers are those of the archived tunnel. Only aes-128-gcm authenticates packets. Its key has 32
// bytes, so that it is AES-256-GCM: the name is that of legacy peers.
var ciphers = []cipher{
	{"aes", 32, kcp.NewAESBlockCrypt},
	{"aes-128", 16, kcp.NewAESBlockCrypt},
	{"aes-192", 24, kcp.NewAESBlockCrypt},
	{"aes-128-gcm", 32, kcp.NewAESGCMCrypt},
	{"salsa20", 32, kcp.NewSalsa20BlockCrypt},
	{"blowfish", 32, kcp.NewBlowfishBlockCrypt},
	{"twofish", 32, kcp.NewTwofishBlockCrypt},
	{"cast5", 16, kcp.NewCast5BlockCrypt},
	{"3des", 24, kcp.NewTripleDESBlockCrypt},
	{"tea", 16, kcp.NewTEABlockCrypt},
	{"xtea", 16, kcp.NewXTEABlockCrypt},
	{"sm4", 16, kcp.NewSM4BlockCrypt},
	{"xor", 32, kcp.NewSimpleXORBlockCrypt},
	{"none", 32, kcp.NewNoneBlockCrypt},
	{"null", 0, nil},
}

// cipherByName returns the cipher, or an error that names the choices.
func cipherByName(name string) (cipher, error) {
	var names []string
	for _, c := range ciphers {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	return cipher{}, fmt.Errorf("crypt %q: want one of %s", name, strings.Join(names, ", "))
}

// block returns the cipher that the settings name, with their key. It is nil for "null".
func (s *settings) block() (kcp.BlockCrypt, error) {
	c, err := cipherByName(s.crypt)
	if err != nil || c.make == nil {
		return nil, err
	}
	key, err := packetKey(s.key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return c.make(key[:c.keySize])
}
