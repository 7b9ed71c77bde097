// SPDX-License-Identifier: MIT

//go:build unix

package kcp

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// transientErrors are errors that the sockets of a busy machine occasionally report.
var transientErrors = []syscall.Errno{
	syscall.ENOBUFS, syscall.EAGAIN, syscall.EPERM, syscall.EMSGSIZE, syscall.ENETUNREACH,
	syscall.ECONNREFUSED,
}

// faultEvery fails one call in a hundred, with each of its errors in turn.
type faultEvery struct {
	errnos []syscall.Errno
	calls  atomic.Int64
}

func (f *faultEvery) errno() syscall.Errno {
	if n := f.calls.Add(1); n%100 == 0 {
		return f.errnos[n/100%int64(len(f.errnos))]
	}
	return 0
}

func (f *faultEvery) err() error {
	if errno := f.errno(); errno != 0 {
		return errno
	}
	return nil
}

// wantAll checks that each error has been injected.
func (f *faultEvery) wantAll(t *testing.T) {
	t.Helper()
	if n := f.calls.Load(); n < int64(100*len(f.errnos)) {
		t.Errorf("%d calls, too few to fail with each of %v", n, f.errnos)
	}
}

// faultTraffic sends on each session for ten seconds in both directions. It checks that every byte
// and both ends of stream arrive.
func faultTraffic(t *testing.T, clients, servers []*UDPSession) {
	t.Helper()
	const seconds, piece, pause = 10, 3000, 20 * time.Millisecond
	var wg sync.WaitGroup
	run := func(i int, from, to *UDPSession) {
		name := fmt.Sprintf("session %d, %v to %v", i, from.LocalAddr(), to.LocalAddr())
		data := pattern(int(seconds*time.Second/pause)*piece, uint64(i))
		wg.Go(func() {
			for rest := data; len(rest) > 0; rest = rest[piece:] {
				if _, err := from.Write(rest[:piece]); err != nil {
					t.Errorf("%s: %v after %d bytes", name, err, len(data)-len(rest))
					return
				}
				time.Sleep(pause)
			}
			if err := from.CloseWrite(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		wg.Go(func() {
			if got, err := io.ReadAll(to); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes arrived of %d, as they were sent: %v, %v",
					name, len(got), len(data),
					bytes.HasPrefix(data, got), err)
			}
		})
	}
	for i := range clients {
		run(2*i, clients[i], servers[i])
		run(2*i+1, servers[i], clients[i])
	}
	wg.Wait()
}

// faultConfig returns a configuration that detects a loss fast.
func faultConfig(sched *TimedSched) Config {
	return Config{
		NoDelay: true, FastResend: 2, NoCongestionControl: true, StreamMode: true,
		Scheduler: sched,
	}
}

func TestTransientErrorsOfAPacketConnLoseNothing(t *testing.T) {
	faultWorld(t, Config{}, func(t *testing.T, w *connWorld, client, server *faultConn) {
		read, write := &faultEvery{errnos: transientErrors}, &faultEvery{errnos: transientErrors}
		server.fail(read.err, write.err)
		l := w.serveOver(server, true, faultConfig(w.sched))
		var clients, servers []*UDPSession
		for i := range 3 {
			at := client
			if i > 0 {
				at = &faultConn{PacketConn: w.endpoint("10.0.0.2:0")}
			}
			at.fail(read.err, write.err)
			s := w.dialOn(at, uint32(i), faultConfig(w.sched))
			clients, servers = append(clients, s), append(servers, w.join(s, l))
		}
		faultTraffic(t, clients, servers)
		read.wantAll(t)
		write.wantAll(t)
		st := l.Stats().Socket
		if st.LostDatagrams < 10 || st.ReadErrors < 10 || st.LastError == nil {
			t.Errorf("figures after ten seconds of errors: %+v", st)
		}
	})
}
