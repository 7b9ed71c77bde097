// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
)

// FuzzCapture reads any file as a capture, in every form of output.
func FuzzCapture(f *testing.F) {
	b := documentedBytes(f)
	whole := pcapOf(f, up(0, b["session-1"]), down(20, b["session-2"]), up(40, b["fec-first"]), up(41, b["fec-parity"]),
		up(42, b["fec-named"]), down(43, b["oob"]), down(44, b["skip"]), down(45, b["ackr"]), up(46, b["aes-128-gcm"]))
	f.Add(whole)
	f.Add(append(ngSection(), block(3, append([]byte{69, 0, 0, 0}, append(ipOf(f, up(0, b["push"])), 0, 0, 0)...))...))
	f.Add(pcapOfFrames(f, layers.LinkTypeEthernet, append([]byte("123456123456\x81\x00\x00\x01\x08\x00"), ipOf(f, up(0, b["session-1"]))...)))
	f.Add(pcapOfFrames(f, linkSLL2, []byte("\x86\xdd")))
	secrets, err := parseKeyLog(bytes.NewReader([]byte(
		"KCP_PSK aes-128-gcm 000102030405060708090a0b0c0d0e0f\nKCP_PSK crc -\nKCP_PSK xor 736563726574\n")))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, capture []byte) {
		for _, args := range [][]string{{"-x"}, {"-json", "-port", "4000"}, {"-stats", "-fec", "3/1"}} {
			o, err := parseOptions(args, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			o.zone = time.UTC
			for _, keys := range [][]*secret{nil, secrets} {
				out := bufio.NewWriter(io.Discard)
				d := newDumper(o, keys, out)
				if d.plain, err = newPlainWriter(io.Discard); err != nil {
					t.Fatal(err)
				}
				c, err := openCapture(bytes.NewReader(capture))
				if err != nil {
					continue
				}
				if err := d.run(c); errors.As(err, new(*json.MarshalerError)) || errors.As(err, new(*json.UnsupportedValueError)) {
					t.Fatal(err)
				}
				d.end(out)
				d.tracker.check(t)
			}
		}
	})
}

// check looks at what a tracker counts.
func (t *tracker) check(tb testing.TB) {
	tb.Helper()
	n := 0
	for _, s := range t.sessions {
		n += len(s.side[0].inFlight) + len(s.side[1].inFlight)
	}
	if n != t.inFlight {
		tb.Errorf("%d segments are in flight, %d are counted", n, t.inFlight)
	}
	if t.recent.Len() != len(t.sessions) {
		tb.Errorf("%d sessions, %d in the list", len(t.sessions), t.recent.Len())
	}
}

// FuzzSession decodes any datagrams of one session. Each is preceded by its length, whose lowest bit
// is the direction.
func FuzzSession(f *testing.F) {
	b := documentedBytes(f)
	seed := func(names ...string) (all []byte) {
		for i, name := range names {
			all = append(all, byte(len(b[name])<<1|i&1), byte(len(b[name])>>7))
			all = append(all, b[name]...)
		}
		return all
	}
	f.Add(seed("session-1", "session-2", "session-3", "session-4", "session-5", "session-6"))
	f.Add(seed("fec-first", "push", "fec-second", "ack", "fec-parity", "oob", "fec-named", "rprt"))
	f.Add(seed("push", "ackr", "copy", "skip", "reset", "reset-unknown", "ping", "wask", "wask-end"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var packets []captured
		for ms := 0; len(data) >= 2; ms++ {
			n := int(data[0]>>1) | int(data[1])<<7
			p := up(ms, data[2:min(2+n, len(data))])
			if data[0]&1 != 0 {
				p.from, p.to = p.to, p.from
			}
			packets = append(packets, p)
			data = data[min(2+n, len(data)):]
		}
		capture := pcapOf(t, packets...)
		for _, args := range [][]string{{"-x", "-port", "4000"}, {"-json", "-port", "4000"}, {"-stats"}} {
			if _, errs, status := dump(t, capture, args...); status != 0 {
				t.Fatalf("%v: %s", args, errs)
			}
		}
	})
}

// What is remembered is bounded, however many sessions and segments a capture has.
func TestMemoryIsBounded(t *testing.T) {
	tr := newTracker(shape{})
	d := parse(pushOf(0, "a"))
	for i := range sessionsMost + 100 {
		conv := hex32(i)
		d.Conv, d.Segments[0].Conv, d.Segments[0].SN = &conv, conv, 5
		tr.add(startTime, clientAddr, serverAddr, d)
	}
	if len(tr.sessions) != sessionsMost || tr.forgotten != 100 {
		t.Errorf("%d sessions, %d forgotten", len(tr.sessions), tr.forgotten)
	}
	conv := hex32(sessionsMost)
	d.Conv = &conv
	for i := range uint32(windowMost / 2) {
		d.Segments[0].SN = i * 2
		tr.add(startTime, clientAddr, serverAddr, d)
	}
	tr.check(t)
	for incarnation := range 100 {
		d := parse(append(pushOf(0, "a"), controlSegment("\x01\x14"+string([]byte{byte(incarnation + 1)})+string(make([]byte, 19)))...))
		tr.add(startTime, clientAddr, serverAddr, d)
	}
	if n := len(tr.sessions) + len(tr.superseded); n > sessionsMost {
		t.Errorf("%d sessions, want at most %d", n, sessionsMost)
	}
	for i := range flowsMost + 10 {
		tr.flow(clientAddrOf(i), clientAddrOf(i>>14))
	}
	if len(tr.flows) > flowsMost {
		t.Errorf("%d flows", len(tr.flows))
	}
	tr.check(t)
}

func TestSegmentsInFlightAreBounded(t *testing.T) {
	tr := newTracker(shape{})
	d := parse(pushOf(0, "a"))
	for i := range uint32(inFlightMost + 1000) {
		conv := hex32(i >> 16)
		d.Conv, d.Segments[0].SN = &conv, i
		tr.add(startTime, clientAddr, serverAddr, d)
	}
	if tr.inFlight > inFlightMost {
		t.Errorf("%d segments in flight", tr.inFlight)
	}
	tr.check(t)
}
