// SPDX-License-Identifier: MIT

package main

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// relay passes datagrams between one client and a server, and loses one in twenty of them.
type relay struct {
	front, back *net.UDPConn // towards the client and towards the server
	client      atomic.Pointer[net.UDPAddr]
	all         sync.WaitGroup
}

func newRelay(server string) (*relay, error) {
	to, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		return nil, err
	}
	r := new(relay)
	if r.front, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, err
	}
	if r.back, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, err
	}
	_ = r.front.SetReadBuffer(4 << 20)
	_ = r.back.SetReadBuffer(4 << 20)
	r.all.Go(func() {
		pass(r.front, 1, func(b []byte, from *net.UDPAddr) {
			r.client.Store(from)
			_, _ = r.back.WriteToUDP(b, to)
		})
	})
	r.all.Go(func() {
		pass(r.back, 2, func(b []byte, _ *net.UDPAddr) {
			if client := r.client.Load(); client != nil {
				_, _ = r.front.WriteToUDP(b, client)
			}
		})
	})
	return r, nil
}

// pass hands what arrives at conn to send, until conn is closed.
func pass(conn *net.UDPConn, seed uint64, send func(b []byte, from *net.UDPAddr)) {
	random := rand.New(rand.NewPCG(seed, seed))
	b := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFromUDP(b)
		if err != nil {
			return
		}
		if random.IntN(20) > 0 {
			send(b[:n], from)
		}
	}
}

func (r *relay) addr() string { return r.front.LocalAddr().String() }

func (r *relay) close() {
	r.front.Close()
	r.back.Close()
	r.all.Wait()
}
