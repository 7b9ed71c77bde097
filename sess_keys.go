// SPDX-License-Identifier: MIT

package kcp

// sessionKeys are the keys that a session has of its own (S3.14). The session's lock guards
// them, except that packets are sealed without it.
//
// A session whose cipher was not made from a key has no ring, nor has one whose peer makes no keys.
// The id of the ring is 0 while the session is under the pre-shared key. An idle session keeps the
// ring alone.
type sessionKeys struct{ ring *keyring }

// A keyring holds the keys of one handshake, and of the newest one what is needed while the session
// is busy.
type keyring struct {
	packetKeys
	work *keyWork
}

// keyWork is what a session needs besides its keys while packets come and go, or keys are made.
type keyWork struct {
	exchange keyExchange
	asker    *kexAsker             // has sent KEX1
	answered [kexMessage1Size]byte // the KEX1 that was answered last
	heard    kexMessage            // to be processed without the session's lock

	sealer *sealer       // of the ring
	opener *packetOpener // of the ring
	next   *keyring      // answered by this side; no packet under them has come
	nextIn *packetOpener
	old    *keyring // replaced by the ring; nil: by which the pre-shared key was replaced
	oldIn  *packetOpener
	// oldUntil is when packets under the old keys, or the pre-shared one, no longer count. It is
	// never until a packet under the new keys has come.
	oldUntil millis

	limit   millis       // when required keys must be there; never until they are asked for
	askedAt millis       // when a KEX1 was last taken; 0: never
	usedAt  millis       // when a packet was last sealed or opened
	probed  announcement // PINGs under the pre-shared key
	number  uint64       // of these
	making  keyTask
	demand  keyDemand
	pending int32 // most unvalidated sessions with which an unvalidated peer is answered
}

// keyTask is what is to be computed for a handshake without the session's lock.
type keyTask uint8

const (
	keyNoTask   keyTask = iota
	keyAsks             // KEX1 of new keys
	keyAnswers          // KEX2
	keyFinishes         // the keys, from KEX2
	keyBusy             // one of these is being computed
)

const (
	// keyIdle is how long a session keeps the contexts of its keys without a packet. Making them
	// takes some microseconds, and they take 3 KB.
	keyIdle millis = 5000
	// keyOldMost bounds how long packets under replaced keys count (S3.20).
	keyOldMost millis = 10_000
	// keyAgeMost is the age at which the keys of a session with traffic are changed.
	keyAgeMost millis = 3_600_000
	// keyPause is the least time between two handshakes that a peer asks for. It bounds what a
	// hostile one can make this side compute.
	keyPause millis = 1000
	// keyProbePause is the longest time between two PINGs under the pre-shared key.
	keyProbePause millis = 5000
	// keyPendingShare is the share of MaxPending up to which unvalidated sessions are answered. A
	// flood of recorded openings thus causes few handshakes.
	keyPendingShare = 16
)

// begin lets the session make keys.
func (k *sessionKeys) begin(demand keyDemand, maxPending int) {
	k.ring = &keyring{work: &keyWork{
		oldUntil: never, limit: never, demand: demand,
		pending: int32(max(1, maxPending/keyPendingShare)),
	}}
}

// possible reports whether the session has keys or may still make some.
func (k *sessionKeys) possible() bool { return k.ring != nil }

// have reports whether this side sends under keys of the session.
func (k *sessionKeys) have() bool { return k.ring != nil && k.ring.id != 0 }

// required reports whether the program requires keys, as far as that is still to be decided.
func (k *sessionKeys) required() bool {
	return k.ring != nil && k.ring.work != nil && k.ring.work.demand == keysRequired
}

// refuse notes that the peer makes no keys.
func (k *sessionKeys) refuse() {
	if k.ring != nil && k.ring.id == 0 {
		k.ring = nil
	}
}

// open returns what is needed while the session is busy.
func (k *sessionKeys) open() *keyWork {
	if k.ring.work == nil {
		k.ring.work = &keyWork{limit: never}
	}
	return k.ring.work
}

