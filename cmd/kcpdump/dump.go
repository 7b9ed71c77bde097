// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

// counts are what became of the frames of a capture.
type counts struct {
	frames    int
	kcp       int // datagrams
	runs      int // frames with several datagrams
	fragments int
	cut       int // datagrams that were not captured whole and could not be decoded
	closed    int // datagrams that no key opens
	filtered  int
	other     int
}

// A record is one line of output.
type record struct {
	Time   time.Time       `json:"time"`
	From   *netip.AddrPort `json:"from"`
	To     *netip.AddrPort `json:"to"`
	Length int             `json:"length"` // of the UDP payload
	Cipher string          `json:"cipher,omitempty"`
	Note   string          `json:"note,omitempty"`
	*datagram
}

// A dumper decodes the frames of a capture and hands the records out.
type dumper struct {
	o       *options
	secrets []*secret
	tracker *tracker
	counts
	links  map[int]bool // link types that are not supported
	out    func(*record) error
	plain  *plainWriter // nil unless a decrypted capture is written
	number int          // of records
}

// errEnough ends a run after the number of records that was asked for.
var errEnough = errors.New("enough")

// run decodes a capture to its end.
func (d *dumper) run(c *capture) error {
	for {
		f, err := c.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("packet %d: %w", d.frames+1, err)
		}
		d.frames++
		if err := d.frame(&f); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// frame decodes one frame.
func (d *dumper) frame(f *frame) error {
	b, known := network(f.link, f.data)
	if !known {
		d.links[int(f.link)] = true
	}
	p, c := parseIP(b)
	now := f.info.Timestamp
	switch c {
	case contentsFragment:
		d.fragments++
		if d.o.filtered() || d.o.stats {
			return nil
		}
		return d.emit(&record{Time: now, From: &p.from, To: &p.to, Note: "fragment of a UDP datagram, skipped"})
	case contentsUDP:
		if d.o.port != 0 && p.from.Port() != d.o.port && p.to.Port() != d.o.port {
			d.filtered++
			return nil
		}
		return d.udp(now, &p)
	}
	d.other++
	return nil
}

// udp decodes the datagrams of one UDP packet.
func (d *dumper) udp(now time.Time, p *packet) error {
	f := d.tracker.flow(p.from, p.to)
	if len(d.secrets) > 0 && p.missing == 0 {
		if parts := f.open(d.secrets, p.payload); parts != nil {
			f.known = true
			return d.parts(now, p, f, parts, "")
		}
	}
	parts := f.split(p.payload)
	form, note := d.judge(f, p, parts)
	switch form {
	case formHidden:
		return nil
	case formDecoded:
		return d.parts(now, p, f, parts, note)
	}
	r := &record{Time: now, From: &p.from, To: &p.to, Length: len(p.payload), Note: note}
	return d.record(f, p, r, nil)
}

// A form is how a packet is shown.
type form uint8

const (
	formHidden  form = iota // it may be of any other protocol
	formRaw                 // with its length alone
	formDecoded             // as far as it can be decoded
)

// judge decides how a packet is shown that no key has opened, and what is noted beside it. The
// packets at a port that was named are shown in any case.
func (d *dumper) judge(f *flow, p *packet, parts []part) (shown form, note string) {
	first := &datagram{Fault: faultEmpty}
	if len(parts) > 0 {
		first = parse(parts[0].payload)
	}
	if f.secret == nil && p.missing == 0 && first.plausible() {
		f.known = true
		return formDecoded, ""
	}
	switch {
	case f.secret == nil && (f.known || d.o.port != 0 && (first.FEC != nil || len(first.Segments) > 0)):
		shown = formDecoded
	case f.known || d.o.port != 0:
		shown = formRaw
	}
	switch {
	case p.missing > 0:
		d.cut++
		return shown, fmt.Sprintf("%d bytes are not in the capture", p.missing)
	case len(d.secrets) > 0:
		d.closed++
		return min(shown, formRaw), noteClosed
	case f.known || shown == formDecoded && first.Fault == "":
		return shown, ""
	}
	d.other++
	return shown, "not KCP, or encrypted"
}

// noteClosed is the note of a datagram that cannot be decrypted.
const noteClosed = "no key opens it"

// parts decodes the datagrams of a packet.
func (d *dumper) parts(now time.Time, p *packet, f *flow, parts []part, note string) error {
	if len(parts) > 1 {
		d.runs++
	}
	for i := range parts {
		part := &parts[i]
		r := &record{Time: now, From: &p.from, To: &p.to, Length: part.length, Note: note}
		if part.broken {
			d.closed++
			r.Note = noteClosed
		} else {
			r.datagram = parse(part.payload)
		}
		if part.secret != nil {
			r.Cipher = part.secret.name
		}
		if err := d.record(f, p, r, part.payload); err != nil {
			return err
		}
	}
	return nil
}

// record completes a record by what is known of its session, and hands it out.
func (d *dumper) record(f *flow, p *packet, r *record, payload []byte) error {
	conv := f.conv
	if r.datagram != nil {
		r.size = r.Length
		if r.Conv != nil {
			conv, f.conv = r.Conv, r.Conv
		}
		if r.FEC != nil {
			r.FEC.Group = f.shape.place(r.FEC)
		}
	}
	if d.o.conv != nil && (conv == nil || *conv != *d.o.conv) {
		d.filtered++
		return nil
	}
	if r.datagram != nil {
		d.kcp++
		switch {
		case r.Conv != nil:
			d.tracker.add(r.Time, p.from, p.to, r.datagram)
		case conv != nil:
			s := d.tracker.session(p.from, p.to, *conv, r.Time)
			s.side[s.index(p.from)].figures.add(r.datagram)
		}
		if d.plain != nil {
			if err := d.plain.write(r.Time, p.from, p.to, payload); err != nil {
				return err
			}
		}
	}
	if d.o.stats {
		return nil
	}
	return d.emit(r)
}

// emit hands a record out.
func (d *dumper) emit(r *record) error {
	if err := d.out(r); err != nil {
		return err
	}
	if d.number++; d.number == d.o.count {
		return errEnough
	}
	return nil
}

// String tells what became of the frames.
func (c *counts) String() string {
	text := fmt.Sprintf("%d packets: %d KCP datagrams", c.frames, c.kcp)
	if c.runs > 0 {
		text += fmt.Sprintf(" (%d packets had several)", c.runs)
	}
	for _, n := range []struct {
		n    int
		what string
	}{
		{c.closed, "not opened by a key"}, {c.cut, "cut off by the capture's snap length"},
		{c.fragments, "fragments skipped"}, {c.filtered, "not asked for"}, {c.other, "others"},
	} {
		if n.n > 0 {
			text += fmt.Sprintf(", %d %s", n.n, n.what)
		}
	}
	return text
}

// text is the form of a record for people.
func (r *record) text(stamp string, o *options) string {
	var b strings.Builder
	from, to := r.From.String(), r.To.String()
	if r.From.Port() == 0 && r.To.Port() == 0 {
		from, to = r.From.Addr().String(), r.To.Addr().String()
	}
	fmt.Fprintf(&b, "%s %s > %s:", stamp, from, to)
	if r.datagram != nil {
		b.WriteString(" " + r.datagram.String())
	} else if r.Length > 0 {
		fmt.Fprintf(&b, " %d bytes", r.Length)
	}
	if r.Note != "" {
		b.WriteString(" [" + r.Note + "]")
	}
	b.WriteString("\n")
	if r.datagram != nil && o.verbose {
		r.details(&b, o.hex)
	}
	return b.String()
}
