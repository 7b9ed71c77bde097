// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"
)

const (
	sessFuzzConv = 0x11223344
	sessFuzzWnd  = 128 // the largest window that the fuzzer sets
	// sessFuzzTime bounds the time that the fuzzer may pass. It is less than the dead timeout.
	sessFuzzTime = 20 * time.Second
)

// FuzzSession feeds a dialled session datagrams of any content. An attacker who knows the
// conversation's number may disturb the transfer, and end the session where the protocol allows it.
// It can neither break the session nor make it hold memory without bound: an honest peer is served
// afterwards. An attacker who does not know the number changes nothing.
func FuzzSession(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 8192 {
			return
		}
		b := fuzzBytes(in)
		if flags := b.u8(); flags&1 != 0 {
			fuzzBlindForger(t, flags, b)
		} else {
			fuzzKnowingForger(t, flags, b)
		}
	})
}

// sessFuzzConfig makes a configuration from the fuzzer's bits.
func sessFuzzConfig(flags byte) Config {
	c := Config{
		StreamMode: flags&2 != 0, NoDelay: flags&8 != 0, FastResend: int(flags>>4) & 3,
		NoCongestionControl: flags&64 != 0, ACKNoDelay: flags&128 != 0,
		SendWindow: 32, ReceiveWindow: 48,
	}
	if flags&4 != 0 {
		c.DataShards, c.ParityShards = 3, 2
	}
	return c
}

// sessFuzz is a session and an attacker.
type sessFuzz struct {
	*fuzzNet
	in    fuzzBytes
	host  *fuzzHost
	s     *UDPSession
	batch [][]byte
	open  []byte // segments of the datagram under construction
	spent time.Duration
	acks  []byte            // what an honest peer would answer
	sent  map[seqNum][]byte // what the session has sent
	reset bool              // the forger has known the session's incarnation
	wnd   uint32            // the largest receive window so far
}

func fuzzKnowingForger(t *testing.T, flags byte, in fuzzBytes) {
	f := &sessFuzz{fuzzNet: newFuzzNet(t), in: in, sent: make(map[seqNum][]byte)}
	f.tap = f.see
	f.host = f.fuzzNet.host("a", sessFuzzConfig(flags))
	f.s = f.host.dial(sessFuzzConv, "b")
	defer f.close(f.s)
	for range 300 {
		if len(f.in) == 0 {
			break
		}
		f.op()
		f.check()
	}
	f.flushBatch()
	f.check()
	f.recover()
}

// see checks and keeps what the session sends.
func (f *sessFuzz) see(_ *fuzzHost, p memPacket) bool {
	packet := parsePacket(p.data)
	if len(p.data) > mtuMax || packet.kind == packetBad {
		f.t.Fatalf("sent %d bytes that are no packet: %x",
			len(p.data), p.data[:min(40, len(p.data))])
	}
	if packet.kind == packetParity {
		return false
	}
	var s segment
	for rest := packet.segments; len(rest) > 0; {
		var status parseStatus
		if rest, status = parseSegment(rest, &s); status != parseOK || s.conv != sessFuzzConv {
			f.t.Fatalf("sent a segment that is none: status %d, conv %#x", status, s.conv)
		}
		if s.cmd != cmdPush {
			continue
		}
		if was, ok := f.sent[s.sn]; ok && !bytes.Equal(was, s.data) {
			f.t.Fatalf("sn %d was sent as %x, now as %x", s.sn, was, s.data)
		}
		f.sent[s.sn] = s.data
		f.acks = appendSegment(f.acks,
			&segment{conv: s.conv, cmd: cmdAck, wnd: sessFuzzWnd, ts: s.ts, sn: s.sn, una: s.sn})
	}
	return false
}

