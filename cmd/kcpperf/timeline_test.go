// SPDX-License-Identifier: MIT

package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// lossyTrace is the trace of a sender of n segments in ten seconds. It loses every hundredth, and
// sends it again after 0.2 s. All are acknowledged after 0.1 s.
func lossyTrace(n int) *traced {
	t := &traced{vantage: "client", start: time.Unix(1000, 0), end: 10.5}
	for i := range n {
		at, sn := 0.01+10*float64(i)/float64(n), uint32(i)
		t.sent = append(t.sent, dot{at, sn})
		if i%100 == 99 {
			at += 0.2
			t.lost, t.again = append(t.lost, dot{at, sn}), append(t.again, dot{at, sn})
		}
		t.acked = append(t.acked, dot{at + 0.1, sn})
		t.metrics = append(t.metrics, metrics{
			at: at, phase: "cruise", latest: 110, smoothed: 100, least: 90, inFlight: float64(i % 200), pacing: 2e6,
		})
	}
	return t
}

func titles(charts []*chart) (names []string) {
	for _, c := range charts {
		names = append(names, c.Title)
	}
	return names
}

// lineOf returns a line of a chart, nil if it has none of that name.
func (c *chart) lineOf(name string) *line {
	for i := range c.Lines {
		if c.Lines[i].Name == name {
			return &c.Lines[i]
		}
	}
	return nil
}

// A chart of a million segments is no larger than a page can show, and loses no kind of event.
func TestTimelineIsThinned(t *testing.T) {
	for _, n := range []int{1000, 1_000_000} {
		charts := timelines(lossyTrace(n), nil)
		for _, c := range charts {
			size := 0
			for _, l := range c.Lines {
				size += len(l.Path)
				if len(l.Values) != timeColumns || len(c.Times) != timeColumns || len(c.Places) != timeColumns {
					t.Fatalf("%s, %s: %d values at %d times", c.Title, l.Name, len(l.Values), len(c.Times))
				}
				if strings.Contains(l.Path, "NaN") || strings.Contains(l.Path, "Inf") || l.Path == "" {
					t.Errorf("%s, %s: path %.60s", c.Title, l.Name, l.Path)
				}
			}
			if size == 0 || size > 20*4*dotsMost {
				t.Errorf("%d segments: %s has paths of %d bytes", n, c.Title, size)
			}
		}
		want := []string{
			"Segments up", "A closer look up", "Window and data in flight up", "Rate up", "Round-trip time up",
		}
		if got := titles(charts); !slices.Equal(got, want) {
			t.Fatalf("charts %q, want %q", got, want)
		}
		whole := charts[0]
		for _, name := range []string{"sent", "acknowledged", "found lost", "sent again"} {
			if whole.lineOf(name) == nil {
				t.Errorf("no line %q", name)
			}
		}
		if l := whole.lineOf("found lost"); l != nil {
			sum := 0.0
			for _, v := range l.points {
				sum += v
			}
			if sum != float64(n/100) {
				t.Errorf("%g losses under the pointer, want %d", sum, n/100)
			}
		}
	}
}

// The closer look shows one loss from its transmission to its acknowledgement.
func TestTimelineShowsALossWithItsRepair(t *testing.T) {
	tr := lossyTrace(1000)
	near, ok := tr.aLoss()
	if !ok || math.Abs(near.to-near.from-0.3*1.25) > 1e-9 {
		t.Fatalf("got %+v, %v; want 0.3 s and a quarter of that", near, ok)
	}
	if segments := near.behind - near.first; segments < 30 || segments > 45 {
		t.Errorf("%g segments, want those of 0.375 s", segments)
	}
	again := tr.again
	tr.again = nil
	if _, ok := tr.aLoss(); ok {
		t.Error("a loss of segments that were never sent again")
	}
	tr.lost, tr.again = nil, again
	if _, ok := tr.aLoss(); ok {
		t.Error("a loss where there is none")
	}
}

// What the other end has rebuilt is drawn on the clock of the sender.
func TestTimelineOfBothEnds(t *testing.T) {
	client, server := lossyTrace(1000), &traced{vantage: "server", start: time.Unix(1001, 0), end: 9}
	server.rebuilt = []dot{{4, 500}}
	c := timelines(client, server)[0]
	l := c.lineOf("rebuilt by FEC")
	if l == nil || l.Values[5*2*timeColumns/21] != "1" {
		t.Errorf("line %+v", l)
	}
	// Where the sender's trace is missing, what came in is drawn.
	client.sent = client.sent[:1]
	client.received = []dot{{1, 0}, {2, 1}, {3, 1}}
	charts := timelines(client, nil)
	down := charts[len(charts)-1]
	if down.Title != "Segments down" || down.lineOf("received") == nil || down.lineOf("received again") == nil {
		t.Errorf("charts %q, %+v", titles(charts), down)
	}
	client.dropped = 5
	if got := timelines(client, nil)[0].Note; !strings.Contains(got, "5 events") {
		t.Errorf("note %q", got)
	}
	// An empty trace is no reason to fail.
	timelines(&traced{}, &traced{})
	timelines(nil, nil)
}

// A round-trip time that is not measured yet is not drawn as 0.
func TestTimelineBeginsWithTheFirstRoundTrip(t *testing.T) {
	tr := lossyTrace(1000)
	for i := range tr.metrics[:100] {
		tr.metrics[i].latest, tr.metrics[i].smoothed, tr.metrics[i].least = 0, 0, 0
	}
	charts := timelines(tr, nil)
	c := charts[len(charts)-1]
	for _, name := range []string{"latest", "smoothed", "shortest"} {
		l := c.lineOf(name)
		if l == nil || !math.IsNaN(l.points[5]) || !(l.points[len(l.points)-5] >= 90) {
			t.Errorf("%s, %s: %+v", c.Title, name, l)
		}
	}
}
