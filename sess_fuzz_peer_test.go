// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"testing"
	"time"
)

// fuzzTransfer is a transfer between two sessions.
type fuzzTransfer struct {
	from, to  *UDPSession
	data, got []byte
	written   int
}

// move writes and reads what does not block, and checks what arrives.
func (x *fuzzTransfer) move(t testing.TB) {
	t.Helper()
	for x.written < len(x.data) {
		n, err := fuzzWrite(x.from, x.data[x.written:])
		if err != nil {
			t.Fatalf("write at %d: %v", x.written, err)
		}
		if x.written += n; n == 0 {
			break
		}
	}
	buf := make([]byte, 2000)
	for x.to != nil && fuzzReadable(x.to) {
		n, err := x.to.Read(buf)
		if err != nil {
			t.Fatalf("read at %d: %v", len(x.got), err)
		}
		x.got = append(x.got, buf[:n]...)
		if !bytes.HasPrefix(x.data, x.got) {
			t.Fatalf("the %d bytes read are not the first that were written", len(x.got))
		}
	}
}

func (x *fuzzTransfer) done() bool { return len(x.got) == len(x.data) }

// fuzzBlindForger runs two sessions while an attacker sends datagrams of other conversations from
// the peer's address.
func fuzzBlindForger(t *testing.T, flags byte, in fuzzBytes) {
	n := newFuzzNet(t)
	config := sessFuzzConfig(flags)
	a, b := n.host("a", config), n.host("b", config)
	b.listen()
	client := a.dial(sessFuzzConv, "b")
	defer n.close(client)
	loss := 6 + int(in.u8()%16)
	count := 0
	n.tap = func(*fuzzHost, memPacket) bool {
		count++
		return count%loss != 0
	}
	up := fuzzTransfer{from: client, data: pattern(6000, 1)}
	down := fuzzTransfer{to: client, data: pattern(9000, 2)}
	for end := n.now() + 120000; !up.done() || !down.done(); {
		if n.now() > end {
			t.Fatalf("%d of %d and %d of %d bytes arrived",
				len(up.got), len(up.data), len(down.got), len(down.data))
		}
		up.move(t)
		if down.from != nil {
			down.move(t)
		}
		if len(in) > 0 {
			a.receive("b", fuzzForeign(&in))
		}
		n.run(time.Duration(1+in.u8()%32) * time.Millisecond)
		if up.to == nil {
			if s := b.accept(); s != nil {
				up.to, down.from = s, s
			}
		}
	}
	for range 200 {
		if len(in) > 0 {
			a.receive("b", fuzzForeign(&in))
		}
	}
	n.settle()
	if client.life.ended() || fuzzReadable(client) {
		t.Fatalf("the session has ended (%v), or there is more to read", client.life.ended())
	}
}

// fuzzForeign returns a datagram of another conversation than the session's.
func fuzzForeign(in *fuzzBytes) []byte {
	datagram := in.take(int(in.u8()))
	if in.u8()&1 != 0 {
		s := segment{cmd: cmdPush + in.u8()%4, sn: seqNum(in.u8()), una: seqNum(in.u8()),
			wnd: in.u16(), data: datagram}
		datagram = in.frame(appendSegment(nil, &s), 0)
	}
	if p := parsePacket(datagram); p.kind != packetParity && p.conv == sessFuzzConv {
		fuzzAddress(datagram, sessFuzzConv+1)
	}
	return datagram
}

// fuzzPeers are the source addresses of a listener's fuzzer.
var fuzzPeers = [...]memAddr{"w", "x", "y", "z"}

// FuzzListener feeds a listener datagrams of any content from several addresses. The number of
// their sessions is bounded by Accept and the backlog, their memory is bounded, and an honest
// client is served.
func FuzzListener(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 8192 {
			return
		}
		b := fuzzBytes(in)
		flags, backlog := b.u8(), 1+int(b.u8()%8)
		l := &listenFuzz{fuzzNet: newFuzzNet(t), in: b, backlog: backlog}
		config := sessFuzzConfig(flags)
		config.AcceptBacklog = backlog
		l.host = l.fuzzNet.host("b", config)
		l.host.listen()
		l.talk()
		l.serve(sessFuzzConfig(flags ^ flags>>1))
		l.close(l.accepted...)
	})
}

// listenFuzz is a listener and its attackers.
type listenFuzz struct {
	*fuzzNet
	in       fuzzBytes
	host     *fuzzHost
	backlog  int
	accepted []*UDPSession
}

// talk sends the fuzzer's next datagrams.
func (l *listenFuzz) talk() {
	in := &l.in
	for range 300 {
		if len(*in) == 0 {
			break
		}
		op := in.u8()
		from := fuzzPeers[op>>6]
		switch op % 8 {
		case 0:
			l.host.receive(from, in.take(int(in.u16()%1600)))
		case 1:
			datagram := in.take(int(in.u16() % 1600))
			l.host.receive(from, fuzzAddress(datagram, sessFuzzConv+uint32(in.u8()%16)))
		case 2, 3:
			l.host.receive(from, in.frame(l.segments(), sessFuzzConv))
		case 4:
			l.take()
		case 5:
			l.use()
		case 6:
			l.run(time.Duration(in.u8()) * 8 * time.Millisecond)
		case 7:
			l.host.receive(from, in.frame(l.segments(), sessFuzzConv),
				in.frame(l.segments(), sessFuzzConv))
		}
		l.settle()
		l.check()
	}
}

// segments returns a datagram that may begin a session, or belong to one.
func (l *listenFuzz) segments() (b []byte) {
	in := &l.in
	conv := sessFuzzConv + uint32(in.u8()%16)
	bits := in.u8()
	push := segment{conv: conv, cmd: cmdPush + bits&3, wnd: uint16(in.u8()),
		ts: timestamp(in.near(1000)), sn: seqNum(in.near(0)), una: seqNum(in.near(0))}
	push.data = in.take(int(in.u8()))
	b = appendSegment(b, &push)
	if bits&4 != 0 {
		m := controlSet{incarnation: 1 + uint64(in.u8()&3), heard: uint64(in.u8() & 1),
			flags: uint32(in.u8() & 1), final: seqNum(in.near(1))}
		for kind, what := ctlHello, in.u8(); kind <= ctlPong; kind++ {
			m.has[kind] = what>>kind&1 != 0
		}
		b = appendSegment(b, &segment{conv: conv, cmd: cmdWins, ts: controlVersion,
			sn: controlMagic, data: appendControl(nil, &m)})
	}
	return b
}

// take accepts a session.
func (l *listenFuzz) take() *UDPSession {
	s := l.host.accept()
	if s != nil {
		l.accepted = append(l.accepted, s)
	}
	return s
}

// use calls a method of an accepted session.
func (l *listenFuzz) use() {
	what := l.in.u8()
	if len(l.accepted) == 0 {
		return
	}
	s := l.accepted[int(what>>3)%len(l.accepted)]
	switch what % 8 {
	case 0, 1:
		_, _ = fuzzWrite(s, pattern(1+int(l.in.u8()), 1))
	case 2, 3:
		if fuzzReadable(s) {
			_, _ = s.Read(make([]byte, 500))
		}
	case 4:
		_ = s.CloseWrite()
	case 5:
		_ = s.CloseRead()
	case 6:
		_ = s.Close()
	case 7:
		s.SetLinger(0)
		_ = s.Close()
	}
}

// check checks the bounds.
func (l *listenFuzz) check() {
	d := l.host.demux
	headless := 0
	for s := range d.sessions.all {
		s.mu.Lock()
		if s.life.headless() {
			headless++
		}
		s.mu.Unlock()
	}
	if waiting := d.backlog.waiting.Len(); waiting > l.backlog+len(fuzzPeers) ||
		d.sessions.live > len(l.accepted)+waiting+headless {
		l.t.Fatalf("%d sessions, %d accepted, %d wait of at most %d", d.sessions.live,
			len(l.accepted), waiting, l.backlog)
	}
	linked := 0
	for s := range d.peers.all {
		for ; s != nil; s = s.link.next.Load() {
			linked++
		}
	}
	if linked != d.sessions.live || len(d.waits.records) > len(fuzzPeers)*64 {
		l.t.Fatalf("%d sessions, %d of them linked; %d time-wait records", d.sessions.live, linked,
			len(d.waits.records))
	}
	for _, s := range l.host.sessions() {
		s.mu.Lock()
		checkCore(l.t.(*testing.T), &s.core)
		c := &s.core
		if c.readable()+c.outOfOrder > 3*sessFuzzWnd || len(c.acks) > sessFuzzWnd {
			l.t.Fatalf("%d segments readable, %d beyond, %d to acknowledge", c.readable(),
				c.outOfOrder, len(c.acks))
		}
		s.mu.Unlock()
	}
}

// serve opens a session of an honest client and checks that all its data arrives, in both
// directions.
func (l *listenFuzz) serve(config Config) {
	h := l.fuzzNet.host("honest", config)
	client := h.dial(sessFuzzConv, l.host.addr)
	up := fuzzTransfer{from: client, data: pattern(3000, 1)}
	down := fuzzTransfer{to: client, data: pattern(3000, 2)}
	for end := l.now() + 20000; !up.done() || !down.done(); l.run(20 * time.Millisecond) {
		if l.now() > end {
			l.t.Fatalf("%d and %d bytes arrived, accepted %v", len(up.got),
				len(down.got), up.to != nil)
		}
		up.move(l.t)
		if down.from != nil {
			down.move(l.t)
		}
		for s := l.take(); s != nil; s = l.take() {
			if s.peer == newPeerAddr(h.addr) {
				up.to, down.from = s, s
			}
		}
		l.check()
	}
	_ = client.Close()
}
