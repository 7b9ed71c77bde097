// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
)

func tableSession(i int) *UDPSession {
	addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	peer := peerAddr{udp: netip.AddrPortFrom(addr, uint16(i))}
	return &UDPSession{peer: peer, conv: uint32(i % 7)}
}

func TestSessionTableFindsWhatIsInIt(t *testing.T) {
	for _, key := range []tableKey{keySession, keyPeer} {
		table := sessionTable{key: key}
		in := make(map[int]*UDPSession)
		r := rand.New(rand.NewPCG(1, 2))
		for step := range 20000 {
			i := r.IntN(500)
			if step > 10000 {
				i = r.IntN(20) // most of them go for good
			}
			s := in[i]
			probe := tableSession(i)
			if got := table.find(&probe.peer, probe.conv); got != s {
				t.Fatalf("step %d: found %p, want %p", step, got, s)
			}
			switch {
			case s == nil:
				in[i] = probe
				table.add(probe)
			case r.IntN(4) == 0:
				in[i] = probe
				if !table.replace(s, probe) {
					t.Fatalf("step %d: not replaced", step)
				}
			default:
				delete(in, i)
				if !table.remove(s) || table.remove(s) {
					t.Fatalf("step %d: not removed once", step)
				}
			}
			if table.live != len(in) {
				t.Fatalf("step %d: %d live, want %d", step, table.live, len(in))
			}
		}
		seen := 0
		for s := range table.all {
			seen++
			if table.find(&s.peer, s.conv) != s {
				t.Error("all yields what is not found")
			}
		}
		if seen != len(in) {
			t.Errorf("all yields %d sessions, want %d", seen, len(in))
		}
	}
}

// An array is released when most of its sessions are gone.
func TestSessionTableShrinks(t *testing.T) {
	var table sessionTable
	var all []*UDPSession
	for i := range 10000 {
		all = append(all, tableSession(i))
		table.add(all[i])
	}
	if size := table.slots.Load().len(); size < 10000 || size > 40000 {
		t.Errorf("%d slots for 10000 sessions", size)
	}
	for _, s := range all[100:] {
		table.remove(s)
	}
	if size := table.slots.Load().len(); size > 1000 {
		t.Errorf("%d slots for 100 sessions", size)
	}
	for _, s := range all[:100] {
		if table.find(&s.peer, s.conv) != s {
			t.Fatal("a session is lost")
		}
		table.remove(s)
	}
	if table.slots.Load() != nil {
		t.Error("an empty table keeps its array")
	}
}

// Sessions that stay are found at any time, while others come and go and the table is moved.
func TestSessionTableIsReadWithoutALock(t *testing.T) {
	var table sessionTable
	for i := range 100 {
		table.add(tableSession(i))
	}
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				for i := range 100 {
					want := tableSession(i)
					if s := table.find(&want.peer, want.conv); s == nil || s.peer != want.peer {
						t.Error("a session is not found")
						return
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 5 {
		var others []*UDPSession
		for i := 100; i < 2000; i++ {
			others = append(others, tableSession(i))
			table.add(others[i-100])
		}
		for _, s := range others {
			table.remove(s)
		}
	}
	close(done)
	readers.Wait()
}

func TestPeerHashesDiffer(t *testing.T) {
	seen := make(map[uint32]int)
	for i := range 20000 {
		s := tableSession(i)
		seen[s.peer.hash(s.conv)]++
	}
	if len(seen) < 19990 {
		t.Errorf("%d hashes of 20000 names", len(seen))
	}
	a, b := peerAddr{custom: "mem|a"}, peerAddr{custom: "mem|b"}
	if a.hash(1) == b.hash(1) || a.hash(1) == a.hash(2) {
		t.Error("custom addresses share a hash")
	}
}

// A peer whose packets arrive on another socket of the same port is found.
func TestSessionsAreFoundFromEverySocket(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		toClient := func([]byte) {}
		var doors []*memConn
		for range 3 {
			send := func(data []byte, _ net.Addr) { toClient(data) }
			doors = append(doors, newMemConn(memAddr("server"), send))
		}
		next := 0
		client := newMemConn(memAddr("client"), func(data []byte, _ net.Addr) {
			next++
			doors[next%len(doors)].put(data, memAddr("client"))
		})
		toClient = func(data []byte) { client.put(data, memAddr("server")) }
		d := newDemux([]net.PacketConn{doors[0], doors[1], doors[2]}, connOwn,
			w.options(Config{}), newIngress)
		l := serveOn(d, w.options(Config{}))
		w.listeners = append(w.listeners, l)
		s := w.dialOver(client, true, memAddr("server"), 1, Config{})
		connWrite(t, s, "first")
		server := w.accept(l)
		connWantRead(t, server, "first")
		for range 20 {
			connWrite(t, s, "again")
			connWantRead(t, server, "again")
			connWrite(t, server, "answer")
			connWantRead(t, s, "answer")
		}
		if st := d.sessions.live; st != 1 {
			t.Errorf("%d sessions, want 1", st)
		}
	})
}
