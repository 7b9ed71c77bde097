// SPDX-License-Identifier: MIT

package tables

import (
	"testing"
	"time"

	"github.com/seedkcp/kcp"
)

// withFECAuto is free with parity that the library chooses.
func withFECAuto() kcp.Config {
	c := free()
	c.FEC = kcp.FECAuto
	return c
}

// TestFECAutoShortensTheDelay measures messages with parity by what the path loses. 1.6 datagrams
// have no room for parity soon after each message, which is what less than the time to the next
// message would take at 5 % loss.
func TestFECAutoShortensTheDelay(t *testing.T) {
	const rtt, most = 100 * time.Millisecond, 1.6
	for _, tt := range []struct {
		path path
		p99  time.Duration
	}{
		{path{rtt: rtt, loss: 0.01}, 60 * time.Millisecond},
		{path{rtt: rtt, loss: 0.05}, 84 * time.Millisecond},
		{path{rtt: rtt, loss: 0.20}, 180 * time.Millisecond},
		{path{rtt: rtt, loss: 0.05, run: 3}, 160 * time.Millisecond},
	} {
		t.Run(tt.path.String(), func(t *testing.T) {
			t.Parallel()
			got := measureLatency(t, 1, tt.path, withFECAuto(), 6000)
			t.Logf("p99 %v, %.3f datagrams a message", got.p99, got.sent)
			if got.overload || got.p99 > tt.p99 || got.sent > most*(1+slack) {
				t.Errorf("p99 %v, want at most %v with %v datagrams", got.p99, tt.p99, most)
			}
		})
	}
}

// TestFECAutoCostsATransferNothing measures a transfer with parity that the library chooses.
func TestFECAutoCostsATransferNothing(t *testing.T) {
	p := path{rtt: 300 * time.Millisecond, loss: 0.05}
	without := measureGoodput(t, 1, p, free(), 20*time.Second)
	with := measureGoodput(t, 1, p, withFECAuto(), 20*time.Second)
	t.Logf("%.2f Mbit/s with, %.2f without", with/1e6, without/1e6)
	if with < without*(1-slack/2) {
		t.Errorf("%.2f Mbit/s, want %.2f", with/1e6, without/1e6)
	}
}

// Parity takes a share of the line, and what it recovers is no reason to send more slowly.
func TestParityCostsATransferItsShareAlone(t *testing.T) {
	const seeds = 3
	for _, tt := range []struct {
		loss, most, want float64 // want and most in Mbit/s: the line carries twice as much without parity
	}{{0.05, 10, 7.2}, {0.20, 10, 5}} {
		p := path{rtt: 300 * time.Millisecond, loss: tt.loss}
		got := 0.0
		for seed := range uint64(seeds) {
			got += measureGoodput(t, seed+1, p, withFEC(1, 1).config, 20*time.Second) / 1e6 / seeds
		}
		t.Logf("%v: %.2f Mbit/s", p, got)
		if got < tt.want || got > tt.most {
			t.Errorf("%v: %.2f Mbit/s with parity for each packet, want %g to %g", p, got, tt.want, tt.most)
		}
	}
}
