// SPDX-License-Identifier: MIT

package main

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// A word is one entry in the line of a datagram. Neighbours of one kind with consecutive numbers
// are one word.
type word struct {
	text     string // of a word that is complete
	cmd      command
	mark     string
	from, to uint32
	len      int
}

func (w *word) String() string {
	if w.text != "" {
		return w.text
	}
	text := w.cmd.String()
	if w.cmd == cmdPush || w.cmd == cmdAck {
		text += " " + span{w.from, w.to}.String()
	}
	if w.len > 0 {
		text += fmt.Sprintf(" len %d", w.len)
	}
	return text + w.mark
}

// mark tells a segment that was seen before.
func (s *segment) mark() string {
	switch {
	case s.Probe:
		return " (probe)"
	case s.Copy:
		return " (copy)"
	case s.Again:
		return " (again)"
	}
	return ""
}

// words summarises segments.
func words(segments []segment) (all []word) {
	for i := range segments {
		s := &segments[i]
		if s.isControl() {
			for _, m := range s.Control {
				all = append(all, word{text: m.String()})
			}
			if s.Fault != "" {
				all = append(all, word{text: "[" + s.Fault + "]"})
			}
			continue
		}
		w := word{cmd: s.Cmd, mark: s.mark(), from: s.SN, to: s.SN, len: int(s.Len)}
		if n := len(all); n > 0 && (s.Cmd == cmdPush || s.Cmd == cmdAck) {
			last := &all[n-1]
			if last.text == "" && last.cmd == w.cmd && last.mark == w.mark && s.SN == last.to+1 {
				last.to, last.len = s.SN, last.len+w.len
				continue
			}
		}
		all = append(all, w)
	}
	return all
}

// String is the line of a datagram.
func (d *datagram) String() string {
	var parts []string
	if d.Conv != nil {
		parts = append(parts, d.Conv.String())
	}
	if d.FEC != nil && d.FEC.kind != fecOOB {
		parts = append(parts, d.FEC.String())
	}
	if d.OOB != nil {
		parts = append(parts, fmt.Sprintf("out of band len %d", d.OOB.Len))
	}
	if len(d.Segments) > 0 {
		var texts []string
		for _, w := range words(d.Segments) {
			texts = append(texts, w.String())
		}
		last := &d.Segments[len(d.Segments)-1]
		parts = append(parts, strings.Join(texts, ", ")+fmt.Sprintf("; una %d wnd %d", last.Una, last.Wnd))
	}
	if d.Fault != "" {
		parts = append(parts, "["+d.Fault+"]")
	}
	return strings.Join(parts, " ")
}

func (h *fecHeader) String() string {
	text := fmt.Sprintf("FEC %s %d", h.Kind, h.SeqID)
	if h.kind != fecData {
		text += fmt.Sprintf(" len %d", h.Size)
	}
	if g := h.Group; g != nil {
		text += fmt.Sprintf(" (group %d, %d of %d+%d)", g.First, g.Index+1, g.Data, g.Parity)
	}
	return text
}

// details writes each segment of a datagram in full, and its data in hexadecimal if hexDump is set.
func (d *datagram) details(b *strings.Builder, hexDump bool) {
	for i := range d.Segments {
		s := &d.Segments[i]
		fmt.Fprintf(b, "\t%v sn %d ts %d una %d wnd %d", s.Cmd, s.SN, s.TS, s.Una, s.Wnd)
		if s.Frg > 0 {
			fmt.Fprintf(b, " frg %d", s.Frg)
		}
		if s.Len > 0 {
			fmt.Fprintf(b, " len %d", s.Len)
		}
		b.WriteString(s.mark() + "\n")
		for _, m := range s.Control {
			fmt.Fprintf(b, "\t  %v\n", m)
		}
		if hexDump && len(s.data) > 0 && !s.isControl() {
			for line := range strings.Lines(hex.Dump(s.data)) {
				b.WriteString("\t  " + line)
			}
		}
	}
}
