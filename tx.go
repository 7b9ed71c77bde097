// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// txScratch is what a goroutine that sends works with: an arena that packets are built in, the
// batch for the next system calls, and the turns in it. It belongs to one goroutine at a time.
type txScratch struct {
	w        packetWriter
	socket   *txSocket // of the batch
	manner   txManner
	batch    []outgoing
	shared   int // bytes of the batch that are not in the arena
	turns    []turn
	again    []turnOwner // have more to send once the batch is out
	counters counters
}

// txManner is what a goroutine does that finds the buffer of a socket full.
type txManner uint8

const (
	txWaits  txManner = iota // for a bounded time: it serves no other socket
	txLeaves                 // leaves the batch to another goroutine: others must not wait
)

// txSocket is a socket with what sending through it needs.
type txSocket struct {
	io     batchConn
	sched  *TimedSched
	aead   *aeadCrypt // counts the packets sealed and opened; nil for other ciphers
	errors socketErrors
	closed func() // is called if the socket was closed by another; nil for a foreign connection
	// refused is called for a datagram that was too large for the socket. No lock may be held.
	refused func(o *outgoing)
	probes  wholeness // of probes of a path's MTU

	ready  readyWriter  // io, if it can send without waiting, or nil
	behind atomic.Int32 // batches that were left to a goroutine of their own

	maxRunBytes    int
	maxRunSegments int

	coalescer coalescer
}

// init sets k up for the connection io and the scheduler sched. aead, which may be nil, is the
// socket's cipher.
func (k *txSocket) init(io batchConn, sched *TimedSched, aead *aeadCrypt) {
	k.io, k.sched, k.aead = io, sched, aead
	k.ready, _ = io.(readyWriter)
	k.maxRunBytes, k.maxRunSegments = io.maxRun()
	k.coalescer.socket = k
	sched.bind(&k.coalescer.entry, &k.coalescer)
}

// unlockAndFlush sends what is due for o from the caller's goroutine. The lock of o is held and is
// released. now is the scheduler's time.
func (k *txSocket) unlockAndFlush(o turnOwner, now instant) {
	tx := txPool.Get().(*txScratch)
	tx.reserve(k, 0) // an empty batch: nothing is sent
	tx.unlockAndFlush(k, o, now)
	tx.finish()
	tx.release()
}

// flushTimed sends what is due for o at the end of a scheduler worker's wake-up.
func (k *txSocket) flushTimed(o turnOwner, b *timedBatch) { scratchOf(b).flush(k, o) }

// sendTimed sends s, sealed by sealer, at the end of a scheduler worker's wake-up.
func (k *txSocket) sendTimed(s *segment, sealer *sealer, to *destination, b *timedBatch) {
	scratchOf(b).lay(k, s, sealer, to)
	k.countSealed(1)
}

// wrote notes the outcome of a batch. A datagram that the socket refused is a loss like any other:
// ARQ makes up for it.
func (k *txSocket) wrote(sent, lost int, err error) {
	if lost == 0 {
		return
	}
	k.errors.lost.Add(uint64(lost))
	switch {
	case err == nil:
	case !errors.Is(err, net.ErrClosed):
		k.errors.note(socketWrite, err)
	case k.closed != nil:
		go k.closed() // it may be the goroutine of a session, or one that serves many
	}
}

// noteRefused looks for datagrams of a batch that were too large for the socket.
func (k *txSocket) noteRefused(batch []outgoing) {
	for i := range batch {
		if o := &batch[i]; o.refused > 0 && k.refused != nil {
			k.refused(o)
			o.refused = 0
		}
	}
}

// countSealed counts packets that were sealed or opened with the socket's cipher, and calls the
// hook, once, when the key is to be changed. No lock may be held.
func (k *txSocket) countSealed(packets int) {
	if k.aead == nil || packets == 0 || !k.aead.used(packets) {
		return
	}
	if k.errors.worn.Load() || k.errors.worn.Swap(true) {
		return
	}
	if hook := k.errors.hook.Load(); hook != nil {
		go (*hook)("key", errKeyUsed)
	}
}

// txArena is the size of an arena. It holds several of the largest runs that a socket takes at once
// (64 KiB), and fits a processor's second-level cache.
const txArena = 256 << 10

var txPool = sync.Pool{New: func() any { return new(txScratch) }}

// scratchOf returns what the tasks of one wake-up of a scheduler worker send with.
func scratchOf(b *timedBatch) *txScratch {
	if b.work == nil {
		tx := txPool.Get().(*txScratch)
		tx.manner = txLeaves
		b.work = tx
	}
	return b.work.(*txScratch)
}

// release returns tx to the pool. It must be finished.
func (tx *txScratch) release() {
	tx.manner = txWaits
	txPool.Put(tx)
}

