// SPDX-License-Identifier: MIT

package kcp

import (
	"sync/atomic"
	"time"
)

// SocketStats is how a packet socket stands and what it has refused. No error of a socket but its being closed ends a
// session or a listener: a datagram that could not be sent is a lost one, which is sent again, and reading goes on. Of
// other connections five seconds of errors that are neither temporary, timeouts nor a socket's, without a datagram between
// them, count as closed. Counts are since the socket came to the library.
type SocketStats struct {
	LostDatagrams uint64    // refused by the socket, too many for a slow connection, or not sealed for want of a nonce
	ReadErrors    uint64    // reads that failed
	LastError     error     // the newest cause of either, nil if there was none
	LastErrorTime time.Time // when it came

	// ReadBuffer and WriteBuffer are the sizes of the socket's buffers in bytes, as the system counts them: Linux reports
	// twice what it granted, for its bookkeeping counts too (socket(7), SO_RCVBUF). 0 where there is no way to ask.
	ReadBuffer, WriteBuffer int

	// KeyPackets counts the packets that were sealed and opened with the BlockCrypt, by all sessions and listeners that have
	// the same one: with AES-GCM a key is good for 2^32, of all peers together. 0 for a cipher that is no AEAD.
	KeyPackets uint64

	GSO bool // many datagrams are handed to the kernel in one piece (udp(7), UDP_SEGMENT)
	GRO bool // and taken from it (UDP_GRO)
}

// socketErrorPause is the least time between two calls of Config.OnSocketError for one socket and operation.
const socketErrorPause = time.Second

// socketErrors counts what went wrong at a socket and tells who wants to know. It is safe for concurrent use.
type socketErrors struct {
	hook   atomic.Pointer[func(op string, err error)] // nil: nobody does
	lost   atomic.Uint64
	reads  atomic.Uint64
	newest atomic.Pointer[socketError]
	gates  [2]hookGate // of reading and of writing
	worn   atomic.Bool // the hook has been told that the key is to be changed
}

type socketError struct {
	err error
	at  time.Time
}

// setHook makes hook the function that is told; nil tells nobody.
func (s *socketErrors) setHook(hook func(op string, err error)) {
	if hook == nil {
		s.hook.Store(nil)
		return
	}
	s.hook.Store(&hook)
}

// hookGate lets through one call at a time and after it none for a while.
type hookGate struct {
	closed atomic.Bool
	last   atomic.Int64 // when the newest call began, in Unix nanoseconds
}

// socketOp is what was tried at a socket.
type socketOp uint8

const (
	socketRead socketOp = iota
	socketWrite
)

func (op socketOp) String() string { return [...]string{"read", "write"}[op] }

// note keeps err as the newest one and reports it if that is due. No lock may be held.
func (s *socketErrors) note(op socketOp, err error) {
	now := time.Now()
	s.newest.Store(&socketError{err, now})
	hook := s.hook.Load()
	if hook == nil {
		return
	}
	g := &s.gates[op]
	if last := g.last.Load(); last != 0 && now.UnixNano()-last < int64(socketErrorPause) {
		return
	}
	if !g.closed.CompareAndSwap(false, true) {
		return
	}
	g.last.Store(now.UnixNano())
	// On a goroutine of its own: this one may be the reader or a scheduler worker, which serve others too.
	go func() {
		defer g.closed.Store(false)
		(*hook)(op.String(), err)
	}()
}
