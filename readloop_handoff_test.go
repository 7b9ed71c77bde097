// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

// roleTimeout bounds the wait for events on real sockets.
const roleTimeout = 10 * time.Second

// rolePair returns two ends of a session over loopback whose calls read the sockets themselves.
func rolePair(t *testing.T) (client, server *UDPSession) {
	t.Helper()
	_, client, server = pairLoopback(t)
	client.SetACKNoDelay(true)
	server.SetACKNoDelay(true)
	return client, server
}

// roleWait waits until f holds.
func roleWait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(roleTimeout); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not %s after %v", what, roleTimeout)
		}
	}
}

// rolePolls reports whether a Read of s waits in the poller.
func rolePolls(s *UDPSession) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls != nil && s.calls.readers.polls != nil
}

// roleBlock starts Reads of s until one of them waits in the poller. The result of the last one is
// sent on the channel.
func roleBlock(t *testing.T, s, peer *UDPSession) chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		buf := make([]byte, 100)
		for {
			if _, err := s.Read(buf); err != nil {
				done <- err
				return
			}
		}
	}()
	roleWait(t, "polling", func() bool {
		if rolePolls(s) {
			return true
		}
		_, _ = peer.Write([]byte("x"))
		time.Sleep(50 * time.Microsecond) // the Read has to come back in between
		return rolePolls(s)
	})
	return done
}

func TestBlockedReadReadsTheSocket(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(s *UDPSession)
		want error
	}{
		"deadline moved": {func(s *UDPSession) {
			s.SetReadDeadline(time.Unix(1, 0))
		}, os.ErrDeadlineExceeded},
		"deadline in future": {func(s *UDPSession) {
			s.SetReadDeadline(time.Now().Add(time.Millisecond))
		}, os.ErrDeadlineExceeded},
		"closed":             {func(s *UDPSession) { s.Close() }, net.ErrClosed},
		"closed for reading": {func(s *UDPSession) { s.CloseRead() }, io.EOF},
		"replaced":           {func(s *UDPSession) { s.replaced() }, resetErrors[0]},
		"socket closed":      {func(s *UDPSession) { endpointOf(s).conn.Close() }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			for _, side := range []string{"client", "server"} {
				s, peer := rolePair(t)
				if side == "server" {
					s, peer = peer, s
				}
				done := roleBlock(t, s, peer)
				end.do(s)
				select {
				case err := <-done:
					if !errors.Is(err, end.want) {
						t.Errorf("%s: Read gave %v, want %v", side, err, end.want)
					}
				case <-time.After(roleTimeout):
					t.Fatalf("%s: Read is still blocked", side)
				}
			}
		})
	}
}

// A session whose program has stopped reading is served by the endpoint's goroutine again.
func TestReaderTakesOverFromAnAbsentProgram(t *testing.T) {
	client, server := rolePair(t)
	done := roleBlock(t, server, client)
	_ = server.SetReadDeadline(time.Unix(1, 0))
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("is anybody there?")); err != nil {
		t.Fatal(err)
	}
	roleWait(t, "acknowledged", func() bool { return client.Stats().InFlight == 0 })
	_ = server.SetReadDeadline(time.Time{})
	for {
		buf := make([]byte, 100)
		n, err := server.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) == "is anybody there?" {
			return
		}
	}
}

