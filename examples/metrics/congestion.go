// SPDX-License-Identifier: MIT

package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/seedkcp/kcp"
)

// congestion describes what the congestion control of a listener's sessions knows.
type congestion struct {
	sessions   *prometheus.Desc // by controller and its phase
	bandwidth  *prometheus.Desc
	pacing     *prometheus.Desc
	randomLoss *prometheus.Desc
	spurious   *prometheus.Desc
}

// newCongestion makes the descriptions by desc, which takes a name, a help text and labels.
func newCongestion(desc func(name, help string, labels ...string) *prometheus.Desc) congestion {
	return congestion{
		sessions: desc("congestion_sessions", "Open sessions by congestion control and its phase.",
			"control", "state"),
		bandwidth: desc("bandwidth_bytes_per_second", "Estimated bandwidth of the paths of all open sessions."),
		pacing:    desc("pacing_bytes_per_second", "Rate at which the open sessions send now."),
		randomLoss: desc("random_loss_ratio",
			"Share of packets lost at random, the mean of the open sessions that know of any."),
		spurious: desc("spurious_retransmits", "Segments that the open sessions have sent again needlessly."),
	}
}

func (c *congestion) all() []*prometheus.Desc {
	return []*prometheus.Desc{c.sessions, c.bandwidth, c.pacing, c.randomLoss, c.spurious}
}

// pathSums adds up what the sessions know.
type pathSums struct {
	states            map[[2]string]int // sessions by controller and phase
	bandwidth, pacing int64
	spurious          uint64
	loss              float64
	lossy             int // sessions that know of a loss at random
}

func (p *pathSums) add(st *kcp.Stats) {
	p.states[[2]string{string(st.CongestionControl), st.CongestionState}]++
	p.bandwidth += st.Bandwidth
	p.pacing += st.PacingRate
	p.spurious += st.SpuriousRetransmits
	if st.RandomLoss > 0 {
		p.loss += st.RandomLoss
		p.lossy++
	}
}

// collect sends the sums. All are gauges, as they fall when a session ends.
func (c *congestion) collect(p *pathSums, out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for state, n := range p.states {
		gauge(c.sessions, float64(n), state[0], state[1])
	}
	gauge(c.bandwidth, float64(p.bandwidth))
	gauge(c.pacing, float64(p.pacing))
	gauge(c.randomLoss, p.loss/float64(max(p.lossy, 1)))
	gauge(c.spurious, float64(p.spurious))
}
