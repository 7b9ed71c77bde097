// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/progress"
)

// headerSize is the length of what a client sends first: the number of bytes
// that it will stream, big-endian. It is echoed like everything else. When all
// is back the client sends one byte more: the server may close.
const headerSize = 8

// bufferSize is that of one Read and one Write, well above a packet's payload.
const bufferSize = 64 << 10

// server echoes the streams of any number of clients. It may be closed from
// any goroutine.
type server struct {
	listener *kcp.Listener
	timeout  time.Duration
	wg       sync.WaitGroup // one for each session served

	logMu sync.Mutex // guards log
	log   io.Writer

	mu       sync.Mutex // guards what follows
	sessions map[*kcp.UDPSession]struct{}
	closed   bool
}

func newServer(addr string, timeout time.Duration, log io.Writer) (*server, error) {
	listener, err := kcp.ListenWithOptions(addr, nil, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot serve on %s: %w", addr, err)
	}
	return &server{
		listener: listener,
		timeout:  timeout,
		log:      log,
		sessions: make(map[*kcp.UDPSession]struct{}),
	}, nil
}

func (s *server) addr() net.Addr { return s.listener.Addr() }

// serve accepts clients until close is called, and returns when the last of
// them is gone.
func (s *server) serve() error {
	defer s.wg.Wait()
	for {
		sess, err := s.listener.AcceptKCP()
		if err != nil {
			if s.isClosed() {
				return nil
			}
			s.close()
			return fmt.Errorf("accept: %w", err)
		}
		if !s.add(sess) {
			sess.Close()
			continue
		}
		s.wg.Go(func() { s.handle(sess) })
	}
}

// close ends accepting and every session.
func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.listener.Close()
	for sess := range s.sessions {
		sess.Close()
	}
}

func (s *server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *server) add(sess *kcp.UDPSession) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sessions[sess] = struct{}{}
	return true
}

func (s *server) remove(sess *kcp.UDPSession) {
	s.mu.Lock()
	delete(s.sessions, sess)
	s.mu.Unlock()
	sess.Close()
}

func (s *server) handle(sess *kcp.UDPSession) {
	defer s.remove(sess)
	tune(sess)
	start := time.Now()
	n, err := echo(sess, s.timeout)
	st := sess.Stats()

	line := fmt.Sprintf("echoed %s for %v in %.2f s, %d segments sent again",
		progress.Bytes(n), sess.RemoteAddr(), time.Since(start).Seconds(), retransmits(st))
	if err != nil {
		line += ": " + err.Error()
	}
	s.logMu.Lock()
	defer s.logMu.Unlock()
	fmt.Fprintln(s.log, line)
}

// echo sends back what sess brings until the client's byte count is reached or
// its stream ends, and returns the number of bytes echoed. A client that falls
// silent for the timeout is given up.
func echo(sess *kcp.UDPSession, timeout time.Duration) (int64, error) {
	sess.SetDeadline(time.Now().Add(timeout))
	buf := make([]byte, bufferSize)
	header := buf[:headerSize]
	if _, err := io.ReadFull(sess, header); err != nil {
		return 0, fmt.Errorf("no header: %w", err)
	}
	size := int64(binary.BigEndian.Uint64(header))
	if size < 0 {
		return 0, errors.New("not a header of this protocol")
	}
	if _, err := sess.Write(header); err != nil {
		return 0, err
	}

	done := int64(0)
	for done < size {
		sess.SetDeadline(time.Now().Add(timeout))
		n, err := sess.Read(buf[:min(bufferSize, size-done)])
		if err != nil {
			return done, fmt.Errorf("the client's stream of %d bytes is broken: %w", size, err)
		}
		if _, err := sess.Write(buf[:n]); err != nil {
			return done, err
		}
		done += int64(n)
	}

	// The last bytes may have to be sent again. Wait until the client confirms them, ends, or is
	// silent.
	sess.SetDeadline(time.Now().Add(timeout))
	sess.Read(buf[:1])
	return done, nil
}

// retransmits counts the segments that were sent again, for whatever reason.
func retransmits(st kcp.Stats) uint64 {
	return st.FastRetransmits + st.EarlyRetransmits + st.TimeoutRetransmits
}
