// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"net/netip"
)

// A reader feeds a session in runs of packets: acquireForInput, receiveLocked for each packet,
// unlockAfterInput. At the end of its batch it calls finishInput once for each session.

// arrival is what a reader knows of a datagram besides the packet in it.
type arrival struct {
	size  int        // bytes
	local netip.Addr // that it was sent to, if the socket knows it
	nonce []byte     // of a packet that a key authenticates
}

// inputTurn is how a run of packets begins.
type inputTurn uint8

const (
	inputNone  inputTurn = iota // the session is off the network
	inputFirst                  // of this batch
	inputAgain
)

// acquireForInput acquires s.mu for a run of packets. It does not hold it if it returns inputNone.
func (s *UDPSession) acquireForInput() inputTurn {
	s.mu.Lock()
	if s.life.ended() {
		s.mu.Unlock()
		return inputNone
	}
	s.grantMemoryLocked()
	if s.busy.has(sideInput) {
		return inputAgain
	}
	s.busy |= sideInput
	return inputFirst
}

// receiveLocked feeds one packet if the peer has sent it, and returns its origin. s.mu must be
// held.
func (s *UDPSession) receiveLocked(ctx *inputContext, p *packet, a *arrival, n *counters) origin {
	o := s.originLocked(p, a, ctx.now.ms())
	switch o {
	case originPeer:
		s.feedLocked(ctx, p, a, n)
	case originStray:
		s.core.questionClock(ctx.now.ms())
	}
	return o
}

// feedLocked feeds one packet of the peer. s.mu must be held.
func (s *UDPSession) feedLocked(ctx *inputContext, p *packet, a *arrival, n *counters) {
	if s.opener == byListener {
		s.local = a.local
	}
	s.core.addr.heard(a.size, ctx.now.ms())
	s.received.add(1, a.size)
	s.core.note(logInput, nil, a.size)
	if s.core.trace != nil {
		s.core.trace.count(ctx.now, traceDatagramReceived, uint8(p.kind), uint32(a.size), 0, 0)
	}
	s.inputLocked(ctx, p, n)
	s.hearReportLocked(ctx.now)
	if ctl := &s.core.ctl; len(a.nonce) > 0 && ctl.bothMark() && ctl.marking == markNone {
		ctl.chooseMarks(a.nonce[0]&nonceAccepted != 0)
	}
	s.hearKeysLocked(ctx, len(a.nonce) == 0)
}

// keepSlabLocked is called when segments stay in the slab that holds their run. s.mu must be held.
func (s *UDPSession) keepSlabLocked(cache *bufferCache) {
	s.core.pin(cache)
}

// unlockAfterInput ends a run of packets and releases s.mu. If they lie in a slab that holds
// packets of other sessions too, their segments move out of it.
func (s *UDPSession) unlockAfterInput(ctx *inputContext) {
	if slab := ctx.slab; slab != nil {
		ctx.slab = nil
		s.core.ownAll(slab, ctx.cache)
		slab.refs = 0
		slab.recycle()
	}
	s.mu.Unlock()
}

// inputOutcome is what a batch has done to a session and the reader has to act on.
type inputOutcome uint8

const (
	inputWoke  inputOutcome = 1 << iota // a call that waited was woken
	inputBegun                          // Accept may return the session now
	inputDue                            // something is to be sent
	inputEnded                          // finish is to be called
	inputKeys                           // makeKeys is to be called
)

// finishInput ends the session's part in a batch: it wakes calls that wait, and adds to n what was
// counted.
func (s *UDPSession) finishInput(now millis, n *counters) (out inputOutcome) {
	s.mu.Lock()
	s.busy &^= sideInput
	s.calls.resetWoken()
	ended, due := s.updateLocked(now, true)
	if s.calls.wereWoken() {
		out |= inputWoke
	}
	s.countLocked(n)
	logs := s.takeLogsLocked(nil)
	if s.beginLocked() {
		out |= inputBegun
	}
	if s.keys.worn(now) && s.asksKeysLocked() && s.keys.rests() {
		s.keys.ask()
	}
	if s.keys.due(s.core.addr != nil, s.env.pending.Load()) {
		out |= inputKeys
	}
	s.mu.Unlock()
	s.log.Load().report(logs)
	if due {
		out |= inputDue
	}
	if ended {
		out |= inputEnded
	}
	return out
}

// receiveKeyedLocked feeds one packet with a receiver id of this session, if it opens under the
// keys of that id. It returns false if it does not. s.mu must be held.
func (s *UDPSession) receiveKeyedLocked(
	ctx *inputContext, p *packet, sealed *sealedPacket, a *arrival, n *counters,
) bool {
	now := ctx.now.ms()
	o := s.keys.opener(sealed.id, s.env.sealer.keySource(), now)
	if o == nil {
		return false
	}
	payload, _, ok := o.open(sealed.packet, sealed.counter, &sealed.scratch)
	if !ok {
		return false
	}
	if s.keys.opened(o, now, s.core.rto()) {
		s.core.keysMade()
	}
	p.parse(payload)
	if p.kind == packetBad || p.kind != packetParity && p.conv != s.conv {
		n.inErrs++
		return true
	}
	s.core.ctl.keysProven()
	s.feedLocked(ctx, p, a, n)
	return true
}

