// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

// A lossy run is traced at both ends, and the page draws the traces.
func TestTraceOfASimulation(t *testing.T) {
	folder := t.TempDir()
	page, file := filepath.Join(folder, "report.html"), filepath.Join(folder, "run.sqlog")
	synctest.Test(t, func(t *testing.T) {
		rep := runJSON(t, "--simulate", "rtt=40ms loss=5% rate=10Mbit", "-t", "3", "--fec", "10/1", "-P", "2",
			"--qlog", file, "--html", page)
		r := rep.Runs[0]
		if len(r.Traces) != 2 || r.Traces[0] != file || r.Traces[1] != filepath.Join(folder, "run-server.sqlog") {
			t.Fatalf("traces %q", r.Traces)
		}
		client, err := readTraceFile(r.Traces[0])
		if err != nil {
			t.Fatal(err)
		}
		server, err := readTraceFile(r.Traces[1])
		if err != nil {
			t.Fatal(err)
		}
		if client.vantage != "client" || server.vantage != "server" || client.start.IsZero() || client.end < 3 {
			t.Errorf("traces of %s and %s, from %v for %v s", client.vantage, server.vantage, client.start, client.end)
		}
		sent, again := uint64(len(client.sent)), uint64(len(client.again))
		if sent < 500 || again == 0 || again > r.Up.Retransmits || len(client.lost) == 0 ||
			len(client.acked) == 0 || len(client.metrics) == 0 || client.dropped > 0 {
			t.Errorf("%d segments sent, %d again of %d, %d lost, %d acknowledged, %d metrics, %d events dropped",
				sent, again, r.Up.Retransmits, len(client.lost), len(client.acked), len(client.metrics), client.dropped)
		}
		if len(server.received) == 0 || len(server.rebuilt) == 0 {
			t.Errorf("%d segments received, %d rebuilt", len(server.received), len(server.rebuilt))
		}
	})
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Time line", "Segments up", "A closer look up", "Window and data in flight up", "Rate up", "Round-trip time up",
		`data-name="sent"`, `data-name="acknowledged"`, `data-name="found lost"`, `data-name="sent again"`,
		`data-name="rebuilt by FEC"`, `data-name="pacing rate"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page has no %s", want)
		}
	}
}

// Each run of a comparison has a trace of its own.
func TestTracesOfAComparison(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.sqlog")
	synctest.Test(t, func(t *testing.T) {
		rep := runJSON(t, "--simulate", "rtt=10ms rate=2Mbit", "-t", "1", "-R", "--qlog", file,
			"--compare", "a: window=128; b: window=64")
		names := map[string]bool{}
		for _, r := range rep.Runs {
			for _, name := range r.Traces {
				names[filepath.Base(name)] = true
				if _, err := readTraceFile(name); err != nil {
					t.Error(err)
				}
			}
		}
		for _, want := range []string{"run.sqlog", "run-2.sqlog", "run-server.sqlog", "run-server-2.sqlog"} {
			if !names[want] {
				t.Errorf("no file %s in %v", want, names)
			}
		}
	})
}

func TestTraceFileThatCannotBeWritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "missing", "run.sqlog")
	_, err := tryJSON(t, "--simulate", "rtt=10ms", "-t", "1", "--qlog", name)
	if err == nil || !strings.Contains(err.Error(), "--qlog") {
		t.Errorf("error %v, want one that names --qlog", err)
	}
	o := parsed(t, "-s", "-B", "127.0.0.1", "-p", "0", "--qlog", name)
	err = runServer(context.Background(), o, nil, &strings.Builder{}, nil)
	if err == nil || !strings.Contains(err.Error(), "--qlog") {
		t.Errorf("error %v of the server, want one that names --qlog", err)
	}
}

const traceHead = "\x1e" + `{"qlog_format":"JSON-SEQ","trace":{"vantage_point":{"type":"client"}}}` + "\n"

func TestReadTrace(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"hello\n", "record 0"},
		{"\x1ehello\n", "no header"},
		{"\x1e{}\n", "no header"},
		{traceHead + "\x1e{\n", "record 1"},
		{traceHead + "{}\n", "record 1"},
	} {
		if _, err := readTrace(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.want)
		}
	}
	got, err := readTrace(strings.NewReader(traceHead +
		"\x1e" + `{"time":1500.25,"name":"kcp:records_dropped","data":{"count":7}}` + "\n" +
		"\x1e" + `{"time":2000,"name":"kcp:event_of_a_later_version","data":{"sn":1}}` + "\n"))
	if err != nil || got.dropped != 7 || got.end != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
}
