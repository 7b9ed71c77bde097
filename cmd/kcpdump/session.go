// SPDX-License-Identifier: MIT

package main

import (
	"container/list"
	"net/netip"
	"time"
)

// Bounds of what is remembered.
const (
	sessionsMost = 1 << 16
	flowsMost    = 1 << 16
	inFlightMost = 1 << 20 // of all sessions
	windowMost   = 1 << 17 // of a session, in segments
)

// A sessionKey names a session by its addresses, the lesser one first, and its conversation.
type sessionKey struct {
	a, b netip.AddrPort
	conv hex32
}

// A session is what a capture shows of one session. The packets of its first sender are side 0.
type session struct {
	key         sessionKey
	ends        [2]netip.AddrPort // the sender of each side
	first, last time.Time
	side        [2]side
	reset       string        // how it was reset, "" if it was not
	place       *list.Element // in tracker.recent, nil for one that was superseded
}

// A push is a data segment that is in flight.
type push struct {
	at    time.Time // of the newest transmission
	ts    uint32    // of the newest transmission
	acked bool
}

// A side is one direction of a session.
type side struct {
	inFlight    map[uint32]push
	una         uint32 // the other side has everything below; valid if heard
	next        uint32 // one more than the highest sn; valid if started
	heard       bool
	started     bool
	incarnation hex64
	fin, finAck bool // a FIN was sent, the other side has acknowledged it
	figures
}

// A tracker keeps the flows and sessions of a capture.
type tracker struct {
	flows      map[[2]netip.AddrPort]*flow
	sessions   map[sessionKey]*session
	recent     list.List  // of *session, the one heard last in front
	superseded []*session // by a session of another incarnation
	inFlight   int        // segments of all sessions
	forgotten  int        // sessions that were dropped for new ones
	shape      shape      // of the groups of all flows, if it was given
}

func newTracker(s shape) *tracker {
	return &tracker{flows: map[[2]netip.AddrPort]*flow{}, sessions: map[sessionKey]*session{}, shape: s}
}

// flow returns what is known of the packets from one address to another.
func (t *tracker) flow(from, to netip.AddrPort) *flow {
	k := [2]netip.AddrPort{from, to}
	f := t.flows[k]
	if f == nil {
		if len(t.flows) >= flowsMost {
			clear(t.flows)
		}
		f = &flow{shape: t.shape}
		t.flows[k] = f
	}
	return f
}

// session returns the session of a conversation between two addresses.
func (t *tracker) session(from, to netip.AddrPort, conv hex32, now time.Time) *session {
	k := sessionKey{from, to, conv}
	if to.Compare(from) < 0 {
		k.a, k.b = to, from
	}
	s := t.sessions[k]
	if s == nil {
		if len(t.sessions)+len(t.superseded) >= sessionsMost {
			t.forget()
		}
		s = &session{key: k, ends: [2]netip.AddrPort{from, to}, first: now}
		t.sessions[k] = s
		s.place = t.recent.PushFront(s)
	} else {
		t.recent.MoveToFront(s.place)
	}
	s.last = now
	return s
}

// forget drops the session that has been silent for longest.
func (t *tracker) forget() {
	t.forgotten++
	if len(t.superseded) > 0 {
		t.superseded = t.superseded[1:]
		return
	}
	if e := t.recent.Back(); e != nil {
		s := t.recent.Remove(e).(*session)
		t.dropInFlight(s)
		delete(t.sessions, s.key)
	}
}

// supersede begins another session of the same name.
func (t *tracker) supersede(s *session, from, to netip.AddrPort, now time.Time) *session {
	t.dropInFlight(s)
	t.recent.Remove(s.place)
	s.place = nil
	delete(t.sessions, s.key)
	t.superseded = append(t.superseded, s)
	return t.session(from, to, s.key.conv, now)
}

// dropInFlight forgets the segments of a session that are in flight.
func (t *tracker) dropInFlight(s *session) {
	for i := range s.side {
		t.inFlight -= len(s.side[i].inFlight)
		s.side[i].inFlight = nil
	}
}

