// SPDX-License-Identifier: MIT

package kcp

import (
	"strconv"
	"time"
)

// The format of a trace is that of draft-ietf-quic-qlog-main-schema, JSON-SEQ: each record begins
// with a record separator and ends with a line feed (RFC 7464). docs/tracing.md has the events.
const (
	traceSeparator = 0x1E
	traceNamespace = "kcp:"
	traceSchema    = "https://github.com/seedkcp/kcp/blob/main/docs/tracing.md#version-1"
)

// A traceForm is how a field of an event is found in its record and written.
type traceForm uint8

const (
	formNumber traceForm = iota // v[at]
	formKnown                   // v[at], left out if it is not known
	formSome                    // v[at], left out if it is 0
	formName                    // names[name]
	formMore                    // names[more]
	formPush                    // names[name], left out unless the command is PUSH
	formFrg                     // frg, left out if it is 0
	formRanges                  // name ranges from v[at] on
)

// A traceField is a field of an event.
type traceField struct {
	name  string
	form  traceForm
	at    uint8
	names []string
}

// A traceEvent is the schema of an event.
type traceEvent struct {
	name   string
	fields []traceField
}

var (
	traceCommands = []string{"push", "ack", "window_probe", "window", "control"}
	traceCauses   = []string{
		lossNone: "new", lossFast: "fast", lossEarly: "early", lossProbe: "probe",
		lossWindow: "window", lossTimeout: "timeout", traceCopy: "copy",
	}
	traceSources  = []string{fromDatagram: "datagram", fromParity: "parity"}
	traceSendings = []string{traceKCP: "kcp", traceOOB: "oob"}
	traceAckedBys = []string{ackedByAck: "ack", ackedByUna: "una", ackedByRanges: "ranges"}
	tracePackets  = []string{
		packetBad: "bad", packetPlain: "plain", packetData: "data", packetParity: "parity",
		packetOOB: "oob",
	}
	traceReasons = []string{
		"other", "closed", "reset", "peer_dead", "idle", "protocol", "socket",
	}
	traceControllers = []string{
		controlRate: "rate", controlAggressive: "rate-aggressive", controlCubic: "cubic",
		controlClassic: "classic", controlFixed: "fixed", controlOff: "off",
	}
)

// traceReason returns the index of the reason why a session has ended.
func traceReason(err error) uint8 {
	switch err {
	case errClosed:
		return 1
	case errReset:
		return 2
	case errPeerDead:
		return 3
	case errIdle:
		return 4
	case errProtocol:
		return 5
	case errSocketClosed:
		return 6
	}
	return 0
}

var traceSegment = []traceField{
	{"command", formMore, 0, traceCommands}, {"sn", formNumber, 0, nil}, {"ts", formNumber, 1, nil},
	{"una", formNumber, 2, nil}, {"window", formNumber, 3, nil}, {"length", formNumber, 4, nil},
	{"fragment", formFrg, 0, nil},
}

var traceRanges = []traceField{
	{"una", formNumber, 0, nil}, {"count", formNumber, 1, nil}, {"ranges", formRanges, 2, nil},
}

