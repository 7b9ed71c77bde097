// SPDX-License-Identifier: MIT

package kcp

import "sync/atomic"

// A turn is one transmission of one owner. It has the packets that were laid out under the owner's
// lock, and what is needed to finish and count them without it. Until the turn has ended no other
// goroutine transmits for the owner.
type turn struct {
	owner turnOwner
	destination
	now millis // when the packets were laid out

	sealer   *sealer
	encoder  *fecEncoder // nil without FEC
	ending   groupEnding
	remember bool // the nonces of the packets are to be remembered
	dup      int  // further copies wanted: if any, the packets join no other run
	copies   int  // further copies of each packet
	reserved int  // bytes of parity that may be sent

	packets int // sent, parity and copies included
	bytes   int
	parity  int         // of the packets
	limited int         // bytes that count against the rate limit
	receipt rateReceipt // what was charged for them
	err     error       // of the last packet that could not be sealed

	log  *atomic.Pointer[logger]
	logs []logRecord // reported after the turn, for whose end the logger may wait
}

// turnPacketsMax is the most packets that one turn lays out before another one follows.
const turnPacketsMax = 128

// A turnOwner has packets to send: a session, or an out-of-band packet of one.
type turnOwner interface {
	// lock acquires the lock under which unlockAndBeginTurn is called.
	lock()
	// unlockAndBeginTurn lays out in w the packets that are due at now, in the scheduler's time. It
	// sets t to what is needed to send them, or leaves t.owner nil if there are none. If w lacks
	// room even for the least, it lays out nothing and returns how many bytes are needed.
	unlockAndBeginTurn(t *turn, now instant, w *packetWriter, n *counters) (need int)
	// endTurn is called without a lock when the packets have been handed to the socket. It reports
	// whether the owner is to have another turn at once.
	endTurn(t *turn) (again bool)
}

// multiply counts each packet so many times.
func (t *turn) multiply(times int) {
	t.packets *= times
	t.parity *= times
	t.bytes *= times
	t.limited *= times
}

// report reports the events of the turn. No lock may be held.
func (t *turn) report() {
	if t.log != nil {
		t.log.Load().report(t.logs)
	}
}

// A turnPhase is a state of the transmitting side of a session.
type turnPhase uint8

const (
	turnNone  turnPhase = iota
	turnOut             // a turn has begun and not ended
	turnAgain           // likewise, and another one is to follow
)

// turns is the transmitting side of a session: the turn that is out, and the state that lasts from
// turn to turn. The session's lock guards it, except that the encoder belongs to the goroutine
// that has the turn.
type turns struct {
	phase   turnPhase
	queued  bool          // waits in the socket's coalescer
	group   turnGroup     // of the turn that is out
	current turnGroup     // of the packets to come
	active  fecPair       // the encoder's
	under   [2]int32      // turns of each group that are not out yet
	drained chan struct{} // closed when the group that is not current is empty; nil if it is

	wanted  fecShards // what SetFEC asked for; applied when no turn is out
	encoder *fecEncoder
	spare   *fecEncoder // keeps its count of shards while FEC is off
	plan    *parityPlan // nil unless parity is chosen by the library, or named
}

// busy reports whether a turn is out.
func (t *turns) busy() bool { return t.phase != turnNone }

// repeat makes another turn follow the one that is out.
func (t *turns) repeat() {
	if t.phase == turnOut {
		t.phase = turnAgain
	}
}

// begin notes that a turn is out. more means that there was no room for all: another turn is to
// follow.
func (t *turns) begin(more bool) {
	t.phase = turnOut
	if more {
		t.phase = turnAgain
	}
	t.group = t.join()
}

// end notes that the turn is over. It reports whether another one is to follow.
func (t *turns) end() (again bool) {
	again = t.phase == turnAgain
	t.phase = turnNone
	t.leave(t.group)
	return again
}

// frame sets up w for packets of at most limit bytes of segments. It returns how many bytes of room
// are needed at least, 0 if there is enough.
func (t *turns) frame(w *packetWriter, sealer *sealer, limit int) (need int) {
	w.headroom, w.tailroom, w.limit = sealer.headroom(), sealer.tailroom(), limit
	w.packets = w.packets[:0]
	w.maxPackets = turnPacketsMax
	w.shares = t.encoder == nil && sealer.block == nil
	k, p := 0, 0
	if t.encoder != nil {
		w.headroom += fecHeaderSize
		k, p = int(t.active.data), int(t.active.parity)+t.encoder.trail.left()
	}
	perPacket := w.headroom + w.limit + w.tailroom
	free := (len(w.arena) - w.start) / perPacket
	if free < 1+p {
		return (2 + p) * perPacket
	}
	if p > 0 {
		// Parity packets follow in the same arena: leave them their share.
		w.maxPackets = max(1, min(turnPacketsMax, (free-p)*k/(k+p)))
	}
	return 0
}

// fecHeader returns how many bytes FEC adds to a datagram.
func (t *turns) fecHeader() int {
	switch {
	case t.namesGroups():
		return fecHeaderSize + fecGroupOverhead
	case t.encoder != nil || t.wanted.data > 0:
		return fecHeaderSize
	}
	return 0
}

// releaseEncoder releases the encoder's buffers. No turn may be out.
func (t *turns) releaseEncoder() {
	if t.encoder != nil {
		t.encoder.release()
	}
}

// releaseIdle releases the buffers of an encoder that has nothing to do.
func (t *turns) releaseIdle() {
	if !t.busy() && t.encoder != nil && t.encoder.idle() {
		t.encoder.release()
	}
}

// rateScale returns how many thousandths of a byte leave for each byte of a segment.
func (t *turns) rateScale(copies int) int64 {
	scale := int64(1000)
	if k, p := int64(t.active.data), int64(t.active.parity); k > 0 {
		scale = scale * (k + p) / k
	}
	return scale * int64(1+copies)
}

// A turnGroup is a group of packets that were laid out before some moment, or after it. A caller
// can wait until the former are out. New packets join the current one of two groups. A caller that
// waits makes the other one current, which is empty then. A stream of new packets cannot prolong
// the wait.
type turnGroup uint8

// join is called when packets have been laid out, and leave with its result when they are out.
func (t *turns) join() turnGroup {
	t.under[t.current]++
	return t.current
}

func (t *turns) leave(g turnGroup) {
	if t.under[g]--; t.under[g] == 0 && g != t.current && t.drained != nil {
		close(t.drained)
		t.drained = nil
	}
}

// split returns a channel that is closed when all that is laid out now is out, or nil. ours is
// false if it was asked for by an earlier call, so that it does not cover all.
func (t *turns) split() (drained chan struct{}, ours bool) {
	switch {
	case t.drained != nil:
		return t.drained, false
	case t.under[t.current] == 0:
		return nil, true
	}
	t.drained = make(chan struct{})
	t.current ^= 1
	return t.drained, true
}
