// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// readyPairs opens n sessions over one socket on each side. The server's ends are in a queue, each
// with its number.
func readyPairs(w *connWorld, n int, c Config) (
	q *ReadyQueue[int], clients, servers []*UDPSession,
) {
	w.t.Helper()
	q = new(ReadyQueue[int])
	l := w.serve(c)
	conn := w.endpoint("10.0.0.2:2000")
	for i := range n {
		client := w.dialOver(conn, false, l.Addr(), uint32(1+i), c)
		server := w.join(client, l)
		clients, servers = append(clients, client), append(servers, server)
		if err := q.Add(server, i); err != nil {
			w.t.Fatal(err)
		}
	}
	return q, clients, servers
}

// readyRead reads in a loop body, where that must not wait.
func readyRead(t *testing.T, s *UDPSession, p []byte) (int, error) {
	t.Helper()
	start := time.Now()
	n, err := s.Read(p)
	if d := time.Since(start); d != 0 {
		t.Errorf("a Read of a session that was yielded waited for %v", d)
	}
	return n, err
}

// readyFor returns a context that is done after d.
func readyFor(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestReadyYieldsAllThatReadReturns(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%v", stream), func(t *testing.T) {
			connRun(t, shortLink, func(t *testing.T, w *connWorld) {
				q, clients, _ := readyPairs(w, 3, Config{StreamMode: stream})
				for i, c := range clients {
					connWrite(t, c, fmt.Sprint("first ", i))
					connWrite(t, c, "second")
				}
				time.Sleep(time.Second) // all has arrived before the loop
				if err := clients[0].CloseWrite(); err != nil {
					t.Fatal(err)
				}
				clients[1].SetLinger(0)
				clients[1].Close()
				got, ends := make([]string, 3), make([]error, 3)
				for s, i := range q.Ready(readyFor(t, time.Minute)) {
					var buf [4]byte // less than a message
					n, err := readyRead(t, s, buf[:])
					got[i] += string(buf[:n])
					if err != nil {
						ends[i] = err
						s.Close()
					}
				}
				for i, got := range got {
					if want := fmt.Sprint("first ", i, "second"); got != want {
						t.Errorf("session %d: got %q, want %q", i, got, want)
					}
				}
				if ends[0] != io.EOF || !errors.Is(ends[1], syscall.ECONNRESET) || ends[2] != nil {
					t.Errorf("the ends are %v, want io.EOF, a reset and none", ends)
				}
			})
		})
	}
}

// A loop that ignores an error is not called again and again, one that has not seen it is.
func TestReadyErrorIsYieldedUntilItWasRead(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(client, server *UDPSession)
		want error
	}{
		"CloseWrite":   {func(c, _ *UDPSession) { c.CloseWrite() }, io.EOF},
		"CloseRead":    {func(_, s *UDPSession) { s.CloseRead() }, io.EOF},
		"RESET":        {func(c, _ *UDPSession) { c.SetLinger(0); c.Close() }, syscall.ECONNRESET},
		"dead timeout": {func(c, _ *UDPSession) { restartCrash(c) }, syscall.ETIMEDOUT},
		"deadline": {func(_, s *UDPSession) {
			s.SetReadDeadline(time.Now().Add(time.Minute))
		}, os.ErrDeadlineExceeded},
		"deadline in the past": {func(_, s *UDPSession) { s.SetReadDeadline(past) },
			os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			connRun(t, shortLink, func(t *testing.T, w *connWorld) {
				config := Config{KeepAlive: time.Second}
				client, server, _ := w.pair(config)
				q := new(ReadyQueue[string])
				if err := q.Add(server, "x"); err != nil {
					t.Fatal(err)
				}
				go func() {
					time.Sleep(time.Second)
					c.end(client, server)
				}()
				yields := 0
				for s, state := range q.Ready(readyFor(t, 10*time.Minute)) {
					if yields++; s != server || state != "x" || yields > 5 {
						t.Fatalf("yielded %p and %q for the %dth time", s, state, yields)
					}
					if yields == 5 {
						var buf [10]byte
						if _, err := readyRead(t, s, buf[:]); !errors.Is(err, c.want) {
							t.Errorf("Read: %v, want %v", err, c.want)
						}
					}
				}
				if yields != 5 {
					t.Errorf("yielded %d times, want 5", yields)
				}
			})
		})
	}
}

