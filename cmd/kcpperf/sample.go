// SPDX-License-Identifier: MIT

package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/seedkcp/kcp"
)

// counts are what one end has counted, of all its sessions.
type counts struct {
	Read              uint64 `json:"bytes_read"`  // by the program
	Acked             uint64 `json:"bytes_acked"` // of what the program has written
	DatagramsSent     uint64 `json:"datagrams_sent"`
	DatagramsReceived uint64 `json:"datagrams_received"`
	WireSent          uint64 `json:"wire_bytes_sent"` // UDP payload
	WireReceived      uint64 `json:"wire_bytes_received"`
	Fast              uint64 `json:"fast_retransmits"`
	Early             uint64 `json:"early_retransmits"`
	Timeout           uint64 `json:"timeout_retransmits"`
	Duplicates        uint64 `json:"duplicates"` // data segments that were there already
	FECRecovered      uint64 `json:"fec_recovered"`
	FECFailed         uint64 `json:"fec_groups_failed"`
	FECParity         uint64 `json:"fec_parity"`
	FECUnused         uint64 `json:"fec_parity_unused"`
	Asked             uint64 `json:"messages_sent"`     // echo
	Answered          uint64 `json:"messages_returned"` // echo
	CPU               uint64 `json:"cpu_ns"`            // of the whole process
}

// fields are all of them, in the order of their declaration.
func (c *counts) fields() []*uint64 {
	return []*uint64{&c.Read, &c.Acked, &c.DatagramsSent, &c.DatagramsReceived, &c.WireSent, &c.WireReceived, &c.Fast, &c.Early,
		&c.Timeout, &c.Duplicates, &c.FECRecovered, &c.FECFailed, &c.FECParity, &c.FECUnused, &c.Asked, &c.Answered, &c.CPU}
}

// since returns what was counted after before.
func (c counts) since(before counts) counts {
	old := before.fields()
	for i, f := range c.fields() {
		*f -= min(*f, *old[i])
	}
	return c
}

// add counts what a session has done.
func (c *counts) add(st *kcp.Stats, mss int) {
	c.Acked += acked(st, mss)
	c.DatagramsSent += st.PacketsSent
	c.DatagramsReceived += st.PacketsReceived
	c.WireSent += st.WireBytesSent
	c.WireReceived += st.WireBytesReceived
	c.Fast += st.FastRetransmits
	c.Early += st.EarlyRetransmits
	c.Timeout += st.TimeoutRetransmits
	c.Duplicates += st.DuplicatesReceived
	c.FECRecovered += st.FECRecovered
	c.FECFailed += st.FECGroupsFailed
	c.FECParity += st.FECParityReceived
	c.FECUnused += st.FECParityUnused
}

// acked is how much of the written data has arrived. It counts segments in flight as full ones,
// which only the last one may not be. The result is exact once everything has arrived.
func acked(st *kcp.Stats, mss int) uint64 {
	return st.BytesSent - min(st.BytesSent, uint64(st.InFlight*mss))
}

// retransmits is the number of segments that were sent again.
func (c *counts) retransmits() uint64 { return c.Fast + c.Early + c.Timeout }

// sample is what one end has seen in one interval, or in the whole test.
type sample struct {
	Start float64 `json:"start"` // seconds since the start
	End   float64 `json:"end"`
	counts
	RTT  *quantiles `json:"rtt_ms,omitempty"`  // as the sender's KCP measures it
	Path *pathState `json:"path,omitempty"`    // as the sender's congestion control knows it
	Echo *quantiles `json:"echo_ms,omitempty"` // from the moment a message is due to be sent until it is back
}

func (s *sample) seconds() float64 { return s.End - s.Start }

// quantiles describe many times, in milliseconds.
type quantiles struct {
	Count int64   `json:"count"`
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

// histogram holds times up to ten minutes to three digits, in µs. The zero value is usable. It is
// not safe for concurrent use.
type histogram struct{ h *hdrhistogram.Histogram }

const histogramMost = 10 * time.Minute

func (h *histogram) record(d time.Duration) {
	if h.h == nil {
		h.h = hdrhistogram.New(1, histogramMost.Microseconds(), 3)
	}
	_ = h.h.RecordValue(min(max(d, 0), histogramMost).Microseconds()) // it is within the bounds
}

// moveTo adds what h holds to total and empties h. It returns h's quantiles, nil if there are none.
func (h *histogram) moveTo(total *histogram) *quantiles {
	q := h.quantiles()
	if q == nil {
		return nil
	}
	if total.h == nil {
		total.h = hdrhistogram.New(1, histogramMost.Microseconds(), 3)
	}
	total.h.Merge(h.h)
	h.h.Reset()
	return q
}

func (h *histogram) quantiles() *quantiles {
	if h.h == nil || h.h.TotalCount() == 0 {
		return nil
	}
	at := func(percent float64) float64 { return float64(h.h.ValueAtQuantile(percent)) / 1000 }
	return &quantiles{
		Count: h.h.TotalCount(), Min: float64(h.h.Min()) / 1000, Mean: h.h.Mean() / 1000,
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.h.Max()) / 1000,
	}
}
