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

// relayed is what a relay has carried.
type relayed struct {
	up, down int64 // bytes from the local connection to the stream, and back
}

// relayBuffers has the buffers of all relays.
var relayBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

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
	ends := make(chan error, 2)
	go func() { ends <- r.copy(remote, local, &r.up) }()
	go func() { ends <- r.copy(local, remote, &r.down) }()
	err := <-ends
	var watch *silence
	if err != nil {
		r.abort()
	} else {
		watch = r.watch()
	}
	if second := <-ends; err == nil {
		err = second
	}
	if watch != nil && watch.stop() {
		err = errSilent
	}
	if err != nil {
		r.abort()
	} else {
		_ = remote.Close()
		_ = local.Close()
	}
	return relayed{r.up.Load(), r.down.Load()}, err
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
}

// progress returns the bytes that have been carried for sure.
func (r *relaying) progress() int64 {
	if r.blind {
		return r.down.Load()
	}
	return r.up.Load() + r.down.Load()
}

// copy carries one direction to its end, and passes that on. n counts the bytes.
func (r *relaying) copy(to, from net.Conn, n *atomic.Int64) error {
	buf := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(buf)
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
	}
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

// silence ends a half-closed relay that carries nothing any more.
type silence struct {
	r *relaying

	mu    sync.Mutex // guards the following
	timer *time.Timer
	seen  int64 // bytes at the last look
	state silenceState
}

type silenceState int

const (
	silenceWatched silenceState = iota
	silenceEnded                // the relay was aborted
	silenceStopped              // the relay has ended by itself
)

// watch begins to look for silence.
func (r *relaying) watch() *silence {
	w := &silence{r: r, seen: r.progress()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(r.closeWait, w.look)
	return w
}

func (w *silence) look() {
	if w.isSilent() {
		w.r.abort()
	}
}

// isSilent reports whether the relay is to be aborted. If not, the next look is due later.
func (w *silence) isSilent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != silenceWatched {
		return false
	}
	if now := w.r.progress(); now != w.seen {
		w.seen = now
		w.timer.Reset(w.r.closeWait)
		return false
	}
	w.state = silenceEnded
	return true
}

// stop ends the watch and reports whether it had aborted the relay.
func (w *silence) stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	ended := w.state == silenceEnded
	w.state = silenceStopped
	w.timer.Stop()
	return ended
}
