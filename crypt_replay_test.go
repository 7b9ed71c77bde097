// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"
)

// A session's packets, replayed from another address or after its end, open no session. During its
// life they deliver nothing twice.
func TestReplayedPacketsOpenNothing(t *testing.T) {
	for name, c := range replayConfigs(t) {
		for _, old := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " old ", old), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					var rec recorder
					w.setDrop(rec.tap)
					l := w.serve(c)
					client := w.dialFrom(restartAddr, 77, c)
					if old {
						marksOff(client)
					}
					t.Log("# a session sends data and out-of-band packets")
					server := w.join(client, l)
					var inbox oobInbox
					_ = server.SetOOBHandler(inbox.handle)
					connWrite(t, client, string(pattern(50_000, 1)))
					connWantRead(t, server, string(pattern(50_000, 1)))
					for range 3 {
						if err := client.SendOOB([]byte("once")); err != nil {
							t.Fatal(err)
						}
					}
					if n := len(inbox.take()); n != 3 {
						t.Errorf("%d out-of-band packets arrived, want 3", n)
					}
					sent := rec.from(restartAddr)
					conn := l.demux.eps[0].conn.(*simEndpoint)
					elsewhere := &net.UDPAddr{IP: net.IPv4(10, 9, 9, 9), Port: 9}
					again := func(from net.Addr) {
						for _, p := range sent {
							conn.put(p, from)
						}
						time.Sleep(time.Second)
					}
					t.Log("# its packets are replayed while it lives")
					before := server.Stats()
					again(elsewhere)
					again(client.LocalAddr())
					if n := len(inbox.take()); n != 0 {
						t.Errorf("%d out-of-band packets were delivered again", n)
					}
					if st := server.Stats(); st.BytesReceived != before.BytesReceived {
						t.Errorf("%d bytes were delivered again",
							st.BytesReceived-before.BytesReceived)
					}
					mustReadNothing(t, server)
					if n := l.Stats().Sessions; n != 1 {
						t.Errorf("%d sessions, want 1", n)
					}
					t.Log("# it ends, and its packets are replayed once its record has expired")
					client.SetLinger(0)
					server.SetLinger(0)
					client.Close()
					server.Close()
					time.Sleep(time.Duration(timeWaitLongest) * time.Millisecond)
					again(client.LocalAddr())
					again(elsewhere)
					if n := l.Stats().Sessions; n != 0 {
						t.Errorf("%d sessions opened from packets of one that has ended", n)
					}
				})
			})
		}
	}
}

// A side drops its own packets when they are reflected: before its peer has sent anything, during
// the session and after.
func TestReflectedPacketsDeliverNothing(t *testing.T) {
	for name, c := range replayConfigs(t) {
		for _, old := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " old ", old), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					l := w.serve(c)
					server := l.demux.eps[0].conn.(*simEndpoint)
					var rec recorder
					var client *UDPSession
					w.setDrop(func(from, to string, payload []byte) bool {
						rec.tap(from, to, payload)
						if client == nil {
							return false
						}
						// At once, before the true packet or any answer arrives.
						if from == restartAddr {
							endpointOf(client).conn.(*simEndpoint).put(payload, l.Addr())
						} else {
							server.put(payload, client.LocalAddr())
						}
						return false
					})
					s := w.dialFrom(restartAddr, 77, c)
					if old {
						marksOff(s)
					}
					client = s
					handler := func(p []byte) { t.Errorf("out of band came %q", p) }
					_ = client.SetOOBHandler(handler)
					up, down := string(pattern(30_000, 1)), string(pattern(20_000, 2))
					connWrite(t, client, up)
					accepted := w.accept(l)
					connWantRead(t, accepted, up)
					_ = client.SendOOB([]byte("for the server"))
					connWrite(t, accepted, down)
					connWantRead(t, client, down)
					for _, p := range rec.from(restartAddr) {
						endpointOf(client).conn.(*simEndpoint).put(p, l.Addr())
					}
					for _, p := range rec.from(connServerAddr) {
						server.put(p, client.LocalAddr())
					}
					time.Sleep(time.Minute)
					a, b := client.Stats().BytesReceived, accepted.Stats().BytesReceived
					if a != uint64(len(down)) || b != uint64(len(up)) {
						t.Errorf("%d and %d bytes were received, want %d and %d",
							a, b, len(down), len(up))
					}
					mustReadNothing(t, client)
					mustReadNothing(t, accepted)
					if connEnded(client) || connEnded(accepted) || l.Stats().Sessions != 1 {
						t.Error("a session has ended, or another begun")
					}
				})
			})
		}
	}
}

func TestNonceSetRemembersTheNewest(t *testing.T) {
	var s nonceSet
	nonce := func(i int) []byte {
		return binary.LittleEndian.AppendUint64(make([]byte, 4, 12), uint64(i))
	}
	const n = 3 * nonceSlots
	for i := range n {
		if s.has(nonce(i)) || s.add(nonce(i)) {
			t.Fatalf("nonce %d was there", i)
		}
		if !s.add(nonce(i)) {
			t.Fatalf("nonce %d was not kept", i)
		}
	}
	for i := n - nonceSlots/4*3; i < n; i++ {
		if !s.has(nonce(i)) {
			t.Fatalf("nonce %d of %d is forgotten", i, n)
		}
	}
	if s.has(nonce(0)) || len(s.newer) > nonceSlots || len(s.older) > nonceSlots {
		t.Errorf("the first is kept, or %d and %d slots", len(s.newer), len(s.older))
	}
}

