// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

// drainLimit is how long data that has been written may take to arrive once the time is up.
const drainLimit = 2 * time.Second

// pollEvery is how often each session is asked for its newest round-trip time.
const pollEvery = 10 * time.Millisecond

// engine is one end of a test: it moves data through the sessions and counts.
type engine struct {
	plan   *plan
	client bool
	ends   []*end

	read, asked, answered atomic.Uint64

	echoMu         sync.Mutex // guards the two below
	echo, echoAll  histogram
	rtt, rttAll    histogram // with what follows, of the goroutine that runs the engine
	path           pathMeter
	polled         []kcp.Stats
	start          time.Time
	base, previous counts
	sampled        time.Duration // when the newest sample ended
	running        atomic.Bool
	failure        atomic.Pointer[error] // what ended a session while the test was running
	failed         chan struct{}         // closed with it
	over           chan struct{}         // closed by close
	workers        sync.WaitGroup        // end with the sessions
	writers        sync.WaitGroup        // end with the time
}

// end is one session of an engine.
type end struct {
	sess *kcp.UDPSession
	in   io.Reader // of what the session receives
	done uint64    // bytes acknowledged when it was polled last
	mss  int       // bytes of data in a full segment
}

func newEngine(p *plan, client bool) *engine {
	return &engine{plan: p, client: client, failed: make(chan struct{}), over: make(chan struct{})}
}

// add gives the engine a session. in reads what the session receives.
func (e *engine) add(sess *kcp.UDPSession, in io.Reader, mss int) {
	e.ends = append(e.ends, &end{sess: sess, in: in, mss: mss})
}

// run runs the test until its time is up, ctx is done, or a session has failed. It then waits until
// all data has arrived, or for drainLimit. It calls onSample for each interval.
func (e *engine) run(ctx context.Context, onSample func(*sample)) error {
	e.base = e.count()
	e.previous = e.base
	e.start = time.Now()
	e.running.Store(true)
	ctx, cancel := context.WithDeadline(ctx, e.start.Add(e.plan.duration()))
	defer cancel()
	for _, s := range e.ends {
		e.begin(ctx, s)
	}
	e.sampleUntilDone(ctx, onSample)
	// A Write that waits for the window must not outlast the test. The server's answers are an
	// exception: they continue until the client has them.
	if e.client || e.plan.Mode != modeEcho {
		for _, s := range e.ends {
			_ = s.sess.SetWriteDeadline(time.Now())
		}
	}
	e.writers.Wait()
	e.drain()
	e.running.Store(false)
	if err := e.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// begin starts what a session does.
func (e *engine) begin(ctx context.Context, s *end) {
	switch {
	case e.plan.Mode == modeEcho && e.client:
		returned := make(chan struct{}, 1)
		e.workers.Go(func() { e.fail(e.takeAnswers(s, returned)) })
		e.writers.Go(func() { e.fail(e.ask(ctx, s, returned)) })
	case e.plan.Mode == modeEcho:
		e.workers.Go(func() { e.fail(e.answer(s)) })
	default:
		e.workers.Go(func() { e.fail(e.receive(s)) })
		if e.plan.sends(e.client) {
			e.writers.Go(func() { e.fail(e.send(ctx, s)) })
		}
	}
}

// fail notes the first error while the test is running.
func (e *engine) fail(err error) {
	if err != nil && e.running.Load() && e.failure.CompareAndSwap(nil, &err) {
		close(e.failed)
	}
}

// send writes until the time is up.
func (e *engine) send(ctx context.Context, s *end) error {
	chunk := make([]byte, e.plan.Length)
	for i := range chunk {
		chunk[i] = byte(i * 7)
	}
	for ctx.Err() == nil {
		if _, err := s.sess.Write(chunk); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	return nil
}

// receive counts what arrives until the session ends.
func (e *engine) receive(s *end) error {
	buf := make([]byte, 128<<10)
	for {
		n, err := s.in.Read(buf)
		e.read.Add(uint64(n))
		if err != nil {
			return err
		}
	}
}

// sampleUntilDone takes a sample an interval, and one of what is left at the end.
func (e *engine) sampleUntilDone(ctx context.Context, onSample func(*sample)) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	next := e.plan.interval()
	for {
		select {
		case <-poll.C:
			e.poll()
			if at := min(time.Since(e.start), e.plan.duration()); at >= next {
				onSample(e.sample(at))
				next += e.plan.interval()
			}
			continue
		case <-ctx.Done():
		case <-e.failed:
		}
		at := min(time.Since(e.start), e.plan.duration())
		// A remainder much shorter than an interval is no useful sample.
		if rest := at - e.sampled; e.sampled == 0 || rest > e.plan.interval()/10 {
			onSample(e.sample(at))
		}
		return
	}
}

// poll notes what the sending sessions know of the path. Those that were acknowledged something
// have new round-trip times.
func (e *engine) poll() {
	if !e.plan.sends(e.client) && e.plan.Mode != modeEcho {
		return
	}
	e.polled = e.polled[:0]
	for _, s := range e.ends {
		st := s.sess.Stats()
		if done := acked(&st, s.mss); done != s.done {
			s.done = done
			e.rtt.record(st.LastRTT)
			e.path.acknowledged(&st)
		}
		e.polled = append(e.polled, st)
	}
	e.path.poll(e.polled)
}

// sample returns what has happened since the last one.
func (e *engine) sample(at time.Duration) *sample {
	now := e.count()
	s := &sample{
		Start: e.sampled.Seconds(), End: at.Seconds(), counts: now.since(e.previous), RTT: e.rtt.moveTo(&e.rttAll),
		Path: e.path.take(),
	}
	e.previous, e.sampled = now, at
	e.echoMu.Lock()
	s.Echo = e.echo.moveTo(&e.echoAll)
	e.echoMu.Unlock()
	return s
}

// total returns what has happened in the whole test, what came after its time included.
func (e *engine) total() *sample {
	at := time.Since(e.start)
	e.sample(at)
	e.echoMu.Lock()
	defer e.echoMu.Unlock()
	return &sample{
		End: at.Seconds(), counts: e.count().since(e.base), RTT: e.rttAll.quantiles(), Echo: e.echoAll.quantiles(),
		Path: e.path.total(),
	}
}

func (e *engine) count() counts {
	c := counts{Read: e.read.Load(), Asked: e.asked.Load(), Answered: e.answered.Load(), CPU: uint64(cpuTime())}
	for _, s := range e.ends {
		st := s.sess.Stats()
		c.add(&st, s.mss)
	}
	return c
}

// drain waits until all that was written has arrived.
func (e *engine) drain() {
	for end := time.Now().Add(drainLimit); time.Now().Before(end) && e.pending(); time.Sleep(pollEvery) {
		select {
		case <-e.failed:
			return
		default:
		}
	}
}

func (e *engine) pending() bool {
	if e.plan.Mode == modeEcho && e.client && e.answered.Load() < e.asked.Load() {
		return true
	}
	for _, s := range e.ends {
		if st := s.sess.Stats(); st.InFlight > 0 || st.SendQueue > 0 {
			return true
		}
	}
	return false
}

// close resets the sessions and waits until they are no longer used. It is called once.
func (e *engine) close() {
	defer close(e.over)
	e.running.Store(false)
	for _, s := range e.ends {
		abort(s.sess)
	}
	e.workers.Wait()
}

// abort ends a session without delivering what it still holds.
func abort(s *kcp.UDPSession) {
	s.SetLinger(0)
	_ = s.Close()
}
