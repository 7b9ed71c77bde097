// SPDX-License-Identifier: MIT

package kcp

import "bytes"

// fecSpareShards is how many packets a group keeps beyond one for each index. Two packets that say different things
// under one seqid mean that one of them is forged; with both kept, the honest one still counts.
const fecSpareShards = 4

// fecShard is a packet of a group, from its size field on.
type fecShard struct {
	index uint8
	bytes []byte // pooled
}

type fecGroupState uint8

const (
	fecGroupFree fecGroupState = iota
	fecGroupOpen
	fecGroupDone // nothing more is wanted; late packets are recognised by it
)

// fecGroup is one place of the ring.
type fecGroup struct {
	number  int64  // unwrapped
	base    uint32 // seqid of its first shard
	state   fecGroupState
	have    [4]uint64 // by index
	data    int       // different data shards
	parity  int       // different parity shards
	tried   bool      // recovering has been tried: from then on it is paid for
	waits   uint8     // looks at a group that has enough packets but no trustworthy shape
	retry   uint32    // the decoder's clock at the next look
	touched uint32    // the decoder's clock at the newest packet
	shards  []fecShard
}

// newFECRing returns a ring of free groups.
func newFECRing(shape fecShape) []fecGroup {
	ring := make([]fecGroup, min(max(fecRingSeqids/shape.total, fecRingMinGroups), fecRingMaxGroups))
	each := shape.total + fecSpareShards
	shards := make([]fecShard, len(ring)*each)
	for i := range ring {
		ring[i].shards = shards[i*each : i*each : (i+1)*each]
	}
	return ring
}

// open takes a place that holds no packets into use.
func (g *fecGroup) open(number int64, base uint32) {
	*g = fecGroup{number: number, base: base, state: fecGroupOpen, shards: g.shards[:0]}
}

// parities counts the parity packets in the group.
func (g *fecGroup) parities(shape fecShape) (n int) {
	for _, s := range g.shards {
		if int(s.index) >= shape.data {
			n++
		}
	}
	return n
}

// keep copies a shard into its group. It reports false for one that adds nothing.
func (d *fecDecoder) keep(g *fecGroup, index uint8, shard []byte) bool {
	if g.state == fecGroupDone {
		return false
	}
	word, bit := index/64, uint64(1)<<(index%64)
	again := g.have[word]&bit != 0
	if again && (len(g.shards)-g.data-g.parity == fecSpareShards || g.holds(index, shard)) {
		return false
	}
	b := d.get(len(shard))
	for d.held > fecMemoryLimit {
		if !d.evictOldest(g) {
			d.put(b)
			return false
		}
	}
	copy(b, shard)
	g.shards = append(g.shards, fecShard{index: index, bytes: b})
	switch {
	case again:
		d.counts.errors++
	case int(index) < d.shape.data:
		g.data++
	default:
		g.parity++
	}
	g.have[word] |= bit
	return true
}

// holds reports whether this very shard is there already.
func (g *fecGroup) holds(index uint8, shard []byte) bool {
	for _, s := range g.shards {
		if s.index == index && bytes.Equal(s.bytes, shard) {
			return true
		}
	}
	return false
}

// evictOldest gives up the group other than keep that has been silent for longest.
func (d *fecDecoder) evictOldest(keep *fecGroup) bool {
	var oldest *fecGroup
	for i := range d.groups {
		g := &d.groups[i]
		if g != keep && len(g.shards) > 0 && (oldest == nil || d.clock-g.touched > d.clock-oldest.touched) {
			oldest = g
		}
	}
	if oldest == nil {
		return false
	}
	d.giveUp(oldest)
	return true
}
