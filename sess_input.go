// SPDX-License-Identifier: MIT

package kcp

import "encoding/binary"

// input feeds one opened datagram. The lock is held.
func (s *UDPSession) input(p *packet, now millis, n *counters) {
	c := &s.core
	switch p.kind {
	case packetPlain:
		s.countInput(c.input(p.segments, true, now), n)
		return
	case packetOOB:
		n.oobPackets++
		s.oob.Load().push(s, p.segments)
		return
	case packetData:
		s.countInput(c.input(p.segments, true, now), n)
	}
	if c.room == 0 {
		// What can be repaired can be sent again, too.
		if s.decoder != nil {
			s.decoder.discard()
		}
		c.refused++
		return
	}
	slab := c.slab
	c.slab = nil // what is recovered lies elsewhere
	s.makeDecoder()
	if c.ctl.known() {
		s.decoder.unhint()
	}
	s.newestSeqID.Store(binary.LittleEndian.Uint32(p.all))
	before := s.decoder.stats()
	s.decoder.expire(now)
	for _, recovered := range s.decoder.input(p.all) {
		if c.input(recovered, false, now) != inputOK {
			n.fecErrs++
		}
	}
	c.slab = slab
	after := s.decoder.stats()
	after.addTo(before, n)
}

// makeDecoder makes the decoder when the first FEC packet comes, or is to be expected.
func (s *UDPSession) makeDecoder() {
	if s.decoder == nil {
		s.decoder = newFECDecoder()
		s.decoder.expectConv(s.conv)
	}
}

func (s *UDPSession) countInput(result inputResult, n *counters) {
	if result != inputOK {
		n.inErrs++
		n.kcpInErrors++
	}
}

// shardGap returns how far a shard lies from the newest one of this session.
func (s *UDPSession) shardGap(seqID uint32) uint32 {
	gap := int32(seqID - s.newestSeqID.Load())
	if gap < 0 {
		gap = -gap
	}
	return uint32(gap)
}

// origin tells whose a datagram is that comes under a session's address and conversation id.
type origin uint8

const (
	originPeer      origin = iota
	originRestarted        // the peer's that was started anew: it says so
	originStranger         // a dialled session's, of another incarnation of the peer
	originStray            // it looks like a restarted peer's, whose word of it was lost
)

// origin looks at datagrams that may be of another incarnation of the peer: those whose first segment is among the first
// of a stream, or has been received before.
func (s *UDPSession) origin(p *packet, now millis) origin {
	c := &s.core
	if !c.ctl.known() || p.kind != packetPlain && p.kind != packetData {
		return originPeer
	}
	if sn := seqNum(binary.LittleEndian.Uint32(p.segments[segmentSNOffset:])); sn >= wndInitial && !sn.before(c.rcvNxt) {
		return originPeer // of all commands: others look no further
	}
	var first segment
	if _, status := parseSegment(p.segments, &first); status == parseOK && first.cmd == cmdWask {
		if m := findControl(p.segments); knocks(&first, &m) && m.incarnation != c.ctl.peer {
			return originRestarted
		}
		return originPeer
	} else if status != parseOK || first.cmd != cmdPush ||
		first.sn >= wndInitial && !first.sn.before(c.rcvNxt) || c.isProbe(&first) {
		return originPeer
	}
	switch m := findControl(p.segments); {
	case m.has[ctlHello] && m.incarnation != 0 && m.incarnation != c.ctl.peer:
		if c.ctl.dialled {
			c.suspect(0, now)
			return originStranger
		}
		return originRestarted
	case c.newestAt >= 0 && !clockFits(first.ts, c.newestTS, now-c.newestAt):
		return originStray
	}
	return originPeer
}

// clockSlack is how far a peer's clock may be from where it is expected: a packet can be late, and this machine can have
// slept, for as long as the peer waits. Sessions begin at a random point of 2^32 ms, so one restart in 36000, or a few
// more after a long silence, looks like the peer of before.
const clockSlack millis = 60000

// clockFits reports whether ts can be of the clock that showed newest so long ago. The peer may have slept, so that its
// clock stood still.
func clockFits(ts, newest uint32, ago millis) bool {
	ahead := millis(int32(ts - newest))
	return ago > 1<<31-2*clockSlack || -clockSlack < ahead && ahead < ago+clockSlack
}

// replaced ends a session whose peer has begun another one.
func (s *UDPSession) replaced() {
	s.mu.Lock()
	if !s.ended {
		s.fail(errReset)
		s.wakeReaders()
		s.wakeWriters()
	}
	s.mu.Unlock()
	s.finish()
}

// rivalled is called when another session has opened from the peer's address. A peer that was restarted has left this one
// behind. But where a key vouches for packets, and nothing else has proved the address, an observer may have sent one again
// that another listener has seen, or the one before a restart: the peer is asked, and without an answer the session ends.
func (s *UDPSession) rivalled(now millis) {
	if !s.core.ctl.keyed {
		s.replaced()
		return
	}
	s.mu.Lock()
	if !s.ended {
		s.core.suspect(0, now)
		s.core.suspect(0, now) // the newcomer is there
		s.arm(now)
	}
	s.mu.Unlock()
}
