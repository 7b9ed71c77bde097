// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lent lists the demuxes that read each connection of the caller. Several readers of one connection
// would take each other's packets. Whoever begins to use a connection therefore joins its present
// users, such as a closed session that delivers its last data.
var lent = struct {
	sync.Mutex // guards what follows
	users      map[net.PacketConn][]*demux
}{users: make(map[net.PacketConn][]*demux)}

// canBeFound reports whether conn can be compared with other connections.
func canBeFound(conn net.PacketConn) bool { return reflect.ValueOf(conn).Comparable() }

// usersOf returns the demuxes that read conn.
func usersOf(conn net.PacketConn) []*demux {
	if !canBeFound(conn) {
		return nil
	}
	lent.Lock()
	defer lent.Unlock()
	return slices.Clone(lent.users[conn])
}

// enterLent records that d is about to read its connection. It returns false if the connection's
// users are no longer others.
func (d *demux) enterLent(others []*demux) bool {
	conn := d.eps[0].conn
	if !canBeFound(conn) {
		return true
	}
	lent.Lock()
	defer lent.Unlock()
	if !slices.Equal(lent.users[conn], others) {
		return false
	}
	lent.users[conn] = append(lent.users[conn], d)
	return true
}

// leaveLent is called when d no longer reads its connection.
func (d *demux) leaveLent() {
	conn := d.eps[0].conn
	if !canBeFound(conn) {
		return
	}
	lent.Lock()
	defer lent.Unlock()
	users := slices.DeleteFunc(lent.users[conn], func(user *demux) bool { return user == d })
	if lent.users[conn] = users; len(users) == 0 {
		delete(lent.users, conn)
	}
}

// overLent calls use with a demux that reads conn, a connection of the caller. That is a present
// user with the same cipher, scheduler and naming of sources, or else a new one. If use returns
// false, another one is tried. A new user takes its memory for nonces from the budget nonces, or
// has its own if that is nil.
func overLent(
	conn net.PacketConn, sources sourceNames, nonces *nonceBudget, o *options, read newReadLoop,
	use func(d *demux) bool,
) {
	sealer := newSealer(o.block)
	for {
		users := usersOf(conn)
		for _, d := range users {
			if !d.stopping.Load() && d.sched == o.sched && d.eps[0].sources == sources &&
				d.sealer.same(sealer) && use(d) {
				return
			}
		}
		for _, d := range users {
			d.eps[0].awaitLetGo()
		}
		users = slices.DeleteFunc(users, func(d *demux) bool { return d.eps[0].hasLetGo() })
		d := newDemux([]net.PacketConn{conn}, connLent, o, read)
		d.eps[0].sources = sources
		d.shareNonces(nonces)
		if !d.enterLent(users) {
			continue // d has not been started: another user has come
		}
		used := use(d)
		d.start()
		if used {
			return
		}
	}
}

// join applies the settings of a new user that concern all users: the larger memory limit, and the
// hook for errors.
func (d *demux) join(o *options) {
	d.mu.Lock()
	defer d.mu.Unlock()
	atomic.StoreInt64(&d.memory.most, max(d.memory.most, o.maxMemory))
	if o.onSocketError != nil {
		d.eps[0].errors.setHook(o.onSocketError)
	}
}

// endClosed ends a closed session that lingers, so that another may take its address and id.
func (d *demux) endClosed(key sessionKey) {
	if s := d.find(&key); s != nil {
		s.replacedIfClosed()
	}
}

// letGoPatience is how long the next user of a foreign connection waits for the reader to end. A
// reader that does not end hands on what it reads.
const letGoPatience = 20 * time.Millisecond

// awaitLetGo waits for a reader that is to end and can be woken.
func (e *endpoint) awaitLetGo() {
	if !e.isStopping() || e.deaf.Load() {
		return
	}
	patience := time.NewTimer(stopPatience)
	if e.out != nil {
		patience.Reset(letGoPatience)
	}
	defer patience.Stop()
	select {
	case <-e.done:
	case <-patience.C:
	}
}

// hasLetGo reports whether the reader has ended.
func (e *endpoint) hasLetGo() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// handOn passes what a reader that could not be woken has read to the connection's present user.
func (e *endpoint) handOn(msgs []received) {
	for _, d := range usersOf(e.conn) {
		if !d.stopping.Load() {
			d.eps[0].ingress.pass(msgs)
			return
		}
	}
}
