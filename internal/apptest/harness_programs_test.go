// SPDX-License-Identifier: MIT

package apptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/yamux"
	"github.com/xtaci/smux"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// program is a protocol of others.
type program struct {
	name string
	// real: goroutines wait for a mutex whose owner waits for the network, which stops virtual time.
	real bool
	// serve answers requests on what l accepts. stop closes the connections, as a program that ends
	// does, and waits for the goroutines.
	serve func(l net.Listener, h *handler) (stop func() error, err error)
	// dial makes a connection over what open returns.
	dial func(open func() (net.Conn, error)) (client, error)
}

// connections are those of a server.
type connections struct {
	mu   sync.Mutex // guards open
	open []io.Closer
	all  sync.WaitGroup
}

// serveEach runs handle for each connection that l accepts. handle adds to c what stop closes.
func serveEach(l net.Listener, handle func(net.Conn, *connections)) (stop func() error, err error) {
	c := new(connections)
	c.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.all.Go(func() { handle(conn, c) })
		}
	})
	return func() error { return errors.Join(c.close(), l.Close(), c.wait()) }, nil
}

// add has stop close a connection.
func (c *connections) add(conn io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, conn)
}

func (c *connections) close() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		err = errors.Join(err, conn.Close())
	}
	return err
}

func (c *connections) wait() error {
	c.all.Wait()
	return nil
}

// classes are the errors that programs compare with.
var classes = []struct {
	err  error
	name string
}{
	{rpc.ErrShutdown, "rpc.ErrShutdown"},
	{yamux.ErrSessionShutdown, "yamux.ErrSessionShutdown"},
	{yamux.ErrStreamClosed, "yamux.ErrStreamClosed"},
	{yamux.ErrConnectionReset, "yamux.ErrConnectionReset"},
	{yamux.ErrKeepAliveTimeout, "yamux.ErrKeepAliveTimeout"},
	{smux.ErrTimeout, "smux.ErrTimeout"},
	{context.Canceled, "context.Canceled"},
	{context.DeadlineExceeded, "context.DeadlineExceeded"},
	{io.EOF, "io.EOF"},
	{io.ErrUnexpectedEOF, "io.ErrUnexpectedEOF"},
	{io.ErrClosedPipe, "io.ErrClosedPipe"},
	{net.ErrClosed, "net.ErrClosed"},
	{os.ErrDeadlineExceeded, "os.ErrDeadlineExceeded"},
	{syscall.ECONNRESET, "ECONNRESET"},
	{syscall.ETIMEDOUT, "ETIMEDOUT"},
}

// describe returns which of the errors that programs compare with err matches.
func describe(err error) string {
	if err == nil {
		return "none"
	}
	var names []string
	if closed := new(websocket.CloseError); errors.As(err, &closed) {
		names = append(names, fmt.Sprintf("close %d", closed.Code))
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.Unknown {
		names = append(names, "code "+s.Code().String())
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			names = append(names, c.name)
		}
	}
	if len(names) == 0 {
		return err.Error()
	}
	return strings.Join(names, ", ")
}
