// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// figures are the counts of one direction of a session.
type figures struct {
	Datagrams int `json:"datagrams"`
	Bytes     int `json:"bytes"` // of UDP payload
	Segments  int `json:"segments"`
	Push      int `json:"push"`
	Data      int `json:"data"`  // bytes of data, each segment counted once
	Again     int `json:"again"` // transmissions of segments that were seen before
	Copies    int `json:"copies"`
	Missing   int `json:"missing"` // segments of which a later one was seen first
	Acks      int `json:"acks"`
	Control   int `json:"control"`
	FECData   int `json:"fec_data"`
	FECParity int `json:"fec_parity"`
	OOB       int `json:"oob"`
	Faults    int `json:"faults"`

	// Reported is what the receiver's reports on FEC say of this direction.
	Reported reported `json:"reported"`
	RTT      rtts     `json:"rtt"`
}

// reported sums up reports on FEC (S4.46).
type reported struct {
	Packets   int `json:"packets"`
	Lost      int `json:"lost"`
	Recovered int `json:"recovered"`
}

// rtts are the times from a data segment to its acknowledgement, in milliseconds.
type rtts struct {
	Samples int     `json:"samples"`
	Min     float64 `json:"min_ms"`
	Mean    float64 `json:"mean_ms"`
	Max     float64 `json:"max_ms"`
}

func (r *rtts) add(d time.Duration) {
	ms := float64(d) / float64(time.Millisecond)
	if r.Samples == 0 || ms < r.Min {
		r.Min = ms
	}
	r.Max = max(r.Max, ms)
	r.Samples++
	r.Mean += (ms - r.Mean) / float64(r.Samples)
}

// add counts a datagram.
func (f *figures) add(d *datagram) {
	f.Datagrams++
	f.Bytes += d.size
	f.Segments += len(d.Segments)
	if d.Fault != "" {
		f.Faults++
	}
	if d.OOB != nil {
		f.OOB++
	}
	if d.FEC != nil {
		switch d.FEC.kind {
		case fecData:
			f.FECData++
		case fecParity, fecNamed:
			f.FECParity++
		}
	}
	for i := range d.Segments {
		s := &d.Segments[i]
		switch {
		case s.Cmd == cmdAck:
			f.Acks++
		case s.Cmd != cmdPush || s.Probe:
		case s.Copy:
			f.Copies++
		case s.Again:
			f.Again++
		default:
			f.Push++
			f.Data += int(s.Len)
		}
		f.Control += len(s.Control)
	}
}

// sample measures the round trip of a data segment that an ACK names. Only the ts of its newest
// transmission tells which one it answers (S1.11).
func (d *side) sample(ack *segment, now time.Time) {
	p, ok := d.inFlight[ack.SN]
	if !ok || p.acked {
		return
	}
	if p.ts == ack.TS && !now.Before(p.at) {
		d.RTT.add(now.Sub(p.at))
	}
	p.acked = true
	d.inFlight[ack.SN] = p
}

// addControl notes what control messages tell about a session.
func (s *session) addControl(i int, segment *segment) {
	for _, m := range segment.Control {
		switch v := m.Value.(type) {
		case final:
			if m.Type == ctlFin {
				s.side[i].fin = true
			} else {
				s.side[1-i].finAck = true
			}
		case reset:
			s.reset = fmt.Sprintf("reset by %v, %v", s.ends[i], v)
		case rprt:
			r := &s.side[1-i].Reported
			packets := int(v.Last-v.First) + 1
			if received := int(v.Data); packets > 0 && packets < windowMost && received <= packets {
				r.Packets += packets
				r.Lost += packets - received
				r.Recovered += min(int(v.Recovered), packets-received)
			}
		}
	}
}

// ended returns how a session ended.
func (s *session) ended() string {
	a, b := &s.side[0], &s.side[1]
	switch {
	case s.reset != "":
		return s.reset
	case a.finAck && b.finAck:
		return "both streams ended"
	case a.finAck:
		return fmt.Sprintf("the stream of %v ended", s.ends[0])
	case b.finAck:
		return fmt.Sprintf("the stream of %v ended", s.ends[1])
	}
	return "no end"
}

// summaries returns all sessions in the order in which they began.
func (t *tracker) summaries() []*session {
	all := slices.Clone(t.superseded)
	for _, s := range t.sessions {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *session) int {
		return cmp.Or(a.first.Compare(b.first), cmp.Compare(a.key.conv, b.key.conv),
			a.ends[0].Compare(b.ends[0]), a.ends[1].Compare(b.ends[1]))
	})
	return all
}

// A summary is the JSON form of a session.
type summary struct {
	Session hex32          `json:"session"`
	Start   time.Time      `json:"start"`
	End     time.Time      `json:"end"`
	Ended   string         `json:"ended"`
	Sides   [2]sideSummary `json:"sides"`
}

type sideSummary struct {
	From        netip.AddrPort `json:"from"`
	Incarnation hex64          `json:"incarnation"`
	figures
}

func (s *session) summary() *summary {
	sum := &summary{Session: s.key.conv, Start: s.first, End: s.last, Ended: s.ended()}
	for i := range s.side {
		sum.Sides[i] = sideSummary{s.ends[i], s.side[i].incarnation, s.side[i].figures}
	}
	return sum
}

// print writes the summary of a session.
func (s *session) print(w io.Writer) {
	fmt.Fprintf(w, "session %v, %v to %v, %s, %s\n", s.key.conv, s.ends[0], s.ends[1],
		s.last.Sub(s.first).Round(time.Millisecond), s.ended())
	for i := range s.side {
		d := &s.side[i]
		fmt.Fprintf(w, "  from %v\n", s.ends[i])
		if d.incarnation != 0 {
			fmt.Fprintf(w, "    incarnation  %v\n", d.incarnation)
		}
		fmt.Fprintf(w, "    datagrams    %d, %d bytes", d.Datagrams, d.Bytes)
		if d.OOB > 0 {
			fmt.Fprintf(w, ", %d out of band", d.OOB)
		}
		if d.Faults > 0 {
			fmt.Fprintf(w, ", %d malformed", d.Faults)
		}
		fmt.Fprintf(w, "\n    segments     %d: %d data (%d bytes), %d sent again (%s), %d copies, %d ACKs, %d control messages\n",
			d.Segments, d.Push, d.Data, d.Again, percent(d.Again, d.Push), d.Copies, d.Acks, d.Control)
		if d.Missing > 0 {
			fmt.Fprintf(w, "    missing      %d segments (%s) were lost or overtaken before the capture\n",
				d.Missing, percent(d.Missing, d.Push))
		}
		if d.FECData+d.FECParity > 0 {
			fmt.Fprintf(w, "    FEC          %d data, %d parity\n", d.FECData, d.FECParity)
		}
		if r := d.Reported; r.Packets > 0 {
			fmt.Fprintf(w, "    reported     %d of %d FEC packets lost (%s), %d recovered\n",
				r.Lost, r.Packets, percent(r.Lost, r.Packets), r.Recovered)
		}
		if r := d.RTT; r.Samples > 0 {
			fmt.Fprintf(w, "    RTT          min %.3f mean %.3f max %.3f ms, %d samples\n", r.Min, r.Mean, r.Max, r.Samples)
		}
	}
}

func percent(n, of int) string {
	if of == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(of))
}