// hearKeysLocked takes what a packet has brought for the keys of the session. keyed reports whether
// it came under such keys. s.mu must be held.
func (s *UDPSession) hearKeysLocked(ctx *inputContext, keyed bool) {
	m, ctl := ctx.kex, &s.core.ctl
	ctx.kex = kexMessage{}
	if !s.keys.possible() || keyed && m.kind == 0 {
		return
	}
	now := ctx.now.ms()
	if !s.keys.have() {
		switch {
		case s.core.makesNoKeys(), s.keys.required() && s.core.seemsLegacy():
			s.refuseUnkeyedLocked()
			return
		case ctl.makesKeys():
			s.keys.knows(now, s.core.rto())
		}
	}
	if m.kind == 0 || !ctl.makesKeys() {
		return
	}
	asks := s.asksKeysLocked()
	if s.keys.hear(&m, asks, keyed == s.keys.have(), now) {
		s.core.answerAtOnce()
	}
}

// asksKeysLocked reports whether this side is the one that asks for keys: the dialled one, or of
// two the one with the lesser incarnation. s.mu must be held.
func (s *UDPSession) asksKeysLocked() bool {
	ctl := &s.core.ctl
	return ctl.dialled() && !(ctl.peerDials() && ctl.incarnation > ctl.peer)
}

// inputLocked feeds one opened datagram. s.mu must be held.
func (s *UDPSession) inputLocked(ctx *inputContext, p *packet, n *counters) {
	c := &s.core
	if c.ctl.hold != holdNothing && p.kind != packetPlain {
		if p.kind == packetData { // its data waits for keys; the rest counts
			s.countInput(c.input(ctx, p.segments, true), n)
		}
		return
	}
	switch p.kind {
	case packetPlain:
		s.countInput(c.input(ctx, p.segments, true), n)
		return
	case packetOOB:
		n.oobPackets++
		s.oob.Load().push(p.segments, ctx.cache)
		return
	case packetData:
		s.countInput(c.input(ctx, p.segments, true), n)
	}
	if c.memory.room == 0 {
		// Lost packets are retransmitted, so that no memory is needed to recover them.
		if s.decoder != nil {
			s.decoder.discard()
		}
		c.memory.refuse()
		return
	}
	if s.decoder == nil && isFECGroup(p.all) {
		n.fecErrs++ // there was no data that it can be parity of
		return
	}
	elsewhere := inputContext{now: ctx.now, cache: ctx.cache} // where what is recovered lies
	s.makeDecoderLocked()
	if c.ctl.known() {
		s.decoder.unhint()
	}
	if c.ctl.readsGroups() {
		s.decoder.expectNames()
	}
	if p.kind == packetData {
		s.newestSeqID.Store(binary.LittleEndian.Uint32(p.all))
	}
	before := s.decoder.stats()
	s.decoder.expire(ctx.now.ms())
	for _, recovered := range s.decoder.input(p.all) {
		if c.trace != nil {
			c.trace.count(ctx.now, traceRecovered, 0, uint32(len(recovered)), 0, 0)
		}
		if c.input(&elsewhere, recovered, false) != inputOK {
			n.fecErrs++
		}
	}
	after := s.decoder.stats()
	after.addTo(before, n)
	if now := ctx.now.ms(); p.kind == packetParity && c.ctl.repeatsAcks() &&
		c.ctl.reports.ready(now, c.rtt.srtt()) {
		if r, ok := s.decoder.takeReport(); ok {
			c.reportParity(&r, now)
		}
	}
}

// hearReportLocked takes a report of the peer on this side's parity, if there is one. s.mu must be
// held.
func (s *UDPSession) hearReportLocked(now instant) {
	r, ok := s.core.ctl.reports.take()
	if !ok {
		return
	}
	recovered, ok := s.turns.hear(&r)
	if !ok {
		s.core.refuseReport()
		return
	}
	s.core.repaired(now, recovered)
	if s.core.trace != nil && recovered > 0 {
		s.core.trace.count(now, traceRepairsReported, 0, recovered, 0, 0)
	}
}

// makeDecoderLocked makes the decoder when the first FEC packet arrives, or is to be expected. s.mu
// must be held.
func (s *UDPSession) makeDecoderLocked() {
	if s.decoder == nil {
		s.decoder = newFECDecoder()
		s.decoder.expectConv(s.conv)
	}
}

// releaseDecoderLocked releases the decoder, and keeps its figures. s.mu must be held.
func (s *UDPSession) releaseDecoderLocked() {
	if s.decoder != nil {
		done := s.decoder.stats()
		s.fecDone = &done
		s.decoder.release()
		s.decoder = nil
	}
}

