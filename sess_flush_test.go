// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"
	"time"
)

// A timer that fires although nothing is due sends nothing, does not split the batch of others, and
// is set for what is due next.
func TestEarlyTimerFlushesNothing(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		const keepAlive = 10 * time.Second
		client, server, _ := w.pair(Config{KeepAlive: keepAlive})
		connWrite(t, client, "ping")
		connWantRead(t, server, "ping")
		time.Sleep(keepAlive / 2) // all is acknowledged, and no probe is due
		var b timedBatch
		defer b.release()
		client.timer.stop()
		before := client.Stats().PacketsSent
		client.runTimed(client.env.clock.now(), &b)
		if n := client.Stats().PacketsSent; b.work != nil || n != before {
			t.Errorf("the early timer sent %d packets, in a batch: %v", n-before, b.work != nil)
		}
		if client.timer.pending.Load() == 0 {
			t.Error("the timer is not set again")
		}
		time.Sleep(keepAlive)
		if n := client.Stats().PacketsSent; n == before {
			t.Error("no keepalive was sent")
		}
	})
}

// A timer that fires when something is due flushes it.
func TestTimerFlushesWhatIsDue(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{WriteDelay: true, Interval: time.Second})
		connWrite(t, client, "late")
		var b timedBatch
		defer b.release()
		client.runTimed((client.env.clock.now().ms() + 1000).instant(), &b)
		if b.work == nil {
			t.Fatal("nothing was flushed")
		}
		b.finish()
		connWantRead(t, server, "late")
	})
}
