// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
)

// limits bound the tests of all clients.
type limits struct {
	time     time.Duration // of a test
	slack    time.Duration // beyond that, for data to arrive and the result to be sent
	sessions int           // of all clients together
}

const (
	helloTimeout = 5 * time.Second  // for the first line of a session
	joinTimeout  = 10 * time.Second // from ready to the last join and to go
	testsMost    = 16               // at once
	slackDefault = 15 * time.Second
)

// server runs the tests that clients ask for, several at once.
type server struct {
	listener *kcp.Listener
	limits   limits
	crypt    int // bytes that the cipher adds to a datagram
	log      func(format string, args ...any)
	tested   func()      // called when a test has ended
	traces   *traceFiles // of the first session of each test; nil: none

	ctx  context.Context // ends all tests
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex // guards what follows
	sessions int        // open, of control and of data
	tests    map[string]*test
}

// test is one that a client has asked for.
type test struct {
	plan   *plan
	host   string // the client's
	engine *engine
	joined chan *joiner
}

// joiner is a data session that has named its test.
type joiner struct {
	session int
	sess    *kcp.UDPSession
	in      *bufio.Reader
}

func newServer(l *kcp.Listener, lim limits, cryptOverhead int, log func(string, ...any)) *server {
	s := &server{listener: l, limits: lim, crypt: cryptOverhead, log: log, tested: func() {}, tests: map[string]*test{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// serve accepts sessions until close. It returns nil then, or why the listener failed.
func (s *server) serve() error {
	for {
		sess, err := s.listener.AcceptKCP()
		if err != nil {
			if s.ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !s.enter() {
			abort(sess)
			continue
		}
		s.work.Go(func() {
			defer s.leave()
			s.handle(sess)
		})
	}
}

// close ends all tests and waits for them.
func (s *server) close() {
	s.stop()
	_ = s.listener.Close()
	s.work.Wait()
}

// enter counts a session and reports whether the limit allows it. The limit allows a control
// session for each test in addition to its data sessions. It also bounds sessions without a first
// line.
func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions >= s.limits.sessions+2*testsMost {
		return false
	}
	s.sessions++
	return true
}

func (s *server) leave() {
	s.mu.Lock()
	s.sessions--
	s.mu.Unlock()
}

// handle reads the first line of a session and executes it.
func (s *server) handle(sess *kcp.UDPSession) {
	defer abort(sess)
	stop := context.AfterFunc(s.ctx, func() { abort(sess) })
	defer stop()
	in := bufio.NewReaderSize(sess, maxLine)
	_ = sess.SetReadDeadline(time.Now().Add(helloTimeout))
	m, err := await(in, typeStart, typeJoin)
	if err != nil {
		return
	}
	if m.Type == typeJoin {
		s.join(&joiner{m.Session, sess, in}, m.Token)
		return
	}
	if err := s.control(sess, in, m); err != nil && s.ctx.Err() == nil {
		s.log("%v: %v", sess.RemoteAddr(), err)
	}
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// join hands a data session to its test and returns when the test no longer uses it.
func (s *server) join(j *joiner, token string) {
	s.mu.Lock()
	t := s.tests[token]
	s.mu.Unlock()
	if t == nil || t.host != hostOf(j.sess.RemoteAddr()) {
		return
	}
	_ = j.sess.SetReadDeadline(time.Time{})
	if t.plan.Settings.apply(j.sess) != nil {
		return
	}
	if s.traces != nil && j.session == 0 {
		if f, err := s.traces.open(); err != nil {
			s.log("--qlog: %v", err)
		} else {
			j.sess.SetTrace(f)
		}
	}
	select {
	case t.joined <- j:
	default: // more than the plan has
		return
	}
	<-t.engine.over
}

// control is a control session from its start line on.
func (s *server) control(sess *kcp.UDPSession, in *bufio.Reader, m *message) error {
	_ = sess.SetWriteDeadline(time.Now().Add(helloTimeout))
	token := rand.Text()
	t, err := s.prepare(sess, m, token)
	if err != nil {
		werr := writeMessage(sess, &message{Type: typeRefused, Version: protocolVersion, Error: err.Error()})
		farewell(sess, in)
		return errors.Join(fmt.Errorf("refused: %w", err), werr)
	}
	defer func() {
		s.mu.Lock()
		delete(s.tests, token)
		s.mu.Unlock()
		t.engine.close()
		s.tested()
	}()
	if err := writeMessage(sess, &message{Type: typeReady, Version: protocolVersion, Token: token}); err != nil {
		return err
	}
	if err := s.gather(t); err != nil {
		return err
	}
	return s.run(t, sess, in)
}

// farewell waits until the client ends the session after the last message.
func farewell(sess *kcp.UDPSession, in *bufio.Reader) {
	_ = sess.SetReadDeadline(time.Now().Add(drainLimit))
	_, _ = in.Discard(1)
}

// prepare checks what a client asks for and makes the test.
func (s *server) prepare(sess *kcp.UDPSession, m *message, token string) (*test, error) {
	switch {
	case m.Version != protocolVersion:
		return nil, fmt.Errorf("the client speaks version %d of the protocol, this server %d", m.Version, protocolVersion)
	case m.Plan == nil:
		return nil, errors.New("there is no plan")
	}
	p := m.Plan
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.duration() > s.limits.time {
		return nil, fmt.Errorf("a test of %v is longer than this server's --max-time %v", p.duration(), s.limits.time)
	}
	t := &test{plan: p, host: hostOf(sess.RemoteAddr()), engine: newEngine(p, false), joined: make(chan *joiner, p.Sessions)}
	s.mu.Lock()
	defer s.mu.Unlock()
	used, windows := p.Sessions, p.windows()
	for _, other := range s.tests {
		used += other.plan.Sessions
		windows += other.plan.windows()
	}
	switch {
	case used > s.limits.sessions:
		return nil, fmt.Errorf("%d sessions with those of other tests are more than this server's --max-sessions %d", used, s.limits.sessions)
	case windows > windowsMost:
		return nil, fmt.Errorf("windows of %d segments with those of other tests, at most %d in all", windows, windowsMost)
	case len(s.tests) >= testsMost:
		return nil, fmt.Errorf("%d tests are running, try again later", testsMost)
	}
	s.tests[token] = t
	return t, nil
}

// gather waits for the data sessions.
func (s *server) gather(t *test) error {
	timeout := time.NewTimer(joinTimeout)
	defer timeout.Stop()
	seen := map[int]bool{}
	for len(seen) < t.plan.Sessions {
		select {
		case j := <-t.joined:
			if seen[j.session] || j.session < 0 || j.session >= t.plan.Sessions {
				return fmt.Errorf("data session %d has joined twice or is none of the test's", j.session)
			}
			seen[j.session] = true
			t.engine.add(j.sess, j.in, t.plan.segmentSize(s.crypt))
		case <-timeout.C:
			return fmt.Errorf("only %d of %d data sessions have joined within %v", len(seen), t.plan.Sessions, joinTimeout)
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	return nil
}

// run does a test whose sessions are there.
func (s *server) run(t *test, sess *kcp.UDPSession, in *bufio.Reader) error {
	if err := writeMessage(sess, &message{Type: typeJoined}); err != nil {
		return err
	}
	_ = sess.SetReadDeadline(time.Now().Add(joinTimeout))
	if _, err := await(in, typeGo); err != nil {
		return fmt.Errorf("waiting for the client to begin: %w", err)
	}
	s.log("%v: %s", sess.RemoteAddr(), t.plan)
	// All that follows is over by then, whatever the client does.
	_ = sess.SetDeadline(time.Now().Add(t.plan.duration() + s.limits.slack))
	if err := writeMessage(sess, &message{Type: typeStarted}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stopped := make(chan error, 1)
	s.work.Go(func() {
		_, err := await(in, typeStop)
		stopped <- err
		cancel() // before its time if the client was interrupted
	})
	samples := 0
	failure := t.engine.run(ctx, func(m *sample) {
		samples++
		_ = writeMessage(sess, &message{Type: typeSample, Sample: m}) // a client that has gone shows below
	})
	if err := <-stopped; err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the client has gone")
		}
		return fmt.Errorf("the test was broken off: %w", errors.Join(err, failure))
	}
	result := &message{Type: typeResult, Sample: t.engine.total()}
	if failure != nil {
		result.Error = failure.Error()
	}
	if err := writeMessage(sess, result); err != nil {
		return err
	}
	farewell(sess, in)
	s.log("%v: done, %s received, %s delivered", sess.RemoteAddr(), formatBytes(result.Sample.Read), formatBytes(result.Sample.Acked))
	return failure
}
