// SPDX-License-Identifier: MIT

package kcp

import "time"

// sendTurns tells the packets apart that were laid out before some moment and those after it, for who has to wait until
// the former are out. The session's lock guards it.
//
// There are two groups. What is laid out joins the current one; who waits makes the other one current, which is empty
// then, so that a stream of new packets cannot make the wait last.
type sendTurns struct {
	under   [2]int32 // packets' batches of each group that are not out yet
	current sendTurn
	drained chan struct{} // closed when the group that is not current is empty; nil if it is
}

type sendTurn uint8

// begin is called when packets have been laid out; end with its result when they are out.
func (t *sendTurns) begin() sendTurn {
	t.under[t.current]++
	return t.current
}

func (t *sendTurns) end(turn sendTurn) {
	if t.under[turn]--; t.under[turn] == 0 && turn != t.current && t.drained != nil {
		close(t.drained)
		t.drained = nil
	}
}

// split returns what is closed when all that is laid out now is out, or nil. ours is false if it was asked for by an
// earlier call, so that it does not cover all.
func (t *sendTurns) split() (drained chan struct{}, ours bool) {
	switch {
	case t.drained != nil:
		return t.drained, false
	case t.under[t.current] == 0:
		return nil, true
	}
	t.drained = make(chan struct{})
	t.current ^= 1
	return t.drained, true
}

// sendPatience bounds the wait for packets that are being sent: only the packet connection of a user can take as long.
const sendPatience = time.Second

// awaitSends waits until the packets that have been laid out are out.
func (s *UDPSession) awaitSends() {
	patience := time.NewTimer(sendPatience)
	defer patience.Stop()
	// The second wait, if any, is for a split that was made after the call, by whomever.
	for range 2 {
		s.mu.Lock()
		drained, ours := s.sends.split()
		s.mu.Unlock()
		if drained == nil {
			break
		}
		select {
		case <-drained:
		case <-patience.C:
			return
		}
		if ours {
			break
		}
	}
	if s.ep.out == nil {
		return
	}
	select {
	case <-s.ep.out.written():
	case <-patience.C:
	}
}

// scaleRate tells the rate limit what leaves for each byte of a segment. The lock is held.
func (s *UDPSession) scaleRate() {
	if s.core.rate.rate == 0 {
		return
	}
	scale := int64(1000)
	if k, p := int64(s.fecActive.data), int64(s.fecActive.parity); k > 0 {
		scale = scale * (k + p) / k
	}
	s.core.rate.scale = scale * int64(1+s.dup.Load())
}

// parityShare is how much of an FEC group counts against the rate limit. Its parity does in proportion, so that a
// session that mostly acknowledges is not held back by the parity of its acknowledgements.
type parityShare struct{ packets, limited int }

func (g *parityShare) count(p span) {
	g.packets++
	if p.limited > 0 {
		g.limited++
	}
}

// of returns the share of a parity packet of that size.
func (g *parityShare) of(size int) int { return size * g.limited / max(1, g.packets) }
