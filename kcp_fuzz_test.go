// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"container/heap"
	"testing"
)

// kcpModel holds a pair of state machines to deliver what was sent, and nothing else, in order.
type kcpModel struct {
	t       *testing.T
	link    *coreLink
	in      fuzzBytes
	stream  bool
	sent    [2][]byte // by sender
	lengths [2][]int  // of the messages not yet received
	got     [2]int    // bytes received, by sender
	sends   [2]map[seqNum]int
	dirty   bool // the fuzzer decides what happens to packets
}

const (
	// kcpFuzzWindow is the smallest window in message mode, because a message must fit into a
	// window.
	kcpFuzzWindow = 20
	kcpFuzzMTU    = segmentHeaderSize + 40
	kcpFuzzQueue  = 600 // segments
)

// FuzzKCP joins two state machines by a link. The fuzzer decides its losses, copies and delays, and
// the calls of the programs. What is received is always a prefix of what was sent, message by
// message in message mode. Everything arrives once the link is clean.
func FuzzKCP(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 4096 {
			return
		}
		b := fuzzBytes(in)
		m := newKCPModel(t, b.u8(), &b)
		for range 400 {
			if len(m.in) == 0 {
				break
			}
			m.op()
			m.check()
		}
		m.finish()
	})
}

func newKCPModel(t *testing.T, flags byte, in *fuzzBytes) *kcpModel {
	m := &kcpModel{t: t, link: newCoreLink(1, linkProfile{}), stream: flags&1 != 0, dirty: true}
	m.link.onPacket = m.carry
	m.sends = [2]map[seqNum]int{{}, {}}
	var bases [2]seqNum
	if flags&2 != 0 {
		bases[0] = -seqNum(in.u8())
	}
	if flags&4 != 0 {
		bases[1] = -seqNum(in.u8())
	}
	for i, c := range m.link.ends {
		base, peer := bases[i], bases[1-i]
		c.sendUna, c.sendNxt, c.sendEnd, c.readNxt, c.rcvNxt = base, base, base, peer, peer
		c.setMode(modeStream, m.stream)
		if flags&8 != 0 {
			c.ctl.incarnation = uint64(i) + 1
		}
		if flags&16 != 0 {
			c.tsOrigin = -timestamp(m.link.now) - timestamp(in.u8())*8
		}
		c.setNoDelay(int(flags>>5)&1, 10, int(flags>>6)&1*2, int(flags>>7))
		c.setWindows(kcpFuzzWindow, kcpFuzzWindow)
	}
	m.in = *in
	return m
}

// carry decides whether a packet is lost, duplicated or delayed.
func (m *kcpModel) carry(from int, data []byte) bool {
	// A segment that was sent once keeps its size when the MTU shrinks, and is then sent in a
	// packet of its own. The same holds for the rest of a message that was sent in part.
	var s segment
	rest, _ := parseSegment(data, &s)
	if len(data) > m.link.ends[from].mtu &&
		(len(rest) > 0 || s.cmd != cmdPush || m.stream && m.sends[from][s.sn] == 0) {
		m.t.Fatalf("a packet of %d bytes, the MTU is %d", len(data), m.link.ends[from].mtu)
	}
	for rest := data; len(rest) > 0; {
		if rest, _ = parseSegment(rest, &s); s.cmd == cmdPush {
			m.sends[from][s.sn]++
		}
	}
	if !m.dirty {
		return true
	}
	fate := m.in.u8()
	copies := 1
	switch {
	case fate >= 200:
		return false
	case fate >= 180:
		copies = 2
	}
	for i := range copies {
		m.link.sent++
		at := m.link.now + millis(fate%32)*millis(1+i*5)
		heap.Push(&m.link.queue, linkPacket{at: at, seq: m.link.sent, to: 1 - from, data: data})
	}
	return false
}

