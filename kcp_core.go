// SPDX-License-Identifier: MIT

package kcp

import "unsafe"

// core is the KCP ARQ state machine: a sender and a receiver of segments, the control messages, and the rules about a peer
// that is silent or not known yet. It is pure: the time comes in as an argument, packets leave through a packetWriter, counts
// gather in stats, and it takes no lock. Whoever owns it serialises the calls.
//
// The fields of each part are assigned in the part's own files: kcp_send*.go and kcp_loss.go, kcp_rec*.go, kcp_ack.go and
// kcp_slab.go, kcp_extension.go, kcp_liveness.go, kcp_validation*.go.
type core struct {
	sender
	receiver
	ctl  extension
	life liveness
	addr *addressCheck // nil: the peer is known to receive at its address
	duty *proofDuty    // nil: this side need not prove that it does

	conv     uint32
	tsOrigin timestamp // added to the clock on the wire, so that ts cannot be guessed
	latest   instant   // time of the latest input or flush

	memory  memoryGrant
	logMask KCPLogType
	stats   coreStats
	draw    func() uint64 // gives unguessable numbers
	logs    []logRecord   // waits for the owner to report it outside its lock
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

// init sets a new state machine to the defaults of deployed peers.
func (c *core) init(conv uint32, now millis) {
	c.conv, c.latest = conv, now.instant()
	c.draw = drawNothing
	c.sender.init()
	c.receiver.init()
	c.memory.grant(roomAll, roomAll)
	c.ctl.init()
	c.life.init(now)
}

// randomize gives c an origin for the timestamps on the wire and a source of unguessable numbers.
func (c *core) randomize(origin timestamp, draw func() uint64) { c.tsOrigin, c.draw = origin, draw }

// drawNothing is the source of numbers of a state machine whose owner has not given it one: nobody is hostile to it.
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

// intervalChanged shortens the waits that have begun to the interval as it is now.
func (c *core) intervalChanged(now millis) {
	c.delayAtMost(now + c.interval)
	c.ackAtMost(now + c.interval)
}

// clock returns the time of a call that begins: now, or that of the latest call if somebody else has been later.
func (c *core) clock(now instant) instant {
	c.latest = max(c.latest, now)
	return c.latest
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
	at = min(at, c.life.opening.at)
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

// releaseIdle gives the rings back once they are empty.
func (c *core) releaseIdle() {
	c.receiver.releaseIdle(c.ring == nil)
	c.sender.releaseIdle()
}

// releaseSending gives back what is queued or in flight, for a session that has ended.
func (c *core) releaseSending() {
	c.giveUp()
	c.forgetAcks()
	c.releaseIdle()
}

// heldBytes is how many bytes the state machine holds.
func (c *core) heldBytes() int {
	// A Read that is copying has taken segments out whose slab is not given back yet.
	segs := max(0, int(c.readable()+c.beyond+c.queued())-int(c.lentSegs))
	n := (segs+int(c.heavy))*memorySegment + int(c.pinned)*bufferLarge
	if c.in != nil {
		n += len(c.in.slots) * int(unsafe.Sizeof(recvSegment{}))
	}
	if c.ring != nil {
		n += len(c.ring.slots) * int(unsafe.Sizeof(sendSegment{}))
	}
	return n
}

// resetClock begins a call whose time counts even if another call has been later.
func (c *core) resetClock(now instant) { c.latest = now }

// setLogMask sets the events that are kept.
func (c *core) setLogMask(mask KCPLogType) { c.logMask = mask }

// note keeps an event of the given kind if it is wanted.
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
	c.logs = append(c.logs, r)
}

// takeLogs hands over what has been noted.
func (c *core) takeLogs() []logRecord {
	logs := c.logs
	c.logs = nil
	return logs
}
