// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"testing"
	"time"
)

// A session is accepted once its first segment is there. A later segment alone does not suffice,
// and is forgotten after a while. If it overtook the first, everything is delivered.
func TestAcceptWaitsForTheFirstSegment(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{DeadTimeout: -1, StreamMode: true})
		raw := w.endpoint(restartAddr)
		push := func(conv uint32, sn seqNum, text string) {
			_, _ = raw.WriteTo(forge(t, Config{},
				segment{conv: conv, cmd: cmdPush, wnd: 128, sn: sn, ts: 9, data: []byte(text)},
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

// Memory of a session that Accept never returns is released when it ends, however it ends.
func TestWhatIsNotAcceptedHoldsNothing(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 1300)
	type pusher = func(incarnation uint64, sn seqNum)
	for name, end := range map[string]func(w *connWorld, l *Listener, push pusher){
		"time": func(*connWorld, *Listener, func(uint64, seqNum)) { time.Sleep(time.Minute) },
		"a restart of the peer": func(_ *connWorld, _ *Listener, push func(uint64, seqNum)) {
			push(2, 0)
		},
		"the listener": func(_ *connWorld, l *Listener, _ func(uint64, seqNum)) { l.Close() },
		"the first segment when the listener is closed": func(_ *connWorld, l *Listener,
			push pusher) {
			l.backlog.mu.Lock()
			l.backlog.state = backlogClosed
			l.backlog.mu.Unlock()
			push(1, 0)
			l.backlog.mu.Lock()
			l.backlog.state = backlogOpen
			l.backlog.mu.Unlock()
		},
		"the socket": func(_ *connWorld, l *Listener, _ pusher) { l.demux.eps[0].conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{DeadTimeout: -1})
				raw := w.endpoint(restartAddr)
				push := func(incarnation uint64, sn seqNum) {
					_, _ = raw.WriteTo(forge(t, Config{},
						segment{conv: 1, cmd: cmdPush, wnd: 128, sn: sn, ts: 9, data: big},
						helloFrom(1, incarnation, 0, 0)), l.Addr())
					time.Sleep(100 * time.Millisecond)
				}
				for sn := seqNum(20); sn > 0; sn-- {
					push(1, sn)
				}
				s := l.demux.find(&sessionKey{newPeerAddr(raw.LocalAddr()), 1})
				if s == nil || l.demux.memory.held.Load() == 0 {
					t.Fatal("the session is not there, or holds nothing")
				}
				end(w, l, push)
				time.Sleep(time.Second)
				s.mu.Lock()
				defer s.mu.Unlock()
				if !s.life.removed() || s.charged != 0 {
					t.Errorf("the session holds %d bytes, and that it has ended is %v",
						s.charged, s.life.removed())
				}
			})
		})
	}
}
