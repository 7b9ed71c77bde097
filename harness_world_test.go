// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// connServerAddr is the address of a connWorld's listener.
const connServerAddr = "10.0.0.1:1000"

// connWorld is a simulated network in virtual time, with a scheduler of its own. It closes what a
// test opens in it, and then checks that nothing is left.
type connWorld struct {
	t     *testing.T
	net   *simNetwork
	sched *TimedSched
	drop  atomic.Pointer[func(from, to string, payload []byte) bool]

	sessions  []*UDPSession
	listeners []*Listener
	peers     []*legacyPeer
	conns     []*memConn
}

// connRun runs f in a world whose links have profile p.
func connRun(t *testing.T, p simProfile, f func(t *testing.T, w *connWorld)) {
	t.Helper()
	connRunSeed(t, 1, p, f)
}

func connRunSeed(t *testing.T, seed uint64, p simProfile, f func(t *testing.T, w *connWorld)) {
	t.Helper()
	connAwaitStillness(t)
	synctest.Test(t, func(t *testing.T) {
		buffers := buffersOutstanding()
		w := &connWorld{t: t, net: newSimNetwork(seed), sched: NewTimedSched(1)}
		w.net.SetDefault(p)
		w.net.SetTap(func(_ time.Time, from, to net.Addr, payload []byte) simAction {
			if drop := w.drop.Load(); drop != nil && (*drop)(from.String(), to.String(), payload) {
				return simAction{Drop: true}
			}
			return simAction{}
		})
		defer w.close(buffers)
		f(t, w)
	})
}

func (w *connWorld) close(buffers int64) {
	w.setDrop(nil)
	for _, s := range w.sessions {
		s.SetLinger(0)
		s.Close()
	}
	for _, l := range w.listeners {
		l.Close()
	}
	for _, p := range w.peers {
		p.close()
	}
	time.Sleep(time.Minute)
	for _, s := range w.sessions {
		if held := endpointOf(s).demux.memory.held.Load(); held != 0 {
			w.t.Errorf("%d bytes are held by sessions that are closed", held)
			break
		}
	}
	for _, c := range w.conns {
		c.Close()
	}
	w.sched.Close()
	if err := w.net.Close(); err != nil {
		w.t.Error(err)
	}
	synctest.Wait()
	if n := w.net.Leases(); n != 0 {
		w.t.Errorf("the network still holds %d packets", n)
	}
	if n := buffersOutstanding(); n != buffers {
		w.t.Errorf("%d buffers at the end, %d before", n, buffers)
	}
	if g := connGoroutines(); len(g) > 0 {
		w.t.Errorf("a goroutine is left:\n%s", g[0])
	}
}

// setDrop sets the function that decides which packets are lost; nil loses none.
func (w *connWorld) setDrop(drop func(from, to string, payload []byte) bool) {
	if drop == nil {
		w.drop.Store(nil)
		return
	}
	w.drop.Store(&drop)
}

