// SPDX-License-Identifier: MIT

package kcp

import "encoding/binary"

const (
	// fecMemoryLimit bounds the packets that a decoder holds. It is twice what the largest group
	// needs with full-size packets. A window of 256 packets takes 384 KiB.
	fecMemoryLimit = 1 << 20

	// fecTablesLimit bounds the memory for tables.
	fecTablesLimit = 48 << 10

	// fecJumpSeen is the least step of the stream, forward or back, that may be fecShapeJump with
	// loss and reordering around it. Loss alone does not explain it.
	fecJumpSeen = fecShapeJump / 2

	// fecStaleRun is how many packets from before a jump show that the stream has gone back.
	fecStaleRun = 32

	// fecFirstLooks is how many packets show where a stream begins: one of three may be forged.
	fecFirstLooks = 3

	// fecKeptMillis is the least time for which packets are kept. The longest is twice that. A
	// sender has retransmitted lost packets by then.
	fecKeptMillis = 5000

	// fecIdleMillis is how long after the last packet all memory is released.
	fecIdleMillis = 2000
)

// fecStats are the counts of a decoder.
type fecStats struct {
	complete       uint64 // groups whose data packets all arrived by themselves
	recovered      uint64 // groups whose missing data packets were recovered
	failed         uint64 // groups given up with data packets missing
	packets        uint64 // data packets recovered
	parity         uint64 // parity packets received
	parityUnused   uint64 // parity packets without which all was recovered
	errors         uint64 // malformed, foreign or misplaced packets, and wrong recoveries
	shapesDetected uint64 // times that the peer's k and p differed from those known or hinted
}

// fecDecoder recovers lost data packets of one peer. It keeps the newest packets in a window and
// finds out how the peer groups them: k and p are proven (fec_prove.go), and so is where each group
// lies (fec_place.go). With less certainty it could make up packets that were never sent. One
// session's reader owns it, under the session's lock.
type fecDecoder struct {
	fecWindow
	named  *fecNamedDecoder // nil unless the peer may name its groups
	naming fecNaming
	fecStream
	shape    fecShape // proven; total is 0 if only k is, data is 0 if nothing is
	hinted   fecShape // the window is first made for it
	reported fecShape // the last shape, to count changes
	proof    fecProof
	run      int // data packets without a gap up to lastData
	lastData uint32
	refuted  bool  // by a contradiction: all that was inferred is void
	conv     int64 // of the session; anyConv until it is known

	oldTop  uint32 // packets below are older than oldAt
	oldAt   millis
	lastAt  millis // when the last packet arrived
	idleAt  millis // when to check next whether it was long ago
	credit  int    // allowance for further tries: see fecTryEarned
	adder   fecAdder
	members []fecShard // the group at hand
	results [][]byte   // what the last input returned
	buffers [][]byte   // the memory behind it
	counts  fecStats
}

// fecStream is the position of the stream of seqids. A single packet cannot move it.
type fecStream struct {
	at     uint32    // the newest position of the stream, kept while released
	behind int       // packets from far behind it, less two for each other one, up to fecStaleRun
	looked int       // packets looked at, up to fecFirstLooks
	recent [3]uint32 // seqids of the newest three packets
	most   uint32    // the largest seqid so far
}

// newFECDecoder returns a decoder without knowledge of its peer.
func newFECDecoder() *fecDecoder { return &fecDecoder{conv: anyConv} }

// anyConv is the conversation id of a decoder that does not know it.
const anyConv = -1

// hint gives the shards that the session was configured with. The window is made for them, but they
// must be proven like others.
func (d *fecDecoder) hint(k, p int) {
	if shape, err := newFECShape(k, p); err == nil {
		d.hinted = shape
		if !d.reported.known() {
			d.reported = shape
		}
	}
}

// unhint drops the hint. Legacy peers must be configured alike, but a peer with the extension may
// be configured otherwise.
func (d *fecDecoder) unhint() { d.hinted = fecShape{} }

// expectConv gives the conversation id at the beginning of every data packet, and so of every
// parity packet: the coefficients of a row add up to 1. Packets of another conversation are then
// dropped (S2.15). An attacker who does not know the id can change nothing.
func (d *fecDecoder) expectConv(conv uint32) { d.conv = int64(conv) }

