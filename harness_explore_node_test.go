// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"
	"time"
)

// exploreNode is a process with one socket. It has the real endpoint, demux and sessions, without
// any goroutine: the exploration delivers datagrams and fires timers by itself.
type exploreNode struct {
	run      *exploreRun
	name     string
	addr     netip.AddrPort
	sched    *TimedSched
	demux    *demux
	listener *Listener
	programs []*exploreProgram
	serve    func(s *UDPSession) *exploreProgram // what an accepted session runs
	closed   bool                                // the socket
	dead     bool                                // killed: nothing of it runs any more
	frozen   bool                                // stopped: timers and datagrams wait
}

// node makes a process with a socket at that address.
func (r *exploreRun) node(name, addr string) *exploreNode {
	n := &exploreNode{
		run: r, name: name, addr: netip.MustParseAddrPort(addr), sched: newHandSched(),
	}
	n.sched.epoch = r.start // one clock for all
	r.nodes = append(r.nodes, n)
	return n
}

// newHandSched returns a scheduler whose timers are fired by fireTimers alone.
func newHandSched() *TimedSched {
	s := NewTimedSched(1)
	w := &s.workers[0]
	w.timer = time.NewTimer(noWake)
	w.wake, w.done = make(chan struct{}, 1), make(chan struct{})
	w.state = workerRunning // so that no goroutine is started
	return s
}

// open makes the demux. A socket of a dialled session is the library's own.
func (n *exploreNode) open(c Config, owner connOwner) *options {
	c.Scheduler = n.sched
	o, err := c.options()
	if err != nil {
		panic(err)
	}
	n.demux = newDemux([]net.PacketConn{exploreConn{node: n}}, owner, o, newExploreIngress)
	for _, e := range n.demux.eps {
		e.out = nil
		e.txSocket.init(exploreIO{node: n}, n.sched, n.demux.sealer.aead)
	}
	return o
}

// listen makes the node a server.
func (n *exploreNode) listen(c Config, serve func(s *UDPSession) *exploreProgram) {
	o := n.open(c, connGiven)
	n.listener = serveOn(n.demux, o)
	n.serve = serve
}

// dial makes a session to another node, over the only socket of the node.
func (n *exploreNode) dial(c Config, to *exploreNode, conv uint32) *UDPSession {
	o := n.open(c, connOwn)
	s, err := n.demux.dialFirst(to.udp(), conv, o, dialSocket)
	if err != nil {
		panic(err)
	}
	if c.WaitPeer { // what awaitPeer does before it blocks
		s.mu.Lock()
		s.core.life.connect(s.now())
		s.unlockAndSend(true)
	}
	return s
}

// nextTimer returns when the first timer of the node is due, or never.
func (n *exploreNode) nextTimer() instant {
	if n.dead || n.frozen {
		return instant(never)
	}
	w := &n.sched.workers[0]
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.heap) > 0 {
		at := w.heap[0].when
		if !w.putOff(w.heap[0].entry, at) {
			return at
		}
	}
	return instant(never)
}

// fireTimers does what the goroutine of a scheduler does once.
func (n *exploreNode) fireTimers() {
	w := &n.sched.workers[0]
	due, now, _ := w.collect(nil)
	w.mu.Lock()
	w.state = workerRunning
	w.mu.Unlock()
	var batch timedBatch
	for _, e := range due {
		e.task.runTimed(now, &batch)
	}
	batch.finish()
	batch.release()
}

// receive does what the goroutine of a socket does with a datagram.
func (n *exploreNode) receive(data []byte, from netip.AddrPort) {
	if n.dead || n.closed || n.demux == nil {
		return
	}
	buf := append(make([]byte, 0, mtuMost), data...)
	r := newReader(n.demux.eps[0])
	r.batch([]received{{buf: buf, n: len(buf), segment: len(buf), from: from}})
	r.release()
}

// mtuMost is a capacity for any datagram of an exploration.
const mtuMost = 2048