func TestReadyDeadlineIsYieldedInTime(t *testing.T) {
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		q, clients, servers := readyPairs(w, 1, Config{})
		start := time.Now()
		servers[0].SetReadDeadline(start.Add(10 * time.Second))
		go func() {
			time.Sleep(25 * time.Second)
			connWrite(t, clients[0], "late")
		}()
		var log []string
		for s := range q.Ready(readyFor(t, time.Minute)) {
			var buf [10]byte
			n, err := readyRead(t, s, buf[:])
			at := time.Since(start).Round(time.Second)
			switch {
			case err == nil:
				log = append(log, fmt.Sprintf("%v %s", at, buf[:n]))
			case errors.Is(err, os.ErrDeadlineExceeded):
				log = append(log, fmt.Sprint(at))
				if len(log) < 3 {
					s.SetReadDeadline(start.Add(at + 10*time.Second)) // sets it again
				}
			default:
				t.Fatal(err)
			}
		}
		// The data of 25 s has moved no deadline.
		if want := []string{"10s", "20s", "25s late", "30s"}; !slices.Equal(log, want) {
			t.Errorf("yielded at %q, want %q", log, want)
		}
	})
}

func TestReadyAddAndRemove(t *testing.T) {
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		q, clients, servers := readyPairs(w, 2, Config{})
		var other ReadyQueue[error] // of an interface type: its nil is yielded too
		if err := q.Add(servers[0], 9); !errors.Is(err, os.ErrExist) {
			t.Errorf("a second Add: %v", err)
		}
		if err := other.Add(servers[0], nil); !errors.Is(err, os.ErrExist) {
			t.Errorf("Add to another queue: %v", err)
		}
		if other.Remove(servers[0]) || other.Remove(clients[0]) {
			t.Error("a session was removed from a queue that it is not in")
		}
		connWrite(t, clients[0], "a")
		time.Sleep(time.Second)
		if !q.Remove(servers[0]) || q.Remove(servers[0]) {
			t.Error("Remove does not report whether the session was in the queue")
		}
		for s := range q.Ready(readyFor(t, time.Second)) {
			t.Errorf("%p was yielded after Remove", s)
		}
		if err := other.Add(servers[0], nil); err != nil {
			t.Error(err)
		}
		for s, state := range other.Ready(t.Context()) {
			if s != servers[0] || state != nil {
				t.Errorf("yielded %p and %v", s, state)
			}
			connWantRead(t, s, "a")
			break
		}
		connWrite(t, clients[0], "b")
		time.Sleep(time.Second)
		servers[0].Close() // what was not read stays readable, outside of the queue
		for s := range other.Ready(readyFor(t, time.Second)) {
			t.Errorf("%p was yielded after Close", s)
		}
		connWantRead(t, servers[0], "b")
		if err := other.Add(servers[0], nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Add of a session that is closed: %v", err)
		}

		done := make(chan struct{})
		go func() {
			defer close(done)
			for s := range q.Ready(context.Background()) {
				t.Errorf("%p was yielded", s)
			}
		}()
		synctest.Wait()
		q.Close()
		q.Close()
		<-done
		if err := q.Add(servers[1], 1); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Add to a queue that is closed: %v", err)
		}
		if err := other.Add(servers[1], nil); err != nil {
			t.Errorf("Add of a session from a queue that is closed: %v", err)
		}
		if q.Remove(servers[1]) {
			t.Error("a session was removed from a queue that is closed")
		}
	})
}

