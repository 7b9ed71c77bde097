// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// errAEADLength is returned for a cipher.AEAD whose ciphertext is not longer than the payload by
// its Overhead.
var errAEADLength = errors.New(
	"kcp: AEAD returned a ciphertext of a length other than its overhead says")

// aeadCrypt is a cipher.AEAD as a BlockCrypt, which the sealer recognises.
type aeadCrypt struct {
	aead      cipher.AEAD
	nonceSize int
	overhead  int
	packets   atomic.Uint64 // sealed and opened
	source    *keySource    // of session keys; nil: the library does not know the key
}

// keyWarning is half of the packets for which a key is good with nonces of up to 12 bytes. Beyond
// that number a random nonce may repeat under the key, which it must not (S3.6).
const keyWarning = 1 << 31

// errKeyUsed is the error that Config.OnSocketError is then called with.
var errKeyUsed = errors.New("kcp: 2^31 packets under one key, it is good for 2^32: change it")

// used counts packets under the key. It reports whether it is time to change the key.
func (a *aeadCrypt) used(packets int) (worn bool) {
	return a.packets.Add(uint64(packets)) >= keyWarning && a.nonceSize <= nonceMarked
}

// NewAEADCrypt makes a BlockCrypt of any cipher.AEAD. Each packet is encrypted and authenticated. A
// packet that was changed, or not made with the key, is dropped. For nil it returns nil, which
// means no protection.
//
// A packet grows by aead.NonceSize() and aead.Overhead() bytes, which the MTU accounts for. Every
// nonce is drawn at random (see [SetEntropy]). It must not repeat under one key, whichever peer
// draws it. With the 12 bytes of AES-GCM and ChaCha20-Poly1305 that holds for 2^32 packets per key,
// all peers together, except for a chance of 1 in 2^32 (NIST SP 800-38D, 8.3). These are 6 TB of
// full packets. For more traffic change the key, or use the 24-byte nonces of XChaCha20-Poly1305,
// which have no practical limit. SocketStats.KeyPackets counts the packets, and
// [Config.OnSocketError] is called at 2^31.
//
// aead must be safe for concurrent use and able to work in place, as those of crypto/cipher and
// golang.org/x/crypto are. If its Seal or Open return other memory than they were given, the packet
// is copied back.
//
// The BlockCrypt is meant for the functions that make sessions and listeners. Called directly,
// Encrypt takes packets that already have the layout nonce, payload, Overhead bytes of room, and
// leaves nonce, ciphertext, tag. Decrypt reverses that, with zeros in the place of the tag. It
// turns a packet that is too short or does not verify into zeros, so that plain text is never
// accepted.
func NewAEADCrypt(aead cipher.AEAD) BlockCrypt {
	if aead == nil {
		return nil
	}
	return &aeadCrypt{aead: aead, nonceSize: aead.NonceSize(), overhead: aead.Overhead()}
}

// NewAESGCMCrypt returns AES-GCM, the recommended protection: encrypted, authenticated, and the
// fastest on processors with AES instructions. The key has 16, 24 or 32 bytes for AES-128, AES-192
// or AES-256. A packet grows by 28 bytes. See [NewAEADCrypt] for the number of packets for which a
// key is good.
func NewAESGCMCrypt(key []byte) (BlockCrypt, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, cryptKeyError("AES-GCM", "16, 24 or 32", key, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(key) == 16 {
		return newKeyedAEAD(aead, key, suiteAES128)
	}
	return newKeyedAEAD(aead, key, suiteAESGCM)
}

// NewXChaCha20Poly1305Crypt returns XChaCha20-Poly1305 with a key of 32 bytes: encrypted,
// authenticated, and fast without AES instructions too. A packet grows by 40 bytes. The nonces of
// 24 bytes are good for any number of packets. Its packets are those of [NewAEADCrypt] with the
// AEAD of golang.org/x/crypto/chacha20poly1305.NewX.
func NewXChaCha20Poly1305Crypt(key []byte) (BlockCrypt, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, cryptKeyError("XChaCha20-Poly1305", "32", key, err)
	}
	return newKeyedAEAD(aead, key, suiteChaCha20)
}

// newKeyedAEAD returns an AEAD whose key the library knows.
func newKeyedAEAD(aead cipher.AEAD, key []byte, suite packetSuite) (BlockCrypt, error) {
	source, err := newKeySource(key, suite)
	if err != nil {
		return nil, err
	}
	return &aeadCrypt{
		aead: aead, nonceSize: aead.NonceSize(), overhead: aead.Overhead(), source: source,
	}, nil
}

// seal encrypts packet = nonce | payload | room for the tag in place.
func (a *aeadCrypt) seal(packet []byte) error {
	return a.sealFrom(packet, packet[a.nonceSize:len(packet)-a.overhead])
}

// sealFrom encrypts payload into packet = nonce | room for payload and tag. The payload may already
// be in its place.
func (a *aeadCrypt) sealFrom(packet, payload []byte) error {
	nonce, body := packet[:a.nonceSize:a.nonceSize], packet[a.nonceSize:]
	// The capacity ends with the packet: other packets may follow.
	out := a.aead.Seal(body[:0:len(body)], nonce, payload, nil)
	if len(out) != len(body) {
		return errAEADLength
	}
	cryptInto(body, out)
	return nil
}

// open decrypts packet = nonce | ciphertext | tag in place. It returns false if the packet does not
// verify.
func (a *aeadCrypt) open(packet []byte) ([]byte, bool) {
	if len(packet) < a.nonceSize+a.overhead {
		return nil, false
	}
	nonce, body := packet[:a.nonceSize:a.nonceSize], packet[a.nonceSize:]
	out, err := a.aead.Open(body[:0:len(body)], nonce, body, nil)
	if err != nil || len(out) > len(body) {
		return nil, false
	}
	return cryptInto(body, out), true
}

// Encrypt implements BlockCrypt as described for NewAEADCrypt.
func (a *aeadCrypt) Encrypt(dst, src []byte) {
	packet := cryptInto(dst, src)
	if len(packet) < a.nonceSize+a.overhead || a.seal(packet) != nil {
		clear(packet)
	}
}

// Decrypt implements BlockCrypt as described for NewAEADCrypt.
func (a *aeadCrypt) Decrypt(dst, src []byte) {
	packet := cryptInto(dst, src)
	payload, ok := a.open(packet)
	if !ok {
		clear(packet)
		return
	}
	clear(packet[a.nonceSize+len(payload):])
}
