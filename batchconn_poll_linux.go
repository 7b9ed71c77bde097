// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pollEvents is how many sockets a call reports at most.
const pollEvents = 64

// A pollSet reports which of many sockets can be read. It is an epoll set, whose descriptor waits
// in the runtime's poller like a socket. Sockets are reported as long as they can be read. One
// goroutine may wait; the other methods may be called concurrently.
type pollSet struct {
	file   *os.File
	raw    syscall.RawConn
	events [pollEvents]unix.EpollEvent
	n      int
	err    error
	look   func(fd uintptr) bool // a method value made once
}

func newPollSet() (*pollSet, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &pollSet{file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // an error unless the runtime's poller has it
	}
	if err != nil {
		p.file.Close()
		return nil, err
	}
	p.look = p.lookNow
	return p, nil
}

// add makes the set report conn by key.
func (p *pollSet) add(conn net.PacketConn, key uint64) error {
	err := p.control(conn, unix.EPOLL_CTL_ADD, pollEvent(unix.EPOLLIN, key))
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// awaitEdge makes the set report conn, which it holds, once more if it can be read, and from then
// on only when something arrives.
func (p *pollSet) awaitEdge(conn net.PacketConn, key uint64) error {
	return p.control(conn, unix.EPOLL_CTL_MOD, pollEvent(unix.EPOLLIN|unix.EPOLLET, key))
}

func pollEvent(events uint32, key uint64) *unix.EpollEvent {
	return &unix.EpollEvent{Events: events, Fd: int32(uint32(key)), Pad: int32(uint32(key >> 32))}
}

// remove takes conn out of the set. It fails on a closed socket, which the set does not hold.
func (p *pollSet) remove(conn net.PacketConn) error {
	return p.control(conn, unix.EPOLL_CTL_DEL, nil)
}

func (p *pollSet) control(conn net.PacketConn, op int, event *unix.EpollEvent) error {
	return controlSocket(conn, func(fd uintptr) error {
		var failed error
		err := p.raw.Control(func(set uintptr) {
			failed = unix.EpollCtl(int(set), op, int(fd), event)
		})
		if err != nil {
			return err
		}
		return os.NewSyscallError("epoll_ctl", failed)
	})
}

// wait waits until sockets can be read and returns their keys in keys[:n]. Its only error is that
// of a closed set.
func (p *pollSet) wait(keys *[pollEvents]uint64) (n int, err error) {
	if err := p.raw.Read(p.look); err != nil {
		return 0, err
	}
	if p.err != nil {
		return 0, os.NewSyscallError("epoll_wait", p.err)
	}
	for i, e := range p.events[:p.n] {
		keys[i] = uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd))
	}
	return p.n, nil
}

func (p *pollSet) lookNow(fd uintptr) bool {
	for {
		p.n, p.err = unix.EpollWait(int(fd), p.events[:], 0)
		if p.err != unix.EINTR {
			return p.n != 0
		}
	}
}

// close ends a wait.
func (p *pollSet) close() { p.file.Close() }
