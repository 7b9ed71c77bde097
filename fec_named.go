// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"unsafe"
)

// A fecNamedDecoder recovers the lost data packets of groups that their parity names (S2.19).
// Nothing has to be inferred. It keeps the newest data packets by seqid, and parity as long as its
// group lacks more than there is parity for. One packet, however it is forged, neither moves the
// stream nor takes the place of another one.
//
// It is a part of a fecDecoder, which counts, and accounts for the memory.
type fecNamedDecoder struct {
	d      *fecDecoder
	slots  []fecNamedSlot // a power of two of them
	waits  []fecNamedParity
	ended  [fecNamedGroups]fecGroup // the newest groups that are complete, whatever the index
	next   uint8                    // of ended, to be replaced
	looked uint8                    // data packets looked at, up to fecFirstLooks
	most   uint8                    // the largest k of a group lately
	lag    uint16                   // how far behind the newest data packet parity came, at most
	silent uint16
	recent [3]uint32 // seqids of the newest three data packets
	head   uint32    // the newest position of the stream
	tail   uint32    // nothing is held below
	solver fecSolver
	loss   fecLossCount
}

// fecArrival is what became of a data packet.
type fecArrival uint8

const (
	fecUnseen    fecArrival = iota
	fecArrived              // received
	fecRepaired             // recovered
	fecDoubtful             // two different ones were received, so that neither counts
	fecForgotten            // received or recovered, and released
)

// fecFront is what a data packet has in front of its shard.
type fecFront uint8

const (
	fecFrontHeader fecFront = iota
	fecFrontCheck           // in the place of a part of the header
)

// fecNamedSlot is the data packet of one seqid. Its bytes are the packet from the seqid on.
type fecNamedSlot struct {
	bytes   []byte // pooled
	seqid   uint32
	arrival fecArrival
	front   fecFront
}

// fecNamedParity is a parity packet that waits.
type fecNamedParity struct {
	fecGroup
	bytes []byte // pooled, from the check on
}

const (
	// A decoder of named groups has at least and at most so many slots, a quarter of them ahead of
	// the newest packet.
	fecNamedSmall = 64
	fecNamedLarge = 1024

	// fecNamedFirst is the largest k whose groups are recovered from the first one on. Two such
	// groups, and packets that are late, are kept.
	fecNamedFirst = fecNamedSmall / 4

	// fecNamedGroups is how many groups that are complete it remembers, so as to count them once.
	fecNamedGroups = 16

	// fecNamedWaits bounds the parity packets that wait.
	fecNamedWaits = 256

	// fecNamedSilence is after how many data packets without such parity none is expected.
	fecNamedSilence = 1024

	// fecNamedEarned and fecNamedSaved are fecTryEarned and fecTrySaved for groups that are named.
	// What is needed to recover groups without forged packets is within them.
	fecNamedEarned = 64
	fecNamedSaved  = 1 << 15

	// fecLeastShard is the size of the shard of a packet with one segment.
	fecLeastShard = fecSizeBytes + segmentHeaderSize
)

func newFECNamedDecoder(d *fecDecoder) *fecNamedDecoder {
	return &fecNamedDecoder{d: d, slots: make([]fecNamedSlot, fecNamedSmall), most: fecNamedFirst}
}

// data takes a data packet from its seqid on, whose form has been checked.
func (g *fecNamedDecoder) data(packet []byte, seqid uint32) {
	g.earn()
	if g.silent++; g.silent > fecNamedSilence {
		g.d.dropNamed()
		return
	}
	g.follow(seqid)
	if !g.reaches(seqid) {
		return
	}
	s := g.claim(seqid)
	switch {
	case s.arrival == fecUnseen, s.arrival == fecRepaired && !s.equals(packet):
		if s.arrival == fecRepaired {
			g.d.counts.errors++ // the sender of that parity is not the peer
		}
		g.drop(s)
		s.bytes, s.arrival, s.front = g.d.copyOf(packet), fecArrived, fecFrontHeader
		g.shrink()
	case s.arrival == fecRepaired:
		s.arrival = fecArrived // it was late, not lost
		return
	case s.arrival == fecArrived && !s.equals(packet):
		g.d.counts.errors++
		g.drop(s)
		s.arrival = fecDoubtful
		return
	default:
		return
	}
	g.settleAround(seqid)
}

// equals reports whether a slot has held the shard of a packet, as far as that is known.
func (s *fecNamedSlot) equals(packet []byte) bool {
	return s.bytes == nil || bytes.Equal(s.bytes[fecShardOffset:], packet[fecShardOffset:])
}

