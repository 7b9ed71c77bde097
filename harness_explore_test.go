// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// An exploration runs a small world in all ways that its network allows. The world consists of the
// library itself: endpoints, demuxes and sessions, with programs that use them, on one goroutine.
//
// By itself the network delivers each datagram after a fixed time, and is fair. A fault makes it
// keep a datagram that leaves, in place of the delivery or in addition to it. What it keeps it may
// deliver before any later event, in any order, or never. So a datagram may be lost, doubled,
// overtaken or come after the end, at each place of the course of events. A world allows a number
// of faults, each to one datagram.
//
// Each state is hashed. One that was reached before is not explored again: what becomes of it is
// known. From each state the fair course is followed to its end first. A state that comes again on
// that course never ends, and neither does one in which nothing is due. Sessions cannot be copied,
// so that each branch runs from the beginning.

// exploreWorld is a world to be explored.
type exploreWorld struct {
	name   string
	faults int                 // in the quick form
	told   time.Duration       // all programs have ended by then
	bound  time.Duration       // all sessions have ended by then
	setup  func(r *exploreRun) // makes the nodes
	want   map[string][]string // the outcomes that each program may be told
	absent map[string]bool     // programs that need not have had a session
	ever   []exploreAct        // each happens once, before any event, or when nothing else is due
	acts   []exploreAct        // in the order of time
}

// exploreAct is something that happens to a world: a process is killed, stopped or started. A
// session that moves to another address, and one that changes its keys, would be acts too.
type exploreAct struct {
	name string
	at   instant // unless it may happen at any time
	do   func(r *exploreRun)
}

// exploreDatagram is a datagram on its way.
type exploreDatagram struct {
	number int // in the order of sending
	from   netip.AddrPort
	to     netip.AddrPort
	at     instant // when it arrives
	data   []byte
	plain  []byte // without encryption
}

const (
	// exploreDelay is the time from one node to the other.
	exploreDelay = 20 * millisecond
	// exploreSteps bounds the events of one run.
	exploreSteps = 20_000
)

// fates of a datagram that leaves.
const (
	fateDelivered = iota
	fateKept      // lost, or late
	fateDoubled
	fates
)

// exploreRun is one run of a world.
type exploreRun struct {
	world  *exploreWorld
	x      *exploration
	start  time.Time
	nodes  []*exploreNode
	acts   []exploreAct // still to happen at their times
	ever   []exploreAct // still to happen at any time
	out    []exploreDatagram
	flying []exploreDatagram
	kept   []exploreDatagram
	sent   int
	faults int    // left
	told   millis // when all programs had ended, never before
	over   bool
	pruned bool // the state is known
	failed string
	log    *strings.Builder // nil: nothing is noted

	made []exploreChoice // so far
}

// exploreChoice is a point of a run where the network chose.
type exploreChoice struct {
	took, of uint8
	hash     uint64 // of the state
	at       millis
}

func (r *exploreRun) now() instant { return instant(time.Since(r.start)) }

// note writes to the log of a run that is shown.
func (r *exploreRun) note(format string, args ...any) {
	if r.log != nil {
		fmt.Fprintf(r.log, "%8.1f ms  %s\n", float64(r.now())/1e6, fmt.Sprintf(format, args...))
	}
}

// fail ends the run with a fault of the library.
func (r *exploreRun) fail(format string, args ...any) {
	if r.failed == "" {
		r.failed = fmt.Sprintf(format, args...)
		r.note("FAULT: %s", r.failed)
	}
	r.over = true
}

// send takes a datagram from a node. What becomes of it is chosen between two events.
func (r *exploreRun) send(n *exploreNode, to netip.AddrPort, data []byte) {
	if r.over || n.dead {
		return
	}
	r.sent++
	d := exploreDatagram{number: r.sent, from: n.addr, to: to, data: bytes.Clone(data)}
	d.plain = d.data
	if n.demux.sealer.headroom() > 0 {
		d.plain, _ = n.demux.sealer.open(bytes.Clone(data))
	}
	r.out = append(r.out, d)
}

// play runs the world to its end.
func (r *exploreRun) play() {
	r.told = never
	r.acts, r.ever = slices.Clone(r.world.acts), r.world.ever
	r.world.setup(r)
	for steps := 0; !r.over; steps++ {
		for worked := true; worked && !r.over; {
			worked = false
			for _, n := range r.nodes {
				worked = n.step() || worked
			}
		}
		r.check()
		r.noteTold()
		switch again := r.decide(); {
		case again:
			continue
		case r.over || r.settled():
			r.conclude()
			return
		}
		if steps > exploreSteps {
			r.fail("no end after %d events", steps)
		}
		r.next()
	}
	r.over = true
}

// conclude ends the run where nothing is left to happen.
func (r *exploreRun) conclude() {
	if !r.over {
		r.told = min(r.told, r.now().ms())
		r.finish()
	}
	r.over = true
}

