// SPDX-License-Identifier: MIT

package kcp

// flush lays out everything that is due at that time: acknowledgements, window messages, lost
// segments, and new data as far as the windows allow. Control messages come last. It returns true
// if the writer was full before everything was laid out. The caller then sends the packets and
// calls flush again.
func (c *core) flush(at instant, w *packetWriter) (more bool) {
	at = c.clock(at)
	now := at.ms()
	c.lifeTick(now)
	c.askHello(now)
	c.connectTick(now)
	c.proofTick(now)
	c.advertiseAgain(now)
	c.endFlow(now)
	c.expire(at)
	f := flusher{c: c, w: w, at: at, now: now}
	before, next := len(w.packets), c.sendNxt
	f.begin()
	c.detectTimeouts(at)
	sending := c.sendEvent(now) <= now
	more = !f.acks(sending) || !f.windowMessages() || !f.probePath() || !f.data()
	if !more && len(w.packets) == before {
		f.copies()
	}
	left := w.isOpen() || len(w.packets) > before
	more = more || !f.skips(c.sendNxt != next)
	c.flowFlushed(at, more)
	if c.trace != nil && left {
		c.traceMetrics(at)
	}
	if !more || c.addr.heldBack() {
		more = !f.control()
	}
	if c.addr != nil {
		more = f.prove(more)
	}
	w.finish()
	c.flushed(c.sendNxt != next, left, now)
	c.updateProbe(now)
	return more
}

// flushAcks lays out the pending acknowledgements and nothing else.
func (c *core) flushAcks(now millis, w *packetWriter) (more bool) {
	f := flusher{c: c, w: w, now: now}
	f.begin()
	more = !f.acks(true)
	w.finish()
	return more
}

// A flusher is the state of one flush. Its methods return false when the writer is full.
type flusher struct {
	c   *core
	w   *packetWriter
	at  instant
	now millis  // of at
	hdr segment // conv, wnd and una of every segment of this flush (S1.2)
	why uint8   // why the next PUSH is sent: a lossCause, or traceCopy
}

func (f *flusher) begin() {
	c := f.c
	f.hdr = segment{conv: c.conv, wnd: c.window(), una: c.rcvNxt}
}

func (f *flusher) put(cmd, frg uint8, ts timestamp, sn seqNum, data []byte) bool {
	n := segmentHeaderSize + len(data)
	switch {
	case f.w.isOpen() && f.w.room() < n:
		f.hello()
	case sn != controlMagic && f.endsFirst(n):
		f.hello()
		f.w.finish()
	}
	if f.opens(cmd, sn, n) && !f.put(cmdWins, 0, f.c.ts(f.now), snOpensNothing, nil) {
		return false
	}
	a, cost := f.c.addr, 0
	if a != nil {
		cost = f.w.cost(n)
		if !a.allows(cost, f.now) {
			return false
		}
	}
	if !f.lay(cmd, frg, ts, sn, data) {
		return false
	}
	a.take(cost)
	return true
}

// endsFirst reports whether the open packet is the first of the session, and would become too large
// for a path of any MTU with n more bytes and a HELLO.
func (f *flusher) endsFirst(n int) bool {
	c, w := f.c, f.w
	if c.ctl.firstMost == 0 || c.sendUna != 0 || !w.isOpen() || len(w.packets) > 0 ||
		c.ctl.known() {
		return false
	}
	return w.limit-w.room()+n+helloSegment > int(c.ctl.firstMost)
}

// snOpensNothing is the sn of a WASK or WINS that opens no session at a legacy listener. Such a
// listener opens a session if the sn of a datagram's first segment is 0, whatever its command. No
// receiver looks at the sn of these commands.
const snOpensNothing seqNum = 1<<32 - 1

// opens reports whether a segment of n bytes would begin a datagram that opens a session at a
// legacy listener by mistake. This side has ended its stream then, and the peer may have closed the
// session (S4.20).
//
// The first data of a session is exempt until the peer has acknowledged or sent data, because the
// session may not exist yet. A listener's probe of an unvalidated address is not exempt.
func (f *flusher) opens(cmd uint8, sn seqNum, n int) bool {
	c := f.c
	return sn == 0 && c.ctl.finWanted() && !c.ctl.known() && (!f.w.isOpen() || f.w.room() < n) &&
		(cmd != cmdPush || c.delivered > 0 || c.newestAt >= 0)
}