// traceEvents are the events of a session, but for parameters_set.
var traceEvents = [traceKinds]traceEvent{
	traceDropped:   {"records_dropped", []traceField{{"count", formNumber, 0, nil}}},
	traceOpened:    {"session_opened", nil},
	traceValidated: {"address_validated", nil},
	traceClosing:   {"session_closing", nil},
	traceClosed:    {"session_closed", []traceField{{"reason", formName, 0, traceReasons}}},
	traceDatagramsSent: {"datagrams_sent", []traceField{
		{"kind", formName, 0, traceSendings}, {"count", formNumber, 0, nil},
		{"bytes", formNumber, 1, nil}, {"parity", formSome, 2, nil},
	}},
	traceDatagramReceived: {"datagram_received", []traceField{
		{"kind", formName, 0, tracePackets}, {"bytes", formNumber, 0, nil},
	}},
	traceSegmentSent: {"segment_sent",
		append(traceSegment[:len(traceSegment):len(traceSegment)],
			traceField{"cause", formPush, 0, traceCauses})},
	traceSegmentReceived: {"segment_received",
		append(traceSegment[:len(traceSegment):len(traceSegment)],
			traceField{"source", formName, 0, traceSources})},
	traceSegmentAcked: {"segment_acked", []traceField{
		{"sn", formNumber, 0, nil}, {"by", formName, 0, traceAckedBys},
		{"transmissions", formNumber, 1, nil}, {"waited", formNumber, 2, nil},
	}},
	traceSegmentLost: {"segment_lost", []traceField{
		{"sn", formNumber, 0, nil}, {"cause", formName, 0, traceCauses},
		{"in_flight", formNumber, 1, nil},
	}},
	traceSpurious: {"loss_spurious", []traceField{
		{"sn", formNumber, 0, nil}, {"cause", formName, 0, traceCauses},
	}},
	traceRangesSent:      {"ack_ranges_sent", traceRanges},
	traceRangesReceived:  {"ack_ranges_received", traceRanges},
	traceRecovered:       {"packet_recovered", []traceField{{"bytes", formNumber, 0, nil}}},
	traceRepairsReported: {"repairs_reported", []traceField{{"count", formNumber, 0, nil}}},
	traceFECChanged: {"fec_changed", []traceField{
		{"data_shards", formNumber, 0, nil}, {"parity_shards", formNumber, 1, nil},
	}},
	traceControllerChanged: {"controller_changed", []traceField{
		{"controller", formName, 0, traceControllers},
	}},
	tracePhaseChanged: {"phase_changed", []traceField{
		{"old", formMore, 0, traceStates[:]}, {"new", formName, 0, traceStates[:]},
	}},
	traceMetrics: {"metrics_updated", []traceField{
		{"srtt", formNumber, 0, nil}, {"rtt_variance", formNumber, 1, nil},
		{"min_rtt", formNumber, 2, nil}, {"latest_rtt", formKnown, 3, nil},
		{"rto", formNumber, 4, nil}, {"congestion_window", formSome, 5, nil},
		{"in_flight", formNumber, 6, nil}, {"pacing_rate", formSome, 7, nil},
		{"bandwidth", formSome, 8, nil}, {"send_queue", formNumber, 9, nil},
		{"send_window", formNumber, 10, nil}, {"peer_window", formNumber, 11, nil},
		{"receive_window", formNumber, 12, nil},
	}},
}

// appendTraceRecord appends an event.
func appendTraceRecord(b []byte, r *traceRecord) []byte {
	e := &traceEvents[r.kind]
	b = appendTraceBegin(b, r.at, e.name)
	for i := range e.fields {
		b = e.fields[i].append(b, r)
	}
	return appendTraceEnd(b)
}

// append appends the field and a comma.
func (f *traceField) append(b []byte, r *traceRecord) []byte {
	v := r.v[f.at]
	switch f.form {
	case formNumber:
		return appendTraceNumber(b, f.name, int64(v))
	case formKnown:
		if v != traceUnknown {
			b = appendTraceNumber(b, f.name, int64(v))
		}
	case formSome:
		if v != 0 {
			b = appendTraceNumber(b, f.name, int64(v))
		}
	case formName:
		return appendTraceString(b, f.name, f.names[r.name])
	case formMore:
		return appendTraceString(b, f.name, f.names[r.more])
	case formPush:
		if r.more == 0 {
			b = appendTraceString(b, f.name, f.names[r.name])
		}
	case formFrg:
		if r.frg != 0 {
			b = appendTraceNumber(b, f.name, int64(r.frg))
		}
	case formRanges:
		b = appendTraceKey(b, f.name)
		b = append(b, '[')
		for i := range int(r.name) {
			b = append(b, '[')
			b = strconv.AppendUint(b, uint64(r.v[int(f.at)+2*i]), 10)
			b = append(b, ',')
			b = strconv.AppendUint(b, uint64(r.v[int(f.at)+2*i+1]), 10)
			b = append(b, ']', ',')
		}
		return append(trimComma(b), ']', ',')
	}
	return b
}

// appendTraceBegin appends the begin of an event, up to its first field. The time is in
// milliseconds.
func appendTraceBegin(b []byte, at instant, name string) []byte {
	b = append(b, traceSeparator)
	b = append(b, `{"time":`...)
	b = strconv.AppendInt(b, int64(at)/int64(time.Millisecond), 10)
	b = append(b, '.')
	for part, unit := int64(at)%int64(time.Millisecond), int64(100_000); unit >= 1000; unit /= 10 {
		b = append(b, '0'+byte(part/unit%10))
	}
	b = append(b, `,"name":"`+traceNamespace...)
	b = append(b, name...)
	return append(b, `","data":{`...)
}

