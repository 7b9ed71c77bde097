// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// carryOwn relays between a local connection and a stream until both directions have ended, or one
// side has failed, or ctx is done.
func carryOwn(
	ctx context.Context, local net.Conn, remote *ownStream, wait time.Duration, log *slog.Logger,
) {
	stop := context.AfterFunc(ctx, func() {
		_ = remote.Reset()
		resetConn(local) // its reader does not notice the end of the session
	})
	defer stop()
	carry(local, &watchedStream{ownStream: remote, local: local}, wait, log)
}

// watchedStream resets the local connection when its session fails after the peer has ended its
// direction. Nobody reads the session any more then, and the local connection may be silent.
//
// Once the local connection has ended its direction too, it is not reset: the system may still have
// to deliver what was written to it.
type watchedStream struct {
	*ownStream
	local net.Conn
	ended atomic.Bool // the direction to the peer
}

func (w *watchedStream) Read(p []byte) (int, error) {
	n, err := w.ownStream.Read(p)
	if err == io.EOF {
		go func() {
			<-w.Done()
			if !w.ended.Load() {
				resetConn(w.local)
			}
		}()
	}
	return n, err
}

// CloseWrite ends the direction to the peer. The relay ends by itself then.
func (w *watchedStream) CloseWrite() error {
	w.ended.Store(true)
	return w.ownStream.CloseWrite()
}