// A body that stops early, panics or ends its goroutine leaves a session that can be read to the
// other loops.
func TestReadyBodyThatEndsEarly(t *testing.T) {
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		q, clients, _ := readyPairs(w, 1, Config{})
		connWrite(t, clients[0], "a")
		for _, end := range []func(){
			func() {},
			func() { panic("the body") },
		} {
			func() {
				defer func() { _ = recover() }()
				for range q.Ready(t.Context()) {
					end()
					return
				}
			}()
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range q.Ready(t.Context()) {
				runtime.Goexit() // as t.FailNow does
			}
		}()
		<-done
		for s := range q.Ready(t.Context()) {
			connWantRead(t, s, "a")
			break
		}
	})
}

// While sessions have much to read, they take turns.
func TestReadyIsFair(t *testing.T) {
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		const sessions, messages = 5, 20
		q, clients, _ := readyPairs(w, sessions, Config{})
		for _, c := range clients {
			for range messages {
				connWrite(t, c, "x")
			}
		}
		time.Sleep(time.Second)
		var turns []int
		for s, i := range q.Ready(readyFor(t, time.Second)) {
			connWantRead(t, s, "x")
			turns = append(turns, i)
		}
		if len(turns) != sessions*messages {
			t.Fatalf("%d turns, want %d", len(turns), sessions*messages)
		}
		for i, session := range turns {
			if session != turns[i%sessions] {
				t.Fatalf("the turns are %v", turns)
			}
		}
	})
}

// The loops serve what is there side by side, however long a body takes.
func TestReadyBodyThatBlocksDelaysItsGoroutineAlone(t *testing.T) {
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		const sessions = 4
		q, clients, _ := readyPairs(w, sessions, Config{})
		start := time.Now()
		var served sync.WaitGroup
		served.Add(sessions)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range sessions {
			go func() {
				for s := range q.Ready(ctx) {
					connWantRead(t, s, "x")
					time.Sleep(time.Minute)
					served.Done()
				}
			}()
		}
		synctest.Wait()
		for _, c := range clients {
			connWrite(t, c, "x")
		}
		served.Wait()
		if d := time.Since(start); d > time.Minute+time.Second {
			t.Errorf("%d bodies of a minute took %v", sessions, d)
		}
		cancel()
		synctest.Wait()
	})
}

// Of several loops one ends, while another waits.
func TestReadyEndsWithItsContext(t *testing.T) {
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		q, clients, servers := readyPairs(w, 1, Config{})
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		connWrite(t, clients[0], "a")
		connWrite(t, clients[0], "b")
		time.Sleep(time.Second)
		for range q.Ready(cancelled) {
			t.Error("a loop began after the end of its context")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for s := range q.Ready(ctx) {
			connWantRead(t, s, "a")
			cancel() // b is left
		}
		for s := range q.Ready(t.Context()) {
			connWantRead(t, s, "b")
			break
		}
		for range 100 {
			// A session becomes ready at the moment at which one of two loops ends.
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got := make(chan int, 2)
			loop := func(ctx context.Context) {
				for s := range q.Ready(ctx) {
					connWantRead(t, s, "c")
					got <- 1
					return
				}
				got <- 0
			}
			go loop(ctx)
			synctest.Wait()
			go loop(t.Context())
			synctest.Wait()
			go cancel()
			connWrite(t, clients[0], "c")
			if <-got == 0 {
				<-got
			} else {
				connWrite(t, clients[0], "c")
				<-got
			}
			cancel()
			synctest.Wait()
			if servers[0].core.readable() != 0 {
				connWantRead(t, servers[0], "c")
			}
		}
	})
}

// readyCrowd is sessions whose clients send numbered bytes, and loops that read them.
type readyCrowd struct {
	t      *testing.T
	q      *ReadyQueue[int]
	shared bool // Remove and Add from elsewhere may give a session to two bodies
	inBody [readyCrowdSessions]atomic.Int32
	got    [readyCrowdSessions]atomic.Int32 // bytes
	ended  [readyCrowdSessions]sync.Once
	left   sync.WaitGroup
}

const (
	readyCrowdSessions = 12
	readyCrowdMessages = 60
)

