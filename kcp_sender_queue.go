// SPDX-License-Identifier: MIT

package kcp

import "math"

// slabLeast is how many segments a Write must have to use a slab. An idle session keeps none.
const slabLeast = 4

// fillSlab returns the slab for the next segments of a Write, and for how many of stride bytes each
// it has room.
func (snd *sender) fillSlab(stride int) (s *slab, room int) {
	if snd.fill != nil && len(snd.fill.buf)-snd.fill.used < stride {
		snd.fill.release()
		snd.fill = nil
	}
	if snd.fill == nil {
		snd.fill = newSlab(getBuffer(bufferLarge))
	}
	return snd.fill, (len(snd.fill.buf) - snd.fill.used) / stride
}

// enqueueSlab queues the segment whose header is at offset at of the slab.
func (snd *sender) enqueueSlab(s *slab, at, size, stride int) {
	s.refs++
	snd.enqueue(s.buf[at+segmentHeaderSize:at+segmentHeaderSize+size:at+stride], 0)
	seg := snd.ring.at(snd.sendEnd - 1)
	seg.slab, seg.at = s, uint16(at)
}

// hold keeps a slab while datagrams in it are on their way to the socket.
func (snd *sender) hold(s *slab) {
	if n := len(snd.held); n == 0 || snd.held[n-1] != s {
		s.refs++
		snd.held = append(snd.held, s)
	}
}

// releaseHeld releases the slabs of hold once the datagrams are out.
func (snd *sender) releaseHeld() {
	for i, s := range snd.held {
		s.release()
		snd.held[i] = nil
	}
	snd.held = snd.held[:0]
}

// send queues p: in stream mode as part of the stream, in message mode as one message of up to 255
// fragments (S1.6). It returns the number of segments added, -1 for an empty p, or -2 for a message
// of too many fragments.
func (c *core) send(p []byte) int {
	if len(p) == 0 {
		return -1
	}
	if c.modes.has(modeStream) {
		if p = c.fillLast(p); len(p) == 0 {
			return 0
		}
	}
	count := (len(p) + c.mss - 1) / c.mss
	if !c.modes.has(modeStream) && count > 255 {
		return -2
	}
	c.enqueueCut(p, !c.modes.has(modeStream), termNone)
	return count
}

// fillLast appends as much of p as fits to the last queued segment and returns the rest. So a
// stream of small writes leaves in full segments.
func (c *core) fillLast(p []byte) []byte {
	if c.sendNxt == c.sendEnd {
		return p
	}
	seg := c.ring.at(c.sendEnd - 1)
	if seg.term != termNone {
		return p // it may be dropped
	}
	n := min(c.cut(c.sendEnd-1)-len(seg.data), len(p))
	if n <= 0 {
		return p
	}
	if len(seg.data)+n > cap(seg.data) {
		bigger := append(getBuffer(c.mss)[:0], seg.data...)
		seg.free(nil)
		seg.data = bigger
	}
	seg.data = append(seg.data, p[:n]...)
	c.sendBytes += uint32(n)
	return p[n:]
}

// cut returns how many bytes the segment sn may hold. The first segment of a session leaves room
// for a HELLO, and for the ACK of the segment that it answers (S4.10).
func (c *core) cut(sn seqNum) int {
	if sn != 0 || c.order > 0 || c.ctl.incarnation == 0 {
		return c.mss
	}
	room := helloSegment
	if c.ctl.accepted() {
		room += segmentHeaderSize
	}
	mss := c.mss
	if most := int(c.ctl.firstMost) - segmentHeaderSize; most > room && most < mss {
		mss = most
	}
	if mss <= room {
		return mss
	}
	return mss - room
}

// enqueue takes ownership of a pooled buffer as the data of the next segment.
func (snd *sender) enqueue(data []byte, frg uint8) {
	n := snd.queued() + 1
	switch {
	case snd.ring == nil:
		snd.ring = getSendRing(n)
	case n > snd.ring.size():
		snd.ring = snd.ring.grow(n, snd.sendUna, snd.sendEnd)
	}
	*snd.ring.at(snd.sendEnd) = sendSegment{data: data, frg: frg}
	snd.sendEnd++
	snd.sendBytes += uint32(len(data))
}

// delayWrite starts the wait of queued data if writes are delayed.
func (snd *sender) delayWrite(now millis) {
	if snd.modes.has(modeWriteDelay) && snd.flushAt == never {
		snd.flushAt = now + snd.burst.wait(now, snd.interval)
	}
}

// hurry ends the wait of delayed writes when at most one segment in flight is not acknowledged. The
// peer has nothing else to work on then, and may be waiting for the rest.
func (snd *sender) hurry(now millis) {
	if snd.flushAt != never && snd.flushAt > now && snd.inFlight <= 1 &&
		snd.burst.release(now, snd.interval) {
		snd.flushAt = now
	}
}

// restRides is how many full segments of a Write let its rest leave with them. For smaller Writes,
// waiting for the next Write saves a good part of the packets. A reader of large frames would wait
// for the rest of each.
const restRides = 8

