// SPDX-License-Identifier: MIT

package tables

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// The two hosts of a world.
const (
	serverHost = "10.0.0.1"
	clientHost = "10.0.0.2"
	firstPort  = 4000
)

// world is two hosts and the line between them, in a bubble of virtual time.
type world struct {
	t         *testing.T
	net       *simnet.Network
	there     *simnet.Link // from the clients, which send, to the servers
	back      *simnet.Link
	scheduler *kcp.TimedSched
	port      int
	closers   []func()
}

func newWorld(t *testing.T, seed uint64, b bottleneck) *world {
	t.Helper()
	w := &world{t: t, scheduler: kcp.NewTimedSched(1), port: firstPort}
	w.net = simnet.New(seed, simnet.WithReceiveQueue(0))
	w.there = w.net.NewLink("there", b.profile())
	w.back = w.net.NewLink("back", b.profile())
	w.net.Route(clientHost, serverHost, w.there)
	w.net.Route(serverHost, clientHost, w.back)
	return w
}

// inWorld runs f in a bubble with a world, and ends it.
func inWorld(t *testing.T, seed uint64, b bottleneck, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, b)
		defer w.close()
		f(w)
	})
}

// close ends everything and waits for it.
func (w *world) close() {
	for _, c := range w.closers {
		c()
	}
	time.Sleep(time.Second)
	w.scheduler.Close()
	_ = w.net.Close()
	synctest.Wait()
}

// ends opens an endpoint of each host.
func (w *world) ends() (client, server *simnet.Endpoint) {
	w.t.Helper()
	w.port++
	open := func(host string) *simnet.Endpoint {
		e, err := w.net.Listen(fmt.Sprintf("%s:%d", host, w.port))
		if err != nil {
			w.t.Fatal(err)
		}
		return e
	}
	return open(clientHost), open(serverHost)
}

// pair opens a session. The client has sent one byte, which the server has read.
func (w *world) pair(c kcp.Config) (client, server *kcp.UDPSession) {
	w.t.Helper()
	from, at := w.ends()
	c.Scheduler = w.scheduler
	l, err := c.Serve(at)
	if err != nil {
		w.t.Fatal(err)
	}
	if client, err = c.Client(from, at.LocalAddr()); err != nil {
		w.t.Fatal(err)
	}
	if _, err := client.Write([]byte{1}); err != nil {
		w.t.Fatal(err)
	}
	if server, err = l.AcceptKCP(); err != nil {
		w.t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		w.t.Fatal(err)
	}
	w.closers = append(w.closers, func() {
		for _, s := range []*kcp.UDPSession{client, server} {
			s.SetLinger(0)
			_ = s.Close()
		}
		_ = l.Close()
	})
	return client, server
}

// flow is a bulk transfer.
type flow struct {
	received atomic.Int64         // bytes that have been read
	sender   func() senderFigures // totals so far
	session  *kcp.UDPSession      // that sends, nil for a competitor
}

// senderFigures are totals of a flow.
type senderFigures struct {
	sent   float64 // data packets
	resent float64 // of these, that had been sent before
	twice  float64 // arrived although they were there already
}

// bulk starts a transfer over a session.
func (w *world) bulk(c kcp.Config) *flow {
	w.t.Helper()
	c.StreamMode = true
	client, server := w.pair(c)
	f := &flow{session: client}
	go writeAll(client)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			f.received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	f.sender = func() senderFigures {
		return figuresOf(client, float64(server.Stats().DuplicatesReceived))
	}
	return f
}

// writeAll writes until the session ends.
func writeAll(s *kcp.UDPSession) {
	chunk := make([]byte, 64<<10)
	for {
		if _, err := s.Write(chunk); err != nil {
			return
		}
	}
}

func figuresOf(client *kcp.UDPSession, twice float64) senderFigures {
	st := client.Stats()
	resent := float64(st.FastRetransmits + st.EarlyRetransmits + st.TimeoutRetransmits)
	return senderFigures{
		sent:   float64(st.BytesSent)/(datagram-segmentHeader) + resent,
		resent: resent, twice: twice,
	}
}
