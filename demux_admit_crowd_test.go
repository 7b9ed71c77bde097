// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"testing"
	"time"
)

// A thousand clients that dial at the same time all get in while Accept takes 2 ms for each. This
// holds for a listener made without a Config too, and they get in soon with a small backlog.
func TestAThousandClientsAtOnce(t *testing.T) {
	clients := 1000
	if raceDetector || testing.Short() {
		clients = 300
	}
	for _, backlog := range []int{0, 128} {
		t.Run(fmt.Sprint("backlog ", backlog), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				o, err := legacyOptions(nil, 0, 0)
				if err != nil {
					t.Fatal(err)
				}
				o.sched = w.sched
				if backlog > 0 {
					o.backlog = backlog
				}
				l := serveOver(w.endpoint(connServerAddr), true, o)
				w.listeners = append(w.listeners, l)
				began := time.Now()
				for i := range clients {
					s := w.dialFrom(fmt.Sprintf("10.0.1.%d:%d", 1+i%200, 2000+i/200),
						randomConv(), Config{})
					connWrite(t, s, "x")
				}
				for range clients {
					w.accept(l)
					time.Sleep(2 * time.Millisecond)
				}
				took := time.Since(began)
				t.Logf("%d clients in after %v", clients, took)
				if took > 7*time.Second {
					t.Errorf("the last got in after %v", took)
				}
			})
		})
	}
}

// A transport opens more sessions at once than a listener keeps without validated addresses. Each
// is challenged, and retransmits meanwhile. None of those that get in supersedes another.
func TestSessionsThatShareAnAddressAreAllAdmitted(t *testing.T) {
	const sessions = 40
	for _, delay := range []time.Duration{20, 110, 150, 400} {
		t.Run(fmt.Sprintf("%d ms", delay), func(t *testing.T) {
			delay *= time.Millisecond
			link := simProfile{Delay: delay, Jitter: delay, Loss: 0.05}
			connRun(t, link, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{MaxPending: 1})
				tr := w.transport(w.endpoint("10.0.0.2:2000"), Config{})
				var clients []*UDPSession
				for i := range sessions {
					s := w.dialTo(tr, connServerAddr)
					clients = append(clients, s)
					connWrite(t, s, fmt.Sprint("hello ", i))
				}
				for range sessions {
					s := w.accept(l)
					mustWrite(t, s, mustRead(t, s, 100))
				}
				for i, s := range clients {
					connWantRead(t, s, fmt.Sprint("hello ", i))
				}
				if st := l.Stats(); st.Sessions != sessions || st.Challenged == 0 {
					t.Errorf("%d sessions and %d challenges", st.Sessions, st.Challenged)
				}
				tr.Close()
			})
		})
	}
}
