// SPDX-License-Identifier: MIT

package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
	"github.com/seedkcp/kcp/internal/simpair"
)

// scenarioConfig is what a user of a long or lossy path sets.
func scenarioConfig(noCongestionControl bool) kcp.Config {
	return kcp.Config{
		StreamMode: true, NoDelay: true, Interval: 10 * time.Millisecond, FastResend: 2,
		NoCongestionControl: noCongestionControl, SendWindow: 1024, ReceiveWindow: 1024,
		DeadTimeout: 2 * time.Minute,
	}
}

// pattern fills a slice with bytes that depend on their position in the stream, so that a shift
// shows.
func pattern(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestScenarios runs transfers over the paths on which the QUIC interop runner tries
// implementations.
func TestScenarios(t *testing.T) {
	tests := []struct {
		name    string
		profile simnet.Profile
		size    int
		most    [2]time.Duration // of virtual time, without and with congestion control
	}{
		{"30 % loss in bursts of 3", simnet.Profile{Delay: 15 * time.Millisecond, Rate: 10e6, Queue: 25, Burst: simnet.BurstLoss(0.3, 3)}, 2 << 20, [2]time.Duration{10 * time.Second, 240 * time.Second}},
		{"30 % corruption", simnet.Profile{Delay: 15 * time.Millisecond, Rate: 10e6, Queue: 25, Corrupt: 0.3}, 2 << 20, [2]time.Duration{10 * time.Second, 120 * time.Second}},
		{"blackhole 2 s of every 7 s", simnet.Profile{Delay: 15 * time.Millisecond, Rate: 10e6, Queue: 25,
			Outage: simnet.Outage{After: 5 * time.Second, Down: 2 * time.Second, Up: 5 * time.Second}}, 10 << 20, [2]time.Duration{20 * time.Second, 25 * time.Second}},
		{"750 ms delay", simnet.Profile{Delay: 750 * time.Millisecond, Rate: 10e6, Queue: 1000}, 10 << 20, [2]time.Duration{30 * time.Second, 240 * time.Second}},
	}
	for _, tt := range tests {
		for i, nc := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, congestion control %v", tt.name, !nc), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := scenarioConfig(nc)
					key, err := kcp.NewAESGCMCrypt(make([]byte, 16))
					if err != nil {
						t.Fatal(err)
					}
					c.BlockCrypt = key // corruption has to be noticed
					n := simpair.New(t, 1, tt.profile, c, 2)
					defer n.Close()
					took := n.Move(t, pattern(tt.size, 5))
					st := n.Client.Stats()
					t.Logf("%d bytes in %v: %.2f Mbit/s, %d packets, retransmitted %d fast, %d early, %d timeout, %d duplicates",
						tt.size, took, float64(tt.size)*8/took.Seconds()/1e6, st.PacketsSent, st.FastRetransmits,
						st.EarlyRetransmits, st.TimeoutRetransmits, n.Server.Stats().DuplicatesReceived)
					if took > tt.most[i] {
						t.Errorf("took %v, want %v at most", took, tt.most[i])
					}
				})
			})
		}
	}
}

// TestScenarioGoodput measures what of a line's rate becomes goodput through a short queue.
func TestScenarioGoodput(t *testing.T) {
	const (
		rate = 10e6
		size = 10 << 20
	)
	for _, nc := range []bool{false, true} {
		t.Run(fmt.Sprintf("congestion control %v", !nc), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simpair.New(t, 1, simnet.Profile{Delay: 15 * time.Millisecond, Rate: rate, Queue: 25}, scenarioConfig(nc), 2)
				defer n.Close()
				took := n.Move(t, pattern(size, 6))
				goodput := size * 8 / took.Seconds() / rate
				st := n.Client.Stats()
				t.Logf("goodput %.1f %% of the line, %d packets, retransmitted %d fast, %d early, %d timeout, %d duplicates",
					goodput*100, st.PacketsSent, st.FastRetransmits, st.EarlyRetransmits, st.TimeoutRetransmits, n.Server.Stats().DuplicatesReceived)
				if goodput < 0.9 {
					t.Errorf("goodput is %.1f %% of the line, want 90 %%", goodput*100)
				}
			})
		})
	}
}

// TestScenarioHandshakes opens 50 sessions over a path that loses 30 %, each with a request and its
// answer.
func TestScenarioHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := scenarioConfig(true)
		n := simpair.New(t, 3, simnet.Profile{Delay: 15 * time.Millisecond, Loss: 0.3}, c, 2)
		defer n.Close()
		c.Scheduler = n.Scheduler
		go func() {
			for {
				s, err := n.Listener.AcceptKCP()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(s, s); s.Close() }()
			}
		}()
		done := make(chan error)
		for i := range 50 {
			go func() { done <- handshake(n, c, i) }()
		}
		for range 50 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(20 * time.Second)
	})
}

func handshake(n *simpair.Pair, c kcp.Config, i int) error {
	conn, err := n.Net.Listen(fmt.Sprintf("10.0.1.%d:0", i+1))
	if err != nil {
		return err
	}
	s, err := c.Client(conn, n.Listener.Addr())
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	deadline, _ := ctx.Deadline()
	_ = s.SetDeadline(deadline)
	if _, err := s.Write([]byte("request")); err != nil {
		return err
	}
	_, err = io.ReadFull(s, make([]byte, len("request")))
	return err
}
