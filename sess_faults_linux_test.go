// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTransientErrorsOfTheSystemCallsLoseNothing(t *testing.T) {
	t.Run("runs", loseNothing)
	t.Run("single datagrams", func(t *testing.T) {
		t.Setenv(envDisableGSO, "1")
		loseNothing(t)
	})
}

func loseNothing(t *testing.T) {
	send := &faultEvery{errnos: transientErrors}
	// EPERM on receiving comes only from a sandbox and moves the socket to the portable path.
	receive := &faultEvery{errnos: []syscall.Errno{
		unix.ENOBUFS, unix.EINTR, unix.EMSGSIZE, unix.ENETUNREACH, unix.ECONNREFUSED,
	}}
	var calls atomic.Int64 // that could be cut short
	prepare := func(k *kernelSocket) {
		k.send = func(batchMessage) syscall.Errno { return send.errno() }
		k.receive = receive.errno
		k.partial = func(messages int) int {
			if messages < 2 {
				return messages
			}
			if n := calls.Add(1); n%10 == 0 {
				return 1 + int(n/10)%(messages-1)
			}
			return messages
		}
	}
	kernelRun(t, 2, prepare, func(t *testing.T, w *kernelWorld) {
		faultTraffic(t, w.clients, w.servers)
		send.wantAll(t)
		receive.wantAll(t)
		if n := calls.Load(); n < 100 {
			t.Errorf("%d calls that could be cut short, want more", n)
		}
		st := w.listener.Stats().Socket
		for _, s := range w.clients {
			st.LostDatagrams += s.Stats().Socket.LostDatagrams
		}
		if st.LostDatagrams == 0 || st.ReadErrors == 0 || st.LastError == nil {
			t.Errorf("figures after ten seconds of errors: %+v", st)
		}
	})
}

func TestRunsRefusedAtRunTimeCostASessionNothing(t *testing.T) {
	for _, errno := range []syscall.Errno{
		unix.EIO, unix.EINVAL, unix.EOPNOTSUPP, unix.ENOPROTOOPT, unix.EMSGSIZE,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			var mu sync.Mutex
			refuse, refused := false, 0
			prepare := func(k *kernelSocket) {
				k.send = func(m batchMessage) syscall.Errno {
					mu.Lock()
					defer mu.Unlock()
					if m.segment == 0 || !refuse {
						return 0
					}
					refused++
					return errno
				}
			}
			kernelRun(t, 1, prepare, func(t *testing.T, w *kernelWorld) {
				client, server := w.clients[0], w.servers[0]
				if !client.Stats().Socket.GSO {
					t.Skip("no UDP GSO in this kernel")
				}
				for round := range 2 {
					data := pattern(500_000, 1)
					go func() { _, _ = client.Write(data) }()
					connWantRead(t, server, string(data))
					w.sockets[1].mu.Lock()
					runs := w.sockets[1].runs
					w.sockets[1].runs = 0
					w.sockets[1].mu.Unlock()
					switch mu.Lock(); {
					case round == 0 && (runs == 0 || refused > 0):
						t.Errorf("%d runs were taken and %d refused before any shall be",
							runs, refused)
					case round == 1 && (runs > 0 || refused == 0 || refused > gsoRefusals):
						t.Errorf("%d runs were taken and %d refused, want few attempts",
							runs, refused)
					}
					refuse = true
					mu.Unlock()
				}
				st := client.Stats()
				if st.Socket.LostDatagrams != 0 || st.TimeoutRetransmits+st.FastRetransmits != 0 {
					t.Errorf("%d datagrams lost, %d and %d segments sent again, want none",
						st.Socket.LostDatagrams,
						st.TimeoutRetransmits, st.FastRetransmits)
				}
			})
		})
	}
}

func TestSlowReaderOverTheSystemCalls(t *testing.T) {
	kernelRun(t, 1, func(*kernelSocket) {}, func(t *testing.T, w *kernelWorld) {
		slowReader(t, w.clients[0], w.servers[0])
	})
}
