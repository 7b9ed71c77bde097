// SPDX-License-Identifier: MIT

package simnet

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// State is a link's switch.
type State uint8

const (
	Up      State = iota // packets pass
	Stalled              // packets wait in the queue, and go on when the link is up again
	Down                 // packets are lost on the wire
)

// Link carries packets in one direction: from one endpoint to another, or, if
// it came from [Network.NewLink], whatever is routed over it.
type Link struct {
	net            *Network
	name           string
	key            uint64 // of the random draws
	from, to       *node  // nil for a shared link
	followsDefault bool   // follows the network's default profile

	// Guarded by the network's mutex, as are all below.
	profile Profile
	state   State
	stats   Stats
	digest  uint64
	events  uint64 // in digest

	index     uint64 // of the next packet
	scheduled uint64 // events put on the heap
	queue     fifo[*packet]
	queued    int64 // bytes in queue, with Profile.Overhead, the packet on the line included
	bucket    bucket
	waits     *waits // nil: not measured
	serving   bool   // the front of queue is on the line
	since     int64  // from when
	departure uint64 // the event that ends it; an event with another number is void
	lastDue   int64  // no packet in order is delivered before
	bad       bool   // state of the Gilbert-Elliott chain
	run       int    // packets that LossRuns still takes
	lossRun   int    // packets in a row that Profile.Loss took
}

func (n *Network) newLink(name string) *Link {
	l := &Link{net: n, name: name, key: mix(n.seed ^ digest([]byte(name)))}
	n.links[name] = l
	return l
}

// Name returns the link's name: "from>to" with the two home addresses, or the
// name given to [Network.NewLink].
func (l *Link) Name() string { return l.name }

// Profile returns the profile in force.
func (l *Link) Profile() Profile {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	return l.profile
}

// SetProfile changes the profile. Packets on the wire are not touched. Packets in the queue, and
// the rest of the one on the line, are sent at the new rate. It panics if p is not valid.
func (l *Link) SetProfile(p Profile) {
	p.mustBeValid()
	l.net.do(func(t int64) {
		l.followsDefault = false
		l.setProfile(p, t)
	})
}

// State returns the state of the link's switch.
func (l *Link) State() State {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	return l.state
}

// SetState sets the link's switch. Packets on the wire are not touched.
func (l *Link) SetState(s State) {
	l.net.do(func(t int64) { l.setState(s, t) })
}

func (l *Link) setProfile(p Profile, t int64) {
	l.pause(t)
	if p.Delay != l.profile.Delay || p.Jitter != l.profile.Jitter {
		l.lastDue = 0 // a new path, on which packets overtake those of the old one
	}
	l.profile = p
	l.serve(t)
}

func (l *Link) setState(s State, t int64) {
	l.pause(t)
	l.state = s
	l.serve(t)
}

// admit puts the packets of instant t on their links. Their order does not depend on which
// goroutine came first, except within one flow.
func (n *Network) admit(t int64) {
	n.batch = n.batch[:0]
	for n.sent.len() > 0 && (*n.sent.front()).at == t {
		p := n.sent.pop()
		p.from = p.src.public.addr
		p.link = n.linkTo(p.src, n.route(p.dst).node)
		if n.flowKey != nil {
			p.flow = n.flowKey(p.data)
		}
		n.batch = append(n.batch, p)
	}
	if len(n.batch) > 1 {
		slices.SortFunc(n.batch, compareSent)
	}
	for i, p := range n.batch {
		n.batch[i] = nil
		if n.closed { // the tap gave way to Close
			n.pool.put(p)
			continue
		}
		n.put(p)
	}
}

func compareSent(a, b *packet) int {
	if a.link != b.link {
		return cmp.Compare(a.link.name, b.link.name)
	}
	if a.src != b.src {
		return cmp.Compare(a.src.name, b.src.name)
	}
	if a.flow != b.flow {
		return cmp.Compare(a.flow, b.flow)
	}
	return cmp.Compare(a.seq, b.seq)
}