// noteTold notes when all programs have ended.
func (r *exploreRun) noteTold() {
	if r.told != never || len(r.acts) > 0 {
		return
	}
	for _, n := range r.nodes {
		if n.dead {
			continue
		}
		if n.frozen || n.serve != nil && len(n.programs) == 0 {
			return
		}
		for _, p := range n.programs {
			if !p.over() {
				return
			}
		}
	}
	r.told = r.now().ms()
	r.note("all programs have ended")
}

// decide lets the network choose what becomes of each datagram that leaves, and what happens before
// the next event. A state is looked up before. It reports whether the programs are to run again.
func (r *exploreRun) decide() (again bool) {
	for len(r.out) > 0 && !r.over {
		d := r.out[0]
		r.out = r.out[1:]
		options := 1
		if r.faults > 0 {
			options = fates
		}
		fate := r.choose("fate", options, &d)
		if r.over {
			return false
		}
		if fate != fateDelivered {
			r.faults--
			r.kept = append(r.kept, d)
		}
		r.note("%s sends #%d %s%s", r.nameOf(d.from), d.number, describeDatagram(d.plain),
			[]string{"", ": KEPT", ": DOUBLED"}[fate])
		if fate != fateKept {
			d.at = r.now() + exploreDelay
			r.flying = append(r.flying, d)
		}
	}
	if r.over {
		return false
	}
	ever := min(len(r.ever), 1)
	i := r.choose("next", 1+len(r.kept)+ever, nil)
	switch {
	case i == 0 || r.over:
	case i <= len(r.kept):
		d := r.kept[i-1]
		r.kept = append(r.kept[:i-1:i-1], r.kept[i:]...)
		d.at = r.now()
		r.flying = append([]exploreDatagram{d}, r.flying...)
		r.note("the network delivers what it kept: #%d", d.number)
	default:
		r.happen()
		return true
	}
	return false
}

// happen lets the first act happen whose time is not set.
func (r *exploreRun) happen() {
	a := r.ever[0]
	r.ever = r.ever[1:]
	r.note("%s", a.name)
	a.do(r)
}

// later adds an act that happens after a time.
func (r *exploreRun) later(after time.Duration, name string, do func(r *exploreRun)) {
	r.acts = append(r.acts, exploreAct{name, r.now() + instant(after), do})
	slices.SortStableFunc(r.acts, func(a, b exploreAct) int { return cmp.Compare(a.at, b.at) })
}

// choose returns the network's choice among so many options, of which the first is the fair one.
// about is the datagram that the question is about, or nil.
func (r *exploreRun) choose(question string, options int, about *exploreDatagram) int {
	i := len(r.made)
	if i < len(r.x.prefix) {
		c := r.x.prefix[i]
		if int(c.of) != options {
			panic(fmt.Sprintf("run %d of %s takes another course: choice %d is of %d, not of %d",
				r.x.runs, r.world.name, i, options, c.of))
		}
		r.made = append(r.made, c)
		return int(c.took)
	}
	c := exploreChoice{of: uint8(options), at: r.now().ms()}
	if r.x.visited != nil {
		c.hash = r.hash(question, about)
		if r.x.meet(r, c) {
			r.over = true
			return 0
		}
	}
	r.made = append(r.made, c)
	return 0
}

// hash encodes the state of the world. about is the datagram that a choice is about.
func (r *exploreRun) hash(question string, about *exploreDatagram) uint64 {
	w := &stateWriter{buf: r.x.buf[:0], now: r.now()}
	w.text(question)
	w.uint(uint64(r.faults))
	w.uint(uint64(len(r.ever)))
	for _, a := range r.acts {
		w.text(a.name)
		w.int(int64(a.at - w.now))
	}
	for _, n := range r.nodes {
		w.node(n)
	}
	if about != nil {
		w.sent(about)
	}
	for i := range r.out {
		w.sent(&r.out[i])
	}
	w.text("flying")
	for i := range r.flying {
		w.sent(&r.flying[i])
		w.int(int64(r.flying[i].at - w.now))
	}
	w.text("kept")
	for i := range r.kept {
		w.sent(&r.kept[i])
	}
	r.x.buf = w.buf
	return w.sum()
}

func (w *stateWriter) sent(d *exploreDatagram) {
	w.uint(uint64(d.from.Port()))
	w.uint(uint64(d.to.Port()))
	w.datagram(d.plain)
}

func (w *stateWriter) node(n *exploreNode) {
	w.text(n.name)
	if n.dead {
		return
	}
	w.demux(n.demux)
	w.timers(n.sched.workers[0].heap)
	flags := uint64(0)
	for i, flag := range []bool{n.closed, n.frozen} {
		if flag {
			flags |= 1 << i
		}
	}
	w.uint(flags)
	for _, p := range n.programs {
		w.uint(uint64(p.pc))
		w.uint(uint64(p.wrote))
		w.uint(uint64(p.read))
		w.time(int64(p.wakeAt), 1)
		w.text(p.outcome)
	}
}

