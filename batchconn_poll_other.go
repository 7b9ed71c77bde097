// SPDX-License-Identifier: MIT

//go:build kcpbasic || (!linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd)

package kcp

import (
	"errors"
	"net"
)

// pollEvents is how many sockets a call reports at most.
const pollEvents = 1

// A pollSet does not exist on this system: each socket has a goroutine.
type pollSet struct{}

func newPollSet() (*pollSet, error) { return nil, errors.ErrUnsupported }

func (*pollSet) add(net.PacketConn, uint64) error { return errors.ErrUnsupported }

func (*pollSet) awaitEdge(net.PacketConn, uint64) error { return errors.ErrUnsupported }

func (*pollSet) remove(net.PacketConn) error { return errors.ErrUnsupported }

func (*pollSet) wait(*[pollEvents]uint64) (int, error) { return 0, errors.ErrUnsupported }

func (*pollSet) close() {}
