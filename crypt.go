// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
)

// BlockCrypt transforms one whole packet with a key that both peers hold.
//
// Encrypt and Decrypt write to dst the transformed src. dst is at least as
// long as src, and the two are the same memory or do not overlap at all; the
// package itself always passes the same packet twice. The length does not
// change. The first 16 bytes of a packet are random and differ from packet to
// packet (the nonce), the next 4 are a CRC-32 of the rest: both are written
// before Encrypt and checked after Decrypt by the caller, so an implementation
// only has to make everything behind the nonce depend on nonce and key.
//
// Many sessions and goroutines call one BlockCrypt at the same time: an
// implementation must not keep scratch memory in itself without a lock. Those
// of this package may be shared freely.
//
// A BlockCrypt of one's own is used as it is and gives what a CRC gives:
// protection from accidents, not from an attacker who changes packets. For
// that, pass a cipher.AEAD to [NewAEADCrypt], or use [NewAESGCMCrypt].
//
// A nil BlockCrypt means no protection and no header at all. The constructors
// return nil together with an error, so an error that is not looked at would
// send plain text.
type BlockCrypt interface {
	// Encrypt transforms the packet src into dst.
	Encrypt(dst, src []byte)
	// Decrypt is the inverse of Encrypt. It is called with whatever bytes
	// arrive, of any length from 20 up.
	Decrypt(dst, src []byte)
}

// Layout of the crypto header of everything that is not an AEAD.
const (
	cryptNonceSize  = 16
	cryptHeaderSize = cryptNonceSize + crc32.Size
)

// errSealShort reports a packet without the room that headroom and tailroom
// ask for.
var errSealShort = errors.New("kcp: packet has no room for the crypto header")

// sealer protects and opens whole datagrams in place. It is immutable and may
// be shared by any number of sessions and goroutines. One of three layouts:
//
//	no cipher   | payload |
//	BlockCrypt  | nonce 16 | CRC-32 of the payload, little-endian 4 | payload |   then all of it through Encrypt
//	AEAD        | nonce | ciphertext of the payload | tag |
type sealer struct {
	aead  *aeadCrypt // set for the AEAD layout alone
	block BlockCrypt // set for the BlockCrypt layout alone
	pair  *cfbCrypt  // block, if it encrypts two packets faster than one after the other
	head  int        // bytes before the payload
	tail  int        // bytes behind the payload
	side  nonceSide
	sent  *nonceSet // of packets that may come back; shared by the sealers of one demux
}

// newSealer chooses the layout that block asks for. A nil block gives the
// sealer that leaves packets as they are.
func newSealer(block BlockCrypt) *sealer {
	switch b := block.(type) {
	case nil:
		return &sealer{}
	case *aeadCrypt:
		if b == nil {
			return &sealer{}
		}
		return &sealer{aead: b, head: b.nonceSize, tail: b.overhead}
	case *cfbCrypt:
		s := &sealer{block: b, head: cryptHeaderSize}
		if b.pairs() {
			s.pair = b
		}
		return s
	default:
		return &sealer{block: block, head: cryptHeaderSize}
	}
}

// headroom returns how many bytes of a packet lie before its payload.
func (s *sealer) headroom() int { return s.head }

// tailroom returns how many bytes of a packet lie behind its payload.
func (s *sealer) tailroom() int { return s.tail }

// authenticates reports whether a packet that opens was made by a holder of
// the key.
func (s *sealer) authenticates() bool { return s.aead != nil }

// seal protects packet = headroom | payload | tailroom in place. After an
// error (the nonce source failed, or the AEAD broke its contract) the packet
// is unfit to be sent.
func (s *sealer) seal(packet []byte) error {
	if len(packet) < s.head+s.tail {
		return errSealShort
	}
	switch {
	case s.aead != nil:
		if err := s.nonce(packet[:s.head]); err != nil {
			return err
		}
		return s.aead.seal(packet)
	case s.block != nil:
		if err := fillCryptHeader(packet); err != nil {
			return err
		}
		s.block.Encrypt(packet, packet)
	}
	return nil
}

// fillCryptHeader writes the nonce and the checksum of a packet that a BlockCrypt is to encrypt.
func fillCryptHeader(packet []byte) error {
	if err := readNonce(packet[:cryptNonceSize]); err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(packet[cryptNonceSize:], crc32.ChecksumIEEE(packet[cryptHeaderSize:]))
	return nil
}

