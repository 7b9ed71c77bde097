// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// gsoAvoided is the number of peers that are remembered. A forgotten peer costs one more
	// refused call.
	gsoAvoided = 64
	// gsoRetry is when they are tried again. The kernel forgets a path MTU after the same time
	// (net.ipv4.route.mtu_expires).
	gsoRetry = 10 * time.Minute
	// gsoRefusals is how many refused runs in a row, to peers not known before, show that the
	// peers' paths are not the cause.
	gsoRefusals = 16
)

// gsoState decides whether runs of datagrams are sent in one piece. Some errors mean that the
// system or the device cannot do that at all. Others also come from a path whose MTU is smaller
// than a datagram of the run, so that only fragments pass. Any peer can cause them for its own
// path, which must not slow down others. gsoState is safe for concurrent use.
type gsoState struct {
	on       atomic.Bool
	refusals atomic.Int32 // runs refused since the last one that was accepted
	seed     maphash.Seed
	epoch    time.Time
	retryAt  atomic.Int64 // nanoseconds after epoch when avoid is emptied; 0 while it is empty
	avoid    atomic.Pointer[gsoAvoid]
}

// gsoAvoid remembers peers. Few sockets need it.
type gsoAvoid [gsoAvoided]atomic.Uint64

func (g *gsoState) init(on bool) {
	g.seed, g.epoch = maphash.MakeSeed(), time.Now()
	g.on.Store(on)
}

func (g *gsoState) enabled() bool { return g.on.Load() }

func (g *gsoState) disable() { g.on.Store(false) }

// segments returns how many datagrams a message to this peer may hold.
func (g *gsoState) segments(to netip.Addr) int {
	if !g.on.Load() {
		return 1
	}
	retryAt := g.retryAt.Load()
	if retryAt == 0 {
		return maxRunSegments
	}
	avoid := g.avoid.Load()
	key, slot := g.slot(to)
	if avoid == nil || avoid[slot].Load() != key {
		return maxRunSegments
	}
	if int64(time.Since(g.epoch)) < retryAt {
		return 1
	}
	g.retryAt.Store(0)
	for i := range avoid {
		avoid[i].Store(0)
	}
	return maxRunSegments
}

// accepted records a run that the kernel has taken.
func (g *gsoState) accepted() {
	if g.refusals.Load() != 0 {
		g.refusals.Store(0)
	}
}

// refused records a run that the kernel refused with errno, although its datagrams were sent one by
// one.
func (g *gsoState) refused(to netip.Addr, errno syscall.Errno) {
	switch errno {
	case unix.EIO, unix.EOPNOTSUPP, unix.ENOPROTOOPT:
		g.disable()
	case unix.EINVAL, unix.EMSGSIZE:
		if g.refusals.Add(1) >= gsoRefusals {
			g.disable()
			return
		}
		if g.avoid.Load() == nil {
			g.avoid.CompareAndSwap(nil, new(gsoAvoid))
		}
		key, slot := g.slot(to)
		g.avoid.Load()[slot].Store(key)
		g.retryAt.CompareAndSwap(0, int64(time.Since(g.epoch)+gsoRetry))
	}
}

// slot returns where `to` is remembered, and the value for it, which is never 0.
func (g *gsoState) slot(to netip.Addr) (key, slot uint64) {
	address := to.As16()
	key = maphash.Bytes(g.seed, address[:])
	return key | 1, key >> 1 % gsoAvoided
}
