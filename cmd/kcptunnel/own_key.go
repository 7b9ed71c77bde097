// SPDX-License-Identifier: MIT

package main

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/seedkcp/kcp"
	"golang.org/x/crypto/argon2"
)

// The key of the packets comes from a secret of 32 bytes by HKDF-SHA256 without salt. Its info is
// ownKeyInfo and the cipher's name, so that two ciphers never share a key. The secret is that of the
// key file, or is computed from a passphrase by Argon2id.
//
// The cost is the second recommended option of RFC 9106, section 4: 3 passes over 64 MiB, which
// take some 0.2 s once. A passphrase has a fixed salt, because both ends must compute the same
// secret without a message: a key file of random bytes is better.
const (
	ownKeyInfo = "kcptunnel/1 "
	ownKeySalt = "kcptunnel/1 passphrase"

	argonPasses  = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4

	secretSize = 32
)

// ownCiphers are the ciphers of the mode of its own. All of them detect changed packets, and their
// sessions make keys of their own.
var ownCiphers = []struct {
	name string
	make func(key []byte) (kcp.BlockCrypt, error)
}{
	{"aes-256-gcm", kcp.NewAESGCMCrypt},
	{"xchacha20-poly1305", kcp.NewXChaCha20Poly1305Crypt},
}

// ownCipherNames returns the names for messages.
func ownCipherNames() string {
	var names []string
	for _, c := range ownCiphers {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// errNoKey is returned if neither a passphrase nor a key file is given.
var errNoKey = errors.New("a secret is needed: -keyfile FILE, or -key or KCPTUN_KEY with a passphrase")

// newOwnCipher returns the cipher of that name, "" for the first. The secret is in the file at
// keyFile, or is the passphrase if keyFile is "".
func newOwnCipher(name, passphrase, keyFile string) (kcp.BlockCrypt, error) {
	for _, c := range ownCiphers {
		if name != "" && name != c.name {
			continue
		}
		secret, err := ownSecret(passphrase, keyFile)
		if err != nil {
			return nil, err
		}
		key, err := ownKey(secret, c.name)
		if err != nil {
			return nil, err
		}
		return c.make(key)
	}
	return nil, fmt.Errorf("cipher %q: want one of %s; others need -compat", name, ownCipherNames())
}

// ownKey returns the key of a cipher.
func ownKey(secret []byte, cipher string) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, nil, ownKeyInfo+cipher, secretSize)
}

func ownSecret(passphrase, keyFile string) ([]byte, error) {
	switch {
	case keyFile != "":
		return readKeyFile(keyFile)
	case passphrase == "":
		return nil, errNoKey
	}
	return argon2.IDKey([]byte(passphrase), []byte(ownKeySalt),
		argonPasses, argonMemory, argonThreads, secretSize), nil
}

// readKeyFile reads a secret of 64 hexadecimal digits.
func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4*secretSize))
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != secretSize {
		// The text itself must not be printed.
		return nil, fmt.Errorf("key file: %s does not hold %d hexadecimal digits", path, 2*secretSize)
	}
	return secret, nil
}
