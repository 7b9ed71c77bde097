// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
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
		"kcp_passive_opens_total": before["kcp_passive_opens_total"] + sessions,
		"kcp_active_opens_total":  before["kcp_active_opens_total"] + sessions,
		"kcp_curr_estab":          before["kcp_curr_estab"] + 2*sessions,
	} {
		if got, ok := after[name]; !ok || got != want {
			t.Errorf("%s is %v (there: %v), want %v", name, got, ok, want)
		}
	}
	if got := after["kcp_bytes_received_total"] - before["kcp_bytes_received_total"]; got < sessions*5 {
		t.Errorf("kcp_bytes_received_total grew by %v, want at least %d", got, sessions*5)
	}
	if problems, err := testutil.CollectAndLint(newCollector(l)); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestEveryCounterHasAValue(t *testing.T) {
	s := kcp.DefaultSnmp.Copy()
	s.OOBPackets, s.BytesSent = 7, 1<<40
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
