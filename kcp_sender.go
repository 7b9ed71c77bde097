// SPDX-License-Identifier: MIT

package kcp

// modes is the set of a session's modes that are on.
type modes uint8

const (
	modeStream       modes = 1 << iota // a stream of bytes, not messages
	modeWriteDelay                     // new data waits for more, or for the interval
	modeACKNoDelay                     // what comes in is acknowledged at once
	modeNamedControl                   // the controller was named: nc does not change it
	modeFixedWindows                   // the windows stay as they are set
)

func (m modes) has(mode modes) bool { return m&mode != 0 }

// set switches a mode on or off.
func (m *modes) set(mode modes, on bool) {
	*m &^= mode
	if on {
		*m |= mode
	}
}

// modeRule is where modes hold a copyRule.
const modeRule = 5

// copyRule returns how many segments a datagram carries once more.
func (m modes) copyRule() copyRule { return copyRule(m >> modeRule) }

// setCopyRule sets it.
func (m *modes) setCopyRule(r copyRule) {
	*m = *m&(1<<modeRule-1) | modes(r)<<modeRule
}

// windowNews is what is known of the peer's window.
type windowNews uint8

const (
	windowUnheard windowNews = iota
	windowHeard
	windowClocked // heard, together with the peer's clock
)

// sender is the sending half of a core. Segments from sendUna to before sendNxt are in flight, and
// those from sendNxt to before sendEnd are queued.
type sender struct {
	mtu      int // most bytes of segments in one packet
	mss      int // most bytes of data in one segment
	modes    modes
	wndNews  windowNews // what is known of the peer's window
	lastFrg  uint8      // frg of the newest segment sent for the first time
	fullRun  uint8      // full segments sent since the latest Write began
	rides    uint8      // delayed writes that may leave at once until ridesEnd; see owesRide
	minRTO   uint8      // milliseconds
	sndLeast uint16     // the send window that is set, which sndWnd may exceed
	interval millis     // the longest wait of an ACK or a delayed write
	burst    burst

	ring      *sendRing
	sendUna   seqNum
	sendNxt   seqNum
	sendEnd   seqNum
	sendBytes uint32 // data in flight and queued
	sndWnd    uint32
	rmtWnd    uint32
	wndUna    seqNum // una and, on the peer's clock, ts of the segment that rmtWnd came with
	wndTS     timestamp
	inFlight  uint32 // sent, neither acknowledged nor found lost
	ridesEnd  timestamp
	order     uint64 // transmissions made
	delivered uint64 // highest transmission number acknowledged
	topOrders []uint64
	flushAt   millis // a delayed write leaves at this time at the latest
	probeAt   millis // next window probe, never if none is due
	probeWait millis
	rtt       rttEstimator
	rate      tokenBucket
	flight    flightLimit
	flow      *flow // nil unless more than a few segments are in flight, or were of late
	seed      flowSeed
	reorder   reordering
	given     uint32 // bandwidth of the path in bytes a second, for controlFixed
	kind      controlKind
	timeouts  uint8       // in a row, without an acknowledgement
	askWindow bool        // a WASK is due
	filling   bool        // a Write copies into fill without the lock
	again     *redundancy // nil until something small or lost has been sent
	trace     *traceLog   // nil unless the session is traced
	path      *pathMTU    // nil unless the MTU is searched for, or has been found too large

	fill *slab   // has room for the segments of the next Write, or nil
	held []*slab // hold datagrams that are being sent
}

func (snd *sender) init() {
	snd.mtu, snd.mss = mtuDefault, mtuDefault-segmentHeaderSize
	snd.interval, snd.minRTO = intervalDefault, uint8(rtoMin)
	snd.sndWnd, snd.sndLeast, snd.rmtWnd = wndInitial, wndInitial, wndInitial
	snd.flushAt, snd.probeAt = never, never
	snd.rtt.init()
	snd.flight.init()
	snd.setControl(controlOf(0), 0)
}

// setTrace makes t the trace, nil for none.
func (snd *sender) setTrace(t *traceLog) { snd.trace = t }

// drop releases the buffer of sn, to the cache if there is one, and removes sn from its list.
func (snd *sender) drop(sn seqNum, cache *bufferCache) {
	seg := snd.ring.at(sn)
	bytes := seg.bytes()
	snd.sendBytes -= uint32(len(seg.data))
	seg.free(cache)
	if seg.term != termNone {
		snd.ring.timed.acknowledged(sn)
	}
	if slot := snd.ring.slot(sn); snd.ring.outstanding.has(slot) {
		if seg.inFlight() {
			snd.inFlight--
			if snd.flow != nil {
				snd.flow.gone(bytes)
			}
		}
		snd.ring.unlink(sn)
		snd.ring.outstanding.clear(slot)
	}
}

