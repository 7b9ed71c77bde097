// SPDX-License-Identifier: MIT

package kcp

// writeSegmentsMax is how many segments a Write fills at a time before it sends them: as many as one run of datagrams holds.
const writeSegmentsMax = 48

// Write sends p. It returns when all of p is queued. What the peer has not acknowledged yet may be 4 MiB in up to 16384
// messages, or what fits the send window if that is more, as far as Config.MaxMemory goes: there Write waits. On a path of
// less than 8 ms it waits at the send window, as long as the path alone sets the pace. What is queued is sent as the windows
// allow, and at once unless SetWriteDelay. In message mode p is cut into messages of at most one segment's payload each; in
// stream mode small writes may leave in one segment. After an error n bytes have been queued. Errors are those of Read;
// after CloseWrite it is the error of a closed session.
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

func (s *UDPSession) writeChunks(p []byte, rest [][]byte) (n int, err error) {
	s.mu.Lock()
	if err = s.beginWrite(); err != nil {
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
		if err = s.waitWritable(); err != nil {
			break
		}
		took := s.queueSegments(p)
		s.charge()
		n += took
		p = p[took:]
		if took > 0 {
			s.sendUnlocked()
		}
	}
	s.busy &^= sideWrite
	s.core.note(logSend, nil, n)
	s.wakeWriters()
	logs := s.takeLogs(nil)
	s.mu.Unlock()
	s.log.Load().report(logs)
	return n, err
}

// beginWrite waits, with the lock held, for its turn among concurrent Writes.
func (s *UDPSession) beginWrite() error {
	for {
		if err := s.writeFailure(); err != nil || !s.busy.has(sideWrite) {
			return err
		}
		c := s.blocked()
		c.writeDeadline.arm(&c.writers)
		s.wait(&c.writers)
	}
}

// waitWritable waits, with the lock held, until another segment may be queued. A call that reads the socket itself meanwhile
// goes on reading until there is room for several, as one that waits to be woken does.
func (s *UDPSession) waitWritable() error {
	for need := uint32(1); ; {
		free, share := s.core.writeRoom()
		if err := s.writeFailure(); err != nil || free >= need {
			return err
		}
		s.arm(s.now())
		c := s.blocked()
		c.writeDeadline.arm(&c.writers)
		if need = 1; s.wait(&c.writers) {
			need = share
		}
	}
}

func (s *UDPSession) writeFailure() error {
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

// queueSegments queues as much of p as there is room for, at most one batch, and returns how many bytes that was.
func (s *UDPSession) queueSegments(p []byte) (n int) {
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
		return n + s.admitFirst(p[:min(len(p), mss)], cut)
	}
	if len(p) <= mss {
		c.enqueue(append(getBuffer(len(p))[:0], p...), 0)
		s.delayWrite()
		return n + len(p)
	}
	if len(p) >= slabLeast*mss || c.fill != nil {
		return n + s.queueFromSlab(p, room)
	}
	cache := bufferCaches.Get().(*bufferCache)
	for ; room > 0 && len(p) > 0; room-- {
		m := min(len(p), mss)
		c.enqueue(append(cache.getSize(m)[:0], p[:m]...), 0)
		p = p[m:]
		n += m
	}
	bufferCaches.Put(cache)
	s.delayWrite()
	return n
}

// queueFromSlab queues a large Write, or a part of it, in a slab. It lets go of the lock while it copies; the caller being the
// only Write, nothing else is queued meanwhile.
func (s *UDPSession) queueFromSlab(p []byte, room int) (n int) {
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
	s.delayWrite()
	return n
}

// admitFirst queues the first segment of a session, which is cut shorter than others. The rest of p follows as another
// segment of the same stream, or as the second fragment of the same message.
func (s *UDPSession) admitFirst(p []byte, cut int) int {
	c := &s.core
	frg := uint8(1)
	if c.modes.has(modeStream) {
		frg = 0
	}
	c.enqueue(append(getBuffer(cut)[:0], p[:cut]...), frg)
	c.enqueue(append(getBuffer(len(p) - cut)[:0], p[cut:]...), 0)
	s.delayWrite()
	return len(p)
}

// delayWrite starts the wait of what is queued, if it shall wait.
func (s *UDPSession) delayWrite() {
	if s.core.modes.has(modeWriteDelay) {
		s.core.delayWrite(s.now())
	}
}

// sendUnlocked flushes with the lock let go, or sets the timer for what cannot leave yet.
func (s *UDPSession) sendUnlocked() {
	at := s.env.clock.now()
	now := at.ms()
	if next := s.core.nextEvent(now); next > now {
		s.armAt(next)
		return
	}
	if s.coalesce() {
		return
	}
	s.unlockAndFlush(at)
	s.mu.Lock()
}

// coalesceMax is the most segments that a session may have to send for its flush to be coalesced with those of others.
const coalesceMax = 8

// coalesce leaves the flush to a scheduler worker, which sends for many sessions at once. It returns false if the caller
// is to flush itself. s.mu must be held.
func (s *UDPSession) coalesce() bool {
	if !s.turns.queued {
		s.turns.queued = s.core.queued() <= coalesceMax && s.env.host.coalesce(s, s.peerHash)
	}
	return s.turns.queued
}
