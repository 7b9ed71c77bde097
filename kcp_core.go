// SPDX-License-Identifier: MIT

package kcp

// core is the KCP ARQ state machine. It is pure: the time comes in as an argument, packets leave through a
// packetWriter, counts gather in stats, and it takes no lock. Whoever owns it serialises the calls.
type core struct {
	conv     uint32
	tsOrigin timestamp // added to the clock on the wire, so that ts cannot be guessed
	mtu      int       // most bytes of segments in one packet
	mss      int       // most bytes of data in one segment

	stream     bool
	noDelay    bool
	writeDelay bool
	ackNoDelay bool
	rides      uint16 // delayed writes that may leave at once until ridesEnd: see owesRide
	interval   millis // the most that an ACK or a delayed write waits
	minRTO     millis

	// Sending: [sendUna, sendNxt) is in flight, [sendNxt, sendEnd) is queued.
	ring       *sendRing
	sendUna    seqNum
	sendNxt    seqNum
	sendEnd    seqNum
	sendBytes  uint32 // of data in flight and queued
	sndWnd     uint32
	rmtWnd     uint32
	wndUna     seqNum // una and, on the peer's clock, ts of the segment that rmtWnd came with
	wndTS      timestamp
	hasWnd     bool
	hasWndTS   bool
	lastFrg    uint8     // frg of the newest segment sent for the first time
	fullRun    uint8     // full segments sent since the latest Write began
	inFlight   uint32    // sent, neither acknowledged nor found lost
	toldWnd    uint32    // the window in the newest segment sent
	ridesEnd   timestamp // on the clock's low 32 bits
	order      uint64    // transmissions made
	delivered  uint64    // the highest transmission number acknowledged
	topOrders  []uint64
	flushAt    millis // a delayed write goes out at this time at the latest
	probeAt    millis // next window probe, never if none is due
	probeWait  millis
	connectAt  millis // when the window is asked for next
	connecting bool   // until the peer answers at all
	connects   uint8
	askWindow  bool
	tellWindow bool
	tells      uint8  // how often a window that has opened again is still to be told
	wasFull    bool   // the peer has been told a window of 0
	filling    bool   // a Write copies into fill without the lock
	tellAt     millis // when it is told again, never if that is not due
	rtt        rttEstimator
	cc         congestion
	rate       tokenBucket
	flight     flightLimit
	latest     instant // time of the latest input or flush

	// Receiving: [readNxt, rcvNxt) is readable, present slots beyond wait for a hole to fill.
	in       *recvRing
	readNxt  seqNum
	rcvNxt   seqNum
	rcvWnd   uint32
	beyond   uint32 // segments present at or beyond rcvNxt
	acks     []ackItem
	ackAt    millis    // the pending ACKs leave at this time at the latest
	newestTS timestamp // newest ts among the PUSH segments
	closedAt seqNum    // una when the window last opened again: a PUSH from there on shows that the peer knows
	newestAt millis    // when it came, negative for not at all
	unacked  uint32    // PUSH segments since the last flush of ACKs
	rcvMost  uint16    // the largest receive window so far: the peer may have cut messages for it
	awaited  uint16    // segments that a waiting Read takes as soon as they come

	ctl   controlState
	life  liveness
	addr  *addressCheck // nil: the peer is known to receive at its address
	duty  *proofDuty    // nil: this side need not prove that it does
	stats coreStats

	fill      *slab   // has room for the next Write's segments, or nil
	held      []*slab // hold datagrams that are being sent
	pinned    int32   // slabs of received data
	lentSegs  int32   // segments in them
	lentBytes int32
	memory    memoryGrant
	heavy     uint32 // segments that the large ones among those received count besides as one each
	logMask   KCPLogType
	thin      ackThinning

	draw func() uint64 // gives unguessable numbers
	logs []logRecord   // waits for the owner to report it outside its lock
}

// ackItem is one PUSH to acknowledge.
type ackItem struct {
	sn seqNum
	ts timestamp
}

