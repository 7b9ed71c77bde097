// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/seedkcp/kcp"
	"github.com/xtaci/smux"
)

// compatServer is the server's side of compat mode.
type compatServer struct {
	s      *settings
	log    *slog.Logger
	pads   *qppPads
	handle func(stream)
	busy   sync.WaitGroup
}

// serveCompat accepts sessions on all ports, and calls handle for each stream, in a goroutine of
// its own, until ctx is done. It returns after all of them.
func serveCompat(ctx context.Context, s *settings, log *slog.Logger, handle func(stream)) error {
	block, err := s.block()
	if err != nil {
		return err
	}
	listeners, err := s.listenAll(ctx, s.sessionConfig(block), log)
	if err != nil {
		return err
	}
	v := &compatServer{s: s, log: log, pads: s.newQPPPads(), handle: handle}
	ctx, cancel := context.WithCancel(ctx)
	defer v.busy.Wait()
	defer cancel()
	errs := make(chan error, len(listeners))
	for _, l := range listeners {
		context.AfterFunc(ctx, func() { _ = l.Close() })
		v.busy.Go(func() { errs <- v.accept(ctx, l) })
	}
	return <-errs
}

// listenAll listens on all ports of the settings.
func (s *settings) listenAll(ctx context.Context, c *kcp.Config, log *slog.Logger) (
	listeners []*kcp.Listener, err error) {
	where, err := parsePorts(s.listen)
	if err != nil {
		return nil, err
	}
	for _, addr := range where.all() {
		l, err := s.listenSessions(ctx, c, addr)
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return nil, err
		}
		s.applyToSocket(l, log)
		listeners = append(listeners, l)
	}
	log.Info("listening", "address", listeners[0].Addr().String(), "ports", len(listeners),
		"target", s.target)
	return listeners, nil
}

// accept serves the sessions of a listener until ctx is done.
func (v *compatServer) accept(ctx context.Context, l *kcp.Listener) error {
	for {
		sess, err := l.AcceptKCP()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = sess.Close()
			}
			return nil
		case err != nil:
			return err
		}
		v.busy.Go(func() { v.serve(ctx, sess) })
	}
}

// serve serves the streams of a session until it ends.
func (v *compatServer) serve(ctx context.Context, sess *kcp.UDPSession) {
	log := v.log.With("client", sess.RemoteAddr().String())
	c, err := v.s.newCompatSession(sess, smux.Server)
	if err != nil {
		log.Error("session refused", "error", err)
		_ = sess.Close()
		return
	}
	stop := context.AfterFunc(ctx, c.abort)
	defer stop()
	log.Info("session opened")
	for {
		st, err := c.mux.AcceptStream()
		if err != nil {
			reason, level := c.explain(v.s, err)
			log.Log(ctx, level, "session closed", "reason", reason)
			break
		}
		v.busy.Go(func() { v.handle(v.s.newStream(st, v.pads, func() {})) })
	}
	c.abort()
}
