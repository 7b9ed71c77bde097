// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// UDPSession is one reliable connection over UDP: a net.Conn. Dialled and accepted sessions are the same thing. All its
// methods may be called from any goroutine at any time; concurrent Writes do not mix their bytes.
type UDPSession struct {
	env      *sessionEnv
	peer     peerAddr
	remote   atomic.Pointer[net.Addr] // the peer's address as it was named; nil: made when it is asked for
	conv     uint32
	peerHash uint32
	listener uint32 // the number of the listener that has made it
	accepted bool   // made by a listener
	guest    bool   // dialled over a Transport

	link          peerLink
	sharesAddress atomic.Bool   // HELLO says that several sessions share the peer's address on purpose
	newestSeqID   atomic.Uint32 // of the newest FEC shard received
	handedOut     atomic.Bool   // Accept has returned it
	exactSource   atomic.Bool   // datagrams come from the address that was dialled

	dup atomic.Int32             // further copies of each datagram
	log atomic.Pointer[logger]   // nil: none
	oob atomic.Pointer[oobQueue] // nil until there was a handler

	timer timerEntry

	mu    sync.Mutex // guards all that follows
	core  core
	mtu   int           // of the UDP payload
	calls *blockedCalls // nil until a call has waited or a deadline was set

	partial    recvSegment // the last segment read
	partialOff int         // what of it has been read
	msgLeft    uint32      // segments of the message being read that are still queued
	unread     *unreadData // what Read gives after Close; nil for nothing
	readErr    error       // what Read reports behind the data, once the session has failed
	writeErr   error

	reading    bool          // a Read copies out, others wait
	writing    bool          // a Write is under way, others wait
	closed     bool          // Close was called
	readClosed bool          // CloseRead was called, or Close
	ended      bool          // off the network; the failure is in readErr
	pending    bool          // accepted, and the peer has not proved itself
	headless   bool          // accepted, its first segment has not come, and Accept does not return it
	finished   bool          // taken out of the endpoint
	touched    bool          // waits for the end of the reader's batch
	linger     time.Duration // lingerByProgress unless SetLinger has set it
	lingerAt   millis        // when a closed session is given up
	finWaitAt  millis        // when it no longer waits for the peer's FIN

	local   netip.Addr // the address the peer has asked, where a socket has several; accepted sessions answer from it
	charged int64      // bytes that the account knows of
	turns   turns

	decoder *fecDecoder
	fecDone *fecStats // of a decoder that has been released

	counted     countedStats // what of core.stats has been added to the totals
	packetsSent uint64
	bytesOnWire uint64
	packetsIn   uint64
	bytesIn     uint64
}

// newSession makes a session over the socket of env, which does not know it yet. addr is the peer's address as it was named; nil
// where it follows from peer.
func newSession(env *sessionEnv, conv uint32, peer peerAddr, addr net.Addr, o *options) *UDPSession {
	s := &UDPSession{env: env, peer: peer, conv: conv, peerHash: peer.hash(0)}
	if addr != nil {
		s.remote.Store(&addr)
	}
	s.core.init(conv, s.now())
	s.core.flight.timeRounds()
	s.core.randomize(timestamp(randomUint64()), drawNumber)
	s.core.ctl.begin(randomUint64()|1, env.sealer.authenticates(), env.sealer.marks)
	s.core.setStream(o.stream)
	s.core.setWriteDelay(o.writeDelay)
	s.core.setACKNoDelay(o.ackNoDelay)
	s.core.setNoDelay(o.noDelay, o.interval, o.resend, o.nc)
	s.core.setWindows(o.sndWnd, o.rcvWnd)
	s.core.life.setTimeouts(toMillis(o.deadTimeout), toMillis(o.keepAlive), toMillis(o.idleTimeout))
	s.linger = lingerByProgress
	s.lingerAt, s.finWaitAt = never, never
	s.mtu = o.mtu
	s.turns.wanted, s.turns.active = o.fec, o.fec
	if o.fec.data > 0 {
		// The peer most likely has the same configuration.
		s.turns.encoder, _ = newFECEncoder(o.fec.data, o.fec.parity) // the arguments have been checked
		s.makeDecoder()
		s.decoder.hint(o.fec.data, o.fec.parity)
	}
	s.applyMTU()
	env.clock.bind(&s.timer, s)
	return s
}

// now is the time on the scheduler's clock, in milliseconds.
func (s *UDPSession) now() millis { return s.env.clock.now().ms() }

// applyMTU derives what KCP may fill of a datagram.
func (s *UDPSession) applyMTU() bool {
	return s.core.setMTU(s.mtu - s.overhead())
}

// overhead is what the layers below KCP add to a datagram.
func (s *UDPSession) overhead() int {
	return s.env.sealer.headroom() + s.env.sealer.tailroom() + s.turns.fecHeader()
}

// update is called with the lock held whenever the state machine may have changed: it wakes who waits, decides whether
// the session has come to its end, gives memory back, and sets the timer. It reports ended if the session has come to it
// just now; the caller then calls finish without the lock. due says that something is to be sent now; a caller that flushes
// then needs no timer for it, whose worker would only be in its way.
func (s *UDPSession) update(now millis, flushes bool) (ended, due bool) {
	if s.ended {
		return false, false
	}
	c := &s.core
	if s.readClosed {
		s.discardReceived()
	}
	s.noteProgress(now)
	s.giveUpClosing(now)
	switch {
	case c.ctl.wasReset(), c.gone():
		s.fail(errReset)
	case c.life.overdue(c.deadAt(), now):
		s.fail(errPeerDead)
	case c.life.overdue(c.idleAt(), now):
		s.fail(errIdle)
	case s.headless && now >= s.lingerAt:
		s.fail(errReset)
	case s.closed && (s.doneClosing(now) || now >= s.lingerAt && !c.ctl.resetDue() || c.ctl.resetSent()):
		s.fail(errClosed)
	case c.ctl.resetSent():
		s.fail(errProtocol)
	}
	if c.readable() > 0 || c.ctl.hasPeerFinal() || c.life.connecting() || s.ended {
		s.wakeReaders()
	}
	if free, share := c.writeRoom(); free >= share || s.ended {
		s.wakeWriters()
	}
	if s.ended {
		return true, false
	}
	if c.ctl.addressShared() {
		s.sharesAddress.Store(true)
	}
	c.releaseIdle()
	if s.decoder.releaseIdle(now) {
		s.turns.releaseIdle()
	}
	s.charge()
	s.setPending(s.pending && c.addr != nil)
	at := c.nextEvent(now)
	if due = at <= now; !due || !flushes {
		s.armAt(at)
	}
	return false, due
}

