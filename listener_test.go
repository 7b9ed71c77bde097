// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"testing"
	"time"
)

func TestListenerStats(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{AcceptBacklog: 2})
		for i := range 3 {
			connWrite(t, w.dialFrom("10.0.0.2:0", uint32(i), Config{}), "x")
			time.Sleep(time.Millisecond)
		}
		st := l.Stats()
		if st.Sessions != 2 || st.Backlog != 2 || st.Refused != 1 {
			t.Errorf("3 sessions with a backlog of 2: %+v", st)
		}
		w.accept(l)
		if st := l.Stats(); st.Sessions != 2 || st.Backlog != 1 {
			t.Errorf("one of 2 accepted: %+v", st)
		}
		l.Close()
		if st := l.Stats(); st.Backlog != 0 || st.Refused < 1 {
			t.Errorf("closed: %+v", st)
		}
		if st.Socket != (SocketStats{}) {
			t.Errorf("a connection without a socket and without an error: %+v", st.Socket)
		}
	})
}

// A listener has no writes that could block.
func TestListenerHasNoWriteDeadline(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		err := w.serve(Config{}).SetWriteDeadline(time.Now())
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got %v, want errors.ErrUnsupported", err)
		}
	})
}
