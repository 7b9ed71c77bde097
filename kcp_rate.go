// SPDX-License-Identifier: MIT

package kcp

// rateProfile is how much of a path a rateController takes.
type rateProfile struct {
	upGain     int64   // of the rate while it probes, in percent
	upWindow   int64   // likewise, of the window
	headroom   int64   // percent of the long-term bound that is left free
	lossMost   int64   // the highest loss rate that is compensated
	queueShift uint    // a queue stands above minRTT + minRTT>>queueShift
	queueLeast instant // or minRTT + queueLeast, if that is longer
	reno       int64   // the most rounds between probes, 0 if there is no such bound
}

var (
	rateNormal = rateProfile{
		upGain: 125, upWindow: 225, headroom: 15, lossMost: lossOne / 5,
		queueShift: 3, queueLeast: 4 * millisecond, reno: 63,
	}
	rateAggressive = rateProfile{
		upGain: 125, upWindow: 250, headroom: 10, lossMost: lossOne * 3 / 10,
		queueShift: 3, queueLeast: 4 * millisecond,
	}
)

// Gains of BBRv3 in percent, and its other constants (draft-ietf-ccwg-bbr, sections 2.5 to 2.13).
const (
	startupGain     = 277
	drainGain       = 50
	downGain        = 90
	downGainQueue   = 80 // while a queue stands: p95 of the queue 29 ms instead of 37 at RTT 100
	surgeGain       = 200
	windowGain      = 200
	probeRTTGain    = 50
	pacingMargin    = 99
	initialSegments = 32
	leastSegments   = 4
	leastRate       = 20 // segments a second
	hiddenBeta      = 95 // percent of the bandwidth, each round in which a queue hides its losses
	quantumMost     = 64 << 10
)

// rateController is BBRv3 (draft-ietf-ccwg-bbr) with a measured floor of random loss in place of a
// fixed threshold. So it holds its rate on a path that loses at random. It ends a probe for
// bandwidth when a queue stands, and recognizes policers.
type rateController struct {
	profile *rateProfile
	model   rateModel
	loss    lossFloor
	undo    rateUndo
	random  uint64

	mss    int64 // bytes of a full segment
	cwnd   int64 // bytes
	prior  int64 // cwnd before a loss or rateProbeRTT
	rate   int64 // pacing, in bytes a second
	fullBW int64 // the bandwidth that has to grow
	upBW   int64 // the bandwidth when the probe began

	upAcked int64 // bytes since the long-term bound was raised
	upStep  int64 // bytes for each segment by which it is raised

	cycleAt      instant // when the phase of probing ended
	wait         instant // from then to the next
	probeRTTDone instant // 0 while the window is still to be emptied
	holdUntil    uint64  // delivered; samples of what is sent before it are limited
	revived      instant // what was sent before tells nothing: the path was gone

	downRound     uint32 // when rateDown began
	filledRound   uint32 // when startup ended, 0 before
	roundsSince   uint32 // rounds since the last probe
	probeRTTRound uint32
	state         rateState
	sight         lossSight
	phase         ackPhase
	result        probeResult
	idle          idleState
	manner        ackManner // of the peer
	fullCount     uint8     // rounds without growth of the bandwidth, or fullBWNow
	upRounds      uint8
}

// rateUndo is what a loss has changed.
type rateUndo struct {
	bwShort, inShort, inLong int64
	round                    uint32    // the losses of this round are one event
	state                    rateState // in which the loss ended a probe, rateUp or 0
}

// idleState tells whether anything is in flight and arrives.
type idleState uint8

const (
	idleNever     idleState = iota
	idleNow                 // nothing is in flight
	idleRestarted           // nothing has been acknowledged since it was idle
	idleGone                // nothing has been acknowledged since the path was gone
)

func newRateController(p *rateProfile, mss int64, random uint64) *rateController {
	c := &rateController{profile: p, mss: max(mss, 1), random: random | 1, upStep: unlimited}
	c.model.init()
	c.loss.init()
	c.cwnd = initialSegments * c.mss
	c.model.policer.slotAt = notBegun
	return c
}

