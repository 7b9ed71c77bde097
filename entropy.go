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
	// entropyBufferSize is how much a generator computes in one go: enough for
	// the processor to work on several blocks at a time.
	entropyBufferSize = 512
	// entropyRefills is how many times a buffer is filled from one seed. After
	// 256 KiB, or some 16,000 packets, a state that leaked or was cloned with a
	// virtual machine is of no more use; more often would begin to show.
	entropyRefills = 512
	// entropyMaxEmptyReads is how often in a row a reader may return nothing
	// and no error, as in package bufio.
	entropyMaxEmptyReads = 100
)

// SetEntropy makes r the source of all packet nonces of this process from the
// next packet on; nil restores the default, which is as [NewEntropyChacha8].
// It may be called at any time, from any goroutine.
//
// Of r a packet takes exactly the bytes of its nonce: 16, or the NonceSize of
// an AEAD. r has to deliver bytes that nobody can predict and that never
// repeat; a repeated nonce under one key breaks AES-GCM outright. While r
// returns an error packets that need a nonce are not sent and count as lost.
//
// The sources of this package are called by many goroutines at once. Any other
// r is called under a lock, by one at a time, and holds up every sender while
// it blocks.
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

// NewEntropy returns a source that asks the operating system for every nonce
// (crypto/rand). Nothing of it is kept in the process, at the price of a
// system call a packet where the system has nothing cheaper. Safe for
// concurrent use.
func NewEntropy() io.Reader { return systemEntropy{} }

// NewEntropyAES returns a source that computes nonces with AES-128 in counter
// mode from seeds of crypto/rand. Safe for concurrent use, without a lock that
// goroutines could meet at.
func NewEntropyAES() io.Reader {
	return newShardedEntropy(func() entropyGenerator { return new(aesGenerator) })
}

// NewEntropyChacha8 returns a source that computes nonces with ChaCha8 from
// seeds of crypto/rand. Safe for concurrent use, without a lock that
// goroutines could meet at.
func NewEntropyChacha8() io.Reader { return newEntropyChacha8() }

func newEntropyChacha8() *shardedEntropy {
	return newShardedEntropy(func() entropyGenerator { return new(chachaGenerator) })
}

var (
	entropyDefault = newEntropyChacha8()
	// entropyChosen is what SetEntropy set; nil: entropyDefault.
	entropyChosen atomic.Pointer[entropySource]
)

type entropySource struct{ reader io.Reader }

// readNonce fills p, or says why it could not; p is then not to be used.
func readNonce(p []byte) error {
	if chosen := entropyChosen.Load(); chosen != nil {
		return entropyReadFull(chosen.reader, p)
	}
	_, err := entropyDefault.Read(p)
	return err
}

// entropyReadFull is io.ReadFull for readers that may be broken: one that
// returns nothing for ever ends in an error instead of a hang.
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

// entropyLock is held while a reader of the user's is called. There is one for
// all of them, since SetEntropy may be called with the same reader again.
var entropyLock sync.Mutex

// lockedReader serialises a reader that may not be safe for concurrent use, a
// whole nonce at a time.
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

// shardedEntropy keeps a generator per processor, each with a seed of its own.
type shardedEntropy struct {
	seeds  io.Reader
	shards sync.Pool // of *entropyShard
}

// entropyShard is what one goroutine at a time draws nonces from.
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

// Read fills p, or returns the error of the seeds' source.
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

// chachaGenerator is ChaCha8 as C2SP chacha8rand has it: it replaces its own
// key every kilobyte, so that its state does not tell what it gave out before.
type chachaGenerator struct{ chacha rand.ChaCha8 }

func (g *chachaGenerator) reseed(seed *[entropySeedSize]byte) error {
	g.chacha.Seed(*seed)
	return nil
}

func (g *chachaGenerator) generate(p []byte) { g.chacha.Read(p) }

// aesGenerator is AES-128 in counter mode; a seed is its key and first counter.
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

// drawNumber returns an unguessable number without a system call, but for a seed now and then: locks may be held.
func drawNumber() uint64 {
	var b [8]byte
	_, _ = entropyDefault.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// randomConv returns a conversation id for a new session.
func randomConv() uint32 { return uint32(randomUint64()) }
