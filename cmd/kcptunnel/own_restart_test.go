// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

func TestServerIsKilledAndRestarted(t *testing.T) {
	inWorld(t, line(20*time.Millisecond, 0.01), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		_, kill := o.serve()
		defer o.client.Close()
		old := o.dialOwn()
		mustWrite(t, old, "before")
		mustRead(t, old, "before")
		kill()
		time.Sleep(time.Second)
		stop, _ := o.serve()
		defer stop()
		if err := exchange(o.dialOwn(), noise(100_000, 1)); err != nil {
			t.Errorf("a new connection: %v", err)
		}
		start := time.Now()
		mustWrite(t, old, "after")
		if _, err := old.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the old connection reads %v", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("after %v", took)
		}
		_ = old.Close()
	})
}

func TestClientIsKilledAndRestarted(t *testing.T) {
	inWorld(t, line(20*time.Millisecond, 0.01), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		ended := make(chan struct{})
		o.connect = func(context.Context, *request) (net.Conn, error) {
			near, far := memPipe()
			go func() { defer close(ended); echo(far) }()
			return near, nil
		}
		stop, _ := o.serve()
		defer stop()
		old := o.dialOwn()
		mustWrite(t, old, "before")
		mustRead(t, old, "before")
		// The path of the killed client carries nothing any more: no end, and no reset.
		from := netip.MustParseAddrPort(old.LocalAddr().String())
		w.net.SetTap(func(_ time.Time, a, b net.Addr, _ []byte) simnet.Action {
			if a.String() == from.String() || b.String() == from.String() {
				return simnet.Action{Drop: true}
			}
			return simnet.Action{}
		})
		_ = old.Reset()
		o.client.Close()
		select {
		case <-ended: // the connection at the target
		case <-time.After(2 * time.Minute):
			t.Error("the server keeps the connection of a client that is gone")
		}
		o.connect = func(context.Context, *request) (net.Conn, error) {
			near, far := memPipe()
			go echo(far)
			return near, nil
		}
		o.client = o.newClient("key", nil)
		defer o.client.Close()
		if err := exchange(o.dialOwn(), noise(100_000, 1)); err != nil {
			t.Errorf("a new client: %v", err)
		}
	})
}
