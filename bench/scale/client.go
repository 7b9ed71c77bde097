// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

// clients dial over a few shared sockets.
type clients struct {
	transports []*kcp.Transport
	server     net.Addr
	next       atomic.Uint64
}

func newClients(s *settings, server string) (*clients, error) {
	c := new(clients)
	conf, err := config(s.cipher)
	if err != nil {
		return nil, err
	}
	if c.server, err = net.ResolveUDPAddr("udp", server); err != nil {
		return nil, err
	}
	for range s.clients {
		t, err := conf.OpenTransport(context.Background(), "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.transports = append(c.transports, t)
	}
	return c, nil
}

// open makes a session and has its first message, which begins with role, echoed.
func (c *clients) open(role byte, message []byte) (*kcp.UDPSession, error) {
	t := c.transports[c.next.Add(1)%uint64(len(c.transports))]
	s, err := t.Dial(context.Background(), c.server, nil)
	if err != nil {
		return nil, err
	}
	message[0] = role
	if err := echo(s, message); err != nil {
		s.SetLinger(0)
		s.Close()
		return nil, err
	}
	return s, nil
}

// echoPatience is how long an answer may take.
const echoPatience = 30 * time.Second

// echo sends a message and reads it back in time.
func echo(s *kcp.UDPSession, message []byte) error {
	if err := s.SetReadDeadline(time.Now().Add(echoPatience)); err != nil {
		return err
	}
	if err := echoOnce(s, message); err != nil {
		return err
	}
	return s.SetReadDeadline(time.Time{})
}

// echoOnce sends a message and reads it back.
func echoOnce(s *kcp.UDPSession, message []byte) error {
	if _, err := s.Write(message); err != nil {
		return err
	}
	var buf [1500]byte
	n, err := s.Read(buf[:])
	if err != nil {
		return err
	}
	if n != len(message) {
		return fmt.Errorf("%d bytes came back, want %d", n, len(message))
	}
	return nil
}

// openAll opens n sessions, parallel at a time. role returns the role of each.
func (c *clients) openAll(n, parallel, size int, role func(i int) byte) ([]*kcp.UDPSession, error) {
	sessions := make([]*kcp.UDPSession, n)
	return sessions, inParallel(n, parallel, func() func(i int) error {
		message := make([]byte, size)
		return func(i int) (err error) {
			sessions[i], err = c.open(role(i), message)
			return err
		}
	})
}

// inParallel calls a function for each of n numbers on several goroutines, each of which makes its
// own, up to the first error.
func inParallel(n, parallel int, newCall func() func(i int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		group  sync.WaitGroup
	)
	for range parallel {
		group.Go(func() {
			call := newCall()
			for i := next.Add(1) - 1; i < int64(n) && failed.Load() == nil; i = next.Add(1) - 1 {
				if err := call(int(i)); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// sessions counts those that have not ended.
func (c *clients) sessions() (n int) {
	for _, t := range c.transports {
		for range t.Sessions() {
			n++
		}
	}
	return n
}

// close aborts all sessions and closes the sockets.
func (c *clients) close() error {
	var errs []error
	for _, t := range c.transports {
		for s := range t.Sessions() {
			s.SetLinger(0)
			s.Close()
		}
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}
