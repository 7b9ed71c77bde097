// SPDX-License-Identifier: MIT

package kcp

// span is one finished packet in an arena, headroom and tailroom included. If shared is set its segments are there, and
// the arena has at most the room for what they become when they are sealed.
type span struct {
	start, end int
	shared     []byte
	limited    int // bytes of it that count against the rate limit: all if it carries data, none if it does not
}

// size is how long the datagram is.
func (p *span) size() int { return max(p.end-p.start, len(p.shared)) }

// packetWriter lays packets out one right behind another in an arena that later becomes the system call's buffer:
//
//	| headroom | segments ... | tailroom | headroom | segments ... | tailroom | ...
//
// The headroom takes the crypto and FEC headers and the tailroom an AEAD tag, so that nothing is ever moved. It is
// filled by one goroutine at a time.
type packetWriter struct {
	arena      []byte
	headroom   int
	tailroom   int
	limit      int  // most bytes of segments in one packet: KCP's own MTU
	maxPackets int  // most packets, so that one session leaves room for others
	shares     bool // packets of one segment may stay where it is

	packets []span
	start   int // where the open packet's headroom begins
	pos     int // where its next segment goes
	state   packetState
}

// packetState is how far the packet being written is.
type packetState uint8

const (
	packetClosed   packetState = iota
	packetOpen                 // it has been begun
	packetWithData             // and carries data
)

// isOpen reports whether a packet has been begun.
func (w *packetWriter) isOpen() bool { return w.state != packetClosed }

// carryData notes that what was written last is data. A packet that is shared has been finished already.
func (w *packetWriter) carryData() {
	if w.isOpen() {
		w.state = packetWithData
	}
}

// reset empties the writer and sets the frame of the packets to come.
func (w *packetWriter) reset(headroom, tailroom, limit int) {
	w.headroom, w.tailroom, w.limit = headroom, tailroom, limit
	w.packets = w.packets[:0]
	w.start, w.pos, w.state = 0, 0, packetClosed
}

// next returns the n bytes where the next segment goes, opening a new packet when the current one has no room. It
// returns nil when the arena is full: what is left to say is said in the next flush.
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

// frame is what a packet has besides its segments.
func (w *packetWriter) frame() int { return w.headroom + w.tailroom }

// cost returns by how many bytes the packets grow with a segment of n bytes.
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

// share adds a packet that stays where its segment is. With headroom or tailroom the arena gets the sealed packet; without
// it is sent from there. It returns false when there is no room.
func (w *packetWriter) share(segment []byte) bool {
	frame := 0
	if w.headroom+w.tailroom > 0 {
		frame = w.headroom + len(segment) + w.tailroom
	}
	if w.start+frame > len(w.arena) || len(w.packets) >= w.maxPackets {
		return false
	}
	w.packets = append(w.packets, span{start: w.start, end: w.start + frame, shared: segment, limited: max(frame, len(segment))})
	w.start += frame
	return true
}
