// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"
	"testing/synctest"
	"time"
)

// talk sends small messages at 30 a second.
func talk(t *testing.T, n *connPair, count int) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range count {
			if _, err := n.client.Write(make([]byte, 100)); err != nil {
				t.Error(err)
			}
			time.Sleep(33 * time.Millisecond)
		}
	}()
	for range count {
		mustRead(t, n.server, 200)
	}
	<-done
}

// With FECAuto parity follows what the path loses, within its share.
func TestFECAutoFollowsTheLoss(t *testing.T) {
	for _, tt := range []struct {
		loss        float64
		least, most float64 // parity packets a message
	}{
		{0, 0, 0}, {0.02, 0.35, 0.6}, {0.1, 0.25, 0.6},
	} {
		c := fastConfig(0, 0)
		c.FEC = FECAuto
		p := simProfile{Delay: 50 * time.Millisecond, Loss: tt.loss}
		pairRun(t, 5, p, c, func(t *testing.T, n *connPair) {
			talk(t, n, 600)
			before := n.server.Stats()
			var f fecTap
			f.watch(n, n.client)
			talk(t, n, 600)
			synctest.Wait()
			after := n.server.Stats()
			share := float64(f.seen().groups) / 600
			if share < tt.least || share > tt.most || f.seen().implied > 0 {
				t.Errorf("loss %v: %.2f parity packets a message and %d implied ones",
					tt.loss, share, f.seen().implied)
			}
			if got := after.FECRecovered - before.FECRecovered; tt.loss > 0 && got < 3 ||
				after.FECErrors > 0 {
				t.Errorf("loss %v: %d recovered, %d errors", tt.loss, got, after.FECErrors)
			}
			n.client.mu.Lock()
			defer n.client.mu.Unlock()
			if plan := n.client.turns.plan; tt.loss > 0 && !plan.reports.known() {
				t.Errorf("loss %v: nothing was reported: %+v", tt.loss, plan)
			}
		})
	}
}

// A transfer gets no parity, and a legacy peer none but what is configured.
func TestFECAutoSparesTransfers(t *testing.T) {
	c := fastConfig(0, 0)
	c.FEC, c.StreamMode = FECAuto, true
	p := simProfile{Delay: 50 * time.Millisecond, Loss: 0.03}
	pairRun(t, 5, p, c, func(t *testing.T, n *connPair) {
		var f fecTap
		f.watch(n, n.client)
		n.move(t, pattern(4<<20, 1))
		synctest.Wait()
		if sent := n.client.Stats().PacketsSent; f.seen().groups > int(sent)/20 {
			t.Errorf("%d parity packets among %d", f.seen().groups, sent)
		}
	})
	c.DataShards, c.ParityShards = 3, 1
	pairRun(t, 5, p, c, func(t *testing.T, n *connPair) {
		n.client.mu.Lock()
		n.client.core.ctl.peerFlags &^= helloGroups
		n.client.mu.Unlock()
		var f fecTap
		f.watch(n, n.client)
		for range 300 {
			mustWrite(t, n.client, []byte("a message"))
			time.Sleep(20 * time.Millisecond)
		}
		synctest.Wait()
		if f.seen().groups > 0 {
			t.Errorf("%d parity packets name their group", f.seen().groups)
		}
	})
}

// Reports that the network repeats or delays are no errors of the peer, nor are those on long runs
// of losses.
func TestReportsOfHonestPeersAreNoErrors(t *testing.T) {
	c := fastConfig(0, 0)
	c.FEC = FECAuto
	p := simProfile{Delay: 30 * time.Millisecond, Loss: 0.1, Duplicate: 0.1,
		Jitter: 60 * time.Millisecond, JitterReorders: true}
	pairRun(t, 5, p, c, func(t *testing.T, n *connPair) {
		var burst time.Time
		n.setDrop(func(from, _ string, _ []byte) bool {
			now := time.Now()
			if from == n.client.LocalAddr().String() && now.Sub(burst) > time.Second {
				burst = now
			}
			return now.Sub(burst) < 150*time.Millisecond
		})
		talk(t, n, 300)
		n.client.mu.Lock()
		defer n.client.mu.Unlock()
		bad, reported := n.client.core.stats.badFields, n.client.turns.plan.reported
		if bad > 0 || reported == 0 {
			t.Errorf("%d bad fields, reported up to %d", bad, reported)
		}
	})
}
