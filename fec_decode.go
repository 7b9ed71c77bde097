// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"unsafe"
)

const (
	// fecMemoryLimit bounds the packets that a decoder holds. It is twice what the largest group needs with full-size
	// packets; groups of 10+3 have 300 KiB in use when none of the ring's twenty is complete.
	fecMemoryLimit = 1 << 20

	// A ring reaches over this many seqids, or this many groups: a quarter of it ahead of the middle of the stream, for
	// packets that overtake, and the rest behind.
	fecRingSeqids    = 256
	fecRingMinGroups = 4
	fecRingMaxGroups = 64

	// fecJumpSeen is from where on a step of the stream, forward or back, may be that of fecShapeJump, with loss and
	// reordering around it. No loss alone explains it.
	fecJumpSeen = fecShapeJump / 2

	// fecStaleRun is how many packets from before a jump show that the stream has gone back.
	fecStaleRun = 32

	// fecFirstLooks is how many packets it takes to know where a stream begins: of three one may be forged.
	fecFirstLooks = 3

	// fecMaxWaits is how often a group is looked at that waits for certainty: a look takes some 10 us.
	fecMaxWaits = 8

	// fecFirstNumber keeps unwrapped group numbers from ever being negative.
	fecFirstNumber = 1 << 62
)

// fecStats counts what a decoder saw and did since it was made.
type fecStats struct {
	complete       uint64 // groups whose data packets all arrived by themselves
	recovered      uint64 // groups whose missing data packets were recovered
	failed         uint64 // groups given up with data packets missing
	packets        uint64 // data packets recovered
	parity         uint64 // parity packets received
	parityUnused   uint64 // of these, those that nothing was recovered with
	errors         uint64 // packets that are malformed, foreign or out of place, and recoveries that came out wrong
	shapesDetected uint64 // times the peer's k and p were found to be others
}

// fecDecoder brings lost data packets of one peer back. It keeps the packets of incomplete groups in a ring by group
// number and finds out by itself how the peer groups them. Nothing that a packet says is believed beyond its own group:
// where the stream is takes two packets out of three, how it is grouped takes two groups' worth. Owned by one session's
// reader under its lock, no lock inside.
type fecDecoder struct {
	shape    fecShape
	heard    bool   // the peer's parity has been seen where shape wants it, or shape was detected
	hinted   bool   // shape is a hint
	looked   int    // packets looked at for where the stream is, up to fecFirstLooks
	at       uint32 // the newest position of the stream, kept while released
	behind   int    // packets from far behind it, less two for each other, up to fecStaleRun
	convSet  bool
	conv     uint32
	detector *fecDetector // nil while released

	groups  []fecGroup // the ring; nil before the first packet of a known shape
	anchor  uint32     // the newest known group number of the stream, modulo the wrap
	number  int64      // the same number unwrapped: it never jumps where seqids start again
	clock   uint32     // packets, for the age of groups
	credit  int        // allowance for recovering again, see fecTryEarned
	waiting int        // groups that wait, see wait
	held    int        // bytes of pooled buffers in groups and in recovered
	adder   fecAdder
	results [][]byte // what the last input returned
	buffers [][]byte // the memory behind it
	counts  fecStats
}

// newFECDecoder returns a decoder that knows nothing of its peer yet.
func newFECDecoder() *fecDecoder { return &fecDecoder{} }

// hint tells which shards the session was configured with. They are used until the stream shows others, and ignored if
// it has shown its own already or if they are not possible.
func (d *fecDecoder) hint(k, p int) {
	if shape, err := newFECShape(k, p); err == nil && !d.heard && shape != d.shape {
		d.adopt(shape)
		d.hinted = true
	}
}

// unhint drops a shape that is only a hint. Deployed peers have to be configured alike, but one that knows the extension may
// well be configured otherwise: what it sends has to be shown. Otherwise, where many of the first packets are lost or late, a
// wrong shape would make packets up before anything contradicts it, and a parity packet that fits proves little.
func (d *fecDecoder) unhint() {
	if d.hinted {
		d.adopt(fecShape{})
	}
}

// expectConv tells the conversation id that every data packet of the session begins with. From then on data packets of
// another one are dropped before they can do harm, and a recovery that does not begin with it is known to be wrong:
// whoever does not know the id cannot make the decoder return anything.
func (d *fecDecoder) expectConv(conv uint32) { d.conv, d.convSet = conv, true }