// check checks the invariants.
func (f *sessFuzz) check() {
	f.settle()
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.core
	checkCore(f.t.(*testing.T), c)
	// A message at the head may be as long as the largest window, with a full window behind it.
	if c.readable()+c.outOfOrder > 3*sessFuzzWnd ||
		c.in != nil && c.in.size() > ringSize(4*sessFuzzWnd) {
		f.t.Fatalf("%d segments readable, %d beyond, in a ring of %d",
			c.readable(), c.outOfOrder, c.in.size())
	}
	f.wnd = max(f.wnd, c.capacity())
	for i := f.wnd; c.in != nil && i < c.in.size()-c.readable(); i++ {
		if c.in.present.has(c.in.slot(c.rcvNxt + seqNum(i))) {
			f.t.Fatalf("sn %d is kept, %d beyond the next, with a window of %d",
				c.rcvNxt+seqNum(i), i, f.wnd)
		}
	}
	if len(c.acks) > sessFuzzWnd {
		f.t.Fatalf("%d acknowledgements wait", len(c.acks))
	}
	// Queued data is split again when the MTU shrinks.
	if c.queued() > sessFuzzWnd*mtuMax/(64-segmentHeaderSize-fecHeaderSize) {
		f.t.Fatalf("%d segments are queued", c.queued())
	}
	if s.decoder != nil && s.decoder.memory() > fecMemoryLimit+fecTablesLimit {
		f.t.Fatalf("the decoder holds %d bytes", s.decoder.memory())
	}
}

// op executes the fuzzer's next decision.
func (f *sessFuzz) op() {
	switch f.in.u8() % 16 {
	case 0:
		f.batch = append(f.batch, f.in.take(int(f.in.u16()%1600)))
	case 1, 2:
		f.batch = append(f.batch, fuzzAddress(f.in.take(int(f.in.u16()%1600)), sessFuzzConv))
	case 3, 4:
		f.segment()
	case 5:
		f.control()
	case 6, 7, 8:
		f.batch = append(f.batch, f.in.frame(f.open, sessFuzzConv))
		f.open = nil
	case 9:
		f.flushBatch()
	case 10:
		f.flushBatch()
		if d := time.Duration(f.in.u8()) * 4 * time.Millisecond; f.spent+d <= sessFuzzTime {
			f.spent += d
			f.run(d)
		}
	case 11:
		_, _ = fuzzWrite(f.s, pattern(1+int(f.in.u8())*8, 1))
	case 12:
		if n := int(f.in.u8()); fuzzReadable(f.s) {
			_, _ = f.s.Read(make([]byte, n))
		}
	case 13:
		f.s.SetWindowSize(2+int(f.in.u8())%(sessFuzzWnd-1), 1+int(f.in.u8())%sessFuzzWnd)
	case 14:
		f.s.SetMtu(64 + int(f.in.u16()%2000))
	case 15:
		f.setting()
	}
}

func (f *sessFuzz) setting() {
	switch f.in.u8() % 8 {
	case 0:
		_ = f.s.CloseWrite()
	case 1:
		_ = f.s.CloseRead()
	case 2:
		_ = f.s.SetFEC(int(f.in.u8()%6), int(f.in.u8()%4))
	case 3:
		f.s.SetStreamMode(f.in.u8()&1 != 0)
	case 4:
		_ = f.s.SetOOBHandler(func([]byte) {})
	case 5:
		f.s.SetWriteDelay(f.in.u8()&1 != 0)
	case 6:
		f.host.demux.memory.most = 1 + 16*int64(f.in.u16())
	}
}

func (f *sessFuzz) flushBatch() {
	f.host.receive("b", f.batch...)
	f.batch = nil
	f.settle()
}

