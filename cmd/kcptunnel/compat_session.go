// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/xtaci/smux"
)

// The layers of compat mode, from the outside in, the same at both ends:
//
//	connection <-> QPP (if asked for) <-> smux stream <-> snappy (unless nocomp) <-> KCP session

// keepAliveTimeout is the least time after which a silent peer counts as gone.
const keepAliveTimeout = 30 * time.Second

// smuxConfig returns smux's settings, or an error for those that do not fit together.
func (s *settings) smuxConfig() (*smux.Config, error) {
	c := smux.DefaultConfig()
	c.Version = int(s.smuxVersion)
	c.MaxReceiveBuffer = int(s.smuxBuf)
	c.MaxStreamBuffer = int(s.streamBuf)
	c.MaxFrameSize = int(s.frameSize)
	if s.keepAlive == 0 {
		c.KeepAliveDisabled = true
	} else {
		c.KeepAliveInterval = time.Duration(s.keepAlive) * time.Second
		c.KeepAliveTimeout = max(3*c.KeepAliveInterval, keepAliveTimeout)
	}
	if s.streamBuf > s.smuxBuf {
		return nil, fmt.Errorf("streambuf %d: want at most smuxbuf, which is %d",
			s.streamBuf, s.smuxBuf)
	}
	if err := smux.VerifyConfig(c); err != nil {
		return nil, fmt.Errorf("smux: %w", err)
	}
	return c, nil
}

// socket is what has the options of a UDP socket: a session that owns one, or a listener.
type socket interface {
	SetDSCP(dscp int) error
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// applyToSocket sets the options of a socket. One that the system refuses is logged.
func (s *settings) applyToSocket(c socket, log *slog.Logger) {
	if s.dscp != 0 {
		if err := c.SetDSCP(int(s.dscp)); err != nil {
			log.Warn("dscp", "error", err)
		}
	}
	if s.sockBuf != 0 {
		if err := c.SetReadBuffer(int(s.sockBuf)); err != nil {
			log.Warn("sockbuf", "error", err)
		}
		if err := c.SetWriteBuffer(int(s.sockBuf)); err != nil {
			log.Warn("sockbuf", "error", err)
		}
	}
}

// compatSession is a KCP session with smux over it.
type compatSession struct {
	sess *kcp.UDPSession
	conn *sessionConn
	mux  *smux.Session
}

// newCompatSession sets the session up and puts smux over it, as the end that begin makes:
// smux.Client or smux.Server.
func (s *settings) newCompatSession(sess *kcp.UDPSession,
	begin func(io.ReadWriteCloser, *smux.Config) (*smux.Session, error)) (*compatSession, error) {
	config, err := s.smuxConfig()
	if err != nil {
		return nil, err
	}
	sess.SetRateLimit(uint32(s.rateLimit))
	conn := &sessionConn{UDPSession: sess}
	var layer io.ReadWriteCloser = conn
	if !s.noComp {
		layer = newSnappyConn(conn)
	}
	mux, err := begin(layer, config)
	if err != nil {
		return nil, err
	}
	return &compatSession{sess, conn, mux}, nil
}

// abort ends the session, so that the streams of both ends read errors and not ends.
func (c *compatSession) abort() {
	c.sess.SetLinger(0)
	_ = c.sess.Close()
	_ = c.mux.Close()
}

// sessionConn is a session below the other layers. Its end is an error: streams that are open then
// are cut off, and must not look complete.
type sessionConn struct {
	*kcp.UDPSession

	mu    sync.Mutex // guards the following
	first []byte     // the first bytes that were read, for explain
	err   error      // that reading ended with
}

// firstBytes is how many of the first bytes show what the other end speaks.
const firstBytes = 64

func (c *sessionConn) Read(p []byte) (int, error) {
	n, err := c.UDPSession.Read(p)
	if err == io.EOF {
		err = errEnded
	}
	c.note(p[:n], err)
	return n, err
}

func (c *sessionConn) note(p []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if room := firstBytes - len(c.first); room > 0 {
		c.first = append(c.first, p[:min(len(p), room)]...)
	}
	if err != nil && c.err == nil {
		c.err = err
	}
}

// seen returns the first bytes that were read, and the error that ended reading.
func (c *sessionConn) seen() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first, c.err
}

// errEnded is what the streams of a session read whose other end was closed.
var errEnded = fmt.Errorf("the session was closed by the other end: %w", io.ErrUnexpectedEOF)

// compatStream is an smux stream.
type compatStream struct {
	*smux.Stream
	version int
	meters  *meters
	ended   <-chan struct{} // is closed when the session has ended
	gone    chan struct{}   // is closed with the stream
	closed  func()          // called once, when the stream is closed
	once    sync.Once
}

func (c *compatStream) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	c.meters.received(n)
	if err == io.EOF {
		go c.watch()
	}
	return n, err
}

// watch closes a stream whose peer has ended its direction when the session ends. A Write that waits
// for room would notice that no sooner than by a keep-alive.
func (c *compatStream) watch() {
	select {
	case <-c.ended:
		_ = c.Close()
	case <-c.gone:
	}
}

func (c *compatStream) Write(p []byte) (int, error) {
	n, err := c.Stream.Write(p)
	c.meters.sent(n)
	return n, err
}

func (c *compatStream) Close() error {
	err := c.Stream.Close()
	c.once.Do(func() {
		close(c.gone)
		c.closed()
	})
	return err
}

// Reset is Close: smux has no message for it, so that the peer reads an end.
func (c *compatStream) Reset() error { return c.Close() }

// writesBlindly implements blindWriter: smux has windows for each stream since version 2, and one
// message for the end of a direction and of the whole stream.
func (c *compatStream) writesBlindly() bool { return c.version < 2 }

// streams makes the streams of an end from those of smux.
type streams struct {
	version int
	pads    *qppPads // nil without QPP
	meters  *meters
}

func (s *settings) newStreams() *streams {
	return &streams{int(s.smuxVersion), s.newQPPPads(), newMeters()}
}

// wrap returns an smux stream of a session as the tunnel uses it. closed is called once, when it is
// closed.
func (w *streams) wrap(st *smux.Stream, sess *kcp.UDPSession, closed func()) stream {
	open := w.meters.opened(kindTarget)
	c := &compatStream{Stream: st, version: w.version, meters: w.meters,
		ended: sess.Done(), gone: make(chan struct{}), closed: func() {
			open()
			closed()
		}}
	if w.pads == nil {
		return c
	}
	return &qppStream{compatStream: c, pads: w.pads.newStream()}
}
