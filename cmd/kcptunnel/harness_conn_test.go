// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// errMemReset is what the other end of a memConn reads after a reset.
var errMemReset = errors.New("reset")

// memConn is one end of a connection in memory, with half close and reset, for virtual time.
type memConn struct {
	r      *io.PipeReader
	w      *io.PipeWriter
	linger atomic.Bool // false: Close resets
}

// memPipe returns both ends of a connection.
func memPipe() (*memConn, *memConn) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	a, b := &memConn{r: ar, w: aw}, &memConn{r: br, w: bw}
	a.linger.Store(true)
	b.linger.Store(true)
	return a, b
}

func (c *memConn) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *memConn) Write(p []byte) (int, error) { return c.w.Write(p) }
func (c *memConn) CloseWrite() error           { return c.w.Close() }
func (c *memConn) SetLinger(sec int) error     { c.linger.Store(sec != 0); return nil }

// Close ends both directions. What the other end reads depends on SetLinger, as for TCP.
func (c *memConn) Close() error {
	if c.linger.Load() {
		_ = c.w.Close()
		return c.r.Close()
	}
	return c.Reset()
}

// Reset ends both directions with an error.
func (c *memConn) Reset() error {
	_ = c.w.CloseWithError(errMemReset)
	return c.r.CloseWithError(errMemReset)
}

func (c *memConn) LocalAddr() net.Addr              { return memAddr{} }
func (c *memConn) RemoteAddr() net.Addr             { return memAddr{} }
func (c *memConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c *memConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c *memConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

type memAddr struct{}

func (memAddr) Network() string { return "memory" }
func (memAddr) String() string  { return "memory" }
