// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"
)

// newDialledIngress returns what reads the socket that the library has opened for a dialled
// session: one of a few goroutines that serve all such sockets, where the system can report which
// of many sockets can be read.
func newDialledIngress(e *endpoint) ingress {
	q := newHandoff(e)
	if q.by == readByEither {
		q.by, q.quick = readByWorkers, -rolePolledProof
	}
	return q
}

// A readWorker reads sockets that the library has opened for dialled sessions. There are at most
// GOMAXPROCS of them. One starts if each of the others has a socket, and ends with its last socket.
type readWorker struct {
	set     *pollSet
	sockets int // guarded by readWorkers

	mu    sync.Mutex // guards what follows; taken with a handoff's lock held
	slots []readSlot
	free  []uint32 // of slots
}

// readSlot is a place for a socket. The round tells late reports of an earlier socket.
type readSlot struct {
	q     *handoff
	round uint32
}

// readWorkers are those that run. A handoff's lock may be held.
var readWorkers = struct {
	sync.Mutex // guards what follows
	all        []*readWorker
}{}

// pollSlot is the place of a socket with a worker.
type pollSlot struct {
	worker  *readWorker
	key     uint64
	reports readyReports
}

// readyReports is when a set reports a socket.
type readyReports uint8

const (
	reportsLevel readyReports = iota // as long as it can be read
	// reportsEdges is for a socket that was reported although there was nothing to read. Something
	// else lasts, such as a message in an error queue that the program has asked for. The set
	// reports the socket when something arrives, and after each read that has found something.
	reportsEdges
)

// watchSocket makes a worker read the socket of q. It returns false if there is none that can.
func (q *handoff) watchSocket() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := pickReadWorker()
	if w == nil {
		return false
	}
	q.slot = pollSlot{worker: w, key: w.take(q)}
	if w.set.add(q.ep.conn, q.slot.key) != nil {
		q.slot.leave(nil)
		return false
	}
	return true
}

// pickReadWorker counts a socket more with the worker that has the fewest, which may be a new one.
// It returns nil if the system has no pollSet.
func pickReadWorker() *readWorker {
	readWorkers.Lock()
	defer readWorkers.Unlock()
	var best *readWorker
	for _, w := range readWorkers.all {
		if best == nil || w.sockets < best.sockets {
			best = w
		}
	}
	if best == nil || best.sockets > 0 && len(readWorkers.all) < runtime.GOMAXPROCS(0) {
		if set, err := newPollSet(); err == nil {
			best = &readWorker{set: set}
			readWorkers.all = append(readWorkers.all, best)
			go best.run()
		}
	}
	if best != nil {
		best.sockets++
	}
	return best
}

// take puts q into a slot, and returns the key by which the set is to report it.
func (w *readWorker) take(q *handoff) (key uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.free) == 0 {
		w.free = append(w.free, uint32(len(w.slots)))
		w.slots = append(w.slots, readSlot{})
	}
	last := len(w.free) - 1
	i := w.free[last]
	w.free = w.free[:last]
	s := &w.slots[i]
	s.q = q
	s.round++
	return uint64(s.round)<<32 | uint64(i)
}

// find returns the sockets of those keys that are still there.
func (w *readWorker) find(keys []uint64, found []*handoff) []*handoff {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		if s := &w.slots[uint32(key)]; s.q != nil && s.round == uint32(key>>32) {
			found = append(found, s.q)
		}
	}
	return found
}

// pause makes the worker not read conn until resume.
func (p *pollSlot) pause(conn net.PacketConn) {
	_ = p.worker.set.remove(conn) // it fails on a closed socket
}

// leave takes conn, unless it is nil, out of the worker's set and gives up its place.
func (p *pollSlot) leave(conn net.PacketConn) {
	w := p.worker
	if conn != nil {
		_ = w.set.remove(conn) // it fails if the role is lent
	}
	w.mu.Lock()
	i := uint32(p.key)
	w.slots[i].q = nil
	w.free = append(w.free, i)
	w.mu.Unlock()
	readWorkers.Lock()
	defer readWorkers.Unlock()
	if w.sockets--; w.sockets > 0 {
		return
	}
	for i, other := range readWorkers.all {
		if other == w {
			last := len(readWorkers.all) - 1
			readWorkers.all[i] = readWorkers.all[last]
			readWorkers.all[last] = nil
			readWorkers.all = readWorkers.all[:last]
			break
		}
	}
	w.set.close()
}

// resume makes the worker read the socket again. If the kernel has no memory for that, it is tried
// again later. q.mu must be held.
func (q *handoff) resume() {
	q.slot.reports = reportsLevel
	switch err := q.slot.worker.set.add(q.ep.conn, q.slot.key); {
	case errors.Is(err, net.ErrClosed):
		go q.ep.demux.failed(errSocketClosed)
	case err != nil:
		time.AfterFunc(readErrorPauseMax, q.readAgain)
	}
}

// readAgain ends a pause.
func (q *handoff) readAgain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.halted && q.holder == roleReader {
		q.resume()
	}
}

// run serves the sockets that can be read until the set is closed.
func (w *readWorker) run() {
	var (
		keys [pollEvents]uint64
		list [pollEvents]*handoff
	)
	for {
		n, err := w.set.wait(&keys)
		if err != nil {
			w.failed(err)
			return
		}
		found := w.find(keys[:n], list[:0])
		r := readers.Get().(*reader)
		r.tx.manner = txLeaves
		for i, q := range found {
			q.serve(r)
			found[i] = nil
		}
		r.release()
		runtime.Gosched() // the batches have woken goroutines, and the sockets may never be empty
	}
}

// failed ends what is left on the worker when its set has failed. A set that was closed has nothing
// left.
func (w *readWorker) failed(err error) {
	w.mu.Lock()
	slots := slices.Clone(w.slots)
	w.mu.Unlock()
	for _, s := range slots {
		if s.q != nil {
			s.q.ep.demux.failed(fmt.Errorf("kcp: the socket can no longer be read: %w", err))
		}
	}
}

// serve reads what has arrived at a socket that can be read, once.
func (q *handoff) serve(r *reader) {
	q.mu.Lock()
	mine, reports := q.holder == roleReader && !q.halted, q.slot.reports
	q.mu.Unlock()
	if !mine {
		return
	}
	n, err := q.ep.io.readReady(r.attach(q.ep))
	lent, pause := false, time.Duration(0)
	if n > 0 {
		lent = q.lend(q.feed(r, n))
	} else {
		pause = q.failed(err)
	}
	empty := n == 0 && err == nil
	switch {
	case lent:
	case pause > 0:
		q.mu.Lock()
		q.slot.pause(q.ep.conn)
		q.mu.Unlock()
		time.AfterFunc(pause, q.readAgain)
	case reports == reportsLevel && empty, reports == reportsEdges && !empty:
		q.awaitEdge()
	}
}

// awaitEdge makes the worker's set report the socket once more if it can be read, and from then
// on only when something arrives.
func (q *handoff) awaitEdge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.holder == roleReader && !q.halted {
		q.slot.reports = reportsEdges
		_ = q.slot.worker.set.awaitEdge(q.ep.conn, q.slot.key) // it fails on a closed socket
	}
}
