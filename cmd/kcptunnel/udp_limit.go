// SPDX-License-Identifier: MIT

package main

import (
	"sync"
	"time"
)

// flowRest is how long a flow must have been silent to give way to a new one. Programs that ask
// from a new port each time, such as resolvers of the DNS, leave many flows behind.
const flowRest = 5 * time.Second

// flowLimiter bounds the flows that are open at a time. When there are as many, the one that has
// been silent for longest gives way. The zero value is usable, by several goroutines.
type flowLimiter struct {
	mu    sync.Mutex         // guards what follows
	taken int                // places: of flows, and of those that are opening
	open  map[*flow]struct{} // without those that have given way
}

// acquire takes a place for a flow, which add fills or cancel gives back. It reports false if there
// is none.
func (l *flowLimiter) acquire(most int) bool {
	l.mu.Lock()
	if l.taken < most {
		l.taken++
		l.mu.Unlock()
		return true
	}
	var oldest *flow
	longest := flowRest
	for f := range l.open {
		if silent := f.silent(); silent >= longest {
			oldest, longest = f, silent
		}
	}
	delete(l.open, oldest)
	l.mu.Unlock()
	if oldest == nil {
		return false
	}
	oldest.close()
	return true
}

// cancel gives a place back that was not filled.
func (l *flowLimiter) cancel() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken--
}

// add fills a place.
func (l *flowLimiter) add(f *flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = make(map[*flow]struct{})
	}
	l.open[f] = struct{}{}
}

// remove gives the place of a flow back, unless the flow has given way to another one.
func (l *flowLimiter) remove(f *flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, found := l.open[f]; found {
		delete(l.open, f)
		l.taken--
	}
}

// count returns the number of places that are taken.
func (l *flowLimiter) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}
