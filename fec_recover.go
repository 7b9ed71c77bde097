// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
)

// The first try at a group is always made. If it gives a wrong packet, a shard is forged. Each
// further try leaves out one or another shard and is paid from an allowance, in multiplications of
// a shard (60 ns each at 1400 bytes). Every packet earns some, so that an attacker costs less than
// 2 us a packet.
const (
	fecTryEarned = 32
	fecTrySaved  = 8192
)

// fecChoice is k shards of a group that are assumed to be true.
type fecChoice struct {
	n       int
	length  int                 // of the parity shards
	have    [4]uint64           // by index
	points  [fecMaxTotal]uint8  // their indexes
	members [fecMaxTotal]uint16 // their positions in the group
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

// choose takes all data shards but the one at skip, and parity for the missing ones: the newest,
// after passing over some. It returns false if there is not enough. All parity shards of a group
// are as long as its longest data shard.
func (d *fecDecoder) choose(c *fecChoice, k, skip, pass int) bool {
	c.n, c.length, c.have = 0, 0, [4]uint64{}
	longest := 0
	for i, s := range d.members {
		if i != skip && int(s.index) < k && !c.has(s.index) {
			c.add(s.index, i)
			longest = max(longest, len(s.bytes))
		}
	}
	for i := len(d.members) - 1; i >= 0 && c.n < k; i-- {
		s := d.members[i]
		n := len(s.bytes)
		if i == skip || int(s.index) < k || c.has(s.index) || n < longest ||
			c.length != 0 && n != c.length {
			continue
		}
		if pass > 0 {
			pass--
			continue
		}
		c.length = n
		c.add(s.index, i)
	}
	if c.length == 0 { // only data, to be compared with parity
		c.length = longest
	}
	return c.n == k
}

// recover recovers the missing data shards of the group at base, whose packets are in d.members,
// into d.results, and returns how many. The result may not be a valid packet, or agree with no
// packet that was not needed. Then older parity is tried, and then each of the used shards is left
// out, as far as others can replace it.
func (d *fecDecoder) recover(base uint32) int {
	var first, other fecChoice
	k, before := d.shape.data, len(d.results)
	enough := d.choose(&first, k, -1, 0)
	if enough && d.restore(base, &first) {
		return len(d.results) - before
	}
	for pass := 1; pass < len(d.members) && d.credit > 0; pass++ {
		if d.pick(&other, -1, pass) && d.restore(base, &other) {
			return len(d.results) - before
		}
	}
	for i := range d.members {
		if d.credit <= 0 {
			break
		}
		if enough && !first.uses(i) {
			continue
		}
		if d.pick(&other, i, 0) && d.restore(base, &other) {
			return len(d.results) - before
		}
	}
	if enough && len(d.members) > k {
		d.refute() // more than k members, and no k of them agree with another
	} else {
		d.counts.errors++
	}
	return 0
}

// pick is choose, paid from the allowance.
func (d *fecDecoder) pick(c *fecChoice, skip, pass int) bool {
	d.credit -= 1 + len(d.members)/16
	return d.choose(c, d.shape.data, skip, pass)
}

// restore computes the data shards that are not in the choice. It returns false, without results,
// if one is wrong or the allowance is spent.
func (d *fecDecoder) restore(base uint32, c *fecChoice) bool {
	s := d.claim(base)
	free := s.marks&fecMarkTried == 0
	s.marks |= fecMarkTried
	if !free {
		d.credit -= c.n * c.n / 32 // for the weights
	}
	before := len(d.results)
	var weights [fecMaxTotal]uint8
	c.weigh(&weights)
	ok := true
	for y := range uint8(d.shape.data) {
		if c.has(y) {
			continue
		}
		if !free {
			d.credit -= c.n
		}
		if ok = (free || d.credit >= 0) && d.restoreShard(c, y, &weights); !ok {
			break
		}
	}
	if !ok || len(d.members) > c.n && !d.agrees(c, &weights) {
		d.dropResults(before)
		return false
	}
	for y, i := uint8(0), before; i < len(d.results); y++ {
		if !c.has(y) {
			s := d.claim(base + uint32(y))
			s.marks |= fecMarkRecovered
			s.sum = fecSum(d.shardOf(i))
			i++
		}
	}
	return true
}

// shardOf returns the shard of a result, whose size field lies before it.
func (d *fecDecoder) shardOf(i int) []byte {
	return d.buffers[i][:fecSizeBytes+len(d.results[i])]
}

// weigh computes the weights of the points.
func (c *fecChoice) weigh(weights *[fecMaxTotal]uint8) {
	points := c.points[:c.n]
	for i, m := range points {
		weights[i] = fecWeight(m, points)
	}
}

// compute computes the first bytes of the shard at y.
func (d *fecDecoder) compute(out []byte, c *fecChoice, y uint8, weights *[fecMaxTotal]uint8) {
	clear(out)
	points := c.points[:c.n]
	weight := fecWeight(y, points)
	for i, m := range points {
		b := d.members[c.members[i]].bytes
		d.adder.add(out, fecCoefficient(y, weight, m, weights[i]), b[:min(len(b), len(out))])
	}
}

// restoreShard computes the data shard at y.
func (d *fecDecoder) restoreShard(c *fecChoice, y uint8, weights *[fecMaxTotal]uint8) bool {
	out := d.get(c.length)
	d.buffers = append(d.buffers, out)
	d.compute(out, c, y, weights)
	payload, ok := d.recoveredPayload(out)
	if ok {
		d.results = append(d.results, payload)
	}
	return ok
}

// agrees reports whether a parity packet outside the choice is what the choice makes it, or there
// is none.
func (d *fecDecoder) agrees(c *fecChoice, weights *[fecMaxTotal]uint8) bool {
	out := d.get(c.length)
	defer d.put(out)
	none := true
	for _, s := range d.members {
		if int(s.index) < d.shape.data || c.has(s.index) {
			continue
		}
		if !none && d.credit < 0 { // the first comparison is always made
			return false
		}
		none = false
		if d.credit -= c.n; len(s.bytes) != c.length {
			continue
		}
		if d.compute(out, c, s.index, weights); bytes.Equal(out, s.bytes) {
			return true
		}
	}
	return none
}

// recoveredPayload returns the payload of a recovered shard (S2.9). Its size must lie within it,
// and all bytes behind must be padding.
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
