// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"reflect"
)

// BlockCrypt transforms a whole packet with a key that both peers have.
//
// Encrypt and Decrypt write the transformed src to dst. dst is at least as long as src, and the two
// are either the same memory or do not overlap. The package itself always passes the same packet
// twice. The length does not change. The first 16 bytes of a packet are the nonce, which is random
// and differs from packet to packet. The next 4 are a CRC-32 of the rest. The caller writes both
// before Encrypt and checks them after Decrypt. An implementation only has to make everything
// behind the nonce depend on nonce and key.
//
// Many sessions and goroutines call one BlockCrypt concurrently: an implementation must not keep
// scratch memory without a lock. The implementations of this package may be shared freely.
//
// Another implementation of BlockCrypt gives the protection of a CRC: from accidents, not from an
// attacker who changes packets. For that, pass a cipher.AEAD to [NewAEADCrypt], or use
// [NewAESGCMCrypt].
//
// A nil BlockCrypt means no protection and no header. The constructors return nil together with an
// error: a program that ignores the error would send plain text.
type BlockCrypt interface {
	// Encrypt transforms the packet src into dst.
	Encrypt(dst, src []byte)
	// Decrypt is the inverse of Encrypt. It is called with any bytes that arrive, at least 20.
	Decrypt(dst, src []byte)
}

// This is the layout of the crypto header of all ciphers but AEADs (S3.1).
const (
	cryptNonceSize  = 16
	cryptHeaderSize = cryptNonceSize + crc32.Size
)

// errSealShort is returned for a packet without room for headroom and tailroom.
var errSealShort = errors.New("kcp: packet has no room for the crypto header")

// A sealer protects and opens whole datagrams in place. It is immutable and may be shared by any
// number of sessions and goroutines. There are four layouts (S3.1, S3.5):
//
//	no cipher     | payload |
//	BlockCrypt    | nonce 16 | CRC-32 of the payload, little-endian 4 | payload |, all encrypted
//	AEAD          | nonce | ciphertext of the payload | tag |
//	session keys  | masked receiver id 4 and counter 8 | ciphertext of the payload | tag |
type sealer struct {
	aead    *aeadCrypt     // of the AEAD layout only
	block   BlockCrypt     // of the BlockCrypt layout only
	pair    *cfbCrypt      // block, if it encrypts two packets faster than one after the other
	session *sessionSealer // of the layout of session keys only; it does not open packets
	head    int            // bytes before the payload
	tail    int            // bytes behind the payload
	side    nonceSide
	sent    *nonceSet // of packets that may come back; shared by the sealers of a demux
}

// newSealer returns the sealer for block. That of a nil block does not change packets.
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

// largest returns the size of the largest packet that the cipher protects. The pad of XOR ends
// there, and a cipher of the program may have been written for no more.
func (s *sealer) largest() int {
	switch s.block.(type) {
	case nil, *cfbCrypt, *salsa20Crypt, noneCrypt:
		return math.MaxUint16
	}
	return mtuMax
}

// headroom returns how many bytes of a packet lie before its payload.
func (s *sealer) headroom() int { return s.head }

// tailroom returns how many bytes of a packet lie behind its payload.
func (s *sealer) tailroom() int { return s.tail }

// authenticates reports whether only a holder of the key can have made a packet that opens.
func (s *sealer) authenticates() bool { return s.aead != nil || s.session != nil }

// keySource returns what session keys are made from, nil if the cipher was not made from a key.
func (s *sealer) keySource() *keySource {
	if s.aead == nil {
		return nil
	}
	return s.aead.source
}

