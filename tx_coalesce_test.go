// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// countingIO counts the batches that an endpoint sends, and the goroutines that send them.
type countingIO struct {
	batchConn
	calls, datagrams, pieces atomic.Int64
}

func (c *countingIO) writeBatch(p []outgoing) (sent, lost int, err error) {
	c.calls.Add(1)
	c.pieces.Add(int64(len(p)))
	c.datagrams.Add(int64(datagramsFrom(p, 0, 0)))
	return c.batchConn.writeBatch(p)
}

// coalescingSessions opens n sessions over one Transport and one listener. Each has sent something.
func coalescingSessions(t *testing.T, w *connWorld, n int,
	c Config) (clients, servers []*UDPSession, out *countingIO) {
	t.Helper()
	c.AcceptBacklog = n
	l := w.serve(c)
	tr := w.transport(w.endpoint("10.0.0.9:9"), c)
	t.Cleanup(func() { tr.Close() })
	for i := range n {
		s := w.dialTo(tr, connServerAddr)
		clients = append(clients, s)
		connWrite(t, s, fmt.Sprint(i))
	}
	for range n {
		s := w.accept(l)
		buf := make([]byte, 10)
		if _, err := s.Read(buf); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	e := l.demux.eps[0]
	out = &countingIO{batchConn: e.io}
	e.io = out
	return clients, servers, out
}

// Many sessions that answer what they receive send their answers in few batches. Each answer
// carries the acknowledgement of what it answers.
func TestWritesOfACrowdLeaveTogether(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		const n, rounds = 200, 5
		clients, servers, out := coalescingSessions(t, w, n, Config{})
		e := endpointOf(servers[0])
		for range rounds {
			for i, s := range clients {
				connWrite(t, s, fmt.Sprint(i))
			}
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			e.coalescer.busy.Store(true) // this socket gives its reader one datagram at a time
			held := make(chan struct{})
			// the worker comes to run when all have written
			w.sched.Put(func() { <-held }, time.Now())
			buf := make([]byte, 10)
			for _, s := range servers {
				m, err := s.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				connWrite(t, s, string(buf[:m]))
			}
			close(held)
			for i, s := range clients {
				connWantRead(t, s, fmt.Sprint(i))
			}
			time.Sleep(time.Second)
		}
		if d := out.datagrams.Load(); d != n*rounds {
			t.Errorf("%d datagrams, want %d: an answer carries the acknowledgement", d, n*rounds)
		}
		if c := out.calls.Load(); c > 2*rounds {
			t.Errorf("%d answers left in %d batches, want a batch or two a round", n*rounds, c)
		}
		for _, s := range servers {
			s.mu.Lock()
			if s.turns.queued {
				t.Error("a session still waits for its flush")
			}
			s.mu.Unlock()
		}
	})
}

func TestACrowdBeginsAndEnds(t *testing.T) {
	var c coalescer
	for _, step := range []struct {
		sessions int
		want     bool
	}{
		{1, false}, {7, false}, {8, true}, {3, true}, {100, true}, {2, false}, {7, false},
		{9, true}, {0, false},
	} {
		if c.noteBatch(step.sessions); c.busy.Load() != step.want {
			t.Errorf("after a batch of %d sessions: %v, want %v",
				step.sessions, c.busy.Load(), step.want)
		}
	}
}

// A session that waits for its flush is flushed even if it is closed, aborted or ended meanwhile.
func TestSessionsOfACrowdMayEnd(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		clients, servers, _ := coalescingSessions(t, w, 3, Config{})
		endpointOf(servers[0]).coalescer.busy.Store(true)
		for _, s := range servers {
			connWrite(t, s, "last words")
		}
		servers[1].Close()
		servers[2].SetLinger(0)
		servers[2].Close()
		endpointOf(servers[0]).coalescer.busy.Store(false)
		for _, s := range servers[:2] {
			at := slices.IndexFunc(clients, func(c *UDPSession) bool { return c.conv == s.conv })
			connWantRead(t, clients[at], "last words")
		}
		connWrite(t, servers[0], "and more")
		same := func(c *UDPSession) bool { return c.conv == servers[0].conv }
		connWantRead(t, clients[slices.IndexFunc(clients, same)], "and more")
	})
}

// Ten thousand sessions that are due at the same time are distributed among the workers and sent in
// few batches.
func TestTenThousandDueSessionsLeaveInFewBatches(t *testing.T) {
	n := 10000
	if testing.Short() || raceDetector {
		n = 1000
	}
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		w.sched.Close()
		w.sched = NewTimedSched(2)
		clients, _, _ := coalescingSessions(t, w, n, Config{WriteDelay: true})
		e := endpointOf(clients[0])
		out := &countingIO{batchConn: e.io}
		e.io = out
		shares := make(map[*schedWorker]int)
		for _, s := range clients {
			connWrite(t, s, "tick")
			shares[s.timer.worker]++
		}
		time.Sleep(intervalOf(clients[0]))
		synctest.Wait()
		if d := out.datagrams.Load(); d != int64(n) {
			t.Fatalf("%d datagrams, want %d", d, n)
		}
		// What fills three quarters of an arena is sent at once, and at least what one worker takes
		// out of its heap.
		if most := int64(n/500 + 4); out.calls.Load() > most {
			t.Errorf("%d datagrams left in %d batches, want at most %d", n, out.calls.Load(), most)
		}
		for _, share := range shares {
			if share < n/3 {
				t.Errorf("the workers have %v of %d sessions", shares, n)
			}
		}
		if c := out.pieces.Load(); e.maxRunSegments > 1 && c > int64(n/10) {
			t.Errorf("%d messages for one peer, want runs", c)
		}
	})
}

// intervalOf returns how long a delayed write waits.
func intervalOf(s *UDPSession) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.interval.duration()
}

// A scratch lasts as long as its worker. It must not keep a session that had more to send, or the
// memory of ended ones would not be released.
func TestScratchKeepsNoSession(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		_, servers, _ := coalescingSessions(t, w, 20, Config{})
		e := endpointOf(servers[0])
		e.coalescer.busy.Store(true) // a Write leaves its session to the worker
		held := make(chan struct{})
		w.sched.Put(func() { <-held }, time.Now())
		synctest.Wait()
		tx := new(txScratch)
		for _, s := range servers {
			connWrite(t, s, "more")
			tx.flush(&endpointOf(s).txSocket, s)
			// it is being sent: it has another turn behind that
			tx.flush(&endpointOf(s).txSocket, s)
		}
		if n := len(tx.turns); n != len(servers) {
			t.Errorf("%d sessions have packets in the batch, want %d", n, len(servers))
		}
		tx.finish()
		close(held)
		if cap(tx.again) < len(servers) {
			t.Errorf("room for %d sessions that have another turn, want that all %d had one",
				cap(tx.again), len(servers))
		}
		for i, s := range tx.again[:cap(tx.again)] {
			if s != nil {
				t.Errorf("the scratch keeps a session in place %d", i)
			}
		}
		for i, f := range tx.turns[:cap(tx.turns)] {
			if f.owner != nil {
				t.Errorf("the scratch keeps a sender in place %d", i)
			}
		}
	})
}
