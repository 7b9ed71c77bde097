// SPDX-License-Identifier: MIT

package kcp

import "io"

// readSegmentsMax is how many segments a Read takes out of the receive queue at a time. They are
// copied without the lock, so that a large Read does not delay the reader of the socket.
const readSegmentsMax = 64

// Read reads data that has arrived, waiting for the first byte. In message mode it returns at most
// one message, and the rest of one that does not fit p stays for the next Read. In stream mode it
// fills p with all data that is there. At the end of the stream it returns io.EOF, or
// io.ErrUnexpectedEOF if a faulty peer has ended it within a message.
//
// Other errors match os.ErrDeadlineExceeded if the deadline has passed, and syscall.ECONNRESET if
// the peer has aborted the session or was restarted. They match syscall.ETIMEDOUT if the peer does
// not answer any more, or if Config.IdleTimeout is over. A session that was closed on this side
// returns an error that matches net.ErrClosed and io.ErrClosedPipe, once the data that had arrived
// before is read.
func (s *UDPSession) Read(p []byte) (int, error) {
	s.mu.Lock()
	if err := s.beginReadLocked(len(p)); err != nil || len(p) == 0 {
		if err != nil {
			s.calls.readFailed(err)
		}
		s.mu.Unlock()
		return 0, err
	}
	if s.life.closed() {
		n := s.readUnreadLocked(p)
		s.mu.Unlock()
		return n, nil
	}
	n, ok := s.readOneLocked(p)
	if !ok {
		n = s.readQueuedLocked(p)
	}
	s.core.note(logRecv, nil, n)
	due := s.endReadLocked()
	logs := s.takeLogsLocked(nil)
	s.unlockAndSend(due)
	s.log.Load().report(logs)
	return n, nil
}

// readOneLocked reads if a single segment is all that there is to read. The segment is copied with
// s.mu held: to release it would take longer. s.mu must be held.
func (s *UDPSession) readOneLocked(p []byte) (n int, ok bool) {
	c := &s.core
	switch {
	case s.partial.data != nil || s.msgLeft > 1 || c.modes.has(modeStream) && c.readable() > 1:
		return 0, false
	case s.msgLeft == 0 && c.peekSegments() != 1 || len(c.in.at(c.readNxt).data) > len(p):
		return 0, false
	}
	seg := c.take()
	s.msgLeft = 0
	n = copy(p, seg.data)
	c.freeReceived(&seg, nil)
	return n, true
}

// readQueuedLocked reads data that is there, and releases s.mu while it copies. Its frame on the
// stack is large, so that it must not be inlined into Read, which waits on a stack of its own. s.mu
// must be held.
//
//go:noinline
func (s *UDPSession) readQueuedLocked(p []byte) (n int) {
	s.busy |= sideRead
	if s.partial.data == nil && s.msgLeft == 0 {
		s.msgLeft = s.core.peekSegments()
	}
	for more := true; more; {
		var batch readTake
		more = s.takeSegmentsLocked(&batch, len(p)-n)
		s.mu.Unlock()
		n += batch.copyTo(p[n:])
		s.mu.Lock()
		batch.release(&s.core)
	}
	s.busy &^= sideRead
	return n
}

// beginReadLocked waits until there is something to read or a reason not to. s.mu must be held.
func (s *UDPSession) beginReadLocked(want int) error {
	for {
		switch {
		case s.life.closed() && s.unread == nil:
			return errClosed
		case want == 0, s.life.closed() && !s.busy.has(sideRead):
			return nil
		case s.life.closed():
			s.blockedLocked().readers.Wait() // until what is left has been copied
			continue
		}
		if ok, err := s.readNowLocked(); ok || err != nil {
			return err
		}
		c := s.blockedLocked()
		c.armRead()
		mss := s.core.usualMSS()
		s.core.await(uint16(min((want+mss-1)/mss, wndMax)))
		s.waitLocked(&c.readers)
		s.core.await(0)
	}
}

// readNowLocked reports whether a Read would return data at once, or the error that it would
// return. For a Read that would wait it returns false and nil. The session must not be closed, and
// s.mu must be held.
func (s *UDPSession) readNowLocked() (ok bool, err error) {
	switch {
	case s.calls.readPassed():
		return false, errTimeout
	case s.busy.has(sideRead):
		return false, nil
	case s.partial.data != nil || s.hasDataLocked():
		return true, nil
	case s.core.endOfStream() || s.life.readShut():
		return false, io.EOF
	case s.core.cutShort():
		return false, io.ErrUnexpectedEOF
	}
	return false, s.life.readErr
}

