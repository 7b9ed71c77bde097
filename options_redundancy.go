// SPDX-License-Identifier: MIT

package kcp

// Redundancy chooses how many small segments a datagram carries once more. In a session that sends
// little, a datagram that leaves with new data, of 512 bytes at most, has room for what the peer
// has not acknowledged yet. What is lost then arrives with the next message rather than after a
// timeout. That needs no further datagrams, and any peer understands it.
//
// At most 512 bytes of segments are carried together, and nothing is copied while more data waits,
// nor in a session that sends more than 64 kB a second. Copies count in Stats.CopiedSegments, and
// against the limit of SetRateLimit. They are no retransmissions. Each side chooses for what it
// sends.
type Redundancy int

const (
	// RedundancyAuto copies one segment in no-delay mode, two where 2 % of the segments are lost,
	// and three from 8 % on. Without no-delay mode it copies none. It is the default.
	//
	// In no-delay mode the second retransmission of a segment is made twice, in two datagrams,
	// unless losses are a sign of congestion. Where 10 % are lost, so is the first one of the
	// oldest segment.
	RedundancyAuto Redundancy = 0

	// RedundancyOff sends nothing twice that is not taken for lost.
	//
	// Redundancy(1) to Redundancy(3) copy as many segments, whatever is lost and in any mode.
	RedundancyOff Redundancy = -1
)

// rule returns what r means. An error names the field or the argument that r is the value of.
func (r Redundancy) rule(name string) (copyRule, error) {
	switch {
	case r == RedundancyOff:
		return copiesNone, nil
	case r < RedundancyOff, r > Redundancy(copiesMost):
		return 0, badArgument(name, r, "RedundancyOff, RedundancyAuto, or 1 to 3")
	}
	return copyRule(r), nil
}
