// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestManyAcceptedSessionsAddNoGoroutine(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		const sessions = 2000
		conn := w.conn(memAddr("server"), nil)
		l := w.serveOver(conn, false, Config{AcceptBacklog: 2 * sessions, MaxPending: sessions})
		knock := func(i int) {
			opener := segment{conv: 7, cmd: cmdPush, wnd: 32, data: []byte("hello")}
			conn.put(appendSegment(nil, &opener), memAddr(strconv.Itoa(i)))
		}
		// The first ones start the workers.
		all := make([]*UDPSession, 0, sessions)
		accept := func() {
			s := w.accept(l)
			if got := string(mustRead(t, s, 100)); got != "hello" {
				t.Fatalf("read %q", got)
			}
			mustWrite(t, s, []byte("welcome"))
			all = append(all, s)
		}
		for i := range 10 {
			knock(i)
			accept()
		}
		before := bubbleGoroutinesButTimers()
		for i := 10; i < sessions; i++ {
			knock(i)
		}
		for len(all) < sessions {
			accept()
		}
		if n := bubbleGoroutinesButTimers(); n != before {
			t.Errorf("%d goroutines with %d sessions, %d with 10", n, sessions, before)
		}
		t.Log("# the same while their data is unacknowledged")
		time.Sleep(5 * time.Second)
		if n := bubbleGoroutinesButTimers(); n != before {
			t.Errorf("%d goroutines with %d sessions in retransmission, %d with 10",
				n, sessions, before)
		}
		_ = l.Close()
		for _, s := range all {
			s.SetLinger(0)
			_ = s.Close()
		}
		synctest.Wait()
		if n := bubbleGoroutinesButTimers(); n >= before {
			t.Errorf("%d goroutines after all was closed, %d before", n, before)
		}
	})
}

// chaosSetters calls one of the methods that change or query a session, kind 0 to 15. Kinds below
// 12 do not set deadlines.
func chaosSetters(s *UDPSession, kind int, rng *rand.Rand) {
	switch kind {
	case 0:
		s.SetWindowSize(1+rng.IntN(300), 1+rng.IntN(300))
	case 1:
		s.SetMtu(200 + rng.IntN(1300))
	case 2:
		s.SetNoDelay(rng.IntN(2), 10+rng.IntN(50), rng.IntN(4), rng.IntN(2))
	case 3:
		s.SetStreamMode(true)
	case 4:
		s.SetWriteDelay(rng.IntN(2) == 0)
	case 5:
		s.SetACKNoDelay(rng.IntN(2) == 0)
	case 6:
		s.SetDUP(rng.IntN(2))
	case 7:
		s.SetRateLimit(uint32(rng.IntN(2)) * 50_000_000)
	case 8:
		_ = s.SetFEC(rng.IntN(2)*5, rng.IntN(2)*2)
	case 9:
		s.SetLogger(KCPLogType(rng.Int32()), func(string, ...any) { s.GetRTO() })
	case 10:
		_ = s.SetOOBHandler(func([]byte) { s.GetSRTT() })
	case 11:
		_ = s.SendOOB([]byte("out of band"))
	case 12:
		_ = s.SetDeadline(time.Now().Add(time.Duration(rng.IntN(1000)) * time.Microsecond))
	case 13:
		_ = s.SetDeadline(time.Time{})
	case 14:
		s.Stats()
		s.GetOOBMaxSize()
		s.GetSRTTVar()
		DefaultSnmp.Copy()
	case 15:
		_, _, _ = s.LocalAddr(), s.RemoteAddr(), s.GetConv()
	}
}

// Every method may be called from any goroutine at any time, Close included.
func TestAllMethodsAtOnce(t *testing.T) {
	l, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for round := range 4 {
		client, err := DialWithOptions(l.Addr().String(), nil, 3, 1)
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, client, []byte("x"))
		server, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i, s := range []*UDPSession{client, server} {
			for w := range 2 {
				wg.Go(func() { shout(t, s) })
				wg.Go(func() { drainSession(t, s) })
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(round), uint64(2*i+w)))
					for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
						chaosSetters(s, rng.IntN(16), rng)
						runtime.Gosched()
					}
					s.SetLinger(0)
					_ = s.Close()
				})
			}
		}
		wg.Wait()
	}
}

// shout writes until the session is closed.
func shout(t *testing.T, s *UDPSession) {
	buf := make([]byte, 5000)
	for {
		if _, err := s.Write(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			checkEndError(t, "Write", err)
			return
		}
		if _, err := s.WriteBuffers([][]byte{buf[:10], buf[:2000]}); err != nil &&
			!errors.Is(err, os.ErrDeadlineExceeded) {
			checkEndError(t, "WriteBuffers", err)
			return
		}
	}
}

// drainSession reads until the session is closed.
func drainSession(t *testing.T, s *UDPSession) {
	buf := make([]byte, 3000)
	for {
		if _, err := s.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			checkEndError(t, "Read", err)
			return
		}
	}
}

// checkEndError checks that a session ended as one that either side closed or aborted.
func checkEndError(t *testing.T, call string, err error) {
	if err != io.EOF && !errors.Is(err, net.ErrClosed) && err != errReset {
		t.Errorf("%s: %v", call, err)
	}
}

// On a lossy link, with a program that keeps changing its settings, every byte still arrives, in
// order.
func TestSettingsUnderTrafficLoseNothing(t *testing.T) {
	for seed := range uint64(6) {
		p := simProfile{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond,
			JitterReorders: true, Loss: 0.05, Duplicate: 0.02}
		pairRun(t, seed, p, Config{StreamMode: true}, func(t *testing.T, n *connPair) {
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for i, s := range []*UDPSession{n.client, n.server} {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(seed, uint64(i)))
					for {
						select {
						case <-stop:
							return
						case <-time.After(time.Duration(rng.IntN(30)) * time.Millisecond):
							chaosSetters(s, rng.IntN(12), rng)
						}
					}
				})
			}
			n.move(t, pattern(1<<20, seed))
			close(stop)
			wg.Wait()
		})
	}
}