// arm sets the timer to the next event. Called with the lock held.
func (s *UDPSession) arm(now millis) {
	if !s.ended {
		s.armAt(s.core.nextEvent(now))
	}
}

// armAt is arm with the state machine's next event.
func (s *UDPSession) armAt(at millis) {
	if s.ended || s.turns.queued {
		return // a flush is to come, which does it
	}
	if at = min(at, s.lingerAt, s.finWaitAt, s.decoder.nextIdle()); at != never {
		s.timer.schedule(at.instant())
	}
}

// fail takes the session off the network. What was received stays readable; what was to be sent is given up.
func (s *UDPSession) fail(err error) {
	s.ended = true
	if s.readErr == nil {
		s.readErr = err
	}
	if s.writeErr == nil {
		s.writeErr = err
	}
}

// finish takes an ended session out of its endpoint. It is called without a lock, once.
func (s *UDPSession) finish() {
	s.mu.Lock()
	if s.finished {
		s.mu.Unlock()
		return
	}
	s.finished = true
	s.setPending(false)
	sending := s.turns.busy()
	record, bye := s.endedRecord(), s.farewell()
	s.releaseSending()
	if s.closed || s.headless {
		s.releaseReading() // nobody has it, or will have it, to read
	}
	s.charge()
	var done chan struct{}
	if s.calls != nil {
		done = s.calls.done
	}
	s.mu.Unlock()
	s.timer.stop()
	s.oob.Load().close()
	s.env.host.remove(s, &record, bye, sending)
	if done != nil {
		go s.announceEnd(done)
	}
	unheard.remove(s)
	DefaultSnmp.connClosed()
}

// GetConv returns the conversation id: the same number at both ends, drawn by the side that dialled.
func (s *UDPSession) GetConv() uint32 { return s.conv }

// LocalAddr returns the address of the session's socket; for an accepted session that is the listener's.
func (s *UDPSession) LocalAddr() net.Addr { return s.env.conn.LocalAddr() }

// demandProof bounds what a new session sends until its peer has proved itself; a factor of 0 does not.
func (s *UDPSession) demandProof(factor int) {
	first := s.mtu
	switch {
	case factor == 0:
		first = allowanceMost
	case s.core.ctl.keyed:
		first *= unprovedKeyed
	}
	s.core.demandProof(newAddressCheck(factor, first, s.overhead(), randomUint64(), s.core.sendUna, s.now()))
}

// charge brings the account up to date with what the session holds, and the session with what it may hold. Called with
// the lock held.
func (s *UDPSession) charge() {
	held := s.core.heldBytes()
	if s.partial.data != nil {
		held += memorySegment
	}
	if s.decoder != nil {
		held += s.decoder.memory()
	}
	if e := s.turns.encoder; e != nil && !s.finished { // the end of the turn that is out then gives it back
		held += max(e.memory()-memoryUncounted, 0) // the parity of common groups is within it
	}
	if !s.finished {
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

// grantMemory tells the state machine what the account leaves for it now. The lock is held.
func (s *UDPSession) grantMemory() {
	s.core.memory.grant(s.env.memory.room(s.charged))
}

// setPending says that an accepted session's peer has not proved itself, until settle finds that it has, or it ends.
func (s *UDPSession) setPending(pending bool) {
	if s.pending != pending {
		s.pending = pending
		n := int64(1)
		if !pending {
			n = -1
		}
		s.env.pending.Add(n)
	}
}

// sealer returns what seals the session's packets. The lock is held.
func (s *UDPSession) sealer() *sealer {
	if s.accepted || s.core.ctl.marking == markUpper {
		return s.env.acceptSealer
	}
	return s.env.sealer
}

// endedRecord returns what late packets are to be compared with. s.mu must be held.
func (s *UDPSession) endedRecord() endedSession {
	c := &s.core
	return endedSession{
		aborted:     s.aborted(),
		keep:        c.stats.segsIn > 0,
		peer:        c.ctl.peer,
		incarnation: c.ctl.incarnation,
		rcvNxt:      c.rcvNxt,
		newestTS:    c.newestTS,
		newestAt:    c.newestAt,
		born:        s.now(),
	}
}

// RemoteAddr returns the peer's address, the same value on every call: what the program has dialled, or what the
// ReadFrom of a net.PacketConn returned for the peer.
func (s *UDPSession) RemoteAddr() net.Addr {
	if a := s.remoteAddr(); a != nil {
		return a
	}
	var a net.Addr = net.UDPAddrFromAddrPort(s.peer.udp)
	s.remote.CompareAndSwap(nil, &a)
	return s.remoteAddr()
}

// remoteAddr returns the peer's address as it was named. It is nil for a session accepted on a UDP socket whose address
// nobody has asked for.
func (s *UDPSession) remoteAddr() net.Addr {
	if a := s.remote.Load(); a != nil {
		return *a
	}
	return nil
}
