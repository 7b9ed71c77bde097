// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sync"
)

// txScratch is what a goroutine that flushes sessions works with: an arena that packets are built in, the batch that
// goes to the socket in few system calls, and the sessions whose packets are in it. It belongs to one goroutine at a
// time.
type txScratch struct {
	w        packetWriter
	ep       *endpoint  // the socket of the batch
	local    netip.Addr // of the session being flushed
	batch    []outgoing
	shared   int // bytes of the batch that are not in the arena
	senders  []batchSender
	again    []*UDPSession // have more to say once the batch is out
	sealer   *sealer       // of the session being flushed
	remember bool          // keep the nonces of its packets
	copies   int           // of each packet of the session being flushed, besides itself
	parity   int           // bytes of parity that may be sent for it
	counters counters
}

// batchSender is a session with packets in the batch. Until the batch is out nobody else transmits for it.
type batchSender struct {
	s       *UDPSession
	packets int
	bytes   int
	more    bool
	limited int         // bytes that count against the rate limit
	receipt rateReceipt // what was charged for them
	unused  int         // of the allowance for parity
	logs    []logRecord // are reported once the turn is over: the logger may call what waits for that
}

const (
	// txArena is the size of an arena: several of the largest runs a socket takes at once (64 KiB), and small
	// enough to stay in a processor's second-level cache.
	txArena = 256 << 10
	// txPackets is the most packets one session lays out before another has its turn.
	txPackets = 128
)

var txPool = sync.Pool{New: func() any { return new(txScratch) }}

// scratchOf returns what the tasks of one wake-up of a scheduler worker send with.
func scratchOf(b *timedBatch) *txScratch {
	if b.work == nil {
		b.work = txPool.Get().(*txScratch)
	}
	return b.work.(*txScratch)
}

// release returns tx to the pool. It must be finished.
func (tx *txScratch) release() { txPool.Put(tx) }

// reserve makes room for packets of s behind what the arena holds already. It sends the batch first if s has another
// socket or the arena is well filled. No lock may be held.
func (tx *txScratch) reserve(ep *endpoint, need int) {
	if tx.ep == ep && tx.shared < txArena && len(tx.w.arena)-tx.w.start >= max(need, txArena/4) {
		return
	}
	tx.send()
	if len(tx.w.arena) < max(2*need, txArena) {
		tx.w.arena = make([]byte, max(2*need, txArena))
	}
	tx.w.start = 0
	tx.ep = ep
}

// frame sets up the packet writer for s. It reports how much room s needs at least, 0 if there is enough. Called with
// the session's lock held.
func (tx *txScratch) frame(s *UDPSession) (need int) {
	s.scaleRate()
	w := &tx.w
	w.headroom, w.tailroom, w.limit = s.ep.sealer.headroom(), s.ep.sealer.tailroom(), s.core.mtu
	w.packets = w.packets[:0]
	w.maxPackets = txPackets
	w.shares = s.encoder == nil && s.ep.sealer.block == nil
	k, p := 0, 0
	if s.encoder != nil {
		w.headroom += fecHeaderSize
		k, p = s.fecActive.data, s.fecActive.parity
	}
	perPacket := w.headroom + w.limit + w.tailroom
	free := (len(w.arena) - w.start) / perPacket
	if free < 1+p {
		return (2 + p) * perPacket
	}
	if p > 0 {
		// Parity packets follow in the same arena: leave them their share.
		w.maxPackets = max(1, min(txPackets, (free-p)*k/(k+p)))
	}
	return 0
}

// flush lays out, seals and queues what s has to send now, in the scheduler's time. Unless the arena fills, nothing is sent
// before send.
func (tx *txScratch) flush(s *UDPSession, now instant) {
	tx.reserve(s.ep, 0)
	s.mu.Lock()
	tx.flushLocked(s, now)
}

