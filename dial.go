// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"net"
	"net/netip"

	"github.com/pkg/errors"
)

// Dial makes a session to the UDP address raddr without cipher or FEC. Its windows begin with 32
// segments, as those of legacy peers, and grow. All else is as in an empty Config. It sends nothing
// and does not fail if the peer is absent. An error is that of the address or of opening a socket.
// The net.Conn is a *UDPSession.
func Dial(raddr string) (net.Conn, error) {
	s, err := DialWithOptions(raddr, nil, 0, 0)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// DialWithOptions is Dial with a cipher (nil for none) and a Reed-Solomon configuration (0, 0 for
// none; together at most 256). An error for shard counts that are out of range names them.
func DialWithOptions(
	raddr string, block BlockCrypt, dataShards, parityShards int,
) (*UDPSession, error) {
	o, err := legacyOptions(block, dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	addr, err := resolve(ctx, raddr)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: dial")
	}
	s, err := dialUDP(ctx, addr, o)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: dial")
	}
	return s, nil
}

// NewConn makes a session to the UDP address raddr over conn. conn stays the caller's, but no one
// else may read it while the session lives. That is until the peer has acknowledged all data after
// Close: see UDPSession.Done. The next session, listener or Transport over the same conn need not
// wait for that. With the same cipher and scheduler it shares their reader. Errors are those of
// DialWithOptions, and one that matches os.ErrInvalid for a nil conn.
func NewConn(
	raddr string, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn,
) (*UDPSession, error) {
	addr, err := resolve(context.Background(), raddr)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: new connection")
	}
	return NewConn2(addr, block, dataShards, parityShards, conn)
}

// NewConn2 is NewConn with an address of conn's own kind, which need not be a UDP address.
func NewConn2(
	raddr net.Addr, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn,
) (*UDPSession, error) {
	return NewConn3(randomConv(), raddr, block, dataShards, parityShards, conn)
}

// NewConn3 is NewConn2 with a conversation id of the caller's choice. The other functions draw a
// random one. An id that was in use with the same peer shortly before may receive packets of that
// session (docs/protocol.md, section 4).
func NewConn3(
	convid uint32, raddr net.Addr, block BlockCrypt, dataShards, parityShards int,
	conn net.PacketConn,
) (*UDPSession, error) {
	return NewConn4(convid, raddr, block, dataShards, parityShards, false, conn)
}

