// SPDX-License-Identifier: MIT

package simnet

// transmit puts p on the wire at t: it is lost, or one or two deliveries are
// scheduled.
func (l *Link) transmit(p *packet, t int64) {
	if l.state == Down || l.profile.Outage.active(t) {
		l.drop(p, LossOutage, t)
		return
	}
	if why, lost := l.lossFor(p.index); lost {
		l.drop(p, why, t)
		return
	}
	var second *packet
	if chance(draw(l.key, p.index, drawDuplicate), l.profile.Duplicate) {
		second = l.net.pool.get(p.data)
		data := second.data
		*second = *p
		second.data = data
		l.stats.Duplicated++
		l.stats.InTransit++
	}
	due := l.propagate(p, t, 0)
	if second != nil {
		apart := below(draw(l.key, second.index, drawDuplicateDelay), int64(l.profile.DuplicateDelay)+1)
		l.corrupt(second, drawCopy)
		l.schedule(due+apart, second)
	}
}

// lossFor decides whether packet index is lost. Each process takes its step, whatever the others
// decide, so that they stay independent.
func (l *Link) lossFor(index uint64) (why Cause, lost bool) {
	pr := &l.profile
	if l.lossRuns(index) {
		why, lost = LossRun, true
	}
	if l.burst(index) {
		why, lost = LossBurst, true
	}
	if chance(draw(l.key, index, drawLoss), pr.Loss) && (pr.LossMaxRun == 0 || l.lossRun < pr.LossMaxRun) {
		l.lossRun++
		return LossRandom, true
	}
	l.lossRun = 0
	return why, lost
}

// burst takes a step of the Gilbert-Elliott chain.
func (l *Link) burst(index uint64) bool {
	g := &l.profile.Burst
	if *g == (GilbertElliott{}) {
		l.bad = false
		return false
	}
	change, loss := g.ToBad, g.LossGood
	if l.bad {
		change = g.ToGood
	}
	if chance(draw(l.key, index, drawBurstStep), change) {
		l.bad = !l.bad
	}
	if l.bad {
		loss = g.LossBad
	}
	return chance(draw(l.key, index, drawBurstLoss), loss)
}

// lossRuns takes a step of Profile.Runs.
func (l *Link) lossRuns(index uint64) bool {
	r := &l.profile.Runs
	l.run = min(l.run, r.Length)
	if l.run == 0 && chance(draw(l.key, index, drawRun), r.Start) {
		l.run = r.Length
	}
	if l.run == 0 {
		return false
	}
	l.run--
	return true
}

// propagate schedules the delivery of p, which left at t, and returns when.
func (l *Link) propagate(p *packet, t int64, copied purpose) int64 {
	pr := &l.profile
	l.corrupt(p, copied)
	due := t + int64(pr.Delay) + p.extra
	due += below(draw(l.key, p.index, drawJitter), int64(pr.Jitter)+1)
	inOrder := p.extra == 0 && !pr.JitterReorders
	if chance(draw(l.key, p.index, drawReorder), pr.Reorder) {
		due += int64(pr.ReorderDelay)
		inOrder = false
		l.stats.Reordered++
	}
	due = max(due, p.at+1)
	if inOrder {
		due = max(due, l.lastDue)
		l.lastDue = due
	}
	l.schedule(due, p)
	return due
}

// corrupt flips bits of p, all different, with the probability of the profile.
func (l *Link) corrupt(p *packet, copied purpose) {
	size := int64(len(p.data)) * 8
	if size == 0 || !chance(draw(l.key, p.index, drawCorrupt+copied), l.profile.Corrupt) {
		return
	}
	l.stats.Corrupted++
	flips := min(max(int64(l.profile.CorruptBits), 1), size)
	at := below(draw(l.key, p.index, drawCorruptFirst+copied), size)
	// flips steps of this size do not reach round to the first.
	step := 1 + below(draw(l.key, p.index, drawCorruptStep+copied), size/flips)
	for range flips {
		p.data[at/8] ^= 1 << (at % 8)
		at = (at + step) % size
	}
	p.sum = l.net.digest(p.data)
}

// deliver ends the way of p at instant t.
func (n *Network) deliver(p *packet, t int64) {
	l, b := p.link, n.routed[p.dst]
	switch e := b.node.endpoint; {
	case !b.open:
		l.drop(p, LossNAT, t)
	case e == nil:
		l.drop(p, LossNoRoute, t)
	default:
		index, sum, size := p.index, p.sum, len(p.data)
		if !e.accept(p, t) {
			l.drop(p, LossBuffer, t)
			return
		}
		n.record(l, t, verdictDelivered, index, sum, size)
		l.stats.Delivered++
		l.stats.DeliveredBytes += uint64(size)
		l.stats.InTransit--
	}
}
