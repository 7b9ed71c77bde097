// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// trailTap notes what one side of a pair sends as FEC packets, and loses some.
type trailTap struct {
	mu   sync.Mutex // guards sent
	sent []trailSent
	lose func(sent []trailSent) bool // whether the newest is lost
}

type trailSent struct {
	kind  uint16
	seqid uint32
	group fecGroup
}

func (f *trailTap) watch(n *connPair, s *UDPSession) {
	local := s.LocalAddr().String()
	n.net.SetTap(func(_ time.Time, from, _ net.Addr, payload []byte) (a simAction) {
		if from.String() != local {
			return a
		}
		h, ok := parseFECHeader(payload)
		if !ok || h.kind < fecTypeData || h.kind > fecTypeGroup {
			return a
		}
		g, _, _ := parseFECGroup(payload)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sent = append(f.sent, trailSent{h.kind, h.seqid, g})
		a.Drop = f.lose != nil && f.lose(f.sent)
		return a
	})
}

// kinds returns what was sent, in order: D for data, P for parity.
func (f *trailTap) kinds() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, s := range f.sent {
		if s.kind == fecTypeData {
			b.WriteByte('D')
		} else {
			b.WriteByte('P')
		}
	}
	return b.String()
}

const trailRTT = 100 * time.Millisecond

// trailRun runs f with a pair between groups: the next data packet begins one.
func trailRun(t *testing.T, c Config, f func(t *testing.T, n *connPair)) {
	t.Helper()
	c.Redundancy = RedundancyOff
	pairRun(t, 3, simProfile{Delay: trailRTT / 2}, c, func(t *testing.T, n *connPair) {
		chatter(t, n, 30) // the round trip is known
		time.Sleep(time.Second)
		f(t, n)
	})
}

// trailNext returns the seqid of the next packet that s sends.
func trailNext(s *UDPSession) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turns.encoder.next
}

// stream writes messages with a pause behind each.
func (n *connPair) stream(count int, pause time.Duration) {
	for i := range count {
		if _, err := fmt.Fprintf(n.client, "message %d", i); err != nil {
			n.t.Error(err)
		}
		time.Sleep(pause)
	}
}

// readStream reads the messages of stream.
func (n *connPair) readStream(count int) {
	n.t.Helper()
	for i := range count {
		got, want := string(mustRead(n.t, n.server, 100)), fmt.Sprintf("message %d", i)
		if got != want {
			n.t.Fatalf("%q, want %q", got, want)
		}
	}
}

// At 200 packets a second and more, each parity packet follows a data packet of the next group.
// Below, or to a legacy peer, parity follows its group at once. The first group begins after a
// pause.
func TestFECParityIsSpreadOverTheNextGroup(t *testing.T) {
	for _, tt := range []struct {
		name         string
		data, parity int
		pause        time.Duration
		legacy       bool
		want         string
	}{
		{"500 a second", 4, 2, 2 * time.Millisecond, false, "DDDDPP DDDD DPDPDD DPDPDD"},
		{"200 a second", 4, 2, 5 * time.Millisecond, false, "DDDDPP DDDD DPDPDD DPDPDD"},
		{"1/1", 1, 1, 2 * time.Millisecond, false, "DP D DP DP DP"},
		{"more parity than data", 1, 2, 2 * time.Millisecond, false, "DPP DPP DPP"},
		{"166 a second", 4, 2, 6 * time.Millisecond, false, "DDDDPP DDDDPP DDDDPP"},
		{"legacy", 4, 2, 2 * time.Millisecond, true, "DDDDPP DDDDPP DDDDPP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trailRun(t, fastConfig(tt.data, tt.parity), func(t *testing.T, n *connPair) {
				if tt.legacy {
					legacyParity(n.client, tt.data, tt.parity)
				}
				var f trailTap
				f.watch(n, n.client)
				want := strings.ReplaceAll(tt.want, " ", "")
				count := strings.Count(want, "D")
				go n.stream(count, tt.pause)
				n.readStream(count)
				time.Sleep(time.Second)
				if got := f.kinds(); !strings.HasPrefix(got, want) {
					t.Errorf("%s, want %s and what is held", got, want)
				}
			})
		})
	}
}

// A run of losses that is longer than a group's parity is recovered near the end of the group, and
// where the parity of the one before is sent.
func TestFECSpreadParityOutlastsARunOfLosses(t *testing.T) {
	const run = 5
	for first := range uint32(4) {
		trailRun(t, fastConfig(10, 3), func(t *testing.T, n *connPair) {
			from := trailNext(n.client) + 28 + first
			lost := 0
			f := trailTap{lose: func(sent []trailSent) bool {
				s := sent[len(sent)-1]
				if lost == 0 && (s.kind != fecTypeData || s.seqid != from) || lost == run {
					return false
				}
				lost++
				return true
			}}
			f.watch(n, n.client)
			before := n.client.Stats()
			go n.stream(60, 2*time.Millisecond)
			n.readStream(60)
			after := n.client.Stats()
			f.mu.Lock()
			defer f.mu.Unlock()
			if got := n.server.Stats(); lost != run || got.FECGroupsFailed > 0 ||
				got.FECRecovered < 3 || after.TimeoutRetransmits > before.TimeoutRetransmits {
				t.Errorf("from %d: %d lost, %d groups failed, %d packets recovered",
					first, lost, got.FECGroupsFailed, got.FECRecovered)
			}
		})
	}
}

