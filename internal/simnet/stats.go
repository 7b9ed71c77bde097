// SPDX-License-Identifier: MIT

package simnet

// Cause is the reason why a packet was lost.
type Cause uint8

// The causes, all but the last in the order in which a packet meets them.
const (
	LossTap     Cause = iota // the tap dropped it
	LossMTU                  // larger than Profile.MTU
	LossQueue                // Profile.Queue was full
	LossOutage               // Profile.Outage, or the link's state was Down
	LossRandom               // Profile.Loss
	LossBurst                // Profile.Burst
	LossRun                  // Profile.Runs
	LossNAT                  // sent to an address that its endpoint was rebound away from
	LossNoRoute              // no endpoint listens there
	LossBuffer               // the receive queue was full
	LossClose                // still on its way when the network was closed
	LossPolicer              // exceeded Profile.Policer, which comes before the queue
	causes
)

var causeNames = [causes]string{"tap", "mtu", "queue", "outage", "random", "burst", "run", "nat", "no-route", "buffer", "close", "policer"}

// String returns the name that the text trace uses.
func (c Cause) String() string {
	if c < causes {
		return causeNames[c]
	}
	return "unknown"
}

// Stats counts what happened on a link, or on all of them. At any time
// Sent + Duplicated = Delivered + all Lost + InTransit.
type Stats struct {
	Sent           uint64 // packets put on the link
	SentBytes      uint64
	Delivered      uint64 // packets put into a receive queue
	DeliveredBytes uint64
	Refused        uint64 // WriteTo calls that failed by script; not in Sent
	Duplicated     uint64
	Corrupted      uint64
	Reordered      uint64 // held back by Profile.Reorder
	Lost           [causes]uint64
	InTransit      int // packets on the link now, queue included
	QueueLen       int // packets waiting for the line now
	QueuePeak      int // the most that ever waited; of several links, the longest
}

// LostTotal returns the number of packets lost, whatever the cause.
func (s Stats) LostTotal() uint64 {
	var sum uint64
	for _, v := range s.Lost {
		sum += v
	}
	return sum
}

func (s *Stats) add(o Stats) {
	s.Sent += o.Sent
	s.SentBytes += o.SentBytes
	s.Delivered += o.Delivered
	s.DeliveredBytes += o.DeliveredBytes
	s.Refused += o.Refused
	s.Duplicated += o.Duplicated
	s.Corrupted += o.Corrupted
	s.Reordered += o.Reordered
	for i, v := range o.Lost {
		s.Lost[i] += v
	}
	s.InTransit += o.InTransit
	s.QueueLen += o.QueueLen
	s.QueuePeak = max(s.QueuePeak, o.QueuePeak)
}

// Stats returns the sum over all links. Packets of the current instant are not
// counted yet.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	var sum Stats
	for _, l := range n.links {
		sum.add(l.snapshot())
	}
	return sum
}

// Stats returns the counters of the link. Packets of the current instant are
// not counted yet.
func (l *Link) Stats() Stats {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	return l.snapshot()
}

func (l *Link) snapshot() Stats {
	s := l.stats
	s.QueueLen = l.waiting()
	return s
}

// EndpointStats counts what the socket itself did.
type EndpointStats struct {
	Written    uint64 // WriteTo calls that succeeded
	WriteFails uint64 // WriteTo calls that failed by script
	Received   uint64 // packets returned by ReadFrom
	ReadFails  uint64 // ReadFrom calls that failed by script
	Overflowed uint64 // packets lost to a full receive queue
	QueueLen   int    // packets in the receive queue now
	QueuePeak  int
}

// Stats returns the counters of the endpoint.
func (e *Endpoint) Stats() EndpointStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.QueueLen = e.rx.len()
	return s
}
