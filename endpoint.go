// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// endpoint is one packet socket with its reader and the sessions on it. A dialled session's endpoint has that session
// alone, a listener's has all it accepted; packets are opened and sealed in the same place for both.
type endpoint struct {
	conn   net.PacketConn
	owned  bool // the library opened conn and closes it
	io     batchConn
	sealer *sealer
	sched  *TimedSched
	opts   options // for accepted sessions

	maxRunBytes    int
	maxRunSegments int

	errors socketErrors

	mu       sync.RWMutex // guards what follows; taken with no session's lock held
	sessions map[sessionKey]*UDPSession
	peers    map[peerAddr]*UDPSession // the first of a peer's sessions; they are linked
	listener *Listener                // nil once closed, or none
	waits    timeWaits
	leaving  int // sessions out of the table whose last packets are still to be sent
	stopping bool
	woken    chan struct{} // closed by stop
	done     chan struct{} // closed when the reader has ended
	deaf     atomic.Bool   // the connection knows no deadlines: nobody can wake the reader
}

// sessionKey names a session on a socket.
type sessionKey struct {
	peer peerAddr
	conv uint32
}

func newEndpoint(conn net.PacketConn, owned bool, o *options) *endpoint {
	e := &endpoint{
		conn: conn, owned: owned, sealer: newSealer(o.block), sched: o.sched, opts: *o,
		sessions: make(map[sessionKey]*UDPSession),
		peers:    make(map[peerAddr]*UDPSession),
		woken:    make(chan struct{}),
		done:     make(chan struct{}),
	}
	if owned {
		setDefaultBuffers(conn)
	}
	e.errors.hook = o.onSocketError
	e.io = newBatchConn(conn)
	e.maxRunBytes, e.maxRunSegments = e.io.maxRun()
	e.waits.init(e)
	return e
}

// start begins to read the socket.
func (e *endpoint) start() { go e.readLoop() }

// add puts s into the table. It reports false if the place is taken or the endpoint is going away.
func (e *endpoint) add(s *UDPSession) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := sessionKey{s.peer, s.conv}
	if e.stopping || e.sessions[key] != nil {
		return false
	}
	e.sessions[key] = s
	s.nextOfPeer = e.peers[s.peer]
	e.peers[s.peer] = s
	return true
}

// remove takes s, and no other session of its name, out of the table and leaves a time-wait record. The last one to go
// ends an endpoint that has no listener, but not before its last packets are out: sending says that somebody is about to
// send them, who then calls left.
func (e *endpoint) remove(s *UDPSession, w timeWait, sending bool) {
	e.mu.Lock()
	if sending {
		e.leaving++
	}
	key := sessionKey{s.peer, s.conv}
	if e.sessions[key] == s {
		delete(e.sessions, key)
		if w.worth {
			e.waits.add(key, w)
		}
	}
	e.unlink(s)
	stop := e.unused()
	e.mu.Unlock()
	if stop {
		e.stop()
	}
}

// left is called when the last packets of a session that was removed while they were being sent are out. It may come
// before remove.
func (e *endpoint) left() {
	e.mu.Lock()
	e.leaving--
	stop := e.unused()
	e.mu.Unlock()
	if stop {
		e.stop()
	}
}

// unlink takes s out of its peer's list.
func (e *endpoint) unlink(s *UDPSession) {
	head := e.peers[s.peer]
	if head == s {
		if s.nextOfPeer == nil {
			delete(e.peers, s.peer)
		} else {
			e.peers[s.peer] = s.nextOfPeer
		}
		s.nextOfPeer = nil
		return
	}
	for p := head; p != nil; p = p.nextOfPeer {
		if p.nextOfPeer == s {
			p.nextOfPeer = s.nextOfPeer
			s.nextOfPeer = nil
			return
		}
	}
}

// unused reports whether nobody needs the reader any more, and marks the endpoint as stopping: the caller then calls stop
// without the lock.
func (e *endpoint) unused() bool {
	if e.stopping || e.listener != nil || len(e.sessions) > 0 || e.leaving != 0 {
		return false
	}
	e.stopping = true
	e.waits.clear()
	return true
}

// stop ends the reader.
func (e *endpoint) stop() {
	defer close(e.woken)
	if e.owned {
		e.conn.Close()
		return
	}
	// The socket is the caller's: the reader is woken by a deadline in the past, which it takes away as it leaves.
	if e.conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		e.deaf.Store(true)
	}
}

// stopPatience bounds the wait for a reader. Only a connection that takes a deadline and does not heed it lets it pass.
const stopPatience = time.Second

// waitStopped returns once an endpoint that is stopping reads no more, if it can be stopped. One that is used by nobody
// but leaving, which may be nil, stops as soon as the last packets of that session, or of those that have ended, are out.
func (e *endpoint) waitStopped(leaving *UDPSession) {
	e.mu.RLock()
	stopping := e.stopping || e.listener == nil && len(e.sessions) < 2
	if stopping {
		for _, s := range e.sessions {
			stopping = s == leaving
		}
	}
	e.mu.RUnlock()
	if stopping {
		e.awaitReader()
	}
}

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

// failed ends everything on a socket that has been closed under us.
func (e *endpoint) failed(err error) {
	e.mu.Lock()
	e.stopping = true
	l := e.listener
	e.listener = nil
	e.waits.clear()
	all := make([]*UDPSession, 0, len(e.sessions))
	for _, s := range e.sessions {
		all = append(all, s)
	}
	e.mu.Unlock()
	for _, s := range all {
		s.mu.Lock()
		s.fail(err)
		s.readCond.Broadcast()
		s.writeCond.Broadcast()
		s.mu.Unlock()
		s.finish()
	}
	if l != nil {
		l.socketClosed(err)
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
