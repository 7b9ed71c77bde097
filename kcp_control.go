// SPDX-License-Identifier: MIT

package kcp

import "math"

// controlKind is a way of congestion control.
type controlKind uint8

const (
	controlRate       controlKind = iota // by the rate that the path delivers
	controlAggressive                    // likewise, and asks more of the path
	controlCubic                         // RFC 9438, paced
	controlClassic                       // KCP's own window
	controlFixed                         // a rate that is given
	controlOff                           // none but flightLimit
)

// controlOf returns what nc of SetNoDelay selects.
func controlOf(nc int) controlKind {
	if nc == 1 {
		return controlAggressive
	}
	return controlRate
}

// measures reports whether k measures the rate that the path delivers.
func (k controlKind) measures() bool { return k == controlRate || k == controlAggressive }

// unmeasured returns how many segments may be in flight without a flow.
func (k controlKind) unmeasured() uint32 {
	switch k {
	case controlClassic:
		return 0
	case controlOff:
		return unlimitedSegments
	}
	return flowLeast
}

// initialWindow returns the window of segments without a flow, 0 for none.
func (k controlKind) initialWindow() uint32 {
	switch k {
	case controlClassic:
		return 1
	case controlOff:
		return 0
	}
	return flowLeast
}

// flowSeed is what is known of a path from an earlier flow, in little memory.
type flowSeed struct {
	bandwidth uint32 // bytes a second, 0 for unknown
	minRTT    uint32 // µs
}

// newFlowSeed returns the seed for a bandwidth and a shortest round trip.
func newFlowSeed(bandwidth int64, minRTT instant) flowSeed {
	return flowSeed{clampUint32(bandwidth), clampUint32(int64(minRTT / microsecond))}
}

func (s flowSeed) rtt() instant { return instant(s.minRTT) * microsecond }

// clampUint32 returns n within the range of a uint32.
func clampUint32(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

// newController returns the controller of a new flow (S1.18, S1.19), for segments of up to mss
// bytes with their headers. given is the bandwidth for controlFixed. random spreads the probes of
// several flows over time.
func newController(
	kind controlKind, given uint32, mss int64, seed flowSeed, random uint64,
) controller {
	profile := &rateNormal
	switch kind {
	case controlCubic:
		return newCubicController(mss)
	case controlFixed:
		return newFixedController(mss, int64(given))
	case controlClassic:
		return newCongestion()
	case controlAggressive:
		profile = &rateAggressive
	}
	if seed.bandwidth > 0 && seed.minRTT > 0 {
		return newRateControllerFrom(profile, mss, random, int64(seed.bandwidth), seed.rtt())
	}
	return newRateController(profile, mss, random)
}