// sealPair is seal for two packets at once, where the cipher is faster so. It reports false if it has sealed neither: each
// is for seal then.
func (s *sealer) sealPair(a, b []byte) bool {
	if s.pair == nil || min(len(a), len(b)) < s.head || fillCryptHeader(a) != nil || fillCryptHeader(b) != nil {
		return false
	}
	s.pair.encryptPair(a, b)
	return true
}

// sealFrom is seal for an AEAD with the payload elsewhere: packet = headroom | room for the payload | tailroom.
func (s *sealer) sealFrom(packet, payload []byte) error {
	if err := s.nonce(packet[:s.head]); err != nil {
		return err
	}
	return s.aead.sealFrom(packet, payload)
}

// open undoes seal in place and returns the payload, a part of packet; false
// for a packet that does not verify, whose bytes are then lost. It accepts any
// length, and neither way allocates.
func (s *sealer) open(packet []byte) ([]byte, bool) {
	switch {
	case s.aead != nil:
		return s.aead.open(packet)
	case s.block != nil:
		if len(packet) < cryptHeaderSize {
			return nil, false
		}
		s.block.Decrypt(packet, packet)
		payload := packet[cryptHeaderSize:]
		return payload, binary.LittleEndian.Uint32(packet[cryptNonceSize:]) == crc32.ChecksumIEEE(payload)
	}
	return packet, true
}

// cryptInto returns the part of dst that is to hold the transformed src, with
// src in it, so that every cipher has to work in place only.
func cryptInto(dst, src []byte) []byte {
	if len(dst) < len(src) {
		panic("kcp: output smaller than input")
	}
	dst = dst[:len(src)]
	if len(src) > 0 && &dst[0] != &src[0] {
		copy(dst, src)
	}
	return dst
}

// nonceAccepted is the bit of a nonce's first byte that accepted sessions and listeners set and dialled ones clear.
const nonceAccepted = 0x80

// nonceMarked is the least length of a nonce that gives a bit away for that: of AES-GCM's 96 bits 95 are left.
const nonceMarked = 12

// nonceSide is the side that the first bit of a nonce names.
type nonceSide uint8

const (
	sideNone nonceSide = iota // the bit is random
	sideDialled
	sideAccepted
)

// marks reports whether the first bit of a nonce tells which side has sealed.
func (s *sealer) marks() bool { return s.side != sideNone }

// nonce draws one.
func (s *sealer) nonce(p []byte) error {
	err := readNonce(p)
	switch s.side {
	case sideDialled:
		p[0] &^= nonceAccepted
	case sideAccepted:
		p[0] |= nonceAccepted
	}
	return err
}

// remember keeps the nonce of a sealed packet, so that the packet is known should it come back.
func (s *sealer) remember(packet []byte) { s.sent.add(packet[:s.head]) }

// forBothSides returns the sealers of dialled and of accepted sessions, which remember nonces in sent.
func (s *sealer) forBothSides(sent *nonceSet) (dials, accepts *sealer) {
	a, b := *s, *s
	a.sent, b.sent = sent, sent
	if s.aead != nil && s.head >= nonceMarked {
		a.side, b.side = sideDialled, sideAccepted
	}
	return &a, &b
}

// same reports whether two sealers open each other's packets: they have the same cipher, or ciphers of the same key.
func (s *sealer) same(other *sealer) bool {
	switch {
	case s.head != other.head || s.tail != other.tail || (s.aead == nil) != (other.aead == nil):
		return false
	case s.aead != nil:
		return s.aead == other.aead || bytes.Equal(s.sample(), other.sample())
	case s.block != nil:
		return sameCipher(s.block, other.block) || bytes.Equal(s.sample(), other.sample())
	}
	return true
}

// sample returns what a packet of zeros becomes, under a nonce of zeros. It never leaves this process.
func (s *sealer) sample() []byte {
	b := make([]byte, s.head+2*cryptHeaderSize+s.tail)
	if s.aead != nil {
		if s.aead.seal(b) != nil {
			return nil
		}
		return b
	}
	s.block.Encrypt(b, b)
	return b
}

// sameCipher reports whether two ciphers are the same one. Those of a type that cannot be compared are taken for others.
func sameCipher(a, b BlockCrypt) bool {
	return reflect.ValueOf(a).Comparable() && a == b
}