// seal protects packet = headroom | payload | tailroom in place. If it returns an error, because
// the nonce source failed or the AEAD violated its contract, the packet must not be sent.
func (s *sealer) seal(packet []byte) error {
	if len(packet) < s.head+s.tail {
		return errSealShort
	}
	switch {
	case s.session != nil:
		return s.session.seal(packet, packet[s.head:len(packet)-s.tail])
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
	sum := crc32.ChecksumIEEE(packet[cryptHeaderSize:])
	binary.LittleEndian.PutUint32(packet[cryptNonceSize:], sum)
	return nil
}

// sealPair is seal for two packets at once, if the cipher is faster that way. If it returns false,
// it has sealed neither, and seal must be called for each.
func (s *sealer) sealPair(a, b []byte) bool {
	if s.pair == nil || min(len(a), len(b)) < s.head ||
		fillCryptHeader(a) != nil || fillCryptHeader(b) != nil {
		return false
	}
	s.pair.encryptPair(a, b)
	return true
}

// sealFrom is seal for an AEAD with the payload elsewhere: packet = headroom | room for the payload
// | tailroom.
func (s *sealer) sealFrom(packet, payload []byte) error {
	if s.session != nil {
		return s.session.seal(packet, payload)
	}
	if err := s.nonce(packet[:s.head]); err != nil {
		return err
	}
	return s.aead.sealFrom(packet, payload)
}

// open undoes seal in place and returns the payload, which is a part of packet. It returns false
// for a packet that does not verify, whose bytes are then lost (S3.7). It accepts any length and
// does not allocate.
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
		sum := binary.LittleEndian.Uint32(packet[cryptNonceSize:])
		return payload, sum == crc32.ChecksumIEEE(payload)
	}
	return packet, true
}

// cryptInto copies src to dst, unless they are the same, and returns that part of dst. A cipher
// then only has to work in place.
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

// nonceAccepted is the bit of a nonce's first byte that accepted sessions and listeners set and
// dialled sessions clear (S3.9).
const nonceAccepted = 0x80

// nonceMarked is the least length of a nonce with that bit. AES-GCM keeps 95 random bits of 96.
const nonceMarked = 12

// nonceSide is the side that the first bit of a nonce names.
type nonceSide uint8

const (
	sideNone nonceSide = iota // the bit is random
	sideDialled
	sideAccepted
)

// marks reports whether the first bit of a nonce shows which side has sealed.
func (s *sealer) marks() bool { return s.side != sideNone }

// nonce fills p with a random nonce and sets the bit of the side (S3.9).
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

// remember keeps the nonce of a sealed packet, so that the packet is recognised if it comes back
// (S3.13).
func (s *sealer) remember(packet []byte) { s.sent.add(packet[:s.head]) }

// forBothSides returns the sealers of dialled and of accepted sessions. They remember nonces in
// sent.
func (s *sealer) forBothSides(sent *nonceSet) (dials, accepts *sealer) {
	a, b := *s, *s
	a.sent, b.sent = sent, sent
	if s.aead != nil && s.head >= nonceMarked {
		a.side, b.side = sideDialled, sideAccepted
	}
	return &a, &b
}

// same reports whether two sealers open each other's packets, because they have the same cipher or
// ciphers with the same key.
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

// cipherIdentity is the same for sealers that open each other's packets, and can be compared.
type cipherIdentity struct {
	head, tail int
	name       any // nil: no cipher
}

// identity returns the identity of the cipher. It is what the cipher makes of a sample. A cipher
// that makes something else of it each time is the same as itself, if it can be compared.
func (s *sealer) identity() cipherIdentity {
	id := cipherIdentity{head: s.head, tail: s.tail}
	if s.aead == nil && s.block == nil {
		return id
	}
	switch a, b := s.sample(), s.sample(); {
	case a != nil && bytes.Equal(a, b):
		id.name = string(a)
	case s.aead != nil:
		id.name = s.aead
	case reflect.ValueOf(s.block).Comparable():
		id.name = s.block
	default:
		id.name = new(byte) // there is no other like it
	}
	return id
}

// sample returns what a packet of zeros becomes with a nonce of zeros. It never leaves this
// process.
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

// sameCipher reports whether two ciphers are the same. Ciphers of a type that is not comparable
// count as different.
func sameCipher(a, b BlockCrypt) bool {
	return reflect.ValueOf(a).Comparable() && a == b
}