// put puts one packet on its link.
func (n *Network) put(p *packet) {
	l := p.link
	p.index = l.index
	l.index++
	p.sum = n.digest(p.data)
	if p.refused {
		n.record(l, p.at, verdictRefused, p.index, p.sum, len(p.data))
		l.stats.Refused++
		n.pool.put(p)
		return
	}
	n.record(l, p.at, verdictSent, p.index, p.sum, len(p.data))
	l.stats.Sent++
	l.stats.SentBytes += uint64(len(p.data))
	l.stats.InTransit++
	switch {
	case n.tap != nil && !n.tapped(p):
		l.drop(p, LossTap, p.at)
	case n.closed:
		l.lose(p, LossClose)
	case l.profile.MTU > 0 && len(p.data) > l.profile.MTU:
		l.drop(p, LossMTU, p.at)
	case !l.bucket.take(l.profile.Policer, len(p.data)+l.profile.Overhead, p.at):
		l.drop(p, LossPolicer, p.at)
	case l.full(len(p.data)):
		l.drop(p, LossQueue, p.at)
	default:
		p.size = len(p.data) + l.profile.Overhead
		p.left = int64(p.size) * 8 * int64(time.Second)
		l.queued += int64(p.size)
		l.queue.push(p)
		l.serve(p.at)
		l.stats.QueuePeak = max(l.stats.QueuePeak, l.waiting())
	}
}

// tapped shows p to the tap, without the lock, and reports whether p goes on.
func (n *Network) tapped(p *packet) bool {
	tap, to := n.tap, n.route(p.dst).addr
	n.mu.Unlock()
	a := tap(n.start.Add(time.Duration(p.at)), p.from, to, p.data)
	n.mu.Lock()
	if a.Payload != nil {
		p.data = append(p.data[:0], a.Payload...)
	}
	p.sum = n.digest(p.data)
	p.extra = min(max(int64(a.Delay), 0), maxDuration)
	return !a.Drop
}

// lose ends the way of p, which was on l.
func (l *Link) lose(p *packet, why Cause) {
	l.stats.Lost[why]++
	l.stats.InTransit--
	l.net.pool.put(p)
}

// drop is lose with an event in the trace.
func (l *Link) drop(p *packet, why Cause, t int64) {
	l.net.record(l, t, verdictLost+verdict(why), p.index, p.sum, len(p.data))
	l.lose(p, why)
}

// waiting returns the number of packets in the queue, without the one on the line.
func (l *Link) waiting() int {
	if l.serving {
		return l.queue.len() - 1
	}
	return l.queue.len()
}

// full reports whether the queue has no room for a packet of size bytes.
func (l *Link) full(size int) bool {
	pr := &l.profile
	if pr.Queue > 0 && l.waiting() >= pr.Queue {
		return true
	}
	waiting := l.queued
	if l.serving {
		waiting -= int64((*l.queue.front()).size)
	}
	// A free line takes a packet that does not fit the queue.
	return pr.QueueBytes > 0 && l.queue.len() > 0 && waiting+int64(size+pr.Overhead) > int64(pr.QueueBytes)
}

// next takes the packet in front, which leaves at t, out of the queue.
func (l *Link) next(t int64) *packet {
	p := l.queue.pop()
	l.queued -= int64(p.size)
	l.waits.record(p, t, l.profile.Rate)
	return p
}

// serve puts the next packet of the queue on the line, if the line is free.
// Without a rate limit all packets go through at t.
func (l *Link) serve(t int64) {
	for !l.serving && l.queue.len() > 0 && l.state != Stalled {
		if l.profile.Rate == 0 {
			l.transmit(l.next(t), t)
			continue
		}
		l.serving = true
		l.since = t
		l.departure = l.schedule(t+l.lineTime(), nil)
	}
}

// lineTime is how long the packet in front takes on the line, rounded up.
func (l *Link) lineTime() int64 {
	return (*l.queue.front()).left/l.profile.Rate + min((*l.queue.front()).left%l.profile.Rate, 1)
}

// pause takes the packet on the line off it at t, halfway if need be.
func (l *Link) pause(t int64) {
	if !l.serving {
		return
	}
	l.serving = false
	l.departure = 0
	p := *l.queue.front()
	// A product that does not fit belongs to a packet that is long through.
	hi, done := bits.Mul64(uint64(max(t-l.since, 0)), uint64(l.profile.Rate))
	if hi > 0 || done > uint64(p.left) {
		done = uint64(p.left)
	}
	p.left -= int64(done)
}

// depart ends the serialisation of the packet in front.
func (l *Link) depart(t int64) {
	l.serving = false
	l.transmit(l.next(t), t)
	l.serve(t)
}

// schedule puts an event on the heap and returns its number, from 1.
func (l *Link) schedule(due int64, p *packet) uint64 {
	l.scheduled++
	l.net.heap.push(event{due: due, link: l, seq: l.scheduled, packet: p})
	return l.scheduled
}