// hasDataLocked reports whether a message that is not empty can be read. Empty messages, which the
// C implementation can send, are skipped: a Read without data would help no program. s.mu must be
// held.
func (s *UDPSession) hasDataLocked() bool {
	if s.msgLeft > 0 {
		return true
	}
	skipped := false
	for n := s.core.peekSegments(); n > 0 && s.core.peekSize() == 0; n = s.core.peekSegments() {
		for range n {
			seg := s.core.take()
			s.core.freeReceived(&seg, nil)
		}
		skipped = true
	}
	if skipped && s.core.peekSegments() == 0 {
		s.core.afterRead()
		s.core.releaseIdle()
		s.armLocked(s.now())
	}
	return s.core.peekSegments() > 0
}

// readTake is a run of segments taken out of the receive queue, to be copied without the lock.
type readTake struct {
	segs  [readSegmentsMax]recvSegment
	count int
	first int // where the first begins
	whole int // segments read to their end; the last of the others stays the session's
}

func (b *readTake) copyTo(p []byte) (n int) {
	cache := bufferCaches.Get().(*bufferCache)
	defer bufferCaches.Put(cache)
	for i := range b.count {
		seg := &b.segs[i]
		if i == 0 {
			n += copy(p, seg.data[b.first:])
		} else {
			n += copy(p[n:], seg.data)
		}
		if seg.slab == nil && i < b.whole {
			cache.put(seg.data)
		}
	}
	return n
}

// release releases what copyTo has not. s.mu must be held.
func (b *readTake) release(c *core) {
	for i := range b.whole {
		if seg := &b.segs[i]; seg.slab != nil {
			c.freeReceived(seg, nil)
		} else {
			c.unweigh(seg)
		}
	}
}

// takeSegmentsLocked takes out of the receive queue what fits room: in message mode the rest of one
// message, in stream mode all that is there. It reports whether there may be more for the same
// Read. s.mu must be held.
func (s *UDPSession) takeSegmentsLocked(b *readTake, room int) (more bool) {
	for b.count < readSegmentsMax && room > 0 {
		seg, from := s.partial, int(s.partialOff)
		if seg.data == nil {
			if s.msgLeft == 0 && s.core.modes.has(modeStream) {
				s.msgLeft = s.core.peekSegments()
			}
			if s.msgLeft == 0 {
				return false
			}
			seg, from = s.core.take(), 0
			s.msgLeft--
		}
		s.partial, s.partialOff = recvSegment{}, 0
		if b.count == 0 {
			b.first = from
		}
		b.segs[b.count] = seg
		b.count++
		if left := len(seg.data) - from; left > room {
			s.partial, s.partialOff = seg, uint16(from+room)
			return false
		} else {
			room -= left
			b.whole++
		}
	}
	return room > 0
}

// endReadLocked lets the next Read in. It reports whether the peer is to be notified of a window
// that has opened. s.mu must be held.
func (s *UDPSession) endReadLocked() (flush bool) {
	if s.life.closed() {
		s.keepUnreadLocked()
		s.releaseReadingLocked()
	}
	if s.partial.data != nil || s.core.readable() > 0 || s.life.closed() {
		s.wakeReadersLocked()
	}
	if s.core.sparse() {
		s.core.own(&s.partial, nil)
		s.core.compact(nil)
	}
	s.core.advance()
	s.core.releaseIdle()
	s.chargeLocked()
	s.core.afterRead()
	return s.core.windowDue && !s.life.ended()
}

// releaseReadingLocked releases the data that will not be read any more. A Read that is still
// copying does so when it is done. s.mu must be held.
func (s *UDPSession) releaseReadingLocked() {
	if s.busy.has(sideRead) {
		return
	}
	s.releasePartialLocked()
	s.msgLeft = 0
	s.core.releaseReceived()
	s.core.releaseIdle()
	s.chargeLocked()
}

// discardReceivedLocked discards the data that has arrived in order, for a session that is not read
// any more. s.mu must be held.
func (s *UDPSession) discardReceivedLocked() {
	if s.busy.has(sideRead) {
		return
	}
	for s.core.readable() > 0 {
		seg := s.core.take()
		s.core.freeReceived(&seg, nil)
	}
	s.msgLeft = 0
	s.core.afterRead()
}

func (s *UDPSession) releasePartialLocked() {
	if s.partial.data != nil {
		s.core.freeReceived(&s.partial, nil)
	}
}
