// SPDX-License-Identifier: MIT

package kcp

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
	if err = s.beginWriteLocked(); err != nil {
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
		if err = s.waitWritableLocked(); err != nil {
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

// beginWriteLocked waits for its turn among concurrent Writes. s.mu must be held.
func (s *UDPSession) beginWriteLocked() error {
	for {
		if err := s.writeFailureLocked(); err != nil || !s.busy.has(sideWrite) {
			return err
		}
		c := s.blockedLocked()
		c.armWrite()
		s.waitLocked(&c.writers)
	}
}

// waitWritableLocked waits until another segment may be queued. A call that reads the socket itself
// meanwhile goes on reading until there is room for several, as a call that waits to be woken does.
// s.mu must be held.
func (s *UDPSession) waitWritableLocked() error {
	for need := uint32(1); ; {
		free, share := s.core.writeRoom()
		if err := s.writeFailureLocked(); err != nil || free >= need {
			return err
		}
		s.armLocked(s.now())
		c := s.blockedLocked()
		c.armWrite()
		if need = 1; s.waitLocked(&c.writers) {
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
