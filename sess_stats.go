// SPDX-License-Identifier: MIT

package kcp

import "time"

// Stats has the figures of one session. Counts are since its beginning.
type Stats struct {
	BytesSent     uint64 // of the application, sent at least once
	BytesReceived uint64 // of the application, arrived at least once

	PacketsSent       uint64 // datagrams, those that the socket refused included
	PacketsReceived   uint64 // datagrams that verified
	WireBytesSent     uint64 // UDP payload of these datagrams
	WireBytesReceived uint64
	SegmentsSent      uint64 // KCP segments: data, acknowledgements and window messages
	SegmentsReceived  uint64

	FastRetransmits    uint64 // sent again: as many later ones as FastResend were acknowledged
	EarlyRetransmits   uint64 // sent again: a later one was, and 9/8 of a round trip was over
	TimeoutRetransmits uint64 // sent again: the retransmission timeout ran out
	// SpuriousRetransmits counts segments found lost that had arrived, or arrived later. Sending
	// them again, where there was time for it, was not needed.
	SpuriousRetransmits uint64

	// CopiedSegments counts segments that were sent once more in a datagram with other data, and
	// retransmissions that were made twice (Redundancy). They are no retransmissions.
	CopiedSegments uint64

	DuplicatesReceived uint64 // data segments that were there already
	OutOfWindow        uint64 // data segments outside the receive window, dropped
	InvalidFields      uint64 // numbers that an honest peer cannot have sent, ignored
	InputErrors        uint64 // datagrams that were, or ended in, no segment

	// MessagesDropped counts messages of WriteMessage that were queued and given up at their
	// deadline, MessagesSkipped those that the peer has given up. A message of which a late copy
	// arrives counts as dropped at the sender alone. Both counts wrap at 2^32.
	MessagesDropped, MessagesSkipped uint64

	// Round-trip times are in whole milliseconds. One of less than a millisecond is 0.
	SRTT    time.Duration // smoothed round-trip time, 0 before the first sample
	RTTVar  time.Duration // its deviation
	MinRTT  time.Duration // the shortest, without a queue
	LastRTT time.Duration
	RTO     time.Duration // retransmission timeout before any back-off

	// CongestionControl is the controller in use, never "".
	CongestionControl CongestionControl
	// CongestionState is the phase of the controller, such as "startup" or "cruise". It is for
	// people, and may change with each version. It is "" if the controller has no phases, and while
	// so little is in flight, ten segments or less, that no controller is needed.
	CongestionState string
	// Bandwidth is the controller's estimate of what the path carries, in bytes a second of KCP
	// segments; 0 before the first estimate, and if the controller makes none.
	Bandwidth int64
	// PacingRate is the rate at which segments leave now, in bytes a second; 0 if they are not
	// paced, as where a round trip takes less than a millisecond. The rate of SetRateLimit is not
	// in it.
	PacingRate int64
	// RandomLoss is the controller's estimate of the share of packets, 0 to 1, that the path loses
	// at random; 0 if it makes none.
	RandomLoss float64

	// PathMTU is the size of the largest datagram that the session sends, in bytes of UDP payload.
	// It changes if the path's MTU is searched for (Config.MTUDiscovery), and if the system refuses
	// a datagram as too large.
	PathMTU int

	SendWindow    int // segments; this and the next as they have grown
	ReceiveWindow int
	PeerWindow    int // the peer's advertised window
	// CongestionWindow is how much the controller lets be in flight, in full segments: its bytes
	// divided by the size of one, rounded up. 0 is no limit, as without a controller or where a
	// round trip takes less than a millisecond.
	CongestionWindow int
	InFlight         int // segments sent and not acknowledged
	SendQueue        int // segments waiting to be sent
	ReceiveQueue     int // segments waiting to be read
	ReceiveHoles     int // segments that wait for one missing before them

	// PeerExtended is true if the peer is known to speak the control messages. Such a peer is
	// notified of the end of the stream and of a reset, and answers a keepalive. A legacy peer does
	// not.
	PeerExtended bool

	// Keys is what protects the session's packets. KeysSince is when keys of the session's own were
	// made, to the second; it is the zero time while there are none.
	Keys      KeyKind
	KeysSince time.Time

	// AddressProved is true if the peer's address is validated, or the session was dialled. Before,
	// little is sent (Config.AmplificationLimit).
	AddressProved bool

	OOBDropped uint64 // out-of-band packets dropped because the handler was too slow

	FECGroupsComplete  uint64 // all data packets arrived by themselves
	FECGroupsRecovered uint64 // the missing ones were rebuilt
	FECGroupsFailed    uint64 // given up: too much was lost
	FECRecovered       uint64 // data packets rebuilt
	FECParityReceived  uint64
	FECParityUnused    uint64 // parity packets that were not needed
	FECErrors          uint64 // shards that were malformed or out of place

	// TraceDropped counts events that are missing in the session's trace because its writer was too
	// slow. TraceError is the error of the writer that has ended the trace, or nil. Both are those
	// of the latest trace.
	TraceDropped uint64
	TraceError   error

	// Socket has the figures of the session's socket. The socket of an accepted session is its
	// listener's, with all its sessions.
	Socket SocketStats
}