func (m *kcpModel) op() {
	what := m.in.u8()
	end := int(what >> 7)
	c := m.link.ends[end]
	switch what % 8 {
	case 0, 1:
		m.send(end, 1+int(m.in.u8()))
	case 2:
		m.send(end, 1+int(m.in.u16()%600))
	case 3:
		m.receive(end, 1+int(m.in.u8()))
	case 4:
		least := kcpFuzzWindow
		if m.stream {
			least = 1
		}
		c.setWindows(least+int(m.in.u8()), least+int(m.in.u8()))
	case 5:
		c.setMTU(kcpFuzzMTU + int(m.in.u16()%1400))
	case 6:
		m.pass(millis(m.in.u8()))
	case 7:
		m.pass(millis(m.in.u16() % 8192))
	}
	if c.nextEvent(m.link.now) <= m.link.now {
		m.link.flush(end)
	}
}

func (m *kcpModel) send(end, n int) {
	c := m.link.ends[end]
	if c.queued() > kcpFuzzQueue {
		return
	}
	p := pattern(n, uint64(len(m.sent[end])))
	if got := c.send(p); got < 0 {
		m.t.Fatalf("send of %d bytes = %d", n, got)
	}
	m.sent[end] = append(m.sent[end], p...)
	m.lengths[end] = append(m.lengths[end], n)
}

// receive reads up to count messages.
func (m *kcpModel) receive(end, count int) {
	var buf [2048]byte
	from := 1 - end
	c := m.link.ends[end]
	for range count {
		size := c.peekSize()
		n := c.recv(buf[:])
		if n != size {
			m.t.Fatalf("recv = %d, peekSize = %d", n, size)
		}
		if n < 0 {
			return
		}
		left := m.sent[from][m.got[from]:]
		if !bytes.HasPrefix(left, buf[:n]) {
			m.t.Fatalf("end %d received %x at %d, which was not sent there", end,
				buf[:n], m.got[from])
		}
		m.got[from] += n
		if m.stream {
			continue
		}
		if want := m.lengths[from][0]; n != want {
			m.t.Fatalf("a message of %d bytes arrived as one of %d", want, n)
		}
		m.lengths[from] = m.lengths[from][1:]
	}
}

// pass advances the time by d.
func (m *kcpModel) pass(d millis) {
	end := m.link.now + d
	for steps := 0; ; steps++ {
		at := end
		for _, c := range m.link.ends {
			at = min(at, c.nextEvent(m.link.now))
		}
		if len(m.link.queue) > 0 {
			at = min(at, m.link.queue[0].at)
		}
		if at >= end {
			m.link.now = end
			return
		}
		if steps > 20*int(d)+1000 {
			m.t.Fatalf("%d steps in %d ms", steps, d)
		}
		m.link.step()
	}
}

func (m *kcpModel) check() {
	for _, c := range m.link.ends {
		checkCore(m.t, c)
	}
}

// finish cleans the link and checks that everything arrives. The waits were backed off before: at
// most a minute for a segment, two for a window.
func (m *kcpModel) finish() {
	m.dirty = false
	m.link.profile.delay = 5
	for end := m.link.now + 10*60000; m.link.now < end; {
		for i := range m.link.ends {
			m.receive(i, 1000)
		}
		m.check()
		if m.got[0] == len(m.sent[0]) && m.got[1] == len(m.sent[1]) &&
			m.link.ends[0].queued() == 0 && m.link.ends[1].queued() == 0 {
			break
		}
		m.pass(20)
	}
	for i, c := range m.link.ends {
		if m.got[i] != len(m.sent[i]) || c.queued() != 0 {
			m.t.Errorf("end %d: %d of %d bytes arrived, %d segments are queued: %+v", i, m.got[i],
				len(m.sent[i]), c.queued(), viewOf(c))
		}
		c.releaseIdle()
		if !m.t.Failed() && (c.ring != nil || c.in != nil) {
			m.t.Errorf("end %d keeps its rings with nothing in them", i)
		}
		releaseCore(c)
	}
}
