// SPDX-License-Identifier: MIT

package kcp

// span is one finished packet in an arena, headroom and tailroom included.
type span struct {
	start, end int
	limited    int // bytes of it that count against the rate limit: all if it carries data, none if it does not
}

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
	limit      int // most bytes of segments in one packet: KCP's own MTU
	maxPackets int // most packets, so that one session leaves room for others

	packets []span
	start   int  // where the open packet's headroom begins
	pos     int  // where its next segment goes
	open    bool // a packet has been begun
	data    bool // and carries data
}

// reset empties the writer and sets the frame of the packets to come.
func (w *packetWriter) reset(headroom, tailroom, limit int) {
	w.headroom, w.tailroom, w.limit = headroom, tailroom, limit
	w.packets = w.packets[:0]
	w.start, w.pos, w.open = 0, 0, false
}

// next returns the n bytes where the next segment goes, opening a new packet when the current one has no room. It
// returns nil when the arena is full: what is left to say is said in the next flush.
func (w *packetWriter) next(n int) []byte {
	if w.open && w.pos+n-(w.start+w.headroom) > w.limit {
		w.finish()
	}
	if !w.open && !w.begin(n) {
		return nil
	}
	b := w.arena[w.pos : w.pos+n : w.pos+n]
	w.pos += n
	return b
}

// room returns the bytes that are free in the open packet, 0 if none is open.
func (w *packetWriter) room() int {
	if !w.open {
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
	w.open, w.data = true, false
	return true
}

// finish closes the open packet, if there is one.
func (w *packetWriter) finish() {
	if !w.open {
		return
	}
	end := w.pos + w.tailroom
	p := span{start: w.start, end: end}
	if w.data {
		p.limited = end - w.start
	}
	w.packets = append(w.packets, p)
	w.start, w.open = end, false
}