// settled reports whether all has ended. Datagrams that the network keeps may still come.
func (r *exploreRun) settled() bool {
	if len(r.flying) > 0 || len(r.acts) > 0 {
		return false
	}
	for _, n := range r.nodes {
		if n.frozen || !n.settled() {
			return false
		}
	}
	return true
}

// next lets the next event happen.
func (r *exploreRun) next() {
	at, fire := instant(never), func() {}
	consider := func(when instant, f func()) {
		if when < at {
			at, fire = when, f
		}
	}
	if len(r.acts) > 0 {
		a := r.acts[0]
		consider(a.at, func() {
			r.acts = r.acts[1:]
			r.note("%s", a.name)
			a.do(r)
		})
	}
	for _, n := range r.nodes {
		if n.dead || n.frozen {
			continue
		}
		for _, p := range n.programs {
			if p.wakeAt != 0 {
				consider(p.wakeAt, func() {})
			}
		}
	}
	for i := range r.flying {
		if n := r.nodeAt(r.flying[i].to); n == nil || !n.frozen {
			consider(r.flying[i].at, func() { r.deliver(i, n) })
		}
	}
	for _, n := range r.nodes {
		consider(n.nextTimer(), n.fireTimers)
	}
	switch {
	case at != instant(never):
	case len(r.ever) > 0:
		r.happen()
		return
	default:
		r.fail("nothing is due any more: %s", r.waiting())
		return
	}
	if wait := at - r.now(); wait > 0 {
		time.Sleep(time.Duration(wait))
	}
	switch now := time.Duration(r.now()); {
	case now > r.world.bound:
		r.fail("not over after %v: %s", r.world.bound, r.waiting())
	case now > r.world.told && r.told == never:
		r.fail("a program has not ended after %v: %s", r.world.told, r.waiting())
	default:
		fire()
	}
}

func (r *exploreRun) deliver(i int, n *exploreNode) {
	d := r.flying[i]
	r.flying = append(r.flying[:i:i], r.flying[i+1:]...)
	if n != nil {
		r.note("#%d arrives at %s", d.number, n.name)
		n.receive(d.data, d.from)
	}
}

// nodeAt returns the process that has an address.
func (r *exploreRun) nodeAt(addr netip.AddrPort) *exploreNode {
	for _, n := range r.nodes {
		if n.addr == addr && !n.dead {
			return n
		}
	}
	return nil
}

// named returns the newest process of a name.
func (r *exploreRun) named(name string) (n *exploreNode) {
	for _, other := range r.nodes {
		if other.name == name {
			n = other
		}
	}
	return n
}

func (r *exploreRun) nameOf(addr netip.AddrPort) string {
	if n := r.nodeAt(addr); n != nil {
		return n.name
	}
	return addr.String()
}

// waiting names what is not over.
func (r *exploreRun) waiting() string {
	var all []string
	for _, n := range r.nodes {
		if n.settled() {
			continue
		}
		for _, p := range n.programs {
			if !p.over() {
				all = append(all, fmt.Sprintf("%s at step %d, %d bytes read", p.name, p.pc, p.read))
			}
		}
		for s := range n.demux.sessions.all {
			all = append(all, fmt.Sprintf("a session of %s in state %d", n.name, s.life.state))
		}
	}
	return strings.Join(all, ", ")
}

// check looks at what holds in every state.
func (r *exploreRun) check() {
	for _, n := range r.nodes {
		if n.dead {
			continue
		}
		for s := range n.demux.sessions.all {
			if err := coreFault(&s.core); err != nil {
				r.fail("%s: %v", n.name, err)
			}
			if a := s.core.addr; a != nil && (a.left < 0 || a.pool < 0) {
				r.fail("%s: more was sent to an address that is not validated than may be", n.name)
			}
		}
	}
}

// finish looks at the end of a run.
func (r *exploreRun) finish() {
	written, told := map[byte]int{}, map[string]bool{}
	for _, n := range r.nodes {
		for _, p := range n.programs {
			written[p.stream] = max(written[p.stream], p.wrote) // one may have been restarted
		}
	}
	for _, n := range r.nodes {
		for _, p := range n.programs {
			if n.dead {
				break
			}
			if told[p.name] {
				r.fail("%s: a second session has been accepted", p.name)
			}
			told[p.name] = true
			wants, ok := r.world.want[p.name]
			fits := !ok
			for _, want := range wants {
				fits = fits || p.outcome == want
			}
			if !fits {
				r.fail("%s was told %q, want %q", p.name, p.outcome, wants)
			}
			if p.read > written[p.from] {
				r.fail("%s has read %d bytes of %d", p.name, p.read, written[p.from])
			}
			if p.outcome == "eof" && p.read != written[p.from] {
				r.fail("%s has read %d bytes to the end, want %d", p.name, p.read, written[p.from])
			}
		}
	}
	for name := range r.world.want {
		if !told[name] && !r.world.absent[name] {
			r.fail("%s never had a session", name)
		}
	}
}

// release ends what a run has left.
func (r *exploreRun) release() {
	r.over = true
	for _, n := range r.nodes {
		n.release()
	}
}
