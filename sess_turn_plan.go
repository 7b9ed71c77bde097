// SPDX-License-Identifier: MIT

package kcp

// A parityPlan is what a session keeps of the parity that it sends. The session's lock guards it.
type parityPlan struct {
	closeAt  millis // when the open group may be closed, 0: it was not begun or is to be filled
	nextAt   millis // when parity is chosen again
	lastAt   millis // when it was chosen
	packets  uint32 // data packets sent since then
	rate     int    // data packets a second
	lost     int    // of a million, as the retransmissions show
	again    int    // retransmissions for a million segments
	resent   uint64 // retransmissions made by lastAt
	sent     seqNum // segments sent by lastAt
	reports  fecTally
	reported uint32 // the peer has reported below this seqid
	sentTo   uint32 // the seqid of the next data packet
	backlog  uint8  // of the latest choices, in how many the program was not the limit
	chooses  fecChooser
}

// planEvery is the time in ms between choices.
const planEvery millis = 250

// makePlan makes the plan of a session that sends parity.
func (t *turns) makePlan() {
	if t.plan == nil {
		t.plan = new(parityPlan)
	}
	t.plan.reported = t.encoder.next
	t.plan.sentTo = t.encoder.next
}

// choosesParity sets who chooses the groups, before the first turn.
func (t *turns) choosesParity(chooser fecChooser) {
	if chooser == fecAutomatic {
		t.plan = &parityPlan{chooses: chooser}
	}
}

// adapt chooses the groups by what the path does, from time to time (S2.25). A peer that does not
// read named groups is never sent others than at first.
func (t *turns) adapt(c *core, now millis) {
	p := t.plan
	if p == nil || p.chooses != fecAutomatic || now < p.nextAt || !c.ctl.readsGroups() {
		return
	}
	first := p.lastAt == 0
	p.measure(c, now)
	if first {
		t.wanted = fecShards{}
		return
	}
	path := fecPath{
		rtt: c.rtt.srtt(), rto: c.rto(), packets: p.rate, lost: p.lost,
	}
	if t.encoder != nil && p.reports.known() {
		path.lost, path.longest = p.reports.share(), int(p.reports.longest)
	}
	want := path.shards(t.wanted.data > 0)
	if p.backlog > 0 || c.congested() {
		want = fecShards{}
	}
	if want.data == 0 {
		p.reports = fecTally{}
	}
	if t.encoder != nil {
		// What is sent again is within the same bounds.
		t.encoder.save(max(100*fecMostShare-p.again/1000, 0))
	}
	t.wanted = want
}

// measure takes what has happened since the last choice.
func (p *parityPlan) measure(c *core, now millis) {
	took := max(now-p.lastAt, 1)
	resent := c.stats.fastRetrans + c.stats.earlyRetrans + c.stats.timeoutRetrans -
		min(c.stats.spurious, c.stats.timeoutRetrans)
	sent := int(p.sent.distance(c.sendNxt))
	if p.lastAt != 0 && took < 10*planEvery && sent > 0 {
		rate := int(millis(p.packets) * 1000 / took)
		p.rate += (rate - p.rate) / 4
		if p.rate == 0 {
			p.rate = rate
		}
		again := int(min(max(int64(resent-p.resent), 0)*1_000_000/int64(sent), 1_000_000))
		p.again += (again - p.again) / 16
		p.lost += (max(c.lossShare(), min(again, min(sent, 16)*60_000)) - p.lost) / 16
	}
	p.backlog -= min(p.backlog, 1)
	if c.backlogged() {
		p.backlog = 8
	}
	p.packets, p.resent, p.sent = 0, resent, c.sendNxt
	p.lastAt, p.nextAt = now, now+planEvery
}

// noteSent is called when a turn has ended.
func (t *turns) noteSent() {
	if t.namesGroups() {
		t.plan.sentTo = t.encoder.next
	}
}

// hear takes a report of the peer and returns how many packets parity has recovered. A report on
// what has been reported before is repeated or late, and tells nothing. ok is false if it is not
// about what was sent (S4.47).
func (t *turns) hear(r *parityReport) (recovered uint32, ok bool) {
	p := t.plan
	if p == nil || int32(p.sentTo-r.last) <= 0 {
		return 0, false
	}
	if int32(r.first-p.reported) < 0 {
		return 0, true
	}
	p.reported = r.last + 1
	p.reports.add(r)
	return r.recovered, true
}
