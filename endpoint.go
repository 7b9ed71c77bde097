// SPDX-License-Identifier: MIT

package kcp

import (
	"cmp"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// An endpoint is one packet socket with its reader. All packets of the socket are opened and sealed
// here.
type endpoint struct {
	demux *demux // the sessions on it
	sessionEnv
	txSocket
	sources sourceNames
	out     *queuedConn // io, if conn is a foreign connection; nil for a UDP socket

	ingress ingress
	// the only session of the socket; nil if there are several, or none
	sole atomic.Pointer[UDPSession]

	answers      uint32 // without a session in answerSecond; whoever reads the socket counts them
	answerSecond millis

	woken chan struct{} // closed by stop
	done  chan struct{} // closed when the reader has ended
	deaf  atomic.Bool   // the connection has no deadlines: the reader cannot be woken
}

// sourceNames is how the sources of datagrams are named.
type sourceNames uint8

const (
	sourcesNamed  sourceNames = iota // as peers are named
	sourcesByConv                    // perhaps otherwise: see dialledAs
)

// An ingress reads a socket and feeds the sessions on it.
type ingress interface {
	poller
	start()               // reads until the socket stops
	stopped()             // is called when the socket is about to be closed
	pass(msgs []received) // feeds datagrams that another reader of the connection has read
}

// newReadLoop makes what reads the socket of an endpoint.
type newReadLoop func(e *endpoint) ingress

func newEndpoint(
	d *demux, conn net.PacketConn, owner connOwner, o *options, read newReadLoop,
) *endpoint {
	e := &endpoint{
		demux: d,
		sessionEnv: sessionEnv{
			conn: conn, owner: owner, clock: d.sched,
			sealer: d.sealer, acceptSealer: d.acceptSealer,
			memory: d.memory, pending: &d.pending,
		},
		woken: make(chan struct{}),
		done:  make(chan struct{}),
	}
	e.host = e
	if e.owned() {
		setDefaultBuffers(conn)
	}
	e.errors.setHook(o.onSocketError)
	io := newBatchConn(conn)
	if _, udp := conn.(*net.UDPConn); !udp {
		e.out = newQueuedConn(io, e.wrote)
		io = e.out
	}
	e.txSocket.init(io, d.sched, d.sealer.aead)
	e.refused = e.noteTooLarge
	if e.out == nil {
		e.closed = e.checkOpen
	} else {
		e.out.refuse = e.noteRefused
	}
	e.ingress = read(e)
	return e
}

// answersPerSecond bounds the answers without a session on one socket (S1.62).
const answersPerSecond = 1000

// mayAnswer counts an answer without a session, and reports whether there may be one more.
func (e *endpoint) mayAnswer(now millis) bool {
	if second := now / 1000; second != e.answerSecond {
		e.answerSecond, e.answers = second, 0
	}
	e.answers++
	return e.answers <= answersPerSecond
}

func (e *endpoint) isStopping() bool { return e.demux.stopping.Load() }

// stop stops the reader and, on a foreign connection, the writer once its queue is empty. It does
// not block: methods of a foreign connection are called on a goroutine of their own.
func (e *endpoint) stop() {
	if e.out != nil {
		go e.halt()
	} else {
		e.halt()
	}
}

func (e *endpoint) halt() {
	if e.owned() {
		if e.out != nil {
			e.out.await(stopPatience)
		}
		e.ingress.stopped()
		e.conn.Close()
	} else if e.io.stopReading(); e.conn.SetReadDeadline(past) != nil {
		e.deaf.Store(true) // otherwise the reader is woken, and clears the deadline when it returns
	}
	close(e.woken)
	if e.out != nil {
		e.out.await(stopPatience)
		e.out.close()
	}
}

const (
	// stopPatience bounds the wait for a reader that a deadline does not wake, and for the last
	// packets of a connection that blocks.
	stopPatience = time.Second
	// writePatience is how much of stopPatience a call of the program waits for a connection that
	// blocks.
	writePatience = 250 * time.Millisecond
)

// awaitStopped waits, for a bounded time, until the socket is stopped. A socket of the caller is
// then no longer read, and the queue of a foreign connection is empty. A socket of the library is
// closed.
func (e *endpoint) awaitStopped() {
	switch {
	case e.out == nil && e.owned():
		return
	case e.out != nil && !e.out.await(writePatience):
		return
	}
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-e.woken:
	case <-patience.C:
		return
	}
	if e.owned() || e.deaf.Load() {
		return
	}
	select {
	case <-e.done:
	case <-patience.C:
	}
}

