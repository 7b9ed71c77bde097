// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// OOBCallBackType is the type of the handler of SetOOBHandler. It is called with the payload of one
// out-of-band packet, which is valid until it returns.
type OOBCallBackType func([]byte)

// oobQueueMax is how many out-of-band packets wait for a session's handler. When they are that
// many, new ones are dropped.
const oobQueueMax = 64

// oobQueue hands out-of-band packets to the session's handler, on a goroutine that exists only
// while there are some. A slow handler delays nothing else.
type oobQueue struct {
	handler atomic.Pointer[OOBCallBackType]
	dropped atomic.Uint64
	memory  *memoryAccount

	mu      sync.Mutex // guards what follows; taken with the session's lock held
	waiting [][]byte   // pooled
	state   oobState
}

// oobState is what an oobQueue does.
type oobState uint8

const (
	oobIdle    oobState = iota
	oobRunning          // a goroutine calls the handler
	oobClosed           // nothing more is taken
)

// push queues a copy of payload for the handler, in a buffer of the cache. A nil queue, of a
// session that never had a handler, drops it.
func (q *oobQueue) push(payload []byte, cache *bufferCache) {
	if q == nil || q.handler.Load() == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	room := q.memory.room(0).room
	if q.state == oobClosed || len(q.waiting) >= oobQueueMax || room < memoryWeight(len(payload)) {
		q.dropped.Add(1)
		return
	}
	kept := cache.clone(payload)
	q.memory.held.Add(oobMemory(kept))
	q.waiting = append(q.waiting, kept)
	if q.state == oobIdle {
		q.state = oobRunning
		go q.run()
	}
}

// oobMemory returns how many bytes a waiting packet counts.
func oobMemory(b []byte) int64 { return int64(memoryWeight(cap(b))) * memorySegment }

func (q *oobQueue) run() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			if q.state == oobRunning {
				q.state = oobIdle
			}
			q.waiting = nil
			q.mu.Unlock()
			return
		}
		payload := q.waiting[0]
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		if h := q.handler.Load(); h != nil {
			(*h)(payload)
		}
		size := oobMemory(payload)
		putBuffer(payload)
		q.memory.held.Add(-size)
	}
}

// close drops the packets that wait and those that still arrive.
func (q *oobQueue) close() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state = oobClosed
	for _, b := range q.waiting {
		q.memory.held.Add(-oobMemory(b))
		putBuffer(b)
	}
	q.waiting = nil
}

func (q *oobQueue) droppedCount() uint64 {
	if q == nil {
		return 0
	}
	return q.dropped.Load()
}

// SetOOBHandler sets the function that is called with the payload of each out-of-band packet; nil
// ends it. Packets are handed over one at a time, in the order of their arrival, outside all locks.
// At most 64 wait; further ones are dropped and counted. It returns an error on a closed session.
func (s *UDPSession) SetOOBHandler(handler OOBCallBackType) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.closed() {
		return errClosed
	}
	q := s.oob.Load()
	switch {
	case handler != nil && q == nil:
		q = &oobQueue{memory: s.env.memory}
		if s.life.ended() {
			q.state = oobClosed
		}
		s.oob.Store(q)
		fallthrough
	case handler != nil:
		q.handler.Store(&handler)
	case q != nil:
		q.handler.Store(nil)
	}
	return nil
}

// oobHeader is what an out-of-band packet adds to its payload: the FEC header and the conversation
// id (S2.18).
//
//	| 0xFFFFFFFF u32 | 0x00F3 u16 | size u16 | conv u32 | payload ... |
const (
	oobHeader = fecHeaderSize + 4
	oobSeqID  = 0xFFFFFFFF
)

// GetOOBMaxSize returns the most bytes that SendOOB takes: the room in a datagram of the session's
// MTU.
func (s *UDPSession) GetOOBMaxSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.oobMaxLocked()
}

func (s *UDPSession) oobMaxLocked() int {
	return max(0, int(min(s.mtu, s.pathMTU))-s.overOOB())
}

// overOOB is what an out-of-band datagram has besides its payload.
func (s *UDPSession) overOOB() int {
	return s.env.sealer.headroom() + s.env.sealer.tailroom() + oobHeader
}

// SendOOB sends data once, in a datagram of its own. The datagram may be lost, duplicated or
// reordered, and is not acknowledged. data may be empty. SendOOB fails if data is longer than
// GetOOBMaxSize, if the session has ended, or if there is no nonce. On an accepted session whose
// peer's address is not validated it also fails above the limit of Config.AmplificationLimit.
func (s *UDPSession) SendOOB(data []byte) error {
	s.mu.Lock()
	err := s.life.writeErr
	if most := s.oobMaxLocked(); err == nil && len(data) > most {
		err = badArgument("length of out-of-band data", len(data), "0 to GetOOBMaxSize")
	}
	if err == nil && s.keys.required() && !s.keys.have() {
		err = errKeysPending
	}
	if err == nil && !s.core.addr.takeBeside(s.overOOB()+len(data), s.now()) {
		s.armLocked(s.now())
		err = errUnproved
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	t := oobTurnPool.Get().(*oobTurn)
	// A copy, so that the caller's buffer can stay on its stack.
	t.s, t.data = s, append(t.data[:0], data...)
	s.env.host.unlockAndFlush(t, s.env.clock.now())
	err = t.err
	*t = oobTurn{data: t.data[:0]}
	oobTurnPool.Put(t)
	return err
}

// oobTurn sends one out-of-band packet of a session, beside the session's own turns.
type oobTurn struct {
	s     *UDPSession
	data  []byte
	group turnGroup
	err   error // of sealing it
}

var oobTurnPool = sync.Pool{New: func() any { return new(oobTurn) }}

// lock implements turnOwner.
func (o *oobTurn) lock() { o.s.mu.Lock() }

// unlockAndBeginTurn implements turnOwner.
func (o *oobTurn) unlockAndBeginTurn(t *turn, _ instant, w *packetWriter, _ *counters) (need int) {
	s := o.s
	defer s.mu.Unlock()
	sealer := s.sealerLocked()
	w.headroom, w.tailroom, w.limit = sealer.headroom(), sealer.tailroom(), oobHeader+len(o.data)
	w.packets, w.maxPackets, w.shares = w.packets[:0], 1, false
	p := w.next(w.limit)
	if p == nil {
		return w.frame() + w.limit
	}
	binary.LittleEndian.PutUint32(p, oobSeqID)
	binary.LittleEndian.PutUint16(p[4:], fecTypeOOB)
	binary.LittleEndian.PutUint16(p[6:], uint16(2+4+len(o.data)))
	binary.LittleEndian.PutUint32(p[8:], s.conv)
	copy(p[oobHeader:], o.data)
	w.finish()
	o.group = s.turns.join()
	t.owner, t.destination = o, s.destinationLocked()
	t.sealer = sealer
	t.remember = sealer.session == nil && s.core.ctl.marking.remembers()
	return 0
}

// endTurn implements turnOwner.
func (o *oobTurn) endTurn(t *turn) (again bool) {
	s := o.s
	o.err = t.err
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turns.leave(o.group)
	s.sent.add(t.packets, t.bytes)
	if s.core.trace != nil {
		s.core.trace.count(s.env.clock.now(), traceDatagramsSent, traceOOB,
			uint32(t.packets), uint32(t.bytes), 0)
	}
	return false
}