// flushLocked is flush where room has been reserved and the lock of s is held, which it lets go of.
func (tx *txScratch) flushLocked(s *UDPSession, now instant) {
	s.queued = false
	if s.transmitting || s.ended {
		s.flushAgain = true
		s.mu.Unlock()
		return
	}
	s.applyFEC()
	if need := tx.frame(s); need > 0 {
		s.mu.Unlock()
		tx.reserve(s.ep, need)
		s.mu.Lock()
		if s.transmitting || s.ended {
			s.flushAgain = true
			s.mu.Unlock()
			return
		}
		tx.frame(s)
	}
	at := s.core.clock(now) // somebody may have flushed since the clock was looked at
	ms := at.ms()
	s.giveUpClosing(ms)
	more := s.core.flush(at, &tx.w)
	s.transmitting = len(tx.w.packets) > 0
	ended, _ := s.update(ms, more && s.transmitting)
	s.count(&tx.counters)
	if s.transmitting {
		s.sendTurn = s.sends.begin()
	}
	receipt := s.core.rate.receipt()
	tx.copies, tx.parity = s.core.addr.copies(tx.w.packets, int(s.dup.Load())), math.MaxInt
	if s.transmitting && s.encoder != nil {
		tx.parity = s.core.addr.reserve()
	}
	logs := s.takeLogs(tx.w.packets)
	tx.local, tx.sealer, tx.remember = s.local, s.sealer(), s.core.ctl.marking.remembers()
	s.mu.Unlock()

	if len(tx.w.packets) > 0 {
		from := len(tx.batch)
		f := batchSender{s: s, more: more, receipt: receipt, logs: logs}
		tx.seal(s, &f)
		f.unused = tx.parity
		once := tx.batch[from:]
		for range tx.copies {
			tx.batch = append(tx.batch, once...)
		}
		f.multiply(1 + tx.copies)
		tx.senders = append(tx.senders, f)
	} else {
		s.log.Load().report(logs)
	}
	if ended {
		s.finish()
	}
}

// send hands the batch to the socket and gives the sessions in it free to transmit again, until none has more to say.
func (tx *txScratch) send() {
	for len(tx.senders) > 0 || len(tx.batch) > 0 {
		if len(tx.batch) > 0 {
			sent, lost, err := tx.ep.io.writeBatch(tx.batch)
			tx.ep.wrote(sent, lost, err)
		}
		tx.endTurns()
		tx.w.start, tx.shared = 0, 0
		again := tx.again
		tx.again = nil
		for _, s := range again {
			tx.flush(s, s.ep.sched.now())
		}
		clear(again) // keep no ended session alive
		if tx.again == nil {
			tx.again = again[:0]
		}
	}
}

// finish ends a run of flushes: all is sent and counted.
func (tx *txScratch) finish() {
	if tx.ep == nil {
		return // there were none
	}
	tx.send()
	tx.counters.flush()
	tx.ep = nil
}

// endTurns ends the turns of the sessions in the batch.
func (tx *txScratch) endTurns() {
	for i := range tx.senders {
		f := &tx.senders[i]
		tx.counters.outPkts += uint64(f.packets)
		tx.counters.outBytes += uint64(f.bytes)
		f.s.mu.Lock()
		f.s.transmitting = false
		f.s.sends.end(f.s.sendTurn)
		f.s.core.rate.reconcile(f.receipt, f.limited)
		f.s.core.releaseHeld()
		f.s.core.addr.refund(f.unused)
		f.s.packetsSent += uint64(f.packets)
		f.s.bytesOnWire += uint64(f.bytes)
		if f.s.finished {
			f.s.releaseEncoder()
		} else if f.more || f.s.flushAgain {
			tx.again = append(tx.again, f.s)
		}
		f.s.flushAgain = false
		gone := f.s.finished
		f.s.mu.Unlock()
		if gone {
			f.s.ep.demux.left()
		}
	}
	for i := range tx.senders {
		f := &tx.senders[i]
		f.s.log.Load().report(f.logs)
		*f = batchSender{}
	}
	clear(tx.batch)
	tx.senders, tx.batch = tx.senders[:0], tx.batch[:0]
}

// multiply counts each packet so many times.
func (f *batchSender) multiply(times int) {
	f.packets *= times
	f.bytes *= times
	f.limited *= times
}

