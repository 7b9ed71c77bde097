// SPDX-License-Identifier: MIT

package simnet

import (
	"io"
	"math"
	"net"
	"sync"
	"time"
)

// never is later than every instant.
const never = math.MaxInt64

// defaultReceiveQueue is the bound of a receive queue, in packets. It is more
// than a kernel's default buffer holds, so that what a test loses there is
// lost because its reader stands still.
const defaultReceiveQueue = 1024

// Network is a set of endpoints and the links between them. All methods may be
// called from any goroutine.
//
// Instants are counted in ns from New. Work is done by run, in the order of
// time, in the goroutine of the one timer: a change or a packet handed in at
// instant t is taken up at t+1, and an event due at t happens at t.
type Network struct {
	start        time.Time
	seed         uint64
	trace        io.Writer
	flowKey      func(payload []byte) uint64
	digest       func(payload []byte) uint64
	receiveQueue int
	pool         packetPool

	mu       sync.Mutex // guards the fields below, and the links
	idle     sync.Cond  // signals that running became false
	timer    *time.Timer
	armed    int64 // instant to which timer is set
	running  bool  // a run is under way; it drops mu while it calls the tap
	closed   bool
	tap      Tap
	traceErr error
	seq      uint64 // of WriteTo calls

	changes fifo[change]
	sent    fifo[*packet]
	batch   []*packet // the packets of one instant, owned by run
	heap    eventHeap

	nodes  map[addrKey]*node    // by home address
	routed map[addrKey]*binding // by public address
	taken  map[addrKey]*node    // addresses that belong to a node for good
	pairs  map[pair]*Link
	links  map[string]*Link
	base   Profile // of links that no rule names
	rules  []rule
	routes []route
}

// change is a change of the network that its user made at instant at.
type change struct {
	at    int64
	apply func(t int64)
}

// Option configures a Network.
type Option func(*Network)

// WithTrace writes a line for each event to w: when, which link, which packet,
// what, how many bytes, digest of the payload. w is called with locks held and
// must not use the network. Close returns its first error.
func WithTrace(w io.Writer) Option { return func(n *Network) { n.trace = w } }

// WithFlowKey orders the packets that one link gets in one instant by flow first. With it,
// goroutines that share a socket and write at the same instant, each its own flow, do not change
// the trace hash. The key must be a pure function; it runs with locks held. Without it the order is
// that of the calls.
func WithFlowKey(key func(payload []byte) uint64) Option { return func(n *Network) { n.flowKey = key } }

// WithDigest replaces the digest of a payload in the trace. It is for payloads with parts that do
// not follow from the seed, such as a cipher's nonces. The sum must be a pure function; it runs
// with locks held.
func WithDigest(sum func(payload []byte) uint64) Option { return func(n *Network) { n.digest = sum } }

// WithReceiveQueue bounds the receive queue of each endpoint to so many
// packets. The default is 1024; 0 is no bound.
func WithReceiveQueue(packets int) Option { return func(n *Network) { n.receiveQueue = packets } }

// New returns a network without endpoints whose links are perfect.
func New(seed uint64, opts ...Option) *Network {
	n := &Network{
		start:        time.Now(),
		seed:         seed,
		digest:       digest,
		receiveQueue: defaultReceiveQueue,
		armed:        never,
		nodes:        make(map[addrKey]*node),
		routed:       make(map[addrKey]*binding),
		taken:        make(map[addrKey]*node),
		pairs:        make(map[pair]*Link),
		links:        make(map[string]*Link),
	}
	n.idle.L = &n.mu
	for _, o := range opts {
		o(n)
	}
	n.timer = time.AfterFunc(never, n.run)
	n.timer.Stop()
	return n
}

// Leases returns the number of packets that the network holds: on links and in
// receive queues. After Close it is 0.
func (n *Network) Leases() int { return n.pool.out() }

