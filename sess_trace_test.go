// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// traceSink is the writer of a trace.
type traceSink struct {
	mu     sync.Mutex // guards what follows
	text   bytes.Buffer
	err    error
	closed int
	hold   chan struct{} // writes wait until it is closed; nil: they do not
}

func (s *traceSink) Write(p []byte) (int, error) {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	return s.text.Write(p)
}

func (s *traceSink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
	return nil
}

// tracedEvent is an event of a trace.
type tracedEvent struct {
	Time float64        `json:"time"`
	Name string         `json:"name"`
	Data map[string]any `json:"data"`
}

func (e *tracedEvent) number(name string) uint64 {
	v, _ := e.Data[name].(float64)
	return uint64(v)
}

// trace is a trace that has been parsed.
type trace struct {
	header map[string]any
	events []tracedEvent
}

// read parses the trace, which must have been closed once, and checks each event by its schema.
func (s *traceSink) read(t testing.TB) (got trace) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != 1 {
		t.Fatalf("the writer was closed %d times", s.closed)
	}
	records := strings.Split(s.text.String(), "\x1e")
	if records[0] != "" {
		t.Fatalf("%.50q stands before the first record separator", records[0])
	}
	latest := 0.0
	for i, r := range records[1:] {
		if !strings.HasSuffix(r, "}\n") {
			t.Fatalf("record %d does not end in a line feed: %q", i, r)
		}
		if i == 0 {
			if err := json.Unmarshal([]byte(r), &got.header); err != nil {
				t.Fatalf("header %q: %v", r, err)
			}
			continue
		}
		var e tracedEvent
		if err := json.Unmarshal([]byte(r), &e); err != nil {
			t.Fatalf("record %d, %q: %v", i, r, err)
		}
		if e.Time < latest {
			t.Fatalf("record %d is of %v, and the one before of %v", i, e.Time, latest)
		}
		latest = e.Time
		checkTraced(t, &e)
		got.events = append(got.events, e)
	}
	return got
}

// checkTraced checks an event by its schema.
func checkTraced(t testing.TB, e *tracedEvent) {
	t.Helper()
	name, ok := strings.CutPrefix(e.Name, "kcp:")
	if name == "parameters_set" && ok {
		return
	}
	i := slices.IndexFunc(traceEvents[:], func(s traceEvent) bool { return s.name == name })
	if !ok || i < 0 {
		t.Fatalf("event %q is unknown", e.Name)
	}
	seen := 0
	for _, f := range traceEvents[i].fields {
		v, ok := e.Data[f.name]
		if !ok {
			if f.form != formKnown && f.form != formSome && f.form != formFrg &&
				(f.form != formPush || e.Data["command"] == "push") {
				t.Fatalf("%s has no %s: %v", e.Name, f.name, e.Data)
			}
			continue
		}
		seen++
		switch v := v.(type) {
		case float64:
			ok = v >= 0 && v <= 1<<32-1 && v == float64(uint64(v)) && f.names == nil
		case string:
			ok = slices.Contains(f.names, v)
		case []any:
			ok = f.form == formRanges
		default:
			ok = false
		}
		if !ok {
			t.Fatalf("%s: %s is %v", e.Name, f.name, v)
		}
	}
	if seen != len(e.Data) {
		t.Fatalf("%s has %d fields of its schema, and in all %v", e.Name, seen, e.Data)
	}
}

// count returns how many events of that name have the value, which may be nil, in the field.
func (tr *trace) count(name, field string, value any) (n uint64) {
	for i := range tr.events {
		e := &tr.events[i]
		if e.Name == "kcp:"+name && (field == "" || e.Data[field] == value) {
			n++
		}
	}
	return n
}

// sum returns the sum of the field over the events of that name.
func (tr *trace) sum(name, field string) (n uint64) {
	for i := range tr.events {
		if e := &tr.events[i]; e.Name == "kcp:"+name {
			n += e.number(field)
		}
	}
	return n
}