// input takes one data or parity packet from its FEC header on, keeps what it needs of it, and
// returns the payloads that are recovered with it. They are valid until the next input or release.
// The packet's own payload is not among them: see fecDataPayload.
func (d *fecDecoder) input(packet []byte) (recovered [][]byte) {
	if isFECGroup(packet) {
		return d.inputNamed(packet)
	}
	d.dropResults(0)
	h, ok := d.checkPacket(packet)
	if !ok {
		d.counts.errors++
		return nil
	}
	if d.inputNamedData(packet, h) {
		return d.results
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

// place follows the stream and returns the position of a seqid. It returns false if that is outside
// the window.
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
	case jumped: // the new groups have to be proven
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

// restart empties the window and starts it at a seqid. It marks the beginning of the stream if the
// window reaches to it: every encoder's first group has seqid 0.
func (d *fecDecoder) restart(seqid uint32) {
	d.headSeq, d.head = seqid, fecFirstPosition
	d.clear()
	d.most = max(d.most, seqid)
	if origin := d.head - d.headSeq; !d.late() && d.reaches(origin) {
		d.claim(origin).marks |= fecMarkStart
	}
}

// late reports whether the stream has been so far from 0 that a group other than the first may
// begin there.
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

// stale reports whether a packet is from before the stream's last jump (S2.16). A late packet must
// not be grouped as the stream is now, or move the stream back. A stream that did go back is
// followed after a while.
func (d *fecDecoder) stale(seqid uint32) bool {
	if d.looked < fecFirstLooks || int32(seqid-d.at) > -fecJumpSeen {
		d.behind = max(d.behind-2, 0)
		return false
	}
	d.behind = min(d.behind+1, fecStaleRun)
	return d.behind < fecStaleRun
}

// checkPacket checks what a packet shows by itself.
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

// ours reports whether a payload may begin with the session's conversation id.
func (d *fecDecoder) ours(payload []byte) bool {
	return d.conv == anyConv ||
		len(payload) >= 4 && int64(binary.LittleEndian.Uint32(payload)) == d.conv
}

// refute records that what was inferred about the groups is wrong (S2.14).
func (d *fecDecoder) refute() {
	d.counts.errors++
	d.refuted = true
}

// forget drops all that was inferred, and the packets that it was inferred from.
func (d *fecDecoder) forget() {
	d.clear()
	d.shape, d.proof, d.refuted = fecShape{}, fecProof{}, false
}

// expire releases packets that are no longer needed. It is called before input with the time.
func (d *fecDecoder) expire(now millis) {
	if d.lastAt = now; d.slots == nil && d.named == nil {
		d.oldAt, d.idleAt = now, now+fecIdleMillis
	}
	if now-d.oldAt < fecKeptMillis || d.slots == nil {
		return
	}
	if now-d.oldAt >= 2*fecKeptMillis {
		d.oldTop = d.top + 1
	}
	d.dropBelow(d.oldTop)
	d.oldTop, d.oldAt = d.top+1, now
}

// nextIdle returns when releaseIdle is to be called, or never while nothing is to be released.
func (d *fecDecoder) nextIdle() millis {
	if d == nil || d.slots == nil && d.named == nil {
		return never
	}
	return d.idleAt
}

// releaseIdle releases all memory if no packet has arrived for a while, and reports whether it did.
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

// dropResults releases what was recovered after the first n packets.
func (d *fecDecoder) dropResults(n int) {
	for _, b := range d.buffers[n:] {
		d.put(b)
	}
	clear(d.buffers[n:])
	clear(d.results[n:])
	d.buffers, d.results = d.buffers[:n], d.results[:n]
}

// discard releases all packets without a result for their groups.
func (d *fecDecoder) discard() {
	d.releaseNamed()
	d.clear()
}

// memory returns the bytes held now: at most fecMemoryLimit for packets and fecTablesLimit for
// tables.
func (d *fecDecoder) memory() int { return d.held + d.tables() + d.named.tables() }

// release releases all memory, of an idle or a closed session. What was proven and counted is kept.
// Open groups are lost, and input continues when packets arrive again.
func (d *fecDecoder) release() {
	d.discard()
	d.slots, d.spares, d.members, d.results, d.buffers = nil, nil, nil, nil, nil
	d.looked = 0
}

func (d *fecDecoder) stats() fecStats { return d.counts }
