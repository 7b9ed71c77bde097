// SPDX-License-Identifier: MIT

package main

import (
	"time"

	"github.com/seedkcp/kcp"
)

// pathState is what the congestion control of the sending end has known of the path: the means of
// an interval, or of the whole test. Speeds are those of all sessions together.
type pathState struct {
	Pacing    float64    `json:"pacing_bits_per_second"`    // 0: not paced
	Bandwidth float64    `json:"bandwidth_bits_per_second"` // 0: unknown
	Loss      float64    `json:"random_loss_percent"`
	Queue     *quantiles `json:"queue_ms,omitempty"` // smoothed round-trip time beyond the shortest
	Control   string     `json:"congestion_control"`
	State     string     `json:"state,omitempty"` // of the first session, at the end
}

// pathMeter gathers a pathState. The zero value is usable. It is not safe for concurrent use.
type pathMeter struct {
	queue, queueAll histogram
	part, all       pathSums
	control, state  string
}

// pathSums are sums of what the polls have seen.
type pathSums struct {
	polls                   int
	pacing, bandwidth, loss float64
}

func (s *pathSums) add(o pathSums) {
	s.polls += o.polls
	s.pacing += o.pacing
	s.bandwidth += o.bandwidth
	s.loss += o.loss
}

// poll notes the figures of all sessions at one time.
func (m *pathMeter) poll(sessions []kcp.Stats) {
	if len(sessions) == 0 {
		return
	}
	sums := pathSums{polls: 1}
	for _, st := range sessions {
		sums.pacing += 8 * float64(st.PacingRate)
		sums.bandwidth += 8 * float64(st.Bandwidth)
		sums.loss += st.RandomLoss / float64(len(sessions))
	}
	m.part.add(sums)
	m.control, m.state = string(sessions[0].CongestionControl), sessions[0].CongestionState
}

// acknowledged notes the queue that a session sees, when it has a new measure.
func (m *pathMeter) acknowledged(st *kcp.Stats) {
	if st.MinRTT > 0 {
		m.queue.record(max(st.SRTT-st.MinRTT, time.Duration(0)))
	}
}

// take returns the means since the last call, nil if nothing was polled.
func (m *pathMeter) take() *pathState {
	s := m.means(&m.part)
	if s != nil {
		s.Queue = m.queue.moveTo(&m.queueAll)
	}
	m.all.add(m.part)
	m.part = pathSums{}
	return s
}

// total returns the means of all that was taken.
func (m *pathMeter) total() *pathState {
	s := m.means(&m.all)
	if s != nil {
		s.Queue = m.queueAll.quantiles()
	}
	return s
}

func (m *pathMeter) means(sums *pathSums) *pathState {
	if sums.polls == 0 {
		return nil
	}
	n := float64(sums.polls)
	return &pathState{
		Pacing: sums.pacing / n, Bandwidth: sums.bandwidth / n, Loss: 100 * sums.loss / n,
		Control: m.control, State: m.state,
	}
}