// newRateControllerFrom returns a controller for a path that is known from before.
func newRateControllerFrom(
	p *rateProfile, mss int64, random uint64, bandwidth int64, minRTT instant,
) *rateController {
	c := newRateController(p, mss, random)
	bandwidth, minRTT = bounded(bandwidth), instant(bounded(int64(minRTT)))
	if bandwidth == 0 || minRTT == 0 {
		return c
	}
	m := &c.model
	m.filter, m.bwMax, m.bw = [2]int64{bandwidth, bandwidth}, bandwidth, bandwidth
	m.minRTT, m.probeRTT, m.srtt = minRTT, minRTT, minRTT
	c.state, c.filledRound = rateCruise, 1
	c.wait = probeWaitBase + instant(c.rand()%uint64(second))
	c.setRate()
	c.cwnd = max(c.cwnd, c.room(c.bdp(windowGain)))
	return c
}

// notBegun is a time before all events.
const notBegun = -instant(unlimited)

// begin sets the clocks at the first event.
func (c *rateController) begin(now instant) {
	if c.model.policer.slotAt == notBegun {
		c.model.begin(now)
		c.cycleAt = now
	}
}

func (c *rateController) resized(mss int) { c.mss = max(int64(mss), 1) }

func (c *rateController) window() (bytes int64, segments uint32) {
	return c.cwnd, unlimitedSegments
}

func (c *rateController) pace() (rate, quantum int64) {
	if !c.model.measured() {
		return 0, initialSegments * c.mss
	}
	return c.rate, c.quantum()
}

// quantum returns the bytes of a millisecond, at least two segments and at most quantumMost.
func (c *rateController) quantum() int64 {
	return min(max(2*c.mss, c.rate/1000), max(quantumMost, 2*c.mss))
}

func (c *rateController) report(r *controlReport) {
	r.state = rateStates[c.state]
	r.bandwidth = c.model.bw
	if c.model.measured() {
		r.minRTT = c.model.minRTT
	}
	r.loss = float64(c.loss.floor) / float64(lossOne)
	if !c.filled() || c.model.bwShort < unlimited || c.model.inShort < unlimited {
		r.sense = lossesCongestion
	}
}

func (c *rateController) sent(now instant, f *flight) {
	c.begin(now)
	m := &c.model
	m.delivered, m.lostTotal = max(m.delivered, f.delivered), max(m.lostTotal, f.lost)
	if c.idle == idleNow {
		c.idle = idleRestarted
		m.extraStart, m.extraBytes = now, 0
		if c.inProbeBW() {
			c.rate = min(c.rate, max(percent(m.bw, pacingMargin), c.leastRate()))
		}
	}
	f.tag = 0
	if c.calm() {
		f.tag = 1
	}
	if f.delivered < c.holdUntil {
		f.limited = true
	}
}

// calm reports whether less is sent than the path delivers. Where acknowledgements are not
// repeated, the first phase after startup does not count: it still sees the losses of startup.
func (c *rateController) calm() bool {
	switch c.state {
	case rateProbeRTT:
		return true
	case rateDown:
		first := c.loss.calmCount <= 1 && c.manner != acksRepeated
		return c.model.rounds > c.downRound && !first
	}
	return false
}

func (c *rateController) lost(now instant, l *lossEvent) {
	c.begin(now)
	m := &c.model
	if c.idle == idleGone || l.flight != nil && l.flight.sentAt < c.revived {
		return
	}
	c.loss.noteLost(l.flight != nil && l.flight.tag != 0)
	m.lostTotal += uint64(bounded(l.bytes))
	if m.lossEvents == 0 {
		m.lossRoundAt = m.delivered
	}
	if m.rounds > c.undo.round {
		c.saveWindow()
		c.saveBounds()
	}
	m.lossEvents++
	if l.flight != nil && c.judging() && c.loss.known() {
		c.judge(now, l)
	}
}

// judging reports whether the losses of a probe are compared with the floor. Those of startup are
// if a loss of acknowledgements does not look the same.
func (c *rateController) judging() bool {
	if c.state == rateStartup {
		return c.model.lossEvents >= startupLosses && c.manner == acksRepeated
	}
	return c.phase >= acksStarting && c.phase <= acksStopping
}

// judge ends a probe whose losses are above the threshold.
func (c *rateController) judge(now instant, l *lossEvent) {
	lost, in := sinceSent(c.model.lostTotal, l.flight), bounded(l.flight.inFlight)
	bytes := bounded(l.bytes)
	t := c.loss.threshold(in / c.mss)
	if c.state == rateStartup {
		t = c.loss.startThreshold(in/c.mss, c.queueing())
	}
	if lost*lossOne <= in*t {
		return
	}
	if c.state == rateStartup {
		c.endStartup()
		return
	}
	// The bytes in flight at which the share of losses crossed the threshold.
	before := in - bytes
	prefix := (t*before - lossOne*(lost-bytes)) / (lossOne - t)
	c.result, c.phase = probeTooHigh, acksStopped
	if !l.flight.limited {
		c.model.inLong = max(before+prefix, percent(c.target(), betaPercent))
	}
	if c.state == rateUp {
		c.undo.state = rateUp
		c.startDown(now)
	}
}

