// SPDX-License-Identifier: MIT

package kcp

// rttEstimator smooths round-trip times as RFC 6298 does, with weights 1/8 and 1/4 held as scaled
// integers.
type rttEstimator struct {
	srtt8   millis // smoothed round-trip time, times 8
	rttvar4 millis // its mean deviation, times 4
	least   millis
	latest  millis // negative before the first sample
}

func (r *rttEstimator) init() { r.latest = -1 }

// valid reports whether there has been a sample.
func (r *rttEstimator) valid() bool { return r.latest >= 0 }

// sample adds the round-trip time of the newest transmission that a datagram acknowledges, and the
// longest among them. The older transmissions waited for the acknowledgement to be sent, which the
// timeout has to allow for.
func (r *rttEstimator) sample(rtt, longest millis) {
	rtt = max(0, min(rtt, rtoMax))
	longest = max(rtt, min(longest, rtoMax))
	first := !r.valid()
	r.latest = rtt
	if first {
		r.srtt8, r.rttvar4, r.least = rtt*8, max(rtt*2, (longest-rtt)*4), rtt
		return
	}
	r.least = min(r.least, rtt)
	spread := longest - r.srtt8/8
	delta := rtt - r.srtt8/8
	r.srtt8 += delta
	if delta < 0 {
		delta = -delta
	}
	delta = max(delta, spread)
	r.rttvar4 += delta - r.rttvar4/4
}

func (r *rttEstimator) srtt() millis   { return r.srtt8 / 8 }
func (r *rttEstimator) rttvar() millis { return r.rttvar4 / 4 }

// rto returns the retransmission timeout before any back-off: srtt + max(interval, 4*rttvar),
// within bounds (S1.11). On a long and steady path the variance approaches 0. The term srtt/8 then
// prevents that a delayed acknowledgement counts as a loss.
func (r *rttEstimator) rto(interval, least millis) millis {
	if !r.valid() {
		return rtoDefault
	}
	return min(max(r.srtt()+max(interval, r.rttvar4, r.srtt()/8), least), rtoMax)
}

// backoff lengthens an RTO after level timeouts: doubled each time, or times 1.5 in no-delay mode,
// up to 60 s (S1.13).
func backoff(rto millis, level uint8, noDelay bool) millis {
	for ; level > 0 && rto < rtoMax; level-- {
		if noDelay {
			rto += rto / 2
		} else {
			rto *= 2
		}
	}
	return min(rto, rtoMax)
}