// held reports whether a slot has a data packet that counts.
func (s *fecNamedSlot) held() bool { return s.bytes != nil }

// parity takes a parity packet that names its group (S2.21).
func (g *fecNamedDecoder) parity(packet []byte) {
	g.earn()
	group, parity, ok := parseFECGroup(packet)
	if !ok || int(group.k)+int(group.p) > fecMaxTotal ||
		len(parity) < fecCheckSize+fecLeastShard || len(packet) > fecMaxPacket ||
		g.d.conv != anyConv && !fecNames(group, parity, uint32(g.d.conv)) {
		g.d.counts.errors++
		return
	}
	if g.looked == 0 { // the data of the group is late or lost
		g.d.counts.parity++
		g.d.counts.parityUnused++
		return
	}
	lag := int32(g.head - group.next())
	if lag < -fecNamedLarge/4 || lag > fecNamedLarge {
		g.d.counts.errors++
		return
	}
	g.d.counts.parity++
	if g.d.naming != fecNamesOnly {
		// In front of the first group that is named, parity has seqids too.
		g.loss.restart(group.first)
	}
	g.loss.parity++
	g.silent = 0
	g.d.noteNamed()
	g.most, g.lag = max(g.most, group.k), max(g.lag, uint16(max(lag, 0)))
	g.widen(g.kept())
	if !g.reaches(group.first) || !g.reaches(group.next()-1) {
		g.d.counts.parityUnused++
		return
	}
	if g.isEnded(group) || g.has(group, parity) {
		g.d.counts.parityUnused++
		return
	}
	g.countTo(group.first)
	if len(g.waits) == fecNamedWaits {
		g.dropWait(0)
	}
	g.waits = append(g.waits, fecNamedParity{group, g.d.copyOf(parity)})
	g.shrink()
	g.settle(group)
}

// has reports whether a parity packet waits already.
func (g *fecNamedDecoder) has(group fecGroup, parity []byte) bool {
	for i := range g.waits {
		if w := &g.waits[i]; w.fecGroup == group && bytes.Equal(w.bytes, parity) {
			return true
		}
	}
	return false
}

// same reports whether two parity packets are of one group.
func (g fecGroup) same(o fecGroup) bool { return g.first == o.first && g.k == o.k && g.p == o.p }

// covers reports whether a data packet is in the group.
func (g fecGroup) covers(seqid uint32) bool { return seqid-g.first < uint32(g.k) }

// isEnded reports whether all of a group is known to be there.
func (g *fecNamedDecoder) isEnded(group fecGroup) bool {
	for _, e := range g.ended {
		if e.same(group) {
			return true
		}
	}
	return false
}

// end notes that all of a group is there, and drops the parity that waits for it.
func (g *fecNamedDecoder) end(group fecGroup, recovered int) {
	g.ended[g.next] = group
	g.next = (g.next + 1) % fecNamedGroups
	if recovered > 0 {
		g.d.counts.recovered++
	} else {
		g.d.counts.complete++
	}
	for i := len(g.waits) - 1; i >= 0; i-- {
		if g.waits[i].same(group) {
			g.release(i)
			g.d.counts.parityUnused++
		}
	}
	g.d.counts.packets += uint64(recovered)
	g.d.counts.parityUnused -= uint64(recovered)
}

// settleAround recovers what a data packet makes possible.
func (g *fecNamedDecoder) settleAround(seqid uint32) {
	for i := 0; i < len(g.waits); i++ {
		if group := g.waits[i].fecGroup; group.covers(seqid) && g.settle(group) {
			i = -1 // others have gone
		}
	}
}

// follow moves the stream to where the middle one of the newest three packets is.
func (g *fecNamedDecoder) follow(seqid uint32) {
	if g.looked == 0 {
		g.recent = [3]uint32{seqid, seqid, seqid}
		g.restart(seqid)
	}
	g.recent = [3]uint32{g.recent[1], g.recent[2], seqid}
	g.looked = min(g.looked+1, fecFirstLooks)
	at := fecMiddle(g.recent[0], g.recent[1], g.recent[2])
	step, size := int32(at-g.head), int32(len(g.slots))
	switch {
	case step >= size || step <= -size:
		g.restart(at)
	case step > 0:
		g.head = at
		g.dropBelow(at - uint32(g.kept()))
	}
}

// restart empties the decoder and starts it at a seqid.
func (g *fecNamedDecoder) restart(seqid uint32) {
	for i := range g.slots {
		g.drop(&g.slots[i])
		g.slots[i] = fecNamedSlot{}
	}
	for len(g.waits) > 0 {
		g.dropWait(0)
	}
	g.head, g.tail = seqid, seqid
	g.loss.restart(seqid)
}