// reserve makes room for packets behind what the arena holds already. It sends the batch first if
// it is for another socket or the arena is well filled. No lock may be held.
func (tx *txScratch) reserve(k *txSocket, need int) {
	if tx.socket == k && tx.shared < txArena && len(tx.w.arena)-tx.w.start >= max(need, txArena/4) {
		return
	}
	tx.send()
	if len(tx.w.arena) < max(2*need, txArena) {
		tx.w.arena = make([]byte, max(2*need, txArena))
	}
	tx.w.start = 0
	tx.socket = k
}

// flush lays out, seals and queues what o has to send now. Unless the arena fills, nothing is sent
// before send.
func (tx *txScratch) flush(k *txSocket, o turnOwner) {
	now := k.sched.now()
	tx.reserve(k, 0)
	o.lock()
	tx.unlockAndFlush(k, o, now)
}

// unlockAndFlush is like flush, but is called with the lock of o held and room reserved.
func (tx *txScratch) unlockAndFlush(k *txSocket, o turnOwner, now instant) {
	t := tx.pushTurn()
	for need := o.unlockAndBeginTurn(t, now, &tx.w, &tx.counters); need > 0; {
		tx.popTurn()
		tx.reserve(k, need)
		t = tx.pushTurn()
		o.lock()
		need = o.unlockAndBeginTurn(t, now, &tx.w, &tx.counters)
	}
	if t.owner == nil {
		tx.popTurn()
		return
	}
	from := len(tx.batch)
	tx.seal(t)
	once := tx.batch[from:]
	for range t.copies {
		tx.batch = append(tx.batch, once...)
	}
	t.multiply(1 + t.copies)
}

// pushTurn returns a turn to be begun.
func (tx *txScratch) pushTurn() *turn {
	tx.turns = append(tx.turns, turn{})
	return &tx.turns[len(tx.turns)-1]
}

// popTurn takes back a turn that was not begun.
func (tx *txScratch) popTurn() { tx.turns = tx.turns[:len(tx.turns)-1] }

// send hands the batch to the socket and ends the turns in it, until no owner has more to send.
func (tx *txScratch) send() {
	for len(tx.turns) > 0 || len(tx.batch) > 0 {
		if len(tx.batch) > 0 && !tx.write() {
			return
		}
		tx.endTurns()
		tx.w.start, tx.shared = 0, 0
		again := tx.again
		tx.again = nil
		for _, o := range again {
			tx.flush(tx.socket, o)
		}
		clear(again) // keep no ended session alive
		if tx.again == nil {
			tx.again = again[:0]
		}
	}
}

// write hands the batch to the socket. It returns false if it has left the batch, and all that is
// to be done after it, to a goroutine that may wait.
func (tx *txScratch) write() bool {
	k := tx.socket
	if tx.manner == txLeaves && k.ready != nil && k.behind.Load() == 0 {
		rest, sent, lost, err := k.ready.writeReady(tx.batch)
		k.wrote(sent, lost, err)
		if lost > 0 {
			k.noteRefused(tx.batch)
		}
		if len(rest) == 0 {
			return true
		}
		if k.behind.CompareAndSwap(0, 1) {
			tx.leave(rest)
			return false
		}
		tx.batch = rest
	}
	sent, lost, err := k.io.writeBatch(tx.batch)
	k.wrote(sent, lost, err)
	if lost > 0 {
		k.noteRefused(tx.batch)
	}
	return true
}

// leave has a goroutine of its own send the rest of the batch and end its turns. There is at most
// one for each socket. tx is empty then.
func (tx *txScratch) leave(rest []outgoing) {
	other := txPool.Get().(*txScratch)
	*other, *tx = *tx, txScratch{
		w: other.w, manner: tx.manner, batch: other.batch, turns: other.turns, again: other.again,
	}
	tx.w.start = 0
	other.batch, other.manner = rest, txWaits
	go func() {
		k := other.socket
		other.finish()
		k.behind.Store(0)
		other.release()
	}()
}

// finish ends a run of flushes: all is sent and counted.
func (tx *txScratch) finish() {
	if tx.socket == nil {
		return // there were none
	}
	tx.send()
	tx.counters.flush()
	tx.socket = nil
}

// endTurns ends the turns of the batch.
func (tx *txScratch) endTurns() {
	for i := range tx.turns {
		t := &tx.turns[i]
		tx.counters.outPkts += uint64(t.packets)
		tx.counters.outBytes += uint64(t.bytes)
		if t.owner.endTurn(t) {
			tx.again = append(tx.again, t.owner)
		}
	}
	for i := range tx.turns {
		tx.turns[i].report()
	}
	clear(tx.turns)
	clear(tx.batch)
	tx.turns, tx.batch = tx.turns[:0], tx.batch[:0]
}

