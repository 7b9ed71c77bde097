// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
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
	synctest.Test(t, func(t *testing.T) {
		const sessions = 2000
		sched := NewTimedSched(2)
		defer sched.Close()
		conn := newMemConn(memAddr("server"), nil)
		l, err := (&Config{Scheduler: sched, AcceptBacklog: 2 * sessions, MaxPending: sessions}).Serve(conn)
		if err != nil {
			t.Fatal(err)
		}
		knock := func(i int) {
			conn.put(appendSegment(nil, &segment{conv: 7, cmd: cmdPush, wnd: 32, data: []byte("hello")}), memAddr(strconv.Itoa(i)))
		}
		// The first ones start the workers.
		all := make([]*UDPSession, 0, sessions)
		accept := func() {
			s, err := l.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
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
		before := bubbleGoroutines()
		for i := 10; i < sessions; i++ {
			knock(i)
		}
		for len(all) < sessions {
			accept()
		}
		if n := bubbleGoroutines(); n != before {
			t.Errorf("%d goroutines with %d sessions, %d with 10", n, sessions, before)
		}
		// Nor while their data waits to be acknowledged.
		time.Sleep(5 * time.Second)
		if n := bubbleGoroutines(); n != before {
			t.Errorf("%d goroutines with %d sessions in retransmission, %d with 10", n, sessions, before)
		}
		_ = l.Close()
		for _, s := range all {
			s.SetLinger(0)
			_ = s.Close()
		}
		synctest.Wait()
		if n := bubbleGoroutines(); n >= before {
			t.Errorf("%d goroutines after all was closed, %d before", n, before)
		}
	})
}

// hugeSize is the size of a Write that could never be queued whole.
func hugeSize() int {
	if strconv.IntSize == 32 {
		return 1 << 28
	}
	return 1 << 30
}

func TestHugeWriteQueuesNoMoreThanItMay(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream %v", stream), func(t *testing.T) {
			const window = 256
			const most = writeMost/(1400-segmentHeaderSize) + writeSegmentsMax
			c := Config{StreamMode: stream, SendWindow: window, ReceiveWindow: 64, NoCongestionControl: true}
			inSession(t, c, func(t *testing.T, client, server *UDPSession) {
				before := buffersOutstanding()
				type outcome struct {
					n   int
					err error
				}
				done := make(chan outcome)
				_ = client.SetWriteDeadline(time.Now().Add(20 * time.Second))
				huge := make([]byte, hugeSize()) // never touched beyond what is queued
				go func() {
					n, err := client.Write(huge)
					done <- outcome{n, err}
				}()
				for range 100 {
					time.Sleep(100 * time.Millisecond)
					st := client.Stats()
					if q := st.InFlight + st.SendQueue; q > most {
						t.Fatalf("%d segments queued, want at most %d: 4 MiB and one call's %d", q, most, writeSegmentsMax)
					}
					if r := server.Stats(); r.ReceiveQueue+r.ReceiveHoles > 2*64 {
						t.Fatalf("%d segments wait for a reader, want at most twice the window", r.ReceiveQueue+r.ReceiveHoles)
					}
					if n := buffersOutstanding() - before; n > most+2*64 {
						t.Fatalf("%d buffers in use", n)
					}
				}
				out := <-done
				const mss = 1400 - segmentHeaderSize
				if out.err != errTimeout || out.n > (most+2*64)*mss || out.n < writeMost {
					t.Errorf("Write = %d, %v, want some 4 MiB and a timeout", out.n, out.err)
				}
			})
		})
	}
}

func TestLargeWriteToASteadyReaderStaysInsideTheWindow(t *testing.T) {
	const window, size = 512, 16 << 20
	c := Config{StreamMode: true, SendWindow: window, ReceiveWindow: window, NoCongestionControl: true, NoDelay: true, FastResend: 2}
	inSession(t, c, func(t *testing.T, client, server *UDPSession) {
		data := pattern(size, 1)
		go func() {
			if n, err := client.Write(data); n != size || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
		}()
		got := make([]byte, 0, size)
		buf := make([]byte, 1<<16)
		for len(got) < size {
			n, err := server.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
			st := client.Stats()
			if q := st.InFlight + st.SendQueue; st.InFlight > window || q > writeMost/(1400-segmentHeaderSize)+writeSegmentsMax {
				t.Fatalf("%d segments queued, %d of them in flight", q, st.InFlight)
			}
		}
		if !bytes.Equal(got, data) {
			t.Fatal("bytes arrived changed")
		}
	})
}

// chaosSetters calls one of what changes a session or asks about it, kind 0 to 15. Kinds below 12 leave
// deadlines alone.
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
		if _, err := s.WriteBuffers([][]byte{buf[:10], buf[:2000]}); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
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

// checkEndError checks that a session ended as one does that either side closes or aborts.
func checkEndError(t *testing.T, call string, err error) {
	if err != io.EOF && !errors.Is(err, net.ErrClosed) && err != errReset {
		t.Errorf("%s: %v", call, err)
	}
}

// A link that loses packets, and a program that keeps changing its settings: every byte still arrives, in order.
func TestSettingsUnderTrafficLoseNothing(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			p := simProfile{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, JitterReorders: true, Loss: 0.05, Duplicate: 0.02}
			n := newSimPair(t, seed, p, Config{StreamMode: true})
			defer n.close()
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

// On a short path a Write waits at the send window, but not where something else than the path holds it up.
func TestShortPathTakesAWriteThatCannotLeave(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent %v", silent), func(t *testing.T) {
			connRun(t, simProfile{Delay: time.Millisecond}, func(t *testing.T, w *connWorld) {
				c := Config{SendWindow: 32, ReceiveWindow: 1024, NoCongestionControl: true, ACKNoDelay: true}
				client, server, _ := w.pair(c)
				go func() { _, _ = io.Copy(io.Discard, server) }()
				mustWrite(t, client, make([]byte, 100_000))
				time.Sleep(time.Second)
				if silent {
					w.setDrop(func(string, string, []byte) bool { return true })
				} else {
					client.SetRateLimit(10_000)
				}
				_ = client.SetWriteDeadline(time.Now().Add(2 * time.Second))
				mustWrite(t, client, make([]byte, writeMost))
				n, err := client.Write(make([]byte, writeMost))
				if err != errTimeout || n > writeMost/8 {
					t.Errorf("another Write = %d, %v, want a timeout with little of it taken", n, err)
				}
			})
		})
	}
}