// coreStats counts what the state machine did. The owner adds it up.
type coreStats struct {
	segsIn, segsOut          uint64
	bytesSent, bytesReceived uint64 // of the application's, each counted once
	fastRetrans              uint64
	earlyRetrans             uint64
	timeoutRetrans           uint64
	repeats                  uint64 // PUSH segments that were there already
	outOfWindow              uint64 // PUSH segments beyond the window
	badFields                uint64 // numbers that an honest peer cannot have sent
	inputErrors              uint64 // datagrams with a rest that is no segment
	probes                   uint64
}

// Bounds of the protocol (docs/protocol.md section 1).
const (
	rtoNoDelay  millis = 30
	rtoMin      millis = 100
	rtoDefault  millis = 200
	rtoMax      millis = 60000
	probeInit   millis = rtoDefault // before the first window probe, until an RTT has been measured
	probeFirst  millis = 500        // before the first window probe, at most
	probeLimit  millis = 120000
	wndInitial         = 32
	wndMax             = 65535 // the wnd field has 16 bits
	mtuDefault         = 1400
	intervalMin millis = 10
	intervalMax millis = 5000
	// intervalDefault is the interval of deployed peers.
	intervalDefault millis = 100
	// resendMax bounds the ACK count of fast retransmission: beyond it the count is as good as off.
	resendMax = 64
)

// init sets a new state machine to the defaults of deployed peers.
func (c *core) init(conv uint32, now millis) {
	c.conv, c.latest = conv, now.instant()
	c.draw = drawNothing
	c.mtu, c.mss = mtuDefault, mtuDefault-segmentHeaderSize
	c.interval, c.minRTO = intervalDefault, rtoMin
	c.sndWnd, c.rmtWnd, c.rcvWnd, c.rcvMost = wndInitial, wndInitial, wndInitial, wndInitial
	c.flushAt, c.probeAt, c.ackAt, c.tellAt = never, never, never, never
	c.newestAt = -1
	c.memory.grant(roomAll, roomAll)
	c.cc.init()
	c.flight.init()
	c.ctl.init()
	c.life.init(now)
}

// drawNothing is the source of numbers of a state machine whose owner has not given it one: nobody is hostile to it.
func drawNothing() uint64 { return 1 }

// setMTU changes the packet size and re-cuts what is queued but not yet sent; what is in flight stays as it is, for
// its sequence numbers are taken. It reports false, and changes nothing, if no data would fit.
func (c *core) setMTU(mtu int) bool {
	if mtu <= segmentHeaderSize {
		return false
	}
	smaller := mtu-segmentHeaderSize < c.mss
	c.mtu, c.mss = mtu, mtu-segmentHeaderSize
	if smaller {
		c.recut()
	}
	return true
}

// setWindows sets the windows in segments, clamped to [1, 65535]; 0 and less leave one as it is.
func (c *core) setWindows(snd, rcv int) {
	if snd > 0 {
		c.sndWnd = uint32(min(snd, wndMax))
	}
	if rcv > 0 {
		c.rcvWnd = uint32(min(rcv, wndMax))
		c.rcvMost = max(c.rcvMost, uint16(c.rcvWnd))
		c.afterRead()
	}
}

// setNoDelay sets the timing; a negative value leaves one as it is.
func (c *core) setNoDelay(noDelay, interval, resend, nc int) {
	if noDelay >= 0 {
		c.noDelay = noDelay != 0
		c.minRTO = rtoMin
		if c.noDelay {
			c.minRTO = rtoNoDelay
		}
	}
	if interval >= 0 {
		c.interval = min(max(millis(interval), intervalMin), intervalMax)
	}
	if resend >= 0 && min(resend, resendMax) != len(c.topOrders) {
		c.topOrders = make([]uint64, min(resend, resendMax))
	}
	if nc >= 0 {
		c.cc.off = nc == 1
	}
}

// intervalChanged shortens the waits that have begun to the interval as it is now.
func (c *core) intervalChanged(now millis) {
	if c.flushAt != never {
		c.flushAt = min(c.flushAt, now+c.interval)
	}
	if c.ackAt != never {
		c.ackAt = min(c.ackAt, now+c.interval)
	}
}

// clock returns the time of a call that begins: now, or that of the latest call if somebody else has been later.
func (c *core) clock(now instant) instant {
	c.latest = max(c.latest, now)
	return c.latest
}

