// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"iter"
)

// ReadyQueue serves many sessions with few goroutines. A program that gives each session a
// goroutine for its Reads pays a stack of 2 to 8 KiB and a switch between goroutines a message.
// Instead, it may add its sessions to a queue, and let one goroutine, or a few, range over those
// that can be read:
//
//	for s, state := range q.Ready(ctx) {
//		n, err := s.Read(buf) // does not wait
//		...
//	}
//
// T is what the program keeps for a session; it is yielded beside it. The zero value of a
// ReadyQueue is empty and usable. It must not be copied once it has been used. All methods may be
// called concurrently, also within the loop.
//
// A session is yielded while a Read would return at once: with data, with io.EOF, or with an error,
// that of a read deadline included. An error is yielded until a Read has returned it, and not again
// after that. In a loop that closes a session at an error nothing else is to be done.
//
// A queue has no table of its sessions, and keeps none alive but those that are ready. Close of a
// session removes it.
type ReadyQueue[T any] struct {
	_    [0]*T // no queue converts to one of another T
	list readyList
}

// Add adds a session, accepted or dialled, which is yielded with state from then on. Whatever can
// be read already counts. It must be in no other ReadyQueue that is open, and no goroutine should
// wait in its Read. An error matches os.ErrExist if the session is in a queue already, and
// net.ErrClosed if the session or the queue is closed.
func (q *ReadyQueue[T]) Add(s *UDPSession, state T) error {
	return s.addReady(&q.list, state)
}

// Remove removes a session, and reports whether it was in the queue. It does not wait for a loop
// body that has the session, which then may go on using it. A body that wants more time for a
// session, such as a Write that waits for room, can thus remove it, pass it to a goroutine, and
// have that add it again at the end.
func (q *ReadyQueue[T]) Remove(s *UDPSession) bool { return s.removeReady(&q.list) }

// Ready yields the sessions that can be read, and waits while there are none, until ctx is done or
// the queue is closed. No lock is held in the loop body. Several goroutines may range over the same
// queue, and a session is yielded to one of them at a time.
//
// In the body one Read returns without waiting, unless another goroutine reads the same session.
// After the body a session that can still be read goes to the end of the queue. So none of them
// keeps the others waiting for longer than the body takes.
//
// A body that blocks delays only its own goroutine, but with it the sessions that this goroutine
// would serve. Write waits for room when the peer does not keep up: [UDPSession.WriteRoom] tells
// how much a Write takes without waiting.
func (q *ReadyQueue[T]) Ready(ctx context.Context) iter.Seq2[*UDPSession, T] {
	return func(yield func(*UDPSession, T) bool) {
		w := readyWait{list: &q.list}
		defer context.AfterFunc(ctx, w.end)()
		for ctx.Err() == nil {
			e := q.list.take(&w)
			if e == nil {
				return
			}
			if e.begin() && !serveReady(e, yield) {
				return
			}
		}
	}
}

// serveReady runs the loop body for a session, which goes back to the queue even if the body
// panics.
func serveReady[T any](e *readyEntry, yield func(*UDPSession, T) bool) (more bool) {
	defer e.end()
	state, _ := e.state.(T) // false for a T that is an interface, and a state of nil
	return yield(e.session, state)
}

// Close removes all sessions from the queue and ends all loops over it, those whose body runs after
// that body. The sessions stay open and may be added to another queue. Close may be called again.
func (q *ReadyQueue[T]) Close() { q.list.close() }

// readyPhase is what a session in a queue does. Its changes are:
//
//	from    to      when
//	idle    queued  a Read would return at once
//	queued  out     a goroutine has taken it, and begins the loop body
//	queued  idle    a goroutine has taken it, but a Read elsewhere has been faster
//	out     idle    the loop body is over
//	any     gone    it was removed from the queue
type readyPhase uint8

const (
	readyIdle   readyPhase = iota
	readyQueued            // in the list, or just taken out of it
	readyOut
	readyGone
)

// readyEntry is a session's place in a ReadyQueue.
type readyEntry struct {
	list    *readyList
	session *UDPSession
	state   any        // the T
	told    error      // that the latest Read has returned, or nil; the session's lock guards it
	phase   readyPhase // guarded by the session's lock

	next, prev *readyEntry // in the list, whose lock guards them
}

// addReady is ReadyQueue.Add.
func (s *UDPSession) addReady(l *readyList, state any) error {
	e := &readyEntry{list: l, session: s, state: state}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.life.closed():
		return errClosed
	case l.isClosed():
		return errReadyClosed
	}
	c := s.blockedLocked()
	if c.ready != nil && !c.ready.list.isClosed() {
		return errReadyTwice
	}
	s.leaveReadyLocked()
	c.setReady(e)
	e.changedLocked()
	return nil
}

// removeReady is ReadyQueue.Remove.
func (s *UDPSession) removeReady(l *readyList) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil || s.calls.ready == nil || s.calls.ready.list != l || l.isClosed() {
		return false
	}
	s.leaveReadyLocked()
	return true
}

// leaveReadyLocked removes the session from the queue that it is in, if any. s.mu must be held.
func (s *UDPSession) leaveReadyLocked() {
	if s.calls == nil || s.calls.ready == nil {
		return
	}
	e := s.calls.ready
	s.calls.setReady(nil)
	e.phase = readyGone
	e.list.remove(e)
}

// changedLocked is called whenever a Read that waits would look whether it has to wait on. The
// session's lock must be held.
func (e *readyEntry) changedLocked() {
	if e.phase != readyIdle {
		return
	}
	switch ok, err := e.session.readNowLocked(); {
	case e.yields(ok, err):
		e.phase = readyQueued
		e.list.put(e)
	case err == nil:
		c := e.session.calls
		c.armRead()
	}
}

// yields reports whether a session is to be yielded whose readNowLocked returns ok and err.
func (e *readyEntry) yields(ok bool, err error) bool { return ok || err != nil && err != e.told }

// begin begins the loop body for an entry that was taken from the list. It returns false if there
// is nothing to do.
func (e *readyEntry) begin() bool {
	s := e.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.phase == readyGone {
		return false
	}
	if ok, err := s.readNowLocked(); !e.yields(ok, err) {
		e.phase = readyIdle
		e.changedLocked()
		return false
	}
	e.phase = readyOut
	return true
}

// end ends it.
func (e *readyEntry) end() {
	e.session.mu.Lock()
	if e.phase == readyOut {
		e.phase = readyIdle
		e.changedLocked()
	}
	e.session.mu.Unlock()
}
