// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// endpoint is one packet socket with its reader. Packets are opened and sealed in the same place for all that use it.
type endpoint struct {
	demux  *demux // the sessions on it
	conn   net.PacketConn
	owned  bool // the library opened conn and closes it
	byConv bool // sources may be named otherwise than peers: see dialledAs
	io     batchConn
	sealer *sealer
	sched  *TimedSched

	crowd  crowd
	role   readRole
	reader *reader // of whoever has the role

	maxRunBytes    int
	maxRunSegments int

	errors socketErrors

	woken chan struct{} // closed by stop
	done  chan struct{} // closed when the reader has ended
	deaf  atomic.Bool   // the connection knows no deadlines: nobody can wake the reader
}

// sessionKey names a session on a socket.
type sessionKey struct {
	peer peerAddr
	conv uint32
}

func newEndpoint(d *demux, conn net.PacketConn, owned bool, o *options) *endpoint {
	e := &endpoint{
		demux: d, conn: conn, owned: owned, sealer: d.sealer, sched: d.sched,
		woken: make(chan struct{}),
		done:  make(chan struct{}),
	}
	if owned {
		setDefaultBuffers(conn)
	}
	e.errors.hook = o.onSocketError
	e.io = newBatchConn(conn)
	e.maxRunBytes, e.maxRunSegments = e.io.maxRun()
	e.initRole()
	e.sched.bind(&e.crowd.entry, &e.crowd)
	return e
}

func (e *endpoint) isStopping() bool { return e.demux.stopping.Load() }

// stop ends the reader.
func (e *endpoint) stop() {
	defer close(e.woken)
	if e.owned {
		e.conn.Close()
		e.stopRole()
		return
	}
	// The socket is the caller's: the reader is woken by a deadline in the past, which it takes away as it leaves.
	if e.conn.SetReadDeadline(past) != nil {
		e.deaf.Store(true)
	}
}

// stopPatience bounds the wait for a reader. Only a connection that takes a deadline and does not heed it lets it pass.
const stopPatience = time.Second

// awaitReader waits for the reader of a socket that is the caller's to end.
func (e *endpoint) awaitReader() {
	if e.owned || e.deaf.Load() {
		return
	}
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-e.done:
	case <-patience.C:
	}
}

// wrote notes the outcome of a batch. A datagram that the socket refused is a loss like any other: ARQ makes up for it.
func (e *endpoint) wrote(sent, lost int, err error) {
	if lost == 0 {
		return
	}
	e.errors.lost.Add(uint64(lost))
	if err != nil && !errors.Is(err, net.ErrClosed) {
		e.errors.note(socketWrite, err)
	}
}
