// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
)

// The first byte of a session names its purpose: a session opens only when it carries data, and in
// many protocols the server sends first. The first byte of the answer reports whether the target
// was reached.
const (
	greeting        = 0x01
	answerReached   = 0x00
	answerUnreached = 0x01
)

// forwarder is one end of the tunnel. It joins each connection that is
// accepted with one that it makes.
type forwarder struct {
	to      string // where connections go
	idle    time.Duration
	timeout time.Duration
	busy    sync.WaitGroup
	places  chan struct{} // one token for each connection
	log     *logger
}

// serve is the end beside the service: KCP in, TCP out.
func (f *forwarder) serve(ctx context.Context, config *kcp.Config, addr string) error {
	listener, err := config.Listen(ctx, addr)
	if err != nil {
		return err
	}
	f.log.printf("serving on %v, to %s, stop it with Ctrl-C", listener.Addr(), f.to)
	return accept(ctx, f, listener, listener.AcceptKCP, f.serveSession)
}

func (f *forwarder) serveSession(ctx context.Context, sess *kcp.UDPSession) {
	first := make([]byte, 1)
	sess.SetReadDeadline(time.Now().Add(f.timeout))
	if _, err := io.ReadFull(sess, first); err != nil || first[0] != greeting {
		abort(sess)
		return
	}
	dialer := net.Dialer{Timeout: f.timeout}
	conn, err := dialer.DialContext(ctx, "tcp", f.to)
	sess.SetDeadline(time.Now().Add(f.timeout))
	if err != nil {
		f.log.printf("%v: %v", sess.RemoteAddr(), err)
		sess.Write([]byte{answerUnreached})
		sess.Close()
		return
	}
	if _, err := sess.Write([]byte{answerReached}); err != nil {
		conn.Close()
		abort(sess)
		return
	}
	sess.SetDeadline(time.Time{})
	f.join(ctx, conn.(*net.TCPConn), sess)
}

// forward is the end beside the service's users: TCP in, KCP out, all sessions
// over one socket.
func (f *forwarder) forward(ctx context.Context, config *kcp.Config, addr string) error {
	server, err := net.ResolveUDPAddr("udp", f.to)
	if err != nil {
		return err
	}
	transport, err := config.OpenTransport(ctx, ":0")
	if err != nil {
		return err
	}
	defer transport.Close()
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	f.log.printf("forwarding from %v to %v over %v, stop it with Ctrl-C", listener.Addr(), server, transport.LocalAddr())
	return accept(ctx, f, listener, listener.(*net.TCPListener).AcceptTCP, func(ctx context.Context, conn *net.TCPConn) {
		sess, err := transport.Dial(ctx, server, nil)
		if err == nil {
			_, err = sess.Write([]byte{greeting})
		}
		if err != nil {
			f.log.printf("%v: %v", conn.RemoteAddr(), err)
			abort(conn)
			return
		}
		f.join(ctx, &answered{UDPSession: sess, server: f.to}, conn)
	})
}

// answered is a session whose first byte is the server's answer. It is read by
// one goroutine.
type answered struct {
	*kcp.UDPSession
	server string
	done   bool
}

func (a *answered) Read(p []byte) (int, error) {
	if !a.done {
		first := make([]byte, 1)
		if _, err := io.ReadFull(a.UDPSession, first); err != nil {
			return 0, fmt.Errorf("no answer from %s: is a tunnel server running there, with the same cipher and key? (%w)", a.server, err)
		}
		if first[0] != answerReached {
			return 0, fmt.Errorf("%s cannot reach the target", a.server)
		}
		a.done = true
	}
	return a.UDPSession.Read(p)
}

// accept hands each connection to handle, as many at a time as there are
// places, until ctx ends.
func accept[C conn](ctx context.Context, f *forwarder, listener io.Closer, next func() (C, error), handle func(context.Context, C)) error {
	defer f.busy.Wait()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	defer listener.Close()
	for {
		c, err := next()
		var fault net.Error
		switch {
		case ctx.Err() != nil:
			if err == nil {
				abort(c)
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case errors.As(err, &fault):
			// Too many open files, or the like: others end soon.
			f.log.printf("accept: %v", err)
			time.Sleep(100 * time.Millisecond)
			continue
		case err != nil:
			return err
		}
		select {
		case f.places <- struct{}{}:
			f.busy.Go(func() {
				defer func() { <-f.places }()
				handle(ctx, c)
			})
		default:
			abort(c)
		}
	}
}

// conn is what a TCP connection and a session have in common.
type conn interface {
	net.Conn
	CloseWrite() error
}

// abort ends a connection so that its peer sees an error and no end of file.
func abort(c conn) {
	switch c := c.(type) {
	case *net.TCPConn:
		c.SetLinger(0)
	case *kcp.UDPSession:
		c.SetLinger(0)
	case *answered:
		c.SetLinger(0)
	}
	c.Close()
}

// join copies both ways until both have come to their ends, one of them broke,
// nothing came for the idle time, or ctx ends.
func (f *forwarder) join(ctx context.Context, a, b conn) {
	abortBoth := func() {
		abort(a)
		abort(b)
	}
	stop := context.AfterFunc(ctx, abortBoth)
	defer stop()
	idle := time.AfterFunc(f.idle, abortBoth)
	defer idle.Stop()
	alive := func() { idle.Reset(f.idle) }

	var copying sync.WaitGroup
	for _, way := range [2][2]conn{{a, b}, {b, a}} {
		dst, src := way[0], way[1]
		copying.Go(func() {
			err := pipe(dst, src, alive)
			if err == nil {
				return
			}
			if !errors.Is(err, net.ErrClosed) { // this side has closed it
				f.log.printf("%v: %v", src.RemoteAddr(), err)
			}
			abortBoth()
		})
	}
	copying.Wait()
	a.Close()
	b.Close()
}

// pipe copies until the end of src, which it hands on as the end of that one
// direction.
func pipe(dst, src conn, alive func()) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			alive()
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
			alive()
		}
		if err == io.EOF {
			return dst.CloseWrite()
		}
		if err != nil {
			return err
		}
	}
}

// logger prints lines of several goroutines.
type logger struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (l *logger) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, format+"\n", args...)
}
