// SPDX-License-Identifier: MIT

package kcp

import (
	"iter"
	"net"
	"sync"
	"time"
)

// Listener accepts sessions on a packet socket: a net.Listener. All its methods may be called from any goroutine at any
// time.
type Listener struct {
	demux  *demux
	opts   options // of the sessions to come
	number uint32  // among the listeners that the sockets have had

	mu       sync.Mutex // guards what follows
	cond     waiters
	deadline deadline
	backlog  RingBuffer[*UDPSession]
	closed   bool
	failure  error // the socket has been closed under the listener
	refused  uint64
}

func newListener(d *demux, o *options) *Listener {
	l := &Listener{demux: d, opts: *o}
	l.cond.L = &l.mu
	return l
}

// Accept is AcceptKCP as net.Listener has it; what it returns is a *UDPSession.
func (l *Listener) Accept() (net.Conn, error) {
	s, err := l.AcceptKCP()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptKCP waits for the next session. A session begins with its first data, or with the first packet of a peer that waits
// for it (Config.WaitPeer). After Close the error matches net.ErrClosed, after the deadline os.ErrDeadlineExceeded.
func (l *Listener) AcceptKCP() (*UDPSession, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, errClosed
		case l.deadline.passed():
			return nil, errTimeout
		}
		if s, ok := l.backlog.Pop(); ok {
			s.handedOut.Store(true)
			return s, nil
		}
		if l.failure != nil {
			return nil, l.failure
		}
		l.deadline.arm(&l.cond)
		l.cond.Wait()
	}
}

// offer puts a new session into the backlog, which may hold so many. It reports false if there is no room or nobody to
// accept.
func (l *Listener) offer(s *UDPSession, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.backlog.Len() >= most {
		l.refused++
		return false
	}
	l.backlog.Push(s)
	l.cond.Signal()
	return true
}

// room reports whether offer would refuse, before work is spent on a session, and whether there is little room left: half
// of the backlog is for those whose address is no forged one.
func (l *Listener) room() (full, crowded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.backlog.Len()
	if full = l.closed || n >= l.opts.backlog; full {
		l.refused++
	}
	return full, n > l.opts.backlog/2
}

// Close stops accepting: blocked calls return, sessions that nobody has accepted are reset. Accepted sessions live on. A
// socket that the library opened closes with the last of them, or is taken over by the next listener or Transport that
// this process opens on the same address: it begins at once, and the sessions live on beside its own. Where it has another
// cipher or Scheduler they end, with an error that matches net.ErrClosed, and their peers are reset. A socket that is the
// caller's is not read any more once Close has returned and no accepted session is left. Closing a second time gives an
// error that matches net.ErrClosed.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errClosed
	}
	l.closed = true
	l.deadline.disarm()
	l.cond.Broadcast()
	var waiting []*UDPSession
	for s, ok := l.backlog.Pop(); ok; s, ok = l.backlog.Pop() {
		waiting = append(waiting, s)
	}
	l.mu.Unlock()
	for s := range l.Sessions() {
		s.mu.Lock()
		if s.headless {
			waiting = append(waiting, s)
		}
		s.mu.Unlock()
	}
	for _, s := range waiting {
		s.mu.Lock()
		s.linger, s.readClosed = 0, true // nobody has it to read
		s.mu.Unlock()
		_ = s.Close()
	}
	l.demux.leave(func() {
		if l.demux.listener == l {
			l.demux.listener = nil
		}
	})
	return nil
}

// socketClosed is called when the socket was closed by somebody else.
func (l *Listener) socketClosed(err error) {
	l.mu.Lock()
	l.failure = err
	l.cond.Broadcast()
	l.mu.Unlock()
}

// Addr returns the address of the socket.
func (l *Listener) Addr() net.Addr { return l.demux.localAddr() }

// Sessions yields the sessions that the listener has opened and that have not ended, also those that wait for Accept and,
// after Close, those that live on. No lock is held meanwhile: a session that opens or ends during the iteration may or
// may not be among them.
func (l *Listener) Sessions() iter.Seq[*UDPSession] {
	return func(yield func(*UDPSession) bool) {
		l.demux.sessions.all(func(s *UDPSession) bool { return !s.accepted || s.listener != l.number || yield(s) })
	}
}

// SetDeadline sets the deadline of Accept, for calls that are blocked already too. The zero time is none. After Close the
// error matches net.ErrClosed.
func (l *Listener) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetReadDeadline is SetDeadline.
func (l *Listener) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	l.deadline.set(t)
	l.cond.Broadcast()
	return nil
}

// SetWriteDeadline does nothing: a listener writes nothing that could block. It returns an error that matches
// errors.ErrUnsupported.
func (l *Listener) SetWriteDeadline(time.Time) error { return errNoOption }

// SetDSCP sets the differentiated services code point, 0 to 63, of the socket and so of all its sessions
// (RFC 2474). A connection that is no socket gives an error that matches errors.ErrUnsupported.
func (l *Listener) SetDSCP(dscp int) error { return l.demux.setDSCP(dscp) }

// SetReadBuffer sets the size of the socket's receive buffer in bytes, of each where there are several. The system may give
// less without a word; Stats tells. A connection without such a buffer gives an error that matches errors.ErrUnsupported.
func (l *Listener) SetReadBuffer(bytes int) error { return l.demux.setReadBuffer(bytes) }

// SetWriteBuffer sets the size of the socket's send buffer in bytes, as SetReadBuffer does for the receive buffer.
func (l *Listener) SetWriteBuffer(bytes int) error { return l.demux.setWriteBuffer(bytes) }

// Control calls f with the socket, to set options on it, or with one after the other where there are several, up to the
// first error. f must not read, write or close it.
func (l *Listener) Control(f func(conn net.PacketConn) error) error { return l.demux.each(f) }

// ListenerStats is what a listener has done and how it stands. Counts are since its beginning.
type ListenerStats struct {
	Sessions int // on the listener's socket now, those that wait for Accept included
	Backlog  int // of them, those that wait for Accept
	// Refused counts the datagrams that would have opened a session while Config.AcceptBacklog sessions waited; a peer
	// that sends again and again is counted as often.
	Refused uint64

	Pending       int    // of the sessions, those whose peer has not proved to receive at its address
	Challenged    uint64 // newcomers that were asked to prove that first (Config.MaxPending)
	Vouched       uint64 // those that did
	RefusedFull   uint64 // datagrams that would have opened a session beyond Config.MaxSessions
	RefusedPrefix uint64 // likewise Config.MaxPerPrefix

	Memory        int64  // bytes that the sessions hold beyond 8 KiB each (Config.MaxMemory)
	RefusedMemory uint64 // segments and packets that were thrown away for want of it

	Socket SocketStats // of all sockets together, where there are several (Config.Sockets)
}

// Stats returns the listener's figures, also after Close.
func (l *Listener) Stats() ListenerStats {
	st := ListenerStats{Socket: l.demux.socketStats()}
	l.demux.mu.Lock()
	st.Sessions = l.demux.sessions.live
	c := &l.demux.admission.counts
	st.Challenged, st.Vouched, st.RefusedFull, st.RefusedPrefix = c.challenged, c.vouched, c.full, c.prefixFull
	l.demux.mu.Unlock()
	st.Pending = int(l.demux.pending.Load())
	st.Memory, st.RefusedMemory = l.demux.memory.held.Load(), l.demux.memory.refused.Load()
	l.mu.Lock()
	st.Backlog, st.Refused = l.backlog.Len(), l.refused
	l.mu.Unlock()
	return st
}
