// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

// serverSettings go to the server's process.
type serverSettings struct {
	Sockets int
	Cipher  bool
}

func (s *settings) role() string {
	b, _ := json.Marshal(serverSettings{s.sockets, s.cipher}) // it cannot fail
	return "kcp " + string(b)
}

// config is what both sides use: messages, the defaults, and timeouts that a busy machine does not
// run into.
func config(cipher bool) (*kcp.Config, error) {
	c := &kcp.Config{AcceptBacklog: 4096, SendWindow: 64, ReceiveWindow: 64}
	var err error
	if cipher {
		c.BlockCrypt, err = kcp.NewAESGCMCrypt(make([]byte, 16))
	}
	return c, err
}

// The first byte of a session's first message is its role.
const (
	roleIdle   = 0 // echoed once, and no longer read
	roleActive = 1 // likewise, and read again on the command "activate"
	roleEcho   = 2 // echoed until it ends
	roleOnce   = 3 // echoed once, and closed when the peer does
	roleSink   = 4 // not echoed: all is taken and counted
	roleReady  = 5 // echoed until it ends, by a few goroutines for all sessions
)

// kcpServer echoes. A few goroutines serve all idle sessions, so that the measurement shows the
// library's memory.
type kcpServer struct {
	l        *kcp.Listener
	messages atomic.Int64
	bytes    atomic.Int64

	mu     sync.Mutex // guards active
	active []*kcp.UDPSession

	echoing sync.WaitGroup
	ready   kcp.ReadyQueue[struct{}]
}

const acceptors = 8

func newKCPServer(args string) (*kcpServer, error) {
	var o serverSettings
	if err := json.Unmarshal([]byte(args), &o); err != nil {
		return nil, err
	}
	c, err := config(o.Cipher)
	if err != nil {
		return nil, err
	}
	c.Sockets = o.Sockets
	s := new(kcpServer)
	if s.l, err = c.Listen(context.Background(), "127.0.0.1:0"); err != nil {
		return nil, err
	}
	for range acceptors {
		go s.accept()
	}
	for range runtime.GOMAXPROCS(0) {
		go s.echoReady()
	}
	return s, nil
}

func (s *kcpServer) accept() {
	buf := make([]byte, 2048)
	for {
		conn, err := s.l.AcceptKCP()
		if err != nil {
			return
		}
		n, err := conn.Read(buf)
		if err != nil || n == 0 {
			conn.Close()
			continue
		}
		role := buf[0]
		if role == roleSink {
			go s.sink(conn)
			continue
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			conn.Close()
			continue
		}
		s.messages.Add(1)
		switch role {
		case roleActive:
			s.mu.Lock()
			s.active = append(s.active, conn)
			s.mu.Unlock()
		case roleEcho:
			go s.echo(conn)
		case roleReady:
			if s.ready.Add(conn, struct{}{}) != nil {
				conn.Close()
			}
		case roleOnce:
			go s.awaitEnd(conn)
		}
	}
}

// echo sends back what comes until the session ends or its deadline passes.
func (s *kcpServer) echo(conn *kcp.UDPSession) {
	var buf [256]byte
	for {
		n, err := conn.Read(buf[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err == nil {
			_, err = conn.Write(buf[:n])
		}
		if err != nil {
			conn.Close()
			return
		}
		s.messages.Add(1)
	}
}

// echoReady does so for all sessions that can be read.
func (s *kcpServer) echoReady() {
	var buf [256]byte
	for conn := range s.ready.Ready(context.Background()) {
		n, err := conn.Read(buf[:])
		if err == nil {
			_, err = conn.Write(buf[:n])
		}
		if err != nil {
			conn.Close()
			continue
		}
		s.messages.Add(1)
	}
}

// sink takes all that comes.
func (s *kcpServer) sink(conn *kcp.UDPSession) {
	conn.SetStreamMode(true)
	conn.SetWindowSize(512, 512)
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			conn.Close()
			return
		}
		s.bytes.Add(int64(n))
	}
}

func (s *kcpServer) awaitEnd(conn *kcp.UDPSession) {
	var buf [16]byte
	for _, err := conn.Read(buf[:]); err == nil; _, err = conn.Read(buf[:]) {
	}
	conn.Close()
}

func (s *kcpServer) command(name string, st *status) error {
	st.Addr = s.l.Addr().String()
	switch name {
	case "status":
	case "activate":
		for _, conn := range s.takeActive(false) {
			_ = conn.SetReadDeadline(time.Time{})
			s.echoing.Go(func() { s.echo(conn) })
		}
	case "deactivate":
		for _, conn := range s.takeActive(true) {
			_ = conn.SetReadDeadline(time.Unix(1, 0))
		}
		s.echoing.Wait()
	case "close":
		for conn := range s.l.Sessions() {
			conn.Close()
		}
	case "abort":
		for conn := range s.l.Sessions() {
			conn.SetLinger(0)
			conn.Close()
		}
	case "profile", "profiled", "heap":
		if err := profileCommand(name, "server"); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown command %q", name)
	}
	st.Sessions = s.l.Stats().Sessions
	st.Resent = kcp.DefaultSnmp.Copy().RetransSegs
	st.Messages, st.Bytes = s.messages.Load(), s.bytes.Load()
	return nil
}

func (s *kcpServer) takeActive(forget bool) []*kcp.UDPSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	active := s.active
	if forget {
		s.active = nil
	}
	return active
}