// wantStats checks that what the trace counts is what the session has counted.
func (tr *trace) wantStats(t *testing.T, st *Stats) {
	t.Helper()
	resent := func(causes ...string) (n uint64) {
		for _, c := range causes {
			n += tr.count("segment_sent", "cause", c)
		}
		return n
	}
	for _, tt := range []struct {
		name      string
		got, want uint64
	}{
		{"PacketsSent", tr.sum("datagrams_sent", "count"), st.PacketsSent},
		{"WireBytesSent", tr.sum("datagrams_sent", "bytes"), st.WireBytesSent},
		{"PacketsReceived", tr.count("datagram_received", "", nil), st.PacketsReceived},
		{"WireBytesReceived", tr.sum("datagram_received", "bytes"), st.WireBytesReceived},
		{"SegmentsSent", tr.count("segment_sent", "", nil), st.SegmentsSent},
		{"SegmentsReceived", tr.count("segment_received", "", nil), st.SegmentsReceived},
		{"FastRetransmits", resent("fast"), st.FastRetransmits},
		{"EarlyRetransmits", resent("early"), st.EarlyRetransmits},
		{"TimeoutRetransmits", resent("timeout", "probe", "window"), st.TimeoutRetransmits},
		{"CopiedSegments", resent("copy"), st.CopiedSegments},
		{"SpuriousRetransmits", tr.count("loss_spurious", "", nil), st.SpuriousRetransmits},
		{"FECRecovered", tr.count("packet_recovered", "", nil), st.FECRecovered},
		{"FECParityReceived", tr.count("datagram_received", "kind", "parity"),
			st.FECParityReceived},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d in the trace, %d in Stats", tt.name, tt.got, tt.want)
		}
	}
}

// wantLives checks the life of each segment: sent, then lost and resent any number of times, then
// acknowledged once.
func (tr *trace) wantLives(t *testing.T) (lost int) {
	t.Helper()
	const inFlight, missing, acked = 1, 2, 3
	states := make(map[uint64]int)
	for i := range tr.events {
		e := &tr.events[i]
		sn := e.number("sn")
		was := states[sn]
		switch e.Name {
		case "kcp:segment_sent":
			switch cause := e.Data["cause"]; {
			case e.Data["command"] != "push", cause == "copy", e.Data["length"] == 0.0:
			case (cause == "new") != (was == 0) || cause != "new" && was != missing:
				t.Fatalf("segment %d is sent in state %d: %v", sn, was, e.Data)
			default:
				states[sn] = inFlight
			}
		case "kcp:segment_lost":
			if lost++; was != inFlight {
				t.Fatalf("segment %d is lost in state %d", sn, was)
			}
			states[sn] = missing
		case "kcp:segment_acked":
			if was != inFlight && was != missing {
				t.Fatalf("segment %d is acknowledged in state %d", sn, was)
			}
			states[sn] = acked
		}
	}
	for sn, state := range states {
		if state != acked {
			t.Errorf("segment %d ends in state %d, not acknowledged", sn, state)
		}
	}
	return lost
}

// tracedPair runs f with a session both of whose ends are traced from the beginning, closes both,
// and returns what the traces and the ends have counted.
func tracedPair(t *testing.T, seed uint64, p simProfile, c Config,
	f func(t *testing.T, n *connPair)) (traces [2]trace, stats [2]Stats) {
	t.Helper()
	var sinks [2]traceSink
	c.Trace = func(info TraceInfo) io.WriteCloser {
		if info.VantagePoint == "server" {
			return &sinks[1]
		}
		return &sinks[0]
	}
	pairRun(t, seed, p, c, func(t *testing.T, n *connPair) {
		f(t, n)
		_ = n.client.Close()
		_ = n.server.Close()
		<-n.client.Done()
		<-n.server.Done()
		time.Sleep(time.Second)
		synctest.Wait()
		for i, s := range []*UDPSession{n.client, n.server} {
			traces[i], stats[i] = sinks[i].read(t), s.Stats()
		}
	})
	return traces, stats
}