// ts is the clock as it goes onto the wire.
func (c *core) ts(now millis) timestamp { return timestamp(now) + c.tsOrigin }

func (c *core) rto() millis { return c.rtt.rto(c.interval, c.minRTO) }

// queued returns the segments that wait to be acknowledged or sent.
func (c *core) queued() uint32 { return c.sendUna.distance(c.sendEnd) }

// readable returns the segments that are in order and not yet read.
func (c *core) readable() uint32 { return c.readNxt.distance(c.rcvNxt) }

// window is what wnd says: the free slots of the receive queue, or what there is memory for. What a waiting Read is about
// to take counts as taken: a window of 0 would stop the peer, and the word that it has opened can be lost.
func (c *core) window() uint16 {
	n, most := c.readable(), c.capacity()
	if taking := c.taking(); taking > 0 {
		n, most = n-taking, c.rcvWnd
	}
	if n >= most {
		return 0
	}
	free := c.memory.room
	if c.takesNext(1) {
		free = max(free, 1, roomLeast-min(n, roomLeast))
	}
	return uint16(min(most-n, free))
}

// taking returns how many of the readable segments a waiting Read takes: one message, or what fills its buffer.
func (c *core) taking() uint32 {
	switch {
	case c.awaited == 0:
		return 0
	case c.stream:
		return min(uint32(c.awaited), c.readable())
	}
	return c.peekSegments()
}

// capacity is how many segments the receive queue holds: the receive window, or all of the message at its head, which
// could otherwise never become complete.
func (c *core) capacity() uint32 {
	if c.readNxt == c.rcvNxt {
		return c.rcvWnd
	}
	return max(c.rcvWnd, uint32(c.in.at(c.readNxt).frg)+1)
}

// nextEvent returns when the state machine next needs a flush: exactly, or never.
func (c *core) nextEvent(now millis) millis {
	if c.addr.heldBack() {
		// All that is due waits for the peer's proof, or for another word of it.
		return max(min(c.addr.probeAt, c.lifeEvent()), now)
	}
	if c.askWindow || c.tellWindow || c.ctl.urgent() {
		return now
	}
	c.updateProbe(now)
	at := min(c.ackAt, c.probeAt, c.tellAt)
	if c.connecting {
		at = min(at, c.connectAt)
	}
	if c.addr != nil {
		at = min(at, c.addr.probeAt)
	}
	at = min(at, c.proofEvent())
	at = min(at, c.sendEvent(now), c.controlEvent(), c.lifeEvent())
	return max(at, now)
}

// sendEvent returns when a segment is next to be sent, or sent again.
func (c *core) sendEvent(now millis) millis {
	if c.ring == nil {
		return never
	}
	at := never
	switch lost := c.resends(); {
	case lost || c.canSendNew() && c.released(now):
		at = c.rate.readyAt(now)
	case c.canSendNew():
		at = max(c.rate.readyAt(now), c.flushAt)
	}
	return min(at, c.lossEvent())
}

// idleAcks is the room for pending ACKs that an idle session keeps.
const idleAcks = 16

// releaseIdle gives the rings back once they are empty.
func (c *core) releaseIdle() {
	if len(c.acks) == 0 && cap(c.acks) > idleAcks && c.ring == nil && c.in == nil {
		c.acks = nil
	}
	if c.ring != nil && c.sendUna == c.sendEnd {
		putSendRing(c.ring)
		c.ring = nil
	}
	if c.ring == nil && len(c.held) == 0 {
		c.held = nil
	}
	if c.fill != nil && c.ring == nil && !c.filling {
		c.fill.release()
		c.fill = nil
	}
	if c.in != nil && c.readNxt == c.rcvNxt && c.beyond == 0 {
		putRecvRing(c.in)
		c.in = nil
	}
}

// releaseSending gives back what is queued or in flight, for a session that has ended.
func (c *core) releaseSending() {
	if c.ring != nil {
		for sn := c.sendUna; sn != c.sendEnd; sn++ {
			c.drop(sn, nil)
		}
		c.sendUna, c.sendNxt = c.sendEnd, c.sendEnd
	}
	c.acks = nil
	c.releaseIdle()
}
