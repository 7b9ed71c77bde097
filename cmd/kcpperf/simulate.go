// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"runtime"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// simulation is a network with a server in it: a dialer to that server, over a line that all
// sessions share.
type simulation struct {
	network  *simnet.Network
	sched    *kcp.TimedSched // its own, so that a test can run it in virtual time
	up, down *simnet.Link
	server   *server
	served   chan struct{}
}

const serverHost = "10.0.0.1"

// newSimulation starts the network and the server, whose traces may be nil.
func newSimulation(p *path, block kcp.BlockCrypt, cryptOverhead int, traces *traceFiles) (*simulation, error) {
	// The windows bound what waits to be read. An overflowing socket would be a fault that was not
	// asked for.
	n := simnet.New(p.seed, simnet.WithReceiveQueue(0))
	s := &simulation{
		network: n, up: n.NewLink("up", p.up), down: n.NewLink("down", p.down),
		sched: kcp.NewTimedSched(runtime.GOMAXPROCS(0)), served: make(chan struct{}),
	}
	n.Route("*", serverHost, s.up)
	n.Route(serverHost, "*", s.down)
	l, err := s.listen(baseConfig(block))
	if err != nil {
		s.closeNetwork()
		return nil, err
	}
	s.server = newServer(l, limits{24 * time.Hour, slackDefault, sessionsMost}, cryptOverhead, func(string, ...any) {})
	s.server.traces = traces
	go func() {
		defer close(s.served)
		_ = s.server.serve() // it fails only with its socket, which is closed after the server
	}()
	return s, nil
}

func (s *simulation) listen(c *kcp.Config) (*kcp.Listener, error) {
	at, err := s.network.Listen(serverHost + ":5202")
	if err != nil {
		return nil, err
	}
	c.AcceptBacklog, c.Scheduler = 2*sessionsMost, s.sched
	return c.Serve(at)
}

func (s *simulation) dial(_ context.Context, c *kcp.Config) (*kcp.UDPSession, error) {
	e, err := s.network.Listen("10.0.0.2:0")
	if err != nil {
		return nil, err
	}
	own := *c
	own.Scheduler = s.sched
	return own.Client(e, s.server.listener.Addr())
}

// query: the server is there.
func (s *simulation) query(context.Context) presence { return presence{} }

// lost returns the share of all packets that the network lost, each way.
func (s *simulation) lost() (up, down float64) {
	u, d := s.up.Stats(), s.down.Stats()
	return ratio(float64(u.LostTotal()), float64(u.Sent)), ratio(float64(d.LostTotal()), float64(d.Sent))
}

// close ends the server and the network.
func (s *simulation) close() {
	s.server.close()
	<-s.served
	s.closeNetwork()
}

func (s *simulation) closeNetwork() {
	_ = s.network.Close() // it has no trace whose writer could fail
	s.sched.Close()
}