// What a trace of a lossy session tells is what has happened.
func TestTraceOfALossySession(t *testing.T) {
	lossy := simProfile{
		Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, JitterReorders: true,
		Loss: 0.05, Reorder: 0.02, ReorderDelay: 30 * time.Millisecond, Duplicate: 0.01,
		Rate: 2_000_000, Queue: 100_000,
	}
	for name, c := range map[string]Config{
		"plain":  {StreamMode: true, NoDelay: true, FastResend: 2},
		"FEC":    {StreamMode: true, DataShards: 10, ParityShards: 3},
		"cubic":  {CongestionControl: CongestionCubic},
		"copies": {NoDelay: true, Redundancy: 2},
	} {
		t.Run(name, func(t *testing.T) {
			const size = 400_000
			traces, stats := tracedPair(t, 7, lossy, c, func(t *testing.T, n *connPair) {
				connWrite(t, n.client, "x")
				exchange(t, n.client, n.server, size)
			})
			for i := range traces {
				tr := &traces[i]
				tr.wantStats(t, &stats[i])
				if lost := tr.wantLives(t); lost == 0 && c.ParityShards == 0 {
					t.Error("no segment was lost")
				}
				if sent := tr.count("segment_sent", "cause", "new"); sent < size/1400 {
					t.Errorf("%d segments were sent", sent)
				}
				for _, want := range []string{
					"metrics_updated", "phase_changed", "ack_ranges_sent", "ack_ranges_received",
				} {
					if tr.count(want, "", nil) == 0 {
						t.Errorf("there is no %s", want)
					}
				}
				if c.ParityShards > 0 && (tr.sum("datagrams_sent", "parity") == 0 ||
					tr.count("segment_received", "source", "parity") == 0 ||
					tr.sum("repairs_reported", "count") == 0) {
					t.Error("no parity was sent, or none has recovered anything")
				}
			}
		})
	}
}

// A trace begins with the parameters and ends with the reason of the session's end.
func TestTraceTellsTheLifeOfASession(t *testing.T) {
	traces, _ := tracedPair(t, 1, shortLink, Config{}, func(*testing.T, *connPair) {})
	for i, side := range []string{"client", "server"} {
		tr := traces[i]
		if tr.header["qlog_format"] != "JSON-SEQ" ||
			tr.header["file_schema"] != "urn:ietf:params:qlog:file:sequential" {
			t.Errorf("header %v", tr.header)
		}
		head := tr.header["trace"].(map[string]any)
		if got := head["vantage_point"].(map[string]any)["type"]; got != side {
			t.Errorf("vantage point %v, want %s", got, side)
		}
		if len(head["event_schemas"].([]any)) != 1 {
			t.Errorf("event schemas %v", head["event_schemas"])
		}
		reference := head["common_fields"].(map[string]any)["reference_time"].(map[string]any)
		if _, err := time.Parse(time.RFC3339, reference["wall_clock_time"].(string)); err != nil {
			t.Error(err)
		}
		first := tr.events[0]
		if first.Name != "kcp:parameters_set" || first.Data["mtu"] != 1400.0 ||
			first.Data["controller"] != "rate" || first.Data["stream_mode"] != false ||
			!strings.HasPrefix(first.Data["remote"].(string), "10.0.0.") {
			t.Errorf("the first event is %v", first)
		}
		if got := tr.events[1].Name; got != "kcp:session_opened" {
			t.Errorf("the second event is %s", got)
		}
		validated := uint64(i) // a dialled session's peer is
		if got := tr.count("address_validated", "", nil); got != validated {
			t.Errorf("%s: the address was validated %d times", side, got)
		}
		if tr.count("session_closing", "", nil) != 1 ||
			tr.count("session_closed", "reason", "closed") != 1 {
			t.Errorf("%s: no end in %v", side, tr.events)
		}
	}
}

// The reason of the end is the one that the session has failed for.
func TestTraceTellsWhyASessionEnds(t *testing.T) {
	for _, tt := range []struct {
		reason string
		c      Config
		end    func(n *connPair)
	}{
		{"reset", Config{}, func(n *connPair) { n.server.SetLinger(0); _ = n.server.Close() }},
		{"idle", Config{IdleTimeout: time.Second}, func(*connPair) {}},
		{"peer_dead", Config{DeadTimeout: time.Second}, func(n *connPair) {
			n.setDrop(func(string, string, []byte) bool { return true })
			_, _ = n.client.Write([]byte("x"))
		}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			pairRun(t, 1, shortLink, tt.c, func(t *testing.T, n *connPair) {
				var sink traceSink
				n.client.SetTrace(&sink)
				tt.end(n)
				time.Sleep(2 * time.Minute)
				if tr := sink.read(t); tr.count("session_closed", "reason", tt.reason) != 1 {
					t.Errorf("%v", tr.events)
				}
			})
		})
	}
}

