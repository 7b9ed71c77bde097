// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// simPair is a dialled and an accepted session over a simulated network, in the bubble of the caller.
type simPair struct {
	net            *simNetwork
	sched          *TimedSched
	listener       *Listener
	client, server *UDPSession
}

// newSimPair makes a pair whose session the client has opened with one byte.
func newSimPair(t testing.TB, seed uint64, p simProfile, c Config) *simPair {
	t.Helper()
	return newUnlikeSimPair(t, seed, p, c, c)
}

// newUnlikeSimPair is newSimPair with settings of its own for each side.
func newUnlikeSimPair(t testing.TB, seed uint64, p simProfile, client, server Config) *simPair {
	t.Helper()
	n := &simPair{net: newSimNetwork(seed), sched: NewTimedSched(2)}
	n.net.SetDefault(p)
	client.Scheduler, server.Scheduler = n.sched, n.sched
	at, err := n.net.Listen("10.0.0.1:4000")
	if err != nil {
		t.Fatal(err)
	}
	from, err := n.net.Listen("10.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	if n.listener, err = server.Serve(at); err != nil {
		t.Fatal(err)
	}
	if n.client, err = client.Client(from, at.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.client.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if n.server, err = n.listener.AcceptKCP(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(n.server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return n
}

// close ends both sessions and the network, and waits until nothing runs any more.
func (n *simPair) close() {
	for _, s := range []*UDPSession{n.client, n.server} {
		s.SetLinger(0)
		_ = s.Close()
	}
	_ = n.listener.Close()
	time.Sleep(time.Second)
	n.sched.Close()
	_ = n.net.Close()
	synctest.Wait()
}

// move sends data from the client to the server, which reads it to the end of the stream, and returns how long it took.
func (n *simPair) move(t testing.TB, data []byte) time.Duration {
	t.Helper()
	start := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := n.client.Write(data)
		if err == nil {
			err = n.client.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(n.server)
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
