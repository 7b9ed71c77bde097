// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// traceFiles are the files that --qlog writes.
type traceFiles struct {
	name string

	mu   sync.Mutex // guards made
	made []*traceFile
}

// traceFile is a file for one trace. It is written by the library, which closes it.
type traceFile struct {
	*os.File
	once   sync.Once
	closed chan struct{} // closed with the file
}

func (f *traceFile) Close() (err error) {
	f.once.Do(func() {
		err = f.File.Close()
		close(f.closed)
	})
	return err
}

// open opens the file of the next trace. The first one has the name that was given, and the others
// have a number in it.
func (t *traceFiles) open() (*traceFile, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := t.name
	if n := len(t.made); n > 0 {
		name = insertedName(name, fmt.Sprintf("-%d", n+1))
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	made := &traceFile{File: f, closed: make(chan struct{})}
	t.made = append(t.made, made)
	return made, nil
}

// newTraceFiles returns the files of the client and, for a simulation, of the server. Both are nil
// without a name.
func newTraceFiles(name string, simulated bool) (client, server *traceFiles) {
	if name == "" {
		return nil, nil
	}
	if simulated {
		server = &traceFiles{name: insertedName(name, "-server")}
	}
	return &traceFiles{name: name}, server
}

// insertedName returns a file name with a text before its extension.
func insertedName(name, text string) string {
	extension := filepath.Ext(name)
	return strings.TrimSuffix(name, extension) + text + extension
}

// traceEnds is how long a trace may take to be written once its session is closed.
const traceEnds = 10 * time.Second

// newest waits until the newest trace is written, and returns the name of its file. It is empty if
// there is none.
func (t *traceFiles) newest() (string, error) {
	if t == nil {
		return "", nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.made) == 0 {
		return "", nil
	}
	f := t.made[len(t.made)-1]
	limit := time.NewTimer(traceEnds)
	defer limit.Stop()
	select {
	case <-f.closed:
		return f.Name(), nil
	case <-limit.C:
		return "", fmt.Errorf("%s is not written after %v", f.Name(), traceEnds)
	}
}

// addTraces adds what the newest traces of both sides tell. The page is complete without them.
func (r *run) addTraces(client, server *traceFiles, read bool) error {
	for _, side := range []struct {
		files *traceFiles
		to    **traced
	}{{client, &r.clientTrace}, {server, &r.serverTrace}} {
		name, err := side.files.newest()
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		r.Traces = append(r.Traces, name)
		if !read {
			continue
		}
		if *side.to, err = readTraceFile(name); err != nil {
			return err
		}
	}
	return nil
}

// traced is what the page shows of a trace.
type traced struct {
	vantage  string
	start    time.Time // time 0
	end      float64   // seconds
	sent     []dot     // for the first time
	again    []dot
	acked    []dot
	lost     []dot
	received []dot
	rebuilt  []dot // received by way of parity
	metrics  []metrics
	cut      bool // the trace goes on
	dropped  uint64
}

// dot is something that happened to a segment.
type dot struct {
	at float64 // seconds
	sn uint32
}

// metrics are what limits a sender from some time on.
type metrics struct {
	at                     float64
	phase                  string
	latest, smoothed, most float64 // round-trip times in ms; most is the timeout
	least                  float64
	window, inFlight       float64 // segments
	pacing, bandwidth      float64 // bits a second, 0: none, or not known
}

// tracedMost is how many events are read of a trace.
const tracedMost = 3_000_000

// qlogHeader is the first record of a trace.
type qlogHeader struct {
	Format string `json:"qlog_format"`
	Trace  struct {
		Vantage struct {
			Type string `json:"type"`
		} `json:"vantage_point"`
		Common struct {
			Reference struct {
				Wall time.Time `json:"wall_clock_time"`
			} `json:"reference_time"`
		} `json:"common_fields"`
	} `json:"trace"`
}

// qlogEvent is any other record. Data has the fields that the page shows, of all events.
type qlogEvent struct {
	Time float64 `json:"time"`
	Name string  `json:"name"`
	Data struct {
		SN        uint32  `json:"sn"`
		Command   string  `json:"command"`
		Cause     string  `json:"cause"`
		Source    string  `json:"source"`
		Length    int     `json:"length"`
		New       string  `json:"new"`
		Count     uint64  `json:"count"`
		Latest    float64 `json:"latest_rtt"`
		SRTT      float64 `json:"srtt"`
		Least     float64 `json:"min_rtt"`
		RTO       float64 `json:"rto"`
		Window    float64 `json:"congestion_window"`
		InFlight  float64 `json:"in_flight"`
		Pacing    float64 `json:"pacing_rate"`
		Bandwidth float64 `json:"bandwidth"`
	} `json:"data"`
}

// readTraceFile reads a trace.
func readTraceFile(name string) (*traced, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := readTrace(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func readTrace(r io.Reader) (*traced, error) {
	t, phase := new(traced), ""
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		line := lines.Bytes()
		if len(line) == 0 || line[0] != 0x1E {
			return nil, fmt.Errorf("record %d does not begin with a record separator", n)
		}
		if n == 0 {
			var h qlogHeader
			if err := json.Unmarshal(line[1:], &h); err != nil || h.Format != "JSON-SEQ" {
				return nil, fmt.Errorf("no header of a qlog sequence: %v", err)
			}
			t.vantage, t.start = h.Trace.Vantage.Type, h.Trace.Common.Reference.Wall
			continue
		}
		if n > tracedMost {
			t.cut = true
			break
		}
		var e qlogEvent
		if err := json.Unmarshal(line[1:], &e); err != nil {
			return nil, fmt.Errorf("record %d: %w", n, err)
		}
		t.take(&e, &phase)
	}
	return t, lines.Err()
}

// take adds an event. phase is that of the controller.
func (t *traced) take(e *qlogEvent, phase *string) {
	d := &e.Data
	t.end = e.Time / 1000
	point := dot{t.end, d.SN}
	switch strings.TrimPrefix(e.Name, "kcp:") {
	case "segment_sent":
		switch {
		case d.Command != "push" || d.Length == 0:
		case d.Cause == "new":
			t.sent = append(t.sent, point)
		default:
			t.again = append(t.again, point)
		}
	case "segment_received":
		switch {
		case d.Command != "push" || d.Length == 0:
		case d.Source == "parity":
			t.rebuilt = append(t.rebuilt, point)
		default:
			t.received = append(t.received, point)
		}
	case "segment_acked":
		t.acked = append(t.acked, point)
	case "segment_lost":
		t.lost = append(t.lost, point)
	case "records_dropped":
		t.dropped += d.Count
	case "phase_changed":
		*phase = d.New
	case "metrics_updated":
		t.metrics = append(t.metrics, metrics{
			at: t.end, phase: *phase, latest: d.Latest, smoothed: d.SRTT, least: d.Least, most: d.RTO,
			window: d.Window, inFlight: d.InFlight, pacing: 8 * d.Pacing, bandwidth: 8 * d.Bandwidth,
		})
	}
}