// A writer that blocks costs events and nothing else, and the trace tells how many.
func TestTraceWriterThatBlocks(t *testing.T) {
	const size = 8_000_000
	run := func(t *testing.T, sink *traceSink, blocks bool) (took time.Duration, dropped uint64) {
		pairRun(t, 1, shortLink, Config{StreamMode: true}, func(t *testing.T, n *connPair) {
			if blocks {
				sink.hold = make(chan struct{})
			}
			if sink != nil {
				n.client.SetTrace(sink)
			}
			took = n.move(t, make([]byte, size))
			time.Sleep(time.Second)
			dropped = n.client.Stats().TraceDropped
			if blocks {
				close(sink.hold)
			}
			time.Sleep(time.Second)
			connWrite(t, n.server, "again, so that the trace goes on")
			time.Sleep(time.Second)
		})
		return took, dropped
	}
	untraced, _ := run(t, nil, false)
	var whole, holed traceSink
	took, dropped := run(t, &whole, false)
	if took != untraced || dropped != 0 {
		t.Errorf("the transfer took %v, %v without a trace, and %d events were dropped",
			took, untraced, dropped)
	}
	took, dropped = run(t, &holed, true)
	if took != untraced || dropped == 0 {
		t.Errorf("with a writer that blocks it took %v, %v without, and %d events were dropped",
			took, untraced, dropped)
	}
	all, some := whole.read(t), holed.read(t)
	if got := some.sum("records_dropped", "count"); got != dropped {
		t.Errorf("%d events were dropped, the trace tells of %d", dropped, got)
	}
	if got, most := len(some.events), traceChunksMost*traceChunkRecords+1000; got > most ||
		got >= len(all.events) {
		t.Errorf("%d events were written of %d, want at most %d", got, len(all.events), most)
	}
	if some.count("session_closed", "", nil) != 1 {
		t.Error("the trace does not go on once the writer does")
	}
}

// The first error of the writer ends the trace and not the session.
func TestTraceWriterThatFails(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		failure := errors.New("no space left")
		sink := traceSink{err: failure}
		client.SetTrace(&sink)
		for range 200 {
			connWrite(t, client, "hello")
			connWantRead(t, server, "hello")
		}
		if got := client.Stats().TraceError; got != failure {
			t.Errorf("TraceError = %v, want the writer's", got)
		}
		if sink.closed != 1 {
			t.Errorf("the writer was closed %d times", sink.closed)
		}
		var next traceSink
		client.SetTrace(&next)
		if err := client.Stats().TraceError; err != nil {
			t.Errorf("TraceError = %v with another writer", err)
		}
		connWrite(t, client, "hello")
		client.SetTrace(nil)
		time.Sleep(time.Second)
		if got := next.read(t); got.count("segment_sent", "command", "push") != 1 {
			t.Errorf("the next trace is %v", got.events)
		}
	})
}

// Each call of SetTrace ends the trace before. A writer without Close will do.
func TestSetTraceAgain(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		var typedNil *traceSink
		client.SetTrace(nil)
		client.SetTrace(typedNil)
		var sinks [4]traceSink
		for i := range sinks {
			client.SetTrace(&sinks[i])
			for range i {
				connWrite(t, client, "hello")
				connWantRead(t, server, "hello")
			}
		}
		client.SetTrace(typedNil)
		connWrite(t, client, "not traced")
		var plain bytes.Buffer
		client.SetTrace(struct{ io.Writer }{&plain})
		time.Sleep(time.Minute)
		client.SetTrace(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		for i := range sinks {
			tr := sinks[i].read(t)
			if got := tr.count("segment_sent", "cause", "new"); got != uint64(i) {
				t.Errorf("trace %d has %d segments: %v", i, got, tr.events)
			}
		}
		if !bytes.Contains(plain.Bytes(), []byte("parameters_set")) {
			t.Errorf("trace %q", plain.Bytes())
		}
		_ = client.Close()
		<-client.Done()
		var late traceSink
		client.SetTrace(&late)
		time.Sleep(time.Second)
		if tr := late.read(t); len(tr.events) != 1 {
			t.Errorf("the trace of a session that has ended is %v", tr.events)
		}
	})
}

// Config.Trace may return no writer, also one that is nil in an interface.
func TestTraceOfNoWriter(t *testing.T) {
	for _, w := range []io.WriteCloser{nil, (*os.File)(nil)} {
		c := Config{Trace: func(TraceInfo) io.WriteCloser { return w }}
		inSession(t, c, func(t *testing.T, client, server *UDPSession) {
			for range 200 {
				connWrite(t, client, "hello")
				connWantRead(t, server, "hello")
			}
			if st := client.Stats(); st.TraceError != nil || st.TraceDropped != 0 {
				t.Errorf("%d dropped, %v", st.TraceDropped, st.TraceError)
			}
		})
	}
}

