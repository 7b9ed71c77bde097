// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// rawBatch is how many datagrams a batch has: what fits one UDP_SEGMENT
// message, whose sum is at most 65507 bytes.
const rawBatch = 46

// rawKind is one way to hand datagrams to the kernel. Nothing is acknowledged
// or repeated: a credit in memory, which costs the receiver no packets, keeps
// the sender from flooding the socket.
type rawKind struct {
	name string
	// sender returns a function that sends whole datagrams, at most
	// rawBatch of them, that stand one behind the other.
	sender func(*net.UDPConn) (func([]byte) error, error)
	// receiver returns a function that waits for datagrams and calls got
	// with one or several that stand one behind the other.
	receiver func(*net.UDPConn) (func(got func([]byte)) error, error)
	batch    int // datagrams
}

// rawPlain is what any program does: a system call for each datagram.
var rawPlain = rawKind{name: "raw UDP", batch: 1,
	sender: func(c *net.UDPConn) (func([]byte) error, error) {
		return func(b []byte) error {
			_, err := c.Write(b)
			return err
		}, nil
	},
	receiver: func(c *net.UDPConn) (func(func([]byte)) error, error) {
		buf := make([]byte, 64<<10)
		return func(got func([]byte)) error {
			n, _, err := c.ReadFromUDPAddrPort(buf)
			if err == nil {
				got(buf[:n])
			}
			return err
		}, nil
	},
}

// rawPair returns a connected socket and the one it sends to.
func rawPair() (client, server *net.UDPConn, err error) {
	server, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	client, err = net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		server.Close()
		return nil, nil, err
	}
	// As much as the system grants: receiveRoom asks for the outcome.
	for _, c := range []*net.UDPConn{client, server} {
		c.SetReadBuffer(4 << 20)
		c.SetWriteBuffer(4 << 20)
	}
	return client, server, nil
}

func (k rawKind) transfer(window int) func() (*transfer, error) {
	return func() (*transfer, error) {
		client, server, err := rawPair()
		if err != nil {
			return nil, err
		}
		closeBoth := sync.OnceFunc(func() {
			client.Close()
			server.Close()
		})
		send, err := k.sender(client)
		if err != nil {
			closeBoth()
			return nil, err
		}
		receive, err := k.receiver(server)
		if err != nil {
			closeBoth()
			return nil, err
		}
		var moved atomic.Int64
		c := newCredit(min(window, max(receiveRoom(server), 2*rawBatch)))
		t := &transfer{moved: moved.Load, failed: make(chan error, 2)}
		ended := make(chan struct{}, 2)
		run := func(loop func() error) {
			t.failed <- loop()
			ended <- struct{}{}
		}
		go run(func() error { return rawSend(c, k.batch, send) })
		go run(func() error {
			for {
				if err := receive(func(b []byte) { rawTake(c, &moved, b) }); err != nil {
					return err
				}
			}
		})
		t.stop = func() error {
			closeBoth()
			c.stop()
			return awaitEnd(ended, 2)
		}
		return t, nil
	}
}

// rawSend sends numbered datagrams as the credit allows.
func rawSend(c *credit, batch int, send func([]byte) error) error {
	arena := make([]byte, batch*datagramSize)
	for {
		first, err := c.take(uint64(batch))
		if err != nil {
			return err
		}
		for i := range batch {
			binary.LittleEndian.PutUint64(arena[i*datagramSize:], first+uint64(i))
		}
		if err := send(arena); err != nil {
			return err
		}
	}
}

// rawTake counts datagrams that have arrived.
func rawTake(c *credit, moved *atomic.Int64, b []byte) {
	if len(b) == 0 || len(b)%datagramSize != 0 {
		return // of somebody else
	}
	moved.Add(int64(len(b)))
	c.give(binary.LittleEndian.Uint64(b[len(b)-datagramSize:]) + 1)
}

// datagrams is one end of an echo over plain datagrams: what is written is cut
// into full ones, and a Read returns one.
type datagrams struct {
	conn *net.UDPConn
	peer netip.AddrPort // of an unconnected socket: where the last one came from
}

func (d *datagrams) Read(p []byte) (n int, err error) {
	n, d.peer, err = d.conn.ReadFromUDPAddrPort(p)
	return n, err
}

func (d *datagrams) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		b := p[n:min(n+datagramSize, len(p))]
		if d.conn.RemoteAddr() != nil {
			m, err = d.conn.Write(b)
		} else {
			m, err = d.conn.WriteToUDPAddrPort(b, d.peer)
		}
		n += m
	}
	return n, err
}

func openRawEcho() (*streams, error) {
	client, server, err := rawPair()
	if err != nil {
		return nil, err
	}
	return &streams{client: &datagrams{conn: client}, server: &datagrams{conn: server}, close: sync.OnceFunc(func() {
		client.Close()
		server.Close()
	})}, nil
}

var errStopped = errors.New("stopped")
