// SPDX-License-Identifier: MIT

package kcp

import (
	"cmp"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"
)

// fuzzNet joins endpoints that have no goroutines. Its time advances only on request. All effects
// of a datagram are complete when the call that delivers it returns. A fuzzer can therefore run
// thousands of sessions a second.
type fuzzNet struct {
	t       testing.TB
	sched   *TimedSched
	hosts   []*fuzzHost
	buffers int64 // in use when it was made
	// tap, if set, is called with every datagram that is sent; false drops it.
	tap func(from *fuzzHost, p memPacket) bool
}

// fuzzHost is an endpoint of a fuzzNet.
type fuzzHost struct {
	addr  memAddr
	opts  *options
	demux *demux
	ep    *endpoint
	r     reader
	tx    txScratch
	sent  []memPacket // not delivered yet; from is where they go
}

// fuzzStepsMost bounds the number of steps at one point of time.
const fuzzStepsMost = 2000

func newFuzzNet(t testing.TB) *fuzzNet {
	n := &fuzzNet{t: t, sched: NewTimedSched(1), buffers: buffersOutstanding()}
	n.sched.Close() // its clock is used and nothing else
	n.pass(time.Hour)
	return n
}

// pass advances the time.
func (n *fuzzNet) pass(d time.Duration) { n.sched.epoch = n.sched.epoch.Add(-d) }

func (n *fuzzNet) now() millis { return n.sched.now().ms() }

func (n *fuzzNet) host(addr memAddr, c Config) *fuzzHost {
	c.Scheduler = n.sched
	o, err := c.options()
	if err != nil {
		n.t.Fatal(err)
	}
	h := &fuzzHost{addr: addr, opts: o}
	conn := newMemConn(addr,
		func(data []byte, to net.Addr) { h.sent = append(h.sent, memPacket{data, to}) })
	h.demux = newDemux([]net.PacketConn{conn}, connLent, o, newIngress)
	h.ep = h.demux.eps[0]
	h.ep.io, h.ep.out = newBatchConn(conn), nil // written at once
	close(h.ep.done)                            // no call waits for the missing reader
	h.r.ep = h.ep
	n.hosts = append(n.hosts, h)
	return h
}

func (h *fuzzHost) dial(conv uint32, to memAddr) *UDPSession {
	s := newSession(&h.ep.sessionEnv, conv, newPeerAddr(to), to, h.opts)
	s.core.ctl.dial()
	_ = h.demux.add(s)
	DefaultSnmp.connOpened(true)
	return s
}

func (h *fuzzHost) listen() *Listener {
	l, _ := h.demux.listen(h.opts)
	return newListener(l)
}

// accept returns the next session of a listener, or nil if none is queued.
func (h *fuzzHost) accept() *UDPSession {
	s, _ := h.demux.backlog.waiting.Pop()
	return s
}

// receive delivers datagrams as one batch.
func (h *fuzzHost) receive(from memAddr, datagrams ...[]byte) {
	msgs := make([]received, len(datagrams))
	for i, d := range datagrams {
		msgs[i] = received{buf: d, n: len(d), fromAddr: from}
	}
	h.r.batch(msgs)
}

// sessions lists the sessions in the same order each time.
func (h *fuzzHost) sessions() []*UDPSession {
	all := make([]*UDPSession, 0, h.demux.sessions.live)
	for s := range h.demux.sessions.all {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *UDPSession) int {
		return cmp.Or(cmp.Compare(a.peer.custom, b.peer.custom), cmp.Compare(a.conv, b.conv))
	})
	return all
}

// fuzzNextEvent returns the time at which a session's timer is due.
func fuzzNextEvent(s *UDPSession, now millis) millis {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.ended() {
		return never
	}
	return min(s.core.nextEvent(now), s.life.lingerAt, s.life.finWaitAt)
}

// settle delivers queued datagrams and runs due timers until nothing is left to do at this time.
func (n *fuzzNet) settle() {
	for round := 0; ; round++ {
		if round > fuzzStepsMost {
			n.t.Fatalf("something is due again and again, and the time stands still")
		}
		busy := false
		for _, h := range n.hosts {
			for _, s := range h.sessions() {
				if fuzzNextEvent(s, n.now()) <= n.now() {
					busy = true
					h.tx.flush(&endpointOf(s).txSocket, s)
					h.tx.finish()
				}
			}
			packets := h.sent
			h.sent = nil
			for _, p := range packets {
				busy = true
				if n.tap != nil && !n.tap(h, p) {
					continue
				}
				from := func(h *fuzzHost) bool { return net.Addr(h.addr) == p.from }
				if i := slices.IndexFunc(n.hosts, from); i >= 0 {
					n.hosts[i].receive(h.addr, p.data)
				}
			}
		}
		if !busy {
			return
		}
	}
}

