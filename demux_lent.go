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

// lent lists who reads each connection that is its caller's. Several readers of one connection would take each other's
// packets. So whoever begins to use a connection joins those who use it still, such as a closed session that delivers its
// last data.
var lent = struct {
	sync.Mutex // guards what follows
	users      map[net.PacketConn][]*demux
}{users: make(map[net.PacketConn][]*demux)}

// canBeFound reports whether conn can be told from others.
func canBeFound(conn net.PacketConn) bool { return reflect.ValueOf(conn).Comparable() }

// usersOf returns who reads conn.
func usersOf(conn net.PacketConn) []*demux {
	if !canBeFound(conn) {
		return nil
	}
	lent.Lock()
	defer lent.Unlock()
	return slices.Clone(lent.users[conn])
}

// enterLent notes that d is about to read its caller's connection. It reports false if the users of that are not others any
// more.
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

// leaveLent is called when the connection is read no more.
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

// overLent calls use with what reads conn, a connection that is its caller's: with a present user that has the same cipher,
// scheduler and way to name peers, or with a new one. use reports false if it cannot join that one, and sees another
// then. nonces is what a new user shares memory with; nil: it has its own.
func overLent(conn net.PacketConn, sources sourceNames, nonces *nonceBudget, o *options, read newReadLoop, use func(d *demux) bool) {
	sealer := newSealer(o.block)
	for {
		users := usersOf(conn)
		for _, d := range users {
			if !d.stopping.Load() && d.sched == o.sched && d.eps[0].sources == sources && d.sealer.same(sealer) && use(d) {
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
			continue // d has not been started: somebody else has come
		}
		used := use(d)
		d.start()
		if used {
			return
		}
	}
}

// join takes over the settings that the user of a connection who has just come has for all: the larger bound of memory, and
// its hook.
func (d *demux) join(o *options) {
	d.mu.Lock()
	defer d.mu.Unlock()
	atomic.StoreInt64(&d.memory.most, max(d.memory.most, o.maxMemory))
	if o.onSocketError != nil {
		d.eps[0].errors.setHook(o.onSocketError)
	}
}

// endClosed ends a session that is closed and lingers, to make room for another of the same name.
func (d *demux) endClosed(key sessionKey) {
	if s := d.find(&key); s != nil {
		s.replacedIfClosed()
	}
}

// letGoPatience is how long the next user of a foreign connection waits for a reader that is to end. One that stays hands on
// what it reads.
const letGoPatience = 20 * time.Millisecond

// awaitLetGo waits for the reader to end, if it is to end and can be woken.
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

// handOn gives what a reader that could not be woken has read to the present user of the connection.
func (e *endpoint) handOn(msgs []received) {
	for _, d := range usersOf(e.conn) {
		if !d.stopping.Load() {
			d.eps[0].ingress.pass(msgs)
			return
		}
	}
}
