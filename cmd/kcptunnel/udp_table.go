// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
)

// flowKey tells the flows of a socket apart: the source of the datagrams, and the destination that
// they name, "" for the server's target.
type flowKey struct {
	from netip.AddrPort
	to   string
}

// flowTable has the flows of one local socket. send is for one goroutine, that which reads the
// socket.
type flowTable struct {
	ctx    context.Context // ends the flows
	client *ownClient
	log    *slog.Logger
	limit  *flowLimiter // is shared by all tables
	opts   func() *ownOptions
	busy   sync.WaitGroup

	mu    sync.Mutex // guards flows
	flows map[flowKey]*flow
}

func newFlowTable(
	ctx context.Context, c *ownClient, l *flowLimiter, opts func() *ownOptions, log *slog.Logger,
) *flowTable {
	return &flowTable{
		ctx: ctx, client: c, log: log, limit: l, opts: opts, flows: make(map[flowKey]*flow),
	}
}

// send sends a datagram of the flow of key, which opens if it is new. reply is called with the
// datagrams of the other end. If no flow can give way to a new one, the datagram is dropped.
func (t *flowTable) send(key flowKey, data []byte, reply func(data []byte)) {
	t.mu.Lock()
	f := t.flows[key]
	t.mu.Unlock()
	if f == nil {
		f = t.open(key, reply)
	}
	if f == nil {
		t.client.meters.dropped()
		return
	}
	f.send(data)
}

// open opens a flow, or returns nil. It may wait for the name of the server.
func (t *flowTable) open(key flowKey, reply func([]byte)) *flow {
	o := t.opts()
	r := &request{kind: kindUDPTarget}
	if key.to != "" {
		var err error
		if r, err = newAddressRequest(kindUDPAddress, key.to); err != nil {
			t.log.Debug("destination of a datagram", "to", key.to, "error", err)
			return nil
		}
	}
	if t.ctx.Err() != nil || !t.limit.acquire(o.maxFlows) {
		return nil
	}
	settings := t.client.settings()
	sess, err := t.client.session(t.ctx, &settings, r)
	if err != nil {
		t.limit.cancel()
		t.log.Error("no session for a flow", "from", key.from.String(), "error", err)
		return nil
	}
	f := newFlow(sess, o.udpTimeout, t.client.meters, reply)
	t.limit.add(f)
	t.mu.Lock()
	t.flows[key] = f
	t.mu.Unlock()
	t.busy.Go(func() {
		defer t.limit.remove(f)
		defer t.client.meters.opened(r.kind)()
		t.run(key, f)
	})
	return f
}

// run serves a flow until it ends.
func (t *flowTable) run(key flowKey, f *flow) {
	defer func() {
		f.close()
		t.mu.Lock()
		if t.flows[key] == f {
			delete(t.flows, key)
		}
		t.mu.Unlock()
	}()
	stop := context.AfterFunc(t.ctx, func() { resetSession(f.sess) })
	defer stop()
	a := newAnswer(f.sess)
	defer a.stop()
	err := a.wait()
	if err == nil {
		f.useOOB()
		err = f.receive()
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.log.Warn("flow", "from", key.from.String(), "to", key.to, "error", err)
	}
}

// close ends the flows and waits for that.
func (t *flowTable) close() {
	t.mu.Lock()
	for _, f := range t.flows {
		_ = f.sess.Close()
	}
	t.mu.Unlock()
	t.busy.Wait()
}
