// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/xtaci/smux"
)

// compatDialer keeps a few sessions to the server, and opens streams on them in turn.
type compatDialer struct {
	s       *settings
	log     *slog.Logger
	config  *kcp.Config
	streams *streams
	server  ports
	slots   []slot

	background sync.WaitGroup

	mu       sync.Mutex // guards the following
	next     int        // the slot of the next stream
	closed   bool
	sessions map[*clientSession]struct{} // the open ones
}

// slot is the place of one session.
type slot struct {
	token   chan struct{}  // held while session is used or replaced
	session *clientSession // nil before the first stream
}

// newCompatDialer returns the client's side of compat mode. It sends nothing before the first dial.
func newCompatDialer(s *settings, log *slog.Logger) (*compatDialer, error) {
	block, err := s.block()
	if err != nil {
		return nil, err
	}
	server, err := parsePorts(s.remoteAddr)
	if err != nil {
		return nil, err
	}
	d := &compatDialer{
		s:        s,
		log:      log,
		config:   s.sessionConfig(block),
		streams:  s.newStreams(),
		server:   server,
		slots:    make([]slot, s.conns),
		sessions: make(map[*clientSession]struct{}),
	}
	for i := range d.slots {
		d.slots[i].token = make(chan struct{}, 1)
	}
	return d, nil
}

// dial opens a stream. It does not wait for the server.
func (d *compatDialer) dial(ctx context.Context) (stream, error) {
	d.mu.Lock()
	slot := &d.slots[d.next%len(d.slots)]
	d.next++
	d.mu.Unlock()
	select {
	case slot.token <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-slot.token }()
	if slot.session != nil {
		if st, err := slot.session.open(); err == nil {
			return st, nil
		}
		slot.session.end(sessionRetired)
	}
	session, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	slot.session = session
	return session.open()
}

// connect makes a session to a random one of the server's ports.
func (d *compatDialer) connect(ctx context.Context) (*clientSession, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	sess, err := d.s.dialSession(ctx, d.config, d.server.pick())
	if err != nil {
		return nil, err
	}
	d.s.applyToSocket(sess, d.log)
	c, err := d.s.newCompatSession(sess, smux.Client)
	if err != nil {
		_ = sess.Close()
		return nil, err
	}
	session := &clientSession{compatSession: c, d: d, ended: make(chan struct{}),
		heard: sample{at: time.Now()}}
	if !d.add(session) {
		session.abort()
		return nil, net.ErrClosed
	}
	return session, nil
}

// add reports whether the session may live: the dialer is not closed. It starts what serves it.
func (d *compatDialer) add(c *clientSession) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.sessions[c] = struct{}{}
	d.log.Info("session opened", "server", c.sess.RemoteAddr().String())
	d.background.Go(c.watch)
	d.background.Go(c.expire)
	return true
}

func (d *compatDialer) remove(c *clientSession) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, c)
}

// Close ends all sessions with their streams, and waits for the goroutines that serve them.
func (d *compatDialer) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	for _, c := range d.open() {
		c.end(sessionClosed)
	}
	d.background.Wait()
	return nil
}

// open returns the sessions that are open.
func (d *compatDialer) open() []*clientSession {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.sessions))
}

// kcpSessions yields the open sessions.
func (d *compatDialer) kcpSessions(yield func(*kcp.UDPSession) bool) {
	for _, c := range d.open() {
		if !yield(c.sess) {
			return
		}
	}
}