// sealing returns what seals under the keys, of which there must be some.
func (k *sessionKeys) sealing(source *keySource, now millis) *sealer {
	w := k.open()
	if w.sealer == nil {
		w.sealer = k.ring.sealing(source)
	}
	w.usedAt = now
	return w.sealer
}

// underPreShared reports whether a packet under the pre-shared key counts.
func (k *sessionKeys) underPreShared(now millis) bool {
	if !k.have() {
		return true
	}
	w := k.ring.work
	if w == nil || w.old != nil || w.demand == keysRequired && w.oldUntil != never {
		return false
	}
	return now < w.oldUntil
}

// opener returns what opens the packets with a receiver id, nil if they no longer count.
func (k *sessionKeys) opener(id uint32, source *keySource, now millis) *packetOpener {
	if k.ring == nil {
		return nil
	}
	if k.ring.id == id && id != 0 {
		w := k.open()
		if w.opener == nil {
			w.opener = k.ring.opening(source)
		}
		return w.opener
	}
	switch w := k.ring.work; {
	case w == nil:
	case w.next != nil && w.next.id == id:
		if w.nextIn == nil {
			w.nextIn = w.next.opening(source)
		}
		return w.nextIn
	case w.old != nil && w.old.id == id && now < w.oldUntil:
		return w.oldIn
	}
	return nil
}

// opened notes that a packet was opened by o. The first one under new keys ends the exchange, and
// soon the old keys (S3.20). It returns whether this side sends under new keys from now on.
func (k *sessionKeys) opened(o *packetOpener, now, rto millis) (changed bool) {
	w := k.open()
	w.usedAt = now
	if w.next != nil && o == w.nextIn {
		k.replace(w.next)
		w.opener, w.next, w.nextIn = o, nil, nil
		w.exchange.end()
		changed = true
	}
	if o == w.opener && w.oldUntil == never {
		w.oldUntil = now + min(3*rto, keyOldMost)
	}
	return changed
}

// replace makes ring the keys that this side sends under.
func (k *sessionKeys) replace(ring *keyring) {
	w := k.ring.work
	w.old, w.oldIn = nil, nil
	if k.ring.id != 0 {
		w.old, w.oldIn = k.ring, w.opener
	}
	k.ring.work, ring.work = nil, w
	w.sealer, w.opener, w.oldUntil = nil, nil, never
	k.ring = ring
}

// expire forgets old keys whose time is over, and returns their id, 0 if there are none.
func (k *sessionKeys) expire(now millis) (id uint32) {
	if k.ring == nil || k.ring.work == nil {
		return 0
	}
	if w := k.ring.work; w.old != nil && now >= w.oldUntil {
		id = w.old.id
		w.old, w.oldIn = nil, nil
	}
	return id
}

// releaseIdle forgets what an idle session does not need.
func (k *sessionKeys) releaseIdle(now millis) {
	if now >= k.idleAt() {
		k.ring.work = nil
	}
}

// idleAt returns when the session is idle if no packet comes, never if nothing is to be forgotten.
func (k *sessionKeys) idleAt() millis {
	if !k.have() || k.ring.work == nil {
		return never
	}
	w := k.ring.work
	if !w.exchange.over() || w.next != nil || w.making != keyNoTask || w.oldUntil == never {
		return never
	}
	return max(w.usedAt+keyIdle, w.oldUntil)
}

// rider returns what a flush carries.
func (k *sessionKeys) rider(now millis) rider {
	if k.ring == nil || k.ring.work == nil {
		return rider{}
	}
	return k.ring.work.exchange.rider(now)
}

// rode notes what has become of it.
func (k *sessionKeys) rode(r *rider, now, rto millis) {
	if r.state != riderNone && k.ring != nil && k.ring.work != nil {
		k.ring.work.exchange.rode(r, now, rto)
	}
}