// NewConn4 is NewConn3. If ownConn is true, the session closes conn when it has ended: once Close
// has delivered all data, or the session has failed and Close was called.
func NewConn4(
	convid uint32, raddr net.Addr, block BlockCrypt, dataShards, parityShards int,
	ownConn bool, conn net.PacketConn,
) (*UDPSession, error) {
	o, err := legacyOptions(block, dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	return dialOver(conn, ownConn, raddr, convid, o)
}

// Listen accepts sessions on the local UDP address laddr, such as ":4000", without cipher or FEC
// and with windows as for Dial. An error is that of the address or of opening the socket. The
// net.Listener is a *Listener, and accepted connections are *UDPSession.
func Listen(laddr string) (net.Listener, error) {
	l, err := ListenWithOptions(laddr, nil, 0, 0)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ListenWithOptions is Listen with a cipher (nil for none) and a Reed-Solomon configuration (0, 0
// for none). The FEC of peers is understood whatever it is. An error for shard counts that are out
// of range names them.
func ListenWithOptions(
	laddr string, block BlockCrypt, dataShards, parityShards int,
) (*Listener, error) {
	o, err := legacyOptions(block, dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	return listenAt(context.Background(), laddr, o)
}

// ServeConn accepts sessions on conn, which stays the caller's. No one else may read it while the
// listener or one of its sessions lives. Errors are those of ListenWithOptions, and one that
// matches os.ErrInvalid for a nil conn.
func ServeConn(
	block BlockCrypt, dataShards, parityShards int, conn net.PacketConn,
) (*Listener, error) {
	o, err := legacyOptions(block, dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	if isNil(conn) {
		return nil, badArgument("conn", nil, "a packet connection")
	}
	return serveOver(conn, false, o), nil
}

// listenAt opens the sockets of a listener.
func listenAt(ctx context.Context, laddr string, o *options) (*Listener, error) {
	var l *Listener
	_, err := openDemux(ctx, laddr, o, newIngress, func(d *demux) {
		l = newListener(d.newBacklog(o))
	})
	if err != nil {
		return nil, errors.Wrap(err, "kcp: listen")
	}
	return l, nil
}

func serveOver(conn net.PacketConn, owned bool, o *options) *Listener {
	if owned {
		d := newDemux([]net.PacketConn{conn}, connGiven, o, newIngress)
		return serveOn(d, o)
	}
	var l *Listener
	overLent(conn, sourcesNamed, nil, o, newIngress, func(d *demux) bool {
		return d.reuse(o, func(d *demux) {
			l = newListener(d.newBacklog(o))
		})
	})
	return l
}

// serveOn makes a listener on sockets without another user.
func serveOn(d *demux, o *options) *Listener {
	b, _ := d.listen(o) // it cannot fail
	d.start()
	return newListener(b)
}

func dialOver(
	conn net.PacketConn, owned bool, raddr net.Addr, conv uint32, o *options,
) (s *UDPSession, err error) {
	if isNil(conn) {
		return nil, badArgument("conn", nil, "a packet connection")
	}
	if isNil(raddr) {
		return nil, badArgument("raddr", nil, "an address")
	}
	_, udp := conn.(*net.UDPConn)
	sources := sourcesNamed
	if !udp || !newPeerAddr(raddr).udp.IsValid() {
		sources = sourcesByConv
	}
	if owned {
		d := newDemux([]net.PacketConn{conn}, connGiven, o, newIngress)
		d.eps[0].sources = sources
		d.shareNonces(&dialledNonces)
		return d.dialFirst(raddr, conv, o, dialConn)
	}
	overLent(conn, sources, &dialledNonces, o, newIngress, func(d *demux) bool {
		d.endClosed(sessionKey{newPeerAddr(raddr), conv})
		if s, err = d.dial(d.eps[0], raddr, conv, o, dialConn); err != nil {
			return false
		}
		d.join(o)
		return true
	})
	return s, err
}

// dialUDP makes a session over a socket that the library opens, or has opened for others.
func dialUDP(ctx context.Context, raddr *net.UDPAddr, o *options) (*UDPSession, error) {
	open := func() (net.PacketConn, error) { return openSocket(ctx, raddr) }
	if o.dialModes.has(dialShares) {
		s, err := sharedSockets.dial(ctx, raddr, o, newDialledIngress, open)
		if s != nil || err != nil {
			return s, err
		}
	}
	conn, err := open()
	if err != nil {
		return nil, err
	}
	s, err := dialOpened(conn, raddr, o)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// dialOpened is dialOver for a socket that the library has opened for the session.
func dialOpened(conn net.PacketConn, raddr net.Addr, o *options) (*UDPSession, error) {
	d := newDemux([]net.PacketConn{conn}, connOwn, o, newDialledIngress)
	d.shareNonces(&dialledNonces)
	d.eps[0].probes = mustStayWhole // no other session uses the socket
	return d.dialFirst(raddr, randomConv(), o, dialSocket)
}

// dialFirst makes the first session of a demux.
func (d *demux) dialFirst(
	raddr net.Addr, conv uint32, o *options, manner dialManner,
) (*UDPSession, error) {
	s, err := d.dial(d.eps[0], raddr, conv, o, manner)
	d.start()
	return s, err
}

// resolve finds the UDP address of a peer. Of a name with several addresses it takes the first,
// IPv4 before IPv6, as package net does. The resolver checks ctx only where it has to wait.
func resolve(ctx context.Context, addr string) (*net.UDPAddr, error) {
	a, err := lookup(ctx, addr)
	if err != nil {
		return nil, err
	}
	return net.UDPAddrFromAddrPort(newPeerAddr(a).udp), nil
}

func lookup(ctx context.Context, addr string) (*net.UDPAddr, error) {
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "udp", Err: err}
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
		if err != nil {
			return nil, err
		}
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(n))), nil
	}
	if ctx.Done() == nil {
		return net.ResolveUDPAddr("udp", addr)
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	best := ips[0]
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			best = ip
			break
		}
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(best.Unmap(), uint16(n))), nil
}

// openSocket opens an unconnected socket of the family of raddr, so that an ICMP refusal is no
// error of the socket.
func openSocket(ctx context.Context, raddr *net.UDPAddr) (net.PacketConn, error) {
	network := "udp6"
	if raddr.IP.To4() != nil || raddr.IP == nil {
		network = "udp4"
	}
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, network, ":0")
}