// step accepts sessions and lets the programs of the node run until all of them wait.
func (n *exploreNode) step() (worked bool) {
	if n.dead || n.frozen {
		return false
	}
	for n.listener != nil && n.listener.backlog.waiting.Len() > 0 {
		s, err := n.listener.AcceptKCP()
		if err != nil {
			panic(err)
		}
		n.run.note("%s accepts a session", n.name)
		n.programs = append(n.programs, n.serve(s))
		worked = true
	}
	for _, p := range n.programs {
		for p.step() {
			worked = true
		}
	}
	return worked
}

// settled reports whether nothing is left to be done on the node.
func (n *exploreNode) settled() bool {
	if n.dead {
		return true
	}
	for _, p := range n.programs {
		if !p.over() {
			return false
		}
	}
	d := n.demux
	return d.sessions.live == 0 && d.farewells == 0 && d.leaving == 0
}

// release ends everything on the node at the end of a run.
func (n *exploreNode) release() {
	if n.demux == nil {
		return
	}
	var all []*UDPSession
	for s := range n.demux.sessions.all {
		all = append(all, s)
	}
	for _, p := range n.programs {
		all = append(all, p.session)
	}
	n.demux.failed(errSocketClosed)
	for _, s := range all {
		s.mu.Lock()
		s.life.shutRead()
		s.releaseReadingLocked()
		s.mu.Unlock()
	}
	n.sched.Close()
}

// udp returns the address of the node.
func (n *exploreNode) udp() *net.UDPAddr { return net.UDPAddrFromAddrPort(n.addr) }

// exploreConn is the socket of a node as a net.PacketConn, which is neither read nor written.
type exploreConn struct{ node *exploreNode }

func (c exploreConn) ReadFrom([]byte) (int, net.Addr, error)    { return 0, nil, net.ErrClosed }
func (c exploreConn) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }
func (c exploreConn) LocalAddr() net.Addr                       { return c.node.udp() }
func (c exploreConn) SetDeadline(time.Time) error               { return nil }
func (c exploreConn) SetReadDeadline(time.Time) error           { return nil }
func (c exploreConn) SetWriteDeadline(time.Time) error          { return nil }
func (c exploreConn) Close() error                              { c.node.closed = true; return nil }

// exploreIO is the socket of a node as a batchConn, which gives datagrams to the network.
type exploreIO struct{ node *exploreNode }

func (x exploreIO) writeBatch(p []outgoing) (sent, lost int, err error) {
	for i := range p {
		o := &p[i]
		for rest := o.buf; len(rest) > 0; sent++ {
			size := len(rest)
			if o.segment > 0 {
				size = min(size, o.segment)
			}
			x.node.run.send(x.node, o.to, rest[:size])
			rest = rest[size:]
		}
	}
	return sent, 0, nil
}

func (exploreIO) readBatch(receiveBuffers) (int, error) { return 0, net.ErrClosed }
func (exploreIO) readReady([]received) (int, error)     { return 0, net.ErrClosed }
func (exploreIO) readBatchSize() (int, int)             { return 1, mtuMost }
func (exploreIO) maxRun() (bytes, segments int)         { return maxRunBytes, 1 }
func (exploreIO) features() (gso, gro bool)             { return false, false }
func (exploreIO) stopReading()                          {}
func (exploreIO) release()                              {}

// exploreIngress stands in for the goroutine that reads a socket.
type exploreIngress struct{}

func newExploreIngress(*endpoint) ingress { return exploreIngress{} }

func (exploreIngress) start()                   {}
func (exploreIngress) stopped()                 {}
func (exploreIngress) pass([]received)          {}
func (exploreIngress) acquire(*UDPSession) bool { return false }
func (exploreIngress) read() int                { return 0 }
func (exploreIngress) process(int)              {}
func (exploreIngress) release(*UDPSession)      {}
func (exploreIngress) interrupt()               {}