// released reports whether new data need not wait for more. That is so if no write is delayed, the
// interval is over, or the data is the rest of a large Write. It is also so if a packet that has
// just left would have carried the data, or if it fills a packet.
func (c *core) released(now millis) bool {
	return c.flushAt == never || c.flushAt <= now || c.fullRun >= restRides ||
		c.owesRide(now) || c.fillsPacket()
}

// fillsPacket reports whether the new data fills a packet.
func (c *core) fillsPacket() bool {
	full := c.mtu
	if !c.modes.has(modeStream) {
		full -= segmentHeaderSize // no other message fits after it
	}
	size := 0
	for sn := c.sendNxt; sn != c.sendEnd; sn++ {
		n := len(c.ring.at(sn).data)
		if size += segmentHeaderSize + n; size >= full || n >= c.cut(sn) {
			return true
		}
	}
	return false
}

// owesRide reports whether a delayed write makes up for a packet that it has missed. The
// acknowledgement of bulk data leaves as soon as the data is received. The program cannot have
// written its answer then, such as a multiplexer's window update. So the answer leaves at once as
// well, up to an interval after the data: as if the acknowledgement had waited for it.
func (snd *sender) owesRide(now millis) bool {
	return snd.rides > 0 && timestamp(now).before(snd.ridesEnd)
}

// giveRides lets at least n delayed writes leave at once. Each packet that has left without new
// data gives one. An acknowledgement gives as many as there would have been without large batches.
func (c *core) giveRides(n uint32) {
	if !c.modes.has(modeWriteDelay) || c.newestAt < 0 {
		return
	}
	c.rides = max(c.rides, uint8(min(n, math.MaxUint8)))
	c.ridesEnd = timestamp(c.newestAt + c.interval)
}

// recut cuts queued segments again that are larger than mss. Messages keep their bounds while they
// fit 255 fragments.
func (snd *sender) recut() {
	// The rest of a message whose first fragments have been sent keeps its cut: they have announced
	// the count.
	first := snd.sendNxt
	for partial := snd.lastFrg > 0; partial && first != snd.sendEnd; first++ {
		partial = snd.ring.at(first).frg > 0
	}
	fits := true
	for sn := first; sn != snd.sendEnd && fits; sn++ {
		fits = len(snd.ring.at(sn).data) <= snd.mss
	}
	if fits {
		return
	}
	var old []sendSegment
	timed := snd.timedFrom(first)
	firstTimed := timed
	for sn := first; sn != snd.sendEnd; sn++ {
		seg := snd.ring.at(sn)
		old = append(old, *seg)
		snd.sendBytes -= uint32(len(seg.data))
		seg.data, seg.slab = nil, nil
	}
	snd.sendEnd = first
	var message []byte
	for i := range old {
		p := &old[i]
		message = append(message, p.data...)
		p.free(nil)
		if p.frg > 0 {
			continue
		}
		if p.term == termNone {
			snd.requeue(message)
		} else {
			snd.requeueTimed(timed, message)
			timed++
		}
		message = message[:0]
	}
	if len(message) > 0 {
		snd.requeue(message)
	}
	if snd.ring.timed != nil {
		snd.ring.timed.removeDone(firstTimed)
	}
}

// requeue queues a message again with its bounds. A message that no longer fits 255 fragments
// becomes several.
func (snd *sender) requeue(message []byte) {
	for len(message) > 0 {
		n := min(len(message), 255*snd.mss)
		snd.enqueueCut(message[:n], !snd.modes.has(modeStream), termNone)
		message = message[n:]
	}
}

// requeueTimed is requeue for the i-th message with a deadline. One that no longer fits 255
// fragments is dropped.
func (snd *sender) requeueTimed(i int, message []byte) {
	m := &snd.ring.timed.list[i]
	first := snd.sendEnd
	if len(message) <= 255*snd.mss {
		snd.enqueueCut(message, true, termTimed)
		m.first, m.count = first, uint16(first.distance(snd.sendEnd))
		m.left = m.count
		return
	}
	snd.ring.timed.giveUp(m, timedDone)
}

// enqueueCut cuts data into segments, which are the fragments of one message if whole is true.
func (snd *sender) enqueueCut(data []byte, whole bool, term segmentTerm) {
	count := (len(data) + snd.mss - 1) / snd.mss
	for i := range count {
		n := min(len(data), snd.mss)
		frg := uint8(0)
		if whole {
			frg = uint8(count - 1 - i)
		}
		snd.enqueue(append(getBuffer(n)[:0], data[:n]...), frg)
		snd.ring.at(snd.sendEnd - 1).term = term
		data = data[n:]
	}
}

// timedFrom returns the index of the first message with a deadline that begins at sn or behind.
func (snd *sender) timedFrom(sn seqNum) int {
	t := snd.ring.timed
	if t == nil {
		return 0
	}
	i := t.from(sn)
	if i < len(t.list) && t.list[i].first.before(sn) {
		i++
	}
	return i
}