// segment appends a segment whose numbers are mostly close to valid ones.
func (f *sessFuzz) segment() {
	c, in := &f.s.core, &f.in
	s := segment{conv: sessFuzzConv, cmd: cmdPush + in.u8()%4, frg: in.u8(), wnd: in.u16()}
	if s.frg > 8 {
		s.frg -= 8 // most segments are messages of their own
	} else {
		s.frg = 0
	}
	s.ts = timestamp(in.near(uint32(c.ts(f.now()))))
	base := c.rcvNxt
	if s.cmd == cmdAck {
		base = c.sendUna
		if was, ok := f.sent[base]; ok && len(was) > 0 && c.ring != nil {
			s.ts = c.ring.at(base).firstTS
		}
	}
	s.sn = seqNum(in.near(uint32(base)))
	s.una = seqNum(in.near(uint32(c.sendUna)))
	s.data = in.take(int(in.u8()))
	f.open = appendSegment(f.open, &s)
}

// control appends control messages.
func (f *sessFuzz) control() {
	c, in := &f.s.core, &f.in
	var m controlSet
	bits := in.u8()
	for kind := ctlHello; kind <= ctlPong; kind++ {
		m.has[kind] = bits>>kind&1 != 0
	}
	ids := []uint64{0, 5, 6, c.ctl.incarnation}
	m.incarnation, m.heard, m.flags = ids[in.u8()&3], ids[in.u8()&3], uint32(in.u8())
	m.final, m.finalAcked = seqNum(in.near(uint32(c.rcvNxt))), seqNum(in.near(uint32(c.sendEnd)))
	m.resetCode, m.resetFor = in.u16(), ids[in.u8()&3]
	f.reset = f.reset || m.has[ctlReset] && m.resetFor == c.ctl.incarnation
	data := appendControl(nil, &m)
	if bits&128 != 0 {
		first := seqNum(in.near(uint32(c.sendUna)))
		data = appendAckRanges(data, 0, seqNum(in.near(uint32(c.sendUna))),
			[]snRange{{first, first + seqNum(in.u8())}}, ackRangesLargest)
	}
	if bits&1 != 0 {
		data = append(data, in.take(int(in.u8()%16))...)
	}
	f.open = appendSegment(f.open, &segment{conv: sessFuzzConv, cmd: cmdWins, wnd: in.u16(),
		ts: controlVersion,
		sn: controlMagic, una: seqNum(in.near(uint32(c.sendUna))), data: data})
}

// frame puts one of the possible headers before segments.
func (b *fuzzBytes) frame(segments []byte, conv uint32) []byte {
	kind, le := b.u8()%8, binary.LittleEndian
	if kind < 4 {
		return segments
	}
	seqID := uint32(b.u8())
	if seqID > 250 {
		seqID = b.u32()
	}
	packet := le.AppendUint32(nil, seqID)
	switch kind {
	case 4, 5:
		packet = le.AppendUint16(packet, fecTypeData)
	case 6:
		packet = le.AppendUint16(packet, fecTypeParity)
		return append(append(packet, b.take(int(b.u8()))...), segments...)
	case 7:
		packet = le.AppendUint16(packet, fecTypeOOB)
		segments = append(le.AppendUint32(nil, conv), segments...)
	}
	packet = le.AppendUint16(packet, uint16(2+len(segments)))
	return append(packet, segments...)
}

// fuzzAddress writes conv to the place where a datagram has it.
func fuzzAddress(datagram []byte, conv uint32) []byte {
	at := 0
	switch parsePacket(datagram).kind {
	case packetParity:
		return datagram
	case packetData, packetOOB:
		at = fecHeaderSize
	}
	if len(datagram) >= at+4 {
		binary.LittleEndian.PutUint32(datagram[at:], conv)
	}
	return datagram
}

