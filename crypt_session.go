// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// A packet under the keys of a session (S3.16). The header is masked, so that packets look like
// noise:
//
//	| header 12 | ciphertext | tag 16 |
//	header = (u32 receiver id, u64 counter) ^ AES-256(M, the 16 bytes behind the header)
const (
	sessionHeaderSize = 12
	sessionTagSize    = 16
	// sessionPacketLeast is the least size of such a packet: the mask is made of 16 bytes.
	sessionPacketLeast = sessionHeaderSize + aes.BlockSize
)

const (
	// sessionKeyWorn is how many packets in a direction are sent under one key before the keys are
	// changed. RFC 9001 section 6.6 has the same number for AES-GCM.
	sessionKeyWorn = 1 << 23
	// sessionKeyMost is the most packets under one key, if the keys cannot be changed. No counter
	// is beyond it (S3.18).
	sessionKeyMost = 1 << 27
)

// errSessionKeyUsed is returned for a packet under a key that has been used up.
var errSessionKeyUsed = errors.New("kcp: the session's key has been used for 2^27 packets")

// packetSuite is the AEAD of packets under session keys, as KEX messages name it.
type packetSuite uint8

const (
	suiteAESGCM   packetSuite = 1 // AES-256-GCM
	suiteChaCha20 packetSuite = 2 // ChaCha20-Poly1305
	suiteAES128   packetSuite = 3 // AES-128-GCM, under the first half of a key
)

