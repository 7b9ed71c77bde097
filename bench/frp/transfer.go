// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/seedkcp/kcp"
)

// contender is one way to move a stream of bytes.
type contender struct {
	name string
	open func() (*pair, error)
	mux  bool // streams of a multiplexer
	up   bool // from the dialling side
	tls  bool // below the multiplexer
}

var contenders = []contender{
	{name: "frp's settings, download", open: kcpPair(frpConfig, frpTune), mux: true},
	{name: "frp's settings, upload", open: kcpPair(frpConfig, frpTune), mux: true, up: true},
	{name: "frp's settings and TLS, download",
		open: kcpPair(frpConfig, frpTune), mux: true, tls: true},
	{name: "the settings without multiplexer", open: kcpPair(frpConfig, frpTune)},
	{name: "multiplexer, fast settings", open: kcpPair(fastConfig, nil), mux: true},
	{name: "plain bulk, fast settings", open: kcpPair(fastConfig, nil)},
	{name: "multiplexer over kernel TCP", open: tcpPair, mux: true},
}

// frpConfig is what frp passes when it listens and dials, and fastConfig what a fast link has.
var (
	frpConfig  = kcp.Config{DataShards: 10, ParityShards: 3}
	fastConfig = kcp.Config{
		StreamMode: true, SendWindow: 1024, ReceiveWindow: 1024,
		NoDelay: true, FastResend: 2, NoCongestionControl: true,
	}
)

// frpTune is what frp calls on each session.
func frpTune(s *kcp.UDPSession) {
	s.SetStreamMode(true)
	s.SetWriteDelay(true)
	s.SetNoDelay(1, 20, 2, 1)
	s.SetMtu(1350)
	s.SetWindowSize(128, 512)
	s.SetACKNoDelay(false)
}

// pair is a connection. close ends both ends without waiting for data under way.
type pair struct {
	client, server net.Conn
	close          func()
}

// kcpPair opens sessions over loopback.
func kcpPair(config kcp.Config, tune func(*kcp.UDPSession)) func() (*pair, error) {
	return func() (*pair, error) {
		l, err := config.Listen(context.Background(), "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		client, err := config.Dial(context.Background(), l.Addr().String())
		if err != nil {
			return nil, err
		}
		if tune != nil {
			tune(client)
		}
		server, err := meet(client, func() (net.Conn, error) {
			s, err := l.AcceptKCP()
			if err == nil && tune != nil {
				tune(s)
			}
			return s, err
		})
		if err != nil {
			return nil, errors.Join(err, client.Close())
		}
		return &pair{client, server, func() {
			for _, s := range []net.Conn{client, server} {
				s.(*kcp.UDPSession).SetLinger(0)
				s.Close()
			}
		}}, nil
	}
}

func tcpPair() (*pair, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	server, err := meet(client, l.Accept)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &pair{client, server, func() {
		client.Close()
		server.Close()
	}}, nil
}

// meet sends a byte, with which a session opens, and returns what accept does.
func meet(client net.Conn, accept func() (net.Conn, error)) (net.Conn, error) {
	if _, err := client.Write([]byte{1}); err != nil {
		return nil, err
	}
	server, err := accept()
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(server, make([]byte, 1))
	return server, err
}

// streams opens one stream of a multiplexer over p, from the client.
func (p *pair) streams() (client, server net.Conn, err error) {
	config := yamux.DefaultConfig() // its MaxStreamWindowSize is 256 KiB
	config.LogOutput = io.Discard
	cm, err := yamux.Client(p.client, config)
	if err != nil {
		return nil, nil, err
	}
	sm, err := yamux.Server(p.server, config)
	if err != nil {
		return nil, nil, err
	}
	if client, err = cm.Open(); err != nil {
		return nil, nil, err
	}
	server, err = meet(client, sm.Accept)
	return client, server, err
}

// measure returns how many megabytes a second arrive, if chunk bytes are written at a time.
func (c *contender) measure(d time.Duration, chunk int) (rate float64, err error) {
	p, err := c.open()
	if err != nil {
		return 0, err
	}
	var moved atomic.Int64
	ended := make(chan struct{}, 2)
	running := 0
	defer func() {
		p.close()
		for range running {
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				err = errors.Join(err, errors.New("does not stop"))
			}
		}
	}()
	if c.tls {
		if err := p.encrypt(); err != nil {
			return 0, err
		}
	}
	to, from := p.client, p.server
	if c.mux {
		if to, from, err = p.streams(); err != nil {
			return 0, err
		}
	}
	if c.up {
		to, from = from, to
	}
	pump := func(step func([]byte) (int, error), count *atomic.Int64) {
		defer func() { ended <- struct{}{} }()
		b := make([]byte, chunk)
		for n, err := step(b); err == nil; n, err = step(b) {
			count.Add(int64(n))
		}
	}
	go pump(from.Write, new(atomic.Int64))
	go pump(to.Read, &moved)
	running = 2
	time.Sleep(max(d/4, 20*time.Millisecond))
	begin, before := time.Now(), moved.Load()
	time.Sleep(d)
	got := moved.Load() - before
	if got == 0 {
		return 0, errors.New("nothing arrived")
	}
	return float64(got) / 1e6 / time.Since(begin).Seconds(), nil
}