// If the program pauses, or closes the session, what is held leaves by the time that ends a group.
func TestFECHeldParityLeavesInAPause(t *testing.T) {
	for i, end := range []func(*UDPSession) error{
		nil, (*UDPSession).CloseWrite, (*UDPSession).Close,
	} {
		for extra := range 3 {
			t.Run(fmt.Sprint(i, extra), func(t *testing.T) { trailPause(t, 20+extra, end) })
		}
	}
}

// trailPause sends so many messages, of which the 20th is lost, and then ends the session.
func trailPause(t *testing.T, count int, end func(*UDPSession) error) {
	trailRun(t, fastConfig(10, 3), func(t *testing.T, n *connPair) {
		from := trailNext(n.client)
		f := trailTap{lose: func(sent []trailSent) bool {
			s := sent[len(sent)-1]
			return s.kind == fecTypeData && s.seqid == from+19
		}}
		f.watch(n, n.client)
		start := time.Now()
		go func() {
			n.stream(count, time.Millisecond)
			if end != nil {
				_ = end(n.client)
			}
		}()
		n.readStream(count)
		most := 85*time.Millisecond + time.Duration(count)*time.Millisecond
		if took := time.Since(start); took > most {
			t.Errorf("the lost one took %v", took)
		}
		if end != nil {
			if _, err := n.server.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
		}
		time.Sleep(2 * time.Minute)
		parity := 0
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range f.sent {
			if s.kind == fecTypeGroup && s.group.first == from+10 {
				parity++
			}
		}
		if parity != 3 {
			t.Errorf("%d parity packets of the second group, want 3", parity)
		}
		n.client.mu.Lock()
		defer n.client.mu.Unlock()
		if e := n.client.turns.encoder; e != nil && e.trail.left() > 0 {
			t.Errorf("%d parity packets are held", e.trail.left())
		}
	})
}

// trailFill encodes a group that comes so fast that its parity is held, and returns its packets.
func trailFill(t testing.TB, e *fecEncoder, payload []byte) (data [][]byte) {
	t.Helper()
	for range e.shape.data {
		packet := append(make([]byte, fecHeaderSize), payload...)
		ready := e.encode(packet, 0)
		for range e.due(ready, 0) {
			e.trail.take()
		}
		e.hold(0)
		data = append(data, packet)
	}
	return data
}

// What is held leaves when its time has come even if the group stays open, and is dropped when
// nothing is left to be protected.
func TestFECHeldParityLeavesAnOpenGroup(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, tt := range []struct {
		paused, acked bool
		want          groupEnding
		left          int
	}{
		{false, false, groupYields, 3}, {true, false, groupCloses, 3}, {true, true, groupStays, 0},
	} {
		e := namedEncoder(t, 10, 3)
		trailFill(t, e, namedPayload(r, 100))
		trailFill(t, e, namedPayload(r, 100))
		u := turns{encoder: e}
		u.makePlan()
		u.keepOpen(50)
		if got := u.closing(49, tt.paused, tt.acked); got != groupStays || e.idle() {
			t.Errorf("too early: %d, idle %v", got, e.idle())
		}
		if got := u.closing(50, tt.paused, tt.acked); got != tt.want || e.trail.left() != tt.left {
			t.Errorf("%+v: %d, %d held", tt, got, e.trail.left())
		}
		e.release()
	}
}

// Held parity stays what it was if the groups change, and belongs to the encoder's memory.
func TestFECHeldParityOutlastsAChangeOfShape(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, next := range [][2]int{{3, 1}, {20, 5}, {2, 2}} {
		e, d := namedEncoder(t, 10, 3), namedDecoder(t)
		payload := namedPayload(r, 100)
		for _, packet := range trailFill(t, e, payload) {
			d.input(packet)
		}
		group := trailFill(t, e, payload)
		for _, packet := range group[3:] {
			d.input(packet)
		}
		if err := e.setShards(next[0], next[1]); err != nil {
			t.Fatal(err)
		}
		packet := append(make([]byte, fecHeaderSize), payload...)
		for e.trail.left() > 0 {
			e.encode(packet, 0)
			held, _ := e.trail.take()
			d.input(held)
		}
		if got := d.stats(); got.packets != 3 || got.errors > 0 {
			t.Errorf("%v: %+v", next, got)
		}
		most := 2 * (3 + next[1]) * 2 * fecMinParityBuffer
		for range 4 {
			trailFill(t, e, payload)
		}
		if got := e.memory(); got == 0 || got > most {
			t.Errorf("%v: %d bytes of buffers, want at most %d", next, got, most)
		}
		e.release()
		if got := e.memory(); got != 0 || !e.idle() {
			t.Errorf("%v: %d bytes after a release", next, got)
		}
		d.release()
	}
}

func TestFECHeldParityAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	e := namedEncoder(t, 10, 3)
	packet := append(make([]byte, fecHeaderSize), namedPayload(r, 1000)...)
	sent := 0
	step := func() {
		for range e.due(e.encode(packet, 0), 0) {
			e.trail.take()
			sent++
		}
		e.hold(0)
	}
	for range 100 {
		step()
	}
	if got := testing.AllocsPerRun(3000, step); got > 0 {
		t.Errorf("%v allocations a packet", got)
	}
	if sent < 900 {
		t.Errorf("%d parity packets were held and sent", sent)
	}
	e.release()
}
