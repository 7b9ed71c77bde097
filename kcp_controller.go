// SPDX-License-Identifier: MIT

package kcp

import "math"

// A controller decides how much may be in flight and how fast it leaves. It has no clock, takes no
// lock, and keeps no reference to its arguments. Bytes are those of KCP segments with their
// headers, rates are bytes a second. The rate limit of SetRateLimit is separate.
type controller interface {
	// sent notes the transmissions of a flush, whose record is f. It is called again if the record
	// takes up those of a later flush. The controller may set f.tag and f.limited.
	sent(now instant, f *flight)
	// acked notes everything that one datagram has acknowledged. The losses that it reveals have
	// been reported before.
	acked(now instant, a *ackEvent)
	// lost notes a transmission that has been found lost.
	lost(now instant, l *lossEvent)
	// spurious reverts an earlier lost of so many bytes: they have arrived after all.
	spurious(now instant, bytes int64)
	// collapsed notes that nothing has been acknowledged for three timeouts in a row.
	collapsed(now instant)
	// resized sets the size of a full segment with its header.
	resized(mss int)
	// window returns how many bytes and how many segments may be in flight, and unlimited for no
	// limit. Only the methods above change it.
	window() (bytes int64, segments uint32)
	// pace returns the rate, 0 for no pacing, and how many bytes may leave at once.
	pace() (rate, quantum int64)
	// report fills in what is known of the path.
	report(r *controlReport)
}

// unlimited is a window of bytes or a rate without a limit.
const unlimited = int64(1) << 60

// unlimitedSegments is a window of segments without a limit.
const unlimitedSegments uint32 = math.MaxUint32

// A flight is the record of the transmissions of one flush, or of several within a short time. What
// is acknowledged later is compared with it (draft-ietf-ccwg-bbr, section 4.1.2).
type flight struct {
	order       uint64  // of its first transmission
	sentAt      instant // when it was sent
	firstSentAt instant // when the newest transmission delivered by then had been sent
	deliveredAt instant // when that was acknowledged
	delivered   uint64  // bytes of the session delivered by then
	lost        uint64  // bytes of the session found lost by then
	inFlight    int64   // bytes, those of this flush included
	limited     bool    // the program or a window limited the sender
	tag         uint8   // the controller's own
}

// An ackEvent is what one datagram has acknowledged.
type ackEvent struct {
	bytes     int64   // newly acknowledged
	segments  uint32  // likewise
	tagged    uint32  // of these, whose flight has a tag other than 0
	lost      int64   // bytes newly found lost
	rtt       instant // of the newest transmission, negative if unknown
	newest    *flight // the record of the newest transmission, nil if there is none
	rate      int64   // delivery rate, 0 without a sample
	sample    int64   // bytes delivered over the interval of the sample
	inFlight  int64   // bytes left in flight
	left      uint32  // segments left in flight
	limit     uint32  // the most segments that the send window and the peer's allow
	delivered uint64  // bytes of the session
	lostTotal uint64  // likewise: found lost
	manner    ackManner
	sight     lossSight
}

// lossSight is what the sender sees of the losses of the path.
type lossSight uint8

const (
	lossSeen   lossSight = iota
	lossHidden           // parity or copies make up for some, so that a full queue loses little
)

// ackManner is how the peer acknowledges.
type ackManner uint8

const (
	acksOnce     ackManner = iota // a lost acknowledgement looks like a lost segment
	acksRepeated                  // it repeats what it holds beyond a gap
)

// A lossEvent is one transmission that has been found lost.
type lossEvent struct {
	flight   *flight // its record, nil if there is none any more
	order    uint64  // its number
	newest   uint64  // the newest transmission made
	bytes    int64
	inFlight int64  // bytes in flight, the lost ones included
	segments uint32 // likewise
	cause    lossCause
}

// A controlReport is what a controller knows of the path, for Stats.
type controlReport struct {
	state     string // the phase of the controller, "" if it has none
	bandwidth int64  // of the path, 0 if unknown
	minRTT    instant
	pacing    int64   // the rate at which data leaves, 0 for no pacing
	loss      float64 // the share of packets that the path loses at random
	sense     lossSense
}

// lossSense is what the controller takes losses for.
type lossSense uint8

const (
	lossesRandom     lossSense = iota
	lossesCongestion           // of late they were those of a full queue, or may be
)
