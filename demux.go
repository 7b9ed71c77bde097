// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// A demux holds what the sockets of one local address share: the sessions on them, and what may
// open new ones. A dialled session has a demux of its own. A listener's demux holds all sessions
// that it accepted, a Transport's holds dialled and accepted ones.
//
// The socket that a datagram arrives on does not decide which session it is for. Where several
// sockets share a port, the kernel may move a peer from one to another.
type demux struct {
	eps    []*endpoint // one for each socket, at least one
	sealer *sealer     // of dialled sessions; opens everything
	sched  *TimedSched

	acceptSealer *sealer // of accepted ones and of the listener
	replay       replayGuard

	keys   atomic.Pointer[keyTable]   // of sessions; nil while there are none
	strays atomic.Pointer[strayQueue] // takes what is not KCP; nil: dropped

	memory   *memoryAccount
	pending  atomic.Int64 // accepted sessions whose addresses are not validated
	stopping atomic.Bool  // written under mu
	sessions sessionTable // changed under mu
	peers    sessionTable // the first session of each peer, linked to the others; changed under mu
	shared   *sharedSet   // of sessions dialled with Config.SharedSocket; nil: none are

	mu        sync.Mutex // guards what follows; taken with no session's lock held
	backlog   *backlog   // of the listener; nil if there is none
	listeners uint32     // how many the sockets have had
	user      demuxUser
	waits     timeWaits
	admission admission
	leaving   int32 // sessions out of the table whose last packets are still to be sent
	farewells int32 // aborted sessions whose RESET is repeated
}

// demuxUser is the user of the sockets besides a listener and sessions.
type demuxUser uint8

const (
	userNone      demuxUser = iota
	userTransport           // may open sessions
	userAbandoned           // no session opens: the sockets close once the last packets are sent
)

var (
	errNameTaken = errors.New("kcp: conversation id in use with this peer")
	errPeerTaken = errors.New("kcp: another session with this peer")
)

// newDemux makes the sockets of conns. read makes what reads them. Nothing is read before start.
func newDemux(conns []net.PacketConn, owner connOwner, o *options, read newReadLoop) *demux {
	d := &demux{
		sealer: newSealer(o.block), sched: o.sched, peers: sessionTable{key: keyPeer},
		memory: &memoryAccount{most: o.maxMemory},
	}
	d.sealer, d.acceptSealer = d.sealer.forBothSides(&d.replay.sent)
	d.sched.bind(&d.waits.timer, d)
	for _, c := range conns {
		d.eps = append(d.eps, newEndpoint(d, c, owner, o, read))
	}
	return d
}

// shareNonces makes the demux take its memory for nonces from a budget. It must be called before
// start.
func (d *demux) shareNonces(b *nonceBudget) { d.replay.share(b) }

// start starts the readers.
func (d *demux) start() {
	for _, e := range d.eps {
		e.ingress.start()
	}
}

// dial makes a session to raddr.
func (d *demux) dial(
	ep *endpoint, raddr net.Addr, conv uint32, o *options, manner dialManner,
) (*UDPSession, error) {
	s := newDialled(&ep.sessionEnv, raddr, conv, o, manner)
	if s.opener == byTransport || d.peers.find(&s.peer, 0) != nil {
		s.shareAddress()
	}
	add := d.add
	if manner == dialSharedAlone {
		add = d.addAlone
	}
	s.makeKeys()
	if err := add(s); err != nil {
		return nil, err
	}
	DefaultSnmp.connOpened(true)
	s.arm()
	return s, nil
}

// listen lets a listener open sessions.
func (d *demux) listen(o *options) (*backlog, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping.Load() {
		return nil, errClosed
	}
	if d.backlog != nil {
		return nil, errors.New("kcp: the transport has a listener already")
	}
	return d.newBacklog(o), nil
}

// newBacklog lets a listener open sessions. d.mu must be held, unless the readers have not been
// started.
func (d *demux) newBacklog(o *options) *backlog {
	d.backlog = newBacklog(d, o)
	d.admission.counts = admissionCounts{}
	d.listeners++
	d.backlog.number = d.listeners
	return d.backlog
}

