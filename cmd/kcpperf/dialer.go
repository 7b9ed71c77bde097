// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"net"

	"github.com/seedkcp/kcp"
)

// dialer makes sessions to the server of a test.
type dialer interface {
	dial(ctx context.Context, c *kcp.Config) (*kcp.UDPSession, error)
	// query asks whether the server is there, until ctx is done.
	query(ctx context.Context) presence
	// close ends what the sessions shared.
	close()
}

// udpDialer dials over the system's network, a socket for each session or a few for all.
type udpDialer struct {
	addr   string
	buffer int // of each socket in bytes, 0: the library's choice
	shared bool
}

func (d *udpDialer) dial(ctx context.Context, c *kcp.Config) (*kcp.UDPSession, error) {
	own := *c
	own.SharedSocket = d.shared
	sess, err := own.Dial(ctx, d.addr)
	if err != nil {
		return nil, err
	}
	if err := setBuffers(sess, d.buffer); err != nil {
		abort(sess)
		return nil, err
	}
	return sess, nil
}

func (d *udpDialer) query(ctx context.Context) presence { return query(ctx, d.addr) }
func (d *udpDialer) close()                             {}

// sharedDialer dials over one socket for all sessions.
type sharedDialer struct {
	addr      string
	to        net.Addr
	transport *kcp.Transport
}

func newSharedDialer(ctx context.Context, addr string, block kcp.BlockCrypt, buffer int) (*sharedDialer, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	local := "[::]:0"
	if to.IP.To4() != nil || to.IP == nil {
		local = "0.0.0.0:0"
	}
	t, err := baseConfig(block).OpenTransport(ctx, local)
	if err != nil {
		return nil, err
	}
	if err := setBuffers(t, buffer); err != nil {
		_ = t.Close()
		return nil, err
	}
	return &sharedDialer{addr, to, t}, nil
}

func (d *sharedDialer) dial(ctx context.Context, c *kcp.Config) (*kcp.UDPSession, error) {
	return d.transport.Dial(ctx, d.to, c)
}

func (d *sharedDialer) query(ctx context.Context) presence { return query(ctx, d.addr) }
func (d *sharedDialer) close()                             { _ = d.transport.Close() }

// buffered is what has socket buffers to set.
type buffered interface {
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

func setBuffers(c buffered, bytes int) error {
	if bytes == 0 {
		return nil
	}
	return errors.Join(c.SetReadBuffer(bytes), c.SetWriteBuffer(bytes))
}
