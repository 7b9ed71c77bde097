// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// logBuffer is a log that tests look into.
type logBuffer struct {
	mu    sync.Mutex // guards the following
	buf   bytes.Buffer
	grown chan struct{} // closed by the next Write, nil if nobody waits
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// has reports whether a line has all the words.
func (l *logBuffer) has(words ...string) bool {
	return lineWith(l.String(), words) != ""
}

// wait returns a line that has all the words, once there is one.
func (l *logBuffer) wait(t *testing.T, words ...string) string {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		line := lineWith(l.buf.String(), words)
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown := l.grown
		l.mu.Unlock()
		if line != "" {
			return line
		}
		select {
		case <-grown:
		case <-timeout:
			t.Fatalf("no line with %q in the log:\n%s", words, l.String())
		}
	}
}

// lineWith returns the first line of a text that has all the words, or "".
func lineWith(text string, words []string) string {
	for line := range strings.Lines(text) {
		found := true
		for _, word := range words {
			found = found && strings.Contains(line, word)
		}
		if found {
			return line
		}
	}
	return ""
}
