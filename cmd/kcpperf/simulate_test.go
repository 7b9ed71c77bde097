// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// These tests run in virtual time: simulated tests of many seconds take none, and their figures are
// exact.

func TestSimulation(t *testing.T) {
	page := filepath.Join(t.TempDir(), "report.html")
	synctest.Test(t, func(t *testing.T) {
		rep := runJSON(t, "--simulate", "rtt=20ms loss=10% rate=50Mbit", "-t", "3", "--bidir", "--fec", "5/2", "--window", "64", "--html", page)
		r := rep.Runs[0]
		if rep.Simulated == "" || len(r.Intervals) != 3 || r.Intervals[2].End != 3 {
			t.Errorf("got %d intervals of %q", len(r.Intervals), rep.Simulated)
		}
		for i, d := range []*direction{r.Up, r.Down} {
			if err := moved(d); err != nil {
				t.Fatal(err)
			}
			if lost := r.PathLoss[i]; lost < 7 || lost > 13 || math.Abs(d.LossPercent-lost) > 1 {
				t.Errorf("the path lost %.2f %%, the ends count %.2f %%; want about 10", lost, d.LossPercent)
			}
			if d.RTT.Min < 20 || d.RTT.P50 > 60 || d.Retransmits == 0 || d.FECRecovered == 0 {
				t.Errorf("got %+v, RTT %+v", d, d.RTT)
			}
			// A window of 64 segments a round trip would be 35 Mbit/s without loss.
			if d.BitsPerSecond > 36e6 || d.BitsPerSecond < 1e6 {
				t.Errorf("%g bit/s", d.BitsPerSecond)
			}
		}
	})
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "rtt=20ms loss=10% rate=50Mbit") {
		t.Errorf("the page has %d bytes, %v", len(text), err)
	}
}

// A line without faults is filled to its speed.
func TestSimulatedLineIsFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const simulated = "rtt=40ms up=20Mbit down=5Mbit queue=2000"
		up := runJSON(t, "--simulate", simulated, "-t", "4").Runs[0].Up
		down := runJSON(t, "--simulate", simulated, "-t", "4", "-R").Runs[0].Down
		for _, tt := range []struct {
			is   *direction
			line float64
		}{{up, 20e6}, {down, 5e6}} {
			// Headers of 52 bytes in 1428 leave 96 %, and the first data takes its time.
			if share := tt.is.BitsPerSecond / tt.line; share < 0.9 || share > 0.97 {
				t.Errorf("%g bit/s through a line of %g", tt.is.BitsPerSecond, tt.line)
			}
			if tt.is.LossPercent != 0 || tt.is.Timeout != 0 {
				t.Errorf("got %+v, want no loss", tt.is)
			}
		}
	})
}

func TestSimulatedEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runJSON(t, "--simulate", "rtt=30ms", "-t", "10", "--echo", "--rate", "50", "-P", "2").Runs[0]
		e := r.Echo
		if e.Sent != 1000 || e.Returned != 1000 || e.Latency.Count != 1000 || e.Latency.Min < 30 || e.Latency.Max > 31 {
			t.Errorf("got %+v, %+v", e, e.Latency)
		}
		r = runJSON(t, "--simulate", "rtt=30ms", "-t", "3", "--echo", "--rate", "0").Runs[0]
		// One after the other: a round trip each, the last one after the time.
		if e = r.Echo; e.Sent < 99 || e.Sent > 101 || e.Returned != e.Sent {
			t.Errorf("got %+v", e)
		}
		// All are lost for a second: what was due then counts from then.
		r = runJSON(t, "--simulate", "rtt=30ms outage=1s@2s", "-t", "5", "--echo").Runs[0]
		if e = r.Echo; e.Returned != e.Sent || e.Latency.Max < 900 || e.Latency.P50 > 31 {
			t.Errorf("got %+v, %+v", e, e.Latency)
		}
	})
}

