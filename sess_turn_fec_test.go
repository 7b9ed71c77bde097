// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fecTap notes the FEC packets that one side of a pair sends, and loses data packets with the given
// seqids. It is safe for concurrent use.
type fecTap struct {
	mu    sync.Mutex // guards what follows
	lost  []uint32
	noted fecNoted
}

type fecNoted struct {
	data, groups, implied int
	named                 []fecGroup
	at                    []time.Duration // when each of named was sent
}

// seen returns what has been noted so far.
func (f *fecTap) seen() fecNoted {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.noted
}

func (f *fecTap) lose(seqids ...uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = seqids
}

func (f *fecTap) watch(n *connPair, s *UDPSession) {
	local, start := s.LocalAddr().String(), time.Now()
	n.net.SetTap(func(_ time.Time, from, _ net.Addr, payload []byte) (a simAction) {
		if from.String() != local || len(payload) < fecHeaderSize {
			return a
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		seen := &f.noted
		h, _ := parseFECHeader(payload)
		switch h.kind {
		case fecTypeData:
			seen.data++
			a.Drop = slices.Contains(f.lost, h.seqid)
		case fecTypeParity:
			seen.implied++
		case fecTypeGroup:
			g, _, ok := parseFECGroup(payload)
			if seen.groups++; !ok {
				n.t.Errorf("a malformed packet %x", payload)
			}
			seen.named, seen.at = append(seen.named, g), append(seen.at, time.Since(start))
		}
		return a
	})
}

// A group is closed soon after the program pauses. A packet of it that was lost arrives before it
// would be sent again.
func TestFECGroupsCloseWhenTheProgramPauses(t *testing.T) {
	p := simProfile{Delay: 50 * time.Millisecond}
	pairRun(t, 1, p, fastConfig(10, 3), func(t *testing.T, n *connPair) {
		chatter(t, n, 30) // the round trip is known
		var f fecTap
		f.watch(n, n.client)
		before := n.client.Stats()
		for _, count := range []int{3, 1, 10, 7} {
			time.Sleep(300 * time.Millisecond)
			synctest.Wait()
			named, next := len(f.seen().named), n.client.turns.encoder.next
			f.lose(next)
			start := time.Now()
			for range count {
				mustWrite(t, n.client, []byte("a message"))
			}
			mustRead(t, n.server, 100)
			if took := time.Since(start); took > 70*time.Millisecond {
				t.Errorf("the lost one of %d messages took %v", count, took)
			}
			for range count - 1 {
				mustRead(t, n.server, 100)
			}
			synctest.Wait()
			parity := f.seen().named[named:]
			if want := []int{0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3}[count]; len(parity) != want {
				t.Errorf("%d parity packets for %d messages, want %d", len(parity), count, want)
			}
			for _, g := range parity {
				if g.first != next || int(g.k) != count {
					t.Errorf("parity of %d packets from %d on, want %d from %d on",
						g.k, g.first, count, next)
				}
			}
		}
		synctest.Wait()
		after := n.client.Stats()
		if n.server.Stats().FECRecovered < 4 || f.seen().implied > 0 ||
			after.TimeoutRetransmits > before.TimeoutRetransmits+1 {
			t.Errorf("%d recovered, %d retransmitted by timeout, %d implied",
				n.server.Stats().FECRecovered,
				after.TimeoutRetransmits-before.TimeoutRetransmits, f.seen().implied)
		}
	})
}

// A session that has nothing to protect closes no group, and wakes no more.
func TestFECGroupsOfAcknowledgedDataStayOpen(t *testing.T) {
	pairRun(t, 1, simProfile{Delay: time.Millisecond}, fastConfig(10, 3),
		func(t *testing.T, n *connPair) {
			chatter(t, n, 20)
			time.Sleep(time.Second)
			var f fecTap
			f.watch(n, n.client)
			mustWrite(t, n.client, []byte("a message"))
			mustRead(t, n.server, 100)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if f.seen().groups > 1 {
				t.Errorf("%d parity packets", f.seen().groups)
			}
			n.client.mu.Lock()
			defer n.client.mu.Unlock()
			if at := n.client.turns.closeEvent(); at != never {
				t.Errorf("a group is to be closed at %d", at)
			}
		})
}

// legacyParity makes a session send parity as to a peer that does not read named groups.
func legacyParity(s *UDPSession, data, parity int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.ctl.peerFlags &^= helloGroups
	if s.turns.encoder != nil {
		s.turns.encoder.release()
	}
	s.turns.encoder, _ = newFECEncoder(data, parity)
}

// Towards a peer that does not read it, no parity names its group.
func TestFECGroupsAreNotNamedToLegacyPeers(t *testing.T) {
	pairRun(t, 3, simProfile{Delay: 10 * time.Millisecond}, fastConfig(3, 1),
		func(t *testing.T, n *connPair) {
			legacyParity(n.client, 3, 1)
			var f fecTap
			f.watch(n, n.client)
			for range 31 {
				mustWrite(t, n.client, []byte("a message"))
				mustRead(t, n.server, 100)
				time.Sleep(50 * time.Millisecond)
			}
			synctest.Wait()
			if seen := f.seen(); seen.groups > 0 || seen.implied < 8 {
				t.Errorf("%d named and %d implied parity packets", seen.groups, seen.implied)
			}
		})
}
