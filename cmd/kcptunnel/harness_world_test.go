// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// serverAddr is where servers of a world listen.
const serverAddr = "10.0.0.1:29900"

// world is a simulated network in virtual time, with the two ends of a tunnel.
type world struct {
	t     *testing.T
	net   *simnet.Network
	sched *kcp.TimedSched
	log   logBuffer

	sockets sync.WaitGroup
}

// inWorld runs f in a bubble with a world. Goroutines that are left fail the test: the bubble does
// not end before them.
func inWorld(t *testing.T, p simnet.Profile, f func(t *testing.T, w *world)) {
	t.Helper()
	emptyPools()
	defer emptyPools()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(1), sched: kcp.NewTimedSched(2)}
		w.net.SetDefault(p)
		f(t, w)
		w.sockets.Wait()
		w.sched.Close()
		_ = w.net.Close()
		if t.Failed() {
			t.Logf("log:\n%s", w.log.String())
		}
	})
}

// emptyPools empties every sync.Pool. smux keeps channels in one, and those that a bubble has made
// do not work outside it.
func emptyPools() {
	runtime.GC()
	runtime.GC() // the first leaves a pool's elements to the second
}

// line is a path with a delay in one direction, and with loss.
func line(delay time.Duration, loss float64) simnet.Profile {
	return simnet.Profile{Rate: 200e6, Overhead: 28, Queue: 1000, Delay: delay, Loss: loss}
}

// settings returns those of an end in this world. change may be nil.
func (w *world) settings(r role, change func(s *settings)) *settings {
	w.t.Helper()
	s := newSettings(r)
	s.compat = true
	s.key = "a key of this test"
	s.remoteAddr, s.listen = serverAddr, serverAddr
	s.sockBuf = 0
	s.dialSession, s.openSocket = w.dialSession, w.openSocket
	if change != nil {
		change(s)
	}
	if err := s.check(); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) dialSession(
	_ context.Context, c *kcp.Config, addr string,
) (*kcp.UDPSession, error) {
	raddr, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := w.net.Listen("10.0.0.2:0")
	if err != nil {
		return nil, err
	}
	own := *c
	own.Scheduler = w.sched
	sess, err := own.Client(conn, raddr)
	if err != nil {
		return nil, err
	}
	w.sockets.Go(func() { <-sess.Done(); _ = conn.Close() })
	return sess, nil
}

// socketStays is how long a closed socket stays open to repeat resets, as that of the
// library does.
const socketStays = time.Second

func (w *world) openSocket(
	ctx context.Context, c *kcp.Config, addr string,
) (*kcp.Transport, error) {
	conn, err := w.net.Listen(addr)
	if err != nil {
		return nil, err
	}
	own := *c
	own.Scheduler = w.sched
	w.sockets.Add(1)
	context.AfterFunc(ctx, func() {
		defer w.sockets.Done()
		time.Sleep(socketStays)
		_ = conn.Close()
	})
	return own.NewTransport(conn)
}

// serve runs a server until the function that it returns is called.
func (w *world) serve(s *settings, handle func(stream)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := serveCompat(ctx, s, w.logger("server"), handle); err != nil {
			w.t.Errorf("server: %v", err)
		}
	})
	synctest.Wait()
	return func() { cancel(); running.Wait(); time.Sleep(2 * socketStays) }
}

// client returns the dialer of a client.
func (w *world) client(s *settings) *compatDialer {
	w.t.Helper()
	d, err := newCompatDialer(s, w.logger("client"))
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// dial opens a stream.
func (w *world) dial(d dialer) stream {
	w.t.Helper()
	st, err := d.dial(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *world) logger(end string) *slog.Logger {
	h := slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})
	return slog.New(h).With("end", end)
}

// echo returns what it reads until the end, and ends its own direction then.
func echo(st stream) {
	defer st.Close()
	if _, err := io.Copy(onlyWriter{st}, onlyReader{st}); err == nil {
		_ = st.CloseWrite()
	}
}

// onlyReader and onlyWriter hide the other methods from io.Copy.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
