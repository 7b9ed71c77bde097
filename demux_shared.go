// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"net"
	"runtime"
	"sync"
)

const (
	// sharedRegular is how many sockets the sessions of one key are spread over: with few sockets
	// their locks and readers would be contended, and one for each processor gains nothing more.
	sharedRegular = 4
	// sharedMost is the most sockets of a key. More than sharedRegular are opened only so that
	// sessions to one address, whose peer may be a legacy peer, have different sockets.
	sharedMost = 8
)

// sharedRegistry lists the sockets of this process that sessions dialled with Config.SharedSocket
// use. A socket is opened by the dial that needs it, and closes with the last session on it.
type sharedRegistry struct {
	mu     sync.Mutex // guards all below and the sets
	sets   map[sharedKey]*sharedSet
	legacy legacyPeers
}

var sharedSockets sharedRegistry

// sharedKey is what all sessions on a socket have in common.
type sharedKey struct {
	family    int // 4 or 6
	cipher    cipherIdentity
	sched     *TimedSched
	maxMemory int64
}

// sharedSet is the sockets of one key. It is in the registry while one of them is open or opening.
type sharedSet struct {
	registry *sharedRegistry
	key      sharedKey
	memory   memoryAccount // of all its sessions
	dials    uint32
	slots    sharedSlots
}

// sharedSlots are the sockets of a set.
type sharedSlots [sharedMost]sharedSlot

// sharedSlot is the place of one socket.
type sharedSlot struct {
	demux   *demux        // nil: the socket is not open
	opening chan struct{} // closed when the dial that opens the socket is done; nil: there is none
}

// sharedDial is one dial over a shared socket.
type sharedDial struct {
	registry *sharedRegistry
	key      sharedKey
	raddr    net.Addr
	peer     peerAddr
	opts     *options
	regular  int // how many slots sessions are spread over
	open     func() (net.PacketConn, error)
	read     newReadLoop
	openErr  error // why no further socket could be opened; nil: none was needed
}

