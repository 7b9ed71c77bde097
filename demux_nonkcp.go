// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"net"
	"sync"
)

// strayQueueMax is how many datagrams that are not KCP wait for ReadNonKCP, at most 4 MiB. It is
// more than arrive in answer to what a program sends. Further ones are dropped.
const strayQueueMax = 64

// A stray is a datagram that is not KCP.
type stray struct {
	data []byte // pooled
	from net.Addr
}

// strayQueue holds datagrams that are not KCP for ReadNonKCP. A nil queue takes nothing.
type strayQueue struct {
	ready chan struct{} // holds a token while something may be there
	done  chan struct{} // closed by close

	mu      sync.Mutex // guards what follows
	waiting RingBuffer[stray]
	failure error // once closed
}

func newStrayQueue() *strayQueue {
	return &strayQueue{ready: make(chan struct{}, 1), done: make(chan struct{})}
}

// push takes a copy of a datagram, and drops it if the queue is full. It returns false if the queue
// is closed or nil.
func (q *strayQueue) push(data []byte, peer peerAddr, custom net.Addr) bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failure != nil {
		return false
	}
	if q.waiting.Len() >= strayQueueMax {
		return true
	}
	if custom == nil {
		custom = net.UDPAddrFromAddrPort(peer.udp)
	}
	q.waiting.Push(stray{append(getBuffer(len(data))[:0], data...), custom})
	q.signal()
	return true
}

func (q *strayQueue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// pop returns the oldest datagram, if there is one.
func (q *strayQueue) pop() (stray, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d, ok := q.waiting.Pop()
	if q.waiting.Len() > 0 {
		q.signal() // for another caller
	}
	return d, ok
}

// close drops the datagrams in the queue and all further ones.
func (q *strayQueue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failure != nil {
		return
	}
	q.failure = err
	for d, ok := q.waiting.Pop(); ok; d, ok = q.waiting.Pop() {
		putBuffer(d.data)
	}
	close(q.done)
}

// read waits for a datagram, copies it to p and returns its length and source.
func (q *strayQueue) read(ctx context.Context, p []byte) (int, net.Addr, error) {
	for {
		if d, ok := q.pop(); ok {
			n := copy(p, d.data)
			putBuffer(d.data)
			return n, d.from, nil
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-q.done:
			return 0, nil, q.failure
		}
	}
}

// nonKCP returns the queue of datagrams that are not KCP. The first call makes it.
func (d *demux) nonKCP() *strayQueue {
	if q := d.strays.Load(); q != nil {
		return q
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.strays.Load()
	if q == nil {
		q = newStrayQueue()
		if d.user != userTransport {
			q.close(errClosed)
		}
		d.strays.Store(q)
	}
	return q
}
