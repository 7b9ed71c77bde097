// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seedkcp/kcp"
)

// requestTimeout is how long a new session has for its request.
const requestTimeout = 10 * time.Second

// ownServer is the server's end: it connects each session with the destination that its request
// names.
type ownServer struct {
	log        *slog.Logger
	meters     *meters
	options    *atomic.Pointer[ownOptions] // is replaced by a reload
	open       func(ctx context.Context, o *ownOptions, addr string) (*kcp.Transport, error)
	connect    func(ctx context.Context, o *ownOptions, network string, r *request) (net.Conn, error)
	conns      limiter
	flows      flowLimiter
	transports []*kcp.Transport // does not change once serve runs
}

func newOwnServer(o *atomic.Pointer[ownOptions], log *slog.Logger, m *meters) *ownServer {
	s := &ownServer{log: log, meters: m, options: o}
	s.open = func(ctx context.Context, o *ownOptions, addr string) (*kcp.Transport, error) {
		return o.config.OpenTransport(ctx, addr)
	}
	s.connect = dialDestination
	return s
}

// listen opens the sockets: one for each port of the range.
func (s *ownServer) listen(ctx context.Context) error {
	o := s.options.Load()
	for _, addr := range o.listen.all() {
		t, err := s.open(ctx, o, addr)
		if err != nil {
			s.close()
			return err
		}
		o.settings.applyToSocket(t, s.log)
		s.transports = append(s.transports, t)
	}
	return nil
}

// close ends listening. The sessions live on.
func (s *ownServer) close() {
	for _, t := range s.transports {
		_ = t.Close()
	}
}

// serve accepts sessions until ctx is done, and returns once all are served. hard ends those.
func (s *ownServer) serve(ctx, hard context.Context) error {
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	defer s.close()
	var accepting sync.WaitGroup
	defer accepting.Wait()
	for _, t := range s.transports {
		l, err := t.Listen(nil)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		accepting.Go(func() { s.reportForeign(ctx, t) })
		accepting.Go(func() {
			_ = acceptLoop(ctx, l, s.log, func(conn net.Conn) { s.handle(hard, conn.(*kcp.UDPSession)) })
		})
	}
	return nil
}

// sessions yields the open sessions.
func (s *ownServer) sessions(yield func(*kcp.UDPSession) bool) {
	for _, t := range s.transports {
		for sess := range t.Sessions() {
			if !yield(sess) {
				return
			}
		}
	}
}

// reportPause is the least time between two reports of datagrams that do not verify.
const reportPause = 30 * time.Second

// reportForeign logs datagrams that were not made with the key: a client has another secret or
// cipher, or runs in compat mode. Such a client gets no answer.
func (s *ownServer) reportForeign(ctx context.Context, t *kcp.Transport) {
	buf := make([]byte, 1)
	for {
		_, from, err := t.ReadNonKCP(ctx, buf)
		if err != nil {
			return
		}
		s.log.Warn("datagrams do not verify: the secret or cipher of the client is another one, "+
			"or it runs with -compat", "client", from.String())
		if !sleep(ctx, reportPause) {
			return
		}
	}
}

// handle serves one session to its end.
func (s *ownServer) handle(ctx context.Context, sess *kcp.UDPSession) {
	o := s.options.Load()
	log := s.log.With("client", sess.RemoteAddr().String())
	sess.SetRateLimit(o.rateLimit)
	stop := context.AfterFunc(ctx, func() { resetSession(sess) })
	defer stop()
	_ = sess.SetReadDeadline(time.Now().Add(requestTimeout))
	r, err := readRequest(sess)
	_ = sess.SetReadDeadline(time.Time{})
	switch {
	case errors.Is(err, errOtherVersion), errors.Is(err, errors.ErrUnsupported):
		log.Warn("request", "error", err)
		s.refuse(sess, statusUnsupported)
		return
	case err != nil:
		// The end of a session without a request is that of a client whose connection ended.
		if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			log.Warn("no request", "error", err)
		}
		resetSession(sess)
		return
	}
	if r.kind.isUDP() {
		s.serveFlow(ctx, o, sess, r, log)
		return
	}
	if !s.conns.acquire(o.maxConns) {
		s.refuse(sess, statusBusy)
		return
	}
	defer s.conns.release()
	s.serveStream(ctx, o, sess, r, log)
}

// refuse ends a session with a status that says why.
func (s *ownServer) refuse(sess *kcp.UDPSession, st status) {
	s.meters.failed(st)
	_, _ = sess.Write(appendAnswer(nil, st))
	_ = sess.Close()
}

func resetSession(sess *kcp.UDPSession) {
	sess.SetLinger(0)
	_ = sess.Close()
}

// serveStream connects a session with the destination of its request.
func (s *ownServer) serveStream(
	ctx context.Context, o *ownOptions, sess *kcp.UDPSession, r *request, log *slog.Logger,
) {
	conn, err := s.connect(ctx, o, "tcp", r)
	if err != nil {
		st := statusOf(err)
		log.Warn("destination", "kind", r.kind.String(), "status", st.String(), "error", err)
		s.refuse(sess, st)
		return
	}
	remote, err := newOwnStream(sess, r.compression, nil, s.meters)
	if err == nil {
		_, err = sess.Write(appendAnswer(nil, statusOK))
	}
	if err != nil {
		resetConn(conn)
		resetSession(sess)
		return
	}
	defer s.meters.opened(r.kind)()
	carryOwn(ctx, conn, remote, o.closeWait, log)
}

// errForbidden is returned for a destination that the policy does not allow.
var errForbidden = errors.New("not allowed, see -allow")

// dialDestination connects to the destination of a request. network is "tcp" or "udp".
func dialDestination(
	ctx context.Context, o *ownOptions, network string, r *request,
) (net.Conn, error) {
	switch {
	case r.kind == kindTarget:
		return dialTarget(ctx, o.target)
	case r.kind == kindUDPTarget && o.udp == "":
		return nil, fmt.Errorf("%w: the server has no -udp", errForbidden)
	case r.kind == kindUDPTarget:
		d := net.Dialer{Timeout: dialTimeout}
		return d.DialContext(ctx, network, o.udp)
	}
	if !o.allow.mayResolve(r.host, r.port) {
		return nil, fmt.Errorf("%s: %w", r.address(), errForbidden)
	}
	d := net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		// The check is of the address that is used: the name may have several, and may change.
		addr, err := netip.ParseAddrPort(address)
		if err != nil || !o.allow.allows(r.host, addr) {
			return fmt.Errorf("%s: %w", address, errForbidden)
		}
		return nil
	}}
	return d.DialContext(ctx, network, net.JoinHostPort(r.host, strconv.Itoa(int(r.port))))
}

// statusOf returns the answer for an error of dialDestination.
func statusOf(err error) status {
	switch {
	case errors.Is(err, errForbidden):
		return statusForbidden
	case errors.Is(err, syscall.ECONNREFUSED):
		return statusRefused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return statusTimeout
	}
	return statusUnreachable
}

// limiter counts what is open at a time. The zero value is usable.
type limiter struct{ n atomic.Int64 }

func (l *limiter) acquire(most int) bool {
	if l.n.Add(1) <= int64(most) {
		return true
	}
	l.n.Add(-1)
	return false
}

func (l *limiter) release() { l.n.Add(-1) }