// dial makes a session to the UDP address raddr over a shared socket, which open opens and read
// reads. It returns no session and no error if the peer is a legacy peer that has a session on each
// of the sockets: the session needs a socket of its own.
func (r *sharedRegistry) dial(
	ctx context.Context, raddr net.Addr, o *options, read newReadLoop,
	open func() (net.PacketConn, error),
) (*UDPSession, error) {
	d := &sharedDial{
		registry: r, raddr: raddr, peer: newPeerAddr(raddr), opts: o, open: open, read: read,
		regular: min(runtime.GOMAXPROCS(0), sharedRegular),
	}
	d.key = sharedKey{
		family: 6, cipher: newSealer(o.block).identity(), sched: o.sched, maxMemory: o.maxMemory,
	}
	if d.peer.udp.Addr().Is4() {
		d.key.family = 4
	}
	for first := int(r.nextDial(d.key) % uint32(d.regular)); ; {
		slots := r.slots(d.key)
		c := d.choose(&slots, first)
		at := &slots[c.slot]
		switch c.step {
		case shareOwn:
			return nil, d.openErr
		case shareWait:
			select {
			case <-at.opening:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case shareOpen:
			if s := d.openSlot(c.slot); s != nil {
				return s, nil
			}
		case shareJoin:
			if s := d.join(at.demux, c.manner); s != nil {
				return s, nil
			}
		}
	}
}

// shareStep is what a dial does next.
type shareStep uint8

const (
	shareOwn  shareStep = iota // no shared socket can be used
	shareWait                  // for another dial that opens the socket of the slot
	shareOpen                  // the socket of the slot
	shareJoin                  // use the socket of the slot
)

type shareChoice struct {
	step   shareStep
	slot   int
	manner dialManner // of shareJoin
}

// choose chooses the next step. In the order of the slots, which begins at first, the session gets
// the first socket that either has no session to the peer or is known to be able to have several.
// Where there is none, it depends on what is known of the peer. A legacy peer keeps one session at
// a time for each address. Of a silent peer it is assumed that it keeps several: many sessions may
// be dialled before the first answer.
func (d *sharedDial) choose(slots *sharedSlots, first int) shareChoice {
	found, last := peerNone, -1
	for i := range slots {
		n := d.slotAt(i, first)
		switch at := &slots[n]; {
		case at.opening != nil:
			return shareChoice{step: shareWait, slot: n}
		case at.demux != nil:
			kind := at.demux.peerKind(&d.peer)
			switch kind {
			case peerNone:
				return shareChoice{step: shareJoin, slot: n, manner: dialSharedAlone}
			case peerShares:
				return shareChoice{step: shareJoin, slot: n, manner: dialShared}
			}
			if found = max(found, kind); last < 0 {
				last = n
			}
		case d.openErr == nil:
			return shareChoice{step: shareOpen, slot: n}
		}
	}
	if found == peerNone || found == peerLegacy || d.registry.isLegacy(&d.peer) {
		return shareChoice{step: shareOwn}
	}
	return shareChoice{step: shareJoin, slot: last, manner: dialShared}
}

// slotAt returns the i-th slot that a dial looks at: first the regular ones from first on.
func (d *sharedDial) slotAt(i, first int) int {
	if i < d.regular {
		return (first + i) % d.regular
	}
	return i
}

// join makes a session on a socket that is open. It returns nil if another dial or the end of the
// socket has come first.
func (d *sharedDial) join(on *demux, manner dialManner) *UDPSession {
	for {
		s, err := on.dial(on.eps[0], d.raddr, randomConv(), d.opts, manner)
		switch err {
		case nil:
			if hook := d.opts.onSocketError; hook != nil {
				on.eps[0].errors.setHook(hook)
			}
			return s
		case errNameTaken:
			continue
		case errClosed:
			on.forgotten() // the socket is closing, and may still be listed
		}
		return nil
	}
}

// openSlot opens the socket of a slot with a first session on it. It returns nil if another dial
// has come first or the socket cannot be opened.
func (d *sharedDial) openSlot(slot int) *UDPSession {
	set, opened := d.registry.claim(d.key, slot)
	if set == nil {
		return nil
	}
	conn, err := d.open()
	if err != nil {
		d.openErr = err
		opened(nil)
		return nil
	}
	on := newDemux([]net.PacketConn{conn}, connOwn, d.opts, d.read)
	on.shareNonces(&dialledNonces)
	on.shared, on.memory, on.eps[0].memory = set, &set.memory, &set.memory
	s := d.join(on, dialShared)
	opened(on)
	on.start()
	return s
}

// nextDial returns how many dials of a key there were before the next one.
func (r *sharedRegistry) nextDial(key sharedKey) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := r.sets[key]
	if set == nil {
		return 0
	}
	set.dials++
	return set.dials
}

// slots returns the present sockets of a key.
func (r *sharedRegistry) slots(key sharedKey) (slots sharedSlots) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if set := r.sets[key]; set != nil {
		slots = set.slots
	}
	return slots
}

// claim reserves a slot for the dial that is about to open its socket. It returns nil if the slot
// is not free any more. Otherwise opened must be called with the socket, or with nil.
func (r *sharedRegistry) claim(key sharedKey, slot int) (set *sharedSet, opened func(d *demux)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set = r.sets[key]
	if set == nil {
		if r.sets == nil {
			r.sets = make(map[sharedKey]*sharedSet)
		}
		set = &sharedSet{registry: r, key: key}
		set.memory.most = key.maxMemory
		r.sets[key] = set
	}
	at := &set.slots[slot]
	if at.demux != nil || at.opening != nil {
		return nil, nil
	}
	at.opening = make(chan struct{})
	return set, func(d *demux) {
		r.mu.Lock()
		defer r.mu.Unlock()
		close(at.opening)
		at.demux, at.opening = d, nil
		set.tidyLocked()
	}
}

// tidyLocked takes the set out of the registry if none of its sockets is open or opening.
func (t *sharedSet) tidyLocked() {
	if t.slots == (sharedSlots{}) {
		delete(t.registry.sets, t.key)
	}
}

// forgotten takes a shared socket out of its set: it is about to close.
func (d *demux) forgotten() {
	t := d.shared
	if t == nil {
		return
	}
	t.registry.mu.Lock()
	defer t.registry.mu.Unlock()
	for i := range t.slots {
		if t.slots[i].demux == d {
			t.slots[i] = sharedSlot{}
			t.tidyLocked()
		}
	}
}