// openTransport lets a Transport open sessions. d.mu must be held, unless the readers have not been
// started.
func (d *demux) openTransport() { d.user = userTransport }

// hasTransport reports whether a Transport may open sessions.
func (d *demux) hasTransport() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.user == userTransport
}

// closeTransport closes the Transport and its listener. It returns false if the Transport was
// closed before.
func (d *demux) closeTransport() bool {
	d.mu.Lock()
	b := d.backlog
	d.mu.Unlock()
	if b != nil {
		_ = b.close() // an error means that it is closed already
	}
	open := false
	d.leave(func() {
		if open = d.user == userTransport; open {
			d.user = userNone
		}
	})
	if q := d.strays.Load(); open && q != nil {
		q.close(errClosed)
	}
	return open
}

// find returns the session of that address and conversation id. It takes no lock.
func (d *demux) find(key *sessionKey) *UDPSession { return d.sessions.find(&key.peer, key.conv) }

// add puts s into the table. It fails if the address and id are taken or the sockets are about to
// close.
func (d *demux) add(s *UDPSession) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addLocked(s)
}

// addAlone is like add, but fails if there is a session to the same peer.
func (d *demux) addAlone(s *UDPSession) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.peers.find(&s.peer, 0) != nil {
		return errPeerTaken
	}
	return d.addLocked(s)
}

// addLocked is add with d.mu held.
func (d *demux) addLocked(s *UDPSession) error {
	switch {
	case d.stopping.Load():
		return errClosed
	case d.sessions.find(&s.peer, s.conv) != nil:
		return errNameTaken
	}
	d.sessions.add(s)
	d.setSole()
	d.link(s)
	return nil
}

// remove takes s out of the table and leaves a time-wait record. If no session is left and none can
// open, the sockets stop once the last packets of s are sent. sending reports that a sender still
// has to send them and then calls left.
func (d *demux) remove(s *UDPSession, e *endedSession, bye *farewell, sending bool) {
	if d.shared != nil {
		d.shared.noteKind(s)
	}
	d.mu.Lock()
	if sending {
		d.leaving++
	}
	if bye != nil && !d.stopping.Load() {
		e.outcome = endedAborted // its record answers late packets as well
		d.farewells++
		bye.begin(e.born)
	}
	if d.sessions.remove(s) {
		if e.outcome != endedUnheard {
			d.waits.add(sessionKey{s.peer, s.conv}, e)
		}
		d.unlink(s)
		d.setSole()
		if s.opener == byListener {
			d.admission.sessionEnded(&s.peer)
		}
	}
	stop := d.unused()
	d.mu.Unlock()
	if stop {
		d.stop()
	}
}

// left is called when the last packets of a removed session have been sent. It may be called before
// remove.
func (d *demux) left() {
	d.mu.Lock()
	d.leaving--
	stop := d.unused()
	d.mu.Unlock()
	if stop {
		d.stop()
	}
}

// farewellOver is called when the RESET of an aborted session is no longer repeated.
func (d *demux) farewellOver() {
	d.mu.Lock()
	d.farewells--
	stop := d.unused()
	d.mu.Unlock()
	if stop {
		d.stop()
	}
}

// runTimed sweeps the time-wait records.
func (d *demux) runTimed(now instant, _ *timedBatch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waits.sweep(now.ms())
	d.keys.Load().sweep(now.ms())
}

// unused reports whether the readers are no longer needed. If so, it marks the sockets as stopping,
// and the caller must call stop without the lock. d.mu must be held.
func (d *demux) unused() bool {
	if d.stopping.Load() || d.backlog != nil || d.user == userTransport ||
		d.sessions.live > 0 || d.leaving != 0 {
		return false
	}
	if d.farewells > 0 && d.eps[0].owned() && d.user != userAbandoned {
		return false // a socket of the caller is not read for that
	}
	d.stopping.Store(true)
	d.waits.clear()
	d.keys.Store(nil)
	return true
}

