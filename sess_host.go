// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"sync/atomic"
)

// sessionEnv is what the sessions over one socket share.
type sessionEnv struct {
	host  sessionHost
	conn  net.PacketConn
	owner connOwner

	clock        *TimedSched
	sealer       *sealer // of dialled sessions; opens everything
	acceptSealer *sealer // of accepted ones
	memory       *memoryAccount
	pending      *atomic.Int64 // accepted sessions whose peer's address is not validated
}

// A connOwner is the owner of a socket's connection.
type connOwner uint8

const (
	connLent  connOwner = iota // the caller's
	connGiven                  // opened by the program and handed over: the library closes it
	connOwn                    // opened by the library
)

// owned reports whether the library closes the connection.
func (e *sessionEnv) owned() bool { return e.owner != connLent }

// sessionHost is the socket that carries a session. Its methods are called without the session's
// lock, unless their comments require it.
type sessionHost interface {
	// unlockAndFlush sends what is due for o. The lock of o is held and is released. now is the
	// scheduler's time.
	unlockAndFlush(o turnOwner, now instant)
	// flushTimed sends what is due for o at the end of a scheduler worker's wake-up.
	flushTimed(o turnOwner, b *timedBatch)
	// coalesce leaves the flush of o to a worker. The lock of o is held. It returns false if the
	// caller is to flush.
	coalesce(o turnOwner, peerHash uint32) bool
	// sendTimed sends a segment that belongs to no session any more.
	sendTimed(s *segment, sealer *sealer, to *destination, b *timedBatch)
	// written returns a channel that is closed when all packets handed to the socket are out; nil
	// if they are already.
	written() <-chan struct{}

	// remove takes s off the socket and keeps e to compare late packets with. bye, which may be
	// nil, repeats the RESET. sending means that a turn of s is out; left is to be called after it.
	remove(s *UDPSession, e *endedSession, bye *farewell, sending bool)
	left()
	// addKeys makes packets under keys of s find it. It returns false if their id is taken.
	addKeys(k *keyring, s *UDPSession) bool
	// removeKeys undoes that.
	removeKeys(id uint32)
	// endKeys lets the record of a session that has ended answer packets under its keys.
	endKeys(ids [3]uint32, outcome endedOutcome)
	// farewellOver is called when a farewell that was given to remove has ended.
	farewellOver()
	isStopping() bool
	// waitStopped waits, for a bounded time, until a socket that is stopping is read no more. A
	// socket that only leaving uses stops as soon as the last packets of that session are out.
	waitStopped(leaving *UDPSession)

	// poll returns what lets a blocked call read the socket.
	poll() poller

	// checkOpen ends all that is on a socket that the program has closed.
	checkOpen()

	// pathBound returns the largest datagram that may be sent to a peer in one packet. wanted is
	// the largest that the program wants, 0 if it does not say.
	pathBound(peer *peerAddr, wanted int) (most int)

	socketStats() SocketStats
	setDSCP(dscp int) error
	setReadBuffer(bytes int) error
	setWriteBuffer(bytes int) error
}

// poller lets a blocked call read the socket itself. Between acquire, which returns false if the
// socket has another reader, and release the call has the socket for itself.
type poller interface {
	acquire(s *UDPSession) bool // called with the lock of s held
	read() (n int)              // waits for datagrams
	process(n int)              // feeds them to the session
	release(s *UDPSession)      // called with the lock of s held
	interrupt()                 // makes read return
}
