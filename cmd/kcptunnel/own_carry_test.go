// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

// closeNotifier is a connection that reports its Close.
type closeNotifier struct {
	*memConn
	once   sync.Once
	closed chan struct{}
}

func (c *closeNotifier) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.memConn.Close()
}

// A client has ended its direction, and is gone then. The target says nothing, and its connection
// ends all the same.
func TestHalfClosedConnectionEndsWithItsPeer(t *testing.T) {
	inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		near, far := memPipe()
		target := &closeNotifier{memConn: near, closed: make(chan struct{})}
		o.connect = func(context.Context, *request) (net.Conn, error) { return target, nil }
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		st := o.dialOwn()
		mustWrite(t, st, "request")
		if err := st.answer.wait(); err != nil {
			t.Fatal(err)
		}
		if err := st.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(far); string(got) != "request" || err != nil {
			t.Fatalf("the target reads %q, %v", got, err)
		}
		// A peer that is there keeps the connection open.
		time.Sleep(10 * time.Minute)
		select {
		case <-target.closed:
			t.Fatal("a half-closed connection has ended by itself")
		default:
		}
		w.net.SetTap(func(time.Time, net.Addr, net.Addr, []byte) simnet.Action {
			return simnet.Action{Drop: true}
		})
		start := time.Now()
		<-target.closed
		if took := time.Since(start); took > time.Minute {
			t.Errorf("after %v", took)
		}
		_ = st.Reset()
	})
}

// The end of a session that both ends have finished does not reset the local connection, which may
// have data that its peer has not read.
func TestRegularEndDoesNotResetTheLocalConnection(t *testing.T) {
	inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		near, _ := memPipe()
		local := &closeNotifier{memConn: near, closed: make(chan struct{})}
		st := &watchedStream{ownStream: o.dialOwn(), local: local}
		mustWrite(t, st, "data")
		if err := st.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(st); string(got) != "data" || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		<-st.Done()
		synctest.Wait()
		select {
		case <-local.closed:
			t.Error("the local connection was reset")
		default:
		}
	})
}

// Half-closed connections do not delay the end of a program.
func TestProgramEndsWithHalfClosedConnections(t *testing.T) {
	noGoroutinesLeft(t)
	ended := make(chan struct{})
	read := make(chan struct{})
	target := serveTCP(t, func(conn *net.TCPConn) {
		_, _ = io.ReadAll(conn)
		close(read)
		<-ended
	})
	defer close(ended)
	tun := startTunnel(t, []string{"-t", target}, local)
	conn := connect(t, tun.client.address(t, ""))
	mustWrite(t, conn, "x")
	if err := conn.(halfCloser).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-read
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tun.server.stop()
		tun.client.stop()
	}()
	select {
	case <-stopped:
	case <-time.After(testTimeout):
		t.Error("the program does not end")
	}
}
