// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
)

// merge joins packets of one direction as Linux does for the network card: those that follow each
// other are of one size, but for a shorter last one.
func merge(packets []captured) (merged []captured, joined int) {
	const most = 40
	size, count := 0, 0
	open := map[string]int{} // index of the newest packet of a direction that more may join
	for _, p := range packets {
		k := p.from.String()
		if i, ok := open[k]; ok && len(p.payload) <= size && count < most && p.at.Sub(merged[i].at) < 10*time.Millisecond {
			merged[i].payload = append(merged[i].payload, p.payload...)
			count++
			joined++
			if len(p.payload) < size {
				delete(open, k)
			}
			continue
		}
		clear(open)
		open[k], size, count = len(merged), len(p.payload), 1
		p.payload = bytes.Clone(p.payload)
		merged = append(merged, p)
	}
	return merged, joined
}

// A capture on the sending machine has several datagrams in a packet.
func TestRunsOfDatagramsAreCut(t *testing.T) {
	for _, k := range cipherKinds {
		t.Run(k.name, func(t *testing.T) { testRuns(t, k.name) })
	}
}

func testRuns(t *testing.T, name string) {
	size, _ := keySize(name)
	key := testKey(size)
	c := converse(t, kcp.Config{BlockCrypt: blockOf(t, name, key), DataShards: 5, ParityShards: 2}, 60000, 0)
	merged, joined := merge(c.packets)
	if joined < 10 {
		t.Fatalf("%d packets were joined", joined)
	}
	args := []string{"-json", "-crypt", name}
	if size > 0 {
		args = append(args, "-key", hex.EncodeToString(key))
	}
	lines := jsonLines(t, mustDump(t, pcapOf(t, merged...), args...))
	// Their order among both directions is another than that of the packets.
	if len(lines) != len(c.packets) {
		t.Fatalf("%d datagrams, want %d", len(lines), len(c.packets))
	}
	for i, l := range lines {
		if l.Note != "" || l.Fault != "" || l.Cipher != name {
			t.Errorf("line %d: %+v", i+1, l)
		}
	}
}

// Without a cipher the FEC header tells where a datagram ends. Segments are a list in any case.
func TestPlainRunsAreCut(t *testing.T) {
	first, second := fecOf(0, fecData, pushOf(0, "abc")), fecOf(1, fecData, pushOf(1, "def"))
	parity, last := fecOf(2, fecParity, append(pushOf(2, "ghi"), 1, 1)), fecOf(3, fecData, pushOf(2, "g"))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	ack := changed(pushOf(0, ""), 4, 82)
	for _, tt := range []struct {
		name   string
		packet []byte
		want   []string
	}{
		{"data", join(first, second), []string{"FEC data 0 PUSH 0", "FEC data 1 PUSH 1"}},
		{"data, parity, data", join(first, second, parity, last), []string{"FEC data 0", "FEC data 1", "FEC parity 2", "FEC data 3"}},
		{"data and segments", join(first, ack), []string{"FEC data 0", "ACK 0"}},
		{"segments and data", join(ack, first), []string{"ACK 0", "FEC data 0"}},
		{"parity first", join(first, parity, last), []string{"FEC data 0", "FEC parity 2", "FEC data 3"}},
		{"segments", join(pushOf(0, "a"), pushOf(1, "b")), []string{"PUSH 0-1 len 2"}},
	} {
		lines := mustDump(t, pcapOf(t, up(0, fecOf(9, fecData, pushOf(9, "z"))), up(1, tt.packet)))[1:]
		if len(lines) != len(tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, lines, tt.want)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: line %d is %q, want %q", tt.name, i+1, lines[i], want)
			}
		}
	}
}

// Packets that no key opens do not cost a search each.
func TestSearchesAreBounded(t *testing.T) {
	s, err := newSecret("aes-128-gcm", testKey(16))
	if err != nil {
		t.Fatal(err)
	}
	f := new(flow)
	noise := bytes.Repeat([]byte("noise"), 300)
	for range 100 {
		if parts := f.open([]*secret{s}, noise); parts != nil {
			t.Fatal("noise was opened")
		}
	}
	if f.fails != searchesMost {
		t.Errorf("%d searches, want %d", f.fails, searchesMost)
	}
}

func TestSizesAreLearned(t *testing.T) {
	var f flow
	for _, n := range []int{1, 2, 3, 4, 5, 3, 5} {
		f.learn(n)
	}
	if f.sizes != [4]int{5, 3, 4, 2} {
		t.Errorf("got %v", f.sizes)
	}
}
