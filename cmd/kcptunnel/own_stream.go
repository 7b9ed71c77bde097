// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

const (
	// silenceMax is how long a client waits for the first packet of a server. Six retransmissions
	// have been lost by then.
	silenceMax = 10 * time.Second

	// answerMax is how long a client waits for the answer of a server that is there. It is more
	// than dialTimeout, after which the server answers that the destination does not.
	answerMax = 20 * time.Second
)

// statusError is an answer of the server other than statusOK.
type statusError struct{ status status }

func (e *statusError) Error() string { return "server: " + e.status.String() }

// ownStream is a connection that a session of its own carries. It implements stream.
type ownStream struct {
	*kcp.UDPSession
	zstd   *zstdStream // nil without compression
	answer *answer     // nil at the server
	meters *meters
}

// newOwnStream returns the stream of a session whose request is sent or read. A client passes the
// answer that it waits for.
func newOwnStream(sess *kcp.UDPSession, c compression, a *answer, m *meters) (*ownStream, error) {
	s := &ownStream{UDPSession: sess, answer: a, meters: m}
	if c != compressZstd {
		return s, nil
	}
	var err error
	s.zstd, err = newZstdStream(sess)
	return s, err
}

func (s *ownStream) Read(p []byte) (n int, err error) {
	if err := s.answer.wait(); err != nil {
		return 0, err
	}
	if s.zstd != nil {
		n, err = s.zstd.Read(p)
	} else {
		n, err = s.UDPSession.Read(p)
	}
	s.meters.received(n)
	return n, err
}

func (s *ownStream) Write(p []byte) (n int, err error) {
	if s.zstd != nil {
		n, err = s.zstd.Write(p)
	} else {
		n, err = s.UDPSession.Write(p)
	}
	s.meters.sent(n)
	if err != nil {
		err = s.answer.reason(err)
	}
	return n, err
}

// CloseWrite ends the direction to the peer.
func (s *ownStream) CloseWrite() error {
	if s.zstd != nil {
		if err := s.zstd.closeWrite(); err != nil {
			return err
		}
	}
	return s.UDPSession.CloseWrite()
}

// Close delivers what was written in the background.
func (s *ownStream) Close() error {
	if s.zstd != nil {
		_ = s.zstd.closeWrite()
	}
	return s.end()
}

// Reset makes the peer's Read and Write fail with an error that matches syscall.ECONNRESET.
func (s *ownStream) Reset() error {
	s.SetLinger(0)
	return s.end()
}

func (s *ownStream) end() error {
	s.answer.stop()
	err := s.UDPSession.Close()
	if s.zstd != nil {
		s.zstd.close()
	}
	return err
}

// errNoAnswer describes a server that sends nothing.
var errNoAnswer = errors.New(
	"no answer: is a kcptunnel server running there, with the same secret and cipher, and without -compat?")

// answer is the server's answer, which a client's session begins with. A nil answer is one that has
// come. All methods may be called concurrently.
type answer struct {
	sess  *kcp.UDPSession
	timer *time.Timer
	late  atomic.Pointer[error] // why the session was given up

	once sync.Once // guards err
	err  error
}

// newAnswer awaits the answer of the session, which is reset if it does not come in time.
func newAnswer(sess *kcp.UDPSession) *answer {
	a := &answer{sess: sess}
	a.timer = time.AfterFunc(silenceMax, a.silent)
	return a
}

func (a *answer) silent() {
	if a.sess.Stats().PacketsReceived == 0 {
		a.giveUp(errNoAnswer)
		return
	}
	time.AfterFunc(answerMax-silenceMax, func() { a.giveUp(&statusError{statusTimeout}) })
}

// giveUp resets the session unless the answer has come, or the session was closed.
func (a *answer) giveUp(err error) {
	if a.late.CompareAndSwap(nil, &err) {
		a.sess.SetLinger(0)
		_ = a.sess.Close()
	}
}

var errAnswered = errors.New("answered")

// stop ends the time for the answer.
func (a *answer) stop() {
	if a != nil {
		a.late.CompareAndSwap(nil, &errAnswered)
		a.timer.Stop()
	}
}

// wait returns once the answer has come. The error is that of the session, or a *statusError.
func (a *answer) wait() error {
	if a == nil {
		return nil
	}
	a.once.Do(func() {
		st, err := readAnswer(a.sess)
		a.stop()
		switch reason := *a.late.Load(); {
		case reason != errAnswered:
			a.err = reason
		case errors.Is(err, net.ErrClosed):
			a.err = err
		case err != nil:
			a.err = fmt.Errorf("answer of the server: %w", err)
		case st != statusOK:
			a.err = &statusError{st}
		}
	})
	return a.err
}

// reason returns why the session was given up, or err if it was not.
func (a *answer) reason(err error) error {
	if a == nil {
		return err
	}
	if reason := a.late.Load(); reason != nil && *reason != errAnswered {
		return *reason
	}
	return err
}

// notCarried reports whether an error is the answer of the server, or its lack.
func notCarried(err error) bool {
	var answer *statusError
	return errors.As(err, &answer) || errors.Is(err, errNoAnswer)
}
