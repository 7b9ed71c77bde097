// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A socket whose buffer is full does not delay the other sockets that the same goroutine reads.
func TestFullSocketDelaysNoOther(t *testing.T) {
	l := listenLoopback(t, nil)
	server := make(chan *UDPSession, 1)
	go func() {
		s, _ := l.AcceptKCP()
		server <- s
		_ = echoListener(t, l)
	}()
	var state atomic.Int32 // 0: sends, 1: full, 2: full for long, 3: waits
	open, stuck := make(chan struct{}), make(chan struct{})
	calls := kernelCalls
	calls.send = func(fd uintptr, m []mmsghdr) (int, syscall.Errno) {
		if state.CompareAndSwap(1, 2) {
			return 0, unix.EAGAIN
		}
		if state.CompareAndSwap(2, 3) {
			close(stuck)
			<-open
		}
		return kernelCalls.send(fd, m)
	}
	s := pollDialOver(t, l, func(c batchConn) batchConn {
		c.(*linuxConn).calls = calls
		return c
	})
	s.SetACKNoDelay(true)
	mustWrite(t, s, []byte("hello"))
	peer := <-server
	if peer == nil {
		t.Fatal("nothing was accepted")
	}
	others := pollDial(t, l, 2*runtime.GOMAXPROCS(0))
	state.Store(1)
	mustWrite(t, peer, []byte("please acknowledge"))
	select {
	case <-stuck:
	case <-time.After(roleTimeout):
		t.Fatal("no datagram was sent")
	}
	for _, other := range others {
		pollEcho(t, other)
	}
	close(open)
	roleWait(t, "acknowledged", func() bool { return peer.Stats().InFlight == 0 })
	for _, end := range []*UDPSession{s, peer} {
		end.SetLinger(0)
		_ = end.Close()
	}
}
