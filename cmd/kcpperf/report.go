// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"slices"
	"time"
)

// report is what --json prints and what the text and the page show.
type report struct {
	Format    int       `json:"kcpperf"` // of this object: 1
	Started   time.Time `json:"started"`
	Target    string    `json:"target"`
	Simulated string    `json:"simulated,omitempty"`
	Cipher    string    `json:"cipher"`
	Mode      string    `json:"mode"`
	Sessions  int       `json:"sessions"`
	Seconds   float64   `json:"seconds"`
	Length    int       `json:"length"`
	Rate      float64   `json:"rate,omitempty"` // messages a second and session, for echo
	Compared  bool      `json:"compared,omitempty"`
	Runs      []*run    `json:"runs"` // one, or those compared, the best first
}

// run is one test.
type run struct {
	Rank     int        `json:"rank,omitempty"`
	Name     string     `json:"name"`
	Text     string     `json:"settings_text"`
	Settings settings   `json:"settings"`
	Error    string     `json:"error,omitempty"`
	Up       *direction `json:"up,omitempty"`   // from the client to the server
	Down     *direction `json:"down,omitempty"` // from the server to the client
	Echo     *echoed    `json:"echo,omitempty"`
	CPU      cpuUse     `json:"cpu_percent"`
	// PathLoss is what the simulated network lost, in percent of the packets each way.
	PathLoss  *[2]float64 `json:"path_loss_percent,omitempty"`
	Intervals []*interval `json:"intervals"`
	// Traces are the files with the traces of the first session, of the client and, in a
	// simulation, of the server.
	Traces []string `json:"traces,omitempty"`

	clientTrace, serverTrace *traced // for the page, or nil
}

// direction is one way of a test.
type direction struct {
	BitsPerSecond     float64    `json:"bits_per_second"` // of data that the receiving program has read
	Bytes             uint64     `json:"bytes"`           // likewise, within the time of the test
	BytesInAll        uint64     `json:"bytes_in_all"`    // with those that came when the time was up
	DatagramsSent     uint64     `json:"datagrams_sent"`
	DatagramsReceived uint64     `json:"datagrams_received"`
	LossPercent       float64    `json:"loss_percent"`     // of the datagrams
	WireBytes         uint64     `json:"wire_bytes"`       // UDP payload sent
	OverheadPercent   float64    `json:"overhead_percent"` // wire bytes over those of the data that was delivered
	Fast              uint64     `json:"fast_retransmits"`
	Early             uint64     `json:"early_retransmits"`
	Timeout           uint64     `json:"timeout_retransmits"`
	Retransmits       uint64     `json:"retransmits"`
	RetransmitPercent float64    `json:"retransmit_percent"` // of the datagrams sent
	Duplicates        uint64     `json:"duplicates_received"`
	FECRecovered      uint64     `json:"fec_recovered"` // packets
	FECFailed         uint64     `json:"fec_groups_failed"`
	FECParity         uint64     `json:"fec_parity_received"`
	FECUnused         uint64     `json:"fec_parity_unused"`
	RTT               *quantiles `json:"rtt_ms,omitempty"`
	Path              *pathState `json:"path,omitempty"`
}

// echoed is the outcome of the echo test.
type echoed struct {
	Sent     uint64     `json:"sent"`
	Returned uint64     `json:"returned"`
	Latency  *quantiles `json:"latency_ms,omitempty"`
}

// cpuUse is the processor time of each end's process, in percent of one core. A simulation has one
// process only, which also does the simulating.
type cpuUse struct {
	Client float64 `json:"client"`
	Server float64 `json:"server"`
}

// interval is what a test did between two points of time.
type interval struct {
	Start float64    `json:"start"` // seconds since the start
	End   float64    `json:"end"`
	Up    *part      `json:"up,omitempty"`
	Down  *part      `json:"down,omitempty"`
	Echo  *quantiles `json:"echo_ms,omitempty"`
}

// part is one direction in an interval.
type part struct {
	BitsPerSecond     float64    `json:"bits_per_second"`
	Retransmits       uint64     `json:"retransmits"`
	RetransmitPercent float64    `json:"retransmit_percent"`
	FECRecovered      uint64     `json:"fec_recovered"`
	RecoveredPercent  float64    `json:"fec_recovered_percent"` // of the datagrams received
	RTT               *quantiles `json:"rtt_ms,omitempty"`
	Path              *pathState `json:"path,omitempty"`
}

// newRun combines the figures of both ends. The figures that a lost server has not sent are
// missing.
func newRun(name string, p *plan, m *measured, err error) *run {
	r := &run{Name: name, Text: p.Settings.String(), Settings: p.Settings}
	if err != nil {
		r.Error = err.Error()
	}
	if m == nil {
		return r
	}
	remoteTotal := m.remoteTotal
	if remoteTotal == nil {
		remoteTotal = sum(m.remote)
	}
	echo := p.Mode == modeEcho
	if echo {
		r.Echo = &echoed{Sent: m.localTotal.Asked, Returned: m.localTotal.Answered, Latency: m.localTotal.Echo}
	}
	if echo || p.sends(true) {
		r.Up = newDirection(m.local, m.localTotal, m.remote, remoteTotal)
	}
	if echo || p.sends(false) {
		r.Down = newDirection(m.remote, remoteTotal, m.local, m.localTotal)
	}
	r.CPU = cpuUse{cpuPercent(m.local), cpuPercent(m.remote)}
	for i, s := range m.local {
		v := &interval{Start: s.Start, End: s.End, Echo: s.Echo}
		far := new(sample)
		if i < len(m.remote) {
			far = m.remote[i]
		}
		if r.Up != nil {
			v.Up = newPart(s, far)
		}
		if r.Down != nil {
			v.Down = newPart(far, s)
		}
		r.Intervals = append(r.Intervals, v)
	}
	return r
}