// makeRoom forgets segments in flight of the sessions that have been silent for longest.
func (t *tracker) makeRoom() {
	for e := t.recent.Back(); e != nil && t.inFlight >= inFlightMost; e = e.Prev() {
		t.dropInFlight(e.Value.(*session))
	}
}

// add counts a datagram that has a conversation. It marks the segments that were seen before.
func (t *tracker) add(now time.Time, from, to netip.AddrPort, d *datagram) *session {
	s := t.session(from, to, *d.Conv, now)
	if i := d.incarnation(); i != 0 {
		if known := s.side[s.index(from)].incarnation; known != 0 && known != i {
			s = t.supersede(s, from, to, now)
		}
		s.side[s.index(from)].incarnation = i
	}
	own := s.index(from)
	for i := range d.Segments {
		if d.Segments[i].Cmd == cmdAck {
			s.side[1-own].sample(&d.Segments[i], now)
		}
	}
	fresh := false // new data is in front of the segment
	for i := range d.Segments {
		segment := &d.Segments[i]
		t.acknowledge(s, 1-own, segment.Una)
		if segment.Cmd == cmdPush {
			t.addPush(s, own, segment, now)
			segment.Copy = segment.Again && fresh
			fresh = fresh || !segment.Again
		}
		s.addControl(own, segment)
	}
	s.side[own].figures.add(d)
	return s
}

// incarnation returns that of the HELLO in a datagram, 0 if there is none.
func (d *datagram) incarnation() hex64 {
	for i := range d.Segments {
		for _, m := range d.Segments[i].Control {
			if h, ok := m.Value.(hello); ok {
				return h.Incarnation
			}
		}
	}
	return 0
}

// index returns the side that an address sends.
func (s *session) index(from netip.AddrPort) int {
	if from == s.ends[0] {
		return 0
	}
	return 1
}

// addPush notes a transmission of a data segment.
func (t *tracker) addPush(s *session, i int, p *segment, now time.Time) {
	d := &s.side[i]
	ahead := int32(p.SN - d.next)
	if p.Len == 0 && (!d.started || ahead < -windowMost || ahead > windowMost) {
		p.Probe = true // of the address (S1.65, S1.74)
		return
	}
	if d.started && (ahead > windowMost || ahead < -windowMost) {
		t.inFlight -= len(d.inFlight)
		d.inFlight, d.started, d.heard = nil, false, false // the capture has a gap
	}
	_, before := d.inFlight[p.SN]
	switch {
	case !d.started:
		d.started, d.next = true, p.SN+1
	case ahead >= 0:
		d.Missing += int(ahead)
		d.next = p.SN + 1
	default:
		p.Again = before || d.heard && int32(p.SN-d.una) < 0
	}
	if d.heard && int32(p.SN-d.una) < 0 {
		return
	}
	if !before {
		if t.inFlight >= inFlightMost {
			t.makeRoom()
		}
		if d.inFlight == nil {
			d.inFlight = map[uint32]push{}
		}
		t.inFlight++
	}
	acked := d.inFlight[p.SN].acked
	d.inFlight[p.SN] = push{at: now, ts: p.TS, acked: acked}
}

// acknowledge notes that the other side has everything below una.
func (t *tracker) acknowledge(s *session, i int, una uint32) {
	d := &s.side[i]
	if d.heard && int32(una-d.una) <= 0 {
		return
	}
	if steps := una - d.una; d.heard && steps < uint32(len(d.inFlight)) {
		for sn := d.una; sn != una; sn++ {
			if _, ok := d.inFlight[sn]; ok {
				delete(d.inFlight, sn)
				t.inFlight--
			}
		}
	} else {
		for sn := range d.inFlight {
			if int32(sn-una) < 0 {
				delete(d.inFlight, sn)
				t.inFlight--
			}
		}
	}
	d.una, d.heard = una, true
}
