// SPDX-License-Identifier: MIT

package kcp

// A verdict is a decision of the door with the sessions that it concerns.
type verdict struct {
	decision
	backlog *backlog
	older   []*UDPSession // sessions that end if one opens
}

// judge lets the door decide about a datagram without a session, and records the decision.
func (d *demux) judge(u *unknown, key *sessionKey, now millis) (v verdict) {
	d.mu.Lock()
	defer d.mu.Unlock()
	view := doorView{now: now, record: d.waits.get(*key, now)}
	v.backlog = d.backlog
	if v.backlog != nil {
		v.older = d.lookLocked(&view, u, key)
	}
	v.decision = decide(&view, u)
	v.older = v.older[:v.superseded]
	switch v.record {
	case recordRenewed:
		view.record.renew(now)
	case recordYields:
		d.waits.drop(*key)
	}
	d.admission.note(&v.decision, key, now)
	if v.count == countQueueFull {
		v.backlog.refuse()
	}
	return v
}

// lookLocked fills in the listener's state that a datagram concerns. It returns the sessions that a
// new one would supersede.
func (d *demux) lookLocked(view *doorView, u *unknown, key *sessionKey) (older []*UDPSession) {
	view.room = acceptPlenty
	if !u.opening() {
		if d.admission.answers(&u.first, key, view.now) {
			view.address = addressAnswers
		}
		return nil
	}
	b := d.backlog
	view.room = b.room()
	view.limits = admissionLimits{b.opts.maxSessions, b.opts.maxPending, b.opts.maxPerPrefix}
	view.sessions, view.pending = d.sessions.live, int(d.pending.Load())
	d.admission.look(view, key)
	older, shared := d.older(&key.peer)
	if shared && !u.control.has[ctlHello] {
		older = nil // the new session most likely shares the address too
	}
	view.older = len(older)
	return older
}
