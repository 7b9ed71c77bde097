// SPDX-License-Identifier: MIT

package kcp

import (
	"iter"
	"net"
	"time"
)

// Listener accepts sessions on a packet socket. It is a net.Listener. All methods may be called
// concurrently.
type Listener struct {
	demux   *demux
	backlog *backlog
}

func newListener(b *backlog) *Listener { return &Listener{b.demux, b} }

// Accept is AcceptKCP for net.Listener. The net.Conn is a *UDPSession.
func (l *Listener) Accept() (net.Conn, error) {
	s, err := l.AcceptKCP()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptKCP waits for the next session. A session begins with its first data, or with the first
// packet of a peer that waits for it (Config.WaitPeer). After Close the error matches
// net.ErrClosed, after the deadline os.ErrDeadlineExceeded.
func (l *Listener) AcceptKCP() (*UDPSession, error) { return l.backlog.accept() }

// Close stops accepting: blocked calls return, and sessions that were not accepted are reset.
// Accepted sessions live on.
//
// A socket that the library opened closes with the last of them. The next listener or Transport of
// this process on the same address takes the socket over at once, and the sessions live on beside
// its own. With another cipher or Scheduler they end instead, with an error that matches
// net.ErrClosed, and their peers are reset.
//
// A socket of the caller is no longer read once Close has returned and no accepted session is left.
// A second Close returns an error that matches net.ErrClosed.
func (l *Listener) Close() error { return l.backlog.close() }

// Addr returns the address of the socket.
func (l *Listener) Addr() net.Addr { return l.demux.localAddr() }

// Sessions yields the sessions that the listener has opened and that have not ended. It includes
// those that wait for Accept and, after Close, those that live on. No lock is held: a session that
// opens or ends during the iteration may or may not be yielded.
func (l *Listener) Sessions() iter.Seq[*UDPSession] { return l.backlog.sessions }

// SetDeadline sets the deadline of Accept, for blocked calls too. The zero time is no deadline.
// After Close the error matches net.ErrClosed.
func (l *Listener) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetReadDeadline is SetDeadline.
func (l *Listener) SetReadDeadline(t time.Time) error { return l.backlog.setDeadline(t) }

// SetWriteDeadline does nothing, because a listener never blocks in a write. It returns an error
// that matches errors.ErrUnsupported.
func (l *Listener) SetWriteDeadline(time.Time) error { return errNoOption }

// SetDSCP sets the differentiated services code point (RFC 2474), 0 to 63, of the socket and so of
// all its sessions. A connection that is not a socket returns an error that matches
// errors.ErrUnsupported.
func (l *Listener) SetDSCP(dscp int) error { return l.demux.setDSCP(dscp) }

// SetReadBuffer sets the size of the socket's receive buffer in bytes, or of each socket's. The
// system may grant less without an error, which Stats shows. A connection without such a buffer
// returns an error that matches errors.ErrUnsupported.
func (l *Listener) SetReadBuffer(bytes int) error { return l.demux.setReadBuffer(bytes) }

// SetWriteBuffer sets the size of the socket's send buffer in bytes, as SetReadBuffer does for the
// receive buffer.
func (l *Listener) SetWriteBuffer(bytes int) error { return l.demux.setWriteBuffer(bytes) }

// Control calls f with the socket, to set options on it. If there are several sockets, it calls f
// with each, up to the first error. f must not read, write or close the socket.
func (l *Listener) Control(f func(conn net.PacketConn) error) error { return l.demux.each(f) }

// Stats returns the listener's figures, also after Close.
func (l *Listener) Stats() ListenerStats { return l.backlog.stats() }
