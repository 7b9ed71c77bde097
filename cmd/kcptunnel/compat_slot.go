// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// clientSession is a session of the client. Its state only grows.
type clientSession struct {
	*compatSession
	d     *compatDialer
	ended chan struct{} // closed when smux has ended

	mu      sync.Mutex // guards the following
	streams int        // open ones
	state   sessionState
	heard   sample
}

// sample is how far a session was when its server was heard, or owed no answer.
type sample struct {
	at       time.Time
	received uint64 // bytes
	timeouts uint64 // retransmissions
}

// A session is stalled after so long, and so many timeouts, without a byte from the server. It may
// be one that the server has lost: without a cipher that authenticates packets, the server cannot
// tell so. A session that is found stalled by mistake lives on with the streams that it has.
const (
	stalledAfter    = 3 * time.Second
	stalledTimeouts = 2
)

// stalled reports whether new streams had better be opened on another session.
func (c *clientSession) stalled(now time.Time) bool {
	stats := c.sess.Stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	if stats.InFlight == 0 || stats.BytesReceived != c.heard.received {
		c.heard = sample{now, stats.BytesReceived, stats.TimeoutRetransmits}
		return false
	}
	return now.Sub(c.heard.at) >= stalledAfter &&
		stats.TimeoutRetransmits-c.heard.timeouts >= stalledTimeouts
}

type sessionState int

const (
	sessionOpen    sessionState = iota
	sessionRetired              // opens no more streams
	sessionIdle                 // was retired, has no streams any more, and closes idleClose later
	sessionOver                 // closes with its last stream: it has failed, or idled for long enough
	sessionClosed               // is closed with its streams, which are cut off
)

// idleClose is how long a retired session stays open without streams. A peer may drop what its
// streams have not read yet when the session ends.
const idleClose = 30 * time.Second

var errRetired = errors.New("the session opens no more streams")

// open opens a stream.
func (c *clientSession) open() (stream, error) {
	if c.stalled(time.Now()) {
		c.d.log.Warn("the server does not answer: a new session is tried",
			"server", c.sess.RemoteAddr().String())
		return nil, errRetired
	}
	if !c.reserve() {
		return nil, errRetired
	}
	st, err := c.mux.OpenStream()
	if err != nil {
		c.release()
		return nil, fmt.Errorf("smux: %w", err)
	}
	return c.d.streams.wrap(st, c.sess, c.release), nil
}

func (c *clientSession) reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != sessionOpen {
		return false
	}
	c.streams++
	return true
}

// release gives back what reserve took.
func (c *clientSession) release() {
	c.mu.Lock()
	c.streams--
	act := c.nextLocked()
	c.mu.Unlock()
	act()
}

// end moves the session on to a state.
func (c *clientSession) end(to sessionState) {
	c.mu.Lock()
	c.state = max(c.state, to)
	act := c.nextLocked()
	c.mu.Unlock()
	act()
}

// nextLocked returns what is to be done in the present state, without the lock. c.mu must be held.
func (c *clientSession) nextLocked() (act func()) {
	switch {
	case c.state == sessionClosed:
		return c.abort
	case c.streams > 0:
	case c.state == sessionRetired:
		c.state = sessionIdle
		return func() { time.AfterFunc(idleClose, func() { c.end(sessionOver) }) }
	case c.state == sessionOver:
		return func() { _ = c.mux.Close() }
	}
	return func() {}
}

func (c *clientSession) current() sessionState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// expire retires the session after autoexpire, and ends it scavengettl later.
func (c *clientSession) expire() {
	s := c.d.s
	if s.autoExpire == 0 || !c.lives(time.Duration(s.autoExpire)*time.Second) {
		return
	}
	c.d.log.Debug("session expired", "server", c.sess.RemoteAddr().String())
	c.end(sessionRetired)
	if s.scavengeTTL >= 0 && c.lives(time.Duration(s.scavengeTTL)*time.Second) {
		c.end(sessionClosed)
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

// watch waits for the end of the session, and logs why it ended. The streams that are open then
// still read what has arrived.
func (c *clientSession) watch() {
	defer c.d.remove(c)
	unheard := time.AfterFunc(answerTimeout, c.reportSilence)
	defer unheard.Stop()
	err := c.drain()
	reason, level := "closed here", slog.LevelInfo
	if c.current() < sessionOver {
		reason, level = c.explain(c.d.s, err)
	}
	c.d.log.Log(context.Background(), level, "session closed",
		"server", c.sess.RemoteAddr().String(), "reason", reason)
	c.end(sessionOver)
	close(c.ended)
	<-c.mux.CloseChan()
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
	c.d.log.Error("the server does not answer: check its address, and that key, crypt and compat "+
		"are the same at both ends", "server", c.sess.RemoteAddr().String())
}
