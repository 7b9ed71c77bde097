// SPDX-License-Identifier: MIT

package kcp

import "encoding/binary"

// The first try at a group is always made. If it comes out wrong a shard is forged, and each further try, without one
// shard or another, is paid for from an allowance in multiplications of a shard (60 ns each at 1400 bytes): every packet
// earns some, so that whatever an attacker sends, it costs less than 2 us a packet.
const (
	fecTryEarned = 32
	fecTrySaved  = 8192
)

// fecChoice is k shards of a group that are taken for true.
type fecChoice struct {
	n       int
	length  int                 // of the parity shards
	have    [4]uint64           // by index
	points  [fecMaxTotal]uint8  // their indexes
	members [fecMaxTotal]uint16 // their places in the group
}

func (c *fecChoice) add(index uint8, member int) {
	c.points[c.n], c.members[c.n] = index, uint16(member)
	c.have[index/64] |= 1 << (index % 64)
	c.n++
}

func (c *fecChoice) has(index uint8) bool { return c.have[index/64]&(1<<(index%64)) != 0 }

func (c *fecChoice) uses(member int) bool {
	for _, m := range c.members[:c.n] {
		if int(m) == member {
			return true
		}
	}
	return false
}

// choose takes all data shards but the one at skip, and parity for the missing ones, the newest first after passing over
// some; false if it does not suffice. Parity shards of one group are all as long as its longest data shard.
func (g *fecGroup) choose(c *fecChoice, shape fecShape, skip, pass int) bool {
	c.n, c.length, c.have = 0, 0, [4]uint64{}
	longest := 0
	for i, s := range g.shards {
		if i != skip && int(s.index) < shape.data && !c.has(s.index) {
			c.add(s.index, i)
			longest = max(longest, len(s.bytes))
		}
	}
	if c.n == shape.data {
		return false
	}
	for i := len(g.shards) - 1; i >= 0 && c.n < shape.data; i-- {
		s := g.shards[i]
		n := len(s.bytes)
		if i == skip || int(s.index) < shape.data || c.has(s.index) || n < longest || c.length != 0 && n != c.length {
			continue
		}
		if pass > 0 {
			pass--
			continue
		}
		c.length = n
		c.add(s.index, i)
	}
	return c.n == shape.data
}

// recover brings the missing data shards of a group back into d.results. If what comes out cannot be a packet, it tries
// older parity, and then without each of the shards it used, as far as others can stand in.
func (d *fecDecoder) recover(g *fecGroup) bool {
	var first, other fecChoice
	enough := g.choose(&first, d.shape, -1, 0)
	if enough && d.restore(g, &first) {
		return true
	}
	for pass := 1; pass < len(g.shards)-g.data && d.credit > 0; pass++ {
		if d.pick(g, &other, -1, pass) && d.restore(g, &other) {
			return true
		}
	}
	for i := range g.shards {
		if d.credit <= 0 {
			break
		}
		if enough && !first.uses(i) {
			continue
		}
		if d.pick(g, &other, i, 0) && d.restore(g, &other) {
			return true
		}
	}
	return false
}

// pick is choose, paid for.
func (d *fecDecoder) pick(g *fecGroup, c *fecChoice, skip, pass int) bool {
	d.credit -= 1 + len(g.shards)/16
	return g.choose(c, d.shape, skip, pass)
}

// restore computes the data shards that are not in the choice; false, and no results, if one comes out wrong or the
// allowance is used up.
func (d *fecDecoder) restore(g *fecGroup, c *fecChoice) bool {
	free := !g.tried
	g.tried = true
	if !free {
		d.credit -= c.n * c.n / 32 // for the weights
	}
	before := len(d.results)
	points := c.points[:c.n]
	var weights [fecMaxTotal]uint8
	for i, m := range points {
		weights[i] = fecWeight(m, points)
	}
	for y := range uint8(d.shape.data) {
		if c.has(y) {
			continue
		}
		if !free {
			d.credit -= c.n
		}
		if !free && d.credit < 0 || !d.restoreShard(g, c, y, &weights) {
			d.dropResults(before)
			return false
		}
	}
	return true
}

// restoreShard computes the data shard at y.
func (d *fecDecoder) restoreShard(g *fecGroup, c *fecChoice, y uint8, weights *[fecMaxTotal]uint8) bool {
	out := d.get(c.length)
	for d.held > fecMemoryLimit && d.evictOldest(g) {
	}
	d.buffers = append(d.buffers, out)
	clear(out)
	points := c.points[:c.n]
	weight := fecWeight(y, points)
	for i, m := range points {
		d.adder.add(out, fecCoefficient(y, weight, m, weights[i]), g.shards[c.members[i]].bytes)
	}
	payload, ok := d.recoveredPayload(out)
	if ok {
		d.results = append(d.results, payload)
	}
	return ok
}

// recoveredPayload takes a recovered shard apart. Its size must lie in it and all behind must be padding.
func (d *fecDecoder) recoveredPayload(shard []byte) ([]byte, bool) {
	if len(shard) < fecSizeBytes {
		return nil, false
	}
	size := int(binary.LittleEndian.Uint16(shard))
	if size < fecSizeBytes || size > len(shard) {
		return nil, false
	}
	for _, b := range shard[size:] {
		if b != 0 {
			return nil, false
		}
	}
	payload := shard[fecSizeBytes:size]
	return payload, d.ours(payload)
}