// windowSN returns the sn of a WASK or WINS. The peer may have closed the session if this side has
// ended its stream, still validates its address (S1.73), or suspects that.
func (c *core) windowSN() seqNum {
	if !c.ctl.known() && !c.life.connecting() &&
		(c.ctl.finWanted() || c.duty != nil || c.suspicious()) {
		return snOpensNothing
	}
	return 0
}

// lay is put without the check of the allowance.
func (f *flusher) lay(cmd, frg uint8, ts timestamp, sn seqNum, data []byte) bool {
	b := f.w.next(segmentHeaderSize + len(data))
	if b == nil {
		return false
	}
	f.hdr.cmd, f.hdr.frg, f.hdr.ts, f.hdr.sn = cmd, frg, ts, sn
	putHeader(b, &f.hdr, len(data))
	copy(b[segmentHeaderSize:], data)
	f.said(len(data))
	return true
}

// push writes the PUSH of a segment. A segment that fills a datagram and lies in a slab stays there
// if the writer supports that. Its header is written in front of it.
func (f *flusher) push(sn seqNum, seg *sendSegment, ts timestamp) bool {
	if p := f.c.path; p != nil && int(seg.bytes()) > p.room() && f.c.ctl.readsParts() {
		return f.parts(sn, seg, ts)
	}
	if !f.w.shares || f.c.addr != nil || seg.slab == nil ||
		segmentHeaderSize+len(seg.data) != f.w.limit {
		return f.put(cmdPush, seg.frg, ts, sn, seg.data)
	}
	if f.w.isOpen() {
		f.hello()
		f.w.finish()
	}
	b := seg.slab.buf[seg.at:][:f.w.limit]
	if !f.w.share(b) {
		return false
	}
	f.c.hold(seg.slab)
	f.hdr.cmd, f.hdr.frg, f.hdr.ts, f.hdr.sn = cmdPush, seg.frg, ts, sn
	putHeader(b, &f.hdr, len(seg.data))
	f.said(len(seg.data))
	return true
}

// parts writes a segment in parts: it was cut before the path's MTU has shrunk, and would not pass.
// If there is no room for all of them, the next flush goes on.
func (f *flusher) parts(sn seqNum, seg *sendSegment, ts timestamp) bool {
	const least = segmentHeaderSize + partHeader + 1
	p := segmentPart{ts: ts, sn: sn, whole: len(seg.data), frg: seg.frg}
	for p.offset = f.c.path.resume(sn); p.offset < len(seg.data); {
		room := f.w.room()
		if room < f.w.limit/2 {
			f.w.finish()
			room = f.w.limit
		}
		n := min(room-least+1, len(seg.data)-p.offset)
		b := f.w.next(least - 1 + n)
		if n <= 0 || b == nil {
			f.c.path.pause(sn, p.offset)
			return false
		}
		f.hdr.cmd, f.hdr.frg, f.hdr.ts, f.hdr.sn = cmdWins, 0, partVersion, controlMagic
		putHeader(b, &f.hdr, partHeader+n)
		putPart(b[segmentHeaderSize:], &p)
		copy(b[segmentHeaderSize+partHeader:], seg.data[p.offset:][:n])
		f.w.carryData()
		f.said(n)
		p.offset += n
	}
	f.c.path.pause(sn, 0)
	return true
}

// said notes that a segment has been written.
func (f *flusher) said(size int) {
	if f.c.logMask&logOutputAll != 0 {
		f.c.note(outputLog[f.hdr.cmd-cmdPush], &f.hdr, size)
	}
	if f.c.trace != nil {
		f.c.trace.segment(f.at, traceSegmentSent, &f.hdr, size, f.why)
	}
	f.c.stats.segsOut++
	f.c.advertised(f.hdr.wnd)
}

// acks writes the pending ACKs once they are due, or along with data that leaves anyway. ACKs that
// una covers are left out, except the last: its ts gives the peer a round-trip time (S1.23). A peer
// that reads ACKR gets it behind them.
func (f *flusher) acks(sending bool) bool {
	c := f.c
	if len(c.acks) == 0 || (f.now < c.ackAt && !sending) {
		return true
	}
	repeats := c.sendsRanges()
	for i := c.firstAck(); i < len(c.acks); i++ {
		a := c.acks[i]
		if !repeats && a.sn.before(c.rcvNxt) && i != len(c.acks)-1 {
			continue
		}
		if !f.put(cmdAck, 0, a.ts, a.sn, nil) {
			c.ackedBefore(i)
			return false
		}
	}
	if repeats {
		f.ranges()
	}
	c.acksSent(f.now)
	return true
}

