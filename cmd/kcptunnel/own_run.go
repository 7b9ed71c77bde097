// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"iter"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seedkcp/kcp"
)

// ownEnd is one end of the tunnel in the mode of its own, as both have it.
type ownEnd struct {
	settings *settings
	log      *slog.Logger
	meters   *meters
	options  atomic.Pointer[ownOptions]
	hard     context.Context // ends what is open; ctx of run only ends accepting
	abort    context.CancelFunc
}

// runOwn runs an end until ctx is done. Then nothing new is accepted, and what is open has the time
// of -drain to end by itself.
func runOwn(ctx context.Context, s *settings, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx) // ends what begin has started, also after an error
	defer cancel()
	o, err := s.ownOptions()
	if err != nil {
		return err
	}
	o.config.OnSocketError = func(op string, err error) { log.Warn("socket", "op", op, "error", err) }
	if o.config.BlockCrypt, err = newOwnCipher(s.crypt, s.passphrase(), s.keyFile); err != nil {
		return err
	}
	e := &ownEnd{settings: s, log: log, meters: newMeters()}
	e.options.Store(o)
	e.hard, e.abort = context.WithCancel(context.WithoutCancel(ctx))
	defer e.abort()
	stop := context.AfterFunc(ctx, func() {
		drain := e.options.Load().drain
		log.Info("ending", "drain", drain.String())
		time.AfterFunc(drain, e.abort)
	})
	defer stop()
	if s.hangups == nil {
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
		s.hangups = hangups
	}
	if s.role == roleServer {
		return e.runServer(ctx)
	}
	return e.runClient(ctx)
}

// passphrase returns the key, unless it is the default, which everybody knows.
func (s *settings) passphrase() string {
	if s.key == defaultKey {
		return ""
	}
	return s.key
}

// runServer is the end beside the service.
func (e *ownEnd) runServer(ctx context.Context) error {
	server := newOwnServer(&e.options, e.log, e.meters)
	if err := server.listen(ctx); err != nil {
		return err
	}
	for _, t := range server.transports {
		e.log.Info("listening", "address", t.LocalAddr().String(), "target", e.options.Load().target)
	}
	if err := e.begin(ctx, server.sessions, func(*ownOptions) {}); err != nil {
		server.close()
		return err
	}
	err := server.serve(ctx, e.hard)
	e.deliver(server.sessions)
	return err
}

// runClient is the end beside the users of the service.
func (e *ownEnd) runClient(ctx context.Context) error {
	o := e.options.Load()
	client := newOwnClient(o, e.log, e.meters)
	if err := e.begin(ctx, client.sessions, func(o *ownOptions) { client.change(o.client()) }); err != nil {
		return err
	}
	flows := new(flowLimiter)
	var serving sync.WaitGroup
	services, err := e.open(ctx, client, flows)
	if err == nil {
		for _, serve := range services {
			serving.Go(serve)
		}
		serving.Wait()
	}
	_ = client.Close()
	e.deliver(client.sessions)
	return err
}

// open opens the local sockets of a client, and returns what serves them until ctx is done.
func (e *ownEnd) open(
	ctx context.Context, client *ownClient, flows *flowLimiter,
) (services []func(), err error) {
	o := e.options.Load()
	var opened []interface{ Close() error }
	defer func() {
		if err != nil {
			for _, c := range opened {
				_ = c.Close()
			}
		}
	}()
	accept := func(what, addr string, handle func(net.Conn)) error {
		l, err := listenLocal(ctx, addr)
		if err != nil {
			return err
		}
		opened = append(opened, l)
		e.log.Info("listening", "for", what, "address", l.Addr().String(), "server", e.settings.remoteAddr)
		services = append(services, func() { _ = acceptLoop(ctx, l, e.log, e.limited(new(limiter), handle)) })
		return nil
	}
	if o.local != "" {
		if err := accept("connections", o.local, func(conn net.Conn) { e.forward(client, conn) }); err != nil {
			return nil, err
		}
	}
	if o.socks != "" {
		socks := newSocksServer(e.hard, client, flows, e.options.Load, e.log)
		if err := accept("socks", o.socks, socks.serve); err != nil {
			return nil, err
		}
	}
	if o.udp != "" {
		conn, err := listenUDP(ctx, o.udp)
		if err != nil {
			return nil, err
		}
		opened = append(opened, conn)
		e.log.Info("listening", "for", "datagrams", "address", conn.LocalAddr().String(),
			"server", e.settings.remoteAddr)
		table := newFlowTable(ctx, client, flows, e.options.Load, e.log)
		services = append(services, func() {
			defer table.close()
			serveUDP(ctx, conn, table, e.log)
		})
	}
	return services, nil
}

// limited returns handle for as many connections at a time as the settings allow. Others are reset.
func (e *ownEnd) limited(l *limiter, handle func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		if !l.acquire(e.options.Load().maxConns) {
			e.log.Warn("too many connections, see -maxconns", "from", conn.RemoteAddr().String())
			resetConn(conn)
			return
		}
		defer l.release()
		handle(conn)
	}
}

// forward carries a connection to the server's target.
func (e *ownEnd) forward(client *ownClient, conn net.Conn) {
	remote, err := client.dialStream(e.hard, request{kind: kindTarget})
	if err != nil {
		e.log.Error("no session for a connection", "from", conn.RemoteAddr().String(), "error", err)
		resetConn(conn)
		return
	}
	defer e.meters.opened(kindTarget)()
	carryOwn(e.hard, conn, remote, e.options.Load().closeWait, e.log)
}

// begin starts what both ends have beside the connections: metrics, and the reload of settings.
func (e *ownEnd) begin(
	ctx context.Context, sessions iter.Seq[*kcp.UDPSession], change func(*ownOptions),
) error {
	if addr := e.settings.metrics; addr != "" {
		if err := e.meters.serveMetrics(ctx, addr, sessions, e.log); err != nil {
			return err
		}
	}
	go e.reloads(ctx, change)
	return nil
}

// deliverMax is how long closed sessions may still deliver what was written, once nothing is open.
const deliverMax = 5 * time.Second

// deliver waits until closed sessions have delivered what was written, or the time is over.
func (e *ownEnd) deliver(sessions iter.Seq[*kcp.UDPSession]) {
	ctx, cancel := context.WithTimeout(e.hard, deliverMax)
	defer cancel()
	for s := range sessions {
		select {
		case <-s.Done():
		case <-ctx.Done():
			return
		}
	}
}
