// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"strings"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
	"golang.org/x/crypto/chacha20poly1305"
)

// ciphers are what -cipher offers. Only the first two are authenticated; the
// others are for peers that know nothing else.
var ciphers = []struct {
	name    string
	keySize int // bytes of the key that are used
	make    func(key []byte) (kcp.BlockCrypt, error)
}{
	{"aes-gcm", 32, kcp.NewAESGCMCrypt},
	{"xchacha20", 32, newXChaCha},
	{"aes", 32, kcp.NewAESBlockCrypt},
	{"sm4", 16, kcp.NewSM4BlockCrypt},
	{"twofish", 32, kcp.NewTwofishBlockCrypt},
	{"salsa20", 32, kcp.NewSalsa20BlockCrypt},
	{"blowfish", 32, kcp.NewBlowfishBlockCrypt},
	{"cast5", 16, kcp.NewCast5BlockCrypt},
	{"3des", 24, kcp.NewTripleDESBlockCrypt},
	{"xtea", 16, kcp.NewXTEABlockCrypt},
	{"tea", 16, kcp.NewTEABlockCrypt},
	{"xor", 32, kcp.NewSimpleXORBlockCrypt},
	{"none", 0, kcp.NewNoneBlockCrypt},
}

func cipherNames() string {
	var names []string
	for _, c := range ciphers {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// newXChaCha is fast without AES instructions too, and its nonces are long
// enough for any amount of traffic.
func newXChaCha(key []byte) (kcp.BlockCrypt, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	return kcp.NewAEADCrypt(aead), nil
}

// newCipher returns the cipher called name with the key in a file. Without a file it returns no
// cipher, unless the named one needs no key.
func newCipher(name, keyPath string) (kcp.BlockCrypt, error) {
	for _, c := range ciphers {
		if c.name != name {
			continue
		}
		if c.keySize == 0 {
			return c.make(nil)
		}
		key, err := keyfile.Read(keyPath)
		if err != nil || key == nil {
			return nil, err
		}
		return c.make(key[:c.keySize])
	}
	return nil, fmt.Errorf("-cipher %q: want one of %s", name, cipherNames())
}
