// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// noDeadlines is a net.PacketConn without working deadlines: a read returns only when a datagram
// arrives.
type noDeadlines struct {
	*memConn
	err error
}

func (c noDeadlines) SetReadDeadline(time.Time) error { return c.err }

func (c noDeadlines) SetDeadline(time.Time) error { return c.err }

// restartReads counts the calls that read a socket.
type restartReads struct {
	net.PacketConn
	reads   atomic.Int32
	inside  atomic.Int32
	stopped atomic.Bool
	broken  atomic.Bool
}

func (c *restartReads) ReadFrom(p []byte) (int, net.Addr, error) {
	if c.stopped.Load() {
		c.broken.Store(true)
	}
	c.reads.Add(1)
	c.inside.Add(1)
	defer c.inside.Add(-1)
	return c.PacketConn.ReadFrom(p)
}

// discardConn discards what is written to it and never has anything to read.
type discardConn struct{ *memConn }

func (c discardConn) WriteTo(p []byte, _ net.Addr) (int, error) { return len(p), nil }

// faultConn is a packet connection whose calls fail with the error that its functions return, if
// they are set.
type faultConn struct {
	net.PacketConn
	read, write atomic.Pointer[func() error]
	reads       atomic.Int64 // calls of ReadFrom
	writes      atomic.Int64 // calls of WriteTo
}

func (c *faultConn) fail(read, write func() error) {
	faults := map[*atomic.Pointer[func() error]]func() error{&c.read: read, &c.write: write}
	for to, f := range faults {
		if f == nil {
			to.Store(nil)
		} else {
			to.Store(&f)
		}
	}
}

func (c *faultConn) ReadFrom(p []byte) (int, net.Addr, error) {
	c.reads.Add(1)
	if f := c.read.Load(); f != nil {
		if err := (*f)(); err != nil {
			return 0, nil, err
		}
	}
	return c.PacketConn.ReadFrom(p)
}

func (c *faultConn) WriteTo(p []byte, to net.Addr) (int, error) {
	c.writes.Add(1)
	if f := c.write.Load(); f != nil {
		if err := (*f)(); err != nil {
			return 0, err
		}
	}
	return c.PacketConn.WriteTo(p, to)
}

var errFault error = passingFault{}

// passingFault is an error that reports that it is temporary.
type passingFault struct{}

func (passingFault) Error() string { return "the network is down" }

func (passingFault) Temporary() bool { return true }

func always() error { return errFault }

// slowConn is a packet connection with slow system calls. At most moments packets are laid out and
// not yet sent.
type slowConn struct {
	net.PacketConn
	takes time.Duration

	mu         sync.Mutex // guards what follows
	most       int        // no larger datagram may be sent
	sent       map[seqNum]bool
	bad        []int // the sizes of those that did
	all, large int   // datagrams, and those larger than 700 bytes
}

func (c *slowConn) WriteTo(p []byte, to net.Addr) (int, error) {
	time.Sleep(c.takes)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	if len(p) > 700 {
		c.large++
	}
	again := c.again(p)
	if len(p) > c.most && !again {
		c.bad = append(c.bad, len(p))
	}
	return c.PacketConn.WriteTo(p, to)
}

// again reports whether a datagram holds nothing but one data segment that was sent before.
func (c *slowConn) again(datagram []byte) bool {
	p := parsePacket(datagram)
	if p.kind != packetPlain && p.kind != packetData {
		return false
	}
	segments := segmentsOf(p.segments)
	again := len(segments) == 1 && segments[0].cmd == cmdPush && c.sent[segments[0].sn] &&
		p.kind == packetPlain
	for _, s := range segments {
		if s.cmd == cmdPush {
			c.sent[s.sn] = true
		}
	}
	return again
}

// counted returns the number of large datagrams sent.
func (c *slowConn) counted() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.large
}

func (c *slowConn) limit(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = most
}

// heldBuffers are receiveBuffers that are always the same.
type heldBuffers []received

func newHeldBuffers(c batchConn) *heldBuffers {
	b := batchBuffers(c)
	return &b
}

func (b *heldBuffers) borrow() []received { return *b }

func (*heldBuffers) restore() {}
