// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// hello names the sender and the peer as far as it is known (S4.5 to S4.7).
type hello struct {
	Incarnation hex64    `json:"incarnation"`
	Heard       hex64    `json:"heard"`
	Flags       uint32   `json:"flags"`
	FlagNames   []string `json:"flag_names,omitempty"`
	Largest     *uint16  `json:"largest,omitempty"` // nil in the first version
}

// helloFlags are the names of the bits of HELLO's flags (S4.6), and of one that is reserved.
var helloFlags = [...]string{"shared", "marks", "ackr", "groups", "keys", "validated", "opens", "skip", "parts"}

func parseHello(v []byte) hello {
	le := binary.LittleEndian
	h := hello{Incarnation: hex64(le.Uint64(v)), Heard: hex64(le.Uint64(v[8:])), Flags: le.Uint32(v[16:])}
	for i, name := range helloFlags {
		if h.Flags>>i&1 != 0 {
			h.FlagNames = append(h.FlagNames, name)
		}
	}
	if unknown := h.Flags &^ (1<<len(helloFlags) - 1); unknown != 0 {
		h.FlagNames = append(h.FlagNames, fmt.Sprintf("%#x", unknown))
	}
	if len(v) >= 22 {
		largest := le.Uint16(v[20:])
		h.Largest = &largest
	}
	return h
}

func (h hello) String() string {
	text := fmt.Sprintf("%v heard %v", h.Incarnation, h.Heard)
	if len(h.FlagNames) > 0 {
		text += " (" + strings.Join(h.FlagNames, " ") + ")"
	}
	if h.Largest != nil {
		text += fmt.Sprintf(" largest %d", *h.Largest)
	}
	return text
}

// final is the end of a stream, in FIN and FINACK (S4.15).
type final struct {
	Final uint32 `json:"final"`
}

func parseFinal(v []byte) final   { return final{u32(v, 0)} }
func (f final) String() string    { return fmt.Sprint(f.Final) }
func (n number) String() string   { return n.Number.String() }
func parseNumber(v []byte) number { return number{hex64(binary.LittleEndian.Uint64(v))} }

// number is that of a PING or PONG (S4.26).
type number struct {
	Number hex64 `json:"number"`
}

// reset ends a session (S4.21).
type reset struct {
	Code        uint16 `json:"code"`
	Reason      string `json:"reason,omitempty"`
	Incarnation hex64  `json:"incarnation"`
	Echo        *hex64 `json:"echo,omitempty"` // nil in the first version
}

var resetReasons = [...]string{1: "aborted", 2: "closed", 3: "FIN moved", 4: "not accepted", 5: "no such session"}

func parseReset(v []byte) reset {
	le := binary.LittleEndian
	r := reset{Code: le.Uint16(v), Incarnation: hex64(le.Uint64(v[2:]))}
	if int(r.Code) < len(resetReasons) {
		r.Reason = resetReasons[r.Code]
	}
	if len(v) >= 18 {
		echo := hex64(le.Uint64(v[10:]))
		r.Echo = &echo
	}
	return r
}

func (r reset) String() string {
	text := fmt.Sprintf("code %d", r.Code)
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	text += fmt.Sprintf(" of %v", r.Incarnation)
	if r.Echo != nil && *r.Echo != 0 {
		text += fmt.Sprintf(" echo %v", *r.Echo)
	}
	return text
}

// span is a run of sequence numbers, both included.
type span struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
}

func (s span) String() string {
	if s.First == s.Last {
		return fmt.Sprint(s.First)
	}
	return fmt.Sprintf("%d-%d", s.First, s.Last)
}

// spansText lists spans, with a space in front of each.
func spansText(spans []span) string {
	var b strings.Builder
	for _, s := range spans {
		b.WriteString(" " + s.String())
	}
	return b.String()
}

