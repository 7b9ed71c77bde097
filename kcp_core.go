// SPDX-License-Identifier: MIT

package kcp

import "unsafe"

// core is the KCP ARQ state machine. It consists of a sender and a receiver of segments, the
// control messages, and the rules for a peer that is silent or not validated yet. It is pure. The
// time is an argument, packets leave through a packetWriter, counts gather in stats, and it takes
// no lock. Its owner serialises the calls.
//
// The fields of each part are assigned in the files of that part alone: kcp_send*.go,
// kcp_transmit.go and kcp_loss.go; kcp_rec*.go, kcp_ack.go and kcp_slab.go; kcp_extension*.go and
// kcp_challenge.go; kcp_liveness.go; kcp_validation*.go.
type core struct {
	sender
	receiver
	ctl  extension
	life liveness
	addr *addressCheck // nil: the peer's address is validated
	duty *proofDuty    // nil: this side need not validate its own

	conv     uint32
	tsOrigin timestamp // added to the clock on the wire, so that ts cannot be guessed (S1.4)
	latest   instant   // time of the latest input or flush

	memory  memoryGrant
	logMask KCPLogType
	stats   coreStats
	draw    func() uint64 // gives unguessable numbers
	logs    *notes        // nil unless there are some
}

// coreStats counts what the state machine did. The owner adds it to its totals.
type coreStats struct {
	segsIn, segsOut          uint64
	bytesSent, bytesReceived uint64 // application data, each byte counted once
	fastRetrans              uint64
	earlyRetrans             uint64
	spurious                 uint64 // segments taken for lost that had arrived
	timeoutRetrans           uint64
	repeats                  uint64 // duplicate PUSH segments
	outOfWindow              uint64 // PUSH segments beyond the window
	badFields                uint64 // values that no correct peer sends
	inputErrors              uint64 // datagrams that end in bytes that are no segment
	probes                   uint32
	dropped                  uint32 // messages given up at their deadlines; see droppedMessages
}

// init sets a new state machine to the defaults of legacy peers.
func (c *core) init(conv uint32, now millis) {
	c.conv, c.latest = conv, now.instant()
	c.draw = drawNothing
	c.sender.init()
	c.receiver.init()
	c.memory.grant(memoryGrant{room: roomAll, spare: roomAll, growth: wndMax})
	c.ctl.init()
	c.life.init(now)
}

// randomize gives c an origin for the timestamps on the wire and a source of unguessable numbers.
func (c *core) randomize(origin timestamp, draw func() uint64) { c.tsOrigin, c.draw = origin, draw }

// drawNothing stands in for the random source of a state machine whose owner has given none. Such
// an owner has no hostile peers.
func drawNothing() uint64 { return 1 }

// setWindows sets the windows in segments, clamped to [1, 65535]; 0 and less leave one as it is.
func (c *core) setWindows(snd, rcv int) {
	if snd > 0 {
		c.sender.setWindow(uint32(min(snd, wndMax)))
	}
	if rcv > 0 {
		c.receiver.setWindow(uint32(min(rcv, wndMax)))
		c.afterRead()
	}
}

// growWindows lets the windows grow after an input, where they limit the flow. waiting are the
// segments that could be read before it.
func (c *core) growWindows(now millis, waiting uint32) {
	c.growReceiveWindow(now, waiting)
	c.growSendWindow()
}

// canSendNew reports whether a queued segment may be sent.
func (c *core) canSendNew() bool { return c.ctl.hold != holdBoth && c.sender.canSendNew() }

// keysMade notes that this side sends under keys of the session from now on. It sends something at
// once, from which the peer learns that.
func (c *core) keysMade() {
	c.ctl.keysToSend()
	c.answerAtOnce()
}

// answerAtOnce makes the next flush send something.
func (c *core) answerAtOnce() { c.advertise() }

// refuseMessage counts a message of a key exchange that is not the peer's.
func (c *core) refuseMessage() { c.stats.badFields++ }

// makesNoKeys reports whether the peer makes no keys for the session: its HELLO says so, or it is a
// legacy peer as far as can be known.
func (c *core) makesNoKeys() bool {
	ctl := &c.ctl
	if ctl.known() {
		return !ctl.makesKeys()
	}
	return ctl.hello.tries >= helloLimit && c.stats.segsIn >= legacyAfter
}

// seemsLegacy reports whether the peer has answered several times without a HELLO, so that it most
// likely has none.
func (c *core) seemsLegacy() bool {
	ctl := &c.ctl
	return !ctl.known() && (ctl.met && c.life.opening.tries >= legacyAnswers ||
		ctl.accepted() && c.stats.segsIn >= legacyAnswers)
}

// legacyAnswers is how many answers without a HELLO show a legacy peer, where data waits for that.
const legacyAnswers = 4

// openRequired begins a session whose data waits for keys: a WASK opens it at the peer, and asks
// for the peer's HELLO.
func (c *core) openRequired(now millis) (begun bool) {
	ctl := &c.ctl
	if ctl.hold != holdBoth {
		return false
	}
	begun = c.life.connecting() || ctl.accepted()
	switch {
	case ctl.known() && c.life.connecting():
		c.life.endConnect()
	case ctl.dialled() && !ctl.known() && !begun && c.sendNxt != c.sendEnd:
		c.life.connect(now)
		begun = true
	}
	return begun
}

// opensRequired reports whether openRequired would begin the session now.
func (c *core) opensRequired() bool {
	ctl := &c.ctl
	return ctl.hold == holdBoth && ctl.dialled() && !ctl.known() && !c.life.connecting() &&
		c.sendNxt != c.sendEnd
}