// seal turns the laid-out packets of t into runs for the socket: FEC headers and parity, encryption
// in place, and counts them in t. It runs outside the owner's lock.
func (tx *txScratch) seal(t *turn) {
	if t.encoder != nil {
		tx.protect(t)
	}
	w := &tx.w
	r := runBuilder{tx: tx, turn: t}
	r.resume()
	sealed := 0 // how many are finished already
	for i := range w.packets {
		p := &w.packets[i]
		var err error
		datagram := w.arena[p.start:p.end]
		switch {
		case i < sealed:
		case i+1 < len(w.packets) &&
			t.sealer.sealPair(datagram, w.arena[w.packets[i+1].start:w.packets[i+1].end]):
			sealed = i + 2
		default:
			datagram, err = tx.sealPacket(t, p)
		}
		if err != nil {
			t.err = err
			tx.socket.wrote(0, 1, err)
			continue
		}
		if p.use == packetProbes {
			r.addAlone(datagram)
		} else {
			r.add(datagram)
		}
		t.packets++
		t.bytes += p.size()
		t.limited += p.limited
	}
	r.end()
	if t.sealer.session == nil {
		tx.socket.countSealed(t.packets)
	}
}

// protect fills in the FEC headers of the laid-out packets of t and adds their parity.
func (tx *txScratch) protect(t *turn) {
	w := &tx.w
	head, tail := t.sealer.headroom(), t.sealer.tailroom()
	named := t.encoder.format == fecNamed
	for i := range len(w.packets) {
		p := w.packets[i]
		if named && p.limited == 0 {
			// Acknowledgements and control messages are repeated in other ways (S2.19).
			w.packets[i].start += fecHeaderSize
			continue
		}
		if p.end-p.start > head+fecHeaderSize+w.limit+tail {
			// A segment that was first sent at a larger size: without the FEC header it is no
			// larger than then. Any peer accepts it so, and the group's parity stays inside the
			// MTU.
			w.packets[i].start += fecHeaderSize
			continue
		}
		ready := t.encoder.encode(w.arena[p.start+head:p.end-tail], int64(t.now))
		t.encoder.share.count(p)
		tx.addHeld(t, t.encoder.due(ready, int64(t.now)))
		if !t.encoder.hold(int64(t.now)) {
			tx.addReady(t, ready)
		}
	}
	if t.ending != groupStays {
		tx.addHeld(t, t.encoder.trail.left())
	}
	if t.ending == groupCloses {
		tx.addReady(t, t.encoder.close())
	}
}

// addReady adds the parity of a group, as many packets as are ready.
func (tx *txScratch) addReady(t *turn, ready int) {
	for j := range ready {
		tx.addParity(t, t.encoder.parity(j), &t.encoder.share)
	}
	if ready > 0 {
		t.encoder.share = parityShare{}
	}
}

// addHeld adds so many parity packets of the group before, which were held.
func (tx *txScratch) addHeld(t *turn, due int) {
	for range due {
		packet, share := t.encoder.trail.take()
		tx.addParity(t, packet, share)
	}
}

// sealPacket returns the finished datagram of p, with a capacity that goes on as far as the memory
// it lies in.
func (tx *txScratch) sealPacket(t *turn, p *span) ([]byte, error) {
	sealer, datagram := t.sealer, tx.w.arena[p.start:p.end]
	if p.shared != nil && p.start == p.end {
		tx.shared += len(p.shared)
		return p.shared, nil
	}
	segments := p.shared
	if segments == nil {
		segments = datagram[min(len(datagram), tx.w.headroom):]
	}
	remember := sealer.aead != nil && (t.remember || couldOpen(segments))
	var err error
	if p.shared != nil {
		err = sealer.sealFrom(datagram, p.shared)
	} else {
		err = sealer.seal(datagram)
	}
	if remember && err == nil {
		sealer.remember(datagram)
	}
	return datagram, err
}

// addParity copies a parity packet behind the packets laid out. share is that of its group. A
// packet that no longer fits the MTU, because its group began before the MTU was lowered, is left
// out.
func (tx *txScratch) addParity(t *turn, payload []byte, share *parityShare) {
	w := &tx.w
	head := t.sealer.headroom()
	end := w.start + head + len(payload) + t.sealer.tailroom()
	if end > len(w.arena) || len(payload) > t.encoder.overhead()+w.limit {
		return
	}
	cost := (end - w.start) * (1 + t.copies)
	if cost > t.reserved {
		return // an address that is not validated gets no more
	}
	t.reserved -= cost
	copy(w.arena[w.start+head:], payload)
	limited := share.of(end - w.start)
	t.parity++
	w.packets = append(w.packets, span{start: w.start, end: end, limited: limited})
	w.start = end
}

// lay adds a datagram of one segment that belongs to no session.
func (tx *txScratch) lay(k *txSocket, s *segment, sealer *sealer, to *destination) {
	tx.reserve(k, 0)
	start := tx.w.start
	b := appendSegment(tx.w.arena[start:start+sealer.headroom()], s)
	end := start + len(b) + sealer.tailroom()
	if sealer.seal(tx.w.arena[start:end]) != nil {
		return
	}
	tx.w.start = end
	tx.batch = append(tx.batch, outgoing{
		buf: tx.w.arena[start:end], to: to.to, toAddr: to.toAddr, local: to.local,
	})
}