// input takes one data or parity packet from its FEC header on, keeps what it needs of it, and returns the payloads that
// are recovered with it. They are valid until the next input, hint or release. The packet's own payload is not among
// them; see fecDataPayload.
func (d *fecDecoder) input(packet []byte) (recovered [][]byte) {
	d.dropResults(0)
	h, ok := d.admit(packet)
	if !ok {
		d.counts.errors++
		return nil
	}
	parity := h.kind == fecTypeParity
	if parity {
		d.counts.parity++
	}
	if d.stale(h.seqid) {
		d.counts.errors++
		if parity {
			d.counts.parityUnused++
		}
		return nil
	}
	if d.detector == nil {
		d.detector = new(fecDetector)
	}
	shape := d.detector.track(h.seqid, parity, d.shape)
	jumped, sure := d.follow()
	if jumped && sure {
		shape, d.heard = fecShape{}, true // what the groups are now has to be proven
	}
	if shape != d.shape {
		d.counts.shapesDetected++
		d.heard = true
		d.adopt(shape)
	}
	var g *fecGroup
	if !jumped || sure {
		g = d.place(h.seqid, parity)
	}
	if g != nil && d.keep(g, uint8(h.seqid-g.base), packet[fecShardOffset:]) {
		d.settle(g)
	} else if parity {
		d.counts.parityUnused++
	}
	if d.waiting > 0 && len(d.results) == 0 {
		d.settleWaiting()
	}
	return d.results
}

// stale reports whether a packet comes from before the stream's last jump. What is late must not be grouped as the
// stream is now, nor take the stream back to where it was; a stream that did go back is followed after a while.
func (d *fecDecoder) stale(seqid uint32) bool {
	if d.looked < fecFirstLooks || int32(seqid-d.at) > -fecJumpSeen {
		d.behind = max(d.behind-2, 0)
		return false
	}
	d.behind = min(d.behind+1, fecStaleRun)
	return d.behind < fecStaleRun
}

// follow notes where the stream is and reports whether it got there by a jump. A stream that changed its groups before
// its first packet arrived begins far from 0; sure is false while there are too few packets to know.
func (d *fecDecoder) follow() (jumped, sure bool) {
	d.looked = min(d.looked+1, fecFirstLooks)
	jumped, sure = fecDistance(d.detector.head, d.at) >= fecJumpSeen, d.looked == fecFirstLooks
	if sure {
		d.at = d.detector.head
	}
	return jumped, sure
}

// place returns the group that a packet belongs to; nil if there is none for it.
func (d *fecDecoder) place(seqid uint32, parity bool) *fecGroup {
	if !d.shape.known() {
		return nil
	}
	d.clock++
	d.credit = min(d.credit+fecTryEarned, fecTrySaved)
	if d.shape.fits(seqid, parity) {
		if g := d.group(seqid); g != nil {
			d.heard = d.heard || parity
			g.touched = d.clock
			return g
		}
	}
	d.counts.errors++
	return nil
}

// admit checks all that one packet shows by itself.
func (d *fecDecoder) admit(packet []byte) (h fecHeader, ok bool) {
	h, ok = parseFECHeader(packet)
	if !ok || len(packet) > fecMaxPacket {
		return h, false
	}
	switch h.kind {
	case fecTypeParity:
		return h, true
	case fecTypeData:
		payload, ok := fecDataPayload(packet)
		return h, ok && d.ours(payload)
	}
	return h, false
}

// ours reports whether a payload begins with the session's conversation id, or may.
func (d *fecDecoder) ours(payload []byte) bool {
	return !d.convSet || len(payload) >= 4 && binary.LittleEndian.Uint32(payload) == d.conv
}

// adopt changes the shape. The groups of the old one are of no use any more.
func (d *fecDecoder) adopt(shape fecShape) {
	d.discard()
	d.shape, d.hinted = shape, false
}

// group returns the group of a seqid, opening it if need be; nil if it is too far from where the stream is or if its
// place is taken by a group that is still arriving.
func (d *fecDecoder) group(seqid uint32) *fecGroup {
	total := uint32(d.shape.total)
	middle := d.detector.middle
	if middle >= d.shape.wrap() {
		return nil
	}
	if d.groups == nil {
		d.groups = newFECRing(d.shape)
		d.anchor, d.number = middle/total, fecFirstNumber
	}
	d.number += d.shape.groupsBetween(d.anchor, middle/total)
	d.anchor = middle / total

	size := int64(len(d.groups))
	ahead := d.shape.groupsBetween(d.anchor, seqid/total)
	if ahead > size/4 || ahead <= size/4-size {
		return nil
	}
	number := d.number + ahead
	g := &d.groups[uint64(number)%uint64(size)]
	if g.state != fecGroupFree && g.number == number {
		return g
	}
	// Only packets that were far off a moment ago can meet a group in its prime here: two outliers in a row, or the
	// first packets behind a jump. Neither may cost a group that is about to be complete.
	if g.state == fecGroupOpen && len(g.shards) > 1 && d.clock-g.touched < total {
		return nil
	}
	d.giveUp(g)
	g.open(number, seqid-seqid%total)
	return g
}

