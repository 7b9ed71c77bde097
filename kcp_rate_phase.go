// SPDX-License-Identifier: MIT

package kcp

// rateState is the phase of a rateController (draft-ietf-ccwg-bbr, section 5.3).
type rateState uint8

const (
	rateStartup  rateState = iota // doubles the rate each round until the path delivers no more
	rateDrain                     // empties the queue that startup made
	rateDown                      // sends less than the path delivers
	rateCruise                    // sends what the path delivers
	rateRefill                    // fills the pipe before it probes
	rateUp                        // probes for more bandwidth
	rateProbeRTT                  // empties the path to measure the shortest round trip
)

var rateStates = [...]string{
	"startup", "drain", "probe-down", "cruise", "refill", "probe-up", "probe-rtt",
}

// ackPhase is what the acknowledgements that come in now tell of. Losses of a probe are compared
// with the loss floor from acksStarting to acksStopping.
type ackPhase uint8

const (
	acksOther     ackPhase = iota
	acksRefilling          // of the time before a probe
	acksStarting           // of the first round of a probe
	acksFeedback           // of a probe
	acksStopping           // of the end of a probe
	acksStopped            // likewise, after the losses have ended the probe
)

// probeResult is how the last probe ended.
type probeResult uint8

const (
	probeFine     probeResult = iota
	probeTooHigh              // too much was lost
	probeCautious             // at what had been too much for the probe before it
)

const (
	fullBWGrowth  = 125 // percent
	fullBWRounds  = 3
	surgeGrowth   = 140 // percent
	fullBWNow     = 255 // rounds: the bandwidth has been found
	startupLosses = 6   // segments
	drainRounds   = 3
	probeRTTTime  = 200 * millisecond
	probeWaitBase = 2 * second
	// renoLeast is the least number of rounds between probes. Four flows on a line that holds nine
	// packets for each lost 13 % of what they sent with one probe every nine rounds.
	renoLeast   = 16
	betaPercent = 70
)

// filled reports whether startup has found the bandwidth.
func (c *rateController) filled() bool { return c.filledRound != 0 }

func (c *rateController) probing() bool {
	return c.state == rateStartup || c.state == rateRefill || c.state == rateUp
}

func (c *rateController) inProbeBW() bool { return c.state >= rateDown && c.state <= rateUp }

// probed reports whether the acknowledgements that come in now may tell of a probe.
func (c *rateController) probed() bool { return c.filled() && c.phase >= acksStarting }

// surging reports whether a probe has found far more bandwidth than its own gain explains, and
// still no queue.
func (c *rateController) surging() bool {
	return c.state == rateUp && c.model.bwMax > percent(c.upBW, surgeGrowth) && !c.queueing()
}

func (c *rateController) resetFull() { c.fullBW, c.fullCount = 0, 0 }

// rand returns the next of a sequence of random numbers (xorshift).
func (c *rateController) rand() uint64 {
	c.random ^= c.random << 13
	c.random ^= c.random >> 7
	c.random ^= c.random << 17
	return c.random
}

// stop ends the phase of probing.
func (c *rateController) stop() {
	if c.phase >= acksStarting && c.phase <= acksStopping {
		c.phase = acksStopping
	} else {
		c.phase = acksStopped
	}
	c.model.startRound()
}

func (c *rateController) startDown(now instant) {
	if c.loss.calmCount == 0 && c.manner == acksRepeated {
		c.loss.forget() // what startup has lost
	}
	c.loss.nextCalm()
	c.downRound = c.model.rounds
	c.model.resetLatest()
	c.upStep = unlimited
	c.roundsSince = uint32(c.rand() & 1)
	c.wait = probeWaitBase + instant(c.rand()%uint64(second))
	c.cycleAt = now
	c.stop()
	c.state = rateDown
}

func (c *rateController) startCruise() {
	c.model.unlimited = 0
	c.state = rateCruise
}

func (c *rateController) startRefill() {
	c.model.resetShort()
	c.upRounds, c.upAcked = 0, 0
	if c.result == probeCautious {
		c.result = probeFine
	}
	c.phase = acksRefilling
	c.model.startRound()
	c.state = rateRefill
}

func (c *rateController) startUp(rate int64) {
	c.phase = acksStarting
	c.model.startRound()
	c.resetFull()
	c.fullBW, c.upBW = rate, max(c.model.bw, rate)
	c.state = rateUp
	c.raiseStep()
}

// raiseStep makes the long-term bound grow twice as fast in each round of a probe, and four times
// as fast from the beginning if no queue stands where there was one.
func (c *rateController) raiseStep() {
	shift := c.upRounds
	if !c.queueing() {
		shift += 2
	}
	c.upStep = max(c.cwnd>>shift, c.mss)
	c.upRounds = min(c.upRounds+1, 30)
}

// checkStartup ends startup once the bandwidth grows no more, and drain once the queue is gone.
func (c *rateController) checkStartup(now instant, a *ackEvent) {
	m := &c.model
	c.checkFull(a)
	if c.state == rateStartup && c.fullCount == fullBWNow {
		c.startDrain()
	}
	if c.state == rateDrain &&
		(a.inFlight <= c.room(c.bdp(100)) || m.rounds > c.filledRound+drainRounds) {
		c.startDown(now)
	}
}

// endStartup ends startup because of its losses.
func (c *rateController) endStartup() {
	c.fullCount = fullBWNow
	c.model.inLong = max(c.bdp(100), c.model.inLatest)
}

