// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	cryptorand "crypto/rand"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

const (
	// entropySeedSize is the size of every generator's seed.
	entropySeedSize = 32
	// entropyBufferSize is how much a generator computes at once: enough for the processor to work
	// on several blocks at a time.
	entropyBufferSize = 512
	// entropyRefills is how often a buffer is filled from one seed. After 256 KiB, or some 16,000
	// packets, a state that leaked or was cloned with a virtual machine is useless. A lower number
	// would cost measurable time.
	entropyRefills = 512
	// entropyMaxEmptyReads is how often in a row a reader may return no bytes and no error, as in
	// package bufio.
	entropyMaxEmptyReads = 100
)

// SetEntropy makes r the source of all packet nonces of this process from the next packet on. nil
// restores the default, which is that of [NewEntropyChacha8]. It may be called at any time, from
// any goroutine.
//
// A packet takes exactly the bytes of its nonce from r: 16, or the NonceSize of an AEAD. r must
// return bytes that are unpredictable and never repeat: a repeated nonce under one key breaks
// AES-GCM. While r returns an error, packets that need a nonce are not sent and count as lost.
//
// The sources of this package are called concurrently. Any other r is called under a lock, and
// delays every sender while it blocks.
func SetEntropy(r io.Reader) {
	switch r := r.(type) {
	case nil:
		entropyChosen.Store(nil)
	case *shardedEntropy, systemEntropy:
		entropyChosen.Store(&entropySource{reader: r})
	default:
		entropyChosen.Store(&entropySource{reader: lockedReader{r}})
	}
}

// NewEntropy returns a source that asks the operating system for every nonce (crypto/rand). It
// keeps no state in the process, but may need a system call for each packet. It is safe for
// concurrent use.
func NewEntropy() io.Reader { return systemEntropy{} }

// NewEntropyAES returns a source that computes nonces with AES-128 in counter mode from seeds of
// crypto/rand. It is safe for concurrent use, without a shared lock.
func NewEntropyAES() io.Reader {
	return newShardedEntropy(func() entropyGenerator { return new(aesGenerator) })
}

// NewEntropyChacha8 returns a source that computes nonces with ChaCha8 from seeds of crypto/rand.
// It is safe for concurrent use, without a shared lock.
func NewEntropyChacha8() io.Reader { return newEntropyChacha8() }

func newEntropyChacha8() *shardedEntropy {
	return newShardedEntropy(func() entropyGenerator { return new(chachaGenerator) })
}

var (
	entropyDefault = newEntropyChacha8()
	// entropyChosen is what SetEntropy has set; nil: entropyDefault.
	entropyChosen atomic.Pointer[entropySource]
)

type entropySource struct{ reader io.Reader }

// readNonce fills p. If it returns an error, p must not be used.
func readNonce(p []byte) error {
	if chosen := entropyChosen.Load(); chosen != nil {
		return entropyReadFull(chosen.reader, p)
	}
	_, err := entropyDefault.Read(p)
	return err
}

// entropyReadFull is io.ReadFull for readers that may be broken. If one returns nothing again and
// again, it returns an error instead of hanging.
func entropyReadFull(r io.Reader, p []byte) error {
	for empty := 0; len(p) > 0; {
		n, err := r.Read(p)
		if n < 0 || n > len(p) {
			return io.ErrNoProgress
		}
		p = p[n:]
		switch {
		case len(p) == 0:
		case err != nil:
			return err
		case n > 0:
			empty = 0
		default:
			if empty++; empty >= entropyMaxEmptyReads {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// entropyLock is held while a reader of the program is called. There is one for all of them,
// because SetEntropy may be called with the same reader again.
var entropyLock sync.Mutex

// lockedReader serialises a reader that may not be safe for concurrent use, one whole nonce at a
// time.
type lockedReader struct{ reader io.Reader }

func (l lockedReader) Read(p []byte) (int, error) {
	entropyLock.Lock()
	defer entropyLock.Unlock()
	if err := entropyReadFull(l.reader, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

type systemEntropy struct{}

func (systemEntropy) Read(p []byte) (int, error) { return io.ReadFull(cryptorand.Reader, p) }

// shardedEntropy has a generator per processor, each with its own seed.
type shardedEntropy struct {
	seeds  io.Reader
	shards sync.Pool // of *entropyShard
}

// entropyShard is a generator that one goroutine uses at a time.
type entropyShard struct {
	generator entropyGenerator
	left      int // refills until the next seed
	used      int // bytes of buffer given out
	seed      [entropySeedSize]byte
	buffer    [entropyBufferSize]byte
}

// entropyGenerator computes the bytes that follow from a seed.
type entropyGenerator interface {
	reseed(seed *[entropySeedSize]byte) error
	generate(p []byte)
}

func newShardedEntropy(newGenerator func() entropyGenerator) *shardedEntropy {
	return &shardedEntropy{seeds: cryptorand.Reader, shards: sync.Pool{New: func() any {
		return &entropyShard{generator: newGenerator(), used: entropyBufferSize}
	}}}
}

// Read fills p, or returns the error of the source of seeds.
func (e *shardedEntropy) Read(p []byte) (int, error) {
	shard := e.shards.Get().(*entropyShard)
	n, err := shard.read(p, e.seeds)
	e.shards.Put(shard)
	return n, err
}

func (s *entropyShard) read(p []byte, seeds io.Reader) (n int, err error) {
	for n < len(p) {
		if s.used == len(s.buffer) {
			if err := s.refill(seeds); err != nil {
				return n, err
			}
		}
		taken := copy(p[n:], s.buffer[s.used:])
		s.used += taken
		n += taken
	}
	return n, nil
}

func (s *entropyShard) refill(seeds io.Reader) error {
	if s.left == 0 {
		if _, err := io.ReadFull(seeds, s.seed[:]); err != nil {
			return err
		}
		if err := s.generator.reseed(&s.seed); err != nil {
			return err
		}
		clear(s.seed[:])
		s.left = entropyRefills
	}
	s.generator.generate(s.buffer[:])
	s.left--
	s.used = 0
	return nil
}

// chachaGenerator is ChaCha8 as in C2SP chacha8rand. It replaces its own key every kilobyte, so
// that its state does not reveal earlier output.
type chachaGenerator struct{ chacha rand.ChaCha8 }

func (g *chachaGenerator) reseed(seed *[entropySeedSize]byte) error {
	g.chacha.Seed(*seed)
	return nil
}

func (g *chachaGenerator) generate(p []byte) { g.chacha.Read(p) }

// aesGenerator is AES-128 in counter mode. A seed is its key and first counter.
type aesGenerator struct{ stream cipher.Stream }

func (g *aesGenerator) reseed(seed *[entropySeedSize]byte) error {
	block, err := aes.NewCipher(seed[:entropySeedSize-aes.BlockSize])
	if err != nil {
		return err
	}
	g.stream = cipher.NewCTR(block, seed[entropySeedSize-aes.BlockSize:])
	return nil
}

func (g *aesGenerator) generate(p []byte) {
	clear(p)
	g.stream.XORKeyStream(p, p)
}

// randomUint64 returns an unguessable number. Since Go 1.24 crypto/rand does not fail.
func randomUint64() uint64 {
	var b [8]byte
	_, _ = cryptorand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// drawNumber returns an unguessable number, without a system call except for a seed now and then.
// Locks may be held.
func drawNumber() uint64 {
	var b [8]byte
	_, _ = entropyDefault.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// randomConv returns a conversation id for a new session.
func randomConv() uint32 { return uint32(randomUint64()) }