// endpoint opens a socket of the network.
func (w *connWorld) endpoint(addr string) *simEndpoint {
	w.t.Helper()
	e, err := w.net.Listen(addr)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// serve listens at connServerAddr, over a socket that the library owns.
func (w *connWorld) serve(c Config) *Listener {
	w.t.Helper()
	return w.serveAt(connServerAddr, c)
}

func (w *connWorld) serveAt(addr string, c Config) *Listener {
	w.t.Helper()
	return w.serveOver(w.endpoint(addr), true, c)
}

// serveOver listens on a connection. The library owns it, or the test lends it.
func (w *connWorld) serveOver(conn net.PacketConn, owned bool, c Config) *Listener {
	w.t.Helper()
	l := serveOver(conn, owned, w.options(c))
	w.listeners = append(w.listeners, l)
	return l
}

func (w *connWorld) options(c Config) *options {
	w.t.Helper()
	c.Scheduler = w.sched
	o, err := c.options()
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// dial dials connServerAddr over a new socket.
func (w *connWorld) dial(c Config) *UDPSession {
	w.t.Helper()
	return w.dialFrom("10.0.0.2:0", randomConv(), c)
}

func (w *connWorld) dialFrom(addr string, conv uint32, c Config) *UDPSession {
	w.t.Helper()
	return w.dialOn(w.endpoint(addr), conv, c)
}

func (w *connWorld) dialOn(conn net.PacketConn, conv uint32, c Config) *UDPSession {
	w.t.Helper()
	return w.dialOnAt(conn, connServerAddr, conv, c)
}

// dialOnAt is dialOn to another listener.
func (w *connWorld) dialOnAt(conn net.PacketConn, to string, conv uint32, c Config) *UDPSession {
	w.t.Helper()
	server, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.dialOver(conn, true, server, conv, c)
}

// dialOver makes a session over a connection. The library owns it, or the test lends it.
func (w *connWorld) dialOver(conn net.PacketConn, owned bool, to net.Addr, conv uint32,
	c Config) *UDPSession {
	w.t.Helper()
	s, err := dialOver(conn, owned, to, conv, w.options(c))
	if err != nil {
		w.t.Fatal(err)
	}
	w.sessions = append(w.sessions, s)
	return s
}

// conn returns a connection that the test owns and that is closed with the world.
func (w *connWorld) conn(addr net.Addr, send func(data []byte, to net.Addr)) *memConn {
	c := newMemConn(addr, send)
	w.conns = append(w.conns, c)
	return c
}

// pipe returns two connections that reach each other. The test owns them, and they are closed with
// the world. Their addresses are "a" and "b".
func (w *connWorld) pipe() (a, b *memConn) {
	a, b = newMemPipe()
	w.conns = append(w.conns, a, b)
	return a, b
}

func (w *connWorld) accept(l *Listener) *UDPSession {
	w.t.Helper()
	if err := l.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	s, err := l.AcceptKCP()
	if err != nil {
		w.t.Fatal("accept:", err)
	}
	_ = l.SetDeadline(time.Time{})
	w.sessions = append(w.sessions, s)
	return s
}

// pair returns the listener and the two ends of a session that have exchanged a message each.
func (w *connWorld) pair(c Config) (client, server *UDPSession, l *Listener) {
	w.t.Helper()
	l = w.serve(c)
	client = w.dial(c)
	server = w.join(client, l)
	return client, server, l
}

// join accepts client's session and exchanges a message in each direction.
func (w *connWorld) join(client *UDPSession, l *Listener) (server *UDPSession) {
	w.t.Helper()
	connWrite(w.t, client, "hello")
	server = w.accept(l)
	connWantRead(w.t, server, "hello")
	connWrite(w.t, server, "welcome")
	connWantRead(w.t, client, "welcome")
	time.Sleep(time.Second) // the last acknowledgements arrive
	return server
}

// connEnded reports whether s is removed from the network.
func connEnded(s *UDPSession) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life.ended()
}

func connWrite(t *testing.T, s net.Conn, text string) {
	t.Helper()
	if n, err := s.Write([]byte(text)); err != nil || n != len(text) {
		t.Fatalf("Write of %q: %d, %v", text, n, err)
	}
}

// connWantRead reads exactly text, within five minutes.
func connWantRead(t *testing.T, s net.Conn, text string) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(5 * time.Minute))
	got := make([]byte, 0, len(text))
	for len(got) < len(text) {
		n, err := s.Read(got[len(got):cap(got)])
		if err != nil {
			t.Fatalf("Read after %d bytes of %d: %v", len(got), len(text), err)
		}
		got = got[:len(got)+n]
	}
	if string(got) != text {
		t.Fatalf("Read gave %.50q, want %.50q", got, text)
	}
	_ = s.SetReadDeadline(time.Time{})
}

// connControl returns the control messages in a datagram of a session without a cipher.
func connControl(payload []byte) controlSet {
	p := parsePacket(payload)
	if p.kind != packetPlain && p.kind != packetData {
		return controlSet{}
	}
	return findControl(p.segments)
}

// connHas reports whether a datagram has a segment with the command cmd that is no control message.
func connHas(payload []byte, cmd uint8) bool {
	p := parsePacket(payload)
	if p.kind != packetPlain && p.kind != packetData {
		return false
	}
	var s segment
	for rest := p.segments; ; {
		var status parseStatus
		if rest, status = parseSegment(rest, &s); status != parseOK {
			return false
		}
		if s.cmd == cmd && !isControl(&s) {
			return true
		}
	}
}

// endpointOf returns the socket that carries s.
func endpointOf(s *UDPSession) *endpoint { return s.env.host.(*endpoint) }