// spurious reverts what a loss has changed.
func (c *rateController) spurious(now instant, bytes int64) {
	m, u := &c.model, &c.undo
	segments := uint32(max(bounded(bytes)/c.mss, 1))
	m.lossEvents -= min(m.lossEvents, segments)
	c.loss.takeBack(segments)
	c.cwnd = max(c.cwnd, c.prior)
	c.resetFull()
	m.bwShort, m.inShort = max(m.bwShort, u.bwShort), max(m.inShort, u.inShort)
	m.inLong = max(m.inLong, u.inLong)
	if u.state == rateUp && c.inProbeBW() && c.state != rateUp {
		c.startRefill()
	}
	u.state = 0
}

func (c *rateController) saveBounds() {
	m := &c.model
	c.undo = rateUndo{m.bwShort, m.inShort, m.inLong, m.rounds + 1, 0}
}

func (c *rateController) saveWindow() {
	if c.state == rateProbeRTT {
		c.prior = max(c.prior, c.cwnd)
	} else {
		c.prior = c.cwnd
	}
}

// collapsed begins again with a small window. What the path carries is kept: losses of an outage
// are none of the path behind it, and are not counted until something arrives.
func (c *rateController) collapsed(instant) {
	c.saveWindow()
	c.saveBounds()
	c.cwnd = leastSegments * c.mss
	c.idle = idleGone
	c.model.lossEvents = 0
	c.loss.dropBucket()
}

// revive begins to measure the path again after it was gone.
func (c *rateController) revive(now instant, a *ackEvent) {
	c.revived = now
	if a.newest != nil {
		c.revived = a.newest.sentAt
	}
	c.model.unlimited = 0
	c.model.policer.restart(now, a.lostTotal)
}

func (c *rateController) acked(now instant, event *ackEvent) {
	c.begin(now)
	a := sane(event)
	c.manner, c.sight = a.manner, a.sight
	m := &c.model
	if c.idle == idleGone {
		c.revive(now, &a)
	}
	queued := c.queueing()
	if queued {
		m.policer.queueAt = now
	}
	c.loss.noteAcked(a.segments, min(a.tagged, a.segments), queued, c.probed())
	m.beginAck(now, &a)
	if m.roundEnded() {
		c.roundsSince++
		c.loss.round(now)
	}
	m.noteRTT(a.rtt)
	if queued && c.sight == lossHidden {
		// More arrives than the path carries: parity makes up for what the queue drops.
		a.rate = min(a.rate, m.bwMax)
	}
	m.updateBandwidth(&a)
	m.policer.follow(now, m.bwMax, a.lostTotal)
	c.checkSlower(now, &a)
	if m.lossRoundEnded() {
		c.endLossRound(now)
	}
	m.updateAggregation(now, &a, c.cwnd, c.filled())
	c.checkStartup(now, &a)
	c.updateCycle(now, &a)
	c.updateMinRTT(now, &a)
	m.endAck(&a)
	c.setRate()
	c.setWindow(&a)
	c.idle = idleNever
	if a.inFlight == 0 {
		c.idle = idleNow
	}
}

// endLossRound looks at the losses of a round.
func (c *rateController) endLossRound(now instant) {
	m, l := &c.model, &c.loss
	c.checkSustained(now)
	n := m.inLatest/c.mss + int64(m.lossEvents)
	excess := l.known() && int64(m.lossEvents)*lossOne > l.threshold(n)*n
	switch {
	case !excess || m.policer.active():
	case c.state == rateStartup && m.lossEvents >= startupLosses:
		c.endStartup()
	case !c.probing() && (l.queued() || l.contrast(excessLeast)):
		if m.bwShort >= unlimited {
			m.bwShort = m.bwMax
		}
		if m.inShort >= unlimited {
			m.inShort = c.cwnd
		}
		m.bwShort = max(m.bwLatest, percent(m.bwShort, betaPercent))
		m.inShort = max(m.inLatest, percent(m.inShort, betaPercent))
	}
	if c.sight == lossHidden && c.filled() && !c.probing() && c.queueing() {
		m.bwShort = percent(min(m.bwShort, m.bwMax), hiddenBeta)
	}
	m.lossEvents = 0
	l.resetQueued()
}