// checkOpen implements sessionHost. A pollSet does not report that a socket was closed.
func (e *endpoint) checkOpen() {
	err := controlSocket(e.conn, func(uintptr) error { return nil })
	if errors.Is(err, net.ErrClosed) && !e.isStopping() {
		e.demux.failed(errSocketClosed)
	}
}

// noteTooLarge tells the sessions of a peer that the socket has refused a datagram to it.
func (e *endpoint) noteTooLarge(o *outgoing) {
	peer := newPeerAddrPort(o.to)
	if o.toAddr != nil {
		peer = newPeerAddr(o.toAddr)
	}
	for s := e.demux.peers.find(&peer, 0); s != nil; s = s.link.next.Load() {
		s.datagramRefused(o.refused)
	}
}

// pathBound implements sessionHost. The program alone knows what a foreign connection carries.
func (e *endpoint) pathBound(peer *peerAddr, wanted int) (most int) {
	if e.out != nil {
		return cmp.Or(wanted, foreignMost)
	}
	if most = routePayload(peer.udp); most == 0 {
		most = mtuDefault // nothing is known of the interface
	}
	return min(most, cmp.Or(wanted, most))
}

// foreignMost is the UDP payload of a full Ethernet frame with IPv4.
const foreignMost = mtuMax - udpHeaders4

// socketStats returns the figures of the endpoint's socket.
func (e *endpoint) socketStats() SocketStats {
	st := SocketStats{LostDatagrams: e.errors.lost.Load(), ReadErrors: e.errors.reads.Load()}
	if newest := e.errors.newest.Load(); newest != nil {
		st.LastError, st.LastErrorTime = newest.err, newest.at
	}
	st.ReadBuffer, st.WriteBuffer, _ = socketBuffers(e.conn) // the connection may be no socket
	st.GSO, st.GRO = e.io.features()
	if a := e.sealer.aead; a != nil {
		st.KeyPackets = a.packets.Load()
	}
	return st
}

// These methods of sessionHost are the demux's.

func (e *endpoint) remove(s *UDPSession, ended *endedSession, bye *farewell, sending bool) {
	e.demux.remove(s, ended, bye, sending)
}

func (e *endpoint) addKeys(k *keyring, s *UDPSession) bool { return e.demux.addKeys(k, s) }

func (e *endpoint) removeKeys(id uint32) { e.demux.removeKeys(id) }

func (e *endpoint) endKeys(ids [3]uint32, o endedOutcome) { e.demux.endKeys(ids, o) }

func (e *endpoint) left() { e.demux.left() }

func (e *endpoint) farewellOver() { e.demux.farewellOver() }

func (e *endpoint) waitStopped(leaving *UDPSession) { e.demux.waitStopped(leaving) }

func (e *endpoint) poll() poller { return e.ingress }

// written implements sessionHost.
func (e *endpoint) written() <-chan struct{} {
	if e.out == nil {
		return nil
	}
	return e.out.written()
}

func (e *endpoint) setDSCP(dscp int) error { return setDSCP(e.conn, dscp) }

func (e *endpoint) setReadBuffer(bytes int) error { return setReadBuffer(e.conn, bytes) }

func (e *endpoint) setWriteBuffer(bytes int) error { return setWriteBuffer(e.conn, bytes) }