// sum adds up samples, without their times.
func sum(samples []*sample) *sample {
	total := new(sample)
	for _, s := range samples {
		for i, f := range total.fields() {
			*f += *s.fields()[i]
		}
		total.End = s.End
	}
	return total
}

func cpuPercent(samples []*sample) float64 {
	s := sum(samples)
	return 100 * ratio(time.Duration(s.CPU).Seconds(), s.End)
}

// newDirection takes the sender's and the receiver's samples and totals. The speed is that of the
// test's time, while the counts are those of the totals: when all that was sent has arrived, what
// is missing was lost.
func newDirection(sent []*sample, sentTotal *sample, received []*sample, receivedTotal *sample) *direction {
	inTime := sum(received)
	d := &direction{
		BitsPerSecond: ratio(float64(inTime.Read*8), inTime.End), Bytes: inTime.Read, BytesInAll: receivedTotal.Read,
		DatagramsSent: sentTotal.DatagramsSent, DatagramsReceived: receivedTotal.DatagramsReceived, WireBytes: sentTotal.WireSent,
		Fast: sentTotal.Fast, Early: sentTotal.Early, Timeout: sentTotal.Timeout, Retransmits: sentTotal.retransmits(),
		Duplicates: receivedTotal.Duplicates, FECRecovered: receivedTotal.FECRecovered, FECFailed: receivedTotal.FECFailed,
		FECParity: receivedTotal.FECParity, FECUnused: receivedTotal.FECUnused, RTT: sentTotal.RTT,
		Path: sentTotal.Path,
	}
	lost := d.DatagramsSent - min(d.DatagramsSent, d.DatagramsReceived)
	d.LossPercent = 100 * ratio(float64(lost), float64(d.DatagramsSent))
	d.RetransmitPercent = 100 * ratio(float64(d.Retransmits), float64(d.DatagramsSent))
	if d.WireBytes > 0 && d.BytesInAll > 0 {
		d.OverheadPercent = 100 * (float64(d.WireBytes)/float64(d.BytesInAll) - 1)
	}
	return d
}

func newPart(sent, received *sample) *part {
	return &part{
		BitsPerSecond:     ratio(float64(received.Read*8), received.seconds()),
		Retransmits:       sent.retransmits(),
		RetransmitPercent: 100 * ratio(float64(sent.retransmits()), float64(sent.DatagramsSent)),
		FECRecovered:      received.FECRecovered,
		RecoveredPercent:  100 * ratio(float64(received.FECRecovered), float64(received.DatagramsReceived)),
		RTT:               sent.RTT,
		Path:              sent.Path,
	}
}

// namedDirection is a direction of a run that has data, with its part of an interval, which may be
// nil.
type namedDirection struct {
	name string
	*direction
	part func(v *interval) *part
}

func (r *run) directions() (all []namedDirection) {
	for _, d := range []namedDirection{
		{"up", r.Up, func(v *interval) *part { return v.Up }},
		{"down", r.Down, func(v *interval) *part { return v.Down }},
	} {
		if d.direction != nil {
			all = append(all, d)
		}
	}
	return all
}

// bitsPerSecond is the speed of both directions together.
func (r *run) bitsPerSecond() (sum float64) {
	for _, d := range r.directions() {
		sum += d.BitsPerSecond
	}
	return sum
}

// latency returns the times that a user waits: those of the echo, or else the round-trip times of
// the data.
func (r *run) latency() *quantiles {
	switch {
	case r.Echo != nil:
		return r.Echo.Latency
	case r.Up != nil:
		return r.Up.RTT
	case r.Down != nil:
		return r.Down.RTT
	}
	return nil
}

// rank orders runs: bulk ones by speed, and echo ones by the share of messages that came back and
// then by p99. Those that failed come last.
func rank(runs []*run) {
	late := func(r *run) float64 { return 1 - ratio(float64(r.Echo.Returned), float64(r.Echo.Sent)) }
	slices.SortStableFunc(runs, func(a, b *run) int {
		switch failed := [2]bool{a.Error != "", b.Error != ""}; {
		case failed[0] && failed[1]:
			return 0
		case failed[0]:
			return 1
		case failed[1]:
			return -1
		case a.Echo == nil || b.Echo == nil || a.latency() == nil || b.latency() == nil:
			return -cmp.Compare(a.bitsPerSecond(), b.bitsPerSecond())
		}
		return cmp.Or(cmp.Compare(late(a), late(b)), cmp.Compare(a.latency().P99, b.latency().P99))
	})
	for i, r := range runs {
		r.Rank = i + 1
	}
}