// aead returns the suite's AEAD for a key.
func (s packetSuite) aead(key *[32]byte) cipher.AEAD {
	if s == suiteChaCha20 {
		aead, err := chacha20poly1305.New(key[:])
		if err != nil {
			panic(err) // the length of the key is right
		}
		return aead
	}
	used := key[:]
	if s == suiteAES128 {
		used = key[:16]
	}
	block, err := aes.NewCipher(used)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// A keySource is what a pre-shared key gives for the keys of sessions. It is immutable.
type keySource struct {
	psk   [32]byte     // of the handshake
	mask  cipher.Block // of packet headers
	suite packetSuite
}

// newKeySource derives a keySource from a pre-shared key (S3.14).
func newKeySource(key []byte, suite packetSuite) (*keySource, error) {
	psk, err := hkdf.Key(sha256.New, key, nil, "kcp session keys", 32)
	if err != nil {
		return nil, err
	}
	mask, err := hkdf.Key(sha256.New, key, nil, "kcp header mask", 32)
	if err != nil {
		return nil, err
	}
	k := &keySource{psk: [32]byte(psk), suite: suite}
	k.mask, err = aes.NewCipher(mask)
	return k, err
}

// packetKeys are the keys of a session from one handshake. Their owner guards them, except that
// packets are sealed concurrently.
type packetKeys struct {
	out, in [32]byte
	sent    atomic.Uint64 // packets sealed: the next counter
	id      uint32        // names the keys in packets to this side; 0: there are no keys
	peerID  uint32        // the same in packets to the peer
	next    uint32        // the counter behind the highest received
	since   uint32        // when they were made, in the owner's units
}

// sessionScratch is memory that is given to a cipher. It cannot be on the stack.
type sessionScratch struct {
	nonce [12]byte
	pad   [aes.BlockSize]byte
}

var sessionScratches = sync.Pool{New: func() any { return new(sessionScratch) }}

// A sessionSealer seals packets under the keys of a session.
type sessionSealer struct {
	source *keySource
	aead   cipher.AEAD
	keys   *packetKeys
}

// sessionFrame stands for the sealers of sessions where packets are laid out.
var sessionFrame = &sealer{head: sessionHeaderSize, tail: sessionTagSize}

// sealing returns a sealer that seals under k.
func (k *packetKeys) sealing(source *keySource) *sealer {
	return &sealer{
		session: &sessionSealer{source, source.suite.aead(&k.out), k},
		head:    sessionHeaderSize, tail: sessionTagSize,
	}
}

// seal encrypts payload into packet = header | room for payload and tag. The payload may already be
// in its place.
func (s *sessionSealer) seal(packet, payload []byte) error {
	if s.keys.sent.Load() >= sessionKeyMost {
		return errSessionKeyUsed
	}
	counter := s.keys.sent.Add(1) - 1
	scratch := sessionScratches.Get().(*sessionScratch)
	err := s.sealWith(scratch, packet, payload, counter)
	sessionScratches.Put(scratch)
	return err
}

func (s *sessionSealer) sealWith(
	scratch *sessionScratch, packet, payload []byte, counter uint64,
) error {
	le := binary.LittleEndian
	le.PutUint64(scratch.nonce[4:], counter) // the first 4 bytes stay 0
	body := packet[sessionHeaderSize:]
	out := s.aead.Seal(body[:0:len(body)], scratch.nonce[:], payload, nil)
	if len(out) != len(body) {
		return errAEADLength
	}
	s.source.mask.Encrypt(scratch.pad[:], body[:aes.BlockSize])
	le.PutUint32(packet, s.keys.peerID^le.Uint32(scratch.pad[:]))
	le.PutUint64(packet[4:], counter^le.Uint64(scratch.pad[4:]))
	return nil
}

// unmask returns the receiver id and the counter that a packet has if it is one under the keys of a
// session. ok is false for a packet that is too short.
func (k *keySource) unmask(packet []byte, scratch *sessionScratch) (
	id uint32, counter uint64, ok bool,
) {
	if len(packet) < sessionPacketLeast {
		return 0, 0, false
	}
	le := binary.LittleEndian
	k.mask.Encrypt(scratch.pad[:], packet[sessionHeaderSize:sessionPacketLeast])
	id = le.Uint32(packet) ^ le.Uint32(scratch.pad[:])
	counter = le.Uint64(packet[4:]) ^ le.Uint64(scratch.pad[4:])
	return id, counter, true
}

// A sealedPacket is a packet that may be under the keys of a session, with what its header says
// then.
type sealedPacket struct {
	id      uint32
	counter uint64
	packet  []byte
	scratch sessionScratch
}

// parse reads the header. It returns false for a packet that is too short.
func (p *sealedPacket) parse(packet []byte, k *keySource) (ok bool) {
	p.packet = packet
	p.id, p.counter, ok = k.unmask(packet, &p.scratch)
	return ok
}

// A packetOpener opens packets under the keys of a session, each counter once.
type packetOpener struct {
	aead   cipher.AEAD
	keys   *packetKeys
	window replayWindow
}

// opening returns what opens packets under k.
func (k *packetKeys) opening(source *keySource) *packetOpener {
	o := &packetOpener{aead: source.suite.aead(&k.in), keys: k}
	o.window.begin(uint64(k.next))
	return o
}

// open opens a packet in place and returns the payload. It returns false for a packet that does not
// verify, or whose counter is beyond the bound or not new. Whether the counter is beyond all before
// is for the owner, who may follow the peer to another address then.
func (o *packetOpener) open(packet []byte, counter uint64, scratch *sessionScratch) (
	payload []byte, newest, ok bool,
) {
	if counter >= sessionKeyMost || !o.window.fresh(counter) {
		return nil, false, false
	}
	payload, ok = openCounted(o.aead, packet, counter, scratch)
	if !ok {
		return nil, false, false
	}
	o.window.accept(counter)
	if newest = counter >= uint64(o.keys.next); newest {
		o.keys.next = uint32(counter) + 1
	}
	return payload, newest, true
}

// openCounted opens a packet in place, whatever counters have been received.
func openCounted(aead cipher.AEAD, packet []byte, counter uint64, scratch *sessionScratch) (
	payload []byte, ok bool,
) {
	binary.LittleEndian.PutUint64(scratch.nonce[4:], counter)
	body := packet[sessionHeaderSize:]
	payload, err := aead.Open(body[:0], scratch.nonce[:], body, nil)
	return payload, err == nil
}
