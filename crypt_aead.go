// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"sync/atomic"
)

// errAEADLength reports a cipher.AEAD whose sealed packet is not as much
// longer than the payload as its Overhead says.
var errAEADLength = errors.New("kcp: AEAD returned a ciphertext of a length other than its overhead says")

// aeadCrypt carries a cipher.AEAD to the sealer, which recognises it.
type aeadCrypt struct {
	aead      cipher.AEAD
	nonceSize int
	overhead  int
	packets   atomic.Uint64 // sealed and opened
}

// keyWarning is how many packets under one key are half of what nonces of up to 12 bytes are good for.
const keyWarning = 1 << 31

// errKeyUsed is what Config.OnSocketError is told then.
var errKeyUsed = errors.New("kcp: 2^31 packets under one key, it is good for 2^32: change it")

// used counts packets under the key. It reports whether it is time to change that.
func (a *aeadCrypt) used(packets int) (worn bool) {
	return a.packets.Add(uint64(packets)) >= keyWarning && a.nonceSize <= nonceMarked
}

// NewAEADCrypt makes of any cipher.AEAD the protection of a session: each
// packet is encrypted and authenticated, and one that was changed on its way,
// or was not made with the key, is dropped. nil for nil, which means no
// protection at all.
//
// A packet grows by aead.NonceSize() and aead.Overhead() bytes, which the MTU
// accounts for. Every nonce is drawn at random (see [SetEntropy]); it must not
// repeat under one key, whichever of all the peers that hold the key draws it.
// With the 12 bytes of AES-GCM and ChaCha20-Poly1305 chance makes that hold
// for 2^32 packets per key, all peers together, at odds of 1 to 2^32 (NIST
// SP 800-38D, 8.3): 6 TB of full packets. For more traffic change the key, or
// take the 24-byte nonces of XChaCha20-Poly1305, for which there is no limit
// that a network could reach. SocketStats.KeyPackets counts them, and at 2^31
// [Config.OnSocketError] is told.
//
// aead must be safe for concurrent use and able to work in place, as those of
// crypto/cipher and golang.org/x/crypto are; if its Seal or Open return other
// memory than they were offered, the packet is copied back.
//
// The BlockCrypt is meant to be passed on to the functions that open sessions
// and listeners. Called directly, Encrypt takes packets that already have the
// layout nonce, payload, Overhead bytes of room, and leaves nonce, ciphertext,
// tag; Decrypt turns that back, with zeros where the tag was. What is too
// short or does not verify becomes all zeros: plain text never gets through.
func NewAEADCrypt(aead cipher.AEAD) BlockCrypt {
	if aead == nil {
		return nil
	}
	return &aeadCrypt{aead: aead, nonceSize: aead.NonceSize(), overhead: aead.Overhead()}
}

// NewAESGCMCrypt returns AES-GCM, the recommended protection: encrypted,
// authenticated, and the fastest on processors with AES instructions. The key
// has 16, 24 or 32 bytes for AES-128, AES-192 or AES-256. A packet grows by 28
// bytes. See [NewAEADCrypt] for how many packets one key is good for.
func NewAESGCMCrypt(key []byte) (BlockCrypt, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, cryptKeyError("AES-GCM", "16, 24 or 32", key, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return NewAEADCrypt(aead), nil
}

// seal encrypts packet = nonce | payload | room for the tag in place.
func (a *aeadCrypt) seal(packet []byte) error {
	return a.sealFrom(packet, packet[a.nonceSize:len(packet)-a.overhead])
}

// sealFrom encrypts payload into packet = nonce | room for payload and tag. The two may be in the same place.
func (a *aeadCrypt) sealFrom(packet, payload []byte) error {
	nonce, body := packet[:a.nonceSize:a.nonceSize], packet[a.nonceSize:]
	// The capacity ends with the packet: what follows belongs to others.
	out := a.aead.Seal(body[:0:len(body)], nonce, payload, nil)
	if len(out) != len(body) {
		return errAEADLength
	}
	cryptInto(body, out)
	return nil
}

// open decrypts packet = nonce | ciphertext | tag in place; false if it does
// not verify.
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

// Encrypt implements BlockCrypt as NewAEADCrypt says.
func (a *aeadCrypt) Encrypt(dst, src []byte) {
	packet := cryptInto(dst, src)
	if len(packet) < a.nonceSize+a.overhead || a.seal(packet) != nil {
		clear(packet)
	}
}

// Decrypt implements BlockCrypt as NewAEADCrypt says.
func (a *aeadCrypt) Decrypt(dst, src []byte) {
	packet := cryptInto(dst, src)
	payload, ok := a.open(packet)
	if !ok {
		clear(packet)
		return
	}
	clear(packet[a.nonceSize+len(payload):])
}
