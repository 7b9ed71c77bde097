// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"math"
	"slices"
	"sync/atomic"
)

// fecMinParityBuffer keeps the parity buffers of a stream of small packets from growing at every
// second packet.
const fecMinParityBuffer = 256

// fecFormat is how parity shows what it is parity of.
type fecFormat uint8

const (
	fecImplied fecFormat = iota // not at all: groups have a fixed shape, and seqids for parity
	fecNamed                    // its header names the group, and the data carries a check
)

// fecEncoder numbers the data packets of one sender and makes the parity of each group on the way:
// a data packet is multiplied into the p parity buffers and not kept. One transmitter owns it at a
// time.
type fecEncoder struct {
	shape   fecShape
	pending fecShape // of setShards, for the next group
	format  fecFormat

	first  uint32 // of the open group
	next   uint32 // seqid of the next packet, below shape.wrap()
	filled int    // data packets of the open group so far
	ready  int    // parity packets that parity() hands out

	lastMillis int64 // when the previous data packet was encoded, or neverEncoded

	weights []uint8      // weights of every shard over the data shards, from the first packet on
	buffers [][]byte     // parity packets being made, with header; nil while released
	head    int          // bytes of a parity packet in front of the parity
	longest int          // bytes of the group's longest shard so far, with its check if it has one
	held    atomic.Int32 // bytes of the buffers, for other goroutines
	share   parityShare
	pace    fecPace
	trail   fecTrail
	earned  int32 // allowance for each data packet, in parityOne; 0: groups close at any time
	credit  int32 // what has been earned and not been spent
	most    int32 // parity packets for a thousand data packets
	adder   fecAdder
}

