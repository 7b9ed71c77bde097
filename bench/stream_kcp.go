// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
)

// kcpKind is one way to protect packets.
type kcpKind struct {
	name         string
	crypt        func() (kcp.BlockCrypt, error)
	data, parity int
	discovery    kcp.MTUDiscovery // "": off
}

var kcpKinds = []kcpKind{
	{name: kcpPlain, crypt: plain},
	{name: kcpGCM, crypt: func() (kcp.BlockCrypt, error) { return kcp.NewAESGCMCrypt(make([]byte, 16)) }},
	{name: "kcp AES-128-CFB", crypt: func() (kcp.BlockCrypt, error) { return kcp.NewAESBlockCrypt(make([]byte, 16)) }},
	{name: "kcp Salsa20 + FEC 10/3", data: 10, parity: 3,
		crypt: func() (kcp.BlockCrypt, error) { return kcp.NewSalsa20BlockCrypt(make([]byte, 32)) }},
}

// kcpDiscovers searches for the path's MTU.
var kcpDiscovers = kcpKind{name: kcpPathMTU, crypt: plain, discovery: kcp.MTUDiscoveryOn}

const kcpPlain, kcpPathMTU, kcpGCM = "kcp", "kcp, path MTU", "kcp AES-128-GCM"

func plain() (kcp.BlockCrypt, error) { return nil, nil }

// config has the settings of a fast link, those of SetNoDelay(1, 10, 2, 1).
func (k kcpKind) config(window int) (*kcp.Config, error) {
	block, err := k.crypt()
	if err != nil {
		return nil, err
	}
	return &kcp.Config{
		BlockCrypt: block, DataShards: k.data, ParityShards: k.parity,
		MTU: datagramSize, MTUDiscovery: cmp.Or(k.discovery, kcp.MTUDiscoveryOff),
		SendWindow: window, ReceiveWindow: window, StreamMode: true,
		NoDelay: true, Interval: 10 * time.Millisecond, FastResend: 2, NoCongestionControl: true,
	}, nil
}

func (k kcpKind) opener(window int) func() (*streams, error) {
	return func() (*streams, error) {
		c, err := k.config(window)
		if err != nil {
			return nil, err
		}
		return openKCP(c, loopback)
	}
}

func openKCP(c *kcp.Config, p path) (_ *streams, err error) {
	l, err := c.Listen(context.Background(), p.address())
	if err != nil {
		return nil, err
	}
	ends := []*kcp.UDPSession{}
	closeAll := sync.OnceFunc(func() {
		abort(ends...)
		l.Close()
	})
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	client, err := c.Dial(context.Background(), p.to(l.Addr()))
	if err != nil {
		return nil, err
	}
	ends = append(ends, client)
	err = greet(client, func() (io.Reader, error) {
		if err := l.SetDeadline(time.Now().Add(stopLimit)); err != nil {
			return nil, err
		}
		server, err := l.AcceptKCP()
		if err == nil {
			ends = append(ends, server)
		}
		return server, err
	})
	if err != nil {
		return nil, err
	}
	if len(ends) != 2 {
		return nil, errors.New("no session accepted")
	}
	return &streams{client: client, server: ends[1], close: closeAll, resent: func() (float64, float64) {
		st := client.Stats()
		return float64(st.SegmentsSent), float64(st.FastRetransmits + st.EarlyRetransmits + st.TimeoutRetransmits)
	}}, nil
}

// abort closes sessions without delivering what they still hold.
func abort(sessions ...*kcp.UDPSession) {
	for _, s := range sessions {
		s.SetLinger(0)
		s.Close()
	}
}
