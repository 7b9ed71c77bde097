// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// descriptors returns how many file descriptors the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(all) - 1 // the directory itself is open meanwhile
}

// sharedCrowd is how many sessions are dialled.
func sharedCrowd() int {
	if raceDetector || testing.Short() {
		return 300
	}
	return 2000
}

// Thousands of sessions need few descriptors and goroutines, and leave none.
func TestThousandsOfSessionsOverSharedSockets(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			if host == "::1" {
				needIPv6(t)
			}
			connCheckLeaks(t)
			n := sharedCrowd()
			sched := NewTimedSched(1)
			defer sched.Close()
			server := Config{AcceptBacklog: n, Scheduler: sched}
			l, err := server.Listen(t.Context(), net.JoinHostPort(host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go echoOnAccept(l)
			c := &Config{SharedSocket: true, Scheduler: sched}
			before := descriptors(t)
			most := sharedMost + runtime.GOMAXPROCS(0) // each reading goroutine may have one
			sessions := make([]*UDPSession, n)
			for i := range sessions {
				if sessions[i], err = c.Dial(t.Context(), l.Addr().String()); err != nil {
					t.Fatal(err)
				}
				defer sessions[i].Close()
			}
			if got := descriptors(t) - before; got > most {
				t.Errorf("%d descriptors for %d sessions, want at most %d", got, n, most)
			}
			if got := len(connGoroutines()); got > sharedMost+3 {
				t.Errorf("%d goroutines for %d sessions, want at most %d", got, n, sharedMost+3)
			}
			var echoing sync.WaitGroup
			for part := range 20 {
				echoing.Go(func() {
					for i := part; i < n; i += 20 {
						s := sessions[i]
						_ = s.SetDeadline(time.Now().Add(30 * time.Second))
						if _, err := s.Write([]byte{byte(i), byte(i >> 8)}); err != nil {
							t.Error(err)
							return
						}
						var got [10]byte
						if m, err := s.Read(got[:]); err != nil || m != 2 ||
							got[0] != byte(i) || got[1] != byte(i>>8) {
							t.Errorf("session %d read %x, %v", i, got[:m], err)
							return
						}
					}
				})
			}
			echoing.Wait()
			if got := descriptors(t) - before; got > most {
				t.Errorf("%d descriptors after the echo, want at most %d", got, most)
			}
			for _, s := range sessions {
				s.SetLinger(0)
				s.Close()
			}
			awaitNoSharedSockets(t, c)
			for end := time.Now().Add(leakTimeout); descriptors(t) > before; {
				if time.Now().After(end) {
					t.Fatalf("%d descriptors are left", descriptors(t)-before)
				}
			}
		})
	}
}

// echoOnAccept answers the first message of each session.
func echoOnAccept(l *Listener) {
	buf := make([]byte, 100)
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		if n, err := s.Read(buf); err == nil {
			_, _ = s.Write(buf[:n])
		}
	}
}