func (c *rateController) startDrain() {
	c.state, c.filledRound = rateDrain, c.model.rounds
}

// checkFull looks once a round whether the bandwidth still grows.
func (c *rateController) checkFull(a *ackEvent) {
	if c.fullCount == fullBWNow || !c.model.roundEnded() || a.newest.limited {
		return
	}
	if a.rate >= percent(c.fullBW, fullBWGrowth) {
		c.resetFull()
		c.fullBW = a.rate
		return
	}
	c.fullCount++
	if c.fullCount >= fullBWRounds || c.fullCount >= fullBWRounds-1 && c.queueing() {
		c.fullCount = fullBWNow
	}
}

// updateCycle moves through the phases of ProbeBW.
func (c *rateController) updateCycle(now instant, a *ackEvent) {
	if !c.filled() {
		return
	}
	if c.model.roundEnded() && c.endProbeRound(a) {
		return
	}
	if c.inProbeBW() || c.state == rateDrain {
		c.raiseLongTerm(a)
	}
	switch c.state {
	case rateDown:
		if !c.checkWait(now) && c.drained(a) {
			c.startCruise()
		}
	case rateCruise:
		c.checkWait(now)
	case rateRefill:
		if c.model.roundEnded() {
			c.startUp(a.rate)
		}
	case rateUp:
		c.checkUp(now, a)
	}
}

// endProbeRound moves on to the acknowledgements of the next round, and reports whether the probe
// is repeated.
func (c *rateController) endProbeRound(a *ackEvent) bool {
	switch c.phase {
	case acksStarting:
		c.phase = acksFeedback
	case acksStopping, acksStopped:
		c.phase = acksOther
		if !c.inProbeBW() {
			break
		}
		if !a.newest.limited {
			c.model.advanceFilter()
		}
		if c.result == probeCautious {
			c.startRefill()
			return true
		}
	}
	return false
}

// drained reports whether the queue is gone in rateDown.
func (c *rateController) drained(a *ackEvent) bool {
	m := &c.model
	return m.rounds >= c.downRound+2 && a.inFlight <= c.headroom() &&
		a.inFlight <= c.room(during(m.bwMax, m.minRTT))
}

// checkWait begins a probe if it is time.
func (c *rateController) checkWait(now instant) bool {
	rounds := min(max(c.target()/c.mss, renoLeast), c.profile.reno)
	reno := rounds > 0 && int64(c.roundsSince) >= rounds
	if c.model.policer.active() || now <= c.cycleAt+c.wait && !reno {
		return false
	}
	c.startRefill()
	return true
}

// checkUp ends a probe if the bandwidth grows no more, or at what has been too much before.
func (c *rateController) checkUp(now instant, a *ackEvent) {
	result := probeFine
	switch {
	case c.result == probeTooHigh && a.inFlight >= c.model.inLong:
		result = probeCautious
	case c.windowFull(a) && c.cwnd >= c.model.inLong:
		c.resetFull()
		c.fullBW = a.rate
		return
	case c.fullCount != fullBWNow:
		return
	}
	c.result = result
	c.startDown(now)
}

// raiseLongTerm raises the long-term bound to what has been in flight without excess loss.
func (c *rateController) raiseLongTerm(a *ackEvent) {
	m := &c.model
	if a.newest == nil || m.inLong >= unlimited {
		return
	}
	in := bounded(a.newest.inFlight)
	if sinceSent(a.lostTotal, a.newest)*lossOne > in*c.loss.threshold(in/c.mss) {
		return
	}
	m.inLong = max(m.inLong, in)
	if c.state != rateUp {
		return
	}
	if !c.windowFull(a) || c.cwnd < m.inLong {
		return
	}
	c.upAcked += a.bytes
	if c.surging() {
		m.inLong += a.bytes
		c.upAcked = 0
	}
	if c.upAcked >= c.upStep {
		m.inLong += c.upAcked / c.upStep * c.mss
		c.upAcked %= c.upStep
	}
	if m.roundEnded() {
		c.raiseStep()
	}
}

// updateMinRTT keeps the shortest round trip and measures it if it has not been seen of late.
func (c *rateController) updateMinRTT(now instant, a *ackEvent) {
	m := &c.model
	expired := m.updateMinRTT(now, a.rtt)
	if c.state != rateProbeRTT && expired && m.rounds > 3 && c.idle != idleRestarted {
		c.saveWindow()
		c.state, c.probeRTTDone = rateProbeRTT, 0
		c.stop()
	}
	if c.state != rateProbeRTT {
		return
	}
	c.holdUntil = m.delivered + uint64(a.inFlight) + 1
	switch {
	case c.probeRTTDone == 0 && a.inFlight <= c.probeRTTWindow():
		c.probeRTTDone, c.probeRTTRound = now+probeRTTTime, m.rounds
		m.startRound()
	case c.probeRTTDone != 0 && m.rounds > c.probeRTTRound && now > c.probeRTTDone:
		c.endProbeRTT(now)
	}
}

func (c *rateController) endProbeRTT(now instant) {
	m := &c.model
	m.probeStamp, m.emptied = now, now
	c.cwnd = max(c.cwnd, c.prior)
	m.resetShort()
	if !c.filled() {
		c.state = rateStartup
		return
	}
	c.startDown(now)
	c.startCruise()
}
