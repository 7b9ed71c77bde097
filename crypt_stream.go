// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"fmt"

	"golang.org/x/crypto/salsa20"
)

const (
	// salsaNonceSize is the size of Salsa20's nonce, the part of a packet that stays clear (S3.3).
	salsaNonceSize = 8
	// These are the salt, rounds and length of the XOR cipher's pad (S3.4).
	xorSalt       = "sH3CIVoF#rWLtJo6"
	xorIterations = 32
	xorPadSize    = 1500
)

// salsa20Crypt leaves the first 8 bytes of a packet clear and XORs the rest with the key stream
// that they select.
type salsa20Crypt struct{ key [32]byte }

// NewSalsa20BlockCrypt returns Salsa20. The key should have 32 bytes. For legacy peers a shorter
// one is padded with zeros, which makes it no stronger, and only the first 32 bytes of a longer one
// count. The error is always nil. Packets are encrypted, not authenticated: whoever knows a
// packet's contents can replace them bit by bit. 8 bytes select the key stream, so that after some
// 2^32 packets under one key two packets share theirs and reveal each other.
func NewSalsa20BlockCrypt(key []byte) (BlockCrypt, error) {
	c := new(salsa20Crypt)
	copy(c.key[:], key)
	return c, nil
}

// Encrypt implements BlockCrypt.
func (c *salsa20Crypt) Encrypt(dst, src []byte) {
	packet := cryptInto(dst, src)
	if len(packet) <= salsaNonceSize {
		return
	}
	body := packet[salsaNonceSize:]
	salsa20.XORKeyStream(body, body, packet[:salsaNonceSize], &c.key)
}

// Decrypt implements BlockCrypt.
func (c *salsa20Crypt) Decrypt(dst, src []byte) { c.Encrypt(dst, src) }

// xorCrypt XORs every packet with the same pad.
type xorCrypt struct{ pad []byte }

// NewSimpleXORBlockCrypt returns XOR with a pad of 1500 bytes that is derived from the key. The key
// may have any length. It is no encryption: the pad is the same for all packets, and two packets
// suffice to learn from. Bytes beyond 1500 are not changed.
func NewSimpleXORBlockCrypt(key []byte) (BlockCrypt, error) {
	pad, err := pbkdf2.Key(sha1.New, string(key), []byte(xorSalt), xorIterations, xorPadSize)
	if err != nil {
		return nil, fmt.Errorf("kcp: XOR pad: %w", err)
	}
	return &xorCrypt{pad}, nil
}

// Encrypt implements BlockCrypt.
func (c *xorCrypt) Encrypt(dst, src []byte) {
	packet := cryptInto(dst, src)
	subtle.XORBytes(packet, packet, c.pad)
}

// Decrypt implements BlockCrypt.
func (c *xorCrypt) Decrypt(dst, src []byte) { c.Encrypt(dst, src) }

// noneCrypt does not change packets.
type noneCrypt struct{}

// NewNoneBlockCrypt returns a BlockCrypt that encrypts nothing. Packets have the crypto header,
// whose CRC-32 detects accidents, and can be read by anyone. The key may have any length and is not
// used. A nil BlockCrypt is different, because it has no header: both ends must choose the same.
func NewNoneBlockCrypt(key []byte) (BlockCrypt, error) { return noneCrypt{}, nil }

// Encrypt implements BlockCrypt.
func (noneCrypt) Encrypt(dst, src []byte) { cryptInto(dst, src) }

// Decrypt implements BlockCrypt.
func (noneCrypt) Decrypt(dst, src []byte) { cryptInto(dst, src) }
