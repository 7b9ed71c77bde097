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
		s.oob.push(p.segments)
		return
	case packetData:
		s.countInput(c.input(p.segments, true, now), n)
	}
	s.makeDecoder()
	s.newestSeqID.Store(binary.LittleEndian.Uint32(p.all))
	before := s.decoder.stats()
	for _, recovered := range s.decoder.input(p.all) {
		if c.input(recovered, false, now) != inputOK {
			n.fecErrs++
		}
	}
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

// looksRestarted reports whether a datagram comes from another incarnation of the peer. Only a first segment that has
// been received before, as a stream begun anew has, is worth the look for a HELLO.
func (s *UDPSession) looksRestarted(p *packet) bool {
	c := &s.core
	if !c.ctl.known() || p.kind != packetPlain && p.kind != packetData {
		return false
	}
	var first segment
	if _, status := parseSegment(p.segments, &first); status != parseOK || first.cmd != cmdPush || !first.sn.before(c.rcvNxt) {
		return false
	}
	m := findControl(p.segments)
	return m.has[ctlHello] && m.incarnation != 0 && m.incarnation != c.ctl.peer
}

// replaced ends a session whose peer has begun another one.
func (s *UDPSession) replaced() {
	s.mu.Lock()
	if !s.ended {
		s.fail(errReset)
		s.readCond.Broadcast()
		s.writeCond.Broadcast()
	}
	s.mu.Unlock()
	s.finish()
}
