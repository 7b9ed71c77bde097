// SPDX-License-Identifier: MIT

package kcp

// flightRoom reports whether the path and the congestion window, if it is on, allow another segment
// in flight.
func (snd *sender) flightRoom() bool {
	switch f := snd.flow; {
	case f != nil && snd.timeouts > 0 && snd.inFlight >= flowLeast:
		return false // the path may be gone
	case f != nil && !f.allows(snd.inFlight):
		return false
	case f != nil && !f.short() && snd.kind != controlClassic:
		return true
	}
	return !snd.flight.holds(snd.inFlight)
}

// resends reports whether a lost segment may be resent now, and which. While no round trip has been
// measured there is only one, and it replaces its earlier transmission. The first outstanding
// segment has to wait for no window, because without it what is in flight may stay there.
func (snd *sender) resends() (sn seqNum, ok bool) {
	if snd.ring.lost() == 0 {
		return 0, false
	}
	first := snd.ring.lists[lostList].head
	if snd.unmeasured() || snd.flightRoom() && !snd.noRoomFor(first) {
		return first, true
	}
	una := snd.sendUna
	return una, snd.ring.isOutstanding(una) && snd.ring.at(una).list == lostList
}

// writeMost is how many bytes a session takes from Write before they are acknowledged, however
// small the windows. A program that writes a request and then reads a concurrent answer needs no
// second goroutine up to that size.
const writeMost = 4 << 20

// writeSegments bounds the same for small messages, each of which takes a buffer and a slot in the
// ring.
const writeSegments = 16384

// writeLeast is how many segments a Write may always queue on a short path, within the send window.
const writeLeast = 1024

// A blocked Write continues once 1/writeShare of the window is free, so that it is not woken for
// each ACK. The kernel's sk_stream_write_space does the same for TCP.
const writeShare = 4

// writeRoom returns how many segments a Write may queue now, and how many a blocked Write waits
// for.
//
// While a short path alone sets the pace, at most twice what it holds in flight is queued in total.
// More would only leave the processor's caches before it is sent. Windows of 4096 and 32768 were as
// fast as one of 1024 on loopback with this bound, and 15 and 25 % slower without.
func (c *core) writeRoom() (free, share uint32) {
	queued, mss, window := c.queued(), uint32(c.mss), c.sndWnd
	most := min(writeMost/mss, writeSegments)
	if least := max(most, uint32(c.sndLeast)); window > least {
		window = min(window, max(least, queued+uint32(c.memory.growth)))
	}
	most = max(most, window)
	free = min((atMost(c.sendBytes, writeMost)+mss-1)/mss, atMost(queued, writeSegments))
	free = max(free, atMost(queued, window))
	if c.pathSetsPace() {
		limit := window
		if least := c.flight.scaled(writeLeast); limit > least {
			limit = min(max(2*c.flight.limit, least), limit)
		}
		most = min(most, limit)
		free = min(free, atMost(queued, limit))
	}
	if room := c.memory.room / memoryWeight(c.mss); room < free {
		free = max(room, atMost(queued, roomLeast))
		most = min(most, queued+free)
	}
	return free, max(min(most, window)/writeShare, 1)
}

// growSendWindow lets the send window grow to twice of what may be in flight, which is about four
// times what the path delivers in a round trip. The window is counted from the oldest segment,
// which may have to be sent several times. So it is twice as much where most of it is acknowledged.
// It grows only while it is used, and while the peer's window is larger. Without congestion control
// it stays, as it alone limits what is in flight.
func (snd *sender) growSendWindow() {
	if snd.modes.has(modeFixedWindows) || snd.kind == controlOff || snd.rmtWnd <= snd.sndWnd ||
		snd.sendUna.distance(snd.sendNxt) <= snd.sndWnd/2 {
		return
	}
	times := uint32(2)
	if snd.sendUna.distance(snd.sendNxt) > 2*snd.inFlight {
		times = 4
	}
	snd.sndWnd = max(snd.sndWnd, min(times*min(snd.flightMost(), wndMax), wndMax))
}

// flightMost returns how many segments the path and the controller allow in flight.
func (snd *sender) flightMost() uint32 {
	f := snd.flow
	if f == nil {
		return snd.kind.unmeasured()
	}
	most := f.most
	if f.short() || snd.kind == controlClassic {
		most = min(most, snd.flight.limit)
	}
	if f.window < unlimited && !f.short() {
		mean := f.mss
		if snd.inFlight > 0 {
			mean = max(f.inFlight/int64(snd.inFlight), segmentHeaderSize)
		}
		most = uint32(min(int64(most), f.window/mean))
	}
	return most
}

// pathSetsPace reports whether a short path alone limits what leaves: not the peer's window, a rate
// limit, or a peer that has stopped acknowledging.
func (snd *sender) pathSetsPace() bool {
	if !snd.flight.short() || snd.rate.rate != 0 ||
		snd.rmtWnd <= snd.sendUna.distance(snd.sendNxt) {
		return false
	}
	// Nothing in flight has timed out.
	return snd.ring == nil || snd.ring.used&^(waitLists|1) == 0
}