// KeyKind is what protects the packets of a session.
type KeyKind string

const (
	KeysNone      KeyKind = ""           // nothing: there is no BlockCrypt
	KeysPreShared KeyKind = "pre-shared" // the key of the BlockCrypt
	KeysSession   KeyKind = "session"    // keys of the session's own
)

// Stats returns the session's figures. The session may have ended.
func (s *UDPSession) Stats() Stats {
	socket := s.env.host.socketStats()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.core
	st := Stats{
		Socket:    socket,
		BytesSent: c.stats.bytesSent, BytesReceived: c.stats.bytesReceived,
		PacketsSent: s.sent.packets, PacketsReceived: s.received.packets,
		WireBytesSent: s.sent.bytes, WireBytesReceived: s.received.bytes,
		SegmentsSent: c.stats.segsOut, SegmentsReceived: c.stats.segsIn,
		FastRetransmits: c.stats.fastRetrans, EarlyRetransmits: c.stats.earlyRetrans,
		TimeoutRetransmits: c.stats.timeoutRetrans, SpuriousRetransmits: c.stats.spurious,
		CopiedSegments: c.copiedSegments(), DuplicatesReceived: c.stats.repeats,
		OutOfWindow: c.stats.outOfWindow, InvalidFields: c.stats.badFields,
		MessagesDropped: uint64(c.droppedMessages()), MessagesSkipped: uint64(c.skipped),
		InputErrors: c.stats.inputErrors, SRTT: c.rtt.srtt().duration(),
		RTTVar: c.rtt.rttvar().duration(), MinRTT: c.rtt.least.duration(),
		LastRTT: max(c.rtt.latest, 0).duration(), RTO: c.rto().duration(),
		SendWindow: int(c.sndWnd), ReceiveWindow: int(c.rcvWnd), PeerWindow: int(c.rmtWnd),
		InFlight: int(c.queuedOutstanding()), SendQueue: int(c.sendNxt.distance(c.sendEnd)),
		ReceiveQueue: int(c.readable()), ReceiveHoles: int(c.outOfOrder),
		PeerExtended: c.ctl.known(), AddressProved: c.addr == nil,
		OOBDropped: s.oob.Load().droppedCount(),
	}
	st.PathMTU = int(s.pathMTU)
	s.reportControlLocked(&st)
	s.reportKeysLocked(&st)
	if c.trace != nil {
		st.TraceDropped, st.TraceError = c.trace.dropped.Load(), c.trace.err()
	}
	f := s.fecStatsLocked()
	st.FECGroupsComplete, st.FECGroupsRecovered = f.complete, f.recovered
	st.FECGroupsFailed = f.failed
	st.FECRecovered, st.FECErrors = f.packets, f.errors
	st.FECParityReceived, st.FECParityUnused = f.parity, f.parityUnused
	return st
}