// advanceUna moves sendUna to the first segment that is still outstanding.
func (snd *sender) advanceUna() {
	n := snd.sendUna.distance(snd.sendNxt)
	r := snd.ring
	snd.sendUna += seqNum(r.outstanding.run(r.slot(snd.sendUna), n, r.size(), false))
}

// noteDelivered keeps the highest transmission numbers acknowledged, as many as fast retransmission
// counts. A segment whose number is below the least of them has been overtaken by that many.
func (snd *sender) noteDelivered(order uint64) {
	snd.delivered = max(snd.delivered, order)
	t := snd.topOrders
	if len(t) == 0 || order <= t[0] {
		return
	}
	i := 0
	for ; i+1 < len(t) && t[i+1] < order; i++ {
		t[i] = t[i+1]
	}
	t[i] = order
}

// queuedOutstanding returns how many segments are sent and not acknowledged, lost ones included.
func (snd *sender) queuedOutstanding() uint32 {
	if snd.ring == nil {
		return 0
	}
	return snd.inFlight + snd.ring.lost() + snd.ring.skipping()
}

// setNoDelay sets the timing; a negative value leaves a setting unchanged.
func (snd *sender) setNoDelay(noDelay, interval, resend, nc int) {
	if noDelay >= 0 {
		snd.minRTO = uint8(rtoMin)
		if noDelay != 0 {
			snd.minRTO = uint8(rtoNoDelay)
		}
	}
	if interval >= 0 {
		snd.interval = min(max(millis(interval), intervalMin), intervalMax)
	}
	if resend >= 0 && min(resend, resendMax) != len(snd.topOrders) {
		snd.topOrders = make([]uint64, min(resend, resendMax))
	}
	if nc >= 0 && !snd.modes.has(modeNamedControl) {
		snd.setControl(controlOf(nc), int64(snd.given))
	}
}

// setControl chooses the controller. bandwidth, in bytes a second, is for controlFixed, and kept
// for a later choice.
func (snd *sender) setControl(kind controlKind, bandwidth int64) {
	given := clampUint32(bandwidth)
	if kind != snd.kind || kind == controlFixed && given != snd.given {
		snd.dropFlow()
		snd.kind, snd.seed = kind, flowSeed{}
		snd.shrinkWindow()
	}
	snd.given = given
}

// beginFlow makes a flow of what is in flight.
func (snd *sender) beginFlow(now instant, random uint64) {
	mss := snd.mss + segmentHeaderSize
	f := newFlow(newController(snd.kind, snd.given, int64(mss), snd.seed, random), now, mss)
	for sn := snd.sendUna; sn != snd.sendNxt; sn++ {
		if seg := snd.ring.at(sn); snd.ring.isOutstanding(sn) && seg.inFlight() {
			f.adopt(seg.bytes())
		}
	}
	snd.flow = f
}

// flowEvent returns when a flow is dropped, never if there is none or it is in use.
func (snd *sender) flowEvent() millis {
	if snd.flow == nil || snd.sendUna != snd.sendEnd {
		return never
	}
	return snd.flow.idleAt().ms() + 1
}

// dropFlow drops the flow, if there is one, and returns its records.
func (snd *sender) dropFlow() {
	if snd.flow != nil {
		snd.flow.forget()
		snd.flow = nil
	}
}

// replaceFlow drops a flow whose path has become another one. The next begins to measure it.
func (snd *sender) replaceFlow(now instant) {
	if snd.flow.outgrown(now) {
		snd.dropFlow()
		snd.seed = flowSeed{}
	}
}

// endFlow drops a flow that has been idle for long. What it knows of the path is kept.
func (snd *sender) endFlow(now millis) {
	if now < snd.flowEvent() {
		return
	}
	if snd.kind.measures() {
		r := snd.control()
		snd.seed = newFlowSeed(r.bandwidth, r.minRTT)
	}
	snd.dropFlow()
	snd.shrinkWindow()
}

// lossShare returns how many of a million segments are lost at first, 0 if that is not known.
func (snd *sender) lossShare() int {
	if snd.again == nil {
		return 0
	}
	return int(snd.again.seen) * 1_000_000 / seenOne
}

// backlogged reports whether the path limits the sender, not the program.
func (snd *sender) backlogged() bool {
	return snd.flow != nil && snd.flow.limited == 0
}

// congested reports whether a queue stands on the path, so that losses are its.
func (snd *sender) congested() bool {
	return snd.rtt.srtt() > snd.rtt.least+snd.rtt.least/2+reportLeast/4
}

// repaired tells a controller that goes by losses of segments that parity has recovered, as of
// others that are lost (RFC 9265). One that measures the rate keeps the queue short instead where
// parity hides losses (lossHidden). To be told of all losses of a report at once took it 20 to 70 %
// of the goodput at a round trip of 300 ms.
func (snd *sender) repaired(now instant, segments uint32) {
	if snd.flow == nil || snd.kind.measures() {
		return
	}
	for range min(segments, snd.inFlight) {
		snd.flow.lose(now, &lossEvent{
			order: snd.delivered, newest: snd.order, bytes: snd.flow.mss,
			segments: snd.inFlight, cause: lossFast,
		})
	}
}

