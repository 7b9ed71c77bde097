// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// stream is one connection that the tunnel carries.
type stream interface {
	net.Conn
	// CloseWrite ends what this side writes: the peer reads all of it and then io.EOF.
	CloseWrite() error
	// Reset ends the stream at once. The peer reads an error, where the carrier can tell it.
	Reset() error
}

// blindWriter is a stream whose peer does not show that it reads. The end of what it sends may be
// that of the whole stream, and all that is written then may go nowhere.
type blindWriter interface{ writesBlindly() bool }

// halfCloser is a connection whose directions end one by one.
type halfCloser interface{ CloseWrite() error }

// halfClosedLimit is how long a half-closed connection may be silent without a limit of its own.
// TCP has none, but a carrier need not report that the peer is gone altogether.
const halfClosedLimit = 10 * time.Minute

// relay copies between a local connection and a stream until both directions have ended, and closes
// both. The end of one direction is passed on, while the other goes on. After that a silence of
// closeWait ends the connection (0: ten minutes). What is written blindly does not count. An error
// of one side resets the other.
//
// The error is nil if both directions have ended by themselves.
func relay(local net.Conn, remote stream, closeWait time.Duration) (relayed, error) {
	if closeWait <= 0 {
		closeWait = halfClosedLimit
	}
	r := &relaying{local: local, remote: remote, closeWait: closeWait}
	if b, ok := remote.(blindWriter); ok {
		r.blind = b.writesBlindly()
	}
	up := make(chan struct{})
	go func() {
		defer close(up)
		r.ended(r.copy(remote, local, &r.up))
	}()
	r.ended(r.copy(local, remote, &r.down))
	<-up
	err := r.result()
	if err != nil {
		r.abort()
	} else {
		_ = remote.Close()
		_ = local.Close()
	}
	return relayed{r.up.Load(), r.down.Load()}, err
}

// relayed is what a relay has carried.
type relayed struct {
	up, down int64 // bytes from the local connection to the stream, and back
}

// errSilent is the end of a half-closed connection by closewait.
var errSilent = errors.New("half-closed and silent for too long")

// relaying is a relay at work.
type relaying struct {
	local     net.Conn
	remote    stream
	blind     bool // remote is a blindWriter
	closeWait time.Duration
	up, down  atomic.Int64

	mu    sync.Mutex // guards the following
	ends  int        // of directions
	err   error      // the first
	watch *time.Timer
	seen  int64 // progress when the watch began, or at its last look
}

// progress returns the bytes that have been carried for sure.
func (r *relaying) progress() int64 {
	if r.blind {
		return r.down.Load()
	}
	return r.up.Load() + r.down.Load()
}

// copy carries one direction to its end, and passes that on. n counts the bytes. A direction that
// carries little has a small buffer, so that idle connections take little memory.
func (r *relaying) copy(to, from net.Conn, n *atomic.Int64) error {
	pool := &smallBuffers
	buf := pool.Get().(*[]byte)
	defer func() { pool.Put(buf) }()
	for {
		got, err := from.Read(*buf)
		if got > 0 {
			sent, err := to.Write((*buf)[:got])
			n.Add(int64(sent))
			if err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return endWrites(to)
		case err != nil:
			return err
		}
		if next := poolFor(got, pool); next != pool {
			pool.Put(buf)
			pool = next
			buf = pool.Get().(*[]byte)
		}
	}
}

// The buffers of all relays.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

var (
	smallBuffers = bufferPool(smallBuffer)
	largeBuffers = bufferPool(largeBuffer)
)

func bufferPool(size int) sync.Pool {
	return sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

// poolFor returns the pool of the next buffer, after one of the present pool got so many bytes.
func poolFor(got int, present *sync.Pool) *sync.Pool {
	switch {
	case got == smallBuffer && present == &smallBuffers:
		return &largeBuffers
	case got < smallBuffer:
		return &smallBuffers
	}
	return present
}

// endWrites passes the end of a direction on. A connection that cannot end one direction alone is
// closed with the other.
func endWrites(c net.Conn) error {
	h, ok := c.(halfCloser)
	if !ok {
		return nil
	}
	if err := h.CloseWrite(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// abort ends both sides at once. Their users read errors and not an end.
func (r *relaying) abort() {
	_ = r.remote.Reset()
	resetConn(r.local)
}

// resetConn closes a connection. The peer of a TCP connection is reset.
func resetConn(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// ended notes the end of a direction. After the first that is no error, the relay is watched for
// silence.
func (r *relaying) ended(err error) {
	r.mu.Lock()
	r.ends++
	if r.err == nil {
		r.err = err
	}
	failed, first := r.err != nil, r.ends == 1
	if first && !failed {
		r.seen = r.progress()
		r.watch = time.AfterFunc(r.closeWait, r.look)
	}
	if !first && r.watch != nil {
		r.watch.Stop()
	}
	r.mu.Unlock()
	if failed && first {
		r.abort()
	}
}

// look ends the relay if nothing was carried since the last look.
func (r *relaying) look() {
	if r.isSilent() {
		r.abort()
	}
}

// isSilent reports whether the relay is to be aborted. If not, the next look is due later.
func (r *relaying) isSilent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ends > 1 {
		return false
	}
	if now := r.progress(); now != r.seen {
		r.seen = now
		r.watch.Reset(r.closeWait)
		return false
	}
	r.err = errSilent
	return true
}

// result returns the error that the relay has ended with.
func (r *relaying) result() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
