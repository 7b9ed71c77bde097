// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"math"
	"slices"
	"sync/atomic"
)

// fecMinParityBuffer keeps the parity buffers of a stream of small packets from growing at every second packet.
const fecMinParityBuffer = 256

// fecEncoder numbers the data packets of one sender and makes the parity of each group while the packets pass: a data
// packet is multiplied into the p parity buffers and never kept. Owned by one transmitter at a time, no lock inside.
type fecEncoder struct {
	shape   fecShape
	pending fecShape // of setShards, taken over when the next group begins

	next   uint32 // seqid of the next packet, below shape.wrap()
	filled int    // data packets of the open group so far
	ready  int    // parity packets that parity() hands out

	lastMillis int64 // when the previous data packet was encoded, in whatever group; neverEncoded at first

	weights []uint8      // fecWeight of every shard over the data shards; nil until the first packet
	buffers [][]byte     // parity packets under construction, header included; nil while released
	longest int          // bytes of the group's longest shard so far
	held    atomic.Int32 // bytes of the buffers, for who does not transmit
	adder   fecAdder
}

// newFECEncoder returns an encoder whose first packet has seqid 0. dataShards and parityShards are at least 1 and
// together at most 256; an error names the argument. It holds no buffers before the first packet.
func newFECEncoder(dataShards, parityShards int) (*fecEncoder, error) {
	shape, err := newFECShape(dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	return &fecEncoder{shape: shape, lastMillis: neverEncoded}, nil
}

// neverEncoded is longer ago than any gap between packets.
const neverEncoded = math.MinInt64 / 2

// fecShapeJump is how far ahead the seqids of changed groups begin. A receiver that went on grouping them as before could
// make packets up that look like ours, because header bytes that are the same in all packets come out right whatever is
// mixed; a jump that no loss explains tells it to begin anew.
const fecShapeJump = 3 << 20

// setShards changes the group from the next one on, the open one is finished as it was begun. Seqids go on upwards,
// fecShapeJump and more ahead, at a boundary of the new groups: a seqid's remainder is its index for ever, also to a
// receiver that has not noticed the change yet. An error names the argument and changes nothing.
func (e *fecEncoder) setShards(k, p int) error {
	shape, err := newFECShape(k, p)
	if err != nil {
		return err
	}
	e.pending = shape
	return nil
}

// encode writes the FEC header of a data packet into packet[0:8], adds the packet to its group's parity and returns how
// many parity packets are ready now: 0, or all of the group's if it was the group's last. packet[8:] are its segments;
// the packet is from 8 to 65541 bytes long, and nothing of it is kept. nowMillis is any clock that does not jump.
//
// If the last data packet of the group comes 500 ms or more after the one before it (or is the encoder's first), there
// is no parity for the group and its seqids are skipped, as deployed peers do.
func (e *fecEncoder) encode(packet []byte, nowMillis int64) int {
	if len(packet) < fecHeaderSize || len(packet)-fecShardOffset > math.MaxUint16 {
		panic("kcp: FEC packet of impossible size")
	}
	if e.filled == 0 {
		e.begin()
	}
	shard := packet[fecShardOffset:]
	fecHeader{seqid: e.next, kind: fecTypeData, size: uint16(len(shard))}.append(packet[:0])
	e.fold(shard)
	e.next++
	e.filled++

	early := nowMillis-e.lastMillis < fecParityGap
	e.lastMillis = nowMillis
	if e.filled < e.shape.data {
		return 0
	}
	return e.finish(early)
}

// begin opens a group.
func (e *fecEncoder) begin() {
	e.ready, e.longest = 0, 0
	if e.pending.known() && e.pending != e.shape {
		e.release()
		e.shape, e.weights = e.pending, nil
		e.next = e.shape.align((e.next + fecShapeJump) % e.shape.wrap())
	}
	e.pending = fecShape{}
	if e.weights == nil {
		e.weights = fecEncodeWeights(e.shape)
	}
	if e.buffers == nil {
		e.buffers = make([][]byte, e.shape.parity())
	}
}

// fecEncodeWeights returns the weight of every shard when the data shards are the known ones.
func fecEncodeWeights(shape fecShape) []uint8 {
	weights := make([]uint8, shape.total)
	for i := range weights {
		weights[i] = uint8(i)
	}
	known := slices.Clone(weights[:shape.data])
	for i := range weights {
		weights[i] = fecWeight(uint8(i), known)
	}
	return weights
}

// fold adds the group's next data shard to all parity shards. A shard counts as padded with zeros to the longest, so
// only its own length has to be visited.
func (e *fecEncoder) fold(shard []byte) {
	if len(shard) > e.longest {
		e.lengthen(len(shard))
	}
	x := uint8(e.filled)
	for i, b := range e.buffers {
		y := uint8(e.shape.data + i)
		e.adder.add(b[fecShardOffset:], fecCoefficient(y, e.weights[y], x, e.weights[x]), shard)
	}
}

// lengthen makes the parity shards n bytes long, with zeros behind what they hold.
func (e *fecEncoder) lengthen(n int) {
	used, need := fecShardOffset+e.longest, fecShardOffset+n
	for i, b := range e.buffers {
		if need > cap(b) {
			wider := getBuffer(max(need, min(2*cap(b), fecMaxPacket), fecMinParityBuffer))
			copy(wider, b[:min(used, len(b))])
			e.held.Add(int32(cap(wider) - cap(b)))
			if b != nil {
				putBuffer(b)
			}
			b = wider
		}
		b = b[:cap(b)]
		clear(b[used:need])
		e.buffers[i] = b
	}
	e.longest = n
}

// finish closes the group and returns how many parity packets there are.
func (e *fecEncoder) finish(early bool) int {
	e.filled = 0
	parity := uint32(e.shape.parity())
	if early {
		e.ready = int(parity)
		for i, b := range e.buffers {
			binary.LittleEndian.PutUint32(b, e.next+uint32(i))
			binary.LittleEndian.PutUint16(b[4:], fecTypeParity)
		}
	}
	if e.next += parity; e.next >= e.shape.wrap() {
		e.next = 0
	}
	return e.ready
}

// parity returns the i-th ready parity packet, header included. It is valid until the next encode, setShards does not
// touch it, release does.
func (e *fecEncoder) parity(i int) []byte {
	return e.buffers[:e.ready][i][:fecShardOffset+e.longest]
}

// memory returns the bytes of the parity buffers. Any goroutine may call it.
func (e *fecEncoder) memory() int { return int(e.held.Load()) }

// idle reports that no group is open: release would cost nothing.
func (e *fecEncoder) idle() bool { return e.filled == 0 }

// release gives the parity buffers back; they return with the next packet. A group that is open goes without parity,
// and the next packet begins a new one: to a receiver it looks like packets lost. To switch parity off and on again
// release the encoder and keep it, so that seqids go on upwards.
func (e *fecEncoder) release() {
	if e.filled > 0 {
		e.next += uint32(e.shape.data - e.filled)
		e.finish(false)
	}
	for _, b := range e.buffers {
		if b != nil {
			putBuffer(b)
		}
	}
	e.buffers, e.ready = nil, 0
	e.held.Store(0)
}
