// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// orphanage holds the sockets of this process that a listener or Transport left open for the
// sessions that live on. The next listener or Transport on the same address takes them over.
// Otherwise the port would be in use for as long as a session lives or waits for its peer's FIN.
var orphanage = struct {
	sync.Mutex // guards demuxes; may be taken with a demux's lock held
	gone       sync.Cond
	demuxes    map[*demux]struct{}
}{demuxes: make(map[*demux]struct{})}

func init() { orphanage.gone.L = &orphanage }

// orphaned records that only sessions use the sockets of d. d.mu must be held.
func (d *demux) orphaned() {
	if d.eps[0].owner == connOwn && !d.stopping.Load() &&
		d.backlog == nil && d.user != userTransport {
		orphanage.Lock()
		orphanage.demuxes[d] = struct{}{}
		orphanage.Unlock()
	}
}

// adopted takes d out again: it has a listener or a Transport, or its sockets are closed.
func (d *demux) adopted() {
	orphanage.Lock()
	delete(orphanage.demuxes, d)
	orphanage.gone.Broadcast()
	orphanage.Unlock()
}

// orphanAt returns the sockets on the UDP address laddr that were left for their sessions, or nil.
func orphanAt(laddr string) *demux {
	orphanage.Lock()
	none := len(orphanage.demuxes) == 0
	orphanage.Unlock()
	if none {
		return nil
	}
	want, err := net.ResolveUDPAddr("udp", laddr)
	if err != nil || want.Port == 0 {
		return nil
	}
	orphanage.Lock()
	defer orphanage.Unlock()
	for d := range orphanage.demuxes {
		if sameLocal(d.localAddr(), want) {
			return d
		}
	}
	return nil
}

// sameLocal reports whether a socket at the address has is what listening on the address want
// gives.
func sameLocal(has net.Addr, want *net.UDPAddr) bool {
	local, ok := has.(*net.UDPAddr)
	if !ok || local.Port != want.Port {
		return false
	}
	a, b := local.AddrPort().Addr().Unmap(), want.AddrPort().Addr().Unmap()
	if !b.IsValid() || b.IsUnspecified() {
		b = netip.Addr{}
	}
	if a.IsUnspecified() {
		a = netip.Addr{}
	}
	return a == b
}

// openDemux opens the sockets of a listener or a Transport on laddr. It takes over sockets that an
// earlier one left, with the sessions on them. use is called with the demux's lock held and begins
// to use it. Sessions with another cipher or scheduler cannot go on beside the new ones, and end.
func openDemux(
	ctx context.Context, laddr string, o *options, read newReadLoop, use func(d *demux),
) (*demux, error) {
	for {
		before := orphanAt(laddr)
		conns, err := listenSockets(ctx, laddr, o.sockets)
		if err == nil {
			d := newDemux(conns, connOwn, o, read)
			use(d)
			d.start()
			return d, nil
		}
		d := orphanAt(laddr)
		switch {
		case d == nil && before == nil || ctx.Err() != nil:
			return nil, err
		case d == nil:
			continue // closed once the port had been found in use
		case d.reuse(o, use):
			return d, nil
		}
		d.abandon()
		d.awaitGone()
	}
}

// reuse takes the sockets over. It returns false if that is impossible.
func (d *demux) reuse(o *options, use func(d *demux)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.stopping.Load() || d.backlog != nil || d.user == userTransport:
		return false
	case d.sched != o.sched || !d.sealer.same(newSealer(o.block)):
		return false
	}
	atomic.StoreInt64(&d.memory.most, o.maxMemory)
	for _, e := range d.eps {
		e.errors.setHook(o.onSocketError)
	}
	if q := d.strays.Load(); q != nil {
		d.strays.Store(nil) // of the former Transport, which is closed
	}
	use(d)
	d.adopted()
	return true
}

// awaitGone waits until the sockets are closed or taken over.
func (d *demux) awaitGone() {
	orphanage.Lock()
	defer orphanage.Unlock()
	for {
		if _, waits := orphanage.demuxes[d]; !waits {
			return
		}
		orphanage.gone.Wait()
	}
}

// abandon ends all sessions on sockets that only sessions use, resets their peers, and closes the
// sockets.
func (d *demux) abandon() {
	d.mu.Lock()
	if d.stopping.Load() || d.backlog != nil || d.user == userTransport {
		d.mu.Unlock()
		return
	}
	d.user = userAbandoned
	stop := d.unused()
	d.mu.Unlock()
	for s := range d.sessions.all {
		s.abandon()
	}
	if stop {
		d.stop()
	}
}