// stop stops the readers.
func (d *demux) stop() {
	d.replay.release()
	for _, e := range d.eps {
		e.stop()
	}
	d.adopted() // by no owner
	d.forgotten()
}

// leave ends the use of the sockets by a listener or a Transport. gone records that, with d.mu
// held. When leave returns, sockets of the caller are no longer read, unless the program still
// holds sessions on them.
func (d *demux) leave(gone func()) {
	d.mu.Lock()
	gone()
	stop, inUse := d.unused(), d.backlog != nil || d.user == userTransport
	d.orphaned()
	d.mu.Unlock()
	if stop {
		d.stop()
	}
	for s := range d.sessions.all {
		if inUse = inUse || s.opener != byListener || s.marks.has(markHandedOut); inUse {
			break
		}
	}
	if !inUse {
		// The sessions that were not accepted are about to end. The sockets stop when their last
		// packets are sent.
		d.awaitStopped()
	}
}

// waitStopped waits until sockets that are stopping are no longer read, if they can be stopped.
// Sockets that only the session leaving uses stop as soon as its last packets are sent. leaving may
// be nil.
func (d *demux) waitStopped(leaving *UDPSession) {
	d.mu.Lock()
	stopping := d.stopping.Load()
	if !stopping && d.backlog == nil && d.user != userTransport && d.sessions.live < 2 {
		stopping = true
		for s := range d.sessions.all {
			stopping = s == leaving
		}
	}
	d.mu.Unlock()
	if stopping {
		d.awaitStopped()
	}
}

func (d *demux) awaitStopped() {
	for _, e := range d.eps {
		e.awaitStopped()
	}
}

// failed ends everything when another owner has closed a socket or a connection is lost for good.
func (d *demux) failed(err error) {
	d.mu.Lock()
	first := !d.stopping.Swap(true)
	b := d.backlog
	d.backlog, d.user = nil, userNone
	d.waits.clear()
	d.keys.Store(nil)
	d.mu.Unlock()
	d.replay.release()
	if first {
		d.stop()
	}
	d.adopted() // by no owner
	for s := range d.sessions.all {
		s.lostSocket(err)
	}
	if b != nil {
		b.fail(err)
	}
	if q := d.strays.Load(); q != nil {
		q.close(err)
	}
}

// each calls f with every socket and stops at the first error.
func (d *demux) each(f func(conn net.PacketConn) error) error {
	for _, e := range d.eps {
		if err := f(e.conn); err != nil {
			return err
		}
	}
	return nil
}

// localAddr is the address that the sockets share.
func (d *demux) localAddr() net.Addr { return d.eps[0].conn.LocalAddr() }

// setSole records whether the socket has a single session. d.mu must be held.
func (d *demux) setSole() {
	var sole *UDPSession
	if len(d.eps) == 1 && d.sessions.live == 1 {
		for s := range d.sessions.all {
			sole = s
		}
	}
	d.eps[0].sole.Store(sole)
}

// offer lets Accept return a session whose first segment arrived late.
func (d *demux) offer(s *UDPSession) bool {
	d.mu.Lock()
	b := d.backlog
	d.mu.Unlock()
	return b != nil && b.offerLate(s)
}

// answerSealer returns what seals an answer without a session to a packet with that nonce. The
// answer has the other bit (S3.9), or its receiver would take it for a packet of its own.
func (d *demux) answerSealer(nonce []byte) *sealer {
	if d.acceptSealer.marks() && len(nonce) > 0 && nonce[0]&nonceAccepted != 0 {
		return d.sealer
	}
	return d.acceptSealer
}

// setDSCP, setReadBuffer and setWriteBuffer set an option on all sockets.
func (d *demux) setDSCP(dscp int) error {
	return d.each(func(c net.PacketConn) error { return setDSCP(c, dscp) })
}

func (d *demux) setReadBuffer(bytes int) error {
	return d.each(func(c net.PacketConn) error { return setReadBuffer(c, bytes) })
}

func (d *demux) setWriteBuffer(bytes int) error {
	return d.each(func(c net.PacketConn) error { return setWriteBuffer(c, bytes) })
}
