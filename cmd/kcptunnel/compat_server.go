// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/xtaci/smux"
)

// compatServer is the server's side of compat mode.
type compatServer struct {
	s       *settings
	log     *slog.Logger
	streams *streams
	sockets []*kcp.Transport // one for each port
	handle  func(stream)
	busy    sync.WaitGroup
}

// serveCompat accepts sessions on all ports, and calls handle for each stream, in a goroutine of
// its own, until ctx is done. It returns after all of them.
func serveCompat(ctx context.Context, s *settings, log *slog.Logger, handle func(stream)) error {
	block, err := s.block()
	if err != nil {
		return err
	}
	sockets, err := s.openAll(ctx, s.sessionConfig(block), log)
	if err != nil {
		return err
	}
	v := &compatServer{s: s, log: log, streams: s.newStreams(), sockets: sockets, handle: handle}
	ctx, cancel := context.WithCancel(ctx)
	defer v.busy.Wait()
	defer cancel()
	errs := make(chan error, len(sockets))
	for _, t := range sockets {
		context.AfterFunc(ctx, func() { _ = t.Close() })
		v.busy.Go(func() { logForeign(ctx, t, log) })
		v.busy.Go(func() { errs <- v.accept(ctx, t) })
	}
	if s.metrics != "" {
		if err := v.streams.meters.serveMetrics(ctx, s.metrics, v.kcpSessions, log); err != nil {
			return err
		}
	}
	return <-errs
}

// kcpSessions yields the open sessions.
func (v *compatServer) kcpSessions(yield func(*kcp.UDPSession) bool) {
	for _, t := range v.sockets {
		for sess := range t.Sessions() {
			if !yield(sess) {
				return
			}
		}
	}
}

// openAll opens the sockets of all ports of the settings.
func (s *settings) openAll(ctx context.Context, c *kcp.Config, log *slog.Logger) (
	sockets []*kcp.Transport, err error) {
	where, err := parsePorts(s.listen)
	if err != nil {
		return nil, err
	}
	for _, addr := range where.all() {
		t, err := s.openSocket(ctx, c, addr)
		if err != nil {
			for _, t := range sockets {
				_ = t.Close()
			}
			return nil, err
		}
		s.applyToSocket(t, log)
		sockets = append(sockets, t)
	}
	log.Info("listening", "address", sockets[0].LocalAddr().String(), "ports", len(sockets),
		"target", s.target)
	return sockets, nil
}

// foreignPause is the least time between two reports of packets that cannot be opened.
const foreignPause = 30 * time.Second

// logForeign logs packets that were made with another key or cipher, until ctx is done. A client
// that sends them gets no answer.
func logForeign(ctx context.Context, t *kcp.Transport, log *slog.Logger) {
	buf := make([]byte, 1)
	for {
		_, from, err := t.ReadNonKCP(ctx, buf)
		if err != nil {
			return
		}
		log.Error("packets arrive that cannot be opened: check that key, crypt and compat are the "+
			"same at both ends", "client", from.String())
		if !sleep(ctx, foreignPause) {
			return
		}
	}
}

// accept serves the sessions of a socket until ctx is done.
func (v *compatServer) accept(ctx context.Context, t *kcp.Transport) error {
	l, err := t.Listen(nil)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
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

// serve serves the streams of a session until it and they have ended. They still read what has
// arrived before the end.
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
	var streams sync.WaitGroup
	defer c.abort()
	defer streams.Wait()
	log.Info("session opened")
	for {
		st, err := c.mux.AcceptStream()
		if err != nil {
			reason, level := "closed here", slog.LevelInfo
			if ctx.Err() == nil {
				reason, level = c.explain(v.s, err)
			}
			log.Log(ctx, level, "session closed", "reason", reason)
			return
		}
		streams.Go(func() { v.handle(v.streams.wrap(st, sess, func() {})) })
	}
}
