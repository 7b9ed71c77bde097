// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"sync/atomic"
	"time"
)

// endpoint is one packet socket with its reader. Packets are opened and sealed in the same place for all that use it.
type endpoint struct {
	demux *demux // the sessions on it
	sessionEnv
	txSocket
	sources sourceNames
	out     *queuedConn // io, if conn is a foreign connection; nil for a UDP socket

	ingress ingress
	sole    atomic.Pointer[UDPSession] // the one session of the socket; nil if there are several, or none

	woken chan struct{} // closed by stop
	done  chan struct{} // closed when the reader has ended
	deaf  atomic.Bool   // the connection knows no deadlines: nobody can wake the reader
}

// sourceNames is how the sources of datagrams are named.
type sourceNames uint8

const (
	sourcesNamed  sourceNames = iota // as peers are
	sourcesByConv                    // perhaps otherwise, as dialledAs says
)

// ingress reads a socket and feeds the sessions on it.
type ingress interface {
	poller
	run()                 // reads until the socket stops, on a goroutine of its own
	stopped()             // the socket has been closed: run is to end
	pass(msgs []received) // takes datagrams that another reader of the connection has read
}

// newReadLoop makes what reads the socket of an endpoint.
type newReadLoop func(e *endpoint) ingress

func newEndpoint(d *demux, conn net.PacketConn, owner connOwner, o *options, read newReadLoop) *endpoint {
	e := &endpoint{
		demux: d,
		sessionEnv: sessionEnv{
			conn: conn, owner: owner, clock: d.sched, sealer: d.sealer, acceptSealer: d.acceptSealer,
			memory: &d.memory, pending: &d.pending,
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
	e.ingress = read(e)
	return e
}

func (e *endpoint) isStopping() bool { return e.demux.stopping.Load() }

// stop ends the reader, and on a foreign connection the writer, once what was queued for it is out. It does not block: the
// methods of a foreign connection are called on a goroutine of their own.
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
		e.conn.Close()
		e.ingress.stopped()
	} else if e.io.stopReading(); e.conn.SetReadDeadline(past) != nil {
		e.deaf.Store(true) // otherwise the reader is woken, and takes the deadline away as it leaves
	}
	close(e.woken)
	if e.out != nil {
		e.out.await(stopPatience)
		e.out.close()
	}
}

const (
	// stopPatience bounds the wait for the reader of a connection that takes a deadline and does not heed it, and for the
	// last packets of one that blocks.
	stopPatience = time.Second
	// writePatience is how much of that a call of the program waits for a connection that blocks.
	writePatience = 250 * time.Millisecond
)

// awaitStopped waits until a socket that is the caller's is read no more and what was queued for a foreign connection is
// out, and until one that is the library's is closed. It does so for a bounded time.
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

// socketStats returns the figures of the endpoint's socket.
func (e *endpoint) socketStats() SocketStats {
	st := SocketStats{LostDatagrams: e.errors.lost.Load(), ReadErrors: e.errors.reads.Load()}
	if newest := e.errors.newest.Load(); newest != nil {
		st.LastError, st.LastErrorTime = newest.err, newest.at
	}
	st.ReadBuffer, st.WriteBuffer, _ = socketBuffers(e.conn) // there may be no socket behind it
	st.GSO, st.GRO = e.io.features()
	if a := e.sealer.aead; a != nil {
		st.KeyPackets = a.packets.Load()
	}
	return st
}

// The methods of sessionHost that the endpoint hands on.

func (e *endpoint) remove(s *UDPSession, ended *endedSession, bye *farewell, sending bool) {
	e.demux.remove(s, ended, bye, sending)
}

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