// body is the loop body. Now and then it leaves a session to another goroutine.
func (r *readyCrowd) body(s *UDPSession, i int) {
	if r.inBody[i].Add(1) != 1 && !r.shared {
		r.t.Error("two loops have the same session")
	}
	if r.got[i].Load()%5 == 4 && r.q.Remove(s) {
		go func() {
			time.Sleep(3 * time.Millisecond)
			r.read(s, i)
			r.inBody[i].Add(-1)
			if err := r.q.Add(s, i); err != nil && !errors.Is(err, net.ErrClosed) {
				r.t.Error(err)
			}
		}()
		return
	}
	r.read(s, i)
	r.inBody[i].Add(-1)
}

func (r *readyCrowd) read(s *UDPSession, i int) {
	start := time.Now()
	var buf [7]byte
	n, err := s.Read(buf[:])
	if d := time.Since(start); d != 0 && !r.shared {
		r.t.Errorf("a Read of a session that was yielded waited for %v", d)
	}
	for _, c := range buf[:n] {
		if want := byte(r.got[i].Add(1) - 1); c != want && !r.shared {
			r.t.Errorf("session %d: byte %d is %d", i, want, c)
		}
	}
	switch {
	case err == io.EOF:
		s.Close()
		r.ended[i].Do(r.left.Done)
	case err != nil && !(r.shared && errors.Is(err, net.ErrClosed)):
		r.t.Error(err)
	}
}

// send sends messages of several lengths at several intervals, and returns how many bytes.
func (r *readyCrowd) send(c *UDPSession, i int) (sent int) {
	for j := range readyCrowdMessages {
		p := make([]byte, 1+(i+j)%20)
		for k := range p {
			p[k] = byte(sent)
			sent++
		}
		mustWrite(r.t, c, p)
		time.Sleep(time.Duration(i*j%7) * time.Millisecond)
	}
	c.CloseWrite()
	return sent
}

// Loops begin and end, and sessions are removed, added again and closed. All data is read, in order
// and by one body at a time.
func TestReadyLosesNoWakeUp(t *testing.T) {
	for seed := range uint64(4) {
		link := shortLink
		link.Loss, link.Jitter = 0.05, 3*time.Millisecond
		connRunSeed(t, seed, link, func(t *testing.T, w *connWorld) {
			c := Config{StreamMode: seed%2 == 0}
			q, clients, servers := readyPairs(w, readyCrowdSessions, c)
			r := &readyCrowd{t: t, q: q, shared: seed >= 2}
			r.left.Add(readyCrowdSessions)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var loops, senders sync.WaitGroup
			for j := range 3 {
				loops.Go(func() {
					for ctx.Err() == nil {
						own, stop := context.WithTimeout(ctx, time.Duration(20+j)*time.Millisecond)
						for s, i := range q.Ready(own) {
							r.body(s, i)
						}
						stop()
					}
				})
			}
			var sent [readyCrowdSessions]int
			for i, c := range clients {
				senders.Go(func() { sent[i] = r.send(c, i) })
			}
			if r.shared {
				loops.Go(func() {
					for k := 0; ctx.Err() == nil; k++ {
						i := k % readyCrowdSessions
						if q.Remove(servers[i]) {
							_ = q.Add(servers[i], i) // the session may be closed by now
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			r.left.Wait()
			cancel()
			loops.Wait()
			senders.Wait()
			for i := range sent {
				if n := int(r.got[i].Load()); n != sent[i] {
					t.Errorf("session %d: %d bytes read of %d", i, n, sent[i])
				}
			}
		})
	}
}

// A message costs the queue nothing that the garbage collector has to clear away.
func TestReadyAllocatesNothing(t *testing.T) {
	_, client, server := pairLoopback(t)
	var q ReadyQueue[*[64]byte]
	defer q.Close()
	var buf [64]byte
	if err := q.Add(server, &buf); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s, buf := range q.Ready(context.Background()) {
			n, err := s.Read(buf[:])
			if err != nil {
				return
			}
			if _, err := s.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	message := make([]byte, 32)
	var back [64]byte
	echo := func() {
		if _, err := client.Write(message); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, back[:len(message)]); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		echo()
	}
	if n := testing.AllocsPerRun(1000, echo); n > 0.1 && !raceDetector {
		t.Errorf("%v allocations an echo, want 0", n)
	}
}
