// SPDX-License-Identifier: MIT

package kcp

// controller decides how many segments may be in flight. It has no clock and keeps nothing of what it is given. The classic
// congestion window, the absence of one, and the limit by what the path has carried implement it. The rate limit is apart.
type controller interface {
	// window returns how many segments may be in flight, math.MaxUint32 where nothing limits them. It changes with
	// acked, lost and undo alone.
	window() uint32
	// sent notes a transmission.
	sent(order uint64, now instant)
	// acked notes all that one datagram has acknowledged. Losses that follow from it come afterwards.
	acked(e ackEvent)
	// lost notes a transmission found lost.
	lost(e lossEvent)
	// undo takes back what the latest timeout did: a segment given up for lost has arrived.
	undo()
}

// ackEvent is what one datagram has acknowledged.
type ackEvent struct {
	now      instant
	newest   uint64 // the highest transmission acknowledged so far
	segments uint32 // newly acknowledged
	inFlight uint32 // left in flight
	limit    uint32 // the most that the send window and the peer's allow
	delayed  bool   // the peer's acknowledgements wait for its interval, so that their time tells nothing of the path
}

// lossEvent is one transmission found lost.
type lossEvent struct {
	order    uint64 // of the transmission
	newest   uint64 // the newest transmission made
	inFlight uint32 // in flight, the lost one included
	cause    lossCause
}
