// SPDX-License-Identifier: MIT

package kcp

// A span is one finished packet in an arena, with headroom and tailroom. If shared is set, it has
// the segments, and the arena has at most the room for the sealed packet.
type span struct {
	start, end int
	shared     []byte
	limited    int // bytes charged to the rate limit: all of a packet with data, otherwise none
	use        packetUse
}

// packetUse is what a packet is for.
type packetUse uint8

const (
	packetCarries packetUse = iota // segments
	packetProbes                   // it is a probe of the path's MTU, and must not be fragmented
)

// size returns the length of the datagram.
func (p *span) size() int { return max(p.end-p.start, len(p.shared)) }

// packetWriter lays packets out one after another in an arena that becomes the buffer of the system
// call:
//
//	| headroom | segments ... | tailroom | headroom | segments ... | tailroom | ...
//
// The headroom takes the crypto and FEC headers and the tailroom an AEAD tag, so nothing is ever
// moved. One goroutine at a time uses it.
type packetWriter struct {
	arena      []byte
	headroom   int
	tailroom   int
	limit      int  // most bytes of segments in one packet: KCP's own MTU
	maxPackets int  // most packets, so that one session leaves room for others
	shares     bool // packets of one segment may be sent from where the segment is

	rider rider // what a state machine adds to its packets

	packets []span
	start   int // where the open packet's headroom begins
	pos     int // where its next segment goes
	state   packetState
}

// packetState is the progress of the packet being written.
type packetState uint8

const (
	packetClosed   packetState = iota
	packetOpen                 // begun
	packetWithData             // begun, with data
)

// isOpen reports whether a packet has been begun.
func (w *packetWriter) isOpen() bool { return w.state != packetClosed }

// carryData notes that the last write was data. A shared packet is finished already.
func (w *packetWriter) carryData() {
	if w.isOpen() {
		w.state = packetWithData
	}
}

// reset empties the writer and sets the frame of the next packets.
func (w *packetWriter) reset(headroom, tailroom, limit int) {
	w.headroom, w.tailroom, w.limit = headroom, tailroom, limit
	w.packets = w.packets[:0]
	w.start, w.pos, w.state = 0, 0, packetClosed
}

// next returns the n bytes for the next segment, and opens a new packet if the current one has no
// room. It returns nil if the arena is full. The rest is then left to the next flush.
func (w *packetWriter) next(n int) []byte {
	if w.isOpen() && w.pos+n-(w.start+w.headroom) > w.limit {
		w.finish()
	}
	if !w.isOpen() && !w.begin(n) {
		return nil
	}
	b := w.arena[w.pos : w.pos+n : w.pos+n]
	w.pos += n
	return b
}

// frame returns the size of a packet without its segments.
func (w *packetWriter) frame() int { return w.headroom + w.tailroom }

// cost returns by how many bytes a segment of n bytes makes the packets grow.
func (w *packetWriter) cost(n int) int {
	if w.isOpen() && n <= w.room() {
		return n
	}
	return w.frame() + n
}

// room returns the bytes that are free in the open packet, 0 if none is open.
func (w *packetWriter) room() int {
	if !w.isOpen() {
		return 0
	}
	return w.limit - (w.pos - w.start - w.headroom)
}

func (w *packetWriter) begin(n int) bool {
	frame := w.headroom + w.tailroom + max(n, w.limit)
	if w.start+frame > len(w.arena) || len(w.packets) >= w.maxPackets {
		return false
	}
	w.pos = w.start + w.headroom
	w.state = packetOpen
	return true
}

// probes finishes the open packet, which is a probe of the path's MTU.
func (w *packetWriter) probes() {
	w.finish()
	w.packets[len(w.packets)-1].use = packetProbes
}

// finish closes the open packet, if there is one.
func (w *packetWriter) finish() {
	if !w.isOpen() {
		return
	}
	end := w.pos + w.tailroom
	p := span{start: w.start, end: end}
	if w.state == packetWithData {
		p.limited = end - w.start
	}
	w.packets = append(w.packets, p)
	w.start, w.state = end, packetClosed
}

// share adds a packet that stays where its segment is. With headroom or tailroom the sealed packet
// is written to the arena. Otherwise the packet is sent from the segment. It returns false if there
// is no room.
func (w *packetWriter) share(segment []byte) bool {
	frame := 0
	if w.headroom+w.tailroom > 0 {
		frame = w.headroom + len(segment) + w.tailroom
	}
	if w.start+frame > len(w.arena) || len(w.packets) >= w.maxPackets {
		return false
	}
	w.packets = append(w.packets, span{
		start: w.start, end: w.start + frame, shared: segment, limited: max(frame, len(segment)),
	})
	w.start += frame
	return true
}