func (s *UDPSession) countInput(result inputResult, n *counters) {
	if result != inputOK {
		n.inErrs++
		n.kcpInErrors++
	}
}

// An origin is the sender of a datagram with a session's address and conversation id.
type origin uint8

const (
	originPeer      origin = iota
	originRestarted        // the peer, restarted, as its HELLO announces
	originStranger         // another incarnation of a dialled session's peer
	originStray            // most likely the peer, restarted, after its HELLO was lost
	originReflected        // this side has sent it
)

// originLocked returns the origin of a packet. It looks at packets that this side may have sent,
// and at those that another incarnation of the peer may have sent. The first segment of the latter
// is among the first of a stream, or has been received before. s.mu must be held.
func (s *UDPSession) originLocked(p *packet, a *arrival, now millis) origin {
	if s.reflectedLocked(p, a.nonce) {
		return originReflected
	}
	if s.keys.have() {
		return s.keyedOriginLocked(p, now)
	}
	return s.writtenByLocked(p, now)
}

// keyedOriginLocked returns the origin of a packet under the pre-shared key, towards a session with
// keys of its own. The peer has sent it only if it was under way when the keys changed. A listener
// that has lost the session answers the PING under that key (S3.22), and a peer that was restarted
// opens another session. As others can provoke both, they are suspicions and no more. s.mu must be
// held.
func (s *UDPSession) keyedOriginLocked(p *packet, now millis) origin {
	if p.kind == packetPlain || p.kind == packetData {
		if m := findControl(p.segments); m.has[ctlReset] && s.keys.denied(m.echo) {
			s.core.suspect(0, now)
			s.core.suspect(0, now) // it is the answer to a question
			return originStranger
		}
	}
	o := s.writtenByLocked(p, now)
	if !s.keys.underPreShared(now) && (o == originPeer || o == originStray) {
		return originStranger
	}
	return o
}

// writtenByLocked returns the origin of a packet by what it says. s.mu must be held.
func (s *UDPSession) writtenByLocked(p *packet, now millis) origin {
	c := &s.core
	if !c.ctl.known() || p.kind != packetPlain && p.kind != packetData {
		return originPeer
	}
	var first segment
	_, status := parseSegment(p.segments, &first)
	if status == parseOK && first.cmd == cmdWask {
		if m := findControl(p.segments); knocks(&first, &m) && m.incarnation != c.ctl.peer {
			return s.restarted(now)
		}
		return originPeer
	}
	behind, ok := firstPush(p.segments, &first)
	if !ok || first.sn >= wndInitial && !first.sn.before(c.rcvNxt) || c.isProbe(&first) {
		return originPeer
	}
	if !behind {
		m := findControl(p.segments)
		if m.has[ctlHello] && m.incarnation != 0 && m.incarnation != c.ctl.peer {
			return s.restarted(now)
		}
	}
	if c.newestAt >= 0 && !clockFits(first.ts, c.newestTS, now-c.newestAt) {
		return originStray // S1.38
	}
	return originPeer
}

// firstPush sets s to the first PUSH of a datagram, if there is one. behind reports whether other
// segments are in front of it.
func firstPush(segments []byte, s *segment) (behind, ok bool) {
	for {
		rest, status := parseSegment(segments, s)
		switch {
		case status != parseOK:
			return behind, false
		case s.cmd == cmdPush:
			return behind, true
		case len(rest) == 0:
			return behind, false
		}
		behind, segments = true, rest
	}
}

// questionRestartedLocked asks the peer of a session with keys whether it was restarted, as an
// opening of another incarnation says. It reports whether the session has keys. s.mu must be held.
func (s *UDPSession) questionRestartedLocked(now millis) bool {
	if !s.keys.have() {
		return false
	}
	s.core.suspect(0, now)
	s.core.suspect(0, now) // the opening comes again
	return true
}

// restarted returns the origin of an opening datagram with another incarnation. A dialled session
// has called its peer itself, so that for it the datagram is a suspicion and no more (S1.36,
// S1.37).
func (s *UDPSession) restarted(now millis) origin {
	if s.core.ctl.dialled() {
		s.core.suspect(0, now)
		return originStranger
	}
	return originRestarted
}

// reflectedLocked reports whether this side has sent the packet with that nonce, which is empty if
// no key authenticates the packet. From a peer that has announced marked nonces, that is a packet
// with this side's own bit (S3.10). s.mu must be held.
func (s *UDPSession) reflectedLocked(p *packet, nonce []byte) bool {
	if len(nonce) == 0 {
		return false
	}
	ctl := &s.core.ctl
	marked := nonce[0]&nonceAccepted != 0
	switch ctl.marking {
	case markRole:
		return marked == (s.opener == byListener)
	case markUpper:
		if marked {
			return true
		}
	case markLower:
		if marked {
			ctl.peerIsMarked()
			return false
		}
	case markLowerKnown:
		// A restarted peer does not know yet, and its HELLO exempts the packet (S3.12).
		return !marked && !ctl.hasForeignHello(p)
	}
	return s.preSharedLocked().sent.has(nonce)
}
