// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// queueMost bounds the memory of the datagrams that wait for a connection. It holds two windows
	// of 1,024 full segments, because parity and copies wait too.
	queueMost = 4 << 20
	// queueLatency is how long a datagram may wait while there are more than queueLeast bytes. A
	// slow connection thus delays datagrams by about that time, not by what the queue can hold.
	queueLatency = 500 * time.Millisecond
	queueLeast   = 64 << 10
	// queueTurn is how many datagrams the writer takes at a time.
	queueTurn = 32
	// queueKeeps is the longest array that an idle queue keeps.
	queueKeeps = 256
)

var errQueueFull = errors.New("kcp: the packet connection takes packets too slowly")

// queuedConn is the batchConn of a foreign connection, whose WriteTo may block. Only its own
// goroutine calls WriteTo, so that readers, scheduler workers and Writes never wait in it. The
// goroutine starts with the first datagram and ends with the socket. Datagrams are lost if the
// queue is full.
type queuedConn struct {
	batchConn
	report func(sent, lost int, err error) // the outcome of writes
	refuse func(p []outgoing)              // is called with a batch of which some were lost
	batch  []outgoing                      // being written; the goroutine's

	mu      sync.Mutex // guards what follows
	waiting RingBuffer[queuedDatagram]
	held    int       // of buffers, including those being written
	more    sync.Cond // signals datagrams, or the end
	state   queueState
	queued  uint64      // datagrams so far
	done    uint64      // of them, those written or dropped
	waits   []queueWait // in the order of their targets
}

// queuedDatagram is a copy of a datagram in a pooled buffer.
type queuedDatagram struct {
	buf    []byte
	to     netip.AddrPort
	toAddr net.Addr
	at     time.Time
}

// queueWait is a wait until that many datagrams are done.
type queueWait struct {
	target uint64
	over   chan struct{}
}

type queueState uint8

const (
	queueIdle queueState = iota // nothing has been written: there is no goroutine
	queueRunning
	queueClosed
)

func newQueuedConn(c batchConn, report func(sent, lost int, err error)) *queuedConn {
	q := &queuedConn{batchConn: c, report: report, refuse: func([]outgoing) {}}
	q.more.L = &q.mu
	return q
}

// writeBatch queues copies. It does not block.
func (c *queuedConn) writeBatch(p []outgoing) (sent, lost int, err error) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == queueClosed {
		return 0, datagramsFrom(p, 0, 0), net.ErrClosed
	}
	for i := range p {
		o := &p[i]
		for offset := 0; ; {
			piece, _ := nextPiece(o, offset, 1)
			if c.held >= queueMost {
				return sent, lost + datagramsFrom(p, i, offset), errQueueFull
			}
			d := queuedDatagram{append(getBuffer(len(piece))[:0], piece...), o.to, o.toAddr, now}
			c.waiting.Push(d)
			c.held += cap(d.buf)
			c.queued++
			sent++
			if offset += len(piece); offset >= len(o.buf) {
				break
			}
		}
	}
	if sent > 0 && c.state == queueIdle {
		c.state = queueRunning
		go c.run()
	}
	c.more.Signal()
	return sent, lost, nil
}

// run writes the queued datagrams until the end.
func (c *queuedConn) run() {
	for more := true; more; {
		var late int
		if late, more = c.take(); late > 0 {
			c.report(0, late, errQueueFull)
		}
		if len(c.batch) > 0 {
			sent, lost, err := c.batchConn.writeBatch(c.batch)
			c.report(sent, lost, err)
			if lost > 0 {
				c.refuse(c.batch)
			}
		}
	}
}

// take releases the buffers of the batch that has been written and begins the next one. It returns
// how many datagrams have waited too long and are lost. more is false at the end.
func (c *queuedConn) take() (late int, more bool) {
	bytes, written := 0, len(c.batch)
	for i := range c.batch {
		bytes += cap(c.batch[i].buf)
		putBuffer(c.batch[i].buf)
	}
	clear(c.batch)
	c.batch = c.batch[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held -= bytes
	c.finished(written)
	for c.waiting.Len() == 0 && c.state != queueClosed {
		if c.waiting.MaxLen() > queueKeeps {
			c.waiting = RingBuffer[queuedDatagram]{}
		}
		c.more.Wait()
	}
	now := time.Now()
	for len(c.batch) < queueTurn {
		d, ok := c.waiting.Pop()
		if !ok {
			break
		}
		if c.held > queueLeast && now.Sub(d.at) >= queueLatency {
			c.held -= cap(d.buf)
			putBuffer(d.buf)
			late++
			continue
		}
		c.batch = append(c.batch, outgoing{buf: d.buf, to: d.to, toAddr: d.toAddr})
	}
	c.finished(late)
	return late, len(c.batch) > 0 || c.state != queueClosed
}

// finished records that n more datagrams are done. The lock must be held.
func (c *queuedConn) finished(n int) {
	c.done += uint64(n)
	for len(c.waits) > 0 && c.waits[0].target <= c.done {
		close(c.waits[0].over)
		c.waits = c.waits[1:]
	}
}

// written returns a channel that is closed once all datagrams queued so far are written or dropped.
func (c *queuedConn) written() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := queueWait{c.queued, make(chan struct{})}
	c.waits = append(c.waits, w)
	c.finished(0)
	return w.over
}

// await is like written, but waits for a bounded time. It reports whether all are written or
// dropped.
func (c *queuedConn) await(patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.written():
		return true
	case <-timer.C:
		return false
	}
}

// close drops the queued datagrams and all further ones.
func (c *queuedConn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = queueClosed
	dropped := 0
	for d, ok := c.waiting.Pop(); ok; d, ok = c.waiting.Pop() {
		c.held -= cap(d.buf)
		putBuffer(d.buf)
		dropped++
	}
	c.finished(dropped)
	c.more.Signal()
}
