// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// UDPSession is one reliable connection over UDP and implements net.Conn. Dialled and accepted
// sessions are the same type. All methods may be called from any goroutine at any time. Concurrent
// Writes do not mix their bytes.
type UDPSession struct {
	env      *sessionEnv
	peer     peerAddr
	remote   atomic.Pointer[net.Addr] // the peer's address as it was named; nil until it is needed
	conv     uint32
	peerHash uint32
	listener uint32 // the number of the listener that has made it
	opener   sessionOpener

	link          peerLink
	sharesAddress atomic.Bool   // HELLO announces that several sessions share the address
	newestSeqID   atomic.Uint32 // of the newest FEC shard received
	marks         sessionMarks

	dup atomic.Int32             // further copies of each datagram
	log atomic.Pointer[logger]   // nil: none
	oob atomic.Pointer[oobQueue] // nil until there was a handler

	timer timerEntry

	mu    sync.Mutex // guards all that follows; the order of all mutexes is in docs/internals.md
	core  core
	keys  sessionKeys
	calls *blockedCalls // nil until a call has waited or a deadline was set

	mtu      uint16 // of the UDP payload, as it is set
	pathMTU  uint16 // as it is used: another one where the path was found to carry it
	pathMost uint16 // the largest that the program lets the search find, 0 for the usual bounds
	search   mtuSearch

	life  sessionLife
	turns turns

	partial    recvSegment // the last segment read
	msgLeft    uint32      // segments of the message being read that are still queued
	partialOff uint16      // what of partial has been read, less than a datagram
	busy       sides       // a Read copies, a Write is under way, the reader's batch is not over
	pending    bool        // accepted, and the peer's address is not validated
	unread     *unreadData // what Read gives after Close; nil for nothing

	local   netip.Addr // what an accepted session answers from, if the socket has several
	charged int64      // bytes that the account knows of

	decoder *fecDecoder
	fecDone *fecStats // of a decoder that has been released

	counted  countedStats // what of core.stats has been added to the totals
	sent     traffic
	received traffic
}

// sessionMarks is a set of what is once noted of a session. It may be used without a lock.
type sessionMarks struct{ set atomic.Uint32 }

const (
	markHandedOut   = 1 << iota // Accept has returned it
	markExactSource             // datagrams come from the address that was dialled
)

func (m *sessionMarks) add(mark uint32) { m.set.Or(mark) }

func (m *sessionMarks) has(mark uint32) bool { return m.set.Load()&mark != 0 }

// peerLink is a session's place among the sessions of its peer. The demux's lock guards it, but
// next is read without.
type peerLink struct {
	next  atomic.Pointer[UDPSession]
	prev  *UDPSession
	place peerPlace
}

// peerPlace is the part of the list that a session is in.
type peerPlace uint8

const (
	peerFront peerPlace = iota // a new session of the peer may supersede it
	peerBack                   // no session does: it shares the address on purpose
)

// newSession makes a session over the socket of env, which does not know it yet. addr is the peer's
// address as it was named, or nil if it follows from peer.
func newSession(
	env *sessionEnv, conv uint32, peer peerAddr, addr net.Addr, o *options,
) *UDPSession {
	s := &UDPSession{env: env, peer: peer, conv: conv, peerHash: peer.hash(0)}
	if addr != nil {
		s.remote.Store(&addr)
	}
	s.core.init(conv, s.now())
	s.core.flight.timeRounds()
	s.core.randomize(timestamp(randomUint64()), drawNumber)
	s.core.ctl.begin(randomUint64()|1, env.sealer.authenticates(), env.sealer.marks())
	if env.sealer.keySource() != nil {
		s.core.ctl.announceKeys()
		s.keys.begin(o.keys, o.maxPending)
		s.core.ctl.requireKeys(o.keys == keysRequired)
	}
	s.core.setModes(o.modes)
	s.core.setNoDelay(o.noDelay, o.interval, o.resend, -1)
	s.core.setControl(o.control, o.bandwidth)
	s.core.setWindows(o.sndWnd, o.rcvWnd)
	s.core.life.setTimeouts(toMillis(o.deadTimeout), toMillis(o.keepAlive), toMillis(o.idleTimeout))
	s.life.init()
	s.mtu, s.pathMTU = uint16(o.mtu), uint16(o.mtu)
	s.pathMost, s.search = uint16(o.pathMost), o.search
	s.turns.wanted, s.turns.active = o.fec, o.fec.pair()
	s.turns.choosesParity(o.chooser)
	if o.fec.data > 0 {
		// The peer most likely has the same configuration. The arguments have been checked.
		s.turns.encoder, _ = newFECEncoder(o.fec.data, o.fec.parity)
		s.makeDecoderLocked()
		s.decoder.hint(o.fec.data, o.fec.parity)
	}
	s.applyMTULocked()
	if s.search == mtuSearched {
		s.core.ctl.boundFirst(pathBase - s.overheadLocked())
	}
	env.clock.bind(&s.timer, s)
	return s
}

