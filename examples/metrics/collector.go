// SPDX-License-Identifier: MIT

package main

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/seedkcp/kcp"
)

// collector looks at a listener and its sessions when it is asked, and holds nothing in between.
// One series for each session would be too many for a busy server, so that they are added up:
// counts and rates as sums, round-trip times and queue delays as histograms.
type collector struct {
	listener *kcp.Listener

	totals   []*prometheus.Desc // of DefaultSnmp, in the order of its fields
	sessions *prometheus.Desc
	backlog  *prometheus.Desc
	refused  *prometheus.Desc
	lost     *prometheus.Desc
	inFlight *prometheus.Desc
	queued   *prometheus.Desc
	srtt     *prometheus.Desc
	minRTT   *prometheus.Desc
	queue    *prometheus.Desc
	control  congestion
}

// levels are the fields of DefaultSnmp that go up and down, or keep a maximum; the others are
// counters.
var levels = map[string]bool{
	"MaxConn": true, "CurrEstab": true, "RingBufferSndQueue": true, "RingBufferRcvQueue": true, "RingBufferSndBuffer": true,
}

// rttBounds are those of the histograms, in seconds.
var rttBounds = []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}

func newCollector(l *kcp.Listener) *collector {
	addr := prometheus.Labels{"listener": l.Addr().String()}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kcp_listener_"+name, help, labels, addr)
	}
	c := &collector{
		listener: l,
		sessions: desc("sessions", "Open sessions."),
		backlog:  desc("backlog", "Sessions that wait for Accept."),
		refused:  desc("refused_total", "Datagrams that would have opened a session while the backlog was full."),
		lost:     desc("socket_lost_datagrams_total", "Datagrams that the socket refused."),
		inFlight: desc("segments_in_flight", "Segments sent and not acknowledged."),
		queued:   desc("segments_queued", "Segments that wait to be sent."),
		srtt:     desc("session_srtt_seconds", "Smoothed round-trip times of the open sessions."),
		minRTT:   desc("session_min_rtt_seconds", "Shortest round-trip times of the open sessions."),
		queue:    desc("session_queue_delay_seconds", "Smoothed round-trip times beyond the shortest."),
		control:  newCongestion(desc),
	}
	for _, name := range kcp.DefaultSnmp.Header() {
		metric := "kcp_" + snakeCase(name)
		if !levels[name] {
			metric += "_total"
		}
		c.totals = append(c.totals, prometheus.NewDesc(metric, "kcp.DefaultSnmp."+name+" of the process.", nil, nil))
	}
	return c
}

// snakeCase turns a field's name into a metric's: InCsumErrors into in_csum_errors, KCPInErrors
// into kcp_in_errors.
func snakeCase(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	all := slices.Concat(c.totals, c.control.all(),
		[]*prometheus.Desc{c.sessions, c.backlog, c.refused, c.lost, c.inFlight, c.queued, c.srtt, c.minRTT, c.queue})
	for _, d := range all {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	snmp := kcp.DefaultSnmp.Copy()
	for i, v := range counters(snmp) {
		kind := prometheus.CounterValue
		if levels[snmp.Header()[i]] {
			kind = prometheus.GaugeValue
		}
		out <- prometheus.MustNewConstMetric(c.totals[i], kind, v)
	}
	var inFlight, queued, open int
	srtt, minRTT, queue := newTimes(), newTimes(), newTimes()
	paths := pathSums{states: make(map[[2]string]int)}
	for s := range c.listener.Sessions() {
		st := s.Stats()
		open++
		inFlight += st.InFlight
		queued += st.SendQueue
		srtt.add(st.SRTT)
		minRTT.add(st.MinRTT)
		queue.add(max(st.SRTT-st.MinRTT, 0))
		paths.add(&st)
	}
	c.control.collect(&paths, out)
	st := c.listener.Stats()
	gauge := func(d *prometheus.Desc, v int) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	gauge(c.sessions, open)
	gauge(c.backlog, st.Backlog)
	gauge(c.inFlight, inFlight)
	gauge(c.queued, queued)
	out <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(st.Refused))
	out <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(st.Socket.LostDatagrams))
	out <- srtt.metric(c.srtt)
	out <- minRTT.metric(c.minRTT)
	out <- queue.metric(c.queue)
}

// times gathers times for a histogram.
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

func (t *times) add(d time.Duration) {
	t.count++
	t.sum += d.Seconds()
	for _, bound := range rttBounds {
		if d.Seconds() <= bound {
			t.buckets[bound]++
		}
	}
}

func (t *times) metric(d *prometheus.Desc) prometheus.Metric {
	return prometheus.MustNewConstHistogram(d, t.count, t.sum, t.buckets)
}

// counters returns the fields of s in the order of its Header.
func counters(s *kcp.Snmp) []float64 {
	var values []float64
	for _, text := range s.ToSlice() {
		v, _ := strconv.ParseFloat(text, 64) // it is a decimal number
		values = append(values, v)
	}
	return values
}
