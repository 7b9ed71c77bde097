// SPDX-License-Identifier: MIT

package simnet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// everything is a profile with all impairments, at times that make events of
// many links fall together.
var everything = Profile{
	Rate: 8_000_000, Overhead: 28, Queue: 20, MTU: 1000, Delay: 5 * time.Millisecond, Jitter: 2 * time.Millisecond,
	Reorder: 0.05, ReorderDelay: 3 * time.Millisecond,
	Loss: 0.05, Burst: BurstLoss(0.05, 3), Runs: RunLoss(0.02, 2),
	Outage:    Outage{After: 60 * time.Millisecond, Down: 20 * time.Millisecond, Up: 50 * time.Millisecond},
	Duplicate: 0.05, DuplicateDelay: time.Millisecond, Corrupt: 0.05, CorruptBits: 3,
}

// flowOf is the flow of the test's packets: their first four bytes.
func flowOf(b []byte) uint64 { return uint64(binary.BigEndian.Uint32(b)) }

// echo answers all packets until e is closed.
func echo(e *Endpoint) {
	b := make([]byte, 2048)
	for {
		k, from, err := e.ReadFrom(b)
		if err != nil {
			return
		}
		if k >= 8 && b[4]&3 != 3 {
			b[4]++
			e.WriteTo(b[:k], from)
		}
	}
}

// discard reads all packets until e is closed.
func discard(e *Endpoint) {
	b := make([]byte, 2048)
	for {
		if _, _, err := e.ReadFrom(b); err != nil {
			return
		}
	}
}

// scenario runs many goroutines against each other, all at whole milliseconds,
// while the network changes under them. With speed 0 it takes half a second.
func scenario(t *testing.T, seed uint64) (hash uint64, trace []byte, stats Stats) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		n := New(seed, WithTrace(&text), WithFlowKey(flowOf), WithReceiveQueue(30))
		n.SetDefault(everything)
		n.Route("10.0.1.3", "*", n.NewLink("shared", Profile{
			Rate: 4_000_000, Delay: time.Millisecond, QueueBytes: 3000, Policer: Policer{Rate: 400_000, Bucket: 5000},
		}))
		n.Route("10.0.1.4", "*", n.links["shared"])
		var wg sync.WaitGroup
		server := listen(t, n, "10.0.0.1:1000")
		sink := listen(t, n, "10.0.0.2:1000")
		wg.Go(func() { echo(server) })
		wg.Go(func() { discard(sink) })
		var clients []*Endpoint
		for i := range 5 {
			c := listen(t, n, fmt.Sprintf("10.0.1.%d:1000", i))
			c.FailWrites(Fault{After: 30 + i, Count: 3, Err: ENOBUFS}, Fault{After: 20, Err: EPERM})
			clients = append(clients, c)
			wg.Go(func() { echo(c) })
			for flow := range 3 { // three flows share the socket
				if i == 1 && flow > 0 {
					break // scripted errors hit whoever comes, so one alone
				}
				wg.Go(func() { talk(c, uint32(i*10+flow), 50) })
			}
			if i != 1 {
				c.FailWrites()
			}
		}
		wg.Go(func() { disturb(n, clients[0], clients[2]) })
		wg.Go(func() {
			for range 5 { // the sink restarts at instants at which packets come
				time.Sleep(20 * time.Millisecond)
				sink.Close()
				time.Sleep(5 * time.Millisecond)
				next, err := n.Listen("10.0.0.2:1000")
				if err != nil {
					t.Error(err)
					return
				}
				sink = next
				wg.Go(func() { discard(next) })
			}
		})
		time.Sleep(2 * time.Second)
		stats = n.Stats()
		closeAndCheck(t, n)
		wg.Wait()
		hash, trace = n.Hash(), text.Bytes()
	})
	return hash, trace, stats
}

// talk sends count packets of a flow, some of them at each whole millisecond.
func talk(e *Endpoint, flow uint32, count int) {
	server, sink := udp("10.0.0.1:1000"), udp("10.0.0.2:1000")
	b := make([]byte, 1100)
	for i := range count {
		binary.BigEndian.PutUint32(b, flow)
		binary.BigEndian.PutUint32(b[5:], uint32(i))
		e.WriteTo(b[:16+i*37%100], server)
		e.WriteTo(b[:16+i*91%1080], sink)
		if i%2 == 1 {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// disturb changes the network at whole milliseconds.
func disturb(n *Network, x, y *Endpoint) {
	slow := everything
	slow.Rate /= 3
	for i := range 40 {
		time.Sleep(5 * time.Millisecond)
		switch i % 8 {
		case 0:
			n.SetLink("*", "10.0.0.1", slow)
		case 1:
			n.SetState("10.0.1.2", "*", Stalled)
		case 2:
			n.SetLink("*", "10.0.0.1", everything)
		case 3:
			n.SetState("10.0.1.2", "*", Up)
			n.SetState("10.0.0.1", "10.0.1.1", Down)
		case 4:
			x.Rebind(udp(fmt.Sprintf("192.0.2.1:%d", 1+i)), i%16 == 4)
		case 5:
			n.SetState("10.0.0.1", "10.0.1.1", Up)
		case 6:
			y.Rebind(udp(fmt.Sprintf("192.0.2.2:%d", 1+i)), false)
		case 7:
			n.SetTap(func(_ time.Time, _, _ net.Addr, b []byte) Action { b[len(b)-1]++; return Action{Drop: b[0] == 77} })
		}
	}
}

func TestSameSeedGivesTheSameTrace(t *testing.T) {
	hash, trace, stats := scenario(t, 7)
	for cause, lost := range stats.Lost {
		switch Cause(cause) {
		case LossTap, LossClose, LossBuffer:
		default:
			if lost == 0 {
				t.Errorf("the scenario loses no packet by %v: it tests too little", Cause(cause))
			}
		}
	}
	if stats.Duplicated == 0 || stats.Corrupted == 0 || stats.Reordered == 0 || stats.Refused == 0 || stats.Delivered < 500 {
		t.Errorf("the scenario tests too little: %+v", stats)
	}
	for i := range 19 {
		procs := runtime.GOMAXPROCS(1 + i%4)
		h, tr, st := scenario(t, 7)
		runtime.GOMAXPROCS(procs)
		if h != hash || st != stats || !bytes.Equal(tr, trace) {
			t.Fatalf("run %d: hash %016x, want %016x\n%s", i, h, hash, firstDifference(tr, trace))
		}
	}
	if h, _, _ := scenario(t, 8); h == hash {
		t.Errorf("seeds 7 and 8 give the same hash %016x", h)
	}
}

func firstDifference(got, want []byte) string {
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}