// now returns the time on the scheduler's clock, in milliseconds.
func (s *UDPSession) now() millis { return s.env.clock.now().ms() }

// applyMTULocked sets the part of a datagram that KCP may fill. It returns false, and changes
// nothing, if that would leave no room for data. s.mu must be held.
func (s *UDPSession) applyMTULocked() bool {
	return s.core.setMTU(int(s.pathMTU) - s.overheadLocked()) // S0.3
}

// overheadLocked returns how many bytes the layers below KCP add to a datagram. s.mu must be held.
func (s *UDPSession) overheadLocked() int {
	return s.env.sealer.headroom() + s.env.sealer.tailroom() + s.turns.fecHeader()
}

// updateLocked is called whenever the state machine may have changed. It moves the session on in
// its life, wakes calls that wait, releases memory, and sets the timer. It reports ended if the
// session has just ended; the caller then calls finish without the lock. It reports due if
// something is to be sent now. A caller that flushes then (flushes is true) needs no timer for it:
// the timer's worker would only interfere. s.mu must be held.
func (s *UDPSession) updateLocked(now millis, flushes bool) (ended, due bool) {
	if s.life.ended() {
		return false, false
	}
	if s.life.readShut() {
		s.discardReceivedLocked()
	}
	s.advanceLocked(now)
	s.wakeLocked()
	if s.life.ended() {
		return true, false
	}
	s.settleLocked(now)
	at := min(s.core.nextEvent(now), s.exchangeAtLocked())
	if due = at <= now; !due || !flushes {
		s.armAtLocked(at)
	}
	return false, due
}

// wakeLocked wakes the calls for which something has changed. s.mu must be held.
func (s *UDPSession) wakeLocked() {
	c := &s.core
	if c.readable() > 0 || c.ctl.hasPeerFinal() || c.life.connecting() || s.life.ended() {
		s.wakeReadersLocked()
	}
	if s.life.ended() {
		s.wakeWritersLocked()
	} else if s.busy.has(sideWrite) { // others wait for the one that writes
		if free, share := c.writeRoom(); free >= share {
			s.wakeWritersLocked()
		}
	}
}

// settleLocked updates the account of memory and what the table knows of the session, and releases
// memory that is no longer needed. s.mu must be held.
func (s *UDPSession) settleLocked(now millis) {
	c := &s.core
	if c.ctl.addressShared() {
		s.sharesAddress.Store(true)
	}
	c.releaseIdle()
	if s.decoder.releaseIdle(now) {
		s.turns.releaseIdle()
	}
	if id := s.keys.expire(now); id != 0 {
		go s.env.host.removeKeys(id)
	}
	s.keys.releaseIdle(now)
	s.chargeLocked()
	s.setPendingLocked(s.pending && c.addr != nil)
}

// arm sets the timer of a new dialled session, whose idle time begins now, and starts its trace.
func (s *UDPSession) arm() {
	s.mu.Lock()
	s.armLocked(s.now())
	if s.core.trace != nil {
		s.core.trace.start()
	}
	s.mu.Unlock()
}

// armLocked sets the timer to the next event. s.mu must be held.
func (s *UDPSession) armLocked(now millis) {
	if !s.life.ended() {
		s.armAtLocked(s.core.nextEvent(now))
	}
}

// armAtLocked is like armLocked, with the next event of the state machine given. s.mu must be held.
func (s *UDPSession) armAtLocked(at millis) {
	if s.life.ended() || s.turns.queued {
		return // a flush is to come, which does it
	}
	if at = s.dueLocked(at); at != never {
		s.timer.move(at.instant())
	}
}