// seal turns the laid-out packets of s into runs for the socket: FEC headers and parity, encryption in place, and counts
// them in f. It runs outside the session's lock; only the transmitting goroutine gets here.
func (tx *txScratch) seal(s *UDPSession, f *batchSender) {
	w := &tx.w
	data := len(w.packets)
	if s.encoder != nil {
		head, tail := s.ep.sealer.headroom(), s.ep.sealer.tailroom()
		now := int64(s.now())
		for i := range data {
			p := w.packets[i]
			if p.end-p.start > head+fecHeaderSize+w.limit+tail {
				// A segment that was first sent at a larger size: without the FEC header it is no larger than then. Any
				// peer takes it so, and the group's parity stays inside the MTU.
				w.packets[i].start += fecHeaderSize
				continue
			}
			ready := s.encoder.encode(w.arena[p.start+head:p.end-tail], now)
			s.parity.count(p)
			for j := range ready {
				tx.addPacket(s.encoder.parity(j), head, tail, &s.parity)
			}
			if ready > 0 {
				s.parity = parityShare{}
			}
		}
	}
	r := runBuilder{tx: tx, s: s}
	r.resume()
	sealed := 0 // how many are finished already
	for i := range w.packets {
		p := &w.packets[i]
		var err error
		datagram := w.arena[p.start:p.end]
		switch {
		case i < sealed:
		case i+1 < len(w.packets) && tx.sealer.sealPair(datagram, w.arena[w.packets[i+1].start:w.packets[i+1].end]):
			sealed = i + 2
		default:
			datagram, err = tx.sealPacket(s, p)
		}
		if err != nil {
			tx.ep.wrote(0, 1, err)
			continue
		}
		r.add(datagram)
		f.packets++
		f.bytes += p.size()
		f.limited += p.limited
	}
	r.end()
	tx.ep.countSealed(f.packets)
}

// sealPacket returns the finished datagram of p, with a capacity that goes on as far as the memory it lies in.
func (tx *txScratch) sealPacket(s *UDPSession, p *span) ([]byte, error) {
	sealer, datagram := tx.sealer, tx.w.arena[p.start:p.end]
	if p.shared != nil && p.start == p.end {
		tx.shared += len(p.shared)
		return p.shared, nil
	}
	segments := p.shared
	if segments == nil {
		segments = datagram[min(len(datagram), tx.w.headroom):]
	}
	remember := sealer.authenticates() && (tx.remember || couldOpen(segments))
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

// addPacket copies a parity packet behind the packets laid out. One that does not fit the MTU any more, because its group
// began before the MTU was lowered, is left out.
func (tx *txScratch) addPacket(payload []byte, head, tail int, share *parityShare) {
	w := &tx.w
	end := w.start + head + len(payload) + tail
	if end > len(w.arena) || len(payload) > fecHeaderSize+w.limit {
		return
	}
	cost := (end - w.start) * (1 + tx.copies)
	if cost > tx.parity {
		return // an address that has not proved to receive gets no more
	}
	tx.parity -= cost
	copy(w.arena[w.start+head:], payload)
	w.packets = append(w.packets, span{start: w.start, end: end, limited: share.of(end - w.start)})
	w.start = end
}

// lay adds a datagram of one segment that no session stands behind.
func (tx *txScratch) lay(ep *endpoint, sealer *sealer, s *segment, o outgoing) {
	tx.reserve(ep, 0)
	start := tx.w.start
	b := appendSegment(tx.w.arena[start:start+sealer.headroom()], s)
	end := start + len(b) + sealer.tailroom()
	if sealer.seal(tx.w.arena[start:end]) != nil {
		return
	}
	tx.w.start = end
	o.buf = tx.w.arena[start:end]
	tx.batch = append(tx.batch, o)
}

// oob builds the packet of SendOOB and returns its size.
func (tx *txScratch) oob(s *UDPSession, sealer *sealer, data []byte, local netip.Addr, remember bool) (size int, err error) {
	head, tail := sealer.headroom(), sealer.tailroom()
	tx.reserve(s.ep, head+oobHeader+len(data)+tail)
	b := tx.w.arena[tx.w.start:]
	p := b[head:]
	binary.LittleEndian.PutUint32(p, oobSeqID)
	binary.LittleEndian.PutUint16(p[4:], fecTypeOOB)
	binary.LittleEndian.PutUint16(p[6:], uint16(2+4+len(data)))
	binary.LittleEndian.PutUint32(p[8:], s.conv)
	copy(p[oobHeader:], data)
	b = b[:head+oobHeader+len(data)+tail]
	tx.w.start += len(b)
	if err := sealer.seal(b); err != nil {
		s.ep.wrote(0, 1, err)
		return 0, err
	}
	if remember && sealer.authenticates() {
		sealer.remember(b)
	}
	s.ep.countSealed(1)
	tx.batch = append(tx.batch, outgoing{buf: b, to: s.peer.udp, toAddr: s.remoteAddr(), local: local})
	tx.counters.outPkts++
	tx.counters.outBytes += uint64(len(b))
	return len(b), nil
}
