// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
)

// ownClient opens sessions to one server: one for each connection and each flow of datagrams, all
// of them over one socket. All methods may be called concurrently.
type ownClient struct {
	log    *slog.Logger
	meters *meters
	open   func(ctx context.Context) (*kcp.Transport, error)

	mu        sync.Mutex // guards what follows
	state     clientState
	transport *kcp.Transport // nil until it is needed
	live      clientSettings
	server    *net.UDPAddr // of the last resolution
	resolved  time.Time
}

type clientState uint8

const (
	clientOpen clientState = iota
	clientClosed
)

// clientSettings are the settings of an ownClient that can change while it runs.
type clientSettings struct {
	remote      ports
	config      kcp.Config // of sessions; its BlockCrypt and Scheduler do not change
	rateLimit   uint32
	compression compression
}

// resolvedFor is how long the addresses of the server's name are used before the DNS is asked
// again.
const resolvedFor = 30 * time.Second

func newOwnClient(o *ownOptions, log *slog.Logger, m *meters) *ownClient {
	c := &ownClient{log: log, meters: m, live: o.client()}
	c.open = func(ctx context.Context) (*kcp.Transport, error) {
		t, err := o.config.OpenTransport(ctx, ":0")
		if err != nil {
			return nil, err
		}
		o.settings.applyToSocket(t, log)
		return t, nil
	}
	return c
}

// change makes further sessions use the settings.
func (c *ownClient) change(s clientSettings) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = s
	c.server = nil
}

// dialStream opens a connection. It sends the request and does not wait for the answer: the first
// Read, or the answer's wait, does.
func (c *ownClient) dialStream(ctx context.Context, r request) (*ownStream, error) {
	settings := c.settings()
	r.compression = settings.compression
	sess, err := c.session(ctx, &settings, &r)
	if err != nil {
		return nil, err
	}
	return newOwnStream(sess, r.compression, newAnswer(sess), c.meters)
}

func (c *ownClient) settings() clientSettings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// session opens a session with the request.
func (c *ownClient) session(
	ctx context.Context, s *clientSettings, r *request,
) (*kcp.UDPSession, error) {
	server, err := c.serverAddr(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	config := s.config
	config.StreamMode = !r.kind.isUDP()
	var sess *kcp.UDPSession
	for range 2 {
		t, err := c.socket(ctx)
		if err != nil {
			return nil, err
		}
		if sess, err = t.Dial(ctx, server, &config); err == nil {
			break
		}
		if !errors.Is(err, net.ErrClosed) || !c.drop(t) {
			return nil, err
		}
	}
	if sess == nil {
		return nil, net.ErrClosed
	}
	sess.SetRateLimit(s.rateLimit)
	if _, err := sess.Write(r.append(nil)); err != nil {
		sess.SetLinger(0)
		_ = sess.Close()
		return nil, err
	}
	return sess, nil
}

// serverAddr returns the address of the server, with one of its ports.
func (c *ownClient) serverAddr(ctx context.Context, s *clientSettings) (*net.UDPAddr, error) {
	c.mu.Lock()
	server, known := c.server, c.server != nil && time.Since(c.resolved) < resolvedFor
	c.mu.Unlock()
	if !known {
		// Only the host is used: the port is chosen below.
		found, err := resolveUDP(ctx, s.remote)
		switch {
		case err == nil:
			server = found
		case server == nil:
			return nil, err
		default:
			c.log.Warn("name of the server", "error", err, "using", server)
		}
		c.mu.Lock()
		c.server, c.resolved = server, time.Now()
		c.mu.Unlock()
	}
	addr := *server
	addr.Port = s.remote.pickPort()
	return &addr, nil
}

func resolveUDP(ctx context.Context, r ports) (*net.UDPAddr, error) {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", r.host)
	if err != nil {
		return nil, err
	}
	// The resolver sorts by RFC 6724: the first address is the one to use.
	ip := ips[0].Unmap()
	return &net.UDPAddr{IP: ip.AsSlice(), Zone: ip.Zone()}, nil
}

// socket returns the Transport, which it opens if there is none.
func (c *ownClient) socket(ctx context.Context) (*kcp.Transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == clientClosed {
		return nil, net.ErrClosed
	}
	if c.transport == nil {
		t, err := c.open(ctx)
		if err != nil {
			return nil, err
		}
		c.transport = t
	}
	return c.transport, nil
}

// drop makes the next session open another socket than t, which is lost. It reports false if the
// client was closed.
func (c *ownClient) drop(t *kcp.Transport) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport == t {
		c.transport = nil
	}
	return c.state == clientOpen
}

// sessions yields the open sessions.
func (c *ownClient) sessions(yield func(*kcp.UDPSession) bool) {
	c.mu.Lock()
	t := c.transport
	c.mu.Unlock()
	if t != nil {
		t.Sessions()(yield)
	}
}

// Close ends dialling. The sessions live on; the socket closes with the last of them.
func (c *ownClient) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == clientClosed {
		return net.ErrClosed
	}
	c.state = clientClosed
	if c.transport == nil {
		return nil
	}
	return c.transport.Close()
}