// reportKeysLocked adds what protects the packets to st. s.mu must be held.
func (s *UDPSession) reportKeysLocked(st *Stats) {
	switch {
	case s.keys.have():
		st.Keys = KeysSession
		st.KeysSince = time.Now().Add((s.keys.since() - s.now()).duration()).Round(time.Second)
	case s.env.sealer.headroom() > 0:
		st.Keys = KeysPreShared
	}
}

// reportControlLocked adds the figures of congestion control to st. s.mu must be held.
func (s *UDPSession) reportControlLocked(st *Stats) {
	c := &s.core
	r := c.control()
	st.CongestionControl, st.CongestionState = congestionNames[c.kind], r.state
	st.Bandwidth, st.PacingRate, st.RandomLoss = r.bandwidth, r.pacing, r.loss
	st.CongestionWindow = int(c.congestionWindow())
}

// countLocked adds to n what has been counted since the last call. s.mu must be held.
func (s *UDPSession) countLocked(n *counters) {
	c := &s.core
	c.stats.addTo(&s.counted, n)
	n.copiedSegs += c.newCopies()
	DefaultSnmp.queues(c.sendNxt.distance(c.sendEnd), c.queuedOutstanding(), c.readable())
}

// traffic counts datagrams and the bytes of their UDP payload.
type traffic struct{ packets, bytes uint64 }

func (t *traffic) add(packets, bytes int) {
	t.packets += uint64(packets)
	t.bytes += uint64(bytes)
}

// countedStats is the part of coreStats that the totals include already, in the low 32 bits. Much
// less is counted between two calls.
type countedStats struct {
	segsIn, segsOut, bytesSent, bytesReceived          uint32
	fastRetrans, earlyRetrans, timeoutRetrans, repeats uint32
}

// addTo adds to n what has been counted since the last call.
func (s *coreStats) addTo(counted *countedStats, n *counters) {
	fast := news(s.fastRetrans, &counted.fastRetrans)
	early := news(s.earlyRetrans, &counted.earlyRetrans)
	timeout := news(s.timeoutRetrans, &counted.timeoutRetrans)
	n.inSegs += news(s.segsIn, &counted.segsIn)
	n.outSegs += news(s.segsOut, &counted.segsOut)
	n.bytesSent += news(s.bytesSent, &counted.bytesSent)
	n.bytesReceived += news(s.bytesReceived, &counted.bytesReceived)
	n.fastRetransSegs += fast
	n.earlyRetransSegs += early
	n.lostSegs += timeout
	n.retransSegs += fast + early + timeout
	n.repeatSegs += news(s.repeats, &counted.repeats)
}

// news returns how much a counter has gained since the last call.
func news(count uint64, counted *uint32) uint64 {
	gained := uint32(count) - *counted
	*counted = uint32(count)
	return uint64(gained)
}

// fecStatsLocked returns the decoder's figures. s.mu must be held.
func (s *UDPSession) fecStatsLocked() fecStats {
	if s.decoder == nil {
		if s.fecDone != nil {
			return *s.fecDone
		}
		return fecStats{}
	}
	return s.decoder.stats()
}

// addTo adds to n what has been counted since before.
func (f *fecStats) addTo(before fecStats, n *counters) {
	n.fecFullShardSet += f.complete - before.complete
	n.fecShardSet += f.complete - before.complete + f.recovered - before.recovered +
		f.failed - before.failed
	n.fecShardMin += f.failed - before.failed
	n.fecRecovered += f.packets - before.packets
	n.fecParityShards += f.parity - before.parity
	n.fecErrs += f.errors - before.errors
}