// memory returns the number of slots that the sets hold.
func (g *replayGuard) memory() (slots int) {
	for _, s := range []*nonceSet{&g.openers, &g.oob, &g.sent} {
		s.mu.Lock()
		slots += len(s.newer) + len(s.older)
		s.mu.Unlock()
	}
	return slots
}

// Sets with a budget share it, whatever their number. Together they stay inside it, each keeps what
// it can, and slots that one returns are available to others.
func TestNonceSetsShareABudget(t *testing.T) {
	nonce := make([]byte, 12)
	fill := func(g *replayGuard, n int) {
		for i := range n {
			binary.LittleEndian.PutUint64(nonce, uint64(i))
			g.sent.add(nonce)
		}
	}
	b := &nonceBudget{slots: 1 << 14}
	guards := make([]replayGuard, 30)
	for i := range guards {
		guards[i].share(b)
	}
	fill(&guards[0], 1<<14)
	alone := guards[0].memory()
	if alone < 1<<12 {
		t.Errorf("one set alone has %d slots of %d", alone, b.slots)
	}
	for range 3 {
		for i := range guards {
			fill(&guards[i], 1<<12)
		}
	}
	sum, least := 0, 1<<20
	for i := range guards {
		sum, least = sum+guards[i].memory(), min(least, guards[i].memory())
		last := 1<<12 - nonceSlotsFirst/4*3
		binary.LittleEndian.PutUint64(nonce, uint64(last))
		if !guards[i].sent.has(nonce) {
			t.Fatalf("set %d of %d slots has forgotten nonce %d", i, guards[i].memory(), last)
		}
	}
	t.Logf("%d slots alone; %d of %d in %d sets, %d at least",
		alone, sum, b.slots, len(guards), least)
	if sum != int(b.used.Load()) || sum > int(b.slots)+len(guards)*2*nonceSlotsFirst {
		t.Errorf("%d slots are used, %d in the budget of %d", sum, b.used.Load(), b.slots)
	}
	for i := range guards[1:] {
		guards[1+i].release()
	}
	fill(&guards[0], 1<<14)
	if n := guards[0].memory(); n < alone {
		t.Errorf("the last set has %d slots, %d when it was alone", n, alone)
	}
	guards[0].release()
	fill(&guards[0], 1<<12)
	if n := b.used.Load(); n != 0 || guards[0].memory() != 0 {
		t.Errorf("%d slots are used when all have been given back", n)
	}
}

// Sessions dialled to peers without marks return the slots of their nonces when they end.
func TestDialledSessionsGiveNoncesBack(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		c := replayConfigs(t)["AES-GCM"]
		l := w.serve(c)
		before := dialledNonces.used.Load()
		var clients []*UDPSession
		for range 5 {
			client := w.dial(c)
			marksOff(client)
			server := w.join(client, l)
			sendAcross(t, client, server, pattern(500_000, 1))
			clients = append(clients, client)
		}
		grown := dialledNonces.used.Load() - before
		if grown < 5*nonceSlotsFirst {
			t.Errorf("%d slots are in the budget", grown)
		}
		for _, client := range clients {
			client.SetLinger(0)
			client.Close()
		}
		time.Sleep(time.Minute)
		if n := dialledNonces.used.Load() - before; n != 0 {
			t.Errorf("%d slots are still in the budget", n)
		}
	})
}

// The sockets that the library opens for dialled sessions have no memory for nonces of their own.
func TestDialledSocketsShareTheBudgetForNonces(t *testing.T) {
	connCheckLeaks(t)
	block := replayConfigs(t)["AES-GCM"].BlockCrypt
	for name, dial := range map[string]func() (*UDPSession, error){
		"DialWithOptions": func() (*UDPSession, error) {
			return DialWithOptions("127.0.0.1:9", block, 0, 0)
		},
		"Config.Dial": func() (*UDPSession, error) {
			return (&Config{BlockCrypt: block}).Dial(t.Context(), "127.0.0.1:9")
		},
		"SharedSocket": func() (*UDPSession, error) {
			c := &Config{BlockCrypt: block, SharedSocket: true}
			return c.Dial(t.Context(), "127.0.0.1:9")
		},
	} {
		s, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		g := &endpointOf(s).demux.replay
		for _, set := range []*nonceSet{&g.openers, &g.oob, &g.sent} {
			if set.budget != &dialledNonces {
				t.Errorf("%s: a set of nonces has memory of its own", name)
			}
		}
		s.Close()
	}
}

// BenchmarkReplayGuard measures the cost of the guard per packet.
func BenchmarkReplayGuard(b *testing.B) {
	nonce := make([]byte, 12)
	b.Run("remember", func(b *testing.B) {
		var s nonceSet
		b.ReportAllocs()
		for i := uint64(0); b.Loop(); i++ {
			binary.LittleEndian.PutUint64(nonce, i)
			s.add(nonce)
		}
	})
	b.Run("look up", func(b *testing.B) {
		var s nonceSet
		for i := range uint64(nonceSlots / 2) {
			binary.LittleEndian.PutUint64(nonce, i)
			s.add(nonce)
		}
		b.ReportAllocs()
		for i := uint64(0); b.Loop(); i++ {
			binary.LittleEndian.PutUint64(nonce, i|1<<40)
			s.has(nonce)
		}
	})
	b.Run("marked", func(b *testing.B) {
		var (
			s UDPSession
			p packet
		)
		s.core.ctl.marking = markRole
		b.ReportAllocs()
		for b.Loop() {
			s.reflectedLocked(&p, nonce)
		}
	})
}
