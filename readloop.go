// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"
)

// reader is what whoever reads a socket works with.
type reader struct {
	ep       *endpoint
	msgs     []received
	tx       txScratch
	bufs     bufferCache
	lent     inputContext // what state machines get: the time of the batch, bufs, and the slab of the run at hand
	raw      []byte       // the datagram at hand before it was opened, where somebody may want it
	arrival  arrival      // of the datagram at hand
	nonce    nonceState   // likewise
	now      millis
	session  *UDPSession // whose lock is held
	key      sessionKey  // of session
	sameAs   *received   // the message that key.peer is known to have sent
	alone    *UDPSession // session, if it is its peer's only one as far as parity is concerned
	msg      *received   // at hand
	packet   packet      // the datagram at hand, opened
	touched  []*UDPSession
	awaited  *UDPSession // the batch has woken a call of it
	got      int         // datagrams that a call has read, and the error it got
	err      error
	counters counters

	opened int // packets of the batch that a key vouches for, and answers without a session

	answers      int // sent in answerSecond without a session behind them
	answerSecond millis
}

const (
	// readErrorsFree is how many errors in a row cost no pause: an ICMP message that a peer's host sent, or that somebody
	// forged, is reported once, on some systems to a socket that serves others too, and must not hold up what they send.
	readErrorsFree = 16
	// readErrorPause is how long the reader waits when a socket that is not closed goes on failing; it doubles up to
	// readErrorPauseMax, so that a lasting fault costs no processor time and its end is noticed soon.
	readErrorPause    = time.Millisecond
	readErrorPauseMax = 500 * time.Millisecond
	// lostAfter is how long a connection may give nothing but errors that a socket does not recover from, each no more than
	// lostGap after the one before, until it is taken for lost: a tunnel may need seconds to come back.
	lostAfter = 5 * time.Second
	lostGap   = 2 * time.Second
)

// readBackoff holds a reader up while its socket fails without anything to read in between.
type readBackoff struct {
	errors  int       // in a row
	looked  time.Time // when the reader turned to the socket again after the last one
	pause   time.Duration
	lasting time.Time // when the first of a row came that says that the connection is lost; zero: none has
}

func (b *readBackoff) reset() { b.errors, b.pause, b.lasting = 0, 0, time.Time{} }

// failed takes note of an error and waits, if it is one of many. It reports whether the connection is lost.
func (b *readBackoff) failed(err error) (lost bool) {
	waited := time.Since(b.looked)
	if b.errors > 0 && waited > readErrorPauseMax {
		b.errors, b.pause = 0, 0 // it was waited for, and so is no part of a row
	}
	if waited > lostGap {
		b.lasting = time.Time{}
	}
	if !passes(err) {
		if b.lasting.IsZero() {
			b.lasting = time.Now()
		}
		if time.Since(b.lasting) >= lostAfter {
			return true
		}
	}
	if b.errors++; b.errors > readErrorsFree {
		b.pause = min(max(2*b.pause, readErrorPause), readErrorPauseMax)
		time.Sleep(b.pause)
	}
	b.looked = time.Now()
	return false
}

func newReader(e *endpoint) *reader {
	r := &reader{ep: e}
	r.lent.cache = &r.bufs
	count, size := e.io.readBatchSize()
	r.msgs = make([]received, count)
	for i := range r.msgs {
		// Of no pool yet: a socket that receives no large runs never parts with them.
		r.msgs[i].buf = make([]byte, size)
	}
	return r
}

// release gives the buffers back.
func (r *reader) release() {
	for i := range r.msgs {
		reserveBuffer(r.msgs[i].buf, -1)
		putBuffer(r.msgs[i].buf)
	}
	r.msgs = nil
	r.bufs.drain()
}

