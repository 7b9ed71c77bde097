// SPDX-License-Identifier: MIT

package simnet

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSocketErrorsLookLikeTheKernels(t *testing.T) {
	own := errors.New("of its own kind")
	for _, c := range []struct {
		err     error
		syscall bool // wrapped in an *os.SyscallError
		timeout bool
	}{
		{EAGAIN, true, true}, {ECONNREFUSED, true, false}, {ECONNRESET, true, false}, {EMSGSIZE, true, false},
		{ENETUNREACH, true, false}, {ENOBUFS, true, false}, {EPERM, true, false},
		{net.ErrClosed, false, false}, {os.NewSyscallError("sendmmsg", ENOBUFS), true, false}, {own, false, false},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
				a.FailWrites(Fault{Err: c.err})
				a.FailReads(Fault{Err: c.err})
				wrote, writeErr := a.WriteTo([]byte("x"), udp(addrB))
				_, _, readErr := a.ReadFrom(make([]byte, 1))
				for op, err := range map[string]error{"write": writeErr, "read": readErr} {
					var opErr *net.OpError
					if !errors.As(err, &opErr) || opErr.Op != op || opErr.Net != "udp" || opErr.Source != a.LocalAddr() || (opErr.Addr == nil) != (op == "read") {
						t.Errorf("%s: %#v", op, err)
						continue
					}
					var sysErr *os.SyscallError
					if got := errors.As(err, &sysErr); !errors.Is(err, c.err) || got != c.syscall {
						t.Errorf("%s: %v does not wrap %v as it should", op, err, c.err)
					}
					if sysErr != nil && strings.Count(err.Error(), ": ") > 3 {
						t.Errorf("%s: wrapped twice: %v", op, err)
					}
					if opErr.Timeout() != c.timeout {
						t.Errorf("%s: Timeout() = %v", op, opErr.Timeout())
					}
				}
				if wrote != 0 || n.Stats().Sent != 0 {
					t.Error("a packet whose WriteTo failed was sent")
				}
			})
		})
	}
}

func TestFaultsFollowTheirScript(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults []Fault
		want   string // of ten calls: . success, N ENOBUFS, P EPERM
	}{
		{"none", nil, ".........."},
		{"once", []Fault{{Err: ENOBUFS}}, "N........."},
		{"later", []Fault{{After: 3, Count: 2, Err: ENOBUFS}}, "...NN....."},
		{"one after the other", []Fault{{After: 1, Err: ENOBUFS}, {Count: 2, Err: EPERM}, {After: 2, Err: ENOBUFS}}, ".NPP..N..."},
		{"for ever", []Fault{{After: 4, Count: -1, Err: EPERM}, {Err: ENOBUFS}}, "....PPPPPP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
				letter := func(err error) string {
					switch {
					case err == nil:
						return "."
					case errors.Is(err, ENOBUFS):
						return "N"
					case errors.Is(err, EPERM):
						return "P"
					}
					return err.Error()
				}
				var writes, reads string
				a.FailWrites(c.faults...)
				for range 10 {
					_, err := a.WriteTo([]byte("x"), udp(addrB))
					writes += letter(err)
				}
				time.Sleep(time.Second)
				passed := strings.Count(c.want, ".")
				if s := n.Stats(); int(s.Delivered) != passed || int(s.Refused) != 10-passed {
					t.Errorf("got %+v, want %d delivered", s, passed)
				}
				if s := a.Stats(); int(s.Written) != passed || int(s.WriteFails) != 10-passed {
					t.Errorf("got %+v, want %d written", s, passed)
				}
				sendNumbered(t, b, addrB, 10, 4)
				time.Sleep(time.Second)
				b.FailReads(c.faults...)
				for range 10 {
					_, _, err := b.ReadFrom(make([]byte, 4))
					reads += letter(err)
				}
				if writes != c.want || reads != c.want {
					t.Errorf("writes %s, reads %s, want %s", writes, reads, c.want)
				}
				if s := b.Stats(); int(s.ReadFails) != 10-passed {
					t.Errorf("got %+v, want %d failed reads", s, 10-passed)
				}
			})
		})
	}
}

func TestFaultEndsCallsThatWait(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		results := make(chan error, 3)
		for range 3 {
			go func() {
				_, _, err := b.ReadFrom(make([]byte, 4))
				results <- err
			}()
		}
		synctest.Wait()
		// One packet comes, and its reading makes the fault due for the others.
		b.FailReads(Fault{After: 1, Count: 2, Err: ECONNREFUSED})
		send(t, a, addrB, []byte("x"))
		time.Sleep(time.Second)
		var failed, read int
		for range len(results) {
			if err := <-results; errors.Is(err, ECONNREFUSED) {
				failed++
			} else if err == nil {
				read++
			}
		}
		if failed != 2 || read != 1 {
			t.Errorf("%d calls failed and %d read, want 2 and 1", failed, read)
		}
	})
}
