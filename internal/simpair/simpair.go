// SPDX-License-Identifier: MIT

// Package simpair makes a session over the simulated network, for the tests that run whole sessions.
package simpair

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// Pair is a dialled and an accepted session over a simulated network, in the bubble of the caller.
type Pair struct {
	Net            *simnet.Network
	Scheduler      *kcp.TimedSched
	Listener       *kcp.Listener
	Client, Server *kcp.UDPSession
}

// New makes a pair whose session the client has opened with one byte, with a scheduler of as many
// workers as are asked for.
func New(t testing.TB, seed uint64, p simnet.Profile, c kcp.Config, workers int) *Pair {
	t.Helper()
	n := &Pair{Net: simnet.New(seed), Scheduler: kcp.NewTimedSched(workers)}
	n.Net.SetDefault(p)
	c.Scheduler = n.Scheduler
	at, err := n.Net.Listen("10.0.0.1:4000")
	if err != nil {
		t.Fatal(err)
	}
	from, err := n.Net.Listen("10.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	if n.Listener, err = c.Serve(at); err != nil {
		t.Fatal(err)
	}
	if n.Client, err = c.Client(from, at.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Client.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if n.Server, err = n.Listener.AcceptKCP(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(n.Server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return n
}

// Close ends both sessions and the network, and waits until nothing runs any more.
func (n *Pair) Close() {
	for _, s := range []*kcp.UDPSession{n.Client, n.Server} {
		s.SetLinger(0)
		_ = s.Close()
	}
	_ = n.Listener.Close()
	time.Sleep(time.Second)
	n.Scheduler.Close()
	_ = n.Net.Close()
	synctest.Wait()
}

// Move sends data from the client to the server, which reads it to the end of the stream, and
// returns how long it took.
func (n *Pair) Move(t testing.TB, data []byte) time.Duration {
	t.Helper()
	start := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := n.Client.Write(data)
		if err == nil {
			err = n.Client.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(n.Server)
	took := time.Since(start)
	if err != nil {
		t.Fatalf("after %d of %d bytes and %v: %v", len(got), len(data), took, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("%d bytes arrived changed, want %d", len(got), len(data))
	}
	return took
}
