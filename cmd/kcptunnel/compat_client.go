// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/xtaci/smux"
)

// compatDialer keeps a few sessions to the server, and opens streams on them in turn.
type compatDialer struct {
	s      *settings
	log    *slog.Logger
	config *kcp.Config
	pads   *qppPads
	server ports
	slots  []slot

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
func newCompatDialer(s *settings, log *slog.Logger) (dialer, error) {
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
		pads:     s.newQPPPads(),
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
		if st, err := slot.session.open(d.pads); err == nil {
			return st, nil
		}
		slot.session.retire()
	}
	session, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	slot.session = session
	return session.open(d.pads)
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
	session := &clientSession{compatSession: c, d: d, ended: make(chan struct{})}
	if !d.add(session) {
		session.abort()
		return nil, net.ErrClosed
	}
	d.log.Info("session opened", "server", sess.RemoteAddr().String())
	d.background.Go(session.watch)
	d.background.Go(session.expire)
	return session, nil
}

// add reports whether the session may live: the dialer is not closed.
func (d *compatDialer) add(c *clientSession) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.sessions[c] = struct{}{}
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
	var open []*clientSession
	for c := range d.sessions {
		open = append(open, c)
	}
	d.mu.Unlock()
	for _, c := range open {
		c.abort()
	}
	d.background.Wait()
	return nil
}

// clientSession is a session of the client.
type clientSession struct {
	*compatSession
	d     *compatDialer
	ended chan struct{} // closed when smux has ended

	mu      sync.Mutex // guards the following
	streams int        // open ones
	retired bool       // opens no more streams, and closes with the last
}

var errRetired = errors.New("the session has expired")

// open opens a stream.
func (c *clientSession) open(pads *qppPads) (stream, error) {
	if !c.reserve() {
		return nil, errRetired
	}
	st, err := c.mux.OpenStream()
	if err != nil {
		c.release()
		return nil, fmt.Errorf("smux: %w", err)
	}
	return newCompatStream(st, pads, c.release), nil
}

func (c *clientSession) reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return false
	}
	c.streams++
	return true
}

// release gives back what reserve took. The last stream of a retired session ends it.
func (c *clientSession) release() {
	c.mu.Lock()
	c.streams--
	last := c.retired && c.streams == 0
	c.mu.Unlock()
	if last {
		_ = c.mux.Close()
	}
}

// retire ends the session with its last stream.
func (c *clientSession) retire() {
	c.mu.Lock()
	idle := c.streams == 0
	c.retired = true
	c.mu.Unlock()
	if idle {
		_ = c.mux.Close()
	}
}

// expire retires the session after autoexpire, and ends it scavengettl later.
func (c *clientSession) expire() {
	if c.d.s.autoExpire == 0 || !c.lives(time.Duration(c.d.s.autoExpire)*time.Second) {
		return
	}
	c.d.log.Debug("session expired", "server", c.sess.RemoteAddr().String())
	c.retire()
	if c.lives(time.Duration(c.d.s.scavengeTTL) * time.Second) {
		_ = c.mux.Close()
	}
}

// lives waits for d, and returns false if the session ends before.
func (c *clientSession) lives(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ended:
		return false
	}
}

// watch waits for the end of the session, and logs why it ended.
func (c *clientSession) watch() {
	defer c.d.remove(c)
	defer close(c.ended)
	unheard := time.AfterFunc(answerTimeout, c.reportSilence)
	defer unheard.Stop()
	err := c.drain()
	c.d.log.Log(context.Background(), c.endLevel(), "session closed",
		"server", c.sess.RemoteAddr().String(), "reason", c.explain(c.d.s, err))
	c.retire()
	_ = c.mux.Close()
	_ = c.sess.Close()
}

// endLevel is the level at which the end of the session is logged.
func (c *clientSession) endLevel() slog.Level {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return slog.LevelInfo
	}
	return slog.LevelError
}

// drain returns what has ended the session. A server opens no streams: what it opens is closed.
func (c *clientSession) drain() error {
	for {
		st, err := c.mux.AcceptStream()
		if err != nil {
			return err
		}
		_ = st.Close()
	}
}

// answerTimeout is how long a server may take until its silence is logged.
const answerTimeout = 5 * time.Second

func (c *clientSession) reportSilence() {
	if c.sess.Stats().PacketsReceived > 0 {
		return
	}
	c.d.log.Error("the server does not answer: check its address, and that -key, -crypt and -compat "+
		"are the same at both ends", "server", c.sess.RemoteAddr().String())
}
