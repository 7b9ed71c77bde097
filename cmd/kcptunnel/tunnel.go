// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// dialer is the client's side of a carrier. It makes the streams.
type dialer interface {
	dial(ctx context.Context) (stream, error)
	Close() error
}

// runClient is the client in compat mode: it accepts local connections, and carries each over a
// stream, until ctx is done.
func runClient(ctx context.Context, s *settings, log *slog.Logger) error {
	d, err := newCompatDialer(s, log)
	if err != nil {
		return err
	}
	// Connections end with the carrier.
	stop := context.AfterFunc(ctx, func() { _ = d.Close() })
	defer stop()
	defer d.Close()
	if s.metrics != "" {
		if err := d.streams.meters.serveMetrics(ctx, s.metrics, d.kcpSessions, log); err != nil {
			return err
		}
	}
	l, err := listenLocal(ctx, s.localAddr)
	if err != nil {
		return err
	}
	log.Info("listening", "address", l.Addr().String(), "server", s.remoteAddr)
	wait := time.Duration(s.closeWait) * time.Second
	return acceptLoop(ctx, l, log, func(conn net.Conn) {
		remote, err := d.dial(ctx)
		if err != nil {
			log.Error("no stream for a connection",
				"from", conn.RemoteAddr().String(), "error", err)
			resetConn(conn)
			return
		}
		carry(conn, remote, wait, log)
	})
}

// runServer is the server in compat mode: it connects each stream of the clients with the target,
// until ctx is done.
func runServer(ctx context.Context, s *settings, log *slog.Logger) error {
	wait := time.Duration(s.closeWait) * time.Second
	return serveCompat(ctx, s, log, func(remote stream) {
		local, err := dialTarget(ctx, s.target)
		if err != nil {
			log.Error("the target cannot be reached", "target", s.target,
				"client", remote.RemoteAddr().String(), "error", err)
			_ = remote.Reset()
			return
		}
		carry(local, remote, wait, log)
	})
}

// carry relays between the two and logs that, with the bytes that this end has sent to the other
// and received from it. The end of the carrier ends it too.
func carry(local net.Conn, remote stream, wait time.Duration, log *slog.Logger) {
	log = log.With("local", local.RemoteAddr().String(), "remote", remote.RemoteAddr().String())
	log.Debug("connection opened")
	sums, err := relay(local, remote, wait)
	if err != nil {
		level := slog.LevelDebug
		if notCarried(err) {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "connection broken",
			"sent", sums.up, "received", sums.down, "error", err)
		return
	}
	log.Debug("connection closed", "sent", sums.up, "received", sums.down)
}

// acceptLoop hands each connection of l to handle, in a goroutine of its own, until ctx is done. It
// returns after all of them.
func acceptLoop(
	ctx context.Context, l net.Listener, log *slog.Logger, handle func(net.Conn),
) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	var handlers sync.WaitGroup
	defer handlers.Wait()
	pause := pauseLeast
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			// Such as too many open files: connections that end make room.
			log.Error("cannot accept", "error", err, "pause", pause)
			if !sleep(ctx, pause) {
				return nil
			}
			pause = min(2*pause, pauseMost)
			continue
		}
		pause = pauseLeast
		handlers.Go(func() { handle(conn) })
	}
}

// The pauses after an Accept that failed.
const (
	pauseLeast = 5 * time.Millisecond
	pauseMost  = time.Second
)

// sleep waits for d, and returns false if ctx is done before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
