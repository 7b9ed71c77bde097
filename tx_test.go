// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
)

// scriptedOwner lays out the packets of a list of turns, each of equal datagrams, and records
// what is asked of it.
type scriptedOwner struct {
	turns  []scriptedTurn
	locked bool
	asked  int
	sent   []int // datagrams of each turn that has ended
}

type scriptedTurn struct{ packets, size, copies int }

func (o *scriptedOwner) lock() { o.locked = true }

func (o *scriptedOwner) unlockAndBeginTurn(t *turn, _ instant, w *packetWriter,
	_ *counters) (need int) {
	if !o.locked {
		panic("a turn is begun without the lock")
	}
	o.locked = false
	o.asked++
	if len(o.turns) == 0 {
		return 0
	}
	next := o.turns[0]
	w.headroom, w.tailroom, w.limit = 0, 0, next.size
	w.packets, w.maxPackets, w.shares = w.packets[:0], next.packets, false
	if size := next.packets * next.size; len(w.arena)-w.start < size {
		return size
	}
	for range next.packets {
		w.next(next.size)
		w.finish()
	}
	o.turns = o.turns[1:]
	t.owner, t.sealer, t.copies, t.dup = o, newSealer(nil), next.copies, next.copies
	t.to = netip.MustParseAddrPort("10.0.0.1:1")
	return 0
}

func (o *scriptedOwner) endTurn(t *turn) (again bool) {
	o.sent = append(o.sent, t.packets)
	return len(o.turns) > 0
}

// nullIO takes every batch, or loses it.
type nullIO struct {
	batchConn
	err   error
	calls int
}

func (c *nullIO) maxRun() (bytes, segments int) { return 60000, 64 }

func (c *nullIO) writeBatch(p []outgoing) (sent, lost int, err error) {
	c.calls++
	if n := datagramsFrom(p, 0, 0); c.err != nil {
		return 0, n, c.err
	} else {
		return n, 0, nil
	}
}

// An owner has turns as long as it asks for them, room for what it needs, and an end of each
// whatever the socket does.
func TestTurnsOfAnOwner(t *testing.T) {
	for _, tt := range []struct {
		name  string
		turns []scriptedTurn
		err   error
		sent  []int
		asked int // times
		calls int
		lost  uint64
	}{
		{"nothing to send", nil, nil, nil, 1, 0, 0},
		{"one turn", []scriptedTurn{{3, 100, 0}}, nil, []int{3}, 1, 1, 0},
		{"another turn behind it", []scriptedTurn{{3, 100, 0}, {2, 50, 0}}, nil,
			[]int{3, 2}, 2, 2, 0},
		{"copies count", []scriptedTurn{{3, 100, 2}}, nil, []int{9}, 1, 1, 0},
		{"more room than an arena has", []scriptedTurn{{400, 1000, 0}}, nil, []int{400}, 2, 1, 0},
		{"the socket refuses", []scriptedTurn{{3, 100, 0}}, errors.New("refused"),
			[]int{3}, 1, 1, 3},
	} {
		sched := NewTimedSched(1)
		io := &nullIO{err: tt.err}
		var k txSocket
		k.init(io, sched, nil)
		o := &scriptedOwner{turns: tt.turns}
		var tx txScratch
		tx.flush(&k, o)
		tx.finish()
		sched.Close()
		if !slices.Equal(o.sent, tt.sent) || o.asked != tt.asked || io.calls != tt.calls ||
			k.errors.lost.Load() != tt.lost {
			t.Errorf("%s: %v sent, asked %d times, %d batches, %d lost; want %v, %d, %d, %d",
				tt.name, o.sent, o.asked,
				io.calls, k.errors.lost.Load(), tt.sent, tt.asked, tt.calls, tt.lost)
		}
		if len(tx.turns) != 0 || len(tx.batch) != 0 || o.locked {
			t.Errorf("%s: %d turns and %d messages are left, the lock is held: %v",
				tt.name, len(tx.turns), len(tx.batch), o.locked)
		}
	}
}
