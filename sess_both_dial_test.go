// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

// bothDialOrders are the ways in which two sides that have dialled each other can begin.
var bothDialOrders = map[string]func(t *testing.T, upper, lower *UDPSession){
	"upper first": func(t *testing.T, upper, lower *UDPSession) {
		sendAcross(t, upper, lower, pattern(5_000, 1))
		sendAcross(t, lower, upper, pattern(5_000, 2))
	},
	"lower first": func(t *testing.T, upper, lower *UDPSession) {
		sendAcross(t, lower, upper, pattern(5_000, 2))
		sendAcross(t, upper, lower, pattern(5_000, 1))
	},
	"together": func(t *testing.T, upper, lower *UDPSession) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			sendAcross(t, upper, lower, pattern(5_000, 1))
		}()
		sendAcross(t, lower, upper, pattern(5_000, 2))
		<-done
	},
}

// Both sides may dial, as after hole punching, whichever sends first and whatever is lost. A side
// still recognises its own packets when they are reflected.
func TestBothSidesMayDialWithOneKey(t *testing.T) {
	for name, c := range replayConfigs(t) {
		for order, begin := range bothDialOrders {
			for _, loss := range []float64{0, 0.3} {
				t.Run(fmt.Sprint(name, " ", order, " loss ", loss), func(t *testing.T) {
					link := simProfile{Delay: 20 * time.Millisecond, Loss: loss}
					connRunSeed(t, 3, link, func(t *testing.T, w *connWorld) {
						c.NoDelay, c.Interval = true, 10*time.Millisecond
						var rec recorder
						w.setDrop(rec.tap)
						upper, lower := bothDial(w, c)
						begin(t, upper, lower)
						for i := range 5 {
							sendAcross(t, upper, lower, pattern(20_000, uint64(i)))
							sendAcross(t, lower, upper, pattern(20_000, uint64(i)))
						}
						wantNothingReflected(t, &rec, upper, lower)
					})
				})
			}
		}
	}
}

// wantNothingReflected sends both sides their own packets, out-of-band ones too.
func wantNothingReflected(t *testing.T, rec *recorder, upper, lower *UDPSession) {
	t.Helper()
	for _, s := range []*UDPSession{upper, lower} {
		_ = s.SetOOBHandler(func(p []byte) { t.Errorf("out of band came %q", p) })
	}
	before := [2]Stats{upper.Stats(), lower.Stats()}
	for i, s := range []*UDPSession{upper, lower} {
		other := []*UDPSession{lower, upper}[i]
		own := slices.Clone(rec.from(s.LocalAddr().String()))
		for _, p := range own {
			endpointOf(s).conn.(*simEndpoint).put(p, other.LocalAddr())
		}
	}
	time.Sleep(time.Second)
	for i, s := range []*UDPSession{upper, lower} {
		if n := s.Stats().BytesReceived - before[i].BytesReceived; n != 0 || connEnded(s) {
			t.Errorf("%d bytes were received of what came back, ended: %v", n, connEnded(s))
		}
		mustReadNothing(t, s)
	}
}

// Two sides that are distinguished by their marks keep no nonces of what they send. Only the first
// packets use memory.
func TestBothSidesDialledKeepFewNonces(t *testing.T) {
	c := replayConfigs(t)["AES-GCM"]
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		upper, lower := bothDial(w, c)
		sendAcross(t, upper, lower, pattern(100, 1))
		sendAcross(t, lower, upper, pattern(100, 1))
		kept := func(s *UDPSession) int { return int(endpointOf(s).demux.replay.sent.count) }
		before := kept(upper) + kept(lower)
		sendAcross(t, upper, lower, pattern(300_000, 1))
		sendAcross(t, lower, upper, pattern(300_000, 1))
		time.Sleep(time.Second)
		if n := kept(upper) + kept(lower); n != before || n > 20 {
			t.Errorf("%d nonces are kept, %d after the first packets", n, before)
		}
	})
}

// A peer without marks that has dialled too is distinguished by the nonces of what was sent to it.
func TestPeerWithoutMarksMayDialToo(t *testing.T) {
	for order, begin := range bothDialOrders {
		t.Run(order, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				var rec recorder
				w.setDrop(rec.tap)
				upper, lower := bothDial(w, replayConfigs(t)["AES-GCM"])
				marksOff(upper)
				begin(t, upper, lower)
				sendAcross(t, upper, lower, pattern(20_000, 1))
				sendAcross(t, lower, upper, pattern(20_000, 1))
				wantNothingReflected(t, &rec, upper, lower)
			})
		})
	}
}

// If one of two sides that have dialled each other is restarted, the old session ends on the other
// side, whichever it is.
func TestRestartedSideThatDialledIsNoticed(t *testing.T) {
	for _, which := range []string{"upper", "lower"} {
		t.Run(which, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				c := replayConfigs(t)["AES-GCM"]
				upper, lower := bothDial(w, c)
				bothDialOrders["together"](t, upper, lower)
				gone, stays := upper, lower
				if which == "lower" {
					gone, stays = lower, upper
				}
				addr := gone.LocalAddr()
				_ = endpointOf(gone).conn.(*simEndpoint).Close()
				again := w.dialOver(w.endpoint(addr.String()), true, stays.LocalAddr(), 77, c)
				w.sessions = append(w.sessions, again)
				connWrite(t, again, "new")
				_ = stays.SetReadDeadline(time.Now().Add(10 * time.Second))
				if n, err := stays.Read(make([]byte, 10)); n != 0 || err == nil || isTimeout(err) {
					t.Errorf("read %d bytes, %v", n, err)
				}
			})
		})
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
