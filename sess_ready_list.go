// SPDX-License-Identifier: MIT

package kcp

import "sync"

// readyList is the sessions of a ReadyQueue that can be read, the one that has waited for longest
// first. The zero value is empty.
//
// Goroutines that wait for a session are woken one after another: the first entry wakes one, and
// each goroutine that was woken wakes the next one if more is left. So the sessions of a batch cost
// one switch between goroutines where one goroutine is enough, and all of them are at work as soon
// as loop bodies take long.
type readyList struct {
	mu          sync.Mutex // guards what follows; taken with a session's lock held
	first, last *readyEntry
	state       readyListState
	waiting     int // goroutines
	wake        sync.Cond
}

type readyListState uint8

const (
	readyListOpen   readyListState = iota
	readyListWaking                // a goroutine has been woken and does not run yet
	readyListClosed
)

// readyWait is one loop over a list.
type readyWait struct {
	list *readyList
	done sides // not 0 once the context is done; guarded by the list's lock
}

// put adds e at the end.
func (l *readyList) put(e *readyEntry) {
	l.mu.Lock()
	if l.state != readyListClosed {
		if e.prev = l.last; e.prev != nil {
			e.prev.next = e
		} else {
			l.first = e
		}
		l.last = e
		l.wakeOneLocked()
	}
	l.mu.Unlock()
}

// take takes out the first, for which it waits. It returns nil if the loop is over.
func (l *readyList) take(w *readyWait) (e *readyEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.first == nil && l.state != readyListClosed && w.done == 0 {
		l.wake.L = &l.mu
		l.waiting++
		l.wake.Wait()
		l.waiting--
		if l.state == readyListWaking {
			l.state = readyListOpen
		}
	}
	if w.done == 0 && l.first != nil {
		e = l.first
		l.unlinkLocked(e)
	}
	if l.first != nil {
		l.wakeOneLocked()
	}
	return e
}

// remove takes e out if it is there.
func (l *readyList) remove(e *readyEntry) {
	l.mu.Lock()
	if e.prev != nil || l.first == e {
		l.unlinkLocked(e)
	}
	l.mu.Unlock()
}

func (l *readyList) unlinkLocked(e *readyEntry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.last = e.prev
	}
	e.next, e.prev = nil, nil
}

// wakeOneLocked wakes a goroutine that waits, unless one has been woken already. l.mu must be held.
func (l *readyList) wakeOneLocked() {
	if l.waiting > 0 && l.state == readyListOpen {
		l.state = readyListWaking
		l.wake.Signal()
	}
}

func (l *readyList) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == readyListClosed
}

func (l *readyList) close() {
	l.mu.Lock()
	l.state = readyListClosed
	for l.first != nil {
		l.unlinkLocked(l.first) // an entry refers to no other one after that
	}
	l.wake.Broadcast()
	l.mu.Unlock()
}

// end ends the loop when its context is done.
func (w *readyWait) end() {
	w.list.mu.Lock()
	w.done = sidesBoth
	w.list.wake.Broadcast()
	w.list.mu.Unlock()
}
