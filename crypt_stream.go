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
	// salsaNonceSize is the part of a packet that stays clear: Salsa20's nonce.
	salsaNonceSize = 8
	// The pad of the XOR cipher: its salt, rounds and length.
	xorSalt       = "sH3CIVoF#rWLtJo6"
	xorIterations = 32
	xorPadSize    = 1500
)

// salsa20Crypt leaves the first 8 bytes of a packet clear and XORs the rest
// with the key stream that they select.
type salsa20Crypt struct{ key [32]byte }

// NewSalsa20BlockCrypt returns Salsa20. The key should have 32 bytes. As for
// deployed peers a shorter one is filled up with zeros, which makes it no
// stronger than its own length, and of a longer one only the first 32 bytes
// count; the error is always nil. Packets are encrypted, not authenticated:
// who knows a packet's contents can replace them, bit by bit. 8 bytes select
// the key stream, so after some 2^32 packets under one key two of them share
// theirs and betray each other.
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

// NewSimpleXORBlockCrypt returns XOR with a pad of 1500 bytes that is derived
// from the key. The key may have any length. It hides packets from a glance
// only: the pad is the same for each of them, so two packets suffice to learn
// from. Bytes beyond 1500 stay as they are.
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

// noneCrypt leaves packets as they are.
type noneCrypt struct{}

// NewNoneBlockCrypt returns a BlockCrypt that encrypts nothing: packets carry
// the crypto header, whose CRC-32 detects accidents, and are readable by
// anyone. The key may have any length and is not used. Not the same as a nil
// BlockCrypt, which has no header: both ends must choose alike.
func NewNoneBlockCrypt(key []byte) (BlockCrypt, error) { return noneCrypt{}, nil }

// Encrypt implements BlockCrypt.
func (noneCrypt) Encrypt(dst, src []byte) { cryptInto(dst, src) }

// Decrypt implements BlockCrypt.
func (noneCrypt) Decrypt(dst, src []byte) { cryptInto(dst, src) }