// setScale sets how many thousandths of a byte leave for each byte of a segment, with parity and
// copies. A rate that was measured allows for them already.
func (snd *sender) setScale(scale int64) {
	snd.rate.setScale(scale)
	f := snd.flow
	if f == nil {
		return
	}
	if snd.kind == controlFixed {
		f.scale = scale
	}
	f.sight = lossSeen
	if scale > 1000 {
		f.sight = lossHidden
	}
}

// control returns what the controller knows of the path.
func (snd *sender) control() (r controlReport) {
	snd.controlTo(&r)
	return r
}

// controlTo is control for a caller whose report is not to be allocated.
func (snd *sender) controlTo(r *controlReport) {
	*r = controlReport{}
	switch {
	case snd.flow == nil && snd.kind == controlFixed:
		r.bandwidth = int64(snd.given)
	case snd.flow == nil:
		r.bandwidth, r.minRTT = int64(snd.seed.bandwidth), snd.seed.rtt()
	default:
		snd.flow.cc.report(r)
		if r.pacing = snd.flow.rate; snd.flow.short() {
			r.pacing = 0
		}
	}
}

// lossesCongest reports whether the controller takes losses for congestion at present.
func (snd *sender) lossesCongest() bool {
	switch {
	case snd.flow == nil:
		return false
	case snd.kind == controlCubic, snd.kind == controlClassic:
		return true
	}
	var r controlReport
	snd.flow.cc.report(&r)
	return r.sense == lossesCongestion
}

// usualMSS returns what tells a stream from small messages of a peer, whose MTU is not known: the
// bytes of data in a full segment, or in one of the default MTU if that is less.
func (snd *sender) usualMSS() int { return min(snd.mss, mtuDefault-segmentHeaderSize) }

// pathTiming returns what the search for the path's MTU has to know.
func (snd *sender) pathTiming() pathTiming { return pathTiming{snd.rtt.srtt(), snd.rto()} }

// noDelay reports whether no-delay mode is on, which lowers the least RTO and the back-off.
func (snd *sender) noDelay() bool { return millis(snd.minRTO) == rtoNoDelay }

// rto returns the retransmission timeout before any back-off (S1.11). Paced transmissions pause,
// and the acknowledgement of the last one before a pause waits for the whole interval of the peer.
func (snd *sender) rto() millis {
	wait := snd.interval
	if snd.flow != nil {
		wait += ackGrain
	}
	return snd.rtt.rto(wait, millis(snd.minRTO))
}

// ackGrain is by how much whole milliseconds may shorten a round trip and lengthen the wait of an
// acknowledgement.
const ackGrain millis = 2

// queued returns how many segments wait to be acknowledged or sent.
func (snd *sender) queued() uint32 { return snd.sendUna.distance(snd.sendEnd) }

// congestionWindow returns how much the controller lets be in flight, in full segments, and 0 if it
// sets no limit. A part of a segment counts as one.
func (snd *sender) congestionWindow() uint32 {
	f := snd.flow
	if f == nil {
		return snd.kind.initialWindow()
	}
	segments := f.most
	if f.window < unlimited && !f.short() {
		segments = uint32(min(int64(segments), (f.window+f.mss-1)/f.mss))
	}
	if segments == unlimitedSegments {
		return 0
	}
	return segments
}

// setWindow sets the send window in segments. A window that has grown stays if it is larger.
func (snd *sender) setWindow(segments uint32) {
	if snd.sndWnd <= uint32(snd.sndLeast) {
		snd.sndWnd = segments
	}
	snd.sndWnd, snd.sndLeast = max(snd.sndWnd, segments), uint16(segments)
}

// shrinkWindow ends the growth of the send window.
func (snd *sender) shrinkWindow() { snd.sndWnd = uint32(snd.sndLeast) }

// releaseIdle returns the ring and the slabs to their pools once they are empty.
func (snd *sender) releaseIdle() {
	if snd.ring != nil && snd.sendUna == snd.sendEnd {
		putSendRing(snd.ring)
		snd.ring = nil
		if snd.flow != nil {
			snd.flow.forget()
		}
	}
	if snd.ring == nil && snd.flow == nil {
		snd.path = nil
	}
	if snd.ring == nil && len(snd.held) == 0 {
		snd.held = nil
	}
	if snd.fill != nil && snd.ring == nil && !snd.filling {
		snd.fill.release()
		snd.fill = nil
	}
}

// giveUp drops what is queued or in flight.
func (snd *sender) giveUp() {
	snd.dropFlow()
	if snd.ring == nil {
		return
	}
	for sn := snd.sendUna; sn != snd.sendEnd; sn++ {
		snd.drop(sn, nil)
	}
	snd.sendUna, snd.sendNxt = snd.sendEnd, snd.sendEnd
}
