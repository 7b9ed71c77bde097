// SPDX-License-Identifier: MIT

package kcp

import "encoding/binary"

const (
	// fecMemoryLimit bounds the packets that a decoder holds. It is twice what the largest group needs with full-size
	// packets; a window of 256 packets is 384 KiB.
	fecMemoryLimit = 1 << 20

	// fecTablesLimit bounds what it takes to keep track of them.
	fecTablesLimit = 48 << 10

	// fecJumpSeen is from where on a step of the stream, forward or back, may be that of fecShapeJump, with loss and
	// reordering around it. No loss alone explains it.
	fecJumpSeen = fecShapeJump / 2

	// fecStaleRun is how many packets from before a jump show that the stream has gone back.
	fecStaleRun = 32

	// fecFirstLooks is how many packets it takes to know where a stream begins: of three one may be forged.
	fecFirstLooks = 3

	// fecKeptMillis is how long packets are kept at least, and twice that is the longest. A sender has repeated by then
	// what was lost.
	fecKeptMillis = 5000

	// fecIdleMillis is how long after the last packet all memory is given back.
	fecIdleMillis = 2000
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
	shapesDetected uint64 // times the peer's k and p were found to be others than known or hinted
}

// fecDecoder brings lost data packets of one peer back. It keeps the newest packets in a window and finds out by itself
// how the peer groups them: k and p are proven (fec_prove.go), and so is where each group lies (fec_place.go). A packet
// that would come out of anything less may be one that nobody sent. Owned by one session's reader under its lock, no
// lock inside.
type fecDecoder struct {
	fecWindow
	fecStream
	shape    fecShape // proven; with total 0 only k is, and nothing with data 0
	hinted   fecShape // what the window is made for at first
	reported fecShape // the shape before, for the count of changes
	proof    fecProof
	run      int // data packets without a gap up to lastData
	lastData uint32
	refuted  bool  // a contradiction was met: all that was inferred is void
	conv     int64 // of the session; anyConv until it is known

	oldTop  uint32 // packets below are older than oldAt
	oldAt   millis
	lastAt  millis // when the last packet came
	idleAt  millis // when to look next whether that is long ago
	credit  int    // allowance for trying again, see fecTryEarned
	adder   fecAdder
	members []fecShard // of the group being looked at
	results [][]byte   // what the last input returned
	buffers [][]byte   // the memory behind it
	counts  fecStats
}

// fecStream is where the stream of seqids is. Nothing moves it that a single packet says.
type fecStream struct {
	at     uint32    // the newest place of the stream, kept while released
	behind int       // packets from far behind it, less two for each other, up to fecStaleRun
	looked int       // packets looked at, up to fecFirstLooks
	recent [3]uint32 // seqids of the newest three packets
	most   uint32    // the largest seqid yet
}

// newFECDecoder returns a decoder that knows nothing of its peer yet.
func newFECDecoder() *fecDecoder { return &fecDecoder{conv: anyConv} }

// anyConv is the conversation id of a decoder that knows none.
const anyConv = -1

// hint tells which shards the session was configured with. The window is made for them; they are proven like others.
func (d *fecDecoder) hint(k, p int) {
	if shape, err := newFECShape(k, p); err == nil {
		d.hinted = shape
		if !d.reported.known() {
			d.reported = shape
		}
	}
}

// unhint drops the hint. Deployed peers have to be configured alike, one that knows the extension may well be configured
// otherwise.
func (d *fecDecoder) unhint() { d.hinted = fecShape{} }

// expectConv tells the conversation id that every data packet of the session begins with, and therefore every parity
// packet too: the coefficients of a row add up to 1. From then on packets of another one are dropped before they can do
// harm: whoever does not know the id can change nothing.
func (d *fecDecoder) expectConv(conv uint32) { d.conv = int64(conv) }

// input takes one data or parity packet from its FEC header on, keeps what it needs of it, and returns the payloads that
// are recovered with it. They are valid until the next input or release. The packet's own payload is not among them; see
// fecDataPayload.
func (d *fecDecoder) input(packet []byte) (recovered [][]byte) {
	d.dropResults(0)
	h, ok := d.checkPacket(packet)
	if !ok {
		d.counts.errors++
		return nil
	}
	kind := fecData
	if h.kind == fecTypeParity {
		kind = fecParity
		d.counts.parity++
	}
	d.credit = min(d.credit+fecTryEarned, fecTrySaved)
	pos, ok := d.place(h.seqid)
	if !ok {
		d.counts.errors++
	}
	stored := ok && d.keep(pos, kind, packet[fecShardOffset:])
	if stored {
		d.settleAround(pos, kind)
	} else if kind == fecParity {
		d.counts.parityUnused++
	}
	if d.refuted {
		d.counts.packets -= uint64(len(d.results))
		d.counts.parityUnused += uint64(len(d.results))
		d.dropResults(0)
		d.forget()
	}
	return d.results
}

