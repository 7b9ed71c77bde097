// SPDX-License-Identifier: MIT

package kcp

import (
	"slices"
	"sync"
	"sync/atomic"
)

// unheardSessions are the sessions of this process that were closed without having received
// anything. Each has a socket of its own. They are in the order of Close. A program that keeps
// dialling a server that is down makes many of them. When they hold half of the files that the
// process may open, the oldest is given up.
type unheardSessions struct {
	count    atomic.Int64
	most     func() int
	mu       sync.Mutex // guards sessions; taken with no session's lock held
	sessions []unheardSession
}

// unheardSession is one of them.
type unheardSession interface {
	giveUpUnheard() // ends it now, unless its peer has been heard of meanwhile
	isRemoved() bool
}

var unheard = unheardSessions{most: sync.OnceValue(func() int { return openFiles() / 2 })}

// add takes up a session that is closed now.
func (u *unheardSessions) add(s unheardSession) {
	most := u.most()
	var oldest unheardSession
	u.mu.Lock()
	if u.sessions = append(u.sessions, s); len(u.sessions) > most {
		oldest = u.sessions[0]
		u.sessions = slices.Delete(u.sessions, 0, 1)
	}
	u.count.Store(int64(len(u.sessions)))
	u.mu.Unlock()
	if oldest != nil {
		oldest.giveUpUnheard()
	}
	if s.isRemoved() { // it was not found in the list then
		u.remove(s)
	}
}

// remove forgets a session that has ended.
func (u *unheardSessions) remove(s unheardSession) {
	if u.count.Load() == 0 {
		return
	}
	u.mu.Lock()
	if i := slices.Index(u.sessions, s); i >= 0 {
		u.sessions = slices.Delete(u.sessions, i, i+1)
	}
	u.count.Store(int64(len(u.sessions)))
	u.mu.Unlock()
}
