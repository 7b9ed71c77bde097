// SPDX-License-Identifier: MIT

package tables

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
)

var write = flag.Bool("write", false, "measure all cells and write docs/tables.md and docs/tables.svg")

// How much is measured for the documents.
const (
	messages  = 18000 // ten minutes of them
	bulkSpan  = 30 * time.Second
	bulkSeeds = 2 // the goodput is the mean of so many transfers
)

// The documents, as seen from this directory.
var (
	tablesFile = filepath.Join("..", "..", "docs", "tables.md")
	plotFile   = filepath.Join("..", "..", "docs", "tables.svg")
)

// results are all figures, by path and mode.
type results struct {
	latency [][]latency
	goodput [][]float64        // bits per second
	groups  []latency          // by mode
	talks   map[string]latency // by talkKey
	matrix  matrix
}

func newResults() *results {
	r := &results{groups: make([]latency, len(groupModes())), matrix: matrix{}, talks: map[string]latency{}}
	for _, row := range rows() {
		r.matrix[row.name] = map[string]figures{}
	}
	for range paths() {
		r.latency = append(r.latency, make([]latency, len(modes())))
		r.goodput = append(r.goodput, make([]float64, len(bulkModes())))
	}
	return r
}

// talkKey names a cell of the table of small messages.
func talkKey(p path, peer string) string { return fmt.Sprint(p, ", ", p.run, ", ", peer) }

// TestWrite measures everything and writes the documents.
func TestWrite(t *testing.T) {
	if !*write {
		t.Skip("without -write")
	}
	r := newResults()
	t.Run("cells", func(t *testing.T) {
		cell := func(name string, measure func(t *testing.T)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				measure(t)
			})
		}
		for i, p := range paths() {
			for j, m := range modes() {
				cell("latency, "+p.String()+", "+m.name, func(t *testing.T) {
					r.latency[i][j] = measureLatency(t, 1, p, m.config, messages)
				})
			}
			for j, m := range bulkModes() {
				cell("goodput, "+p.String()+", "+m.name, func(t *testing.T) {
					for seed := range uint64(bulkSeeds) {
						r.goodput[i][j] += measureGoodput(t, seed, p, m.config, bulkSpan) / bulkSeeds
					}
				})
			}
		}
		for j, m := range groupModes() {
			cell("group, "+m.name, func(t *testing.T) {
				r.groups[j] = measureLatency(t, 2, groupPath, m.config, messages)
			})
		}
		var guard sync.Mutex // of the figures by contender and by talkKey
		for _, rtt := range rtts {
			for _, p := range lossyLines(rtt) {
				for _, peer := range talkPeers() {
					cell("talk, "+talkKey(p, peer.name), func(t *testing.T) {
						l := peer.measure(t, 1, p, messages)
						guard.Lock()
						defer guard.Unlock()
						r.talks[talkKey(p, peer.name)] = l
					})
				}
			}
		}
		for _, row := range rows() {
			for _, c := range contenders() {
				cell("matrix, "+row.name+", "+c.name, func(t *testing.T) {
					f := row.measure(t, c, matrixSeeds)
					guard.Lock()
					defer guard.Unlock()
					r.matrix[row.name][c.name] = f
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	if err := os.WriteFile(tablesFile, []byte(r.document()), 0o644); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(plotFile, []byte(r.plot()), 0o644); err != nil {
		t.Error(err)
	}
}

// TestLatencyIsThatOfThePath measures what theory gives: without loss the propagation delay and
// nothing else, with loss and no congestion control one timeout more, with a parity packet behind
// each message less.
func TestLatencyIsThatOfThePath(t *testing.T) {
	const few = 2000
	tests := []struct {
		path     path
		mode     mode
		p50, p99 time.Duration // the most
	}{
		{path{rtt: 100 * time.Millisecond, loss: 0}, modes()[0], 51 * time.Millisecond, 51 * time.Millisecond},
		{path{rtt: 100 * time.Millisecond, loss: 0}, modes()[2], 51 * time.Millisecond, 51 * time.Millisecond},
		// A lost message is sent again after the RTO of 9/8 of the RTT and a few ms of variance,
		// those behind it wait.
		{path{rtt: 100 * time.Millisecond, loss: 0.05}, modes()[2], 51 * time.Millisecond, 240 * time.Millisecond},
		{path{rtt: 300 * time.Millisecond, loss: 0.01}, modes()[2], 151 * time.Millisecond, 560 * time.Millisecond},
		{path{rtt: 100 * time.Millisecond, loss: 0.05}, withFEC(1, 1), 51 * time.Millisecond, 110 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.path.String()+", "+tt.mode.name, func(t *testing.T) {
			got := measureLatency(t, 1, tt.path, tt.mode.config, few)
			if least := tt.path.rtt / 2; got.overload || got.p50 < least || got.p50 > tt.p50 || got.p99 > tt.p99 {
				t.Errorf("got %+v, want %v to %v and at most %v", got, least, tt.p50, tt.p99)
			}
		})
	}
}

// TestOverloadShows measures settings that cannot carry the load: with a fifth of the packets lost
// the classic congestion window stays at one or two segments a round trip.
func TestOverloadShows(t *testing.T) {
	c := kcp.Config{CongestionControl: kcp.CongestionClassic}
	if got := measureLatency(t, 1, path{rtt: 300 * time.Millisecond, loss: 0.20}, c, 2000); !got.overload {
		t.Errorf("got %+v, want an overload", got)
	}
}

// TestModesFillAShortLine measures transfers over a line without loss.
func TestModesFillAShortLine(t *testing.T) {
	p := path{rtt: 20 * time.Millisecond, loss: 0}
	for _, m := range []mode{modes()[0], modes()[1], modes()[2]} {
		t.Run(m.name, func(t *testing.T) {
			got := measureGoodput(t, 1, p, m.config, 5*time.Second) / lineRate
			if got < 0.88 || got > 1 {
				t.Errorf("goodput is %.3f of the line rate, want 0.88 to 1", got)
			}
		})
	}
}
