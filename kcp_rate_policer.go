// SPDX-License-Identifier: MIT

package kcp

// policerModel is a rate that the path sustains, where that is less than its best samples: a
// policer lets a burst pass, and discards what exceeds its rate then.
type policerModel struct {
	rate  int64   // bytes a second
	at    instant // when the rate was last looked at
	until instant // how long it holds, 0 if there is none
	lasts instant // for how long a rate holds
	ended instant // when the last one did, 0 if there was none

	queueAt instant // when a queue was last seen
	base    int64   // the bandwidth when the last second was begun

	// The last second, in slots.
	slots     [8]policerSlot
	slotCount uint32
	slotAt    instant
	slotBytes int64
	lostSeen  uint64  // bytes
	standing  instant // the standing round trip at its begin
}

// policerSlot is an eighth of a second.
type policerSlot struct{ us, bytes, lost uint32 }

const (
	slotTime = second / 8
	// sustainedGain is by how many percent of the mean of eight rounds the bandwidth is too high.
	sustainedGain = 130
	// sustainedGainSecond is the same for the mean of a second.
	sustainedGainSecond = 110
	// sustainedLeast is how many segments make a mean.
	sustainedLeast = 200
	// sustainedLoss is the loss beyond that of calm phases which indicates a policer.
	sustainedLoss = lossOne / 20
	// policedLoss is the loss beyond that of calm phases with which the rate falls further.
	policedLoss = lossOne * 3 / 100
	// slowerRise is by how many percent of the time round trips rise if the path delivers less than
	// half of what is sent, with allowance for noise. A flow that doubles its rate makes them rise
	// by 50 at most.
	slowerRise   = 60
	policedFirst = 10 * second
	policedMost  = 80 * second
)

func (p *policerModel) init() { p.queueAt = -instant(unlimited) }

// active reports whether a rate holds.
func (p *policerModel) active() bool { return p.until != 0 }

// bound returns the rate, unlimited if there is none.
func (p *policerModel) bound() int64 {
	if p.active() {
		return p.rate
	}
	return unlimited
}

// note adds to the present slot.
func (p *policerModel) note(now instant, a *ackEvent) {
	p.slotBytes += a.bytes
	took := now - p.slotAt
	if took < slotTime {
		return
	}
	p.slots[p.slotCount%uint32(len(p.slots))] = policerSlot{
		narrow(int64(took) / 1000), narrow(p.slotBytes), narrow(int64(a.lostTotal - p.lostSeen)),
	}
	p.slotCount++
	p.slotAt, p.slotBytes, p.lostSeen = now, 0, a.lostTotal
}

// restart begins to measure the last second again.
func (p *policerModel) restart(now instant, lost uint64) {
	p.slotCount, p.slotAt, p.slotBytes, p.lostSeen = 0, now, 0, lost
}

// follow begins to measure the last second again if the bandwidth has grown by a half: a mean with
// the time before tells nothing of what the path sustains.
func (p *policerModel) follow(now instant, bandwidth int64, lost uint64) {
	if bandwidth > p.base+p.base/2 {
		p.restart(now, lost)
		p.base = bandwidth
	}
	p.base = min(p.base, bandwidth)
}

// lastSecond returns the delivery rate of the last second and the share lost, 0 before it has
// passed.
func (p *policerModel) lastSecond() (rate, loss int64) {
	if p.slotCount < uint32(len(p.slots)) {
		return 0, 0
	}
	var us, bytes, lost int64
	for _, s := range p.slots {
		us += int64(s.us)
		bytes += int64(s.bytes)
		lost += int64(s.lost)
	}
	return perSecond(bytes, instant(us)*1000), mulDiv(lost, lossOne, max(lost+bytes, 1))
}

// slotEnded returns the slot that has ended now.
func (p *policerModel) slotEnded(now instant) (s policerSlot, ok bool) {
	if p.slotCount == 0 || p.slotAt != now {
		return policerSlot{}, false
	}
	return p.slots[(p.slotCount-1)%uint32(len(p.slots))], true
}

// checkSlower lowers the bandwidth where the path has become much slower, within a few slots.
// Without a loss the draft takes two cycles, which are long while round trips are. Beside other
// flows deliveries fall too. But then round trips grow slowly, even if a flow doubles its rate.
func (c *rateController) checkSlower(now instant, a *ackEvent) {
	m := &c.model
	s, ok := m.policer.slotEnded(now)
	if !ok {
		return
	}
	took, standing := instant(s.us)*1000, m.standing()
	before := m.policer.standing
	rising := before > 0 && standing > before+took*slowerRise/100
	m.policer.standing = standing
	rate := perSecond(int64(s.bytes), took)
	if !rising || !c.filled() || a.inFlight < c.bdp(100) || 2*rate >= m.bw {
		return
	}
	bw := max(rate*5/4, m.bwMax/4)
	m.filter = [2]int64{min(m.filter[0], bw), min(m.filter[1], bw)}
	m.bwMax = max(m.filter[0], m.filter[1])
	if c.probing() {
		c.startDown(now)
	}
}

// checkSustained bounds the bandwidth to what is delivered in the long run where the path does not
// sustain its best samples.
func (c *rateController) checkSustained(now instant) {
	p := &c.model.policer
	rate, loss := p.lastSecond()
	switch {
	case !c.filled() || c.loss.calmCount < 2:
	case !p.active():
		if rate = c.sustained(now, rate); rate > 0 && !c.probing() {
			c.police(now, rate)
		}
	case now >= p.until:
		p.until, p.ended = 0, now
	case now-p.at > second && loss > c.loss.calmRate(c.loss.floor)+policedLoss:
		p.rate, p.at = min(p.rate, rate), now
	}
}

// sustained returns the rate that the path has been found to sustain, 0 if that is the bandwidth. A
// path with a queue has no policer, nor one that discards nothing. Lost acknowledgements that are
// not repeated look like discarded segments.
func (c *rateController) sustained(now instant, lastSecond int64) int64 {
	m, l := &c.model, &c.loss
	if c.manner != acksRepeated || now-m.policer.queueAt < second {
		return 0
	}
	if c.state == rateCruise && m.unlimited > averageRounds {
		mean, bytes := m.average(averageRounds)
		if bytes >= sustainedLeast*c.mss && percent(mean, sustainedGain) < m.bw &&
			l.newest() > l.calmRate(0)+sustainedLoss {
			return mean
		}
	}
	if l.contrast(sustainedLoss) && percent(lastSecond, sustainedGainSecond) < m.bw {
		return lastSecond
	}
	return 0
}

// police bounds the bandwidth for a while, which is longer each time the path turns out not to
// sustain more.
func (c *rateController) police(now instant, rate int64) {
	m, p := &c.model, &c.model.policer
	if p.ended > 0 && now-p.ended < 3*second {
		p.lasts = min(2*p.lasts, policedMost)
	} else {
		p.lasts = policedFirst
	}
	p.rate, p.at, p.until = rate, now, now+p.lasts
	m.resetShort()
	m.filter = [2]int64{rate, rate}
	c.loss.forget()
	if c.inProbeBW() {
		c.startDown(now) // to measure the loss of a calm phase
	}
}
