// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// opensAtLegacyListener reports whether a legacy listener opens a session for a datagram that is
// unroutable. It looks only at the sn of the first segment.
func opensAtLegacyListener(payload []byte) bool {
	p := parsePacket(payload)
	var first segment
	_, status := parseSegment(p.segments, &first)
	return (p.kind == packetPlain || p.kind == packetData) && status == parseOK && first.sn == 0
}

// A session that was closed, or has ended its stream, sends nothing that opens a session at a
// legacy server that has closed its own.
func TestCloseOpensNoGhostAtAnOldServer(t *testing.T) {
	configs := map[string]Config{
		"plain": {StreamMode: true}, "messages": {},
		"keepalive": {StreamMode: true, KeepAlive: time.Second},
	}
	for name, c := range configs {
		for _, answer := range []int{0, 5, 60_000} {
			for _, end := range []string{"Close", "CloseWrite"} {
				for _, wait := range []time.Duration{0, 45 * time.Millisecond, time.Second} {
					title := fmt.Sprintf("%s, %d bytes answered, %s after %v",
						name, answer, end, wait)
					t.Run(title, func(t *testing.T) {
						for seed := range uint64(3) {
							link := simProfile{Delay: 20 * time.Millisecond,
								Loss: 0.2 * float64(seed)}
							connRunSeed(t, seed, link, func(t *testing.T, w *connWorld) {
								legacyServerCloses(t, w, c, answer, end, wait)
							})
						}
					})
				}
			}
		}
	}
}

// legacyServerCloses runs a legacy server that takes a request, answers it and disappears. The
// client ends the session some time later.
func legacyServerCloses(t *testing.T, w *connWorld, c Config, answer int, end string,
	wait time.Duration) {
	t.Log("# the server answers a request")
	old := w.legacyPeer(connServerAddr, nil, 0)
	client := w.dial(c)
	connWrite(t, client, "request")
	if got := old.wait(7, time.Minute); string(got) != "request" {
		t.Fatalf("the server got %q", got)
	}
	if answer > 0 {
		old.write(pattern(answer, 1))
	}
	time.Sleep(wait)
	var ghosts, sent atomic.Int32
	w.setDrop(func(from, _ string, payload []byte) bool {
		if from == connServerAddr {
			return false
		}
		sent.Add(1)
		// Before it has heard anything the client must assume that there is no session yet.
		client.mu.Lock()
		heard := client.core.stats.segsIn > 0
		client.mu.Unlock()
		if heard && opensAtLegacyListener(payload) {
			ghosts.Add(1)
		}
		return true
	})
	t.Log("# the server disappears, and the client ends the session")
	old.set(func() { old.mute = true }) // and what it has sent is still under way
	if end == "Close" {
		client.Close()
	} else if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(12 * time.Second)
	if n := ghosts.Load(); n > 0 {
		t.Errorf("%d of %d datagrams open a session at a legacy listener", n, sent.Load())
	}
}

// A listener that asks an unknown address for a proof has no session yet. The first segment still
// leads its datagram, even if the stream has ended behind it.
func TestFirstSegmentLeadsAfterAListenersQuestion(t *testing.T) {
	for _, clock := range []millis{1000, 1 << 33} {
		c := new(core)
		c.init(7, clock)
		c.ctl.incarnation = 5
		c.setNoDelay(1, 10, 2, 1)
		t.Cleanup(func() { releaseCore(c) })
		c.send([]byte("all there is"))
		c.closeWrite(clock)
		flushAll(c, clock)
		question := appendSegment(nil,
			&segment{conv: 7, cmd: cmdPush, wnd: 32, ts: 99, sn: belowAll(0, 12345)})
		c.input(inputAt(clock+50), question, true)
		flushAll(c, clock+50) // the proof
		for at := clock + 60; at < clock+10_000; at = max(at+1, c.nextEvent(at)) {
			sent := flushAll(c, at)
			for i, s := range sent {
				if s.cmd == cmdPush && s.sn == 0 && i > 0 {
					t.Fatalf("sent %+v in front of the first segment", sent[:i])
				}
			}
		}
		if c.stats.timeoutRetrans == 0 {
			t.Error("the first segment was not repeated")
		}
	}
}
