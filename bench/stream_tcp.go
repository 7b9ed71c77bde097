// SPDX-License-Identifier: MIT

package main

import (
	"net"
	"sync"
)

// openTCP connects two ends over the kernel's TCP with its default settings
// and, as Go has it, without Nagle's algorithm.
func openTCP(p path) (*streams, error) {
	l, err := net.Listen("tcp4", p.address())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	// The kernel completes the handshake before anyone accepts.
	client, err := net.Dial("tcp4", p.to(l.Addr()))
	if err != nil {
		return nil, err
	}
	server, err := l.Accept()
	if err != nil {
		client.Close()
		return nil, err
	}
	return &streams{client: client, server: server, close: sync.OnceFunc(func() {
		client.Close()
		server.Close()
	})}, nil
}