// ranges repeats in the open packet what is held out of order, as far as there is room (S4.34).
func (f *flusher) ranges() {
	var held [ackRangesMost]snRange
	n := f.c.heldRanges(held[:])
	room := f.w.room() - segmentHeaderSize
	if n == 0 || room < 2+ackRangesHeader+ackRangeMost {
		return
	}
	var buf [ackRangesLargest]byte
	value := appendAckRanges(buf[:0], f.c.newestTS, f.c.rcvNxt, held[:n], room)
	if f.put(cmdWins, 0, controlVersion, controlMagic, value) && f.c.trace != nil {
		f.c.trace.sent(f.at, value[2:])
	}
}

func (f *flusher) windowMessages() bool {
	c := f.c
	c.probeDue(f.now)
	if c.askWindow {
		if !f.put(cmdWask, 0, c.ts(f.now), c.windowSN(), nil) {
			return false
		}
		c.windowAsked()
		c.stats.probes++
	}
	if c.windowDue {
		sn := c.windowSN()
		if c.repeats > 0 {
			// A legacy listener that has closed the session opens another one for an sn of 0.
			sn = c.rcvNxt
		}
		if !f.put(cmdWins, 0, c.ts(f.now), sn, nil) {
			return false
		}
		c.windowAdvertised(f.now)
	}
	return true
}

// data sends lost segments, then new ones.
func (f *flusher) data() bool {
	c := f.c
	if c.ring == nil {
		return true
	}
	for c.mayLeave(f.at) {
		sn, ok := c.resends()
		if !ok {
			break
		}
		cause := c.ring.at(sn).cause
		if !f.transmit(sn) {
			return false
		}
		switch cause {
		case lossFast:
			c.stats.fastRetrans++
		case lossEarly:
			c.stats.earlyRetrans++
		case lossTimeout, lossProbe, lossWindow:
			c.stats.timeoutRetrans++
		}
	}
	for {
		sn, due := c.twin(f.now)
		if !due || !c.mayLeave(f.at) {
			break
		}
		if !f.repeat(sn) {
			return false
		}
		c.again.twinDone()
	}
	// A control message follows, so delayed data leaves along with it. A PONG does not count: a
	// peer that measures the path requests one too often.
	due := c.ctl.urgent() && !c.ctl.due.has(ctlPong) || c.controlEvent() <= f.now
	for c.canSendNew() && (due || c.released(f.now) || f.fitsOpen(c.sendNxt)) &&
		c.mayLeave(f.at) {
		if !f.transmit(c.sendNxt) {
			return false
		}
	}
	return true
}

// copies adds to a small datagram segments that have been sent before (S1.77).
func (f *flusher) copies() {
	c, w := f.c, f.w
	if !w.isOpen() {
		return
	}
	// A HELLO may follow.
	room := min(copiesRoom, w.limit-helloSegment) - (w.limit - w.room())
	if room < segmentHeaderSize {
		return
	}
	var sns [copiesMost]seqNum
	for _, sn := range c.copyable(sns[:0], f.at, room, w.state == packetWithData) {
		if !f.repeat(sn) {
			return
		}
	}
}

// repeat writes a copy of the segment sn.
func (f *flusher) repeat(sn seqNum) bool {
	c := f.c
	seg, ts := c.ring.at(sn), c.ts(f.now)
	f.why = traceCopy
	laid := f.push(sn, seg, ts)
	if f.why = uint8(lossNone); !laid {
		return false
	}
	f.w.carryData()
	c.copied(seg, ts, f.at)
	return true
}

// fitsOpen reports whether the segment sn fits into the open packet.
func (f *flusher) fitsOpen(sn seqNum) bool {
	return f.w.isOpen() && segmentHeaderSize+len(f.c.ring.at(sn).data) <= f.w.room()
}

// transmit sends the segment sn for the first time or again. Each transmission has a new ts and the
// same sn, frg and data (S1.12).
func (f *flusher) transmit(sn seqNum) bool {
	c := f.c
	seg := c.ring.at(sn)
	ts := c.ts(f.now)
	f.why = uint8(seg.cause)
	laid := f.push(sn, seg, ts)
	if f.why = uint8(lossNone); !laid {
		return false
	}
	f.w.carryData()
	c.transmitted(sn, seg, ts, f.at)
	return true
}

var (
	inputLog  = [...]KCPLogType{logInPush, logInAck, logInWask, logInWins}
	outputLog = [...]KCPLogType{logOutPush, logOutAck, logOutWask, logOutWins}
)
