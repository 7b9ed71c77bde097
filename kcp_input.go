// SPDX-License-Identifier: MIT

package kcp

// inputResult is the outcome of parsing one datagram.
type inputResult uint8

const (
	inputOK        inputResult = iota
	inputShort                 // shorter than a segment
	inputConv                  // another conversation's
	inputTruncated             // a len beyond the datagram
	inputUnknown               // a cmd that does not exist
)

// input processes one datagram of segments. trusted is false for a packet that FEC has recovered:
// its window and its timing are old. Segments before the first malformed one count; the rest is
// dropped (S1.5).
func (c *core) input(ctx *inputContext, data []byte, trusted bool) inputResult {
	c.resetClock(ctx.now)
	if len(data) < segmentHeaderSize {
		c.stats.inputErrors++
		return inputShort
	}
	var (
		in     inputState
		s      segment
		result = inputOK
	)
	in.now, in.rtt, in.waiting = ctx.now.ms(), -1, c.readable()
	if !trusted {
		in.source = fromParity
	}
	for len(data) > 0 && result == inputOK {
		var status parseStatus
		data, status = parseSegment(data, &s)
		if status != parseOK || s.conv != c.conv {
			result = inputFailure(status, in.segments > 0)
			break
		}
		in.segments++
		c.inputSegment(ctx, &s, &in)
	}
	if in.segments > 0 {
		c.stats.segsIn += uint64(in.segments)
		c.finishInput(ctx, &in, trusted)
	}
	if result != inputOK {
		c.stats.inputErrors++
	}
	return result
}

// inputFailure returns why parsing has ended. Fewer than 24 bytes behind complete segments are
// ignored: legacy peers do not count them as an error either.
func inputFailure(status parseStatus, some bool) inputResult {
	switch status {
	case parseOK:
		return inputConv
	case parseTruncated:
		return inputTruncated
	case parseUnknown:
		return inputUnknown
	}
	if some {
		return inputOK
	}
	return inputShort
}

// inputState collects what the segments of one datagram carry. The cumulative acknowledgement is
// applied last: applied earlier, it would remove the transmissions that the ACKs behind it answer.
type inputState struct {
	now      millis
	segments int
	una      seqNum // the newest cumulative acknowledgement
	wnd      uint16 // the window that came with it
	wndTS    timestamp
	wndNews  windowNews
	alive    bool // the peer's session can have sent it
	acked    uint32
	waiting  uint32 // segments that could be read before
	rtt      millis // the shortest time to an acknowledgement, -1 if none was measured
	longest  millis
	ranges   []byte // of the last ACKR, which is applied once (S4.37)
	skips    []byte // of the last SKIP (S4.42)
	place    pushPlace
	source   traceSource
}

// A pushPlace tells what precedes a PUSH in its datagram.
type pushPlace uint8

const (
	pushAlone   pushPlace = iota // nothing that is acknowledged, or other PUSHes that are not new
	pushWithAck                  // an ACK
	pushWithNew                  // new data
)

func (c *core) inputSegment(ctx *inputContext, s *segment, in *inputState) {
	if c.logMask&logInputAll != 0 {
		c.note(inputLog[s.cmd-cmdPush], s, len(s.data))
	}
	if c.trace != nil {
		c.trace.segment(ctx.now, traceSegmentReceived, s, len(s.data), uint8(in.source))
	}
	if isControl(s) && !c.inputControl(ctx, s, in.now) {
		return
	}
	in.alive = in.alive || c.canBeLife(s.una)
	switch {
	case c.sendNxt.before(s.una):
		c.stats.badFields++
	case s.una.before(c.sendUna - wndMax):
		// More than a window late: the value is obsolete.
	case in.wndNews == windowUnheard || !s.una.before(in.una):
		in.una, in.wnd, in.wndNews = s.una, s.wnd, max(in.wndNews, windowHeard)
		if c.bearsClock(s) {
			in.wndTS, in.wndNews = s.ts, windowClocked
		}
	}
	switch s.cmd {
	case cmdAck:
		before := c.queuedOutstanding()
		if rtt := c.acknowledged(s.sn, s.ts, in.now, ctx.cache); rtt >= 0 {
			// The newest transmission has waited least at the peer, the oldest most.
			if in.rtt < 0 || rtt < in.rtt {
				in.rtt = rtt
			}
			in.longest = max(in.longest, rtt)
		}
		in.acked += before - c.queuedOutstanding()
		in.place = max(in.place, pushWithAck)
	case cmdPush:
		if c.receive(ctx, s, in.place, in.now) {
			in.place = pushWithNew
		}
	case cmdWask:
		c.advertise() // S1.30
		c.ctl.asked(in.now, c.ctl.accepted() && c.addr == nil)
	case cmdWins:
		if isPart(s) {
			if c.ctl.incarnation != 0 && c.receivePart(ctx, s, in.place, in.now) {
				in.place = pushWithNew
			}
			break
		}
		if !isControl(s) {
			c.heardWindow()
		} else if c.ctl.incarnation != 0 { // the peer's HELLO may be lost
			ranges, skips := findLists(s.data)
			if ranges != nil {
				in.ranges = ranges
			}
			if skips != nil {
				in.skips = skips
			}
		}
		c.ctl.windowHeard()
	}
}

// finishInput applies what the datagram as a whole has brought.
func (c *core) finishInput(ctx *inputContext, in *inputState, trusted bool) {
	now := in.now
	if in.skips != nil {
		c.skipMessages(ctx, in.skips, now)
	}
	if in.wndNews != windowUnheard {
		if c.sendUna.before(in.una) && c.ring.isOutstanding(c.sendUna) {
			in.longest = max(in.longest, c.waited(c.sendUna, now))
		}
		in.acked += c.acknowledgedBelow(in.una, ctx.cache)
	}
	if in.ranges != nil {
		acked, longest := c.acknowledgedRanges(in.ranges, now, ctx.cache)
		in.acked += acked
		in.longest = max(in.longest, longest)
	}
	closed := c.rmtWnd == 0
	if trusted {
		if in.rtt >= 0 {
			c.rtt.sample(in.rtt, in.longest)
		}
		c.updateWindow(in)
	}
	if in.acked > 0 {
		c.heardOfData()
		c.heardAcks()
		c.flight.acked(ctx.now, c.delivered, in.acked, !c.ctl.known())
		c.detectOvertaken(ctx.now)
		c.detectTimeouts(ctx.now)
		c.tellAcked(ctx.now, trusted)
		if c.trace != nil {
			c.traceMetrics(ctx.now)
		}
		c.hurry(now)
	}
	c.growWindows(now, in.waiting)
	c.ctl.heard()
	if in.alive || in.acked > 0 {
		c.pathHeard()
		// A peer whose window is closed may be unable to accept what is in flight. Any segment of
		// it counts as progress.
		progress := in.acked > 0 || closed || c.rmtWnd == 0
		if progress {
			c.ctl.noteProgress()
		}
		c.life.heard(now, progress, c.sendUna != c.sendNxt)
		if !c.ctl.known() {
			c.trust(now)
		}
	}
	c.updateProbe(now)
}
