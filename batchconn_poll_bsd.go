// SPDX-License-Identifier: MIT

//go:build (darwin || dragonfly || freebsd || netbsd || openbsd) && !kcpbasic

package kcp

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// pollEvents is how many sockets a call reports at most.
const pollEvents = 64

// A pollSet reports which of many sockets can be read. It is a kqueue, in which a thread waits.
// Sockets are reported as long as they can be read. One goroutine may wait; the other methods may
// be called concurrently.
type pollSet struct {
	queue  int
	end    [2]int // a pipe: to close its second end ends the wait
	events [pollEvents]unix.Kevent_t

	mu     sync.Mutex     // guards what follows; a socket's descriptor is valid while it is held
	keys   map[int]uint64 // by descriptor
	closed sync.Once
}

func newPollSet() (*pollSet, error) {
	p := &pollSet{keys: make(map[int]uint64)}
	if err := unix.Pipe(p.end[:]); err != nil {
		return nil, os.NewSyscallError("pipe", err)
	}
	var err error
	if p.queue, err = unix.Kqueue(); err != nil {
		unix.Close(p.end[0])
		unix.Close(p.end[1])
		return nil, os.NewSyscallError("kqueue", err)
	}
	for _, fd := range []int{p.end[0], p.end[1], p.queue} {
		unix.CloseOnExec(fd)
	}
	if err := p.change(p.end[0], unix.EV_ADD); err != nil {
		p.close()
		p.release()
		return nil, err
	}
	return p, nil
}

// change changes what the queue reports of a descriptor.
func (p *pollSet) change(fd, flags int) error {
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], fd, unix.EVFILT_READ, flags)
	_, err := unix.Kevent(p.queue, change[:], nil, nil)
	return os.NewSyscallError("kevent", err)
}

// add makes the set report conn by key.
func (p *pollSet) add(conn net.PacketConn, key uint64) error {
	return controlSocket(conn, func(fd uintptr) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keys[int(fd)] = key
		return p.change(int(fd), unix.EV_ADD)
	})
}

// awaitEdge makes the set report conn, which it holds, once more if it can be read, and from then
// on only when something arrives.
func (p *pollSet) awaitEdge(conn net.PacketConn, _ uint64) error {
	return controlSocket(conn, func(fd uintptr) error {
		if err := p.change(int(fd), unix.EV_DELETE); err != nil {
			return err
		}
		return p.change(int(fd), unix.EV_ADD|unix.EV_CLEAR)
	})
}

// remove takes conn out of the set. It fails on a closed socket, which the set does not hold.
func (p *pollSet) remove(conn net.PacketConn) error {
	return controlSocket(conn, func(fd uintptr) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.keys, int(fd))
		return p.change(int(fd), unix.EV_DELETE)
	})
}

// wait waits until sockets can be read and returns their keys in keys[:n]. Its only error is that
// of a closed set.
func (p *pollSet) wait(keys *[pollEvents]uint64) (n int, err error) {
	for {
		count, err := unix.Kevent(p.queue, nil, p.events[:], nil)
		if err != nil && err != unix.EINTR {
			return 0, os.NewSyscallError("kevent", err)
		}
		p.mu.Lock()
		for i := range p.events[:max(count, 0)] {
			fd := int(p.events[i].Ident)
			if fd == p.end[0] {
				p.mu.Unlock()
				p.release()
				return 0, net.ErrClosed
			}
			if key, ok := p.keys[fd]; ok {
				keys[n] = key
				n++
			}
		}
		p.mu.Unlock()
		if n > 0 {
			return n, nil
		}
	}
}

// close ends a wait.
func (p *pollSet) close() { p.closed.Do(func() { unix.Close(p.end[1]) }) }

// release closes the descriptors of a set that is no longer waited for.
func (p *pollSet) release() {
	unix.Close(p.queue)
	unix.Close(p.end[0])
}
