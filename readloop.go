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

// A reader is the state of whoever reads a socket.
type reader struct {
	ep       *endpoint
	msgs     []received
	tx       txScratch
	bufs     bufferCache
	lent     inputContext // for state machines: the batch's time, bufs, and the slab of the run
	raw      []byte       // the datagram at hand before it was opened, if it may not be KCP
	arrival  arrival      // of the datagram at hand
	nonce    nonceState   // of the datagram at hand
	now      millis
	session  *UDPSession // whose lock is held
	key      sessionKey  // the name of session
	sameAs   *received   // the message that is known to be from key.peer
	alone    *UDPSession // session, if it is its peer's only one
	msg      *received   // the message at hand
	packet   packet      // the datagram at hand, opened
	touched  []*UDPSession
	awaited  *UDPSession // a session with a blocked call that the batch has woken
	got      int         // datagrams that a call has read, and its error
	err      error
	counters counters

	opened int // authenticated packets of the batch, and answers without a session

	answers      int // sent without a session in answerSecond
	answerSecond millis
}

const (
	// readErrorsFree is how many errors in a row cause no pause. An ICMP message, which may be
	// forged, is reported as one error. On some systems it is reported to a socket that serves
	// other peers too, which it must not delay.
	readErrorsFree = 16
	// readErrorPause is how long the reader waits when a socket that is open fails again and again.
	// It doubles up to readErrorPauseMax. A lasting fault then costs no processor time, and its end
	// is noticed soon.
	readErrorPause    = time.Millisecond
	readErrorPauseMax = 500 * time.Millisecond
	// lostAfter is how long a connection may return nothing but errors from which a socket does not
	// recover, until it is considered lost. Each error comes at most lostGap after the one before.
	// A tunnel may need seconds to come back.
	lostAfter = 5 * time.Second
	lostGap   = 2 * time.Second
)

// readBackoff delays a reader while its socket fails without anything to read in between.
type readBackoff struct {
	errors  int       // in a row
	looked  time.Time // when the reader read again after the last one
	pause   time.Duration
	lasting time.Time // time of the first error in a row that means a lost connection; zero: none
}

func (b *readBackoff) reset() { b.errors, b.pause, b.lasting = 0, 0, time.Time{} }

// failed records an error, and waits if it is one of many. It reports whether the connection is
// lost.
func (b *readBackoff) failed(err error) (lost bool) {
	waited := time.Since(b.looked)
	if b.errors > 0 && waited > readErrorPauseMax {
		b.errors, b.pause = 0, 0 // the reader has waited for it: it is not part of a row
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
		// The buffers are from no pool: a socket without large runs never gives them away.
		r.msgs[i].buf = make([]byte, size)
	}
	return r
}

// release frees the buffers.
func (r *reader) release() {
	for i := range r.msgs {
		reserveBuffer(r.msgs[i].buf, -1)
		putBuffer(r.msgs[i].buf)
	}
	r.msgs = nil
	r.bufs.drain()
}

// run reads batches of datagrams and feeds them to their sessions. It then flushes each session of
// the batch once. At times it leaves the socket to calls of a session: see handoff.
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
				// The socket is probably empty now, or the batch has woken many goroutines. If the
				// socket is never empty, they would wait until the runtime preempts this goroutine.
				runtime.Gosched()
			}
		case q.wasInterrupted(err) || e.isStopping():
		case errors.Is(err, net.ErrClosed):
			e.demux.failed(errSocketClosed)
		case err != nil:
			e.errors.reads.Add(1)
			e.errors.note(socketRead, err)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				_ = e.conn.SetReadDeadline(time.Time{}) // the program has set it, but does not read
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

// pass feeds datagrams that another reader of the connection has read.
func (q *handoff) pass(msgs []received) {
	r := &reader{ep: q.ep}
	r.lent.cache = &r.bufs
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

// lendRun is the least size in bytes of a run whose segments stay in its buffer of 64 KiB.
const lendRun = bufferLarge / 2

// beginLending lets the segments of a large run stay in their buffer.
func (r *reader) beginLending(m *received) {
	r.msg = m
	if m.n < lendRun || m.segment >= m.n || len(m.buf) != bufferLarge {
		return
	}
	r.lent.slab = newSlab(m.buf)
}

// endLending is called at the end of a run. If segments are still in the buffer, they keep it, and
// the reader takes another.
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
		// The kernel may have moved the peer to another socket, but the session keeps its own.
		r.tx.flush(&s.env.host.(*endpoint).txSocket, s)
	}
	if out&inputEnded != 0 {
		s.finish()
	}
}

// datagram opens one datagram and delivers it. The crypto header and the tag enclose the rest: the
// FEC header, if there is one, and the segments (S0.1).
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

// deliver feeds a packet to its session, or opens one if the door decides so.
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

// find returns the session of a packet with its lock held, or nil. Packets of one session mostly
// arrive in a row. The lock is kept until a packet of another session arrives.
func (r *reader) find(p *packet, peer *peerAddr) *UDPSession {
	if p.kind == packetParity {
		return r.findParity(p, *peer)
	}
	if r.holds(p.conv, peer) || r.lookup(sessionKey{*peer, p.conv}) {
		return r.session
	}
	return nil
}

// holds reports whether the session whose lock is held has that id and peer. The peer is compared
// once for a message.
func (r *reader) holds(conv uint32, peer *peerAddr) bool {
	if r.session == nil || r.key.conv != conv || r.session.life.ended() {
		return false
	}
	if r.sameAs != r.msg && r.key.peer == *peer {
		r.sameAs = r.msg
	}
	return r.sameAs == r.msg
}

// lookup takes the lock of the session of that name. It returns false if there is none.
func (r *reader) lookup(key sessionKey) bool {
	r.unlockSession()
	s := r.ep.sole.Load()
	if s == nil || s.conv != key.conv || s.peer != key.peer {
		s = r.ep.demux.find(&key)
	}
	return s != nil && r.lockSession(s, key)
}

// findParity finds the session of a parity packet, which has no conversation id (S2.17). That is
// the peer's only session, or the one whose newest shard is nearest. A wrong guess costs that
// session at most one group.
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

// lockSession takes the lock of s. It returns false if s is off the network.
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
