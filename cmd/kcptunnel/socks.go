// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/things-go/go-socks5"
	"github.com/things-go/go-socks5/statute"
)

// socksTimeout is how long a program has for its request.
const socksTimeout = 10 * time.Second

// socksServer serves SOCKS 5 (RFC 1928) to the programs beside a client, without authentication:
// CONNECT, and UDP ASSOCIATE. The server's end of the tunnel resolves names and connects.
//
// The library parses and answers. Its own handlers are not used: they end a connection with its
// first direction, and have no bound of flows.
type socksServer struct {
	ctx    context.Context // ends what is served
	client *ownClient
	log    *slog.Logger
	opts   func() *ownOptions
	flows  *flowLimiter
	server *socks5.Server
}

func newSocksServer(
	ctx context.Context, c *ownClient, flows *flowLimiter, opts func() *ownOptions, log *slog.Logger,
) *socksServer {
	s := &socksServer{ctx: ctx, client: c, log: log, opts: opts, flows: flows}
	s.server = socks5.NewServer(
		socks5.WithResolver(noResolver{}),
		socks5.WithConnectHandle(s.connect),
		socks5.WithAssociateHandle(s.associate),
	)
	return s
}

// serve serves one connection, and closes it.
func (s *socksServer) serve(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(socksTimeout))
	if err := s.server.ServeConn(conn); err != nil && s.ctx.Err() == nil {
		s.log.Debug("socks", "from", conn.RemoteAddr().String(), "error", err)
	}
}

// noResolver leaves names to the server's end.
type noResolver struct{}

func (noResolver) Resolve(ctx context.Context, _ string) (context.Context, net.IP, error) {
	return ctx, nil, nil
}

// connect serves CONNECT.
func (s *socksServer) connect(_ context.Context, w io.Writer, req *socks5.Request) error {
	conn, ok := w.(*net.TCPConn)
	if !ok {
		return errors.ErrUnsupported
	}
	_ = conn.SetDeadline(time.Time{}) // the request has come; the answer has a bound of its own
	r, err := newAddressRequest(kindAddress, req.RawDestAddr.String())
	if err != nil {
		_ = socks5.SendReply(conn, statute.RepAddrTypeNotSupported, nil)
		return err
	}
	remote, err := s.client.dialStream(s.ctx, *r)
	if err == nil {
		err = remote.answer.wait()
	}
	if err != nil {
		if remote != nil {
			_ = remote.Reset()
		}
		_ = socks5.SendReply(conn, socksReply(err), nil)
		return fmt.Errorf("%s: %w", r.address(), err)
	}
	// The address that the server's end has connected from is not known here.
	if err := socks5.SendReply(conn, statute.RepSuccess, &net.TCPAddr{IP: net.IPv4zero}); err != nil {
		_ = remote.Reset()
		return err
	}
	defer s.client.meters.opened(kindAddress)()
	carryOwn(s.ctx, &bufferedConn{conn, req.Reader}, remote, s.opts().closeWait, s.log)
	return nil
}

// bufferedConn is a connection of which something was read already.
type bufferedConn struct {
	*net.TCPConn
	reader io.Reader
}

func (b *bufferedConn) Read(p []byte) (int, error) { return b.reader.Read(p) }

// socksReply returns the reply for an error of a stream (RFC 1928, section 6).
func socksReply(err error) uint8 {
	var answer *statusError
	if !errors.As(err, &answer) {
		return statute.RepServerFailure
	}
	switch answer.status {
	case statusRefused:
		return statute.RepConnectionRefused
	case statusForbidden:
		return statute.RepRuleFailure
	case statusUnreachable:
		return statute.RepHostUnreachable
	case statusTimeout:
		return statute.RepTTLExpired
	}
	return statute.RepServerFailure
}

// associate serves UDP ASSOCIATE: the datagrams of the program that has the connection, until it
// closes the connection.
func (s *socksServer) associate(_ context.Context, w io.Writer, req *socks5.Request) error {
	tcp, ok := w.(*net.TCPConn)
	if !ok {
		return errors.ErrUnsupported
	}
	host, _, err := net.SplitHostPort(tcp.LocalAddr().String())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	conn, err := listenUDP(ctx, net.JoinHostPort(host, "0"))
	if err != nil {
		_ = socks5.SendReply(tcp, statute.RepServerFailure, nil)
		return err
	}
	if err := socks5.SendReply(tcp, statute.RepSuccess, conn.LocalAddr()); err != nil {
		_ = conn.Close()
		return err
	}
	_ = tcp.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()
	a := &association{conn: conn, table: newFlowTable(ctx, s.client, s.flows, s.opts, s.log)}
	a.program = tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	defer a.table.close()
	go func() {
		_, _ = io.Copy(io.Discard, req.Reader)
		cancel()
	}()
	readDatagrams(ctx, conn, s.log, a.send)
	return nil
}

// association is one UDP ASSOCIATE. It is used by the goroutine that reads its socket.
type association struct {
	conn    *net.UDPConn
	table   *flowTable
	program netip.Addr     // which the datagrams must come from
	from    netip.AddrPort // source of its first datagram, and of all others
}

// send forwards one datagram of the program. Fragments are dropped, as RFC 1928 permits.
func (a *association) send(data []byte, from netip.AddrPort) {
	d, ok := a.accept(data, from)
	if !ok {
		return
	}
	header := d.Header()
	a.table.send(flowKey{from, d.DstAddr.String()}, d.Data, func(reply []byte) {
		_, _ = a.conn.WriteToUDPAddrPort(append(header[:len(header):len(header)], reply...), from)
	})
}

// accept parses a datagram. It reports false for one that is to be dropped.
func (a *association) accept(data []byte, from netip.AddrPort) (d statute.Datagram, ok bool) {
	d, err := statute.ParseDatagram(data)
	if err != nil || d.Frag != 0 || from.Addr() != a.program {
		return d, false
	}
	if !a.from.IsValid() {
		a.from = from
	}
	return d, from == a.from
}
