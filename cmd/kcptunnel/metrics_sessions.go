// SPDX-License-Identifier: MIT

package main

import (
	"iter"
	"strconv"
	"strings"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/seedkcp/kcp"
)

// collector looks at the library's counters and at all sessions when it is asked. One series for
// each session would be too many, so that they are added up, and round-trip times are histograms.
type collector struct {
	sessions iter.Seq[*kcp.UDPSession] // nil for none

	totals    []*prometheus.Desc // of kcp.DefaultSnmp, in the order of its fields
	inFlight  *prometheus.Desc
	queued    *prometheus.Desc
	bandwidth *prometheus.Desc
	pacing    *prometheus.Desc
	states    *prometheus.Desc
	srtt      *prometheus.Desc
	queue     *prometheus.Desc
}

// levels are the fields of kcp.DefaultSnmp that go up and down, or keep a maximum. The others are
// counters.
var levels = map[string]bool{
	"MaxConn": true, "CurrEstab": true,
	"RingBufferSndQueue": true, "RingBufferRcvQueue": true, "RingBufferSndBuffer": true,
}

// rttBounds are those of the histograms, in seconds.
var rttBounds = []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}

func newCollector(sessions iter.Seq[*kcp.UDPSession]) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kcp_"+name, help, labels, nil)
	}
	c := &collector{
		sessions:  sessions,
		inFlight:  desc("segments_in_flight", "Segments sent and not acknowledged."),
		queued:    desc("segments_queued", "Segments that wait to be sent."),
		bandwidth: desc("bandwidth_bytes_per_second", "Estimated bandwidth of the paths, in sum."),
		pacing:    desc("pacing_bytes_per_second", "Rate at which the sessions send now, in sum."),
		states:    desc("congestion_sessions", "Sessions by congestion control and phase.", "control", "state"),
		srtt:      desc("session_srtt_seconds", "Smoothed round-trip times."),
		queue:     desc("session_queue_delay_seconds", "Smoothed round-trip times beyond the shortest."),
	}
	for _, name := range kcp.DefaultSnmp.Header() {
		metric := snakeCase(name)
		if !levels[name] {
			metric += "_total"
		}
		c.totals = append(c.totals, desc(metric, "kcp.DefaultSnmp."+name+" of the process."))
	}
	return c
}

// snakeCase turns a field's name into a metric's: InCsumErrors into in_csum_errors, KCPInErrors
// into kcp_in_errors.
func snakeCase(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) ||
			i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range append([]*prometheus.Desc{c.inFlight, c.queued, c.bandwidth, c.pacing,
		c.states, c.srtt, c.queue}, c.totals...) {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	snmp := kcp.DefaultSnmp.Copy()
	names := snmp.Header()
	for i, text := range snmp.ToSlice() {
		kind := prometheus.CounterValue
		if levels[names[i]] {
			kind = prometheus.GaugeValue
		}
		v, _ := strconv.ParseFloat(text, 64) // it is a decimal number
		out <- prometheus.MustNewConstMetric(c.totals[i], kind, v)
	}
	if c.sessions == nil {
		return
	}
	var inFlight, queued, bandwidth, pacing float64
	states := make(map[[2]string]int)
	srtt, queue := newTimes(), newTimes()
	for s := range c.sessions {
		st := s.Stats()
		inFlight += float64(st.InFlight)
		queued += float64(st.SendQueue)
		bandwidth += float64(st.Bandwidth)
		pacing += float64(st.PacingRate)
		states[[2]string{string(st.CongestionControl), st.CongestionState}]++
		srtt.add(st.SRTT.Seconds())
		queue.add(max(st.SRTT-st.MinRTT, 0).Seconds())
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.inFlight, inFlight)
	gauge(c.queued, queued)
	gauge(c.bandwidth, bandwidth)
	gauge(c.pacing, pacing)
	for state, n := range states {
		gauge(c.states, float64(n), state[0], state[1])
	}
	out <- srtt.metric(c.srtt)
	out <- queue.metric(c.queue)
}

// times gathers times in seconds for a histogram.
type times struct {
	count   uint64
	sum     float64
	buckets map[float64]uint64
}

func newTimes() *times {
	t := &times{buckets: make(map[float64]uint64)}
	for _, bound := range rttBounds {
		t.buckets[bound] = 0
	}
	return t
}

func (t *times) add(seconds float64) {
	t.count++
	t.sum += seconds
	for _, bound := range rttBounds {
		if seconds <= bound {
			t.buckets[bound]++
		}
	}
}

func (t *times) metric(d *prometheus.Desc) prometheus.Metric {
	return prometheus.MustNewConstHistogram(d, t.count, t.sum, t.buckets)
}
