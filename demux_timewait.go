// SPDX-License-Identifier: MIT

package kcp

// timeWait is the record of a session that has ended. With it, late segments open no session, a
// repeated FIN is answered, and data is answered by a RESET (S4.33).
type timeWait struct {
	endedSession
	until    millis
	queuedAt millis // the time by which it is sorted
}

const (
	timeWaitPeriod  millis = 10000
	timeWaitLongest millis = 5 * 60000
	// timeWaitMax bounds the records of one demux, at some 260 bytes each. If there are more, the
	// oldest is dropped.
	timeWaitMax = 1 << 16
)

// timeWaits are the records of one demux, guarded by its lock. One timer sweeps them in the order
// of their age. A renewed record goes to the end again.
type timeWaits struct {
	records map[sessionKey]*timeWait
	order   RingBuffer[sessionKey]
	timer   timerEntry
}

func (w *timeWaits) add(key sessionKey, e *endedSession) {
	if w.records == nil {
		w.records = make(map[sessionKey]*timeWait)
	}
	if w.order.Len() >= timeWaitMax {
		if oldest, ok := w.order.Pop(); ok {
			delete(w.records, oldest)
		}
	}
	r := &timeWait{endedSession: *e, until: e.born + timeWaitPeriod}
	r.queuedAt = r.until
	w.records[key] = r
	w.order.Push(key)
	w.timer.schedule(r.until.instant())
}

// get returns the record of key, or nil if there is none or it has expired.
func (w *timeWaits) get(key sessionKey, now millis) *timeWait {
	r := w.records[key]
	if r == nil || now >= r.until {
		return nil
	}
	return r
}

// renew extends the life of a record that was used.
func (r *timeWait) renew(now millis) {
	r.until = min(now+timeWaitPeriod, r.born+timeWaitLongest)
}

// drop removes the record of key.
func (w *timeWaits) drop(key sessionKey) { delete(w.records, key) }

func (w *timeWaits) clear() {
	w.records = nil
	w.order.Clear()
	w.timer.stop()
}

// sweep removes expired records and sets the timer for the rest.
func (w *timeWaits) sweep(now millis) {
	for {
		key, ok := w.order.Peek()
		if !ok {
			w.records, w.order = nil, RingBuffer[sessionKey]{} // neither shrinks otherwise
			return
		}
		r := w.records[*key]
		switch {
		case r == nil:
			w.order.Pop()
		case r.until <= now:
			delete(w.records, *key)
			w.order.Pop()
		case r.queuedAt != r.until:
			// The record was renewed since it was queued: it goes to the end.
			r.queuedAt = r.until
			w.order.Push(*key)
			w.order.Pop()
		default:
			w.timer.schedule(r.until.instant())
			return
		}
	}
}

// lateTS is how much older than the newest segment a late one can be, in milliseconds. A stream
// that begins with an older clock is that of a restarted peer.
const lateTS = 10000

// yields reports whether a record yields to the datagram (S1.40): a restarted peer has another
// incarnation. A restarted legacy peer begins a stream with an older clock.
func (w *timeWait) yields(first *segment, m *controlSet) bool {
	if first.cmd != cmdPush && !knocks(first, m) {
		return false
	}
	if m.has[ctlHello] && w.peer != 0 {
		return m.incarnation != w.peer
	}
	return w.peer == 0 && first.sn == 0 && first.una == 0 && w.newestTS.since(first.ts) > lateTS
}

// stray reports whether a datagram may be a restarted peer's (S1.41): a WASK that asks for a
// listener, or data whose HELLO was lost.
func (w *timeWait) stray(first *segment, m *controlSet, now millis) bool {
	if first.cmd == cmdWask {
		return m.has[ctlHello] && m.incarnation != w.peer && m.heard != w.incarnation
	}
	return w.peer != 0 && w.newestAt >= 0 && first.cmd == cmdPush &&
		!clockFits(first.ts, w.newestTS, now-w.newestAt)
}

// decideEnded decides about a datagram for a session that has ended and whose record does not
// yield.
func decideEnded(v *doorView, u *unknown) decision {
	w := v.record
	if w.stray(&u.first, &u.control, v.now) {
		return answerWindow() // S1.41
	}
	peer := w.peer
	if w.outcome == endedAborted && peer == 0 && u.control.has[ctlHello] {
		peer = u.control.incarnation // S1.43
	}
	d := decision{record: recordRenewed}
	if peer == 0 || u.control.has[ctlReset] {
		return d // S1.42
	}
	d.answerEnded(w, u, peer)
	if d.control.has[ctlReset] && u.nonce != nonceNone {
		// The HELLO names the session: see inputReset. Without a key it would be too long an answer
		// to an unknown peer.
		m := &d.control
		m.has[ctlHello], m.incarnation, m.heard = true, w.incarnation, w.peer
		m.largest = largestDatagram
	}
	return d
}

// answerEnded makes d a decision to answer for the session of w, if there is an answer. A RESET is
// for the incarnation peer.
func (d *decision) answerEnded(w *timeWait, u *unknown, peer uint64) {
	first, m := &u.first, &u.control
	newData := first.cmd == cmdPush && !first.sn.before(w.rcvNxt)
	var answer controlSet
	una := w.rcvNxt
	if newData {
		una = first.sn
	}
	reset := func(code uint16, echo uint64) {
		answer.has[ctlReset], answer.resetCode = true, code
		answer.resetFor, answer.echo = peer, echo
	}
	switch {
	case w.outcome == endedAborted: // S1.43
		reset(resetAborted, m.echoed())
	case newData: // S1.44
		reset(resetClosed, 0)
	case m.has[ctlFin]: // S1.45
		answer.has[ctlFinAck], answer.finalAcked = true, m.final
	case m.has[ctlPing]: // S1.46
		reset(resetClosed, m.echoed())
	case m.has[ctlHello] && m.incarnation == w.peer && asksWindow(u.segments): // S1.47
		// The peer waits for something of this session that will not come.
		reset(resetClosed, 0)
	case first.cmd == cmdPush: // S1.48
		// This is a repeated segment whose acknowledgement was lost.
		d.action = doorAnswer
		d.reply = segment{cmd: cmdAck, wnd: wndInitial, ts: first.ts, sn: first.sn, una: w.rcvNxt}
		return
	default:
		return
	}
	d.answer(&answer, una)
}
