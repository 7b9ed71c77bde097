// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

// answerTimeout is how long a server may take to answer the first line. The user learns of a
// failure within three seconds.
const answerTimeout = 2500 * time.Millisecond

// client runs tests against one server.
type client struct {
	dialer dialer
	target string // for errors
	cipher string
	block  kcp.BlockCrypt
	crypt  int // bytes that the cipher adds to a datagram
	// firstAnswer is the timeout of the server's first answer.
	firstAnswer time.Duration
	traces      *traceFiles // of the first session of each test; nil: none
}

// measured is what both ends have seen of a test.
type measured struct {
	local, remote           []*sample
	localTotal, remoteTotal *sample // remoteTotal is nil if the server was lost
}

// watcher receives the progress of a test. Its methods are called by one goroutine.
type watcher interface {
	started(p *plan)
	// interval is called with a new sample of this end, and the newest of the other end, which may
	// be nil.
	interval(local, remote *sample)
}

// control is the control session of a client's test.
type control struct {
	sess  *kcp.UDPSession
	in    *bufio.Reader
	token string
}

// run runs a test. When ctx is done, it ends early and returns what was measured so far. An error
// beside results gives the reason why they are incomplete.
func (c *client) run(ctx context.Context, p *plan, w watcher) (*measured, error) {
	ctl, err := c.connect(ctx, p)
	if err != nil {
		return nil, err
	}
	defer abort(ctl.sess)
	e := newEngine(p, true)
	defer e.close()
	if err := c.join(ctx, ctl, p, e); err != nil {
		return nil, err
	}
	_ = ctl.sess.SetDeadline(time.Now().Add(p.duration() + joinTimeout + slackDefault))
	if err := writeMessage(ctl.sess, &message{Type: typeGo}); err != nil {
		return nil, ctl.lost(err)
	}
	if p.Mode == modeReceive {
		// The data takes as long as this message, so the time begins with the data.
		if _, err := await(ctl.in, typeStarted); err != nil {
			return nil, ctl.lost(err)
		}
	}
	w.started(p)
	return c.measure(ctx, ctl, p, e, w)
}

// measure runs the engine and takes what the server reports.
func (c *client) measure(ctx context.Context, ctl *control, p *plan, e *engine, w watcher) (*measured, error) {
	m := new(measured)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex // guards m.remote
	var newest atomic.Pointer[sample]
	type outcome struct {
		result *message
		err    error
	}
	ended := make(chan outcome, 1)
	go func() {
		for {
			r, err := await(ctl.in, typeStarted, typeSample, typeResult)
			if err != nil || r.Type == typeResult {
				ended <- outcome{r, err}
				cancel()
				return
			}
			if r.Sample != nil {
				mu.Lock()
				m.remote = append(m.remote, r.Sample)
				mu.Unlock()
				newest.Store(r.Sample)
			}
		}
	}()
	failure := e.run(ctx, func(s *sample) {
		m.local = append(m.local, s)
		w.interval(s, newest.Load())
	})
	werr := writeMessage(ctl.sess, &message{Type: typeStop})
	_ = ctl.sess.SetReadDeadline(time.Now().Add(slackDefault))
	end := <-ended
	mu.Lock()
	defer mu.Unlock()
	m.localTotal = e.total()
	if end.err != nil || werr != nil {
		return m, ctl.lost(errors.Join(end.err, werr))
	}
	m.remoteTotal = end.result.Sample
	if end.result.Error != "" {
		return m, fmt.Errorf("the server reports: %s", end.result.Error)
	}
	if failure != nil {
		return m, fmt.Errorf("a session failed: %w", failure)
	}
	return m, nil
}

// lost returns the reason why the control session ended.
func (ctl *control) lost(err error) error {
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, io.EOF):
		return errors.New("the server has ended the test")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the server answers no more")
	}
	return fmt.Errorf("the server was lost: %w", err)
}