// atMost returns how far used is below limit, 0 if it is not.
func atMost(used, limit uint32) uint32 { return limit - min(used, limit) }

// canSendNew reports whether a queued segment may be sent. The smaller of the send window and the
// peer's window limits the segments in flight, counted from sendUna to the newest one (S1.8).
func (snd *sender) canSendNew() bool { return snd.newInWindow() && snd.flightRoom() }

// newInWindow reports whether a segment is queued that the windows of both sides have room for.
func (snd *sender) newInWindow() bool {
	return snd.sendNxt != snd.sendEnd &&
		snd.sendUna.distance(snd.sendNxt) < min(snd.sndWnd, snd.rmtWnd)
}

// updateProbe starts window probes when the peer has closed its window. The peer's update may be
// lost, and what is in flight may lie beyond its window. A window is mostly closed for a moment
// only, so the first probe comes after an RTO, 500 ms at most (S1.20).
func (snd *sender) updateProbe(now millis) {
	if snd.rmtWnd > 0 || snd.sendUna == snd.sendEnd {
		snd.probeAt, snd.probeWait = never, 0
		return
	}
	if snd.probeAt == never {
		snd.probeWait = min(snd.rto(), probeFirst)
		snd.probeAt = now + snd.probeWait
	}
}

// canBeLife reports whether a segment with that una is a sign of life: it can belong to the peer's
// session, whose una never goes back (S4.32). An answer from outside a session, above all a WINS,
// begins at 0. sendUna is no measure: it passes the una of a peer with a full receive queue, which
// acknowledges segments that wait.
func (snd *sender) canBeLife(una seqNum) bool {
	return !snd.sendNxt.before(una) && (snd.wndNews == windowUnheard || !una.before(snd.wndUna))
}

// bearsClock reports whether the ts of a segment is the peer's clock. Legacy peers fill it in for
// PUSH alone: their WASK and WINS carry 0 or the ts of the last ACK. The ts of a probe is random.
func (c *core) bearsClock(s *segment) bool {
	switch s.cmd {
	case cmdPush:
		return !c.isProbe(s)
	case cmdWask, cmdWins:
		return c.ctl.known() && !isControl(s) && !isPart(s)
	}
	return false
}

// staleWindow bounds how much older than the newest a window update may be to count as overtaken. A
// larger step back is a clock that has jumped, or a forgery, which must not block updates for long.
const staleWindow = 10000

// updateWindow stores the peer's window unless the datagram was overtaken by a newer one.
func (c *core) updateWindow(in *inputState) {
	if in.wndNews == windowUnheard || c.wndNews != windowUnheard && c.overtakenWindow(in) {
		return
	}
	if in.wndNews == windowClocked {
		c.wndTS = in.wndTS
	}
	opened := c.rmtWnd == 0 && in.wnd > 0
	c.rmtWnd, c.wndUna, c.wndNews = uint32(in.wnd), in.una, max(c.wndNews, in.wndNews)
	if opened {
		c.windowOpened(c.latest)
	}
}

// overtakenWindow reports whether a window is older than the known one. The larger una is newer.
// With the same una the window of a receiver only opens, because every segment that takes a slot
// advances una (S1.9). Only a peer with the extension may close it then, for want of memory. The
// newer clock decides if both are known (S1.10).
func (c *core) overtakenWindow(in *inputState) bool {
	switch {
	case in.una != c.wndUna:
		return in.una.before(c.wndUna)
	case in.wndNews != windowClocked || !c.ctl.known():
		return uint32(in.wnd) < c.rmtWnd
	}
	age := c.wndTS.since(in.wndTS)
	return c.wndNews == windowClocked && 0 < age && age < staleWindow
}

// probeDue makes the next window probe due and sets the time of the following one.
func (c *core) probeDue(now millis) {
	if now < c.probeAt {
		return
	}
	c.askForWindow()
	c.ask(now)
	c.probeWait = min(c.probeWait+c.probeWait/2, probeLimit)
	c.probeAt = now + c.probeWait
}

// askForWindow makes a WASK due.
func (snd *sender) askForWindow() { snd.askWindow = true }

// windowAsked notes that a WASK has left.
func (snd *sender) windowAsked() { snd.askWindow = false }

// mayLeave reports whether the rate limit and the pace let the next segment leave now.
func (snd *sender) mayLeave(now instant) bool {
	return snd.rate.allow(now.ms()) && (snd.flow == nil || !snd.flow.paces(now))
}

// leavesAt returns when they do.
func (c *core) leavesAt(now millis) millis {
	at := c.rate.readyAt(now)
	if f := c.flow; f != nil && f.paces(max(now.instant(), c.latest)) {
		at = max(at, (f.release + millisecond - 1).ms())
	}
	return at
}

// flowFlushed ends a flush for the flow. If neither the window of the controller nor the pace holds
// data back, what the path delivers now tells little of what it can deliver.
func (c *core) flowFlushed(now instant, more bool) {
	f := c.flow
	if f == nil {
		return
	}
	wants := c.ring != nil && (c.ring.lost() > 0 || c.newInWindow() && c.released(now.ms()))
	held := wants && (!c.flightRoom() || f.paces(now))
	f.flushed(now, !more && !held)
}
