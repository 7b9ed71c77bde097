// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// pollCounted is a socket that counts how often a worker reads it.
type pollCounted struct {
	batchConn
	reads atomic.Int32
}

func (c *pollCounted) readReady(p []received) (int, error) {
	c.reads.Add(1)
	return c.batchConn.readReady(p)
}

// pollDialCounted dials l over a socket that counts.
func pollDialCounted(t *testing.T, l *Listener) (*UDPSession, *pollCounted) {
	t.Helper()
	c := new(pollCounted)
	s := pollDialOver(t, l, func(conn batchConn) batchConn {
		c.batchConn = conn
		return c
	})
	return s, c
}

// An event that lasts although there is nothing to read does not keep a worker busy, and what
// arrives later is read.
func TestLastingEventCostsNoProcessorTime(t *testing.T) {
	for name, cause := range map[string]func(fd int) error{
		"a message in the error queue": func(fd int) error {
			closed := batchSocket(t, "127.0.0.1:0")
			nobody := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
			nobody.Port = int(batchAddr(closed).Port())
			closed.Close()
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1); err != nil {
				return err
			}
			return unix.Sendto(fd, []byte("x"), 0, nobody)
		},
		"the end of reading": func(fd int) error {
			_ = unix.Shutdown(fd, unix.SHUT_RD) // takes effect, and reports an error
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := echoListener(t, listenLoopback(t, nil))
			s, conn := pollDialCounted(t, l)
			pollEcho(t, s)
			err := s.Control(func(c net.PacketConn) error {
				return controlSocket(c, func(fd uintptr) error { return cause(int(fd)) })
			})
			if err != nil {
				t.Fatal(err)
			}
			other := pollDial(t, l, 1)[0]
			before := conn.reads.Load()
			for range 200 {
				pollEcho(t, other)
			}
			if n := conn.reads.Load() - before; n > 50 {
				t.Errorf("%d reads of a socket at which nothing arrives", n)
			}
			sent := bytes.Repeat([]byte("a message of many"), 8<<10)
			go func() { _, _ = s.Write(sent) }()
			got := make([]byte, len(sent))
			if n, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d of %d bytes came back, error %v", n, len(sent), err)
			}
		})
	}
}