// run takes batches of datagrams, feeds them all, and then flushes each session they touched once. Now and then it
// leaves that to the calls of a session (readRole).
func (q *handoff) run() {
	e := q.ep
	defer close(e.done)
	r := newReader(e)
	q.reader = r
	defer r.release()
	var backoff readBackoff
	for !e.isStopping() {
		n, err := e.io.readBatch(r.msgs)
		switch {
		case n > 0 && e.isStopping() && !e.owned():
			e.handOn(r.msgs[:n])
		case n > 0:
			r.batch(r.msgs[:n])
			backoff.reset()
			if q.lend(r.awaited) {
				<-q.wake
			} else if n == 1 || e.coalescer.busy.Load() {
				// The socket is most likely empty now, or the batch has woken many, who would wait for a socket that is
				// never empty until the runtime preempts this goroutine: whoever was woken runs before the next look.
				runtime.Gosched()
			}
		case q.wasInterrupted(err) || e.isStopping():
		case errors.Is(err, net.ErrClosed):
			e.demux.failed(errSocketClosed)
		case err != nil:
			e.errors.reads.Add(1)
			e.errors.note(socketRead, err)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				_ = e.conn.SetReadDeadline(time.Time{}) // which the program has set, for nobody: it does not read
			}
			if backoff.failed(err) {
				e.demux.failed(fmt.Errorf("kcp: the packet connection has failed: %w", err))
			}
		}
	}
	if !e.owned() {
		e.io.release()
		<-e.woken
		_ = e.conn.SetReadDeadline(time.Time{})
		e.demux.leaveLent()
	}
}

// pass takes datagrams that another reader of the connection has read.
func (q *handoff) pass(msgs []received) {
	r := &reader{ep: q.ep}
	r.batch(msgs)
	r.bufs.drain()
}

func (r *reader) batch(msgs []received) {
	r.lent.now = r.ep.sched.now()
	r.now = r.lent.now.ms()
	for i := range msgs {
		m := &msgs[i]
		peer, custom := peerAddr{udp: m.from}, m.fromAddr
		if custom != nil {
			peer = newPeerAddr(custom)
		} else if !m.from.IsValid() && r.ep.sources == sourcesNamed {
			r.ep.errors.reads.Add(1)
			r.ep.errors.note(socketRead, errNoSource)
			continue
		}
		r.arrival.local = m.local
		r.beginLending(m)
		for data := m.buf[:m.n]; len(data) > 0; {
			size := len(data)
			if m.segment > 0 {
				size = min(m.segment, size)
			}
			r.datagram(data[:size:size], &peer, custom)
			data = data[size:]
		}
		r.endLending()
		m.fromAddr = nil
	}
	r.unlockSession()
	r.ep.countSealed(r.opened)
	r.opened = 0
	r.awaited = nil
	r.ep.coalescer.noteBatch(len(r.touched))
	for i, s := range r.touched {
		r.finishSession(s)
		r.touched[i] = nil
	}
	r.touched = r.touched[:0]
	r.tx.finish()
	r.counters.flush()
}

// lendRun is how many bytes a run must have for its segments to stay in the buffer of 64 KiB.
const lendRun = bufferLarge / 2

// beginLending lets the segments of a large run stay in the buffer they came in.
func (r *reader) beginLending(m *received) {
	r.msg = m
	if m.n < lendRun || m.segment >= m.n || len(m.buf) != bufferLarge {
		return
	}
	r.lent.slab = newSlab(m.buf)
}

// endLending is called at the end of a run. If segments are still there, they keep the buffer and the reader takes another.
func (r *reader) endLending() {
	slab := r.lent.slab
	if slab == nil {
		return
	}
	r.lent.slab = nil
	if slab.refs--; slab.refs == 0 {
		slab.recycle()
		return
	}
	reserveBuffer(r.msg.buf, -1)
	r.msg.buf = getBuffer(bufferLarge)
	reserveBuffer(r.msg.buf, 1)
	r.session.keepSlabLocked(&r.bufs)
}

// finishSession ends a session's part in a batch.
func (r *reader) finishSession(s *UDPSession) {
	out := s.finishInput(r.now, &r.counters)
	if out&inputWoke != 0 {
		r.awaited = s
	}
	if out&inputBegun != 0 && !r.ep.demux.offer(s) {
		s.turnAway()
	}
	if out&inputDue != 0 {
		r.tx.flush(&r.ep.txSocket, s)
	}
	if out&inputEnded != 0 {
		s.finish()
	}
}

