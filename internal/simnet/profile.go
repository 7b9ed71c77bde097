// SPDX-License-Identifier: MIT

package simnet

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// maxDuration bounds each time in a profile: ten years, so that no sum of them
// overflows.
const maxDuration = 10 * 365 * 24 * int64(time.Hour)

// maxBucket bounds Policer.Bucket in bytes, so that the bits in it times 1e9 do not overflow.
const maxBucket = 1 << 30

// Profile describes what a link does to packets in one direction. The zero value is
// a perfect link: no rate limit, no delay, no loss. Probabilities are per
// packet, 0 to 1, and independent of one another.
type Profile struct {
	// Rate is the speed of the line in bits per second. 0 is unlimited.
	Rate int64
	// Overhead is the number of bytes that each packet takes on the line in
	// addition to its payload (28 for IPv4 and UDP). It counts for Rate alone.
	Overhead int
	// Queue is the number of packets that may wait behind the one that is
	// being sent; one more is dropped. 0 is unlimited.
	Queue int
	// QueueBytes bounds the queue likewise in bytes, Overhead included. 0 is
	// unlimited.
	QueueBytes int
	// Policer drops what exceeds its rate, before the queue.
	Policer Policer
	// MTU is the largest payload in bytes; a larger one is dropped. 0 is none.
	MTU int

	// Delay is the propagation delay.
	Delay time.Duration
	// Jitter adds an even share of [0, Jitter] to the delay of each packet.
	// Packets keep their order, by waiting for the one before, unless
	// JitterReorders is set.
	Jitter time.Duration
	// JitterReorders lets a packet overtake one that drew more jitter.
	JitterReorders bool
	// Reorder is the probability that a packet is held back by ReorderDelay
	// while those behind it pass.
	Reorder      float64
	ReorderDelay time.Duration

	// Loss is the probability that a packet is lost.
	Loss float64
	// LossMaxRun bounds how many packets in a row Loss takes. 0 is no bound.
	LossMaxRun int
	// Burst loses packets by a two-state Markov chain.
	Burst GilbertElliott
	// Runs loses packets in runs of a fixed length.
	Runs LossRuns
	// Outage is a schedule on which everything is lost.
	Outage Outage

	// Duplicate is the probability that a packet arrives twice, the second
	// time after an even share of [0, DuplicateDelay].
	Duplicate      float64
	DuplicateDelay time.Duration
	// Corrupt is the probability that CorruptBits bits of the payload are
	// flipped. CorruptBits 0 means 1.
	Corrupt     float64
	CorruptBits int
}

// Policer is a token bucket that drops packets rather than delays them. It is full at first. A
// packet passes if its bytes, with Profile.Overhead, are there. The zero value lets all pass.
type Policer struct {
	Rate   int64 // bits per second at which the bucket fills
	Bucket int   // bytes it holds; with a Rate at least 1
}

// GilbertElliott is the burst loss model of Gilbert (1960) and Elliott (1963).
// A link starts in the good state. For each packet it first changes state with
// probability ToBad or ToGood, then loses the packet with the probability of
// the state it is in. The zero value loses nothing.
type GilbertElliott struct {
	ToBad, ToGood     float64
	LossGood, LossBad float64
}

// BurstLoss returns the chain that loses all packets of its bad state. It loses the share rate of
// all packets (0 <= rate < 1), and meanRun (at least 1) in a row on average. It needs rate/(1-rate)
// <= meanRun.
func BurstLoss(rate, meanRun float64) GilbertElliott {
	toGood := 1 / meanRun
	return GilbertElliott{ToBad: toGood * rate / (1 - rate), ToGood: toGood, LossBad: 1}
}

// LossRuns loses packets in runs: outside a run, each packet starts one with
// probability Start, and it and those behind it, Length in all, are lost.
// The zero value loses nothing.
type LossRuns struct {
	Start  float64
	Length int
}

// RunLoss returns the runs of length packets that lose rate of all packets.
func RunLoss(rate float64, length int) LossRuns {
	return LossRuns{Start: rate / (rate + float64(length)*(1-rate)), Length: length}
}

// Outage is a schedule of blackholes, counted from New: the link works for
// After, then it is down for Down and up for Up, in turn for ever. With Up 0
// there is one outage only. The zero value is no outage.
type Outage struct {
	After, Down, Up time.Duration
}

// active reports whether the link is down at t, in ns since New.
func (o Outage) active(t int64) bool {
	t -= int64(o.After)
	if t < 0 || o.Down <= 0 {
		return false
	}
	if o.Up > 0 {
		t %= int64(o.Down + o.Up)
	}
	return t < int64(o.Down)
}

// Validate returns an error that names the first field out of its range.
func (p Profile) Validate() error {
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"Reorder", p.Reorder}, {"Loss", p.Loss}, {"Duplicate", p.Duplicate}, {"Corrupt", p.Corrupt},
		{"Burst.ToBad", p.Burst.ToBad}, {"Burst.ToGood", p.Burst.ToGood},
		{"Burst.LossGood", p.Burst.LossGood}, {"Burst.LossBad", p.Burst.LossBad},
		{"Runs.Start", p.Runs.Start},
	} {
		// Written so that NaN fails.
		if !(f.value >= 0 && f.value <= 1) {
			return fmt.Errorf("simnet: Profile.%s is %v, want a probability", f.name, f.value)
		}
	}
	for _, f := range []struct {
		name         string
		value, limit int64
	}{
		{"Rate", p.Rate, math.MaxInt64}, {"Overhead", int64(p.Overhead), math.MaxUint16},
		{"Queue", int64(p.Queue), math.MaxInt64}, {"QueueBytes", int64(p.QueueBytes), math.MaxInt64},
		{"Policer.Rate", p.Policer.Rate, math.MaxInt64}, {"Policer.Bucket", int64(p.Policer.Bucket), maxBucket},
		{"MTU", int64(p.MTU), math.MaxInt64},
		{"LossMaxRun", int64(p.LossMaxRun), math.MaxInt64}, {"Runs.Length", int64(p.Runs.Length), math.MaxInt64},
		{"CorruptBits", int64(p.CorruptBits), math.MaxInt64},
		{"Delay", int64(p.Delay), maxDuration}, {"Jitter", int64(p.Jitter), maxDuration},
		{"ReorderDelay", int64(p.ReorderDelay), maxDuration}, {"DuplicateDelay", int64(p.DuplicateDelay), maxDuration},
		{"Outage.After", int64(p.Outage.After), maxDuration}, {"Outage.Down", int64(p.Outage.Down), maxDuration},
		{"Outage.Up", int64(p.Outage.Up), maxDuration},
	} {
		if f.value < 0 || f.value > f.limit {
			return fmt.Errorf("simnet: Profile.%s is %d, want 0 to %d", f.name, f.value, f.limit)
		}
	}
	if p.Policer.Rate > 0 && p.Policer.Bucket == 0 {
		return errors.New("simnet: Profile.Policer.Bucket is 0, want at least 1 with a rate")
	}
	return nil
}

// mustBeValid panics on a profile that no link can have: a mistake in a test
// must not pass as a perfect network.
func (p Profile) mustBeValid() {
	if err := p.Validate(); err != nil {
		panic(err)
	}
}
