// SPDX-License-Identifier: MIT

package kcp

// unreadData is the data that a session had received in order, and the program had not read, when
// it was closed. Read still returns it. It is not in pooled buffers any more. The account of memory
// counts it until the session has left its socket; then it belongs to the program.
type unreadData struct {
	messages [][]byte // in stream mode the stream, in few pieces
	size     int      // of all that there was
}

// memory returns how many bytes are held. A nil u holds nothing.
func (u *unreadData) memory() int {
	if u == nil {
		return 0
	}
	return u.size
}

// read returns at most one message, and keeps the rest of one that does not fit.
func (u *unreadData) read(p []byte, stream bool) (n int) {
	for len(u.messages) > 0 && n < len(p) {
		m := copy(p[n:], u.messages[0])
		n += m
		if u.messages[0] = u.messages[0][m:]; len(u.messages[0]) == 0 {
			u.messages[0] = nil
			u.messages = u.messages[1:]
		}
		if !stream {
			break
		}
	}
	return n
}

// beginUnreadLocked prepares for keepUnreadLocked. s.mu must be held.
func (s *UDPSession) beginUnreadLocked() { s.unread = new(unreadData) }

// keepUnreadLocked copies the data that Read still returns after Close, and releases s.mu while it
// copies, as a Read does. If a Read is copying at that moment, it calls this when it is done. s.mu
// must be held.
func (s *UDPSession) keepUnreadLocked() {
	if s.unread == nil || s.busy.has(sideRead) {
		return
	}
	u, end := s.unread, s.core.rcvNxt // what comes from here on is not kept
	for s.partial.data != nil || s.core.readNxt.before(end) && s.hasDataLocked() {
		data := make([]byte, max(s.nextBytesLocked(end), 1))
		if data = data[:s.readQueuedLocked(data)]; len(data) > 0 {
			u.messages = append(u.messages, data)
			u.size += len(data)
		}
	}
	if len(u.messages) == 0 {
		s.unread = nil
	}
}

// nextBytesLocked returns how many bytes the next Read can return of the data before end. s.mu must
// be held.
func (s *UDPSession) nextBytesLocked(end seqNum) (n int) {
	c := &s.core
	if s.partial.data != nil {
		n = len(s.partial.data) - int(s.partialOff)
	}
	segs := s.msgLeft
	switch {
	case c.modes.has(modeStream):
		segs = c.readNxt.distance(end)
	case s.partial.data == nil && segs == 0:
		segs = c.peekSegments()
	}
	for i := range segs {
		n += len(c.in.at(c.readNxt + seqNum(i)).data)
	}
	return n
}

// readUnreadLocked is Read after Close, if some data is left. s.mu must be held.
func (s *UDPSession) readUnreadLocked(p []byte) (n int) {
	n = s.unread.read(p, s.core.modes.has(modeStream))
	if len(s.unread.messages) == 0 {
		s.unread = nil
		s.chargeLocked()
	}
	return n
}