// Forged addresses open sessions, and no traces.
func TestForgedAddressesOpenNoTraces(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{DeadTimeout: time.Second, Trace: func(TraceInfo) io.WriteCloser {
			t.Error("a trace was opened")
			return nil
		}})
		for i := range 20 {
			conn := w.endpoint(fmt.Sprintf("10.0.1.%d:9", i+1))
			s := segment{conv: uint32(i + 1), cmd: cmdPush, wnd: 32, data: []byte("x")}
			if _, err := conn.WriteTo(appendSegment(nil, &s), l.Addr()); err != nil {
				t.Fatal(err)
			}
			w.accept(l)
			_ = conn.Close()
		}
		time.Sleep(time.Minute)
	})
}

// TraceInfo names the session.
func TestTraceInfo(t *testing.T) {
	var mu sync.Mutex
	infos := make(map[string]TraceInfo)
	c := Config{Trace: func(info TraceInfo) io.WriteCloser {
		mu.Lock()
		defer mu.Unlock()
		infos[info.VantagePoint] = info
		return nil
	}}
	inSession(t, c, func(t *testing.T, client, server *UDPSession) {
		synctest.Wait()
		for side, s := range map[string]*UDPSession{"client": client, "server": server} {
			info := infos[side]
			same := func(a, b net.Addr) bool { return a != nil && a.String() == b.String() }
			if info.Conv != s.GetConv() || !same(info.Local, s.LocalAddr()) ||
				!same(info.Remote, s.RemoteAddr()) || info.Start.IsZero() {
				t.Errorf("%s: %+v", side, info)
			}
		}
	})
}

// Sessions in real time are traced while their settings, traces and figures change.
func TestTraceWhileAllElseHappens(t *testing.T) {
	connCheckLeaks(t)
	_, client, server := pairLoopback(t)
	var work sync.WaitGroup
	for _, s := range []*UDPSession{client, server} {
		work.Go(func() {
			for range 300 {
				_, _ = s.Write(make([]byte, 3000))
			}
			_ = s.CloseWrite()
		})
		work.Go(func() { _, _ = io.Copy(io.Discard, s) })
		work.Go(func() {
			for i := range 30 {
				sink := new(traceSink)
				s.SetTrace(sink)
				_ = s.SetFEC(3*(i%2), i%2)
				_ = s.Stats()
			}
		})
	}
	work.Wait()
}

// The tables of docs/tracing.md are those of the events.
func TestTraceEventsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := func(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }
	row := func(name string, fields []string) {
		data := "-"
		if len(fields) > 0 {
			data = quoted(fields)
		}
		if want := "\n| `" + name + "` | " + data + " | "; !strings.Contains(string(text), want) {
			t.Errorf("docs/tracing.md has no row %q", want)
		}
	}
	var e tracedEvent
	info := &TraceInfo{Local: memAddr("a"), Remote: memAddr("b\"\x01")}
	parameters := appendTraceParameters(nil, info, &traceSettings{})
	if err := json.Unmarshal(parameters[1:], &e); err != nil {
		t.Fatalf("%q: %v", parameters, err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`"(\w+)":`).FindAllSubmatch(parameters, -1) {
		names = append(names, string(m[1]))
	}
	row("parameters_set", names[3:])
	if e.Data["remote"] != "b\"\x01" {
		t.Errorf("remote is %q", e.Data["remote"])
	}
	for _, event := range traceEvents {
		var fields []string
		for _, f := range event.fields {
			fields = append(fields, f.name)
			values := " | " + quoted(f.names) + " |\n"
			if f.names != nil && f.names[0] != "" && !strings.Contains(string(text), values) {
				t.Errorf("docs/tracing.md has no %q for %s of %s", values, f.name, event.name)
			}
		}
		row(event.name, fields)
	}
	version := traceSchema[strings.LastIndex(traceSchema, "#")+1:]
	if !strings.Contains(string(text), "\n## "+strings.ReplaceAll("V"+version[1:], "-", " ")+"\n") {
		t.Errorf("docs/tracing.md has no section %s", version)
	}
}

// BenchmarkTraceText measures what a record costs the goroutine that writes it.
func BenchmarkTraceText(b *testing.B) {
	r := traceRecord{at: 123_456_789, kind: traceSegmentSent}
	r.v = [traceValues]uint32{123456, 987654321, 234567, 512, 1376}
	var buf []byte
	for b.Loop() {
		buf = appendTraceRecord(buf[:0], &r)
	}
	b.SetBytes(int64(len(buf)))
}