// Close closes all endpoints, drops all packets and waits for the network's
// work to end. It must not be called from the tap. It returns the first error
// of the trace's writer.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	for n.running {
		n.idle.Wait()
	}
	n.timer.Stop()
	for n.sent.len() > 0 {
		n.pool.put(n.sent.pop())
	}
	for len(n.heap) > 0 {
		if e := n.heap.pop(); e.packet != nil {
			e.link.lose(e.packet, LossClose)
		}
	}
	for _, l := range n.links {
		for l.queue.len() > 0 {
			l.lose(l.queue.pop(), LossClose)
		}
	}
	var open []*Endpoint
	for _, nd := range n.nodes {
		if nd.owner != nil {
			open = append(open, nd.owner)
			nd.owner = nil
		}
	}
	err := n.traceErr
	n.mu.Unlock()
	for _, e := range open {
		e.shut()
	}
	return err
}

// now returns the current instant.
func (n *Network) now() int64 { return int64(time.Since(n.start)) }

// send takes a packet from WriteTo. It reports whether the network is open.
func (n *Network) send(p *packet) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		n.pool.put(p)
		return false
	}
	p.at = n.now()
	p.seq = n.seq
	n.seq++
	n.sent.push(p)
	n.arm()
	return true
}

// do makes a change for the whole of this instant. It applies at once if no event of this instant
// is left whose order with the change could vary. Otherwise it applies together with the packets of
// this instant.
func (n *Network) do(apply func(t int64)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doLocked(apply)
}

func (n *Network) doLocked(apply func(t int64)) {
	if n.closed {
		return
	}
	t := n.now()
	if !n.running && n.changes.len() == 0 && n.next() > t {
		apply(t)
	} else {
		n.changes.push(change{t, apply})
	}
	n.arm()
}

// next returns the instant of the next thing to do.
func (n *Network) next() int64 {
	t := int64(never)
	if n.changes.len() > 0 {
		t = n.changes.front().at + 1
	}
	if n.sent.len() > 0 {
		t = min(t, (*n.sent.front()).at+1)
	}
	if len(n.heap) > 0 {
		t = min(t, n.heap[0].due)
	}
	return t
}

// arm sets the timer to the next thing to do. A run that is under way does it
// when it leaves.
func (n *Network) arm() {
	if n.running || n.closed {
		return
	}
	if t := n.next(); t < n.armed {
		n.armed = t
		n.timer.Reset(time.Duration(max(t-n.now(), 1)))
	}
}

// run does all that is due. There is one at a time: a second one finds running
// set and leaves its work to the first.
func (n *Network) run() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running || n.closed {
		return
	}
	n.armed = never
	n.running = true
	for now := n.now(); !n.closed; {
		t := n.next()
		if t > now {
			break
		}
		n.step(t)
	}
	n.running = false
	n.arm()
	n.idle.Broadcast()
}

// step does the next thing, due at t: at equal instants first a change, then
// the packets of the instant before, then an event.
func (n *Network) step(t int64) {
	switch {
	case n.changes.len() > 0 && n.changes.front().at+1 == t:
		c := n.changes.pop()
		c.apply(c.at)
	case n.sent.len() > 0 && (*n.sent.front()).at+1 == t:
		n.admit(t - 1)
	default:
		e := n.heap.pop()
		if e.packet != nil {
			n.deliver(e.packet, t)
		} else if e.seq == e.link.departure {
			e.link.depart(t)
		}
	}
}

// Action is what a [Tap] decides about a packet. The zero value lets it pass.
type Action struct {
	Drop    bool
	Payload []byte        // replaces the payload, unless nil
	Delay   time.Duration // added to the delay; others overtake the packet meanwhile
}

// Tap sees each packet when it is put on its link. It may change payload in place, but not keep it.
// Calls come one at a time, in the order of the trace, without locks. A tap may use the network,
// but not close it; its changes count from the next instant on. The address from is the one that
// the receiver will see.
type Tap func(now time.Time, from, to net.Addr, payload []byte) Action

// SetTap puts a tap in place; nil takes it away.
func (n *Network) SetTap(tap Tap) {
	n.do(func(int64) { n.tap = tap })
}
