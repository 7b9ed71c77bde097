// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"
	"time"
)

// A session is accepted once its first segment is there: not for a later one alone, which is forgotten in time, but with all
// that came before if it was overtaken.
func TestAcceptWaitsForTheFirstSegment(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{DeadTimeout: -1, StreamMode: true})
		raw := w.endpoint(restartAddr)
		push := func(conv uint32, sn seqNum, text string) {
			_, _ = raw.WriteTo(forge(t, Config{}, segment{conv: conv, cmd: cmdPush, wnd: 128, sn: sn, ts: 9, data: []byte(text)},
				helloFrom(conv, uint64(conv), 0, helloShared)), l.Addr())
			time.Sleep(100 * time.Millisecond)
		}
		push(1, 5, "alone")
		_ = l.SetDeadline(time.Now().Add(time.Second))
		if s, err := l.AcceptKCP(); err == nil {
			w.sessions = append(w.sessions, s)
			t.Error("accepted for a later segment alone")
		}
		push(2, 1, "second")
		push(2, 0, "first ")
		s := w.accept(l)
		if s.GetConv() != 2 {
			t.Errorf("accepted %d", s.GetConv())
		}
		connWantRead(t, s, "first second")
		time.Sleep(time.Minute)
		if n := l.Stats().Sessions; n != 1 {
			t.Errorf("%d sessions after a minute, want 1", n)
		}
		push(3, 7, "alone")
		l.Close()
		time.Sleep(time.Second)
		if n := l.Stats().Sessions; n != 1 {
			t.Errorf("%d sessions after Close, want 1", n)
		}
	})
}
