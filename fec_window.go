// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"hash/maphash"
	"unsafe"
)

const (
	// A window spans this many seqids, a quarter of them ahead of the newest: four groups of the
	// largest shape. It is smaller while the groups are smaller than fecSmallGroup.
	fecWindowLarge = 1024
	fecWindowSmall = 256
	fecSmallGroup  = 64

	// fecSpareShards is how many packets a window keeps whose seqid is taken by a different one.
	// One of the two is forged. With both kept, the true one still counts.
	fecSpareShards = 8

	// fecFirstPosition keeps positions away from 0, the zero value of a slot.
	fecFirstPosition = 1 << 16
)

// fecKind is what has been received at a position.
type fecKind uint8

const (
	fecNone     fecKind = iota
	fecData             // a data packet
	fecParity           // a parity packet
	fecConflict         // both: one of them is forged, so that neither counts
)

// Marks of a slot.
const (
	fecMarkStart     = 1 << iota // a group begins here for certain
	fecMarkGroup                 // the group that begins here is open
	fecMarkDone                  // nothing more is needed at this position
	fecMarkTried                 // recovering the group that begins here has been tried
	fecMarkRecovered             // the packet here was recovered; sum tells its content
	fecMarkParity                // done, and parity belongs here
)

// fecSlot is one position of a window. It is valid only for pos: other positions with the same
// remainder are not in the window.
type fecSlot struct {
	bytes []byte // pooled, from the size field on; nil if released
	pos   uint32
	kind  fecKind
	marks uint8
	sum   uint16
}

// fecShard is a packet of a group from its size field on. The bytes belong to the window.
type fecShard struct {
	index uint8
	bytes []byte
}

// fecSpare is a packet whose position is taken.
type fecSpare struct {
	bytes []byte // pooled
	pos   uint32
}

// fecSumSeed makes sums that no peer can predict.
var fecSumSeed = maphash.MakeSeed()

func fecSum(shard []byte) uint16 { return uint16(maphash.Bytes(fecSumSeed, shard)) }

// fecWindow keeps the packets around the newest one by position. Positions are seqids that keep
// increasing where seqids start again at 0, so that a group has no gap.
type fecWindow struct {
	slots   []fecSlot // a power of two of them; nil while released
	headSeq uint32    // the seqid at which the stream is, see fecStream
	head    uint32    // its position
	top     uint32    // the highest position received
	tail    uint32    // nothing is held below
	open    int       // parity packets held
	held    int       // bytes of pooled buffers in the window and in what was recovered
	spares  []fecSpare
}

// position returns where a seqid lies. If the groups are not known, it is wrong across the wrap.
func (w *fecWindow) position(seqid uint32, shape fecShape) uint32 {
	d := seqid - w.headSeq
	if int32(d) >= 0 == (seqid < w.headSeq) && shape.known() { // the shorter way is across the wrap
		missing := -shape.wrap() // seqids that are never used
		if int32(d) >= 0 {
			d -= missing
		} else {
			d += missing
		}
	}
	return w.head + d
}

// reaches reports whether a position lies in the window.
func (w *fecWindow) reaches(pos uint32) bool {
	off, size := int32(pos-w.head), int32(len(w.slots))
	return off <= size/4 && off > size/4-size
}

func (w *fecWindow) slot(pos uint32) *fecSlot { return &w.slots[pos&uint32(len(w.slots)-1)] }

// kind returns what was received at a position.
func (w *fecWindow) kind(pos uint32) fecKind {
	if s := w.slot(pos); s.pos == pos {
		return s.kind
	}
	return fecNone
}

// marked reports whether a position has any of the marks.
func (w *fecWindow) marked(pos uint32, marks uint8) bool {
	s := w.slot(pos)
	return s.pos == pos && s.marks&marks != 0
}

// isOpen reports whether a position holds a parity packet that may still be used.
func (w *fecWindow) isOpen(pos uint32) bool {
	s := w.slot(pos)
	return s.pos == pos && s.kind == fecParity && s.bytes != nil
}

// resize changes the size of the window and keeps its content.
func (d *fecDecoder) resize(size int) {
	w := &d.fecWindow
	old := w.slots
	w.slots = make([]fecSlot, size)
	for _, s := range old {
		if s.pos != 0 {
			*w.slot(s.pos) = s
		}
	}
}

