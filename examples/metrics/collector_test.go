// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/seedkcp/kcp"
)

// scrape returns the value of each line of a scrape.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("status %s, %v: %s", res.Status, err, body)
	}
	values := make(map[string]float64)
	for line := range strings.Lines(string(body)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if values[name], err = strconv.ParseFloat(value, 64); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	return values
}

func TestAScrapeShowsTheSessions(t *testing.T) {
	l, err := new(kcp.Config).Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = serve(l) }()
	handler, err := newHandler(l)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(handler)
	defer web.Close()
	of := func(name string) string { return "kcp_listener_" + name + `{listener="` + l.Addr().String() + `"}` }
	before := scrape(t, web.URL+"/metrics")
	if n := before[of("sessions")]; n != 0 {
		t.Errorf("%v sessions before there is one", n)
	}
	const sessions = 3
	for range sessions {
		conn, err := kcp.Dial(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	after := scrape(t, web.URL+"/metrics")
	for name, want := range map[string]float64{
		of("sessions"): sessions, of("backlog"): 0, of("refused_total"): 0, of("session_srtt_seconds_count"): sessions,
		of("session_min_rtt_seconds_count"): sessions, of("session_queue_delay_seconds_count"): sessions,
		of("random_loss_ratio"): 0, of("spurious_retransmits"): 0,
		"kcp_passive_opens_total": before["kcp_passive_opens_total"] + sessions,
		"kcp_active_opens_total":  before["kcp_active_opens_total"] + sessions,
		"kcp_curr_estab":          before["kcp_curr_estab"] + 2*sessions,
	} {
		if got, ok := after[name]; !ok || got != want {
			t.Errorf("%s is %v (there: %v), want %v", name, got, ok, want)
		}
	}
	inPhases := 0.0
	for name, n := range after {
		if strings.HasPrefix(name, `kcp_listener_congestion_sessions{control="`) {
			inPhases += n
		}
	}
	if inPhases != sessions {
		t.Errorf("%v sessions by congestion control, want %d", inPhases, sessions)
	}
	if got := after["kcp_bytes_received_total"] - before["kcp_bytes_received_total"]; got < sessions*5 {
		t.Errorf("kcp_bytes_received_total grew by %v, want at least %d", got, sessions*5)
	}
	if problems, err := testutil.CollectAndLint(newCollector(l)); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestPathsAreAddedUp(t *testing.T) {
	paths := pathSums{states: make(map[[2]string]int)}
	for _, st := range []kcp.Stats{
		{CongestionControl: "rate", CongestionState: "cruise", Bandwidth: 100, PacingRate: 120, RandomLoss: 0.02, SpuriousRetransmits: 3},
		{CongestionControl: "rate", CongestionState: "cruise", Bandwidth: 200, PacingRate: 150, RandomLoss: 0.04},
		{CongestionControl: "cubic", PacingRate: 30, SpuriousRetransmits: 4},
	} {
		paths.add(&st)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	c := newCongestion(desc)
	out := make(chan prometheus.Metric, 10)
	c.collect(&paths, out)
	close(out)
	got := make(map[string]float64)
	for m := range out {
		var value dto.Metric
		if err := m.Write(&value); err != nil {
			t.Fatal(err)
		}
		name := strings.Split(m.Desc().String(), `"`)[1]
		for _, label := range value.Label {
			name += " " + label.GetValue()
		}
		got[name] = value.Gauge.GetValue()
	}
	want := map[string]float64{
		"congestion_sessions rate cruise": 2, "congestion_sessions cubic ": 1,
		"bandwidth_bytes_per_second": 300, "pacing_bytes_per_second": 300, "random_loss_ratio": 0.03, "spurious_retransmits": 7,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEveryCounterHasAValue(t *testing.T) {
	s := kcp.DefaultSnmp.Copy()
	s.CopiedSegs, s.BytesSent = 7, 1<<40
	values := counters(s)
	if len(values) != len(s.Header()) || values[0] != 1<<40 || values[len(values)-1] != 7 {
		t.Errorf("got %v for %v", values, s.Header())
	}
}

func TestSnakeCase(t *testing.T) {
	for name, want := range map[string]string{
		"BytesSent": "bytes_sent", "KCPInErrors": "kcp_in_errors", "FECShardMin": "fec_shard_min", "OOBPackets": "oob_packets",
		"InErrs": "in_errs", "FECErrs": "fec_errs",
	} {
		if got := snakeCase(name); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
}