func TestComparison(t *testing.T) {
	page := filepath.Join(t.TempDir(), "report.html")
	synctest.Test(t, func(t *testing.T) {
		rep := runJSON(t, "--simulate", "rtt=30ms rate=100Mbit", "-t", "1", "--html", page,
			"--compare", "narrow: window=2; wide: window=256; middle: window=16")
		var names []string
		for _, r := range rep.Runs {
			names = append(names, r.Name)
		}
		// Two, sixteen, and as many segments as the path holds, a round trip.
		if got, want := strings.Join(names, " "), "wide middle narrow"; got != want {
			t.Errorf("ranked %q, want %q", got, want)
		}
		rep = runJSON(t, "--simulate", "rtt=30ms", "-t", "3", "--echo", "--compare", "late: writedelay=1 nodelay=1,50,2,1; prompt: nodelay=1,10,2,1")
		if len(rep.Runs) != 2 || rep.Runs[0].Name != "prompt" || rep.Runs[0].Rank != 1 || rep.Runs[1].Echo.Latency.P50 < rep.Runs[0].Echo.Latency.P50 {
			t.Errorf("got %+v", rep.Runs)
		}
	})
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "3 settings compared") {
		t.Errorf("the page has %d bytes, %v", len(text), err)
	}
}

// Each entry of the built-in list works.
func TestBuiltinComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rep := runJSON(t, "--simulate", "rtt=50ms loss=2% rate=10Mbit", "-t", "2", "--compare", builtinCompare)
		for _, r := range rep.Runs {
			if r.Error != "" || r.Up == nil || r.Up.Bytes == 0 {
				t.Errorf("%s: %+v, %s", r.Name, r.Up, r.Error)
			}
		}
		if len(rep.Runs) != 12 {
			t.Errorf("%d runs, want 12", len(rep.Runs))
		}
		for _, r := range rep.Runs {
			want := r.Settings.Control
			if r.Up == nil || r.Up.Path == nil || r.Up.Path.Control != want || r.Up.Path.Queue == nil {
				t.Errorf("%s: %+v, want %s and a queue", r.Name, r.Up.Path, want)
			}
		}
		rep = runJSON(t, "--simulate", "rtt=50ms loss=10%", "-t", "10", "--echo", "--compare", builtinCompare)
		places := map[string]int{}
		for _, r := range rep.Runs {
			places[r.Name] = r.Rank
			if r.Error != "" || r.Echo.Returned == 0 {
				t.Errorf("%s: %+v, %s", r.Name, r.Echo, r.Error)
			}
		}
		// What is sent twice is lost less, and that is what counts here.
		plain := places["no-delay, no copies"]
		if len(places) != 9 || places["no-delay, sent twice"] > plain || places["no-delay"] > plain {
			t.Errorf("got %v", places)
		}
	})
}

// nowhere is a dialer to an address without a server.
type nowhere struct {
	network *simnet.Network
	sched   *kcp.TimedSched
}

func (d *nowhere) dial(_ context.Context, c *kcp.Config) (*kcp.UDPSession, error) {
	e, err := d.network.Listen("10.0.0.2:0")
	if err != nil {
		return nil, err
	}
	own := *c
	own.Scheduler = d.sched
	at, err := d.network.Listen("10.0.0.9:1")
	if err != nil {
		return nil, err
	}
	return own.Client(e, at.LocalAddr())
}

func (d *nowhere) query(ctx context.Context) presence {
	<-ctx.Done()
	return presence{}
}

func (d *nowhere) close() {
	_ = d.network.Close()
	d.sched.Close()
}

func TestAbsentServerIsToldOfWithinThreeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &client{dialer: &nowhere{simnet.New(1), kcp.NewTimedSched(1)}, target: "nowhere", cipher: noCipher, firstAnswer: answerTimeout}
		defer c.dialer.close()
		begin := time.Now()
		p := plan{Settings: fastSettings(), Mode: modeSend, Sessions: 1, Millis: 1000, Every: 1000, Length: 1000}
		_, err := c.run(t.Context(), &p, newScreen(&output{}))
		if !errors.Is(err, errNoAnswer) {
			t.Errorf("got %v, want no answer", err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %v, want at most 3 s", took)
		}
	})
}