// recover acts as an honest peer that knows the session's state, and checks that they can
// communicate.
func (f *sessFuzz) recover() {
	var (
		s       = f.s
		c       = &s.core
		buf     = make([]byte, 1<<17)
		inward  = []byte("to the session")
		outward = []byte("from it!")
		written bool
		from    seqNum
		end     = f.now() + 100000
	)
	f.host.demux.memory.most = memoryDefault // others have given back what there was too little of
	for ; f.now() < end; f.run(50 * time.Millisecond) {
		if s.life.ended() {
			if (!c.ctl.wasReset() || !f.reset) && !c.gone() ||
				!errors.Is(s.life.readErr, errReset) {
				f.t.Fatalf("ended without a reset: %v", s.life.readErr)
			}
			return
		}
		for fuzzReadable(s) {
			if _, err := s.Read(buf); err != nil {
				break
			}
		}
		f.answer()
		if c.outOfOrder == 0 && (c.readable() == 0 || c.cutShort()) && c.queued() == 0 &&
			c.rmtWnd > 0 {
			if written || s.life.writeErr != nil || c.ctl.finWanted() {
				break
			}
			written, from = true, c.sendEnd
			if n, err := fuzzWrite(s, outward); n != len(outward) || err != nil {
				f.t.Fatalf("Write = %d, %v", n, err)
			}
		}
	}
	if f.now() >= end {
		f.t.Fatalf("no end: %d readable, %d beyond, %d queued, window %d, FIN %v",
			c.readable(), c.outOfOrder, c.queued(), c.rmtWnd, c.ctl.finWanted())
	}
	var said []byte
	for sn := from; written && sn != c.sendEnd; sn++ {
		said = append(said, f.sent[sn]...)
	}
	if written && !bytes.Equal(said, outward) {
		f.t.Fatalf("sent %q, want %q", said, outward)
	}
	f.checkInward(inward, buf)
}

// checkInward checks that data from the peer is delivered, or the end of its stream.
func (f *sessFuzz) checkInward(data, buf []byte) {
	c := &f.s.core
	if c.ctl.hasPeerFinal() && c.rcvNxt != c.ctl.peerFinal || f.s.life.readShut() {
		return // an end that cannot be reached, or no reader
	}
	push := segment{conv: sessFuzzConv, cmd: cmdPush, wnd: sessFuzzWnd, ts: f.clock(), sn: c.rcvNxt,
		una: c.sendNxt, data: data}
	f.host.receive("b", appendSegment(nil, &push))
	f.settle()
	want, wantErr := data, error(nil)
	if c.ctl.hasPeerFinal() {
		want, wantErr = nil, io.EOF
	}
	if c.cutShort() {
		wantErr = io.ErrUnexpectedEOF
	}
	if !fuzzReadable(f.s) {
		f.t.Fatalf("nothing to read, want %q, %v", want, wantErr)
	}
	if n, err := f.s.Read(buf); !bytes.Equal(buf[:n], want) || err != wantErr {
		f.t.Fatalf("Read = %q, %v, want %q, %v", buf[:n], err, want, wantErr)
	}
}

// clock is the clock of the honest peer. It continues the one that the session has seen, because
// another one would be a restarted peer's.
func (f *sessFuzz) clock() timestamp {
	c := &f.s.core
	if c.newestAt < 0 {
		return c.ts(f.now())
	}
	return c.newestTS + timestamp(f.now()-c.newestAt)
}

// answer acknowledges everything that the session has sent, advertises the window, and fills the
// holes that the attacker has left.
func (f *sessFuzz) answer() {
	c := &f.s.core
	f.batch = append(f.batch, appendSegment(f.acks, &segment{conv: sessFuzzConv, cmd: cmdWins,
		wnd: sessFuzzWnd, ts: f.clock(), una: c.sendNxt}))
	f.acks = nil
	if c.outOfOrder > 0 || c.readable() > 0 {
		for i := range seqNum(min(c.rcvWnd, 16)) {
			f.batch = append(f.batch, appendSegment(nil, &segment{conv: sessFuzzConv, cmd: cmdPush,
				wnd: sessFuzzWnd,
				ts:  f.clock(), sn: c.rcvNxt + i, una: c.sendNxt, data: []byte("fill")}))
		}
	}
	f.flushBatch()
	f.check()
}