// datagram opens one datagram and feeds it to its session.
func (r *reader) datagram(data []byte, peer *peerAddr, custom net.Addr) {
	r.counters.inPkts++
	r.counters.inBytes += uint64(len(data))
	r.arrival.size = len(data)
	strays := r.ep.demux.strays.Load()
	raw := r.keepRaw(data, strays)
	packet, ok := r.ep.sealer.open(data)
	if !ok && !strays.push(raw, *peer, custom) {
		r.counters.inCsumErrors++
		r.counters.inErrs++
	}
	if !ok {
		return
	}
	p := &r.packet
	p.parse(packet)
	if strays != nil && !p.plausible() && strays.push(raw, *peer, custom) {
		return
	}
	if p.kind == packetBad {
		r.counters.inErrs++
		return
	}
	if r.ep.sealer.authenticates() {
		r.opened++
		r.arrival.nonce = data[:r.ep.sealer.headroom()]
		if r.replayed(p) {
			r.counters.inErrs++
			return
		}
	}
	r.deliver(p, peer, custom)
}

// deliver feeds a packet to the session that it is for. A new one opens where that is due.
func (r *reader) deliver(p *packet, peer *peerAddr, custom net.Addr) {
	if r.ep.sources == sourcesByConv {
		peer, custom = r.dialledAs(p, peer, custom)
	}
	s := r.find(p, peer)
	if s == nil && p.kind == packetParity {
		r.counters.inErrs++
		return
	}
	if s != nil {
		switch s.receiveLocked(&r.lent, p, &r.arrival, &r.counters) {
		case originPeer:
			return
		case originRestarted:
			if r.nonce == nonceSeen {
				r.counters.inErrs++
				return
			}
			r.unlockSession()
			s.replaced()
		case originStray:
			r.counters.inErrs++
			window := answerWindow()
			reply := window.segment(r.key.conv, nil)
			r.answer(&reply, r.key, custom)
			return
		default:
			r.counters.inErrs++
			return
		}
	}
	if s = r.handleUnknown(p, sessionKey{*peer, p.conv}, custom); s != nil {
		s.feedLocked(&r.lent, p, &r.arrival, &r.counters)
	}
}

// find returns the session a packet is for, with its lock held. Packets of one session mostly come in a row, so the lock is
// kept until another session's packet comes.
func (r *reader) find(p *packet, peer *peerAddr) *UDPSession {
	if p.kind == packetParity {
		return r.findParity(p, *peer)
	}
	if r.holds(p.conv, peer) || r.lookup(sessionKey{*peer, p.conv}) {
		return r.session
	}
	return nil
}

// holds reports whether the session whose lock is held is the one of that name. The peer is compared once a message.
func (r *reader) holds(conv uint32, peer *peerAddr) bool {
	if r.session == nil || r.key.conv != conv || r.session.life.ended() {
		return false
	}
	if r.sameAs != r.msg && r.key.peer == *peer {
		r.sameAs = r.msg
	}
	return r.sameAs == r.msg
}

// lookup enters the session of that name, if there is one.
func (r *reader) lookup(key sessionKey) bool {
	r.unlockSession()
	s := r.ep.sole.Load()
	if s == nil || s.conv != key.conv || s.peer != key.peer {
		s = r.ep.demux.find(&key)
	}
	return s != nil && r.lockSession(s, key)
}

// findParity finds the session of a parity packet, which names none: the peer's only one, or among several the one
// whose newest shard is nearest. A wrong guess costs that session one group at the most.
func (r *reader) findParity(p *packet, peer peerAddr) *UDPSession {
	if r.session != nil && r.key.peer == peer && r.alone == r.session && !r.session.life.ended() {
		return r.session
	}
	r.unlockSession()
	seqID := binary.LittleEndian.Uint32(p.all)
	s := r.ep.demux.peers.find(&peer, 0)
	only := s != nil && s.link.next.Load() == nil
	if s != nil && !only {
		s = s.nearestOfPeer(seqID)
	}
	if s == nil || !r.lockSession(s, sessionKey{peer, s.conv}) {
		return nil
	}
	if only {
		r.alone = s
	}
	return s
}

// lockSession takes the lock of s. It reports false if s is off the network.
func (r *reader) lockSession(s *UDPSession, key sessionKey) bool {
	switch s.acquireForInput() {
	case inputNone:
		return false
	case inputFirst:
		r.touched = append(r.touched, s)
	}
	r.session, r.key, r.sameAs, r.alone = s, key, r.msg, nil
	return true
}

func (r *reader) unlockSession() {
	if r.session != nil {
		r.session.unlockAfterInput(&r.lent)
		r.session, r.alone = nil, nil
	}
}
