// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

// nettestCases returns the configurations that are held to the rules of net.Conn.
func nettestCases(t *testing.T) map[string]Config {
	key := []byte("0123456789abcdef")
	cfb, err := NewAESBlockCrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := NewAESGCMCrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	layers := map[string]Config{
		"plain":    {},
		"aes-cfb":  {BlockCrypt: cfb},
		"aes-gcm":  {BlockCrypt: gcm},
		"fec-10-3": {DataShards: 10, ParityShards: 3},
	}
	cases := make(map[string]Config)
	for name, c := range layers {
		c.NoDelay, c.FastResend, c.NoCongestionControl = true, 2, true
		cases[name+" message"] = c
		c.StreamMode = true
		cases[name+" stream"] = c
	}
	return cases
}

// nettestPipe joins two ends. A listener has a session once its first data arrives, so one byte is
// sent first.
func nettestPipe(l *Listener,
	dial func() (*UDPSession, error)) (c1, c2 net.Conn, stop func(), err error) {
	client, err := dial()
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err = client.Write([]byte{1}); err != nil {
		return nil, nil, nil, err
	}
	server, err := l.AcceptKCP()
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err = io.ReadFull(server, make([]byte, 1)); err != nil {
		return nil, nil, nil, err
	}
	return client, server, func() {
		client.Close()
		server.Close()
		l.Close()
	}, nil
}

func TestSessionKeepsTheRulesOfNetConn(t *testing.T) {
	connCheckLeaks(t) // once: a session over UDP stays for a few seconds after Close
	for name, c := range nettestCases(t) {
		t.Run("udp "+name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				l, err := c.Listen(t.Context(), "127.0.0.1:0")
				if err != nil {
					return nil, nil, nil, err
				}
				return nettestPipe(l, func() (*UDPSession, error) {
					return c.Dial(context.Background(), l.Addr().String())
				})
			})
		})
		t.Run("custom "+name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				a, b := newMemPipe()
				l, err := c.Serve(b)
				if err != nil {
					return nil, nil, nil, err
				}
				return nettestPipe(l, func() (*UDPSession, error) {
					return c.Client(a, b.LocalAddr())
				})
			})
		})
	}
}

// The default configuration keeps the rules too.
func TestDefaultSessionKeepsTheRulesOfNetConn(t *testing.T) {
	connCheckLeaks(t)
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		l, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
		if err != nil {
			return nil, nil, nil, err
		}
		return nettestPipe(l, func() (*UDPSession, error) {
			return DialWithOptions(fmt.Sprint(l.Addr()), nil, 0, 0)
		})
	})
}
