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
