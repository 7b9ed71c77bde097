// SPDX-License-Identifier: MIT

package kcp

import "testing"

func TestParityIsChosenByThePath(t *testing.T) {
	for _, tt := range []struct {
		name string
		path fecPath
		on   bool
		want fecShards
	}{
		{"a game", fecPath{rtt: 100, rto: 112, packets: 30, lost: 10_000}, false, fecShards{2, 1}},
		{"no loss", fecPath{rtt: 100, rto: 112, packets: 30}, true, fecShards{}},
		{"little loss", fecPath{rtt: 100, rto: 112, packets: 30, lost: 4000}, false, fecShards{}},
		{"little loss, on", fecPath{rtt: 100, rto: 112, packets: 30, lost: 4000}, true,
			fecShards{2, 1}},
		{"a short path", fecPath{rtt: 19, rto: 40, packets: 500, lost: 50_000}, true, fecShards{}},
		{"groups slower than the RTO", fecPath{rtt: 20, rto: 32, packets: 30, lost: 50_000}, true,
			fecShards{}},
		{"a call", fecPath{rtt: 100, rto: 112, packets: 100, lost: 10_000}, false, fecShards{6, 1}},
		{"much loss", fecPath{rtt: 100, rto: 112, packets: 100, lost: 200_000}, false,
			fecShards{6, 3}},
		{"video", fecPath{rtt: 100, rto: 112, packets: 300, lost: 10_000}, false, fecShards{16, 2}},
		{"runs", fecPath{rtt: 100, rto: 112, packets: 300, lost: 10_000, longest: 6}, false,
			fecShards{16, 3}},
		{"no packets", fecPath{rtt: 100, rto: 112, lost: 50_000}, true, fecShards{}},
		{"all lost", fecPath{rtt: 100, rto: 112, packets: 1 << 20, lost: 1_000_000}, true,
			fecShards{20, 12}},
	} {
		if got := tt.path.shards(tt.on); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
