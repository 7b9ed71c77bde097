// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// crowdedRig returns a listener with many sessions that share one address, and its reader.
func crowdedRig(t *testing.T, sessions int) (r *reader, from netip.AddrPort) {
	t.Helper()
	conn := discardConn{newMemConn(memAddr("server"), nil)}
	l, err := (&Config{AcceptBacklog: 1 << 20, MaxPending: sessions}).Serve(conn)
	if err != nil {
		t.Fatal(err)
	}
	r = newReader(l.demux.eps[0])
	from = netip.MustParseAddrPort("192.0.2.1:1000")
	for i := range sessions {
		b := forge(t, Config{}, segment{conv: uint32(i), cmd: cmdPush, wnd: 128, data: []byte("x")},
			helloFrom(uint32(i), 99, 0, helloShared))
		feedFrom(r, from, b)
	}
	if n := l.demux.sessions.live; n != sessions {
		t.Fatalf("%d sessions, want %d", n, sessions)
	}
	t.Cleanup(func() {
		l.Close()
		r.release()
	})
	return r, from
}

// feedFrom feeds one datagram.
func feedFrom(r *reader, from netip.AddrPort, b []byte) {
	msgs := []received{{buf: b, n: len(b), from: from}}
	r.batch(msgs)
}

// A datagram of an unknown peer costs as much among many sessions of one address as beside a single
// one. This holds for every kind of datagram, challenged ones too.
func TestStrangersCostTheSameAmongManySessions(t *testing.T) {
	many := 10_000
	if raceDetector {
		many = 2000
	}
	alone, from := crowdedRig(t, 1)
	crowd, _ := crowdedRig(t, many)
	const conv = 1 << 30
	for name, s := range map[string][]segment{
		"opener, challenged": {{conv: conv, cmd: cmdPush, wnd: 128, data: []byte("x")}},
		"sharing opener": {{conv: conv, cmd: cmdPush, wnd: 128, data: []byte("x")},
			helloFrom(conv, 5, 0, helloShared)},
		"PUSH that begins nothing": {
			{conv: conv, cmd: cmdPush, wnd: 128, sn: 100, data: []byte("x")},
		},
		"ACK":  {{conv: conv, cmd: cmdAck, wnd: 128, ts: 1, sn: 1 << 31}},
		"WASK": {{conv: conv, cmd: cmdWask, wnd: 128}},
		"opener in another's place": {
			{conv: conv, cmd: cmdPush, wnd: 128, sn: 1, data: []byte("x")},
		},
	} {
		b := forge(t, Config{}, s...)
		var took [2][]time.Duration
		for range 201 {
			for i, r := range []*reader{alone, crowd} {
				began := time.Now()
				feedFrom(r, from, b)
				took[i] = append(took[i], time.Since(began))
			}
		}
		one, all := percentile(took[0], 50), percentile(took[1], 50)
		t.Logf("%s: %v beside one session, %v beside %d", name, one, all, many)
		if all > 5*one+10*time.Microsecond {
			t.Errorf("%s: %v beside one session, %v beside %d", name, one, all, many)
		}
	}
	for _, r := range []*reader{alone, crowd} {
		if st := r.ep.demux.backlog.stats(); st.Challenged < 400 {
			t.Errorf("%d sessions, %d challenged", st.Sessions, st.Challenged)
		}
	}
}

// The list of a peer's sessions holds them all, in whatever order they come, end and turn out to
// share their address. It names those that a new session supersedes.
func TestListOfAPeersSessions(t *testing.T) {
	l, err := (&Config{}).Serve(discardConn{newMemConn(memAddr("server"), nil)})
	if err != nil {
		t.Fatal(err)
	}
	d, ep, o := l.demux, l.demux.eps[0], &l.backlog.opts
	peer := peerAddr{udp: netip.MustParseAddrPort("192.0.2.1:1000")}
	in := make(map[*UDPSession]bool) // whether it shares
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 5000 {
		switch {
		case len(in) < 5 || random.IntN(3) == 0:
			s := newSession(&ep.sessionEnv, uint32(step), peer, nil, o)
			in[s] = random.IntN(2) == 0
			s.sharesAddress.Store(in[s])
			if err := d.add(s); err != nil {
				t.Fatal(err)
			}
		case random.IntN(2) == 0:
			for s := range in {
				d.remove(s, &endedSession{}, nil, false)
				delete(in, s)
				break
			}
		default:
			for s := range in {
				s.sharesAddress.Store(true)
				in[s] = true
				break
			}
		}
		d.mu.Lock()
		older, shared := d.older(&peer)
		linked, last := 0, false
		for s := d.peers.find(&peer, 0); s != nil; s = s.link.next.Load() {
			linked++
			if last && s.link.place == peerFront {
				t.Fatalf("step %d: a session that shares its address precedes one that does not",
					step)
			}
			last = s.link.place == peerBack
		}
		d.mu.Unlock()
		replaced := 0
		for _, shares := range in {
			if !shares {
				replaced++
			}
		}
		if linked != len(in) || len(older) != replaced {
			t.Fatalf("step %d: %d sessions linked of %d, %d are replaced, want %d",
				step, linked, len(in), len(older), replaced)
		}
		if shared != (replaced < len(in)) {
			t.Fatalf("step %d: an address is shared: %v", step, shared)
		}
	}
	for s := range in {
		d.remove(s, &endedSession{}, nil, false)
	}
	l.Close()
}

// A session without a HELLO supersedes no other if the address is known to be shared.
func TestSessionWithoutHelloOnASharedAddress(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %v", shared), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{})
				raw := w.endpoint("10.0.0.7:7")
				open := func(conv uint32, hello ...segment) {
					first := segment{conv: conv, cmd: cmdPush, wnd: 128, data: []byte("x")}
					_, _ = raw.WriteTo(forge(t, Config{}, append([]segment{first}, hello...)...),
						l.Addr())
					time.Sleep(time.Second)
				}
				open(1)
				want := 1
				if shared {
					open(2, helloFrom(2, 5, 0, helloShared))
					want = 3
				}
				open(3)
				if n := l.Stats().Sessions; n != want {
					t.Errorf("%d sessions, want %d", n, want)
				}
			})
		})
	}
}
