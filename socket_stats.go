// SPDX-License-Identifier: MIT

package kcp

import (
	"sync/atomic"
	"time"
)

// socketErrorPause is the least time between two calls of Config.OnSocketError for one socket and
// operation.
const socketErrorPause = time.Second

// socketErrors counts the errors of a socket and reports them to a hook. It is safe for concurrent
// use.
type socketErrors struct {
	hook   atomic.Pointer[func(op string, err error)] // nil: none
	lost   atomic.Uint64
	reads  atomic.Uint64
	newest atomic.Pointer[socketError]
	gates  [2]hookGate // of reading and of writing
	worn   atomic.Bool // the hook has been called because the key is to be changed
}

type socketError struct {
	err error
	at  time.Time
}

// setHook sets the function that is called for errors; nil is none.
func (s *socketErrors) setHook(hook func(op string, err error)) {
	if hook == nil {
		s.hook.Store(nil)
		return
	}
	s.hook.Store(&hook)
}

// hookGate admits one call at a time, and none for a while after it.
type hookGate struct {
	closed atomic.Bool
	last   atomic.Int64 // when the newest call began, in Unix nanoseconds
}

// socketOp is an operation on a socket.
type socketOp uint8

const (
	socketRead socketOp = iota
	socketWrite
)

func (op socketOp) String() string { return [...]string{"read", "write"}[op] }

// note keeps err as the newest error and calls the hook if that is due. No lock may be held.
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
	// The hook has its own goroutine: this one may be the reader or a scheduler worker.
	go func() {
		defer g.closed.Store(false)
		(*hook)(op.String(), err)
	}()
}
