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

// qppStream permutes the bytes of a stream. Each direction has a generator of its own, which begins
// with the same seed.
type qppStream struct {
	stream
	pads *qpp.QuantumPermutationPad

	readMu sync.Mutex // guards reads, so that bytes are taken in order
	reads  *qpp.Rand

	writeMu sync.Mutex // guards the following
	writes  *qpp.Rand
	buf     []byte
}

func newQPPStream(s stream, p *qppPads) *qppStream {
	return &qppStream{
		stream: s,
		pads:   p.pads,
		reads:  qpp.CreatePRNG(p.seed),
		writes: qpp.CreatePRNG(p.seed),
	}
}

func (q *qppStream) Read(p []byte) (int, error) {
	q.readMu.Lock()
	defer q.readMu.Unlock()
	n, err := q.stream.Read(p)
	q.pads.DecryptWithPRNG(p[:n], q.reads)
	return n, err
}

func (q *qppStream) Write(p []byte) (int, error) {
	q.writeMu.Lock()
	defer q.writeMu.Unlock()
	q.buf = append(q.buf[:0], p...)
	q.pads.EncryptWithPRNG(q.buf, q.writes)
	return q.stream.Write(q.buf)
}
