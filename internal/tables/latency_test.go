// SPDX-License-Identifier: MIT

package tables

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
)

// lossyLines are the lines of the table of small messages, at each RTT.
func lossyLines(rtt time.Duration) []path {
	return []path{
		{rtt: rtt, loss: 0.01}, {rtt: rtt, loss: 0.05}, {rtt: rtt, loss: 0.20},
		{rtt: rtt, loss: 0.05, run: 3},
	}
}

// A talkPeer is who small messages are sent to, and how.
type talkPeer struct {
	name    string
	measure func(t *testing.T, seed uint64, p path, count int) latency
}

func talkPeers() []talkPeer {
	off := free()
	off.Redundancy = kcp.RedundancyOff
	return []talkPeer{
		{"no copies", func(t *testing.T, seed uint64, p path, count int) latency {
			return measureLatency(t, seed, p, off, count)
		}},
		{"no-delay", func(t *testing.T, seed uint64, p path, count int) latency {
			return measureLatency(t, seed, p, free(), count)
		}},
		{"legacy peer", measureToLegacy},
	}
}

// measureToLegacy is measureLatency for a legacy peer that acknowledges every 10 ms.
func measureToLegacy(t *testing.T, seed uint64, p path, count int) (l latency) {
	inWorld(t, seed, bottleneck{rtt: p.rtt, loss: p.loss, run: p.run}, func(w *world) {
		c := free()
		c.Scheduler = w.scheduler
		from, at := w.ends()
		count += warmUp
		start := time.Now()
		due := func(i int) time.Time { return start.Add(time.Duration(i) * messageEvery) }
		var mu sync.Mutex // guards took
		var took []time.Duration
		r := &legacyReceiver{conn: at, interval: 10 * time.Millisecond, flow: new(flow), beyond: make(map[uint32]int)}
		r.arrived = func(sn uint32) {
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(due(int(sn)))) // a message is a segment
		}
		go r.run()
		client, err := c.Client(from, at.LocalAddr())
		if err != nil {
			t.Fatal(err)
		}
		w.closers = append(w.closers, func() {
			client.SetLinger(0)
			_ = client.Close()
			_ = at.Close()
		})
		msg := make([]byte, messageSize)
		for i := range count {
			time.Sleep(time.Until(due(i)))
			if _, err := client.Write(msg); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(messageEvery)
		mu.Lock()
		inTime := len(took)
		mu.Unlock()
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		l.summarize(client.Stats(), took, count, inTime)
	})
	return l
}

// A latencyGoal is what small messages must reach at an RTT of 100 ms, with and without a legacy
// peer.
type latencyGoal struct {
	p99, p999 time.Duration // at most
	sent      float64       // datagrams a message at most
}

// latencyGoals are those of lossyLines.
var latencyGoals = []latencyGoal{
	{85 * time.Millisecond, 120 * time.Millisecond, 1.06},
	{85 * time.Millisecond, 120 * time.Millisecond, 1.15},
	{260 * time.Millisecond, 400 * time.Millisecond, 1.75},
	{200 * time.Millisecond, 300 * time.Millisecond, 1.25},
}

// TestSmallMessagesReachTheirGoals sends 30 messages of 100 bytes a second for ten minutes.
//
//	go test ./internal/tables -v -run TestSmallMessages
func TestSmallMessagesReachTheirGoals(t *testing.T) {
	const rtt = 100 * time.Millisecond
	for i, p := range lossyLines(rtt) {
		for _, peer := range talkPeers()[1:] {
			if raceDetector && (p.loss != 0.05 || p.run > 0) {
				continue
			}
			t.Run(talkKey(p, peer.name), func(t *testing.T) {
				t.Parallel()
				got, want := peer.measure(t, 1, p, messages), latencyGoals[i]
				t.Logf("p50 %v, p99 %v, p99.9 %v, %.3f datagrams and %.0f bytes a message",
					got.p50, got.p99, got.p999, got.sent, got.bytes)
				over := func(got, want float64) bool { return got > want*(1+slack) }
				if got.overload || over(milli(got.p99), milli(want.p99)) || over(milli(got.p999), milli(want.p999)) ||
					over(got.sent, want.sent) {
					t.Errorf("want at most %v, %v and %.2f", want.p99, want.p999, want.sent)
				}
			})
		}
	}
}

// writeTalks writes the table of small messages. cell returns the figures of a line and a peer.
func writeTalks(b *strings.Builder, cell func(p path, peer string) latency) {
	head, rule := "| RTT | loss |", "|--:|--:|"
	for _, peer := range talkPeers() {
		head += " " + peer.name + " | datagrams |"
		rule += "--:|--:|"
	}
	b.WriteString(head + "\n" + rule + "\n")
	for _, rtt := range rtts {
		for _, p := range lossyLines(rtt) {
			loss := fmt.Sprintf("%g %%", p.loss*100)
			if p.run > 0 {
				loss += fmt.Sprintf(", runs of %g", p.run)
			}
			fmt.Fprintf(b, "| %d ms | %s |", p.rtt.Milliseconds(), loss)
			for _, peer := range talkPeers() {
				l := cell(p, peer.name)
				fmt.Fprintf(b, " %s / %s | %.2f |", millis(l.p99), millis(l.p999), l.sent)
			}
			b.WriteString("\n")
		}
	}
}

// summarize fills in l from how long count messages took, and how many of them came in time.
func (l *latency) summarize(st kcp.Stats, took []time.Duration, count, inTime int) {
	l.overload = float64(inTime) < keptUp*float64(count)
	l.sent = float64(st.PacketsSent) / float64(count)
	l.bytes = float64(st.WireBytesSent) / float64(count)
	if took = took[min(warmUp, len(took)):]; len(took) > 0 {
		slices.Sort(took)
		l.p50, l.p99 = took[len(took)/2], took[len(took)*99/100]
		l.p999 = took[len(took)*999/1000]
	}
}