// place follows the stream and returns the position of a seqid; false if it has none in the window.
func (d *fecDecoder) place(seqid uint32) (pos uint32, ok bool) {
	if d.stale(seqid) {
		return 0, false
	}
	if d.slots == nil {
		d.begin(seqid)
	}
	d.recent = [3]uint32{d.recent[1], d.recent[2], seqid}
	d.looked = min(d.looked+1, fecFirstLooks)
	d.advance(fecMiddle(d.recent[0], d.recent[1], d.recent[2]))
	jumped, sure := fecDistance(d.headSeq, d.at) >= fecJumpSeen, d.looked == fecFirstLooks
	if sure {
		d.at = d.headSeq
	}
	switch {
	case jumped && !sure:
		return 0, false
	case jumped: // what the groups are now has to be proven
		d.forget()
		d.hinted = fecShape{}
	}
	pos = d.position(seqid, d.shape)
	return pos, d.reaches(pos)
}

// begin makes the window for a stream whose first packet has arrived.
func (d *fecDecoder) begin(seqid uint32) {
	size := fecWindowSmall
	if max(d.shape.data, d.shape.total, d.hinted.total) > fecSmallGroup {
		size = fecWindowLarge
	}
	d.resize(size)
	d.recent = [3]uint32{seqid, seqid, seqid}
	d.restart(seqid)
}

// restart empties the window and begins it anew at a seqid. If it reaches to the beginning of the stream that is marked:
// every encoder's first group has seqid 0.
func (d *fecDecoder) restart(seqid uint32) {
	d.headSeq, d.head = seqid, fecFirstPosition
	d.clear()
	d.most = max(d.most, seqid)
	if origin := d.head - d.headSeq; !d.late() && d.reaches(origin) {
		d.claim(origin).marks |= fecMarkStart
	}
}

// late reports whether the stream has been so far from 0 that another group than the first may begin there.
func (s *fecStream) late() bool { return s.most > fecFirstPosition }

// advance moves the head of the window to a seqid.
func (d *fecDecoder) advance(seqid uint32) {
	if seqid == d.headSeq {
		return
	}
	pos := d.position(seqid, d.shape)
	step := int32(pos - d.head)
	size := int32(len(d.slots))
	if step >= size || step <= -size {
		d.restart(seqid)
	} else if step > 0 {
		d.head, d.headSeq = pos, seqid
		d.most = max(d.most, seqid)
	}
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

// checkPacket checks all that one packet shows by itself.
func (d *fecDecoder) checkPacket(packet []byte) (h fecHeader, ok bool) {
	h, ok = parseFECHeader(packet)
	if !ok || len(packet) > fecMaxPacket {
		return h, false
	}
	switch h.kind {
	case fecTypeParity:
		return h, d.ours(packet[fecHeaderSize:])
	case fecTypeData:
		payload, ok := fecDataPayload(packet)
		return h, ok && d.ours(payload)
	}
	return h, false
}

// ours reports whether a payload begins with the session's conversation id, or may.
func (d *fecDecoder) ours(payload []byte) bool {
	return d.conv == anyConv || len(payload) >= 4 && int64(binary.LittleEndian.Uint32(payload)) == d.conv
}

// refute notes that what was inferred of the groups is wrong.
func (d *fecDecoder) refute() {
	d.counts.errors++
	d.refuted = true
}

// forget drops all that was inferred, and the packets that it was inferred from.
func (d *fecDecoder) forget() {
	d.clear()
	d.shape, d.proof, d.refuted = fecShape{}, fecProof{}, false
}

// expire gives packets back that nobody waits for any more. It is called before input with the time.
func (d *fecDecoder) expire(now millis) {
	if d.lastAt = now; d.slots == nil {
		d.oldAt, d.idleAt = now, now+fecIdleMillis
	}
	if now-d.oldAt < fecKeptMillis {
		return
	}
	if now-d.oldAt >= 2*fecKeptMillis {
		d.oldTop = d.top + 1
	}
	d.dropBelow(d.oldTop)
	d.oldTop, d.oldAt = d.top+1, now
}

// nextIdle is when releaseIdle is to be called; never while there is nothing to give back.
func (d *fecDecoder) nextIdle() millis {
	if d == nil || d.slots == nil {
		return never
	}
	return d.idleAt
}

// releaseIdle gives all memory back if no packet came for a while, and reports whether it did.
func (d *fecDecoder) releaseIdle(now millis) bool {
	if now < d.nextIdle() {
		return false
	}
	if d.idleAt = d.lastAt + fecIdleMillis; now < d.idleAt {
		return false
	}
	d.release()
	return true
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

// discard gives all packets back without a verdict on their groups.
func (d *fecDecoder) discard() { d.clear() }

// memory returns the bytes held now: at most fecMemoryLimit for packets and fecTablesLimit to keep track of them.
func (d *fecDecoder) memory() int { return d.held + d.tables() }

// release gives all memory back, of an idle session or a closed one. What was proven and counted stays; groups that were
// open are lost, and input goes on whenever packets come again.
func (d *fecDecoder) release() {
	d.discard()
	d.slots, d.spares, d.members, d.results, d.buffers = nil, nil, nil, nil, nil
	d.looked = 0
}

func (d *fecDecoder) stats() fecStats { return d.counts }
