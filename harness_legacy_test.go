// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"testing"
)

// legacySender sends as deployed peers do, in no-delay mode with an interval of 20 ms, fast retransmission after two and
// a window of 128: each ACK counts for all segments before it, the newest ACK of a datagram gives the round-trip time,
// and it sends at its interval or when una moves.
type legacySender struct {
	out           func(data []byte, now millis)
	segs          []*legacySegment // sent and not acknowledged from una on
	una, nxt, end seqNum
	wnd           uint32
	srtt, rttvar  millis
	rto           millis
	repeats       int
}

type legacySegment struct {
	sn       seqNum
	sentAt   millis
	deadline millis
	rto      millis
	overtook int
	sent     bool
	acked    bool
}

const legacyInterval millis = 20

func (s *legacySender) flush(now millis) {
	fresh := false
	for s.nxt != s.end && s.una.distance(s.nxt) < min(128, s.wnd) {
		s.segs = append(s.segs, &legacySegment{sn: s.nxt})
		s.nxt++
		fresh = true
	}
	for _, g := range s.segs {
		switch {
		case g.acked:
			continue
		case !g.sent, g.overtook >= 2, g.overtook > 0 && !fresh:
			g.rto = s.rto
		case now >= g.deadline:
			g.rto += s.rto / 2
		default:
			continue
		}
		if g.sent {
			s.repeats++
		}
		g.sent, g.overtook, g.sentAt, g.deadline = true, 0, now, now+g.rto
		s.out(appendSegment(nil, &segment{conv: 7, cmd: cmdPush, wnd: 128, ts: uint32(now), sn: g.sn, data: make([]byte, 1300)}), now)
	}
}

func (s *legacySender) input(data []byte, now millis) {
	before, flush, echo := s.una, false, never
	for _, x := range segmentsOf(data) {
		s.wnd = uint32(x.wnd)
		for _, g := range s.segs {
			switch {
			case g.sn.before(x.una), x.cmd == cmdAck && g.sn == x.sn:
				g.acked = true
			case x.cmd == cmdAck && !g.acked && g.sn.before(x.sn) && g.sentAt <= millis(x.ts):
				g.overtook++
				flush = flush || g.overtook == 2
			}
		}
		if x.cmd == cmdAck {
			echo = millis(x.ts)
		}
		for len(s.segs) > 0 && s.segs[0].acked {
			s.segs = s.segs[1:]
		}
		if s.una = s.nxt; len(s.segs) > 0 {
			s.una = s.segs[0].sn
		}
	}
	if echo != never {
		s.measured(now - echo)
	}
	if flush || s.una != before {
		s.flush(now)
	}
}

func (s *legacySender) measured(rtt millis) {
	if s.srtt == 0 {
		s.srtt, s.rttvar = rtt, rtt/2
	} else {
		delta := rtt - s.srtt
		s.srtt += delta / 8
		s.rttvar += (max(delta, -delta) - s.rttvar) / 4
	}
	s.rto = min(max(s.srtt+max(legacyInterval, 4*s.rttvar), rtoNoDelay), rtoMax)
}

// legacyReceiver acknowledges as deployed peers do: at its interval, or when a datagram is full of ACKs.
type legacyReceiver struct {
	have map[seqNum]bool
	next seqNum
	acks []ackItem
}

func (r *legacyReceiver) input(data []byte) {
	for _, x := range segmentsOf(data) {
		r.acks = append(r.acks, ackItem{x.sn, x.ts})
		r.have[x.sn] = true
		for ; r.have[r.next]; r.next++ {
			delete(r.have, r.next)
		}
	}
}

func (r *legacyReceiver) flush(now millis) (data []byte) {
	if len(r.acks) < acksHeld && now%legacyInterval != 0 {
		return nil
	}
	for i, a := range r.acks {
		if !a.sn.before(r.next) || i == len(r.acks)-1 {
			data = appendSegment(data, &segment{conv: 7, cmd: cmdAck, wnd: 128, ts: a.ts, sn: a.sn, una: r.next})
		}
	}
	r.acks = r.acks[:0]
	return data
}