// exchangeAt returns when a message of an exchange is to be sent.
func (k *sessionKeys) exchangeAt() millis {
	if k.ring == nil || k.ring.work == nil {
		return never
	}
	return k.ring.work.exchange.event()
}

// knows notes that the peer makes keys.
func (k *sessionKeys) knows(now, rto millis) {
	if k.ring != nil && k.ring.work != nil {
		k.ring.work.exchange.knows(now, rto)
	}
}

// worn reports whether the keys are to be changed (S3.19).
func (k *sessionKeys) worn(now millis) bool {
	if !k.have() {
		return false
	}
	r := k.ring
	return r.sent.Load() >= sessionKeyWorn || r.next >= sessionKeyWorn ||
		now-k.since() >= keyAgeMost
}

// since returns when the keys were made, on the session's clock, with an error of a second.
func (k *sessionKeys) since() millis { return millis(k.ring.since) * 1000 }

// setSince notes when keys were made.
func (r *keyring) setSince(now millis) { r.since = uint32(now / 1000) }

// rests reports whether no exchange is under way.
func (k *sessionKeys) rests() bool {
	w := k.open()
	return w.exchange.over() && w.making == keyNoTask && w.next == nil
}

// expect sets when required keys must be there.
func (k *sessionKeys) expect(limit millis) {
	if w := k.open(); w.limit == never {
		w.limit = limit
	}
}

// limitAt returns when the session ends unless it has keys, which are required.
func (k *sessionKeys) limitAt() millis {
	if k.have() || !k.required() {
		return never
	}
	return k.ring.work.limit
}

// probeAt returns when the peer is to be asked under the pre-shared key whether it has lost the
// session, and with it the keys. missed is when its answer is an RTO late (S3.22).
func (k *sessionKeys) probeAt(missed millis) millis {
	if missed == never || !k.have() || k.ring.work == nil {
		return never
	}
	return max(missed, k.ring.work.probed.at)
}

// probe returns the number of the PING, and sets when it is repeated. heardAt is when something
// last came from the peer.
func (k *sessionKeys) probe(draw func() uint64, now, heardAt, rto millis) (number uint64) {
	w := k.ring.work
	if heardAt > w.probed.at || w.number == 0 {
		w.probed.tries, w.number = 0, draw()|1
	}
	w.probed.left(now+min(backoff(rto, w.probed.tries, true), keyProbePause), maxLevel)
	return w.number
}

// denied reports whether a RESET with that echo answers the PING under the pre-shared key, and
// forgets its number.
func (k *sessionKeys) denied(echo uint64) bool {
	if !k.have() || k.ring.work == nil || echo == 0 || echo != k.ring.work.number {
		return false
	}
	k.ring.work.number = 0
	return true
}

// ids returns the receiver ids of all keys that the session has.
func (k *sessionKeys) ids() (ids [3]uint32) {
	if k.ring == nil {
		return ids
	}
	ids[0] = k.ring.id
	if w := k.ring.work; w != nil {
		if w.next != nil {
			ids[1] = w.next.id
		}
		if w.old != nil {
			ids[2] = w.old.id
		}
	}
	return ids
}

// hear notes a message of the peer for an exchange, if it is to be processed. asks reports whether
// this side is the one that asks, fresh whether the message came under the newest keys that the
// session has. It returns true for a KEX2 behind an exchange that is over, whose sender has not
// heard of that.
func (k *sessionKeys) hear(m *kexMessage, asks, fresh bool, now millis) (repeated bool) {
	w := k.open()
	switch {
	case w.making != keyNoTask:
	case m.kind == ctlKex2 && w.exchange.asking() && w.asker != nil:
		w.take(m, keyFinishes)
	case m.kind == ctlKex2:
		return k.have() && asks
	case asks || !fresh || len(m.data) < kexMessage1Size:
	case w.answered == [kexMessage1Size]byte(m.data):
		w.exchange.again(now)
	case w.askedAt == 0 || now-w.askedAt >= keyPause:
		w.askedAt = now
		w.take(m, keyAnswers)
	}
	return false
}