// appendTraceEnd appends the end of an event behind its fields.
func appendTraceEnd(b []byte) []byte { return append(trimComma(b), '}', '}', '\n') }

// trimComma removes the comma behind the last of several elements.
func trimComma(b []byte) []byte {
	if b[len(b)-1] == ',' {
		return b[:len(b)-1]
	}
	return b
}

func appendTraceKey(b []byte, name string) []byte {
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendTraceNumber(b []byte, name string, n int64) []byte {
	b = strconv.AppendInt(appendTraceKey(b, name), n, 10)
	return append(b, ',')
}

func appendTraceBool(b []byte, name string, v bool) []byte {
	b = strconv.AppendBool(appendTraceKey(b, name), v)
	return append(b, ',')
}

// appendTraceString appends a string, which may be a foreign address's.
func appendTraceString(b []byte, name, value string) []byte {
	b = append(appendTraceKey(b, name), '"')
	for _, r := range value {
		if r < ' ' || r == '"' || r == '\\' {
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[r>>4&15], hex[r&15])
			continue
		}
		b = append(b, string(r)...)
	}
	return append(b, '"', ',')
}

// appendTraceHeader appends the record at the head of a trace. Beside the names of the current
// draft it has those of earlier ones, which some tools read.
func appendTraceHeader(b []byte, info *TraceInfo) []byte {
	b = append(b, traceSeparator, '{')
	b = appendTraceString(b, "file_schema", "urn:ietf:params:qlog:file:sequential")
	b = appendTraceString(b, "serialization_format", "application/qlog+json-seq")
	b = appendTraceString(b, "qlog_version", "0.4")
	b = appendTraceString(b, "qlog_format", "JSON-SEQ")
	b = append(b, `"trace":{"vantage_point":{`...)
	b = append(trimComma(appendTraceString(b, "type", info.VantagePoint)), `},"event_schemas":[`...)
	b = append(b, '"')
	b = append(b, traceSchema...)
	b = append(b, `"],"common_fields":{`...)
	b = appendTraceString(b, "group_id", strconv.FormatUint(uint64(info.Conv), 16))
	b = appendTraceString(b, "time_format", "relative_to_epoch")
	b = append(b, `"reference_time":{"clock_type":"monotonic","epoch":"unknown",`...)
	b = appendTraceString(b, "wall_clock_time", info.Start.UTC().Format(time.RFC3339Nano))
	return append(trimComma(b), "}}}}\n"...)
}

// traceSettings are the settings of a session when its trace begins.
type traceSettings struct {
	at               instant
	mtu, segment     int
	sndWnd, rcvWnd   int
	interval, minRTO millis
	fec              fecPair
	modes            modes
	control          controlKind
	resend           int
}

// appendTraceParameters appends the first event of a trace.
func appendTraceParameters(b []byte, info *TraceInfo, s *traceSettings) []byte {
	b = appendTraceBegin(b, s.at, "parameters_set")
	b = appendTraceNumber(b, "conv", int64(info.Conv))
	b = appendTraceString(b, "local", info.Local.String())
	b = appendTraceString(b, "remote", info.Remote.String())
	b = appendTraceNumber(b, "mtu", int64(s.mtu))
	b = appendTraceNumber(b, "segment_size", int64(s.segment))
	b = appendTraceNumber(b, "send_window", int64(s.sndWnd))
	b = appendTraceNumber(b, "receive_window", int64(s.rcvWnd))
	b = appendTraceNumber(b, "interval", int64(s.interval))
	b = appendTraceNumber(b, "min_rto", int64(s.minRTO))
	b = appendTraceNumber(b, "fast_resend", int64(s.resend))
	b = appendTraceNumber(b, "data_shards", int64(s.fec.data))
	b = appendTraceNumber(b, "parity_shards", int64(s.fec.parity))
	b = appendTraceString(b, "controller", traceControllers[s.control])
	b = appendTraceBool(b, "stream_mode", s.modes.has(modeStream))
	b = appendTraceBool(b, "write_delay", s.modes.has(modeWriteDelay))
	b = appendTraceBool(b, "ack_no_delay", s.modes.has(modeACKNoDelay))
	return appendTraceEnd(b)
}
