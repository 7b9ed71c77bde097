// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// The control protocol, version 1. Client and server exchange JSON objects, one a line of at most
// 64 KiB.
//
//	control session                                    data sessions
//	client                     server                  client
//	start (version, plan)  ->
//	                       <-  ready (token)
//	                           or refused (error)
//	                                                   join (token, session) -> on each
//	                       <-  joined, once all are there
//	go                     ->
//	                       <-  started
//	                       <-  sample, one an interval
//	stop                   ->
//	                       <-  result (total)
//
// Behind its line a data session carries nothing but the test's data. The server sends none before
// go. It accepts join lines only from the address of the control session, which has received the
// token. So data cannot be directed to another host. Objects of an unknown type end the control
// session; unknown fields are ignored. A version that a side does not know is refused.
const protocolVersion = 1

// The types of control messages.
const (
	typeStart   = "start"
	typeReady   = "ready"
	typeRefused = "refused"
	typeJoin    = "join"
	typeJoined  = "joined"
	typeGo      = "go"
	typeStarted = "started"
	typeSample  = "sample"
	typeStop    = "stop"
	typeResult  = "result"
)

const maxLine = 64 << 10

// message is a line of the control protocol.
type message struct {
	Type    string  `json:"type"`
	Version int     `json:"version,omitempty"`
	Plan    *plan   `json:"plan,omitempty"`
	Token   string  `json:"token,omitempty"`
	Session int     `json:"session,omitempty"`
	Error   string  `json:"error,omitempty"`
	Sample  *sample `json:"sample,omitempty"`
}

func writeMessage(w io.Writer, m *message) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

var errLine = errors.New("the peer does not speak kcpperf's protocol")

// readMessage reads a line. r's buffer must hold maxLine bytes: a longer line is an error.
func readMessage(r *bufio.Reader) (*message, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errLine
	}
	if err != nil {
		return nil, err
	}
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return nil, fmt.Errorf("%w: %v", errLine, err)
	}
	return &m, nil
}

// await reads a line and returns an error unless it is of one of the types. The peer's refusal is
// an error of its own.
func await(r *bufio.Reader, types ...string) (*message, error) {
	m, err := readMessage(r)
	if err != nil {
		return nil, err
	}
	if m.Type == typeRefused {
		return nil, &refusedError{m.Error}
	}
	for _, t := range types {
		if m.Type == t {
			return m, nil
		}
	}
	return nil, fmt.Errorf("%w: got %q where %q was due", errLine, m.Type, types)
}

// refusedError is the server's refusal to run the test.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return "the server refuses: " + e.reason }

// The modes of a test, from the client's side.
const (
	modeSend    = "send"
	modeReceive = "receive"
	modeBoth    = "both"
	modeEcho    = "echo"
)

// plan is what a test does.
type plan struct {
	Settings settings `json:"settings"`
	Mode     string   `json:"mode"`
	Sessions int      `json:"sessions"`
	Millis   int      `json:"milliseconds"`          // how long
	Every    int      `json:"interval_milliseconds"` // between samples
	Length   int      `json:"length"`                // bytes of a write, or of an echoed message
	Rate     float64  `json:"rate"`                  // messages a second and session, for echo; 0: the next when the last is back
}

func (p *plan) duration() time.Duration { return time.Duration(p.Millis) * time.Millisecond }
func (p *plan) interval() time.Duration { return time.Duration(p.Every) * time.Millisecond }

// What a plan may ask for.
const (
	echoLeast    = 16 // bytes: a number and a time
	echoMost     = 64 << 10
	lengthMost   = 1 << 20
	rateMost     = 100000
	sessionsMost = 256
	intervalMin  = 100 * time.Millisecond
	samplesMost  = 100000
	windowsMost  = 1 << 18 // segments of all sessions: what the test may hold in memory
)

// check returns an error that names what is out of range. The server checks what a client sends
// with it.
func (p *plan) check() error {
	if err := p.Settings.check(); err != nil {
		return err
	}
	length := [2]int{1, lengthMost}
	switch p.Mode {
	case modeSend, modeReceive, modeBoth:
	case modeEcho:
		length = [2]int{echoLeast, echoMost}
	default:
		return fmt.Errorf("there is no mode %q", p.Mode)
	}
	switch {
	case p.Sessions < 1 || p.Sessions > sessionsMost:
		return fmt.Errorf("%d sessions, want 1 to %d", p.Sessions, sessionsMost)
	case p.Millis < 1 || int64(p.Millis) > int64(24*time.Hour/time.Millisecond):
		return fmt.Errorf("a time of %d ms, want 1 ms to 24 h", p.Millis)
	case p.interval() < intervalMin:
		return fmt.Errorf("an interval of %v, want at least %v", p.interval(), intervalMin)
	case p.Millis/p.Every > samplesMost:
		return fmt.Errorf("%d intervals, want at most %d", p.Millis/p.Every, samplesMost)
	case p.Length < length[0] || p.Length > length[1]:
		return fmt.Errorf("a length of %d bytes, want %d to %d", p.Length, length[0], length[1])
	case math.IsNaN(p.Rate) || p.Rate < 0 || p.Rate*float64(p.Sessions) > rateMost:
		return fmt.Errorf("a rate of %g messages a second over %d sessions, want at most %d in all", p.Rate, p.Sessions, rateMost)
	case p.windows() > windowsMost:
		return fmt.Errorf("windows of %d segments over %d sessions, want at most %d in all", p.windows()/p.Sessions, p.Sessions, windowsMost)
	}
	return nil
}

// sends and receives report what each end does. The client is the end that dials.
func (p *plan) sends(client bool) bool {
	return p.Mode == modeBoth || p.Mode == modeSend && client || p.Mode == modeReceive && !client
}

// windows is how many segments the test's sessions may hold at one end and in one direction.
func (p *plan) windows() int {
	return p.Sessions * max(p.Settings.SendWindow, p.Settings.ReceiveWindow)
}

// Sizes of headers in bytes.
const (
	segmentHeader = 24
	fecHeader     = 8
)

// segmentSize is how many bytes of data a full segment carries.
func (p *plan) segmentSize(cryptOverhead int) int {
	n := p.Settings.MTU - cryptOverhead - segmentHeader
	if p.Settings.DataShards > 0 {
		n -= fecHeader
	}
	if p.Settings.Message {
		n = min(n, p.Length)
	}
	return n
}

// String describes the test, as seen by the client.
func (p *plan) String() string {
	what := map[string]string{
		modeSend: "sending", modeReceive: "receiving", modeBoth: "sending and receiving", modeEcho: "echo",
	}[p.Mode]
	if p.Mode == modeEcho {
		rate := "one after the other"
		if p.Rate > 0 {
			rate = fmt.Sprintf("%g a second", p.Rate)
		}
		what = fmt.Sprintf("echo of %d-byte messages, %s", p.Length, rate)
	}
	return fmt.Sprintf("%s for %v, %s, %s", what, p.duration(), plural(p.Sessions, "session"), p.Settings)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
