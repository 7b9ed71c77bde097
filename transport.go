// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"iter"
	"net"
	"sync/atomic"

	"github.com/pkg/errors"
)

// Transport carries any number of sessions over one socket: dialled ones to many peers, also
// several to the same peer, and those of a listener. It has one goroutine for each socket, whatever
// the number of sessions, and one that writes if the connection is not a *net.UDPConn. ReadNonKCP
// returns datagrams that are not KCP, such as STUN. All methods may be called concurrently.
//
// All sessions of a Transport share its cipher and its scheduler, because a datagram is opened
// before its session is known.
//
// The HELLO of sessions that a Transport dials has the flag for a shared address (S4.6). A legacy
// peer ignores it and keeps one session at a time for each address.
type Transport struct {
	demux *demux
	opts  options
	block BlockCrypt
	next  atomic.Uint32 // counts sessions, to spread them over the sockets
}

// NewTransport makes a Transport over conn, which stays the caller's. No one else may read it
// before the Transport and all its sessions are closed. c is the default for dialled and accepted
// sessions; its Sockets is ignored. NewTransport sends nothing.
func (c *Config) NewTransport(conn net.PacketConn) (*Transport, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	if isNil(conn) {
		return nil, badArgument("conn", nil, "a packet connection")
	}
	t := &Transport{opts: *o, block: c.BlockCrypt}
	overLent(conn, sourcesNamed, nil, o, newIngress, func(d *demux) bool {
		t.demux = d
		return d.reuse(o, (*demux).openTransport)
	})
	return t, nil
}

// OpenTransport makes a Transport over its own socket on the local UDP address addr, such as
// ":4000" or "127.0.0.1:0", or over several on the same port (Sockets). The sockets close with the
// last session after Close.
func (c *Config) OpenTransport(ctx context.Context, addr string) (*Transport, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	d, err := openDemux(ctx, addr, o, newIngress, (*demux).openTransport)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: transport")
	}
	return &Transport{demux: d, opts: *o, block: c.BlockCrypt}, nil
}

// options returns the settings of c, or those of the Transport if c is nil.
func (t *Transport) options(c *Config) (*options, error) {
	if c == nil {
		return &t.opts, nil
	}
	own := *c
	if own.BlockCrypt == nil {
		own.BlockCrypt = t.block
	} else if !sameCipher(own.BlockCrypt, t.block) {
		return nil, badArgument("Config.BlockCrypt", "another cipher", "the Transport's, or nil")
	}
	own.Scheduler = t.demux.sched
	return own.options()
}

// Dial makes a session to raddr, an address of the socket's own kind. Like Config.Dial it sends
// nothing and does not wait for the peer, unless WaitPeer is set; then ctx limits the wait. c may
// be nil for the Transport's settings. Its BlockCrypt must be nil or the Transport's, and its
// Scheduler and OnSocketError are ignored. After Close the error matches net.ErrClosed.
func (t *Transport) Dial(ctx context.Context, raddr net.Addr, c *Config) (*UDPSession, error) {
	o, err := t.options(c)
	if err != nil {
		return nil, err
	}
	if isNil(raddr) {
		return nil, badArgument("raddr", nil, "an address")
	}
	if t.closed() {
		return nil, errClosed
	}
	ep := t.demux.eps[int(t.next.Add(1))%len(t.demux.eps)]
	s, err := t.demux.dial(ep, raddr, randomConv(), o, dialTransport)
	for err == errNameTaken {
		s, err = t.demux.dial(ep, raddr, randomConv(), o, dialTransport)
	}
	if err != nil {
		return nil, err
	}
	if err := s.awaitPeer(ctx, o); err != nil {
		return nil, errors.Wrap(err, "kcp: dial")
	}
	return s, nil
}

// Listen accepts sessions on the socket. c is as for Dial. A Transport has at most one listener at
// a time. Closing the listener does not close the Transport.
func (t *Transport) Listen(c *Config) (*Listener, error) {
	o, err := t.options(c)
	if err != nil {
		return nil, err
	}
	if t.closed() {
		return nil, errClosed
	}
	b, err := t.demux.listen(o)
	if err != nil {
		return nil, err
	}
	return newListener(b), nil
}

func (t *Transport) closed() bool { return !t.demux.hasTransport() }

// LocalAddr returns the address of the socket.
func (t *Transport) LocalAddr() net.Addr { return t.demux.localAddr() }

// Sessions yields the sessions that have not ended, dialled and accepted ones. No lock is held: a
// session that opens or ends during the iteration may or may not be yielded.
func (t *Transport) Sessions() iter.Seq[*UDPSession] { return t.demux.sessions.all }

// Close ends dialling, ReadNonKCP and the listener, as Listener.Close does. Sessions live on. A
// socket of OpenTransport closes with the last of them. A socket of the caller is no longer read
// once Close has returned and no session is left. A second Close returns an error that matches
// net.ErrClosed.
func (t *Transport) Close() error {
	if !t.demux.closeTransport() {
		return errClosed
	}
	return nil
}

// SetDSCP sets the differentiated services code point, 0 to 63, of the socket and so of all its
// sessions.
func (t *Transport) SetDSCP(dscp int) error { return t.demux.setDSCP(dscp) }

// SetReadBuffer sets the size of the socket's receive buffer in bytes, or of each socket's.
func (t *Transport) SetReadBuffer(bytes int) error { return t.demux.setReadBuffer(bytes) }

// SetWriteBuffer sets the size of the socket's send buffer in bytes, or of each socket's.
func (t *Transport) SetWriteBuffer(bytes int) error { return t.demux.setWriteBuffer(bytes) }

// Control calls f with the socket, to set options on it. If there are several sockets, it calls f
// with each, up to the first error. f must not read, write or close the socket.
func (t *Transport) Control(f func(conn net.PacketConn) error) error { return t.demux.each(f) }
