// SPDX-License-Identifier: MIT

package kcp

import (
	"slices"
	"sync"
	"sync/atomic"
)

// unheardSessions are the sessions of this process that were closed without having heard of their peers, each with a socket
// of its own, in the order of Close. A program that dials a server that is down again and again makes many of them within
// their second: beyond half of the files that the process may open the oldest is given up.
type unheardSessions struct {
	count    atomic.Int64
	most     func() int
	mu       sync.Mutex // guards sessions; taken with no session's lock held
	sessions []*UDPSession
}

var unheard = unheardSessions{most: sync.OnceValue(func() int { return openFiles() / 2 })}

// ownsSocket reports whether the socket is open for this session alone.
func (s *UDPSession) ownsSocket() bool {
	return s.env.owned && !s.env.given && s.opener == byDial
}

// add takes up a session that is closed now.
func (u *unheardSessions) add(s *UDPSession) {
	most := u.most()
	var oldest *UDPSession
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
	s.mu.Lock()
	gone := s.life.removed() // it was not found in the list then
	s.mu.Unlock()
	if gone {
		u.remove(s)
	}
}

// remove forgets a session that has ended.
func (u *unheardSessions) remove(s *UDPSession) {
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

// giveUpUnheard ends the session now, unless its peer has been heard of meanwhile.
func (s *UDPSession) giveUpUnheard() {
	s.mu.Lock()
	if s.core.stats.segsIn == 0 {
		s.life.lingerUntil(s.now())
	}
	s.mu.Unlock()
	s.flushNow()
}