// connect opens the control session and has the server agree to the plan.
func (c *client) connect(ctx context.Context, p *plan) (*control, error) {
	before := kcp.DefaultSnmp.Copy()
	tell, cancel := context.WithTimeout(ctx, c.firstAnswer)
	defer cancel()
	sess, err := c.dialer.dial(tell, baseConfig(c.block))
	if err != nil {
		return nil, err
	}
	giveUp := func() { _ = sess.SetReadDeadline(time.Unix(1, 0)) }
	stop := context.AfterFunc(tell, giveUp)
	query := ask(tell, c.dialer, func(found presence) {
		if found.refused != nil || found.cipher != c.cipher {
			giveUp() // there is nothing to wait for
		}
	})
	err = writeMessage(sess, &message{Type: typeStart, Version: protocolVersion, Plan: p})
	ctl := &control{sess: sess, in: bufio.NewReaderSize(sess, maxLine)}
	var ready *message
	if err == nil {
		ready, err = await(ctl.in, typeReady)
	}
	stop()
	found := query.stop()
	if err == nil {
		ctl.token = ready.Token
		return ctl, sess.SetReadDeadline(time.Time{})
	}
	abort(sess)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, err
	}
	return nil, c.noAnswer(found, kcp.DefaultSnmp.Copy().InCsumErrors-before.InCsumErrors)
}

var errNoAnswer = errors.New("no answer")

// noAnswer returns the likely reason for a missing answer. unverified is the number of packets that
// did not verify.
func (c *client) noAnswer(found presence, unverified uint64) error {
	switch {
	case found.refused != nil:
		return fmt.Errorf("no kcpperf server at %s: nobody listens on that UDP port (%w)", c.target, found.refused)
	case found.cipher != "" && found.cipher != c.cipher:
		return fmt.Errorf("the server at %s uses --cipher %s and this client %s: what one sends does not verify at the other",
			c.target, found.cipher, c.cipher)
	case found.cipher != "" && c.block != nil:
		return fmt.Errorf("the server at %s is there and uses %s, too, but what this client sends does not verify there: the --key is not the same",
			c.target, c.cipher)
	case unverified > 0:
		return fmt.Errorf("%w from %s within %v, but %d packets arrive that do not verify: --cipher and --key are not the same at both ends",
			errNoAnswer, c.target, c.firstAnswer, unverified)
	}
	return fmt.Errorf("%w from %s within %v: is 'kcpperf -s' running there, and do firewalls let UDP pass?",
		errNoAnswer, c.target, c.firstAnswer)
}

// join opens the data sessions.
func (c *client) join(ctx context.Context, ctl *control, p *plan, e *engine) error {
	conf := p.Settings.config(c.block)
	for i := range p.Sessions {
		conf.Trace = nil
		if i == 0 && c.traces != nil {
			f, err := c.traces.open()
			if err != nil {
				return fmt.Errorf("--qlog: %w", err)
			}
			conf.Trace = func(kcp.TraceInfo) io.WriteCloser { return f }
		}
		sess, err := c.dialer.dial(ctx, conf)
		if err != nil {
			return err // the trace of it is not waited for
		}
		e.add(sess, sess, p.segmentSize(c.crypt))
		p.Settings.applyRest(sess)
		if err := writeMessage(sess, &message{Type: typeJoin, Token: ctl.token, Session: i}); err != nil {
			return err
		}
		// A server limits the new sessions that it has not accepted yet.
		if i%joinBurst == joinBurst-1 {
			settle(sess)
		}
	}
	_ = ctl.sess.SetReadDeadline(time.Now().Add(joinTimeout))
	if _, err := await(ctl.in, typeJoined); err != nil {
		return ctl.lost(err)
	}
	return ctx.Err()
}

// joinBurst is how many data sessions may join before the newest has arrived.
const joinBurst = 32

// settle waits until what was written has arrived, or for drainLimit.
func settle(sess *kcp.UDPSession) {
	for end := time.Now().Add(drainLimit); time.Now().Before(end); time.Sleep(pollEvery) {
		if st := sess.Stats(); st.InFlight == 0 && st.SendQueue == 0 {
			return
		}
	}
}
