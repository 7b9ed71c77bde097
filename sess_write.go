// SPDX-License-Identifier: MIT

package kcp

import (
	"strconv"
	"time"
)

// writeSegmentsMax is how many segments a Write queues before it sends them: as many as one run of
// datagrams holds.
const writeSegmentsMax = 48

// Write sends p. It returns when all of p is queued. Up to 4 MiB in up to 16384 messages may be
// unacknowledged, or what fits the send window if that is more. Config.MaxMemory may lower that
// limit. Write waits when the limit is reached. On a path of less than 8 ms it waits at the send
// window, as long as the path alone sets the pace. Queued data is sent as the windows allow, and at
// once unless SetWriteDelay is set.
//
// In message mode p is cut into messages of at most one segment's payload each. In stream mode
// small writes may leave in one segment. After an error n bytes have been queued. Errors are those
// of Read; after CloseWrite it is the error of a closed session.
func (s *UDPSession) Write(p []byte) (n int, err error) {
	return s.writeChunks(p, nil)
}

// WriteBuffers writes the slices of v one behind the other, as one Write.
func (s *UDPSession) WriteBuffers(v [][]byte) (n int, err error) {
	if len(v) == 0 {
		return s.writeChunks(nil, nil)
	}
	return s.writeChunks(v[0], v[1:])
}

// WriteRoom returns how many bytes one Write takes now without waiting for room, or 0 if a Write
// would wait, or fail. It counts full segments, and a small message takes the room of one. Other
// Writes leave less, and so may Config.MaxMemory, which counts buffers and not bytes.
func (s *UDPSession) WriteRoom() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writeFailureLocked() != nil || s.busy.has(sideWrite) {
		return 0
	}
	c := &s.core
	free, _ := c.writeRoom()
	if free > 0 && c.cut(c.sendEnd) < c.mss {
		free-- // the first segment is cut in two
	}
	return int(free) * c.mss
}

func (s *UDPSession) writeChunks(p []byte, rest [][]byte) (n int, err error) {
	s.mu.Lock()
	if err = s.beginWriteLocked(time.Time{}); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	s.busy |= sideWrite
	s.core.beginWrite()
	for {
		for len(p) == 0 && len(rest) > 0 {
			p, rest = rest[0], rest[1:]
		}
		if len(p) == 0 {
			break
		}
		if err = s.waitWritableLocked(time.Time{}); err != nil {
			break
		}
		took := s.queueSegmentsLocked(p)
		s.chargeLocked()
		n += took
		p = p[took:]
		if took > 0 {
			s.flushOrArmLocked()
		}
	}
	s.busy &^= sideWrite
	s.core.note(logSend, nil, n)
	s.wakeWritersLocked()
	logs := s.takeLogsLocked(nil)
	s.mu.Unlock()
	s.log.Load().report(logs)
	return n, err
}

// WriteMessage queues b as one message, which is dropped if it is not delivered before the
// deadline. So a message that has become worthless does not delay those behind it. A message
// arrives whole or not at all, in order with all others, and Write stays reliable.
//
// A message that has not left when the deadline passes is not sent. One that has left and was not
// acknowledged is not repeated, and the peer is told to skip it. It may still arrive: a copy may be
// on its way, or wait at the peer for data before it. A legacy peer cannot skip what was sent, and
// receives it late. Stats.MessagesDropped counts what was dropped. The deadline is kept to a
// millisecond. The zero time is none: the message is as reliable as a Write.
//
// b may fill up to 32 segments, about 43 KiB with the default MTU. A Write cuts what is longer than
// one segment into several messages. A legacy peer needs a receive window of as many segments. An
// empty b sends nothing.
//
// WriteMessage waits for room as Write does, until the deadline of the message or the write
// deadline. Then, or if the deadline had passed already, nothing is queued, and the error matches
// os.ErrDeadlineExceeded. It matches errors.ErrUnsupported in stream mode, and os.ErrInvalid if b
// is too long. Other errors are those of Write.
func (s *UDPSession) WriteMessage(b []byte, deadline time.Time) error {
	s.mu.Lock()
	err := s.writeMessageLocked(b, deadline)
	logs := s.takeLogsLocked(nil)
	s.mu.Unlock()
	s.log.Load().report(logs)
	return err
}

