// SPDX-License-Identifier: MIT

package kcp

// legacySender sends as legacy peers do: in no-delay mode with an interval of 20 ms, fast
// retransmission after two, and a window of 128. Each ACK counts for all segments before it. The
// newest ACK of a datagram gives the round-trip time. It sends at its interval or when una moves.
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
		s.out(appendSegment(nil, &segment{conv: 7, cmd: cmdPush, wnd: 128, ts: timestamp(now),
			sn: g.sn, data: make([]byte, 1300)}), now)
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

// legacyReceiver acknowledges as legacy peers do: at its interval, or when a datagram is full of
// ACKs.
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
			data = appendSegment(data,
				&segment{conv: 7, cmd: cmdAck, wnd: 128, ts: a.ts, sn: a.sn, una: r.next})
		}
	}
	r.acks = r.acks[:0]
	return data
}
