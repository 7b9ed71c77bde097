// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"time"
)

// sessionOpener is what has opened a session.
type sessionOpener uint8

const (
	byDial      sessionOpener = iota // over a socket of its own, or a connection
	byTransport                      // dialled over a socket that other sessions use too
	byListener
)

// dialManner is over what a session is dialled.
type dialManner uint8

const (
	dialConn        dialManner = iota // a connection of the program
	dialSocket                        // a socket that the library has opened for the session
	dialTransport                     // a Transport
	dialShared                        // a socket of Config.SharedSocket
	dialSharedAlone                   // such a socket without another session to the same peer
)

// newDialled makes the session of a program that dials.
func newDialled(
	env *sessionEnv, raddr net.Addr, conv uint32, o *options, manner dialManner,
) *UDPSession {
	peer := newPeerAddr(raddr)
	if manner != dialConn && manner != dialTransport {
		raddr = nil // the library has resolved it: it follows from peer
	}
	s := newSession(env, conv, peer, raddr, o)
	s.core.ctl.dial()
	s.keys.ask()
	if manner >= dialTransport {
		s.opener = byTransport
	}
	s.traceWith(o.trace)
	return s
}

// shareAddress makes the session announce to its peer that several sessions share the address. It
// is called before anything is sent.
func (s *UDPSession) shareAddress() {
	s.core.ctl.shareAddress()
	s.sharesAddress.Store(true)
}

// newAccepted makes the session of a new peer of the listener with that number.
func newAccepted(
	env *sessionEnv, key *sessionKey, custom net.Addr, o *options, listener uint32,
) *UDPSession {
	s := newSession(env, key.conv, key.peer, custom, o)
	s.opener, s.listener = byListener, listener
	s.core.ctl.accept()
	s.traceWith(o.trace)
	return s
}

// makeKeys computes what is due for the keys of the session. It reports whether something is to be
// sent then. s.mu must not be held: a handshake takes some 100 us.
func (s *UDPSession) makeKeys() (due bool) {
	s.mu.Lock()
	ctl := &s.core.ctl
	j := s.keys.job()
	if j.task == keyNoTask || j.task == keyBusy {
		s.mu.Unlock()
		return false
	}
	j.source = s.env.sealer.keySource()
	j.own = kexPeer{incarnation: ctl.incarnation, flags: ctl.announces() & kexFlags}
	j.peer = kexPeer{incarnation: ctl.peer, flags: uint32(ctl.peerFlags) & kexFlags}
	asker := &j.own
	if j.task == keyAnswers {
		asker = &j.peer
	}
	j.prologue = kexPrologue(s.conv, asker.incarnation, asker.flags)
	s.mu.Unlock()

	heard := j.message
	made := j.run(randomUint64, func(k *keyring) bool { return s.env.host.addKeys(k, s) })

	s.mu.Lock()
	retired := j.ring.id
	if s.keys.possible() && !s.life.removed() {
		retired, due = s.keys.done(&j, made, heard, s.now())
		if made && j.task == keyFinishes {
			s.core.keysMade()
		} else if !made {
			s.core.refuseMessage()
		}
	}
	s.mu.Unlock()
	s.env.host.removeKeys(retired)
	return due
}

// headlessPatience is how long a session is kept if its first segment does not arrive, which a
// later one has overtaken. A peer goes on as long with the default DeadTimeout. The DeadTimeout of
// the listener counts if it is longer.
const headlessPatience millis = 30_000

// openedLocked is called when the session is in the table, before its first datagram is fed to it.
// It reports whether Accept may return the session: whether that datagram holds the first segment.
// s.mu must be held.
func (s *UDPSession) openedLocked(begins bool, now millis) bool {
	s.setPendingLocked(s.core.addr != nil)
	if s.core.trace != nil && s.core.addr == nil {
		s.core.trace.start()
	}
	if !begins {
		s.life.awaitHead(now + max(headlessPatience, s.core.life.deadTimeout)) // S1.61
	}
	return begins
}

// isHeadless reports whether the first segment of an accepted session has not come yet.
func (s *UDPSession) isHeadless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life.headless()
}

// beginLocked reports once that the first segment of a session has arrived behind a later one. s.mu
// must be held.
func (s *UDPSession) beginLocked() bool {
	if !s.life.headless() || s.life.ended() || s.core.rcvNxt == 0 {
		return false
	}
	s.life.head()
	return true
}

// turnAway ends a session that Accept will never return, and releases the data that it has
// received.
func (s *UDPSession) turnAway() {
	s.replaced()
	s.mu.Lock()
	s.releaseReadingLocked()
	s.mu.Unlock()
}

// closeUnaccepted closes a session that Accept will never return.
func (s *UDPSession) closeUnaccepted() {
	s.mu.Lock()
	s.life.setLinger(0)
	s.life.shutRead() // no program has it to read
	s.mu.Unlock()
	_ = s.Close()
}

// traceWith makes the trace of a new session, which is written to what open returns. It is started
// once the session is in the table and its peer's address is validated.
func (s *UDPSession) traceWith(open traceTarget) {
	if open == nil {
		return
	}
	now := s.env.clock.now()
	t := s.newTrace(now, open)
	t.event(now, traceOpened, 0)
	s.core.setTrace(t)
}

// newTrace returns a trace that begins at now. Its start needs s.mu.
func (s *UDPSession) newTrace(now instant, open traceTarget) (t *traceLog) {
	info := TraceInfo{Conv: s.conv, VantagePoint: "client", Start: time.Now()}
	if s.opener == byListener {
		info.VantagePoint = "server"
	}
	t = newTraceLog(now, s.core.kind, func() {
		c := &s.core
		set := &traceSettings{
			mtu: int(s.mtu), segment: c.mss, sndWnd: int(c.sndWnd), rcvWnd: int(c.rcvWnd),
			interval: c.interval, minRTO: millis(c.minRTO), fec: s.turns.active, modes: c.modes,
			control: c.kind, resend: len(c.topOrders),
		}
		go func() {
			info.Local, info.Remote = s.LocalAddr(), s.RemoteAddr()
			runTracer(t, open, info, set)
		}()
	})
	return t
}

// endTraceLocked ends the trace. s.mu must be held.
func (s *UDPSession) endTraceLocked() {
	if s.core.trace != nil {
		s.core.trace.end()
	}
}
