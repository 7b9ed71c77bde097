// SPDX-License-Identifier: MIT

package kcp

// flightGuard keeps what is in flight on a very short path near what the path holds. A window of tens of thousands of
// segments, sent at memory speed, would only fill the peer's socket buffer until it overflows, and its bytes would leave
// the processor's caches before they are read. On paths with a round trip of flightPath and more it opens and lets the
// windows alone decide.
//
// Once a round trip it looks at the time that one transmission took to be acknowledged, on a clock finer than the
// milliseconds of the wire. Without such a clock it does nothing, nor towards a peer that does not know the extension: a
// deployed one lets its ACKs wait for its interval, so that its round trips tell nothing of the path.
type flightGuard struct {
	limit  uint32 // segments in flight
	least  int64  // shortest round trip, ns
	probe  uint64 // the transmission that is being timed, 0 for none
	sentAt int64  // when it was made
	bound  bool   // the limit has held something back since
}

const (
	// flightStart is the limit before the first sample, and the least: 256 segments are more than a round trip of
	// 0.2 ms holds at 10 Gbit/s.
	flightStart = 512
	// flightPath: a path whose shortest round trip is longer is not one that memory speed matters on.
	flightPath = int64(8e6)
	// flightQueue is how much longer than the shortest a round trip may become by queueing.
	flightQueue = int64(400e3)
)

// sent begins to time a transmission, if none is being timed.
func (g *flightGuard) sent(order uint64, now int64) {
	if g.probe == 0 {
		g.probe, g.sentAt = order, now
	}
}

// acked notes that the transmission number order, or a later one, has been acknowledged.
func (g *flightGuard) acked(order uint64, now int64) {
	if g.probe == 0 || order < g.probe {
		return
	}
	rtt := now - g.sentAt
	g.probe = 0
	if g.least == 0 || rtt < g.least {
		g.least = rtt
	}
	switch {
	case g.least >= flightPath:
		g.limit = min(g.limit*4, wndMax)
	case rtt > 2*g.least+flightQueue:
		g.limit = max(g.limit-g.limit/4, flightStart)
	case g.bound:
		g.limit = min(g.limit+g.limit/8, wndMax)
	}
	g.bound = false
}

// holds reports whether another segment has to wait.
func (g *flightGuard) holds(inFlight uint32) bool {
	if inFlight < g.limit {
		return false
	}
	g.bound = true
	return true
}
