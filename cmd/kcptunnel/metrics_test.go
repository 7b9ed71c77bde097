// SPDX-License-Identifier: MIT

package main

import (
	"io"
	"net/http"
	"regexp"
	"testing"
)

// scrape returns what an end shows to Prometheus.
func scrape(t *testing.T, e *programEnd) string {
	t.Helper()
	addr := e.log.again(t, map[string]string{"msg": "serving metrics"})
	client := &http.Client{Timeout: testTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", answer.Status, err)
	}
	return string(text)
}

func TestMetricsAreServed(t *testing.T) {
	noGoroutinesLeft(t)
	metrics := []string{"-metrics", "127.0.0.1:0"}
	target := serveTCP(t, echoConn)
	tun := startTunnel(t, append([]string{"-t", target}, metrics...), append(local[:2:2], metrics...))
	open := connect(t, tun.client.log.again(t, map[string]string{"msg": "listening"}))
	mustWrite(t, open, "12345")
	mustRead(t, open, "12345")
	for name, end := range map[string]*programEnd{"client": tun.client, "server": tun.server} {
		text := scrape(t, end)
		for _, want := range []string{
			`kcptunnel_connections_total{kind="target"} 1`,
			`kcptunnel_connections_open{kind="target"} 1`,
			`kcptunnel_bytes_total{direction="in"} 5`,
			`kcptunnel_bytes_total{direction="out"} 5`,
			`kcp_session_srtt_seconds_count 1`,
			`kcp_congestion_sessions{control="rate",state="\w*"} 1`,
			`kcp_in_pkts_total [1-9]`,
			`go_goroutines [1-9]`,
		} {
			if !regexp.MustCompile(`(?m)^` + want).MatchString(text) {
				t.Errorf("%s: %s is missing in\n%s", name, want, text)
			}
		}
	}
}