// intervalChanged shortens waits that have begun to the present interval.
func (c *core) intervalChanged(now millis) {
	c.delayAtMost(now + c.interval)
	c.ackAtMost(now + c.interval)
}

// clock returns the time of a call that begins: now, or the time of the latest call if that is
// later.
func (c *core) clock(now instant) instant {
	c.latest = max(c.latest, now)
	return c.latest
}

// nextEvent returns when the state machine next needs a flush, exactly, or never.
func (c *core) nextEvent(now millis) millis {
	if c.addr.heldBack() {
		// Everything that is due waits for the address validation or for more allowance.
		return max(min(c.addr.probeAt, c.lifeEvent(), c.expiry()), now)
	}
	if c.askWindow || c.windowDue || c.ctl.urgent() {
		return now
	}
	c.updateProbe(now)
	at := min(c.ackAt, c.probeAt, c.repeatAt)
	at = min(at, c.life.opening.at)
	if c.addr != nil {
		at = min(at, c.addr.probeAt)
	}
	at = min(at, c.proofEvent(), c.flowEvent())
	at = min(at, c.sendEvent(now), c.controlEvent(), c.lifeEvent(), c.pathEvent(now))
	return max(at, now)
}

// pathEvent returns when a probe of the path's MTU leaves next.
func (c *core) pathEvent(now millis) millis {
	if c.path == nil || !c.mayProbe() || c.path.event() == never {
		return never
	}
	return max(c.path.event(), c.leavesAt(now))
}

// sendEvent returns when a segment is next to be sent or resent.
func (c *core) sendEvent(now millis) millis {
	if c.ring == nil {
		return never
	}
	at := never
	switch _, lost := c.resends(); {
	case lost || c.canSendNew() && c.released(now):
		at = c.leavesAt(now)
	case c.canSendNew():
		at = max(c.leavesAt(now), c.flushAt)
	}
	if _, twin := c.again.nextTwin(now); twin < at {
		at = min(at, max(c.leavesAt(now), twin))
	}
	return min(at, c.lossEvent(), c.skipsAt(), c.expiry())
}

// releaseIdle returns the rings to their pools once they are empty.
func (c *core) releaseIdle() {
	c.receiver.releaseIdle(c.ring == nil)
	if c.ring != nil && c.ring.timed != nil {
		c.stats.dropped += c.ring.timed.takeDropped()
	}
	c.sender.releaseIdle()
}

// droppedMessages returns how many messages were given up at their deadlines.
func (c *core) droppedMessages() uint32 {
	n := c.stats.dropped
	if c.ring != nil && c.ring.timed != nil {
		n += c.ring.timed.dropped
	}
	return n
}

// releaseSending drops what is queued or in flight and the pending acknowledgements of a session
// that has ended.
func (c *core) releaseSending() {
	c.giveUp()
	c.forgetAcks()
	c.releaseIdle()
}

// heldBytes returns how many bytes the state machine holds.
func (c *core) heldBytes() int {
	// A Read that is copying has taken segments whose slab is not released yet.
	segs := max(0, int(c.readable()+c.outOfOrder+c.queued())-int(c.lentSegs))
	n := (segs+int(c.heavy))*memorySegment + int(c.pinned)*bufferLarge +
		max(0, int(c.sendBytes)-int(c.queued())*memorySegment) // of large segments
	if c.in != nil {
		n += len(c.in.slots) * int(unsafe.Sizeof(recvSegment{}))
	}
	if c.in != nil && c.in.parts != nil {
		n += c.in.parts.size()
	}
	if c.ring != nil {
		n += len(c.ring.slots) * int(unsafe.Sizeof(sendSegment{}))
		if c.ring.timed != nil {
			n += c.ring.timed.size()
		}
	}
	if c.flow != nil {
		n += c.flow.size()
	}
	return n
}

// resetClock sets the time of a call that begins, even if another call was later.
func (c *core) resetClock(now instant) { c.latest = now }

// setLogMask sets which events are kept.
func (c *core) setLogMask(mask KCPLogType) { c.logMask = mask }

// notes are the events that the owner reports outside its lock.
type notes struct{ records []logRecord }

// note keeps an event for the logger if its kind is wanted.
func (c *core) note(kind KCPLogType, s *segment, size int) {
	if c.logMask&kind == 0 {
		return
	}
	r := logRecord{kind: kind, size: size}
	if s != nil {
		r.seg = *s
		r.seg.data = nil
	}
	r.seg.conv = c.conv
	if c.logs == nil {
		c.logs = new(notes)
	}
	c.logs.records = append(c.logs.records, r)
}

// takeLogs returns the events kept so far and forgets them.
func (c *core) takeLogs() []logRecord {
	if c.logs == nil {
		return nil
	}
	logs := c.logs.records
	c.logs = nil
	return logs
}

// traceMetrics records what limits the sender, if it has changed. There is a trace.
func (c *core) traceMetrics(at instant) {
	r := &c.trace.report
	c.controlTo(r)
	if !c.trace.control(at, c.kind, r.state) {
		return
	}
	c.trace.measure(at, &[traceValues]uint32{
		clampUint32(int64(c.rtt.srtt())), clampUint32(int64(c.rtt.rttvar())),
		clampUint32(int64(c.rtt.least)), uint32(c.rtt.latest), clampUint32(int64(c.rto())),
		c.congestionWindow(), c.queuedOutstanding(), clampUint32(r.pacing),
		clampUint32(r.bandwidth), c.sendNxt.distance(c.sendEnd), c.sndWnd, c.rmtWnd, c.rcvWnd,
	})
}
