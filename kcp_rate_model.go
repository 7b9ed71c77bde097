// SPDX-License-Identifier: MIT

package kcp

import "math"

const (
	minRTTWindow    = 10 * second
	probeRTTEvery   = 5 * second
	probeRTTMost    = 9 * second // with short round trips in between
	aggregationMost = 100 * millisecond
	averageRounds   = 8
)

// rateModel is what a rateController knows of the path (draft-ietf-ccwg-bbr, section 4.1). Bytes
// are those of the session, rates are bytes a second.
type rateModel struct {
	delivered uint64 // bytes
	lostTotal uint64 // bytes

	nextRound uint64 // delivered at which the round ends
	rounds    uint32
	ended     roundEnds // by the acknowledgement in hand

	filter  [2]int64 // most bandwidth of the last probing cycle, and of the present one
	bwMax   int64    // of both
	bwShort int64    // bound after a loss, unlimited if there is none
	bw      int64    // the estimate: bwMax within all bounds
	inShort int64    // bytes in flight, likewise
	inLong  int64    // bytes in flight that were lost too often, unlimited if there were none

	// The newest signals, for about a round trip.
	bwLatest    int64
	inLatest    int64 // bytes
	lossRoundAt uint64
	lossEvents  uint32 // segments lost

	minRTT, minStamp     instant   // the shortest of 10 s, and when it was seen
	probeRTT, probeStamp instant   // the shortest of 5 s, likewise
	emptied              instant   // when the path was emptied last
	shortAt              instant   // when a round trip was as short as probeRTT, or nearly
	srtt                 instant   // smoothed, 0 without a sample
	last                 [8]uint32 // the last samples, in microseconds
	samples              uint32

	extra       int64      // most bytes acknowledged beyond the bandwidth, of ten rounds
	extraStart  instant    // of the interval that is measured
	extraBytes  int64      // acknowledged in it
	extraFilter [10]uint32 // bytes, a round each

	means     [averageRounds]rateMean // of the last rounds
	meanCount uint32
	unlimited uint32 // rounds in a row without a limit by the program or a window
	meanBytes int64
	meanAt    instant

	policer policerModel
}

// roundEnds are the rounds that an acknowledgement ends.
type roundEnds uint8

const (
	roundEnd     roundEnds = 1 << iota // a round trip
	lossRoundEnd                       // a round trip since the first loss
)

// rateMean is what a round has delivered.
type rateMean struct{ us, bytes uint32 }

func (m *rateModel) init() {
	m.minRTT, m.probeRTT = instant(unlimited), instant(unlimited)
	m.bwShort, m.inShort, m.inLong = unlimited, unlimited, unlimited
	m.policer.init()
}

// begin sets the clocks of the model at the first event.
func (m *rateModel) begin(now instant) {
	m.minStamp, m.probeStamp, m.emptied, m.meanAt, m.extraStart = now, now, now, now, now
	m.policer.slotAt = now
}

