// SPDX-License-Identifier: MIT

package kcp

// groupEnding is whether the open FEC group ends with a turn that does not fill it.
type groupEnding uint8

const (
	groupStays  groupEnding = iota
	groupYields             // it stays, but the parity held of the one before leaves now
	groupCloses             // likewise, and it gets its parity now
)

const (
	// parityWaitLeast is the shortest time in ms after which a pause of the program closes an FEC
	// group. Packets of one burst of writes stay in one group.
	parityWaitLeast = 2

	// parityMargin is how long before the peer's data would be retransmitted the parity leaves.
	parityMargin = 5
)

// parityWait returns how long after its latest data an FEC group is closed: early enough for its
// parity to arrive before a retransmission would.
func parityWait(c *core) millis {
	srtt := c.rtt.srtt()
	return max(parityWaitLeast, min(srtt/4, c.rto()-srtt-parityMargin))
}

// ending is called when the packets of a flush of c have been laid out. It returns whether the open
// FEC group is to be closed now: the program has paused, and data of the group may be lost (S2.23).
// No turn may be out.
func (t *turns) ending(c *core, w *packetWriter, now millis) groupEnding {
	if t.plan == nil {
		return groupStays
	}
	data := 0
	for i := range w.packets {
		if w.packets[i].limited > 0 {
			data++
		}
	}
	if data > 0 {
		t.plan.packets += uint32(data)
		t.keepOpen(now + parityWait(c))
		return groupStays
	}
	return t.closing(now, c.sendNxt == c.sendEnd, c.sendUna == c.sendNxt)
}

// namesGroups reports whether the parity that is sent names its groups.
func (t *turns) namesGroups() bool { return t.encoder != nil && t.encoder.format == fecNamed }

// closeEvent returns when the open group is to be closed, or never.
func (t *turns) closeEvent() millis {
	if t.plan == nil || t.plan.closeAt == 0 {
		return never
	}
	return t.plan.closeAt
}

// keepOpen notes that data for a group was laid out. The group is closed at that time, unless more
// data comes before.
func (t *turns) keepOpen(until millis) {
	if t.namesGroups() {
		t.plan.closeAt = until
	}
}

// closing returns whether the time has come to close the open group, if there is one. paused means
// that the program has paused, acked that nothing is left to be protected. No turn may be out.
func (t *turns) closing(now millis, paused, acked bool) groupEnding {
	if now < t.closeEvent() {
		return groupStays
	}
	t.plan.closeAt = 0
	switch {
	case !t.namesGroups() || t.encoder.idle():
	case acked:
		t.encoder.drop()
	case paused:
		return groupCloses
	case t.encoder.trail.left() > 0:
		return groupYields
	}
	return groupStays
}

// applyFEC sets the encoder to the wanted configuration. names means that the peer reads parity
// that names its group. It reports whether anything has changed. No turn may be out: the encoder is
// in use outside the lock while one is.
func (t *turns) applyFEC(names bool) (changed bool) {
	changed = t.applyShards()
	if names && t.encoder != nil && !t.namesGroups() {
		t.encoder.nameGroups()
		t.makePlan()
		if t.plan.chooses == fecAutomatic {
			t.encoder.save(100 * fecMostShare)
		}
		changed = true
	}
	return changed
}

func (t *turns) applyShards() (changed bool) {
	want := t.wanted
	if t.active == want.pair() {
		return false
	}
	t.active = want.pair()
	if t.encoder == nil {
		t.encoder, t.spare = t.spare, nil
	}
	switch {
	case want.data == 0:
		if t.encoder != nil {
			t.encoder.release()
		}
		t.encoder, t.spare = nil, t.encoder
	case t.encoder == nil:
		// Made for other shards first, so that it counts as a change to what the peer may have been
		// configured with.
		t.encoder, _ = newFECEncoder(1, 1)
		_ = t.encoder.setShards(want.data, want.parity)
	default:
		_ = t.encoder.setShards(want.data, want.parity)
	}
	return true
}