// writeMessageLocked is WriteMessage. s.mu must be held, and is released meanwhile.
func (s *UDPSession) writeMessageLocked(b []byte, until time.Time) error {
	err := s.checkMessageLocked(len(b))
	if err == nil {
		err = s.beginWriteLocked(until)
	}
	if err != nil || len(b) == 0 {
		return err
	}
	s.busy |= sideWrite
	s.core.beginWrite()
	err = s.queueMessageLocked(b, until)
	s.busy &^= sideWrite
	s.wakeWritersLocked()
	return err
}

// queueMessageLocked queues a message once there is room for it. s.mu must be held, and is released
// meanwhile.
func (s *UDPSession) queueMessageLocked(b []byte, until time.Time) error {
	err := s.waitWritableLocked(until)
	if err == nil {
		err = s.checkMessageLocked(len(b)) // the MTU may have shrunk
	}
	if err != nil {
		return err
	}
	c, expires := &s.core, never
	if !until.IsZero() {
		at := s.env.clock.now() + instant(min(time.Until(until), longest))
		expires = (at + millisecond - 1).ms()
	}
	c.queueMessage(b, expires)
	c.note(logSend, nil, len(b))
	s.delayWriteLocked()
	s.chargeLocked()
	s.flushOrArmLocked()
	return nil
}

// checkMessageLocked returns an error if a message of n bytes cannot be sent. s.mu must be held.
func (s *UDPSession) checkMessageLocked(n int) error {
	c := &s.core
	switch {
	case c.modes.has(modeStream):
		return errStreamMode
	case c.messageSegments(n) > messageMost:
		most := c.cut(c.sendEnd) + (messageMost-1)*c.mss
		return badArgument("message of bytes", n, "at most "+strconv.Itoa(most))
	}
	return nil
}

// mayWriteLocked returns the error that keeps a Write, or a message until its deadline, from being
// queued. s.mu must be held.
func (s *UDPSession) mayWriteLocked(until time.Time) error {
	err := s.writeFailureLocked()
	if err == nil && !until.IsZero() && !time.Now().Before(until) {
		err = errTimeout
	}
	return err
}

// waitToWriteLocked waits until something has changed for a Write, or a deadline has passed. It
// reports whether the call has read the socket. s.mu must be held, and is released meanwhile.
func (s *UDPSession) waitToWriteLocked(until time.Time) (read bool) {
	c := s.blockedLocked()
	c.armWrite()
	if until.IsZero() {
		return s.waitLocked(&c.writers)
	}
	d := deadline{at: until}
	d.arm(&c.writers)
	read = s.waitLocked(&c.writers)
	d.stop()
	return read
}

// beginWriteLocked waits for its turn among concurrent Writes, until the deadline of a message at
// most. s.mu must be held.
func (s *UDPSession) beginWriteLocked(until time.Time) error {
	for {
		if err := s.mayWriteLocked(until); err != nil || !s.busy.has(sideWrite) {
			return err
		}
		s.waitToWriteLocked(until)
	}
}

// waitWritableLocked waits until another segment may be queued. A call that reads the socket itself
// meanwhile goes on reading until there is room for several, as a call that waits to be woken does.
// s.mu must be held.
func (s *UDPSession) waitWritableLocked(until time.Time) error {
	for need := uint32(1); ; {
		free, share := s.core.writeRoom()
		if err := s.mayWriteLocked(until); err != nil || free >= need {
			return err
		}
		s.armLocked(s.now())
		if need = 1; s.waitToWriteLocked(until) {
			need = share
		}
	}
}

func (s *UDPSession) writeFailureLocked() error {
	switch {
	case s.life.closed() || s.core.ctl.finWanted():
		return errClosed
	case s.life.writeErr != nil:
		return s.life.writeErr
	case s.calls.writePassed():
		return errTimeout
	}
	return nil
}

