// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"

	"github.com/flynn/noise"
)

// The handshake is Noise_NNpsk0_25519_AESGCM_SHA256 (S3.15) of revision 34:
//
//	KEX1  | suite u8 | e 32 | encrypted: receiver id u32 | tag 16 |
//	KEX2  | suite u8 | e 32 | encrypted: receiver id u32, incarnation u64, flags u32 | tag 16 |
const (
	kexPublicSize   = 32
	kexPayload1     = 4
	kexPayload2     = 16
	kexMessage1Size = 1 + kexPublicSize + kexPayload1 + sessionTagSize
	kexMessage2Size = 1 + kexPublicSize + kexPayload2 + sessionTagSize
)

var kexCiphers = noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashSHA256)

// errKex is returned for a message of the handshake that is not the peer's, or for another session.
var errKex = errors.New("kcp: a message of the handshake does not verify")

// kexRandom is the source of ephemeral keys. Unlike nonces, they are always the system's.
var kexRandom io.Reader = rand.Reader

// newKex begins a handshake. The source of random bytes may be nil: the system's.
func newKex(
	psk *[32]byte, prologue []byte, initiator bool, random io.Reader,
) (*noise.HandshakeState, error) {
	if random == nil {
		random = kexRandom
	}
	return noise.NewHandshakeState(noise.Config{
		CipherSuite: kexCiphers, Random: random, Pattern: noise.HandshakeNN,
		Initiator: initiator, Prologue: prologue, PresharedKey: psk[:],
	})
}

// kexPrologue is what both sides know of the session before the handshake: the conversation id,
// and the incarnation and the flags of the dialled side.
func kexPrologue(conv uint32, incarnation uint64, flags uint32) []byte {
	b := append(make([]byte, 0, 21), "kcp 1"...)
	b = binary.LittleEndian.AppendUint32(b, conv)
	b = binary.LittleEndian.AppendUint64(b, incarnation)
	return binary.LittleEndian.AppendUint32(b, flags)
}

// kexPeer is what the accepted side says in KEX2.
type kexPeer struct {
	id          uint32
	incarnation uint64
	flags       uint32
}

// A kexAsker is the side that has sent KEX1.
type kexAsker struct {
	source *keySource
	state  *noise.HandshakeState
	id     uint32
}

// ask returns KEX1 of a handshake, and what its answer is for. id is the receiver id of this side.
func (k *keySource) ask(prologue []byte, id uint32, random io.Reader) (*kexAsker, []byte, error) {
	state, err := newKex(&k.psk, prologue, true, random)
	if err != nil {
		return nil, nil, err
	}
	payload := binary.LittleEndian.AppendUint32(nil, id)
	message := append(make([]byte, 0, kexMessage1Size), byte(k.suite))
	message, _, _, err = state.WriteMessage(message, payload)
	if err != nil {
		return nil, nil, err
	}
	return &kexAsker{k, state, id}, message, nil
}

// finish sets keys to those of the handshake that KEX2 completes, and returns what the peer has
// said in it. A message that does not verify changes nothing.
func (a *kexAsker) finish(message []byte, keys *packetKeys) (peer kexPeer, err error) {
	if len(message) < kexMessage2Size || packetSuite(message[0]) != a.source.suite {
		return peer, errKex
	}
	payload, out, in, err := a.state.ReadMessage(nil, message[1:])
	if err != nil || len(payload) < kexPayload2 {
		return peer, errKex
	}
	le := binary.LittleEndian
	peer = kexPeer{le.Uint32(payload), le.Uint64(payload[4:]), le.Uint32(payload[12:])}
	keys.out, keys.in = out.UnsafeKey(), in.UnsafeKey()
	keys.id, keys.peerID = a.id, peer.id
	return peer, nil
}

// answer sets keys to those of the handshake that KEX1 has begun, and returns KEX2. own is what it
// says of this side.
func (k *keySource) answer(
	prologue, message []byte, own kexPeer, keys *packetKeys, random io.Reader,
) (reply []byte, err error) {
	if len(message) < kexMessage1Size || packetSuite(message[0]) != k.suite {
		return nil, errKex
	}
	state, err := newKex(&k.psk, prologue, false, random)
	if err != nil {
		return nil, err
	}
	payload, _, _, err := state.ReadMessage(nil, message[1:])
	if err != nil || len(payload) < kexPayload1 {
		return nil, errKex
	}
	le := binary.LittleEndian
	said := le.AppendUint32(nil, own.id)
	said = le.AppendUint64(said, own.incarnation)
	said = le.AppendUint32(said, own.flags)
	reply = append(make([]byte, 0, kexMessage2Size), byte(k.suite))
	reply, in, out, err := state.WriteMessage(reply, said)
	if err != nil {
		return nil, err
	}
	keys.out, keys.in, keys.peerID = out.UnsafeKey(), in.UnsafeKey(), le.Uint32(payload)
	if keys.id != own.id { // keys that can be found already have their id
		keys.id = own.id
	}
	return reply, nil
}
