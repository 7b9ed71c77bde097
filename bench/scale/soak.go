// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

const (
	soakLooks = 20 // samples of a soak
	// soakWarm is left out of what is compared: until then the time-wait records of the first
	// sessions have not run out.
	soakWarm = 15 * time.Second
	// soakGrowth is how much the memory of the last samples may exceed that of the first. soakSlack
	// is what the garbage collector's timing adds to either.
	soakGrowth = 1.1
	soakSlack  = 8 << 20
)

// measureSoak opens, echoes and closes at full speed and checks that nothing accumulates.
func measureSoak(s *settings, out io.Writer) (err error) {
	p, err := startProcess(s.role())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	c, err := newClients(s, p.addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	var (
		done   atomic.Int64
		stop   atomic.Bool
		failed = make(chan error, 1)
		t      = &table{}
		looks  []status
	)
	go func() {
		failed <- inParallel(1<<62, s.parallel, func() func(int) error {
			message := make([]byte, firstMessage)
			return func(int) error {
				if stop.Load() {
					return errStopped
				}
				var conn *kcp.UDPSession
				conn, err := c.open(roleOnce, message)
				if err != nil {
					return err
				}
				done.Add(1)
				return conn.Close()
			}
		})
	}()
	t.row("second", "sessions so far", "open at the server", "at the clients", "goroutines", "RSS, MB", "heap after a collection, MB")
	begin := time.Now()
	for range soakLooks {
		time.Sleep(s.soak / soakLooks)
		st, e := p.ask("gc")
		if e != nil {
			return e
		}
		looks = append(looks, st)
		t.row(int(time.Since(begin).Seconds()), done.Load(), st.Sessions, c.sessions(), st.Goroutines, float64(st.RSS)/1e6, float64(st.Heap)/1e6)
	}
	stop.Store(true)
	if e := <-failed; e != errStopped {
		return e
	}
	m := &idleRun{s: s, p: p, c: c}
	last, err := m.awaitNone()
	if err != nil {
		return err
	}
	t.row("after the end", done.Load(), last.Sessions, c.sessions(), last.Goroutines, float64(last.RSS)/1e6, float64(last.Heap)/1e6)
	if err := t.print(out, fmt.Sprintf("Opening, echoing and closing for %v, %d at a time: %d a second", s.soak, s.parallel,
		int(float64(done.Load())/time.Since(begin).Seconds()))); err != nil {
		return err
	}
	return flat(looks, s)
}

var errStopped = errors.New("stopped")

// soakMost bounds the goroutines, sessions and descriptors of a process. Each open session has a
// goroutine of the server's program; the library's own are few.
func soakMost(s *settings) int { return s.parallel*8 + 200 }

// flat compares the samples after the warm-up: those of the first half with those of the second.
func flat(looks []status, s *settings) error {
	warm := int(soakWarm * soakLooks / s.soak)
	for _, st := range looks {
		if most := soakMost(s); st.Goroutines > most || st.Sessions > most || st.Descriptors > most {
			return fmt.Errorf("%d goroutines, %d sessions and %d descriptors with %d at a time", st.Goroutines, st.Sessions, st.Descriptors, s.parallel)
		}
	}
	if len(looks)-warm < 4 {
		return nil // too short for a result
	}
	looks = looks[warm:]
	half := len(looks) / 2
	most := func(part []status, of func(status) int64) (n int64) {
		for _, st := range part {
			n = max(n, of(st))
		}
		return n
	}
	for name, of := range map[string]func(status) int64{
		"resident memory": func(st status) int64 { return st.RSS }, "heap": func(st status) int64 { return st.Heap },
	} {
		first, second := most(looks[:half], of), most(looks[half:], of)
		if float64(second) > soakGrowth*float64(first)+soakSlack {
			return fmt.Errorf("the %s grew from %d to %d bytes", name, first, second)
		}
	}
	return nil
}