// take keeps a message to be processed.
func (w *keyWork) take(m *kexMessage, task keyTask) {
	w.heard = kexMessage{m.kind, append([]byte(nil), m.data...)}
	w.making = task
}

// ask makes the session ask for keys.
func (k *sessionKeys) ask() {
	if k.ring != nil {
		k.open().making = keyAsks
	}
}

// due reports whether something is to be computed now. pending is how many sessions wait for the
// validation of their address, as this one does if waits is true (S4.51).
func (k *sessionKeys) due(waits bool, pending int64) bool {
	if k.ring == nil || k.ring.work == nil {
		return false
	}
	switch w := k.ring.work; w.making {
	case keyNoTask, keyBusy:
		return false
	case keyAnswers:
		return !waits || pending <= int64(w.pending)
	}
	return true
}

// A keyJob is something to be computed for a handshake.
type keyJob struct {
	task     keyTask
	source   *keySource
	prologue []byte
	own      kexPeer // this side; the id is drawn later
	peer     kexPeer // what KEX2 must say
	message  []byte
	asker    *kexAsker
	ring     *keyring // the keys, if there are new ones
}

// job takes what is to be computed.
func (k *sessionKeys) job() (j keyJob) {
	if k.ring == nil || k.ring.work == nil {
		return j
	}
	w := k.ring.work
	j.task, j.message, j.asker = w.making, w.heard.data, w.asker
	if j.task != keyNoTask {
		w.making, w.heard = keyBusy, kexMessage{}
	}
	return j
}

// run computes it. add makes the keys of an id known, and returns false if the id is taken. It
// reports success.
func (j *keyJob) run(draw func() uint64, add func(*keyring) bool) bool {
	j.ring = new(keyring)
	var err error
	switch j.task {
	case keyAsks:
		for j.own.id == 0 {
			j.own.id = uint32(draw())
		}
		j.asker, j.message, err = j.source.ask(j.prologue, j.own.id, nil)
		return err == nil
	case keyAnswers:
		answered := j.message
		for j.ring.id == 0 || !add(j.ring) {
			j.ring = &keyring{}
			j.ring.id = uint32(draw())
		}
		j.own.id = j.ring.id
		j.message, err = j.source.answer(j.prologue, answered, j.own, &j.ring.packetKeys, nil)
		return err == nil
	}
	said, err := j.asker.finish(j.message, &j.ring.packetKeys)
	j.peer.id = said.id
	if err == nil && said == j.peer && add(j.ring) {
		return true
	}
	if err == nil {
		j.task = keyAsks // Noise does not let the handshake be completed again
	}
	j.ring = new(keyring) // of no id
	return false
}

// done installs what a job has computed. retired is the id of keys that are not used any more. It
// reports whether this side has something to send.
func (k *sessionKeys) done(
	j *keyJob, made bool, heard []byte, now millis,
) (retired uint32, due bool) {
	w := k.open()
	w.making = keyNoTask
	if !made {
		if j.task == keyAsks && w.asker == j.asker {
			w.exchange.end()
			w.asker = nil
		}
		return j.ring.id, false
	}
	j.ring.setSince(now)
	switch j.task {
	case keyAsks:
		w.asker = j.asker
		if k.have() {
			w.exchange.renew(j.message, now)
			return 0, true
		}
		w.exchange.ask(j.message)
		return 0, false
	case keyAnswers:
		if w.next != nil {
			retired = w.next.id
		}
		w.next, w.nextIn, w.asker = j.ring, nil, nil
		copy(w.answered[:], heard)
		w.exchange.answer(j.message, now)
	case keyFinishes:
		if w.old != nil {
			retired = w.old.id
		}
		w.asker = nil
		w.exchange.end()
		k.replace(j.ring)
	}
	return retired, true
}
