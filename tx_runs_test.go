// SPDX-License-Identifier: MIT

package kcp

import (
	"net/netip"
	"testing"
)

// Datagrams of several sessions are sent in one run if they have the same peer and length, and are
// adjacent in memory.
func TestRunsGoOnFromSessionToSession(t *testing.T) {
	a, b := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2")
	type packet struct {
		to   netip.AddrPort
		size int
		dup  int32
	}
	for name, tt := range map[string]struct {
		packets []packet
		want    []int // datagrams of each message
	}{
		"one peer":             {[]packet{{a, 100, 0}, {a, 100, 0}, {a, 100, 0}}, []int{3}},
		"the last is shorter":  {[]packet{{a, 100, 0}, {a, 60, 0}, {a, 60, 0}}, []int{2, 1}},
		"a longer one follows": {[]packet{{a, 60, 0}, {a, 100, 0}}, []int{1, 1}},
		"two peers": {[]packet{{a, 100, 0}, {b, 100, 0}, {b, 100, 0}, {a, 100, 0}},
			[]int{1, 2, 1}},
		"who sends copies": {[]packet{{a, 100, 0}, {a, 100, 1}}, []int{1, 1}},
	} {
		tx := &txScratch{socket: &txSocket{maxRunBytes: 60000, maxRunSegments: 64}}
		arena := make([]byte, 1000)
		start := 0
		for _, p := range tt.packets {
			r := runBuilder{tx: tx,
				turn: &turn{destination: destination{to: p.to}, dup: int(p.dup)}}
			r.resume()
			r.add(arena[start : start+p.size])
			r.end()
			start += p.size
		}
		var got []int
		for i := range tx.batch {
			got = append(got, datagrams(len(tx.batch[i].buf), tx.batch[i].segment))
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: messages of %v datagrams, want %v", name, got, tt.want)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%s: messages of %v datagrams, want %v", name, got, tt.want)
			}
		}
	}
}