// narrow returns n as 32 bits, the most of them if it is larger.
func narrow(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

func (m *rateModel) startRound() { m.nextRound = m.delivered }

func (m *rateModel) roundEnded() bool { return m.ended&roundEnd != 0 }

func (m *rateModel) lossRoundEnded() bool { return m.ended&lossRoundEnd != 0 }

func (m *rateModel) resetLatest() { m.lossEvents, m.bwLatest, m.inLatest = 0, 0, 0 }

func (m *rateModel) resetShort() { m.bwShort, m.inShort = unlimited, unlimited }

func (m *rateModel) advanceFilter() { m.filter = [2]int64{m.filter[1], 0} }

// measured reports whether a round trip has been measured.
func (m *rateModel) measured() bool { return m.minRTT < instant(unlimited) }

// beginAck counts rounds.
func (m *rateModel) beginAck(now instant, a *ackEvent) {
	m.delivered, m.lostTotal = a.delivered, a.lostTotal
	m.ended = 0
	m.meanBytes += a.bytes
	m.policer.note(now, a)
	m.bwLatest = max(m.bwLatest, a.rate)
	m.inLatest = max(m.inLatest, a.sample)
	if a.newest == nil {
		return
	}
	if a.newest.delivered >= m.nextRound {
		m.endRound(now, a.newest.limited)
	}
	if a.newest.delivered >= m.lossRoundAt {
		m.lossRoundAt = m.delivered
		m.ended |= lossRoundEnd
	}
}

// endRound begins the next round.
func (m *rateModel) endRound(now instant, limited bool) {
	m.startRound()
	m.rounds++
	m.ended |= roundEnd
	m.extraFilter[m.rounds%uint32(len(m.extraFilter))] = 0
	m.unlimited++
	if limited {
		m.unlimited = 0
	}
	mean := rateMean{narrow(int64(now-m.meanAt) / 1000), narrow(m.meanBytes)}
	m.means[m.meanCount%uint32(len(m.means))] = mean
	m.meanCount++
	m.meanAt, m.meanBytes = now, 0
}

// noteRTT takes a sample.
func (m *rateModel) noteRTT(rtt instant) {
	if rtt < 0 {
		return
	}
	m.last[m.samples%uint32(len(m.last))] = narrow(int64(rtt) / 1000)
	m.samples++
	if m.srtt == 0 {
		m.srtt = rtt
	}
	m.srtt += (rtt - m.srtt) / 8
}

// standing returns the shortest of the last round trips, 0 without enough samples. A queue stands
// if it is above minRTT.
func (m *rateModel) standing() instant {
	if m.samples < uint32(len(m.last)) {
		return 0
	}
	least := m.last[0]
	for _, us := range m.last[1:] {
		least = min(least, us)
	}
	return instant(least) * 1000
}

// updateBandwidth takes a delivery rate. One that a limit of the sender has made does not count
// unless it is the highest.
func (m *rateModel) updateBandwidth(a *ackEvent) {
	if a.newest != nil && a.rate > 0 && (a.rate >= m.bwMax || !a.newest.limited) {
		m.filter[1] = max(m.filter[1], min(a.rate, m.policer.bound()))
	}
	m.bwMax = max(m.filter[0], m.filter[1])
}

// updateAggregation measures how much more than the bandwidth is acknowledged at once.
func (m *rateModel) updateAggregation(now instant, a *ackEvent, cwnd int64, full bool) {
	expected := during(m.bw, now-m.extraStart)
	if m.extraBytes <= expected {
		m.extraBytes, m.extraStart, expected = 0, now, 0
	}
	m.extraBytes += a.bytes
	slot := &m.extraFilter[m.rounds%uint32(len(m.extraFilter))]
	*slot = max(*slot, narrow(min(m.extraBytes-expected, cwnd)))
	extra := *slot
	if full {
		for _, bytes := range m.extraFilter {
			extra = max(extra, bytes)
		}
	}
	m.extra = min(int64(extra), during(m.bw, aggregationMost))
}

// sparesProbe reports whether the path has been seen empty of late, so that it need not be emptied.
func (m *rateModel) sparesProbe(now instant) bool {
	return now < m.emptied+probeRTTMost && now < m.shortAt+second+4*m.minRTT
}

// updateMinRTT takes a sample and reports whether the shortest round trip has not been seen of
// late.
func (m *rateModel) updateMinRTT(now, rtt instant) (expired bool) {
	expired = now > m.probeStamp+probeRTTEvery
	switch near := m.probeRTT + max(m.probeRTT>>4, millisecond); {
	case rtt < 0:
	case rtt < m.probeRTT || expired && !m.sparesProbe(now):
		m.probeRTT, m.probeStamp = rtt, now
	case rtt <= near:
		m.shortAt = now
	}
	expired = expired && !m.sparesProbe(now)
	if m.probeRTT < m.minRTT || now > m.minStamp+minRTTWindow {
		m.minRTT, m.minStamp = m.probeRTT, m.probeStamp
	}
	return expired && m.measured()
}

// endAck concludes what the acknowledgement tells.
func (m *rateModel) endAck(a *ackEvent) {
	if m.lossRoundEnded() {
		m.bwLatest, m.inLatest = a.rate, a.sample
	}
	m.bw = min(m.bwMax, m.bwShort, m.policer.bound())
}

// average returns the mean delivery rate of the last rounds, so many at most, and the bytes
// delivered in them.
func (m *rateModel) average(rounds uint32) (rate, bytes int64) {
	var us int64
	for i := range min(rounds, m.meanCount) {
		mean := m.means[(m.meanCount-1-i)%uint32(len(m.means))]
		us += int64(mean.us)
		bytes += int64(mean.bytes)
	}
	return perSecond(bytes, instant(us)*1000), bytes
}