// newFECEncoder returns an encoder whose first packet has seqid 0. dataShards and parityShards are
// at least 1 and together at most 256. An error names the argument. It holds no buffers before the
// first packet.
func newFECEncoder(dataShards, parityShards int) (*fecEncoder, error) {
	shape, err := newFECShape(dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	return &fecEncoder{shape: shape, head: fecShardOffset, lastMillis: neverEncoded}, nil
}

// parityOne is the allowance that a parity packet takes.
const parityOne = 1 << 8

// save limits parity, also that of groups that are closed early, to the share of whole groups, and
// to so many parity packets for a thousand data packets.
func (e *fecEncoder) save(most int) {
	e.most = int32(most)
	e.earn()
}

func (e *fecEncoder) earn() {
	share := int32(e.shape.parity()*parityOne+e.shape.data-1) / int32(e.shape.data)
	e.earned = max(min(share, e.most*parityOne/1000), 1)
}

// neverEncoded is longer ago than any gap between packets.
const neverEncoded = math.MinInt64 / 2

// fecShapeJump is how far ahead the seqids of changed groups begin (S2.16). A receiver that grouped
// them as before could make up packets that look valid: header bytes that are the same in all
// packets come out right whatever is mixed. A jump that loss does not explain makes it start again.
const fecShapeJump = 3 << 20

// setShards changes the groups from the next one on. The open group is finished as it was begun.
// Seqids increase by fecShapeJump and more, to a boundary of the new groups. A seqid's remainder is
// thus always its index, also for a receiver that has not noticed the change. An error names the
// argument and changes nothing.
func (e *fecEncoder) setShards(k, p int) error {
	shape, err := newFECShape(k, p)
	if err != nil {
		return err
	}
	e.pending = shape
	return nil
}

// nameGroups makes the parity of all further groups name them (S2.19), for a peer that reads that.
// Seqids then count data packets alone, groups may have any shape, and close ends one early. An
// open group gets no parity.
func (e *fecEncoder) nameGroups() {
	if e.format == fecNamed {
		return
	}
	e.filled = 0 // so that release skips no seqids
	e.release()
	e.format, e.head = fecNamed, fecGroupHeaderSize
}

// encode writes the FEC header of a data packet into packet[0:8], adds the packet to its group's
// parity, and returns how many parity packets are ready: 0, or all of the group if the packet was
// its last. packet[8:] are the packet's segments. The packet has 8 to 65541 bytes, and nothing of
// it is kept. nowMillis is a clock that does not jump.
//
// If the last data packet of the group comes 500 ms or more after the one before it, or is the
// encoder's first, there is no parity for the group (S2.5). Its seqids are skipped, as legacy peers
// do. A group that is named gets its parity in any case.
func (e *fecEncoder) encode(packet []byte, nowMillis int64) int {
	if len(packet) < fecHeaderSize || len(packet)-fecShardOffset > math.MaxUint16 {
		panic("kcp: FEC packet of impossible size")
	}
	if e.filled == 0 {
		e.begin()
	}
	shard := packet[fecShardOffset:]
	fecHeader{seqid: e.next, kind: fecTypeData, size: uint16(len(shard))}.append(packet[:0])
	if e.format == fecNamed {
		e.foldChecked(packet)
	} else {
		e.fold(shard)
	}
	e.next++
	e.filled++
	e.pace.gap = max(e.pace.gap, nowMillis-e.lastMillis)
	e.credit = min(e.credit+e.earned, int32(e.shape.parity())*parityOne)

	early := nowMillis-e.lastMillis < fecParityGap
	e.lastMillis = nowMillis
	switch {
	case e.filled < e.shape.data:
		return 0
	case e.format == fecNamed:
		return e.close()
	}
	return e.finish(early)
}

// close ends the open group, whose parity must be named, and returns how many parity packets are
// ready. A group of fewer packets needs a larger share of parity, because one loss is a larger
// share of it.
func (e *fecEncoder) close() int {
	if e.filled == 0 || e.format != fecNamed {
		return 0
	}
	p := e.shape.parityOf(e.filled)
	if e.earned > 0 {
		p = min(p, int(e.credit/parityOne))
		e.credit -= int32(p) * parityOne
	}
	if p == 0 { // a group that is not full waits for more data
		e.filled %= e.shape.data
		return 0
	}
	for i, b := range e.buffers[:p] {
		fecGroup{first: e.first, index: uint8(i), k: uint8(e.filled), p: uint8(p)}.append(b[:0])
	}
	e.filled, e.ready = 0, p
	return p
}

// drop makes the next packet begin another group than the open one. Neither it nor the one before
// needs parity.
func (e *fecEncoder) drop() {
	if e.format == fecNamed {
		e.filled = 0
		e.trail.drop()
	}
}

// begin opens a group.
func (e *fecEncoder) begin() {
	e.ready, e.longest, e.first = 0, 0, e.next
	e.pace = fecPace{from: e.lastMillis}
	if e.pending.known() && e.pending != e.shape {
		e.free(e.buffers)
		e.buffers = nil
		e.shape, e.weights = e.pending, nil
		if e.earned > 0 {
			e.earn()
		}
		if e.format == fecImplied {
			e.next = e.shape.align((e.next + fecShapeJump) % e.shape.wrap())
		}
	}
	e.pending = fecShape{}
	if e.weights == nil && e.format == fecImplied {
		e.weights = fecEncodeWeights(e.shape)
	}
	if e.buffers == nil {
		e.buffers = make([][]byte, e.shape.parity())
	}
}

// fecEncodeWeights returns the weight of every shard if the data shards are the known ones.
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

// fold adds the group's next data shard to all parity shards (S2.4). A shard counts as padded with
// zeros to the longest, so that only its own length is processed.
func (e *fecEncoder) fold(shard []byte) {
	if len(shard) > e.longest {
		e.lengthen(len(shard))
	}
	x := uint8(e.filled)
	for i, b := range e.buffers {
		y := uint8(e.shape.data + i)
		e.adder.add(b[e.head:], fecCoefficient(y, e.weights[y], x, e.weights[x]), shard)
	}
}

// foldChecked adds a data packet, with its check in front of its shard, to the parity of a group
// that is named. The check takes the place of a part of the header for that moment.
func (e *fecEncoder) foldChecked(packet []byte) {
	const at = fecShardOffset - fecCheckSize
	header := [fecCheckSize]byte(packet[at:])
	binary.LittleEndian.PutUint32(packet[at:], fecCheck(packet))
	if shard := packet[at:]; len(shard) > e.longest {
		e.lengthen(len(shard))
	}
	for i, b := range e.buffers {
		c := fecInverse(fecPoint(uint8(i)) ^ uint8(e.filled))
		e.adder.add(b[e.head:], c, packet[at:])
	}
	copy(packet[at:], header[:])
}

// lengthen makes the parity shards n bytes long, padded with zeros.
func (e *fecEncoder) lengthen(n int) {
	used, need := e.head+e.longest, e.head+n
	for i, b := range e.buffers {
		if need > cap(b) {
			wider := getBuffer(max(need, min(2*cap(b), mtuMax), fecMinParityBuffer))
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

// parity returns the i-th ready parity packet with its header. It is valid until the next encode or
// release.
func (e *fecEncoder) parity(i int) []byte {
	return e.buffers[:e.ready][i][:e.head+e.longest]
}

// overhead returns by how many bytes a parity packet is longer than the segments of the longest
// data packet of its group.
func (e *fecEncoder) overhead() int {
	if e.format == fecNamed {
		return fecHeaderSize + fecGroupOverhead
	}
	return fecHeaderSize
}

// memory returns the bytes of the parity buffers. Any goroutine may call it.
func (e *fecEncoder) memory() int { return int(e.held.Load()) }

// idle reports that no group is open and no parity is held, so that release loses nothing.
func (e *fecEncoder) idle() bool { return e.filled == 0 && e.trail.left() == 0 }

// release releases the parity buffers until the next packet. An open group gets no parity, what is
// held is dropped, and the next packet begins a new group: a receiver takes that for packet loss.
// To switch parity off and on again, release the encoder and keep it, so that seqids increase.
func (e *fecEncoder) release() {
	if e.filled > 0 && e.format == fecImplied {
		e.next += uint32(e.shape.data - e.filled)
		e.finish(false)
	}
	e.filled = 0
	e.free(e.buffers)
	e.free(e.trail.buffers)
	e.buffers, e.ready, e.trail = nil, 0, fecTrail{}
}

// parityShare is the part of an FEC group that counts against the rate limit. The parity of the
// group counts in proportion. A session that mostly acknowledges is thus not delayed by the parity
// of its acknowledgements.
type parityShare struct{ packets, limited int32 }

func (g *parityShare) count(p span) {
	g.packets++
	if p.limited > 0 {
		g.limited++
	}
}

// of returns the share of a parity packet of that size.
func (g *parityShare) of(size int) int { return size * int(g.limited) / int(max(1, g.packets)) }
