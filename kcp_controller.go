// SPDX-License-Identifier: MIT

package kcp

// A controller decides how many segments may be in flight. It has no clock and keeps no reference
// to its arguments. Implementations are the classic congestion window, no congestion control, and
// the limit by what the path has delivered. The rate limit is separate.
type controller interface {
	// window returns how many segments may be in flight, math.MaxUint32 if there is no limit. Only
	// acked, lost and undo change it.
	window() uint32
	// sent notes a transmission.
	sent(order uint64, now instant)
	// acked notes everything that one datagram has acknowledged. The losses that it reveals are
	// reported afterwards.
	acked(e ackEvent)
	// lost notes a transmission that has been found lost.
	lost(e lossEvent)
	// undo reverts the effect of the latest timeout: a segment taken for lost has arrived.
	undo()
}

// An ackEvent is what one datagram has acknowledged.
type ackEvent struct {
	now      instant
	newest   uint64 // the highest transmission acknowledged so far
	segments uint32 // newly acknowledged
	inFlight uint32 // left in flight
	limit    uint32 // the most that the send window and the peer's allow
	delayed  bool   // the peer delays acknowledgements, so the time of a round is no measure
}

// A lossEvent is one transmission that has been found lost.
type lossEvent struct {
	order    uint64 // of the transmission
	newest   uint64 // the newest transmission made
	inFlight uint32 // in flight, the lost one included
	cause    lossCause
}