// legacyGroup is what has come of 10 data and 3 parity packets.
type legacyGroup struct {
	data [10][]byte
	has  [10]bool
	got  int
}

// legacyTransfer returns how many segments a legacy sender sends again to bring 1,500 to a receiver, over a link with
// the given loss and reordering, with parity for groups of 10 or without.
func legacyTransfer(t *testing.T, seed uint64, ours, parity bool, loss float64, jitter millis) int {
	l := newCoreLink(seed, linkProfile{loss: loss, delay: 10, jitter: jitter})
	c, r := l.ends[1], legacyReceiver{have: make(map[seqNum]bool)}
	defer releaseCore(c)
	c.setNoDelay(1, 20, 2, 1)
	c.setWindows(128, 128)
	var groups []*legacyGroup
	s := &legacySender{end: 1500, wnd: 32, rto: rtoDefault}
	fill := 0
	carry := func(group, index int, data []byte) {
		l.carry(1, append([]byte{byte(group), byte(group >> 8), byte(index)}, data...))
	}
	s.out = func(data []byte, now millis) {
		l.now = now
		if fill == 0 {
			groups = append(groups, new(legacyGroup))
		}
		g := len(groups) - 1
		groups[g].data[fill] = data
		carry(g, fill, data)
		if fill++; fill == 10 {
			for i := 10; parity && i < 13; i++ {
				carry(g, i, nil)
			}
			fill = 0
		}
	}
	take := func(data []byte, trusted bool) {
		if !ours {
			r.input(data)
			return
		}
		c.input(data, trusted, l.now)
		coreMessages(c)
	}
	answer := func() {
		if ours && c.nextEvent(l.now) <= l.now {
			l.flush(1)
		}
		if data := r.flush(l.now); !ours && data != nil {
			l.carry(0, data)
		}
	}
	for ; s.una != s.end; l.now++ {
		if l.now > 200_000 {
			t.Fatalf("%d of %d segments in 200 s", s.una, s.end)
		}
		for len(l.queue) > 0 && l.queue[0].at <= l.now {
			p := l.pop()
			if p.to == 0 {
				s.input(p.data, l.now)
				continue
			}
			g, i := groups[int(p.data[0])|int(p.data[1])<<8], int(p.data[2])
			if i < 10 {
				g.has[i] = true
				take(p.data[3:], true)
			}
			if g.got++; parity && g.got == 10 {
				for i := range g.data {
					if !g.has[i] {
						take(g.data[i], false)
					}
				}
			}
			if ours || len(r.acks) >= acksHeld {
				answer()
			}
		}
		answer()
		if l.now%legacyInterval == 0 {
			s.flush(l.now)
		}
	}
	return s.repeats
}

// A legacy sender must not send more again towards this library than towards its own kind.
func TestLegacySenderDoesNotRepeatMore(t *testing.T) {
	tests := []struct {
		parity bool
		loss   float64
		jitter millis
	}{{false, 0, 0}, {false, 0, 5}, {true, 0.02, 0}, {true, 0.05, 0}, {true, 0.02, 5}, {false, 0.05, 0}}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("parity %v loss %v jitter %d", tt.parity, tt.loss, tt.jitter), func(t *testing.T) {
			var ours, theirs int
			for seed := range uint64(2) {
				ours += legacyTransfer(t, seed, true, tt.parity, tt.loss, tt.jitter)
				theirs += legacyTransfer(t, seed, false, tt.parity, tt.loss, tt.jitter)
			}
			t.Logf("%d segments again, to its own kind %d", ours, theirs)
			if ours > theirs+theirs/4+20 {
				t.Errorf("%d segments again, to its own kind %d", ours, theirs)
			}
		})
	}
}
