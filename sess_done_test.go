// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"
	"time"
)

// A caller's connection is not read any more soon after the session over it was closed and the peer
// has everything. The peer may close its side or not. The next session over it loses nothing.
func TestLentConnectionIsFreeSoonAfterClose(t *testing.T) {
	for name, wait := range map[string]func(s *UDPSession){
		"200 ms": func(*UDPSession) { time.Sleep(200 * time.Millisecond) },
		"Done":   func(s *UDPSession) { <-s.Done() },
	} {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{})
				conn := &restartReads{PacketConn: w.endpoint("10.0.0.2:7")}
				defer conn.Close()
				for conv := range uint32(20) {
					s := w.dialOver(conn, false, l.Addr(), conv, Config{})
					w.join(s, l)
					if st := s.Stats(); retransmits(st) > 0 {
						t.Errorf("session %d has sent segments again: %+v", conv, st)
					}
					connWrite(t, s, "goodbye")
					start := time.Now()
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					wait(s)
					if d := time.Since(start); d > 200*time.Millisecond {
						t.Errorf("session %d: the end took %v", conv, d)
					}
					if n := conn.inside.Load(); n > 0 {
						t.Fatalf("session %d: %d are reading after Close", conv, n)
					}
				}
			})
		})
	}
}

// Done is closed for a session that ended before the call, and not before the session has ended.
func TestDoneTellsOfTheEnd(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		s, peer, _ := w.pair(Config{})
		select {
		case <-s.Done():
			t.Fatal("Done is closed while the session lives")
		default:
		}
		s.Close()
		peer.Close()
		<-s.Done()
		time.Sleep(time.Second)
		<-peer.Done()
	})
}