// claim returns the slot of a position, without what lay a window's length before.
func (d *fecDecoder) claim(pos uint32) *fecSlot {
	s := d.slot(pos)
	if s.pos != pos {
		if s.marks&fecMarkGroup != 0 {
			d.counts.failed++
		}
		d.drop(s)
		*s = fecSlot{pos: pos}
	}
	return s
}

// drop releases the packet of a slot. Its kind stays known.
func (d *fecDecoder) drop(s *fecSlot) {
	if s.bytes == nil {
		return
	}
	if s.kind == fecParity {
		d.open--
		d.counts.parityUnused++
	}
	d.put(s.bytes)
	s.bytes = nil
}

// keep copies a packet into the window. It returns false if the packet adds nothing.
func (d *fecDecoder) keep(pos uint32, kind fecKind, shard []byte) bool {
	s := d.claim(pos)
	switch {
	case s.marks&fecMarkStart != 0 && kind == fecParity:
		d.refute()
		return false
	case s.marks&fecMarkDone != 0:
		if s.kind == fecNone && (kind == fecParity) != (s.marks&fecMarkParity != 0) ||
			kind == fecData && s.marks&fecMarkRecovered != 0 && s.sum != fecSum(shard) {
			d.refute() // the group was not here, or the recovered packet is wrong
		} else if s.kind == fecNone {
			s.kind = kind
		}
		return false
	case s.kind == fecNone:
		s.kind, s.bytes = kind, d.copyOf(shard)
		if kind == fecParity {
			d.open++
		}
		if int32(pos-d.top) > 0 {
			d.top = pos
		}
		if int32(pos-d.tail) < 0 {
			d.tail = pos
		}
	case s.kind != kind:
		d.counts.errors++
		d.drop(s)
		s.kind = fecConflict
		return false
	case s.bytes == nil || bytes.Equal(s.bytes, shard) || !d.keepSpare(pos, shard):
		return false
	}
	d.shrink()
	return true
}

// keepSpare keeps a packet beside the one at its position.
func (d *fecDecoder) keepSpare(pos uint32, shard []byte) bool {
	for _, s := range d.spares {
		if s.pos == pos && bytes.Equal(s.bytes, shard) {
			return false
		}
	}
	d.counts.errors++
	if len(d.spares) == fecSpareShards {
		d.dropSpare(0)
	}
	d.spares = append(d.spares, fecSpare{pos: pos, bytes: d.copyOf(shard)})
	if d.kind(pos) == fecParity {
		d.counts.parityUnused++
	}
	return true
}

func (d *fecDecoder) dropSpare(i int) {
	d.put(d.spares[i].bytes)
	copy(d.spares[i:], d.spares[i+1:])
	d.spares[len(d.spares)-1] = fecSpare{}
	d.spares = d.spares[:len(d.spares)-1]
}

func (d *fecDecoder) copyOf(shard []byte) []byte {
	b := d.get(len(shard))
	copy(b, shard)
	return b
}

// shrink releases the oldest packets until the limit is met.
func (d *fecDecoder) shrink() {
	for d.held > fecMemoryLimit && len(d.spares) > 0 {
		d.dropSpare(0)
	}
	for d.held > fecMemoryLimit && int32(d.tail-d.top) <= 0 {
		d.dropBelow(d.tail + 1)
	}
}

// dropBelow releases the packets below a position.
func (d *fecDecoder) dropBelow(pos uint32) {
	if int32(pos-d.tail) > int32(len(d.slots)) {
		d.tail = pos - uint32(len(d.slots))
	}
	for ; int32(pos-d.tail) > 0; d.tail++ {
		if s := d.slot(d.tail); s.pos == d.tail {
			d.drop(s)
		}
	}
}

// clear empties the window.
func (d *fecDecoder) clear() {
	d.dropResults(0)
	for i := range d.slots {
		d.drop(&d.slots[i])
		d.slots[i] = fecSlot{}
	}
	for len(d.spares) > 0 {
		d.dropSpare(0)
	}
	d.tail, d.top, d.oldTop = d.head, d.head, d.head
	d.run = 0
}

// tables returns the memory of the tables.
func (d *fecDecoder) tables() int {
	return cap(d.slots)*int(unsafe.Sizeof(fecSlot{})) +
		cap(d.spares)*int(unsafe.Sizeof(fecSpare{})) +
		cap(d.members)*int(unsafe.Sizeof(fecShard{})) +
		(cap(d.results)+cap(d.buffers))*int(unsafe.Sizeof([]byte(nil)))
}