// A Read that reads the socket serves the other sessions on it. It hands the socket over once there
// are some.
func TestReadThatReadsTheSocketServesOthers(t *testing.T) {
	client, server := rolePair(t)
	done := roleBlock(t, server, client)
	another, err := DialWithOptions(server.LocalAddr().String(), nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer another.Close()
	if _, err := another.Write([]byte("me too")); err != nil {
		t.Fatal(err)
	}
	second, err := endpointOf(server).demux.backlog.accept()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	for range 100 {
		if _, err := io.ReadFull(second, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		if _, err := second.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(another, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := another.Write([]byte("me too")); err != nil {
			t.Fatal(err)
		}
	}
	server.SetLinger(0)
	server.Close()
	<-done
}

// Both ends write and read at full speed at once, in separate goroutines.
func TestCallsOfBothKindsShareTheSocket(t *testing.T) {
	client, server := rolePair(t)
	const size = 4 << 20
	failed := make(chan error, 4)
	for _, s := range []*UDPSession{client, server} {
		s.SetStreamMode(true)
		s.SetNoDelay(1, 10, 2, 1)
		s.SetWindowSize(128, 128)
		go func() {
			_, err := s.Write(pattern(size, 3))
			failed <- err
		}()
		go func() {
			got := make([]byte, size)
			_, err := io.ReadFull(s, got)
			if err == nil && string(got) != string(pattern(size, 3)) {
				err = errors.New("the bytes differ")
			}
			failed <- err
		}()
	}
	for range 4 {
		select {
		case err := <-failed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(roleTimeout):
			t.Fatal("stuck")
		}
	}
}

// roleAlone returns a session with a silent peer, whose calls wait for the endpoint's goroutine.
func roleAlone(t *testing.T) *UDPSession {
	t.Helper()
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := DialWithOptions(peer.LocalAddr().String(), nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.SetLinger(0)
		s.Close()
		peer.Close()
	})
	q := endpointOf(s).ingress.(*handoff)
	q.mu.Lock()
	q.quick = 0 // as if calls had come in time
	q.mu.Unlock()
	return s
}

// roleSettle feeds s one segment of its peer, as a batch does, and returns the session whose call
// that has woken.
func roleSettle(s *UDPSession, seg segment) (awaited *UDPSession) {
	s.mu.Lock()
	seg.conv, seg.wnd = s.conv, wndInitial
	if seg.cmd != cmdAck {
		seg.una = s.core.sendUna
	}
	s.core.input(inputAt(s.now()), appendSegment(nil, &seg), true)
	s.mu.Unlock()
	r := reader{ep: endpointOf(s), now: s.now()}
	r.finishSession(s)
	r.tx.finish()
	return r.awaited
}

// The socket is handed to calls that have been woken, not to one that waits for something else.
// Such a call would not take it, and the socket would not be read until roleGrace is over.
func TestRoleIsLentToWokenCallsOnly(t *testing.T) {
	type step struct {
		what string
		seg  segment
		woke bool
	}
	for name, c := range map[string]struct {
		call  func(s *UDPSession) error
		on    func(c *blockedCalls) *waiters
		steps []step
	}{
		"Read": {
			func(s *UDPSession) error { _, err := s.Read(make([]byte, 1)); return err },
			func(c *blockedCalls) *waiters { return &c.readers },
			[]step{
				{"an acknowledgement", segment{cmd: cmdAck, una: 0}, false},
				{"data behind a hole", segment{cmd: cmdPush, sn: 1, data: []byte("b")}, false},
				{"the data", segment{cmd: cmdPush, sn: 0, data: []byte("a")}, true},
			},
		},
		"Write": {
			func(s *UDPSession) error {
				_, err := s.Write(make([]byte, writeMost+2*s.core.mss))
				return err
			},
			func(c *blockedCalls) *waiters { return &c.writers },
			[]step{
				{"data", segment{cmd: cmdPush, sn: 0, data: []byte("a")}, false},
				{"room for one segment", segment{cmd: cmdAck, una: 1}, false},
				{"room enough", segment{cmd: cmdAck, una: 4}, true},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := roleAlone(t)
			s.SetNoDelay(1, 10, 0, 1)
			s.SetWindowSize(8, 8)
			s.configure(func() { s.core.setMode(modeFixedWindows, true) })
			done := make(chan error, 1)
			go func() { done <- c.call(s) }()
			roleWait(t, "blocked", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.calls != nil && c.on(s.calls).count > 0
			})
			for _, step := range c.steps {
				awaited := roleSettle(s, step.seg)
				if woke := awaited == s; woke != step.woke {
					t.Errorf("%s: woke a call: %v, want %v", step.what, woke, step.woke)
				}
				if lent := endpointOf(s).ingress.(*handoff).lend(awaited); lent != step.woke {
					t.Errorf("%s: lent the role: %v, want %v", step.what, lent, step.woke)
				}
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if roleSettle(s, segment{cmd: cmdPush, sn: 2, data: []byte("c")}) != nil {
				t.Error("woke a call where none waits")
			}
		})
	}
}
