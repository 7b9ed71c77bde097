// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// A closed session that has never heard from its peer ends within a second, with its socket. What
// it wrote is sent several times meanwhile.
func TestUnheardSessionDoesNotLinger(t *testing.T) {
	for _, n := range []int{1, 100_000} {
		t.Run(fmt.Sprint(n, " bytes"), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				var sent atomic.Int32
				w.setDrop(func(_, _ string, _ []byte) bool { sent.Add(1); return true })
				client := w.dial(Config{StreamMode: true, SendWindow: 512})
				if _, err := client.Write(make([]byte, n)); err != nil {
					t.Fatal(err)
				}
				client.Close()
				time.Sleep(lingerUnheard + time.Millisecond)
				if !connEnded(client) || !endpointOf(client).conn.(*simEndpoint).isClosed() {
					t.Error("the session or its socket is still there")
				}
				if m := sent.Load(); m < 8 || m > 100 {
					t.Errorf("%d datagrams were sent", m)
				}
			})
		})
	}
}

// A program that repeatedly dials an absent peer does not run out of files. The oldest sessions
// that have heard nothing are ended, except those with a linger time set by the program. No record
// of them is left.
func TestUnheardSessionsAreBounded(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		most := unheard.most
		unheard.most = func() int { return 10 }
		defer func() { unheard.most = most }()
		w.setDrop(func(_, _ string, _ []byte) bool { return true })
		for i := range 100 {
			s := w.dial(Config{})
			endpointOf(s).owner = connOwn // as Dial opens it
			if i < 5 {
				s.SetLinger(time.Second)
			}
			connWrite(t, s, "hello")
			s.Close()
			time.Sleep(time.Millisecond)
		}
		live := 0
		for _, s := range w.sessions {
			if !endpointOf(s).conn.(*simEndpoint).isClosed() {
				live++
			}
		}
		if live != 15 {
			t.Errorf("%d sockets are open, want 15", live)
		}
		time.Sleep(2 * time.Second)
		unheard.mu.Lock()
		defer unheard.mu.Unlock()
		if n := len(unheard.sessions); n != 0 {
			t.Errorf("%d sessions are still remembered", n)
		}
	})
}
