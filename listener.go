// SPDX-License-Identifier: MIT

package kcp

import (
	"iter"
	"net"
	"time"
)

// Listener accepts sessions on a packet socket: a net.Listener. All its methods may be called from any goroutine at any
// time.
type Listener struct {
	demux   *demux
	backlog *backlog
}

func newListener(b *backlog) *Listener { return &Listener{b.demux, b} }

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
func (l *Listener) AcceptKCP() (*UDPSession, error) { return l.backlog.accept() }

// Close stops accepting: blocked calls return, sessions that nobody has accepted are reset. Accepted sessions live on. A
// socket that the library opened closes with the last of them, or is taken over by the next listener or Transport that
// this process opens on the same address: it begins at once, and the sessions live on beside its own. Where it has another
// cipher or Scheduler they end, with an error that matches net.ErrClosed, and their peers are reset. A socket that is the
// caller's is not read any more once Close has returned and no accepted session is left. Closing a second time gives an
// error that matches net.ErrClosed.
func (l *Listener) Close() error { return l.backlog.close() }

// Addr returns the address of the socket.
func (l *Listener) Addr() net.Addr { return l.demux.localAddr() }

// Sessions yields the sessions that the listener has opened and that have not ended, also those that wait for Accept and,
// after Close, those that live on. No lock is held meanwhile: a session that opens or ends during the iteration may or
// may not be among them.
func (l *Listener) Sessions() iter.Seq[*UDPSession] { return l.backlog.sessions }

// SetDeadline sets the deadline of Accept, for calls that are blocked already too. The zero time is none. After Close the
// error matches net.ErrClosed.
func (l *Listener) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetReadDeadline is SetDeadline.
func (l *Listener) SetReadDeadline(t time.Time) error { return l.backlog.setDeadline(t) }

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

// Stats returns the listener's figures, also after Close.
func (l *Listener) Stats() ListenerStats { return l.backlog.stats() }
