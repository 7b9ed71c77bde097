// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"io"
	"math/bits"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

func entropySources() map[string]io.Reader {
	return map[string]io.Reader{
		"system": NewEntropy(), "aes": NewEntropyAES(), "chacha8": NewEntropyChacha8(),
		"default": readerFunc(func(p []byte) (int, error) { return len(p), readNonce(p) }),
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestNoncesNeverRepeatAcrossGoroutines(t *testing.T) {
	const goroutines, each = 8, 3000
	for name, source := range entropySources() {
		var group sync.WaitGroup
		drawn := make([][][12]byte, goroutines)
		for g := range drawn {
			group.Go(func() {
				for range each {
					var nonce [12]byte
					if n, err := source.Read(nonce[:]); n != len(nonce) || err != nil {
						t.Errorf("%s: got %d, %v", name, n, err)
						return
					}
					drawn[g] = append(drawn[g], nonce)
				}
			})
		}
		group.Wait()
		seen, ones := map[[12]byte]bool{}, 0
		for _, nonces := range drawn {
			for _, nonce := range nonces {
				seen[nonce] = true
				for _, b := range nonce {
					ones += bits.OnesCount8(b)
				}
			}
		}
		if len(seen) != goroutines*each {
			t.Errorf("%s: got %d different nonces of %d", name, len(seen), goroutines*each)
		}
		// Of 2.3 million bits, one half within ten standard deviations.
		if half := goroutines * each * 48; ones < half-7600 || ones > half+7600 {
			t.Errorf("%s: got %d ones, want about %d", name, ones, half)
		}
	}
}

func TestEntropyFillsEveryLength(t *testing.T) {
	for name, source := range entropySources() {
		for _, n := range []int{
			0, 1, 7, 12, 16, 24, 511, 512, 513, entropyRefills*entropyBufferSize + 1,
		} {
			p := make([]byte, n+8)
			if got, err := source.Read(p[:n]); got != n || err != nil {
				t.Errorf("%s: Read of %d bytes: got %d, %v", name, n, got, err)
			}
			zeros := make([]byte, 12)
			if n >= 12 && (bytes.Equal(p[:12], zeros) || bytes.Equal(p[n-12:n], zeros)) {
				t.Errorf("%s: Read of %d bytes left zeros", name, n)
			}
			if !bytes.Equal(p[n:], make([]byte, 8)) {
				t.Errorf("%s: Read of %d bytes wrote more", name, n)
			}
		}
	}
}

// seedCounter counts the seeds that are drawn from it, and can fail.
type seedCounter struct {
	err   error
	seeds int
}

func (s *seedCounter) Read(p []byte) (int, error) {
	if s.err != nil {
		return copy(p, "half a se"), s.err
	}
	s.seeds++
	return copy(p, cryptRandom(byte(s.seeds), len(p))), nil
}

func TestGeneratorIsSeededAgainAndFailsWithItsSeeds(t *testing.T) {
	for name, source := range map[string]*shardedEntropy{
		"aes": NewEntropyAES().(*shardedEntropy), "chacha8": newEntropyChacha8(),
	} {
		seeds := &seedCounter{err: errors.New("no seed")}
		source.seeds = seeds
		// One shard for the whole test, because the pool guarantees nothing.
		shard := source.shards.Get().(*entropyShard)
		source.shards.New = func() any { return shard }
		source.shards.Put(shard)
		nonce := make([]byte, 16)
		for range 3 {
			if n, err := source.Read(nonce); n != 0 || !errors.Is(err, seeds.err) {
				t.Fatalf("%s: got %d, %v, want %v", name, n, err, seeds.err)
			}
		}
		seeds.err = nil
		for range 3 * entropyRefills * entropyBufferSize / len(nonce) {
			if _, err := source.Read(nonce); err != nil {
				t.Fatal(err)
			}
		}
		if seeds.seeds != 3 {
			t.Errorf("%s: got %d seeds, want 3", name, seeds.seeds)
		}
		last := bytes.Clone(nonce)
		seeds.err = errors.New("no seed")
		if _, err := source.Read(nonce); err == nil {
			t.Errorf("%s: went on without a new seed", name)
		}
		if !bytes.Equal(last, nonce) {
			t.Errorf("%s: a failing Read wrote a nonce", name)
		}
	}
}

func TestSetEntropyTakesExactlyTheNonce(t *testing.T) {
	defer SetEntropy(nil)
	source := bytes.NewReader(cryptRandom(20, 24))
	SetEntropy(source)
	nonce := make([]byte, 12)
	for i, want := range []int{12, 0} {
		if err := readNonce(nonce); err != nil || source.Len() != want {
			t.Errorf("nonce %d: got %v, %d bytes left, want %d", i, err, source.Len(), want)
		}
	}
	if err := readNonce(nonce); !errors.Is(err, io.EOF) {
		t.Errorf("exhausted: got %v, want %v", err, io.EOF)
	}
	SetEntropy(nil)
	if err := readNonce(nonce); err != nil {
		t.Errorf("default restored: got %v", err)
	}
	SetEntropy(iotest.OneByteReader(strings.NewReader("a nonce, bytewise")))
	if err := readNonce(nonce); err != nil || string(nonce) != "a nonce, byt" {
		t.Errorf("one byte at a time: got %q, %v", nonce, err)
	}
}

func TestBrokenReadersEndInAnError(t *testing.T) {
	defer SetEntropy(nil)
	for name, reader := range map[string]io.Reader{
		"nothing for ever": readerFunc(func([]byte) (int, error) { return 0, nil }),
		"too much":         readerFunc(func(p []byte) (int, error) { return len(p) + 1, nil }),
		"negative":         readerFunc(func([]byte) (int, error) { return -1, nil }),
	} {
		SetEntropy(reader)
		if err := readNonce(make([]byte, 12)); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%s: got %v, want %v", name, err, io.ErrNoProgress)
		}
	}
	// An error that comes with the last byte of a nonce does not matter.
	SetEntropy(iotest.DataErrReader(bytes.NewReader(make([]byte, 12))))
	if err := readNonce(make([]byte, 12)); err != nil {
		t.Errorf("error with the last byte: got %v", err)
	}
}

// A reader need not be safe for concurrent use. The race detector checks that.
func TestSetEntropyAtAnyTime(t *testing.T) {
	defer SetEntropy(nil)
	block, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	s := newSealer(block)
	calls := 0
	plain := readerFunc(func(p []byte) (int, error) {
		calls++
		return copy(p, cryptRandom(byte(calls), len(p))), nil
	})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			packet := make([]byte, 64)
			for range 300 {
				if err := s.seal(packet); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sources := []io.Reader{nil, plain, NewEntropy(), NewEntropyAES(), NewEntropyChacha8()}
	group.Go(func() {
		for i := range 500 {
			SetEntropy(sources[i%len(sources)])
		}
	})
	group.Wait()
}

func TestEntropyDoesNotAllocate(t *testing.T) {
	for name, source := range entropySources() {
		read := source.Read
		if sharded, ok := source.(*shardedEntropy); ok {
			// Not through the pool, which the race detector empties at random.
			shard := sharded.shards.New().(*entropyShard)
			read = func(p []byte) (int, error) { return shard.read(p, sharded.seeds) }
		}
		nonce := make([]byte, 16)
		if got := testing.AllocsPerRun(500, func() { read(nonce) }); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, got)
		}
	}
}