// ackr lists what has been received out of order (S4.35).
type ackr struct {
	TS     uint32   `json:"ts"`
	Next   uint32   `json:"rcv_nxt"`
	Ranges []span   `json:"ranges"`
	ECN    []uint32 `json:"ecn,omitempty"` // totals of ECT(0), ECT(1) and CE
	Fault  string   `json:"fault,omitempty"`
}

const faultRuns = "cut off"

func parseAckr(v []byte) ackr {
	a := ackr{TS: u32(v, 0), Next: u32(v, 1)}
	sn, rest := a.Next, v[9:]
	for range v[8] {
		gap, behind := varint(rest)
		length, behind := varint(behind)
		if behind == nil || length == 0 {
			a.Fault = faultRuns
			return a
		}
		first := sn + gap
		sn, rest = first+length, behind
		a.Ranges = append(a.Ranges, span{first, sn - 1})
	}
	if len(rest) >= 12 {
		a.ECN = []uint32{u32(rest, 0), u32(rest, 1), u32(rest, 2)}
	}
	return a
}

func (a ackr) String() string {
	text := fmt.Sprintf("%d:", a.Next) + spansText(a.Ranges)
	if len(a.ECN) > 0 {
		text += fmt.Sprintf(" ECN %d %d %d", a.ECN[0], a.ECN[1], a.ECN[2])
	}
	return text + faultText(a.Fault)
}

// rprt is a receiver's report on FEC (S4.46).
type rprt struct {
	First     uint32 `json:"first"`
	Last      uint32 `json:"last"`
	Data      uint32 `json:"data"`
	Parity    uint32 `json:"parity"`
	Recovered uint32 `json:"recovered"`
	Longest   uint16 `json:"longest"`
}

func parseRprt(v []byte) rprt {
	return rprt{u32(v, 0), u32(v, 1), u32(v, 2), u32(v, 3), u32(v, 4), binary.LittleEndian.Uint16(v[20:])}
}

func (r rprt) String() string {
	return fmt.Sprintf("%d-%d: %d data, %d parity, %d recovered, longest loss %d",
		r.First, r.Last, r.Data, r.Parity, r.Recovered, r.Longest)
}

// skip names messages that the sender has given up (S4.40).
type skip struct {
	TS    uint32    `json:"ts"`
	SN    uint32    `json:"sn"`
	First uint32    `json:"first"`
	Runs  []skipRun `json:"runs"`
	Fault string    `json:"fault,omitempty"`
}

// skipRun is a run of messages with equally many fragments.
type skipRun struct {
	span
	Fragments uint32 `json:"fragments"`
}

func parseSkip(v []byte) skip {
	s := skip{TS: u32(v, 0), SN: u32(v, 1), First: u32(v, 2)}
	sn, rest := s.First, v[13:]
	for range v[12] {
		gap, behind := varint(rest)
		fragments, behind := varint(behind)
		messages, behind := varint(behind)
		if behind == nil || fragments == 0 || messages == 0 {
			s.Fault = faultRuns
			return s
		}
		first := sn + gap
		sn, rest = first+fragments*messages, behind
		s.Runs = append(s.Runs, skipRun{span{first, sn - 1}, fragments})
	}
	return s
}

func (s skip) String() string {
	spans := make([]span, len(s.Runs))
	for i, r := range s.Runs {
		spans[i] = r.span
	}
	return fmt.Sprintf("sn %d ts %d:", s.SN, s.TS) + spansText(spans) + faultText(s.Fault)
}

// pad fills a datagram that probes the path MTU.
type pad struct {
	Len int `json:"len"`
}

func (p pad) String() string { return fmt.Sprintf("len %d", p.Len) }

// kex is a message of the handshake for session keys.
type kex struct {
	Suite   uint8    `json:"suite"`
	Message hexBytes `json:"message"`
}

func (k kex) String() string { return fmt.Sprintf("suite %d len %d", k.Suite, len(k.Message)) }

func faultText(fault string) string {
	if fault == "" {
		return ""
	}
	return " [" + fault + "]"
}