// dueLocked returns when something is to be done next, given the next event of the state machine.
// s.mu must be held.
func (s *UDPSession) dueLocked(at millis) millis {
	return min(at, s.life.nextEvent(), s.decoder.nextIdle(), s.turns.closeEvent(),
		s.exchangeAtLocked(), s.keys.idleAt(), s.lookAtLocked())
}

// rearmLocked is called when the timer fires. It returns false if something is due, and otherwise
// sets the timer again. s.mu must be held.
func (s *UDPSession) rearmLocked(now millis) (early bool) {
	if s.life.ended() {
		return true
	}
	at := s.core.nextEvent(now)
	if s.dueLocked(at) <= now {
		return false
	}
	s.armAtLocked(at)
	return true
}

// GetConv returns the conversation id: the same number at both ends, drawn by the side that
// dialled.
func (s *UDPSession) GetConv() uint32 { return s.conv }

// LocalAddr returns the address of the session's socket; for an accepted session that is the
// listener's.
func (s *UDPSession) LocalAddr() net.Addr { return s.env.conn.LocalAddr() }

// demandProof limits what a new session sends until its peer's address is validated. A factor of 0
// does not.
func (s *UDPSession) demandProof(factor int) {
	first := int(s.mtu)
	switch {
	case factor == 0:
		first = allowanceMost
	case s.core.ctl.keyed:
		first *= unprovedKeyed // S1.63
	}
	s.core.demandProof(newAddressCheck(
		factor, first, s.overheadLocked(), randomUint64(), s.core.sendUna, s.now()))
}

// chargeLocked charges to the account what the session holds, and grants the state machine what it
// may hold besides. s.mu must be held.
func (s *UDPSession) chargeLocked() {
	held := s.core.heldBytes()
	if s.partial.data != nil {
		held += memorySegment
	}
	if s.decoder != nil {
		held += s.decoder.memory()
	}
	if e := s.turns.encoder; e != nil && !s.life.removed() { // endTurn releases it then
		held += max(e.memory()-memoryUncounted, 0) // the parity of common groups is within it
	}
	if !s.life.removed() {
		held += s.unread.memory()
	}
	m := s.env.memory
	if own := int64(max(held-memoryUncounted, 0)); own != s.charged {
		m.held.Add(own - s.charged)
		s.charged = own
	}
	if refused := s.core.memory.takeRefused(); refused > 0 {
		m.refused.Add(uint64(refused))
	}
	s.core.memory.grant(m.room(s.charged))
}

// grantMemoryLocked passes on to the state machine what the account leaves for it now. s.mu must be
// held.
func (s *UDPSession) grantMemoryLocked() {
	s.core.memory.grant(s.env.memory.room(s.charged))
}

// setPendingLocked counts an accepted session as one whose peer's address is not validated, until
// settleLocked finds that it is, or the session ends. s.mu must be held.
func (s *UDPSession) setPendingLocked(pending bool) {
	if s.pending != pending {
		s.pending = pending
		n := int64(1)
		if !pending {
			n = -1
		}
		s.env.pending.Add(n)
	}
}

// sealerLocked returns what seals the session's packets. s.mu must be held.
func (s *UDPSession) sealerLocked() *sealer {
	if s.keys.have() {
		return s.keys.sealing(s.env.sealer.keySource(), s.now())
	}
	return s.preSharedLocked()
}

// preSharedLocked returns what seals the session's packets under the pre-shared key. s.mu must be
// held.
func (s *UDPSession) preSharedLocked() *sealer {
	if s.opener == byListener || s.core.ctl.marking == markUpper {
		return s.env.acceptSealer
	}
	return s.env.sealer
}

// RemoteAddr returns the peer's address, the same value on every call. It is the address that the
// program has dialled, or that the ReadFrom of a net.PacketConn returned for the peer.
func (s *UDPSession) RemoteAddr() net.Addr {
	if a := s.remoteAddr(); a != nil {
		return a
	}
	var a net.Addr = net.UDPAddrFromAddrPort(s.peer.udp)
	s.remote.CompareAndSwap(nil, &a)
	return s.remoteAddr()
}

// remoteAddr returns the peer's address as it was named. It is nil for a session accepted on a UDP
// socket until RemoteAddr is called.
func (s *UDPSession) remoteAddr() net.Addr {
	if a := s.remote.Load(); a != nil {
		return *a
	}
	return nil
}