// queueSegmentsLocked queues as much of p as there is room for, at most one batch, and returns how
// many bytes that is. s.mu must be held.
func (s *UDPSession) queueSegmentsLocked(p []byte) (n int) {
	c := &s.core
	if c.modes.has(modeStream) {
		n = len(p) - len(c.fillLast(p))
		p = p[n:]
	}
	free, _ := c.writeRoom()
	room := min(int(free), writeSegmentsMax)
	if room == 0 || len(p) == 0 {
		return n
	}
	mss := c.mss
	if cut := c.cut(c.sendEnd); cut < min(len(p), mss) && room > 1 {
		return n + s.queueFirstLocked(p[:min(len(p), mss)], cut)
	}
	if len(p) <= mss {
		c.enqueue(append(getBuffer(len(p))[:0], p...), 0)
		s.delayWriteLocked()
		return n + len(p)
	}
	if len(p) >= slabLeast*mss || c.fill != nil {
		return n + s.queueFromSlabLocked(p, room)
	}
	cache := bufferCaches.Get().(*bufferCache)
	for ; room > 0 && len(p) > 0; room-- {
		m := min(len(p), mss)
		c.enqueue(append(cache.getSize(m)[:0], p[:m]...), 0)
		p = p[m:]
		n += m
	}
	bufferCaches.Put(cache)
	s.delayWriteLocked()
	return n
}

// queueFromSlabLocked queues a large Write, or a part of it, in a slab. It releases s.mu while it
// copies. The caller is the only Write, so nothing else is queued meanwhile. s.mu must be held.
func (s *UDPSession) queueFromSlabLocked(p []byte, room int) (n int) {
	c := &s.core
	mss := c.mss
	stride := segmentHeaderSize + mss
	slab, fits := c.fillSlab(stride)
	count := min(room, fits, (len(p)+mss-1)/mss)
	n = min(len(p), count*mss)
	at := slab.used
	slab.used += count * stride
	c.beginFilling()
	s.mu.Unlock()
	for i := range count {
		copy(slab.buf[at+i*stride+segmentHeaderSize:], p[i*mss:min((i+1)*mss, n)])
	}
	s.mu.Lock()
	c.endFilling()
	if s.life.writeErr != nil || s.life.closed() || c.ctl.finWanted() {
		c.releaseIdle()
		return 0
	}
	for i := range count {
		c.enqueueSlab(slab, at+i*stride, min(mss, n-i*mss), stride)
	}
	if c.mss < mss {
		c.recut()
	}
	s.delayWriteLocked()
	return n
}

// queueFirstLocked queues the first segment of a session, which is cut shorter than others. The
// rest of p follows as another segment of the same stream, or as the second fragment of the same
// message (S1.7). s.mu must be held.
func (s *UDPSession) queueFirstLocked(p []byte, cut int) int {
	c := &s.core
	frg := uint8(1)
	if c.modes.has(modeStream) {
		frg = 0
	}
	c.enqueue(append(getBuffer(cut)[:0], p[:cut]...), frg)
	c.enqueue(append(getBuffer(len(p) - cut)[:0], p[cut:]...), 0)
	s.delayWriteLocked()
	return len(p)
}

// delayWriteLocked starts the wait of queued data, with SetWriteDelay. s.mu must be held.
func (s *UDPSession) delayWriteLocked() {
	if s.core.modes.has(modeWriteDelay) {
		s.core.delayWrite(s.now())
	}
}

// flushOrArmLocked sends what is due, and releases s.mu meanwhile, or sets the timer for what
// cannot leave yet. s.mu must be held.
func (s *UDPSession) flushOrArmLocked() {
	at := s.env.clock.now()
	now := at.ms()
	if next := s.core.nextEvent(now); next > now {
		s.armAtLocked(next)
		return
	}
	if s.coalesceLocked() {
		return
	}
	s.unlockAndFlush(at)
	s.mu.Lock()
}

// coalesceMax is the most segments that a session may have to send for its flush to be coalesced
// with those of others.
const coalesceMax = 8

// coalesceLocked leaves the flush to a scheduler worker, which sends for many sessions at once. It
// returns false if the caller is to flush itself. s.mu must be held.
func (s *UDPSession) coalesceLocked() bool {
	if !s.turns.queued {
		s.turns.queued = s.core.queued() <= coalesceMax && s.env.host.coalesce(s, s.peerHash)
	}
	return s.turns.queued
}
