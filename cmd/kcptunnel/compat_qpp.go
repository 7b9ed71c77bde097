// SPDX-License-Identifier: MIT

package main

import (
	"sync"

	"github.com/xtaci/qpp"
)

// qppPads are the permutations of QPP, which all streams of a process share.
type qppPads struct {
	seed []byte
	pads *qpp.QuantumPermutationPad
}

// newQPPPads returns the pads of the settings, or nil without QPP. The seed is the secret itself,
// not the key derived from it.
func (s *settings) newQPPPads() *qppPads {
	if !s.qpp {
		return nil
	}
	seed := []byte(s.key)
	return &qppPads{seed, qpp.NewQPP(seed, uint16(s.qppCount))}
}

// qppCodec permutes the bytes of one stream. Each direction has a generator of its own, which
// begins with the same seed.
type qppCodec struct {
	pads *qpp.QuantumPermutationPad

	readMu sync.Mutex // held while a Read takes bytes, and guards reads
	reads  *qpp.Rand

	writeMu sync.Mutex // held while a Write passes bytes on, and guards the following
	writes  *qpp.Rand
	buf     []byte
}

func (p *qppPads) newStream() *qppCodec {
	return &qppCodec{
		pads:   p.pads,
		reads:  qpp.CreatePRNG(p.seed),
		writes: qpp.CreatePRNG(p.seed),
	}
}

// qppStream is a stream whose bytes are permuted.
type qppStream struct {
	*compatStream
	pads *qppCodec
}

func (q *qppStream) Read(p []byte) (int, error) {
	c := q.pads
	c.readMu.Lock()
	defer c.readMu.Unlock()
	n, err := q.compatStream.Read(p)
	c.pads.DecryptWithPRNG(p[:n], c.reads)
	return n, err
}

func (q *qppStream) Write(p []byte) (int, error) {
	c := q.pads
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.buf = append(c.buf[:0], p...)
	c.pads.EncryptWithPRNG(c.buf, c.writes)
	return q.compatStream.Write(c.buf)
}
