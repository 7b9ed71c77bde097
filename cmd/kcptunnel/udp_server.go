// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"

	"github.com/seedkcp/kcp"
)

// serveFlow exchanges datagrams between a session and the destination of its request, until one of
// them ends or both are silent.
func (s *ownServer) serveFlow(
	ctx context.Context, o *ownOptions, sess *kcp.UDPSession, r *request, log *slog.Logger,
) {
	if !s.flows.acquire(o.maxFlows) {
		s.refuse(sess, statusBusy)
		return
	}
	conn, err := s.connect(ctx, o, "udp", r)
	if err != nil {
		s.flows.cancel()
		st := statusOf(err)
		log.Warn("destination", "kind", r.kind.String(), "status", st.String(), "error", err)
		s.refuse(sess, st)
		return
	}
	defer conn.Close()
	defer s.meters.opened(r.kind)()
	sess.SetStreamMode(false)
	f := newFlow(sess, o.udpTimeout, s.meters, func(data []byte) { _, _ = conn.Write(data) })
	s.flows.add(f)
	defer s.flows.remove(f)
	defer f.close()
	if _, err := sess.Write(appendAnswer(nil, statusOK)); err != nil {
		return
	}
	f.useOOB() // the client has sent the request, and sets its handler at once
	log.Debug("flow opened", "to", conn.RemoteAddr().String())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.receive()
		_ = conn.Close()
	}()
	replies(ctx, f, conn)
	f.close()
	<-done
	log.Debug("flow closed", "to", conn.RemoteAddr().String())
}

// replies sends what arrives at the socket, until it is closed.
func replies(ctx context.Context, f *flow, conn net.Conn) {
	buf := datagramBuffers.Get().(*[]byte)
	defer datagramBuffers.Put(buf)
	for {
		n, err := conn.Read(*buf)
		switch {
		case err == nil:
			f.send((*buf)[:n])
		case errors.Is(err, syscall.ECONNREFUSED):
			// The destination was not there for an earlier datagram, and may be for the next.
			if !sleep(ctx, socketErrorPause) {
				return
			}
		default:
			return
		}
	}
}
