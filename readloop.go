// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// A reader is what a pass over the datagrams of a socket works with: the buffers that it receives
// into, and its state. It belongs to one goroutine at a time. A goroutine that waits for
// datagrams holds none, so that an idle socket costs no buffers.
type reader struct {
	ep       *endpoint // whose datagrams are at hand
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
	sealed   sealedPacket
	answers  *sealer // of the datagram at hand, if its session has ended and had keys
	touched  []*UDPSession
	awaited  *UDPSession // a session with a blocked call that the batch has woken
	counters counters

	opened int // authenticated packets of the batch, and answers without a session
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
	errors  int           // in a row
	looked  time.Time     // time of the last one
	pause   time.Duration // after it
	lasting time.Time     // time of the first in a row that means a lost connection; zero: none
}

// failed records an error. It returns how long the reader should wait before it reads again, and
// whether the connection is lost.
func (b *readBackoff) failed(err error) (pause time.Duration, lost bool) {
	waited := time.Since(b.looked)
	if b.errors > 0 && waited > b.pause+readErrorPauseMax {
		b.errors, b.pause = 0, 0 // the reader has waited for it: it is not part of a row
	}
	if waited > b.pause+lostGap {
		b.lasting = time.Time{}
	}
	b.looked = time.Now()
	if !passes(err) {
		if b.lasting.IsZero() {
			b.lasting = b.looked
		}
		if b.looked.Sub(b.lasting) >= lostAfter {
			return 0, true
		}
	}
	if b.errors++; b.errors > readErrorsFree {
		b.pause = min(max(2*b.pause, readErrorPause), readErrorPauseMax)
	}
	return b.pause, false
}

// readers are shared by all sockets. The garbage collector frees those that are not used for two
// of its cycles.
var readers = sync.Pool{New: func() any {
	r := new(reader)
	r.lent.cache = &r.bufs
	return r
}}

// newReader returns a reader for the datagrams of e.
func newReader(e *endpoint) *reader {
	r := readers.Get().(*reader)
	r.attach(e)
	return r
}

// attach makes r work for e, and returns the buffers to receive into.
func (r *reader) attach(e *endpoint) []received {
	r.ep = e
	count, size := e.io.readBatchSize()
	for len(r.msgs) < count {
		// The buffers are from no pool: a socket without large runs never gives them away.
		r.msgs = append(r.msgs, received{buf: make([]byte, bufferLarge)})
	}
	if size > bufferLarge {
		panic("kcp: a receive buffer is too small")
	}
	return r.msgs[:count]
}

// release makes r available to other sockets.
func (r *reader) release() {
	r.ep, r.awaited, r.msg, r.sameAs = nil, nil, nil, nil
	r.tx.manner = txWaits
	readers.Put(r)
}

// borrow implements receiveBuffers for whoever has the role.
func (q *handoff) borrow() []received {
	if q.reader == nil {
		q.reader = readers.Get().(*reader)
	}
	return q.reader.attach(q.ep)
}

// restore implements receiveBuffers.
func (q *handoff) restore() {
	if q.reader != nil {
		q.reader.release()
		q.reader = nil
	}
}

// start starts reading the socket: by the poller that serves many of them, or by a goroutine of its
// own.
func (q *handoff) start() {
	if q.by == readByWorkers && q.watchSocket() {
		return
	}
	q.by, q.wake = min(q.by, readByEither), make(chan struct{}, 1)
	go q.run()
}

// run reads batches of datagrams and feeds them to their sessions. It then flushes each session of
// the batch once. At times it leaves the socket to calls of a session: see handoff.
func (q *handoff) run() {
	e := q.ep
	defer close(e.done)
	defer q.restore()
	for !e.isStopping() {
		n, err := e.io.readBatch(q)
		if n == 0 {
			if pause := q.failed(err); pause > 0 {
				time.Sleep(pause)
			}
			continue
		}
		msgs := q.reader.msgs[:n]
		if e.isStopping() && !e.owned() {
			e.handOn(msgs)
			continue
		}
		awaited := q.feed(q.reader, n)
		if q.lend(awaited) {
			<-q.wake
		} else if n == 1 || e.coalescer.busy.Load() {
			// The socket is probably empty now, or the batch has woken many goroutines. If the
			// socket is never empty, they would wait until the runtime preempts this goroutine.
			runtime.Gosched()
		}
	}
	if !e.owned() {
		e.io.release()
		<-e.woken
		_ = e.conn.SetReadDeadline(time.Time{})
		e.demux.leaveLent()
	}
}

// feed feeds n datagrams that r has received, and returns the session of a blocked call that they
// have woken.
func (q *handoff) feed(r *reader, n int) (awaited *UDPSession) {
	q.backoff = nil
	r.batch(r.msgs[:n])
	awaited, r.awaited = r.awaited, nil
	return awaited
}

// failed handles an error of a read. It returns how long not to read.
func (q *handoff) failed(err error) (pause time.Duration) {
	e := q.ep
	switch {
	case err == nil || q.wasInterrupted(err) || e.isStopping():
		return 0
	case errors.Is(err, net.ErrClosed):
		e.demux.failed(errSocketClosed)
		return 0
	}
	e.errors.reads.Add(1)
	e.errors.note(socketRead, err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = e.conn.SetReadDeadline(time.Time{}) // the program has set it, but does not read
	}
	if q.backoff == nil {
		q.backoff = new(readBackoff)
	}
	pause, lost := q.backoff.failed(err)
	if lost {
		e.demux.failed(fmt.Errorf("kcp: the packet connection has failed: %w", err))
	}
	return pause
}

// pass feeds datagrams that another reader of the connection has read.
func (q *handoff) pass(msgs []received) {
	r := newReader(q.ep)
	r.batch(msgs)
	r.release()
}

func (r *reader) batch(msgs []received) {
	r.lent.now = r.ep.sched.now()
	r.now = r.lent.now.ms()
	r.arrival, r.nonce = arrival{}, nonceNone // the last batch may be of a socket with a key
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
	if out&inputKeys != 0 && s.makeKeys() && out&inputDue == 0 {
		s.flushNow() // with a buffer that r does not keep
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
	if r.underKeys(data, peer) || r.endedKeys(data, peer, custom) {
		return
	}
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
			if r.nonce == nonceSeen || s.questionRestartedLocked(r.now) {
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