// settle finishes a group if what it has is enough.
func (d *fecDecoder) settle(g *fecGroup) {
	before := len(d.results)
	switch {
	case g.data == d.shape.data:
		d.counts.complete++
	case g.data+g.parity < d.shape.data, g.waits > 0 && int32(d.clock-g.retry) < 0, g.waits == fecMaxWaits:
		return
	case !d.detector.trusts(d.shape, g.base):
		d.wait(g)
		return
	case !d.recover(g):
		d.counts.errors++
		return
	default:
		d.counts.recovered++
		d.counts.packets += uint64(len(d.results) - before)
	}
	d.counts.parityUnused += uint64(g.parities(d.shape) - (len(d.results) - before))
	d.finish(g)
}

// wait puts a group off that has enough packets while it is not certain that they belong together: half a group later
// more is known.
func (d *fecDecoder) wait(g *fecGroup) {
	if g.waits == 0 {
		d.waiting++
	}
	g.waits++
	g.retry = d.clock + uint32(d.shape.total+1)/2
}

// settleWaiting looks at the groups that were put off, up to the first that is recovered.
func (d *fecDecoder) settleWaiting() {
	for i := range d.groups {
		if g := &d.groups[i]; g.waits > 0 {
			if d.settle(g); len(d.results) > 0 {
				return
			}
		}
	}
}

// finish gives a group's packets back and remembers that nothing more is wanted of it.
func (d *fecDecoder) finish(g *fecGroup) {
	for _, s := range g.shards {
		d.put(s.bytes)
	}
	clear(g.shards)
	g.shards = g.shards[:0]
	g.state = fecGroupDone
	if g.waits > 0 {
		d.waiting--
		g.waits = 0
	}
}

// giveUp ends a group that did not get what it needs, if it is one.
func (d *fecDecoder) giveUp(g *fecGroup) {
	if g.state == fecGroupOpen {
		d.counts.failed++
		d.counts.parityUnused += uint64(g.parities(d.shape))
		d.finish(g)
	}
}

// get returns a pooled buffer and counts it.
func (d *fecDecoder) get(n int) []byte {
	b := getBuffer(n)
	d.held += cap(b)
	return b
}

func (d *fecDecoder) put(b []byte) {
	d.held -= cap(b)
	putBuffer(b)
}

// dropResults takes back what was recovered after the first n packets.
func (d *fecDecoder) dropResults(n int) {
	for _, b := range d.buffers[n:] {
		d.put(b)
	}
	clear(d.buffers[n:])
	clear(d.results[n:])
	d.buffers, d.results = d.buffers[:n], d.results[:n]
}

// discard gives all groups back without a verdict on them.
func (d *fecDecoder) discard() {
	d.dropResults(0)
	for i := range d.groups {
		d.counts.parityUnused += uint64(d.groups[i].parities(d.shape))
		d.finish(&d.groups[i])
	}
	d.groups = nil
}

// memory returns the bytes held now: at most fecMemoryLimit for packets, and at most 48 KiB to keep track of them.
func (d *fecDecoder) memory() int {
	n := d.held + len(d.groups)*int(unsafe.Sizeof(fecGroup{}))
	for i := range d.groups {
		n += cap(d.groups[i].shards) * int(unsafe.Sizeof(fecShard{}))
	}
	if d.detector != nil {
		n += int(unsafe.Sizeof(*d.detector))
	}
	return n + (cap(d.results)+cap(d.buffers))*int(unsafe.Sizeof([]byte(nil)))
}

// release gives all buffers back, of an idle session or a closed one. Shards and counts stay; groups that were open are
// lost, and input goes on whenever packets come again.
func (d *fecDecoder) release() {
	d.discard()
	d.detector, d.results, d.buffers = nil, nil, nil
	d.looked = 0
}

func (d *fecDecoder) stats() fecStats { return d.counts }
