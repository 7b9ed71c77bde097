// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"testing"
)

var sessionStateNames = [...]string{"open", "headless", "lingering", "finWait", "failed", "removed"}

// Each transition of the table above sessionNext is possible and no other.
func TestSessionStates(t *testing.T) {
	want := map[[2]sessionState]bool{
		{sessionHeadless, sessionOpen}:     true,
		{sessionOpen, sessionHeadless}:     true,
		{sessionOpen, sessionLingering}:    true,
		{sessionLingering, sessionFinWait}: true,
		{sessionFinWait, sessionLingering}: true,
		{sessionOpen, sessionFailed}:       true,
		{sessionHeadless, sessionFailed}:   true,
		{sessionLingering, sessionFailed}:  true,
		{sessionFinWait, sessionFailed}:    true,
		{sessionFailed, sessionRemoved}:    true,
	}
	for from := range sessionRemoved + 1 {
		for to := range sessionRemoved + 1 {
			l := sessionLife{state: from}
			ok, wanted := l.setState(to), want[[2]sessionState{from, to}]
			if ok != wanted {
				t.Errorf("%s to %s: %v, want %v",
					sessionStateNames[from], sessionStateNames[to], ok, wanted)
			}
			if after := from; ok && l.state != to || !ok && l.state != after {
				t.Errorf("%s to %s: it is %s then",
					sessionStateNames[from], sessionStateNames[to], sessionStateNames[l.state])
			}
		}
	}
}

// The steps of a life lead to the state, and leave what is shut and the errors as the calls of a
// session need them.
func TestSessionLifeSteps(t *testing.T) {
	type step = func(l *sessionLife)
	failure := errors.New("failure")
	var (
		fail     step = func(l *sessionLife) { l.fail(failure) }
		headless step = func(l *sessionLife) { l.awaitHead(7) }
		fin5     step = func(l *sessionLife) { l.awaitFIN(5) }
		fin9     step = func(l *sessionLife) { l.awaitFIN(9) }

		head       step = (*sessionLife).head
		shutRead   step = (*sessionLife).shutRead
		closed     step = (*sessionLife).close
		delivering step = (*sessionLife).delivering
	)
	for _, tt := range []struct {
		name     string
		steps    []step
		state    sessionState
		shut     sides
		readErr  error
		finLimit millis
	}{
		{"CloseRead", []step{shutRead}, sessionOpen, sideRead, nil, never},
		{"Close", []step{closed}, sessionLingering, sidesBoth, errClosed, never},
		{"the first limit of a FIN counts", []step{closed, fin5, fin9},
			sessionFinWait, sidesBoth, errClosed, 5},
		{"more to deliver", []step{closed, fin5, delivering},
			sessionLingering, sidesBoth, errClosed, never},
		{"failure", []step{fail}, sessionFailed, 0, failure, never},
		{"Close after a failure", []step{fail, closed}, sessionFailed, sidesBoth, errClosed, never},
		{"a failure after Close", []step{closed, fail}, sessionFailed, sidesBoth, errClosed, never},
		{"the first segment comes", []step{headless, head}, sessionOpen, 0, nil, never},
		{"the first segment does not come", []step{headless, fail},
			sessionFailed, sideNoProgram, failure, never},
		{"Close of a headless one", []step{headless, closed},
			sessionHeadless, sidesBoth, errClosed, never},
		{"the first segment of a closed one", []step{headless, closed, head},
			sessionLingering, sidesBoth, errClosed, never},
	} {
		var l sessionLife
		l.init()
		for _, step := range tt.steps {
			step(&l)
		}
		if l.state != tt.state || l.shut != tt.shut || l.readErr != tt.readErr ||
			l.finWaitAt != tt.finLimit {
			t.Errorf("%s: %s, shut %02b, %v, FIN until %d; want %s, %02b, %v, %d", tt.name,
				sessionStateNames[l.state], l.shut, l.readErr, l.finWaitAt,
				sessionStateNames[tt.state], tt.shut, tt.readErr, tt.finLimit)
		}
	}
}

// A program can close a session before its first segment comes. That segment does not take the
// linger time away.
func TestFirstSegmentOfAClosedSessionKeepsItsLinger(t *testing.T) {
	var l sessionLife
	l.init()
	l.awaitHead(5)
	l.close()
	l.lingerUntil(9)
	l.head()
	if l.state != sessionLingering || l.lingerAt != 9 {
		t.Errorf("%s until %d, want lingering until 9", sessionStateNames[l.state], l.lingerAt)
	}
}
