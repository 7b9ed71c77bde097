// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"os"
	"sync"
	"time"
)

// memAddr is an address of a type of its own.
type memAddr string

func (a memAddr) Network() string { return "mem" }
func (a memAddr) String() string  { return string(a) }

type memPacket struct {
	data []byte
	from net.Addr
}

// memConn is a net.PacketConn in memory. Reads return what was put into it; writes call the send
// function.
type memConn struct {
	addr net.Addr
	send func(data []byte, to net.Addr)

	mu       sync.Mutex
	cond     waiters
	queue    []memPacket
	closed   bool
	deadline deadline
	reads    int
}

func newMemConn(addr net.Addr, send func(data []byte, to net.Addr)) *memConn {
	c := &memConn{addr: addr, send: send}
	c.cond.L = &c.mu
	return c
}

// newMemPipe returns two connections that reach each other.
func newMemPipe() (a, b *memConn) {
	a, b = newMemConn(memAddr("a"), nil), newMemConn(memAddr("b"), nil)
	a.send = func(data []byte, _ net.Addr) { b.put(data, a.addr) }
	b.send = func(data []byte, _ net.Addr) { a.put(data, b.addr) }
	return a, b
}

func (c *memConn) put(data []byte, from net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, memPacket{append([]byte(nil), data...), from})
	c.cond.Broadcast()
}

func (c *memConn) ReadFrom(p []byte) (int, net.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	for {
		switch {
		case c.closed:
			return 0, nil, net.ErrClosed
		case c.deadline.passed():
			return 0, nil, os.ErrDeadlineExceeded
		case len(c.queue) > 0:
			m := c.queue[0]
			c.queue = c.queue[1:]
			return copy(p, m.data), m.from, nil
		}
		c.deadline.arm(&c.cond)
		c.cond.Wait()
	}
}

func (c *memConn) WriteTo(p []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	if c.send != nil {
		c.send(append([]byte(nil), p...), to)
	}
	return len(p), nil
}

func (c *memConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.deadline.disarm()
	c.cond.Broadcast()
	return nil
}

func (c *memConn) LocalAddr() net.Addr { return c.addr }

func (c *memConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }
func (c *memConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline.set(t)
	c.cond.Broadcast()
	return nil
}
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }
