// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pkg/errors"
)

// legacyPeer is a legacy peer: a bare state machine over a packet connection, without control
// messages. It checks that what it receives is what legacy peers accept.
type legacyPeer struct {
	t     *testing.T
	conn  net.PacketConn
	start time.Time
	done  chan struct{}

	mu     sync.Mutex // guards what follows
	cond   sync.Cond
	core   core
	conv   uint32   // 0: not known yet
	peer   net.Addr // nil: the first sender
	out    packetWriter
	got    []byte
	hellos int
	closed bool
	mute   bool   // takes nothing in
	lazy   bool   // reads only on request
	age    millis // of its process when the test began
}

// legacyPeer starts a peer at addr. It talks to peer with conv, or to the first address that sends
// to it.
func (w *connWorld) legacyPeer(addr string, peer net.Addr, conv uint32) *legacyPeer {
	w.t.Helper()
	p := &legacyPeer{t: w.t, conn: w.endpoint(addr), peer: peer, conv: conv,
		start: time.Now(), done: make(chan struct{}), age: 5000}
	p.cond.L = &p.mu
	p.out.arena = make([]byte, 1<<16)
	p.out.maxPackets = 16
	p.begin(conv)
	w.peers = append(w.peers, p)
	go p.run()
	return p
}

// begin starts a conversation. A legacy peer's clock on the wire counts from its own start.
func (p *legacyPeer) begin(conv uint32) {
	p.core = core{}
	p.core.init(conv, p.now())
	p.core.setMode(modeStream, true)
	p.core.setWindows(128, 128)
	p.core.setNoDelay(1, 20, 2, 1)
	p.core.setCopyRule(copiesNone)
	p.core.life.deadTimeout = 0
	p.conv = conv
}

// restart is begin for a peer that has run before. p.mu must be held.
func (p *legacyPeer) restart(conv uint32) {
	p.core.releaseSending()
	p.core.releaseReceived()
	p.core.releaseIdle()
	p.got, p.hellos = nil, 0
	p.begin(conv)
}

func (p *legacyPeer) now() millis { return millis(time.Since(p.start)/time.Millisecond) + p.age }

func (p *legacyPeer) run() {
	defer close(p.done)
	buf := make([]byte, 2000)
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return
		}
		p.flush()
		wait := time.Time{}
		if at := p.core.nextEvent(p.now()); at != never {
			wait = time.Now().Add(time.Duration(max(at-p.now(), 1)) * time.Millisecond)
		}
		_ = p.conn.SetReadDeadline(wait)
		p.mu.Unlock()
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err == nil {
			p.take(buf[:n], from)
		}
	}
}

// take checks a datagram and passes it to the state machine.
func (p *legacyPeer) take(data []byte, from net.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute {
		return
	}
	if p.peer == nil {
		p.peer = from
	}
	if err := p.check(data); err != nil {
		p.t.Errorf("a legacy peer was sent what it may misunderstand: %v\n%x", err, data)
	}
	if p.core.input(inputAt(p.now()), data, true) != inputOK {
		p.t.Errorf("a legacy peer could not parse %x", data)
	}
	if !p.lazy {
		p.read()
	}
}

// read reads what has arrived. p.mu must be held.
func (p *legacyPeer) read() {
	for n := p.core.peekSize(); n >= 0; n = p.core.peekSize() {
		at := len(p.got)
		p.got = append(p.got, make([]byte, n)...)
		p.core.recv(p.got[at:])
	}
	p.cond.Broadcast()
	_ = p.conn.SetReadDeadline(time.Now())
}

// legacyClocks sets the ts of WASK and WINS segments as legacy peers do: to that of the last ACK
// before, or 0.
func legacyClocks(data []byte) {
	var s segment
	for ts := timestamp(0); len(data) >= segmentHeaderSize; {
		at := data
		var status parseStatus
		if data, status = parseSegment(data, &s); status != parseOK {
			return
		}
		switch s.cmd {
		case cmdAck:
			ts = s.ts
		case cmdWask, cmdWins:
			s.ts = ts
			putHeader(at, &s, len(s.data))
		}
	}
}

// check returns an error for a datagram that legacy receivers do not expect.
func (p *legacyPeer) check(data []byte) error {
	var s segment
	for i := 0; len(data) > 0; i++ {
		rest, status := parseSegment(data, &s)
		if status != parseOK {
			return fmt.Errorf("segment %d: status %d", i, status)
		}
		if p.conv == 0 {
			p.begin(s.conv)
		}
		switch {
		case s.conv != p.conv:
			return fmt.Errorf("segment %d: conv %#x, want %#x", i, s.conv, p.conv)
		case s.cmd != cmdPush && s.frg != 0:
			return fmt.Errorf("segment %d: command %d with frg %d", i, s.cmd, s.frg)
		case (s.cmd == cmdAck || s.cmd == cmdWask) && len(s.data) > 0:
			return fmt.Errorf("segment %d: command %d with %d bytes of data", i, s.cmd, len(s.data))
		case p.core.sendNxt.before(s.una):
			return fmt.Errorf("segment %d: una %d, sent up to %d", i, s.una, p.core.sendNxt)
		case s.cmd == cmdWins && len(s.data) > 0:
			if i == 0 && len(rest) > 0 {
				return fmt.Errorf("a control segment leads a datagram")
			}
			m, ok := parseControl(s.data)
			ranges, skips := findLists(s.data)
			if !ok || !isControl(&s) || ranges != nil || skips != nil ||
				m.has != [ctlPong + 1]bool{ctlHello: true} {
				return fmt.Errorf("segment %d: control messages %v", i, m.has)
			}
			if p.hellos++; p.hellos > helloLimit {
				return fmt.Errorf("HELLO number %d", p.hellos)
			}
		}
		data = rest
	}
	return nil
}

// flush sends what is due. p.mu must be held.
func (p *legacyPeer) flush() {
	if p.peer == nil {
		return
	}
	for more := true; more; {
		p.out.reset(0, 0, p.core.mtu)
		more = p.core.flush(p.now().instant(), &p.out)
		for _, s := range p.out.packets {
			legacyClocks(p.out.arena[s.start:s.end])
			_, _ = p.conn.WriteTo(p.out.arena[s.start:s.end], p.peer)
		}
	}
	p.core.releaseIdle()
}

// write queues data and sends what the window allows.
func (p *legacyPeer) write(data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.core.send(data)
	_ = p.conn.SetReadDeadline(time.Now())
}

// wait waits until n bytes have arrived and returns all that have.
func (p *legacyPeer) wait(n int, timeout time.Duration) []byte {
	timer := time.AfterFunc(timeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cond.Broadcast()
	})
	defer timer.Stop()
	end := time.Now().Add(timeout)
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.got) < n && time.Now().Before(end) {
		p.cond.Wait()
	}
	return append([]byte(nil), p.got...)
}

// set changes the peer with its lock held.
func (p *legacyPeer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *legacyPeer) close() {
	p.mu.Lock()
	p.closed = true
	p.core.releaseSending()
	p.core.releaseReceived()
	p.core.releaseIdle()
	p.mu.Unlock()
	p.conn.Close()
	<-p.done
}
