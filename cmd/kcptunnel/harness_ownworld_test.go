// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/seedkcp/kcp"
)

// ownWorld is a tunnel in the mode of its own, in a world.
type ownWorld struct {
	*world
	t       *testing.T
	options atomic.Pointer[ownOptions] // of the server
	client  *ownClient

	// connect is what the server does instead of connecting.
	connect func(ctx context.Context, r *request) (net.Conn, error)
}

// ownSettings returns those of an end in this world. change may be nil.
func (w *world) ownSettings(r role, change func(*settings)) *settings {
	w.t.Helper()
	return w.settings(r, func(s *settings) {
		s.compat = false
		s.given["keepalive"] = true
		if change != nil {
			change(s)
		}
	})
}

// cipherOf returns the cipher for a passphrase, without the cost of Argon2id.
func cipherOf(t *testing.T, passphrase string) kcp.BlockCrypt {
	t.Helper()
	key := make([]byte, secretSize)
	copy(key, passphrase)
	block, err := kcp.NewAESGCMCrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// ownEnds makes a client, and the options of a server. change may be nil.
func ownEnds(t *testing.T, w *world, change func(*settings)) *ownWorld {
	t.Helper()
	o := &ownWorld{world: w, t: t}
	server, err := w.ownSettings(roleServer, change).ownOptions()
	if err != nil {
		t.Fatal(err)
	}
	server.config.BlockCrypt, server.config.Scheduler = cipherOf(t, "key"), w.sched
	o.options.Store(server)
	o.connect = func(context.Context, *request) (net.Conn, error) {
		near, far := memPipe()
		go echo(far)
		return near, nil
	}
	o.client = o.newClient("key", change)
	return o
}

// newClient returns a client with a passphrase.
func (o *ownWorld) newClient(passphrase string, change func(*settings)) *ownClient {
	o.t.Helper()
	options, err := o.ownSettings(roleClient, change).ownOptions()
	if err != nil {
		o.t.Fatal(err)
	}
	options.config.BlockCrypt, options.config.Scheduler = cipherOf(o.t, passphrase), o.sched
	c := newOwnClient(options, o.logger("client"), newMeters())
	c.open = func(context.Context) (*kcp.Transport, error) {
		conn, err := o.net.Listen("10.0.0.2:0")
		if err != nil {
			return nil, err
		}
		return options.config.NewTransport(conn)
	}
	return c
}

// serve runs the server until the function that it returns is called. kill ends it like a crash:
// nothing is sent any more.
func (o *ownWorld) serve() (stop, kill func()) {
	o.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server := newOwnServer(&o.options, o.logger("server"), newMeters())
	var sockets []net.PacketConn
	server.open = func(_ context.Context, options *ownOptions, addr string) (*kcp.Transport, error) {
		conn, err := o.net.Listen(addr)
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, conn)
		return options.config.NewTransport(conn)
	}
	server.connect = func(ctx context.Context, _ *ownOptions, _ string, r *request) (net.Conn, error) {
		return o.connect(ctx, r)
	}
	if err := server.listen(ctx); err != nil {
		o.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.serve(ctx, ctx); err != nil {
			o.t.Errorf("server: %v", err)
		}
	})
	synctest.Wait()
	stop = func() { cancel(); running.Wait() }
	kill = func() {
		for _, s := range sockets {
			_ = s.Close()
		}
		stop()
	}
	return stop, kill
}

// dialOwn opens a stream to the target.
func (o *ownWorld) dialOwn() *ownStream {
	o.t.Helper()
	st, err := o.client.dialStream(context.Background(), request{kind: kindTarget})
	if err != nil {
		o.t.Fatal(err)
	}
	return st
}