// messageMost is how many segments a message of WriteMessage may have. The receive windows of
// legacy peers hold as many, and a message that exceeds its receiver's window never arrives
// (S1.33).
const messageMost = wndInitial

// messageSegments returns how many segments the next message takes if it has n bytes.
func (c *core) messageSegments(n int) int {
	return 1 + (max(n-c.cut(c.sendEnd), 0)+c.mss-1)/c.mss
}

// queueMessage queues p, which is not empty, as one message. It is given up at its deadline; never
// is none.
func (c *core) queueMessage(p []byte, deadline millis) {
	first, count := c.sendEnd, c.messageSegments(len(p))
	for i := range count {
		n := min(len(p), c.cut(c.sendEnd))
		c.enqueue(append(getBuffer(n)[:0], p[:n]...), uint8(count-1-i))
		p = p[n:]
	}
	if deadline == never {
		return
	}
	for sn := first; sn != c.sendEnd; sn++ {
		c.ring.at(sn).term = termTimed
	}
	if c.ring.timed == nil {
		c.ring.timed = new(timedMessages)
	}
	c.ring.timed.add(first, uint16(count), deadline)
}

// removeQueued removes the queued segments that are not to be sent. Those behind them take over
// their sequence numbers, which have not been sent.
func (snd *sender) removeQueued() {
	r, t, to := snd.ring, snd.ring.timed, snd.sendNxt
	i := snd.timedFrom(to)
	t.removeDone(i)
	i = snd.timedFrom(to)
	for sn := to; sn != snd.sendEnd; sn++ {
		seg := r.at(sn)
		if seg.term == termOver {
			snd.forgetData(seg)
			continue
		}
		if i < len(t.list) && t.list[i].first == sn {
			t.list[i].first = to
			i++
		}
		if to != sn {
			*r.at(to) = *seg
			seg.data, seg.slab = nil, nil
		}
		to++
	}
	snd.sendEnd = to
}

// forgetData releases the data of a segment that is not sent again.
func (snd *sender) forgetData(seg *sendSegment) {
	snd.sendBytes -= uint32(len(seg.data))
	seg.free(nil)
}

// skipQueued gives the first queued segment up. Its message has been sent in part, and so its
// sequence number cannot be another's (S4.44): it counts as sent, and waits for a SKIP.
func (snd *sender) skipQueued(ts timestamp) {
	seg := snd.ring.at(snd.sendNxt)
	snd.forgetData(seg)
	seg.firstTS, seg.cause = ts, lossWindow // the controller knows nothing of it
	snd.ring.outstanding.set(snd.ring.slot(snd.sendNxt))
	snd.ring.push(skipList, snd.sendNxt)
	snd.sendNxt++
	snd.lastFrg = 0
}

// setMode switches a mode on or off. Switching modeWriteDelay off ends a wait.
func (snd *sender) setMode(mode modes, on bool) {
	if snd.modes.set(mode, on); mode == modeWriteDelay && !on {
		snd.endDelay()
	}
}

// setModes sets all modes at the beginning of a session.
func (snd *sender) setModes(m modes) { snd.modes = m }

// setCopyRule sets how many segments a datagram carries once more.
func (snd *sender) setCopyRule(r copyRule) { snd.modes.setCopyRule(r) }

// endDelay ends the wait of queued data.
func (snd *sender) endDelay() { snd.flushAt = never }

// delayAtMost shortens a wait that has begun.
func (snd *sender) delayAtMost(until millis) {
	if snd.flushAt != never {
		snd.flushAt = min(snd.flushAt, until)
	}
}

// beginWrite notes that a Write begins.
func (snd *sender) beginWrite() { snd.fullRun = 0 }

// beginFilling keeps the slab that a Write copies into without the lock, until endFilling.
func (snd *sender) beginFilling() { snd.filling = true }

func (snd *sender) endFilling() { snd.filling = false }

// flushed ends or renews the wait of a delayed write after a flush. sentNew means that new data was
// sent, left that packets have left, not counting control messages.
func (c *core) flushed(sentNew, left bool, now millis) {
	switch {
	case c.sendNxt == c.sendEnd:
		c.flushAt = never
	case sentNew && c.flushAt != never && c.flushAt > now:
		c.flushAt = now + c.burst.wait(now, c.interval) // the remaining data was written just now
	}
	switch {
	case sentNew:
		c.rides -= min(c.rides, 1)
	case left:
		c.giveRides(1)
	}
}

// setMTU changes the packet size and cuts again what is queued and not yet sent. Segments in flight
// keep their size, because their sequence numbers are taken. It returns false, and changes nothing,
// if no data would fit.
func (snd *sender) setMTU(mtu int) bool {
	if mtu <= segmentHeaderSize {
		return false
	}
	smaller := mtu-segmentHeaderSize < snd.mss
	snd.mtu, snd.mss = mtu, mtu-segmentHeaderSize
	snd.flight.resize(mtu)
	if snd.flow != nil {
		snd.flow.resize(mtu)
	}
	if smaller {
		snd.recut()
	}
	return true
}
