// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawBatch is how many datagrams the loop takes and sends at most in a system call.
const rawBatch = 64

// rawServer sends every datagram back where it came from: one goroutine, one recvmmsg and one
// sendmmsg for all that has arrived.
type rawServer struct {
	conn     *net.UDPConn
	messages atomic.Int64

	headers [rawBatch]mmsghdr
	vectors [rawBatch]unix.Iovec
	names   [rawBatch]unix.RawSockaddrInet4
	buffers [rawBatch][2048]byte
}

// mmsghdr is struct mmsghdr, recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

func newRawServer() (*rawServer, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(4 << 20) // any size that the system grants is enough
	_ = conn.SetWriteBuffer(4 << 20)
	s := &rawServer{conn: conn}
	for i := range s.headers {
		h := &s.headers[i].header
		s.vectors[i].Base = &s.buffers[i][0]
		h.Iov, h.Name = &s.vectors[i], (*byte)(unsafe.Pointer(&s.names[i]))
		h.SetIovlen(1)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	go s.run(raw)
	return s, nil
}

func (s *rawServer) run(raw syscall.RawConn) {
	n := 0
	receive := func(fd uintptr) bool {
		for i := range s.headers {
			s.vectors[i].SetLen(len(s.buffers[i]))
			s.headers[i].header.Namelen = unix.SizeofSockaddrInet4
		}
		n = s.call(unix.SYS_RECVMMSG, fd, s.headers[:])
		return n > 0
	}
	send := func(fd uintptr) bool {
		for done := 0; done < n; {
			sent := s.call(unix.SYS_SENDMMSG, fd, s.headers[done:n])
			done += max(sent, 1) // a refused datagram is lost
		}
		return true
	}
	for raw.Read(receive) == nil {
		for i := range n {
			s.vectors[i].SetLen(int(s.headers[i].length))
		}
		if raw.Write(send) != nil {
			return
		}
		s.messages.Add(int64(n))
	}
}

func (s *rawServer) call(trap, fd uintptr, headers []mmsghdr) int {
	n, _, errno := unix.Syscall6(trap, fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (s *rawServer) command(name string, st *status) error {
	if name != "status" {
		return fmt.Errorf("unknown command %q", name)
	}
	st.Addr, st.Messages = s.conn.LocalAddr().String(), s.messages.Load()
	return nil
}
