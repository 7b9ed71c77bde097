// SPDX-License-Identifier: MIT

package apptest

import (
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// lossyLink loses one packet in twenty in each direction.
var lossyLink = simnet.Profile{
	Rate: 100_000_000, Queue: 300, Delay: 10 * time.Millisecond, Loss: 0.05,
}

// world is a listener in a simulated network, and the sessions that are dialled. The network works in
// virtual and in real time.
type world struct {
	net       *simnet.Network
	scheduler *kcp.TimedSched
	config    kcp.Config
	listener  *kcp.Listener

	mu     sync.Mutex // guards dialed
	dialed []*kcp.UDPSession
}

func newWorld(t *testing.T, seed uint64, real bool) *world {
	t.Helper()
	w := &world{net: simnet.New(seed), scheduler: kcp.NewTimedSched(1)}
	w.net.SetDefault(lossyLink)
	w.config = kcp.Config{
		StreamMode: true, NoDelay: true, FastResend: 2, KeepAlive: 10 * time.Second,
		Scheduler: w.scheduler,
	}
	if real {
		w.config.KeepAlive, w.config.DeadTimeout = time.Second, 2*time.Second
	}
	at, err := w.net.Listen("10.0.0.1:4000")
	if err != nil {
		t.Fatal(err)
	}
	if w.listener, err = w.config.Serve(at); err != nil {
		t.Fatal(err)
	}
	return w
}

// dial opens a session from an address of its own.
func (w *world) dial() (net.Conn, error) {
	from, err := w.net.Listen("10.0.0.2:0")
	if err != nil {
		return nil, err
	}
	s, err := w.config.Client(from, w.listener.Addr())
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dialed = append(w.dialed, s)
	return s, nil
}

// kill takes the server off the network, as the end of its machine does: nothing of it arrives any
// more.
func (w *world) kill() {
	w.net.SetState("*", "10.0.0.1", simnet.Down)
	w.net.SetState("10.0.0.1", "*", simnet.Down)
}

// close waits for what lingers, and fails the test if a session does not end.
func (w *world) close(t *testing.T) {
	t.Helper()
	if err := w.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	for _, s := range append(slices.Collect(w.listener.Sessions()), w.dialed...) {
		select {
		case <-s.Done():
		case <-time.After(endMost):
			t.Errorf("a session of %v does not end", s.LocalAddr())
			s.SetLinger(0)
			_ = s.Close()
		}
	}
	w.scheduler.Close()
	if err := w.net.Close(); err != nil {
		t.Error(err)
	}
}