// reaches reports whether a seqid lies in the window.
func (g *fecNamedDecoder) reaches(seqid uint32) bool {
	off, size := int32(seqid-g.head), int32(len(g.slots))
	return off <= size/4 && off > size/4-size
}

func (g *fecNamedDecoder) slot(seqid uint32) *fecNamedSlot {
	return &g.slots[seqid&uint32(len(g.slots)-1)]
}

// at returns what became of a data packet.
func (g *fecNamedDecoder) at(seqid uint32) fecArrival {
	if s := g.slot(seqid); s.seqid == seqid {
		return s.arrival
	}
	return fecUnseen
}

// claim returns the slot of a seqid, without what lay a window's length before.
func (g *fecNamedDecoder) claim(seqid uint32) *fecNamedSlot {
	s := g.slot(seqid)
	if s.seqid != seqid {
		g.drop(s)
		*s = fecNamedSlot{seqid: seqid}
	}
	if int32(seqid-g.tail) < 0 {
		g.tail = seqid
	}
	return s
}

// widen makes the decoder reach so far back.
func (g *fecNamedDecoder) widen(back int) {
	size := fecNamedSmall
	for 3*size/4 < back {
		size *= 4
	}
	if size = min(size, fecNamedLarge); size <= len(g.slots) {
		return
	}
	old := g.slots
	g.slots = make([]fecNamedSlot, size)
	for _, s := range old {
		if s.arrival != fecUnseen {
			*g.slot(s.seqid) = s
		}
	}
}

// kept returns how many data packets below the newest one are kept.
func (g *fecNamedDecoder) kept() int { return 2*int(g.most) + int(g.lag) + fecNamedSmall/4 }

// earn adds to the allowance of a packet.
func (g *fecNamedDecoder) earn() { g.d.credit = min(g.d.credit+fecNamedEarned, fecNamedSaved) }

// drop releases the packet of a slot.
func (g *fecNamedDecoder) drop(s *fecNamedSlot) {
	if s.bytes != nil {
		g.d.put(s.bytes)
		s.bytes = nil
	}
}

// dropBelow releases the data packets below a seqid, and parity whose group begins there.
func (g *fecNamedDecoder) dropBelow(seqid uint32) {
	if int32(seqid-g.tail) > int32(len(g.slots)) {
		g.tail = seqid - uint32(len(g.slots))
	}
	for ; int32(seqid-g.tail) > 0; g.tail++ {
		if s := g.slot(g.tail); s.seqid == g.tail && s.bytes != nil {
			g.drop(s)
			if s.arrival == fecArrived {
				s.arrival = fecForgotten
			}
		}
	}
	for i := 0; i < len(g.waits); {
		if int32(g.waits[i].first-seqid) < 0 {
			g.dropWait(i)
		} else {
			i++
		}
	}
}

// dropWait gives up a parity packet, and its group with the last one.
func (g *fecNamedDecoder) dropWait(i int) {
	group := g.waits[i].fecGroup
	g.release(i)
	g.d.counts.parityUnused++
	for i := range g.waits {
		if g.waits[i].same(group) {
			return
		}
	}
	g.d.counts.failed++
}

// release releases a parity packet.
func (g *fecNamedDecoder) release(i int) {
	g.d.put(g.waits[i].bytes)
	copy(g.waits[i:], g.waits[i+1:])
	g.waits[len(g.waits)-1] = fecNamedParity{}
	g.waits = g.waits[:len(g.waits)-1]
}

// shrink releases the oldest packets until the limit is met.
func (g *fecNamedDecoder) shrink() {
	for g.d.held > fecMemoryLimit && len(g.waits) > 1 {
		g.dropWait(0)
	}
	for g.d.held > fecMemoryLimit && int32(g.head-g.tail) > 0 {
		g.dropBelow(g.tail + 1)
	}
}

// tables returns the memory of the tables.
func (g *fecNamedDecoder) tables() int {
	if g == nil {
		return 0
	}
	return int(unsafe.Sizeof(*g)) + cap(g.slots)*int(unsafe.Sizeof(fecNamedSlot{})) +
		cap(g.waits)*int(unsafe.Sizeof(fecNamedParity{}))
}

// prepare puts the check of a data packet in front of its shard, and returns both.
func (s *fecNamedSlot) prepare() []byte {
	if s.front != fecFrontCheck {
		binary.LittleEndian.PutUint32(s.bytes[fecShardOffset-fecCheckSize:], fecCheck(s.bytes))
		s.front = fecFrontCheck
	}
	return s.bytes[fecShardOffset-fecCheckSize:]
}
