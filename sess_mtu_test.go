// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"
)

// mtuLarge is the number of large datagrams that must be sent before the test is conclusive.
const mtuLarge = 100

func TestNoLargerDatagramLeavesOnceSetMtuHasReturned(t *testing.T) {
	for name, c := range map[string]Config{
		"plain": {}, "messages": {}, "FEC": {DataShards: 4, ParityShards: 3},
	} {
		t.Run(name, func(t *testing.T) {
			c.StreamMode = name != "messages"
			c.NoCongestionControl, c.NoDelay = true, true
			link := simProfile{Delay: 5 * time.Millisecond, Loss: 0.02}
			connRun(t, link, func(t *testing.T, w *connWorld) {
				l := w.serve(c)
				conn := &slowConn{PacketConn: w.endpoint("10.0.0.2:0"),
					takes: 100 * time.Microsecond, most: 1500, sent: make(map[seqNum]bool)}
				s := w.dialOn(conn, 1, c)
				peer := w.join(s, l)
				s.SetDUP(1)
				data := pattern(1<<20, 3)
				done := make(chan struct{})
				var wg sync.WaitGroup
				rounds := 0
				wg.Go(func() {
					// Segments that were cut small in a full queue stay small. More than those are
					// needed to see large datagrams.
					for ; rounds == 0 || rounds < 50 && conn.counted() < mtuLarge; rounds++ {
						if _, err := s.Write(data); err != nil {
							t.Error(err)
							break
						}
					}
					_ = s.CloseWrite()
				})
				forever := func(f func()) {
					wg.Go(func() {
						for {
							select {
							case <-done:
								return
							default:
								f()
							}
						}
					})
				}
				forever(func() {
					// which may have changed in between
					_ = s.SendOOB(make([]byte, s.GetOOBMaxSize()))
					time.Sleep(777 * time.Microsecond)
				})
				forever(func() {
					lower := func(mtu int) {
						s.SetMtu(mtu)
						conn.limit(700)
					}
					var both sync.WaitGroup
					both.Go(func() { lower(700) })
					both.Go(func() { lower(300) })
					both.Wait()
					time.Sleep(5 * time.Millisecond)
					conn.limit(1500)
					s.SetMtu(1500)
					time.Sleep(5 * time.Millisecond)
				})
				got, err := io.ReadAll(peer)
				close(done)
				wg.Wait()
				if want := bytes.Repeat(data, rounds); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes of %d arrived, or changed: %v", len(got), len(want), err)
				}
				conn.mu.Lock()
				defer conn.mu.Unlock()
				if conn.large < mtuLarge || len(conn.bad) > 0 {
					t.Errorf("of %d datagrams %d were large, and %d while none should be: %v",
						conn.all, conn.large,
						len(conn.bad), conn.bad[:min(10, len(conn.bad))])
				}
			})
		})
	}
}

// The sender may call back: a logger, or a packet connection that has found the path's MTU.
func TestSetMtuFromWithinASend(t *testing.T) {
	pairRun(t, 1, shortLink, Config{NoCongestionControl: true}, func(t *testing.T, n *connPair) {
		calls := 0
		n.client.SetLogger(IKCP_LOG_OUTPUT, func(string, ...any) {
			start := time.Now()
			if calls++; calls < 100 && !n.client.SetMtu(1400-calls) {
				t.Error("SetMtu failed")
			}
			if d := time.Since(start); d > 0 {
				t.Errorf("SetMtu from a logger took %v", d)
			}
		})
		mustWrite(t, n.client, pattern(40_000, 1))
		if _, err := io.ReadFull(n.server, make([]byte, 40_000)); err != nil {
			t.Fatal(err)
		}
		n.client.SetLogger(0, nil)
		if calls < 29 {
			t.Errorf("the logger was called %d times, want once for each datagram", calls)
		}
	})
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		conn := &faultConn{PacketConn: w.endpoint("10.0.0.2:0")}
		s := w.dialOn(conn, 1, Config{})
		peer := w.join(s, l)
		took := time.Duration(-1)
		conn.fail(nil, func() error {
			if took < 0 {
				start := time.Now()
				s.SetMtu(1000)
				took = time.Since(start)
			}
			return nil
		})
		connWrite(t, s, "x")
		connWantRead(t, peer, "x")
		if took != sendPatience {
			t.Errorf("SetMtu from within WriteTo took %v, want it to stop waiting after %v",
				took, sendPatience)
		}
	})
}

// The path carries exactly the MTU. Segments sent and lost before FEC was switched on still fit.
func TestFECSwitchedOnKeepsInsideTheMTU(t *testing.T) {
	aead, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]BlockCrypt{"plain": nil, "AEAD": aead} {
		t.Run(name, func(t *testing.T) {
			connRun(t, shortLink, func(t *testing.T, w *connWorld) {
				c := Config{BlockCrypt: block, NoCongestionControl: true,
					StreamMode: true, FastResend: 2}
				s, peer, _ := w.pair(c)
				s.SetMtu(1200)
				var mu sync.Mutex
				tooLarge := 0
				start := time.Now()
				w.setDrop(func(from, _ string, payload []byte) bool {
					mu.Lock()
					defer mu.Unlock()
					if from == s.LocalAddr().String() && len(payload) > 1200 {
						tooLarge++
						return true
					}
					return time.Since(start) < 50*time.Millisecond
				})
				data := pattern(100_000, 1)
				go func() { _, _ = s.Write(data) }()
				time.Sleep(20 * time.Millisecond)
				if err := s.SetFEC(3, 2); err != nil {
					t.Fatal(err)
				}
				connWantRead(t, peer, string(data))
				go func() { _, _ = s.Write(data) }()
				connWantRead(t, peer, string(data))
				mu.Lock()
				defer mu.Unlock()
				if tooLarge > 0 {
					t.Errorf("%d datagrams were larger than the MTU", tooLarge)
				}
				if peer.Stats().FECParityReceived == 0 {
					t.Error("no parity arrived")
				}
			})
		})
	}
}