// run advances the time by d, from event to event.
func (n *fuzzNet) run(d time.Duration) {
	end := n.now() + toMillis(d)
	for n.settle(); n.now() < end; n.settle() {
		at := end
		for _, h := range n.hosts {
			h.demux.runTimed(n.sched.now(), nil)
			for _, s := range h.sessions() {
				at = min(at, fuzzNextEvent(s, n.now()))
			}
		}
		n.pass(time.Duration(max(at-n.now(), 1)) * time.Millisecond)
	}
}

// close ends everything and checks that nothing is left. extra sessions are those that are no
// longer in a table.
func (n *fuzzNet) close(extra ...*UDPSession) {
	for _, h := range n.hosts {
		if l := h.demux.backlog; l != nil {
			_ = l.close()
		}
		for _, s := range append(h.sessions(), extra...) {
			s.SetLinger(0)
			_ = s.Close() // again for one that the fuzzer has closed
		}
	}
	n.run(2 * lingerDefault)
	for _, h := range n.hosts {
		if d := h.demux; d.sessions.live != 0 || d.peers.live != 0 ||
			!d.stopping.Load() || d.leaving != 0 {
			n.t.Fatalf("%s: %d sessions of %d peers are left, %d leaving, stopping %v",
				h.addr, d.sessions.live, d.peers.live, d.leaving, d.stopping.Load())
		}
		defer h.checkAccount(n.t)
		h.r.bufs.drain()
	}
	for _, s := range extra {
		for fuzzHandsOut(s) {
			runtime.Gosched()
		}
	}
	if got := buffersOutstanding(); got != n.buffers {
		n.t.Fatalf("%d pooled buffers leaked", got-n.buffers)
	}
}

// checkAccount checks that ended sessions hold no memory.
func (h *fuzzHost) checkAccount(t testing.TB) {
	if held := h.demux.memory.held.Load(); held != 0 {
		t.Fatalf("%s: %d bytes are charged to no session", h.addr, held)
	}
}

// fuzzHandsOut reports whether the goroutine that calls a session's out-of-band handler is still
// running.
func fuzzHandsOut(s *UDPSession) bool {
	q := s.oob.Load()
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state == oobRunning
}

// fuzzReadable reports whether a Read returns at once.
func fuzzReadable(s *UDPSession) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.partial.data != nil || s.hasDataLocked() ||
		s.core.endOfStream() || s.core.cutShort() ||
		s.life.readErr != nil || s.life.closed() || s.life.readShut()
}

// fuzzWrite writes p, at most one segment, if the write does not block.
func fuzzWrite(s *UDPSession, p []byte) (int, error) {
	s.mu.Lock()
	p = p[:min(len(p), s.core.mss)]
	room := s.core.queued()+1 < s.core.sndWnd || s.writeFailureLocked() != nil
	s.mu.Unlock()
	if !room {
		return 0, nil
	}
	return s.Write(p)
}

// fuzzBytes are the fuzzer's decisions. Beyond their end all are zero.
type fuzzBytes []byte

func (b *fuzzBytes) u8() uint8 {
	if len(*b) == 0 {
		return 0
	}
	v := (*b)[0]
	*b = (*b)[1:]
	return v
}

func (b *fuzzBytes) u16() uint16 { return uint16(b.u8()) | uint16(b.u8())<<8 }
func (b *fuzzBytes) u32() uint32 { return uint32(b.u16()) | uint32(b.u16())<<16 }

func (b *fuzzBytes) take(n int) []byte {
	n = min(n, len(*b))
	v := (*b)[:n:n]
	*b = (*b)[n:]
	return slices.Clone(v)
}

// near returns a number close to base, or any number.
func (b *fuzzBytes) near(base uint32) uint32 {
	if d := int8(b.u8()); d != -128 {
		return base + uint32(int32(d))
	}
	return b.u32()
}
