// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// keysConfig returns a Config with a cipher from which session keys are made.
func keysConfig(t testing.TB) Config {
	t.Helper()
	gcm, err := NewAESGCMCrypt(kexSequence(0, 32))
	if err != nil {
		t.Fatal(err)
	}
	return Config{StreamMode: true, BlockCrypt: gcm, NoDelay: true, NoCongestionControl: true}
}

// keysProven reports whether a session has keys, and its peer's packets have come under them.
func keysProven(s *UDPSession) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.have() && !s.keys.underPreShared(s.now()+keyOldMost)
}

// keysWant fails unless both sessions are protected by keys that fit each other.
func keysWant(t *testing.T, a, b *UDPSession) {
	t.Helper()
	for _, s := range []*UDPSession{a, b} {
		st := s.Stats()
		age := time.Since(st.KeysSince)
		if st.Keys != KeysSession || age < -time.Second || age > 4*time.Hour {
			t.Fatalf("session %v is protected by %q since %v", s.opener, st.Keys, st.KeysSince)
		}
		if !keysProven(s) {
			t.Fatalf("session %v has received nothing under its keys", s.opener)
		}
	}
	a.mu.Lock()
	out, in := a.keys.ring.out, a.keys.ring.in
	a.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if out != b.keys.ring.in || in != b.keys.ring.out {
		t.Fatal("the keys do not fit each other")
	}
}

// keysTalk sends a message in each direction.
func keysTalk(t *testing.T, client, server *UDPSession, text string) {
	t.Helper()
	connWrite(t, client, text)
	connWantRead(t, server, text)
	connWrite(t, server, text+"!")
	connWantRead(t, client, text+"!")
}

// keysPair returns a session whose keys are made.
func keysPair(t *testing.T, w *connWorld, c Config) (client, server *UDPSession, l *Listener) {
	t.Helper()
	client, server, l = w.pair(c)
	keysTalk(t, client, server, "hello")
	time.Sleep(time.Second)
	keysWant(t, client, server)
	return client, server, l
}

// keysTap is a recording of all datagrams by their source.
type keysTap struct {
	mu   sync.Mutex
	seen map[string][][]byte
}

func (k *keysTap) drop(from, _ string, payload []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen == nil {
		k.seen = make(map[string][][]byte)
	}
	k.seen[from] = append(k.seen[from], bytes.Clone(payload))
	return false
}

func (k *keysTap) from(addr net.Addr) [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	var packets [][]byte
	for _, p := range k.seen[addr.String()] {
		packets = append(packets, bytes.Clone(p))
	}
	return packets
}

func TestSessionsMakeKeys(t *testing.T) {
	x, err := NewXChaCha20Poly1305Crypt(kexSequence(1, 32))
	if err != nil {
		t.Fatal(err)
	}
	small, err := NewAESGCMCrypt(kexSequence(1, 16))
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]BlockCrypt{
		"AES-256-GCM": keysConfig(t).BlockCrypt, "AES-128-GCM": small, "XChaCha20-Poly1305": x,
	} {
		for _, shards := range []int{0, 3} {
			t.Run(fmt.Sprint(name, " shards ", shards), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					c := keysConfig(t)
					c.BlockCrypt, c.DataShards, c.ParityShards = block, shards, shards/3
					client, server, _ := keysPair(t, w, c)
					sendAcross(t, client, server, pattern(200_000, 1))
					for range 10 {
						keysTalk(t, client, server, "ping")
						time.Sleep(30 * time.Second) // idle in between
					}
					keysWant(t, client, server)
				})
			})
		}
	}
}

// The keys are there after one round trip, and nothing waits for them: the first flight arrives as
// early as without keys.
func TestKeysCostNoRoundTrip(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		c := keysConfig(t)
		l := w.serve(c)
		began := time.Now()
		client := w.dial(c)
		connWrite(t, client, "hello")
		server := w.accept(l)
		connWantRead(t, server, "hello")
		if d := time.Since(began); d > 25*time.Millisecond {
			t.Errorf("the first data took %v", d)
		}
		connWrite(t, server, "hi")
		connWantRead(t, client, "hi")
		if d := time.Since(began); d > 50*time.Millisecond {
			t.Errorf("the answer took %v", d)
		}
		time.Sleep(2 * time.Millisecond)
		if k := client.Stats().Keys; k != KeysSession {
			t.Errorf("after a round trip the session is protected by %q", k)
		}
		keysTalk(t, client, server, "more")
		time.Sleep(time.Second)
		keysWant(t, client, server)
	})
}

// On a lossy path with reordering, keys are made, and no data is lost or damaged.
func TestKeysOnALossyPath(t *testing.T) {
	for seed := range uint64(12) {
		link := closeLink
		link.Loss, link.Jitter, link.JitterReorders = 0.25, 30*time.Millisecond, true
		link.Duplicate = 0.1
		connRunSeed(t, seed, link, func(t *testing.T, w *connWorld) {
			c := keysConfig(t)
			c.DeadTimeout = -1
			l := w.serve(c)
			client := w.dial(c)
			go func() { _, _ = client.Write(pattern(50_000, 1)) }()
			server := w.accept(l)
			connWantRead(t, server, string(pattern(50_000, 1)))
			keysTalk(t, client, server, "done")
			time.Sleep(20 * time.Second)
			keysTalk(t, client, server, "done")
			keysWant(t, client, server)
		})
	}
}

// Copies of a session's packets change nothing: neither sent again, nor sent back, nor sent into
// another session with the same key, nor after the end.
func TestKeyedPacketsAreNotReplayed(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		c := keysConfig(t)
		c.MaxPending = 1000
		var tap keysTap
		w.setDrop(tap.drop)
		client, server, l := keysPair(t, w, c)
		for range 50 {
			keysTalk(t, client, server, "some text")
		}
		time.Sleep(time.Second)
		other := w.dialFrom("10.0.0.9:99", client.GetConv(), c)
		second := w.join(other, l)
		keysTalk(t, other, second, "hello")
		time.Sleep(time.Second)
		w.setDrop(nil)
		at := l.demux.eps[0].conn.(*simEndpoint)
		ours := endpointOf(client).conn.(*simEndpoint)
		theirs := endpointOf(other).conn.(*simEndpoint)
		before := [4]Stats{client.Stats(), server.Stats(), other.Stats(), second.Stats()}
		for range 3 {
			for _, p := range tap.from(client.LocalAddr()) {
				at.put(p, client.LocalAddr())
				at.put(bytes.Clone(p), other.LocalAddr())
				ours.put(bytes.Clone(p), l.Addr())
				theirs.put(bytes.Clone(p), l.Addr())
			}
			for _, p := range tap.from(l.Addr()) {
				ours.put(p, l.Addr())
				theirs.put(bytes.Clone(p), l.Addr())
				at.put(bytes.Clone(p), client.LocalAddr())
				at.put(bytes.Clone(p), other.LocalAddr())
			}
			time.Sleep(time.Second)
		}
		for i, s := range []*UDPSession{client, server, other, second} {
			st := s.Stats()
			received := st.PacketsReceived - before[i].PacketsReceived
			sent := st.PacketsSent - before[i].PacketsSent
			if received != 0 || sent != 0 {
				t.Errorf("session %d: %d packets received and %d sent because of copies",
					i, received, sent)
			}
		}
		keysTalk(t, client, server, "still there")
		keysTalk(t, other, second, "still there")
		client.Close()
		server.Close()
		time.Sleep(time.Minute)
		for _, p := range tap.from(client.LocalAddr()) {
			at.put(p, client.LocalAddr())
		}
		time.Sleep(time.Second)
		if n := len(slices.Collect(l.Sessions())); n != 1 {
			t.Errorf("%d sessions after a replay, want the other one", n)
		}
	})
}

// A holder of the pre-shared key cannot end a session with keys, or speak in it.
func TestPreSharedKeySaysNothing(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		c := keysConfig(t)
		client, server, l := keysPair(t, w, c)
		client.mu.Lock()
		ctl := client.core.ctl
		una, next := client.core.sendUna, client.core.rcvNxt
		client.mu.Unlock()
		dials, accepts := newSealer(c.BlockCrypt).forBothSides(new(nonceSet))
		forge := func(s *sealer, to *UDPSession, from net.Addr, m *controlSet, una seqNum) {
			seg := segment{conv: client.GetConv(), cmd: cmdWins, wnd: 32, ts: controlVersion,
				sn: controlMagic, una: una, data: appendControl(nil, m)}
			endpointOf(to).conn.(*simEndpoint).put(cryptSeal(t, s, appendSegment(nil, &seg)), from)
		}
		sent := [2]uint64{client.Stats().PacketsSent, server.Stats().PacketsSent}
		for kind := ctlHello; kind <= ctlPong; kind++ {
			for _, named := range []bool{false, true} {
				m := controlSet{incarnation: ctl.peer, heard: ctl.incarnation, flags: 0xff,
					largest: largestDatagram, final: next, finalAcked: una, resetCode: 1,
					resetFor: ctl.incarnation, ping: 5, pong: 6}
				m.has[kind], m.has[ctlHello] = true, named || kind == ctlHello
				forge(accepts, client, l.Addr(), &m, una)
				m.incarnation, m.heard = ctl.incarnation, ctl.peer
				m.resetFor, m.final, m.finalAcked = ctl.peer, una, next
				forge(dials, server, client.LocalAddr(), &m, next)
			}
		}
		push := segment{conv: client.GetConv(), cmd: cmdPush, wnd: 32, sn: next, data: []byte("x")}
		endpointOf(client).conn.(*simEndpoint).put(
			cryptSeal(t, accepts, appendSegment(nil, &push)), l.Addr())
		time.Sleep(time.Second)
		if now := [2]uint64{client.Stats().PacketsSent, server.Stats().PacketsSent}; now != sent {
			t.Errorf("packets sent because of forgeries: %d, before %d", now, sent)
		}
		keysTalk(t, client, server, "still there")
	})
}

// Forged packets towards a session with keys change nothing but counters.
func TestForgedPacketsTowardsKeys(t *testing.T) {
	count := 50_000
	if *longForm {
		count = 1_000_000
	}
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		c := keysConfig(t)
		var tap keysTap
		w.setDrop(tap.drop)
		client, server, l := keysPair(t, w, c)
		keysTalk(t, client, server, string(pattern(1000, 1)))
		time.Sleep(20 * time.Second)
		w.setDrop(nil)
		genuine := tap.from(client.LocalAddr())
		before, sent := server.Stats(), client.Stats().PacketsSent
		at := l.demux.eps[0].conn.(*simEndpoint)
		buf := make([]byte, 1400)
		for i := range count {
			forged := bytes.Clone(genuine[i%len(genuine)])
			switch i % 3 {
			case 0:
				_, _ = rand.Read(buf[:len(forged)])
				forged = bytes.Clone(buf[:len(forged)])
			case 1:
				forged[i/3%len(forged)] ^= 1 << (i % 8)
			case 2: // the header says the right id
				forged = forged[:max(sessionPacketLeast, i%len(forged))]
				server.mu.Lock()
				id := server.keys.ring.id
				server.mu.Unlock()
				var p sealedPacket
				k := newSealer(c.BlockCrypt).keySource()
				p.parse(forged, k)
				mask := p.id ^ id
				for b := range 4 {
					forged[b] ^= byte(mask >> (8 * b))
				}
			}
			at.put(forged, client.LocalAddr())
			if i%500 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		after := server.Stats()
		if after.PacketsReceived != before.PacketsReceived ||
			after.PacketsSent != before.PacketsSent ||
			after.BytesReceived != before.BytesReceived || client.Stats().PacketsSent != sent {
			t.Errorf("forged packets were taken: %d received, %d sent",
				after.PacketsReceived-before.PacketsReceived, after.PacketsSent-before.PacketsSent)
		}
		keysTalk(t, client, server, "still there")
		keysWant(t, client, server)
	})
}

// Keys are changed after 2^23 packets in either direction and after an hour with traffic, and
// nothing is lost. Idle sessions do not change theirs.
func TestKeysAreChanged(t *testing.T) {
	for _, how := range []string{"sent", "received", "hour", "idle"} {
		t.Run(how, func(t *testing.T) {
			link := closeLink
			link.Loss = 0.05
			connRunSeed(t, 1, link, func(t *testing.T, w *connWorld) {
				c := keysConfig(t)
				c.DeadTimeout = -1
				client, server, l := w.pair(c)
				for range 20 {
					keysTalk(t, client, server, "hello")
				}
				time.Sleep(5 * time.Second)
				keysWant(t, client, server)
				first := client.Stats().KeysSince
				client.mu.Lock()
				old := client.keys.ring.id
				client.mu.Unlock()
				switch how {
				case "sent", "received":
					from := map[string]*UDPSession{"sent": client, "received": server}[how]
					from.mu.Lock()
					from.keys.ring.sent.Store(sessionKeyWorn - 5)
					from.mu.Unlock()
				case "hour":
					for range 70 {
						time.Sleep(time.Minute)
						keysTalk(t, client, server, "a minute later")
					}
				case "idle":
					time.Sleep(3 * time.Hour)
				}
				if how != "idle" {
					sendAcross(t, client, server, pattern(300_000, 1))
					sendAcross(t, server, client, pattern(300_000, 2))
				}
				time.Sleep(20 * time.Second)
				client.mu.Lock()
				changed := client.keys.ring.id != old
				client.mu.Unlock()
				if want := how != "idle"; changed != want ||
					client.Stats().KeysSince.After(first) != want {
					t.Errorf("keys changed %v, since %v", changed, client.Stats().KeysSince)
				}
				keysWant(t, client, server)
				time.Sleep(time.Minute)
				table := l.demux.keys.Load()
				table.mu.Lock()
				live := table.live
				table.mu.Unlock()
				if live != 1 {
					t.Errorf("%d keys in the table, want those of one session", live)
				}
				keysTalk(t, client, server, "bye")
			})
		})
	}
}

// A session with a peer that makes no keys goes on under the pre-shared key, and keeps nothing for
// keys.
func TestPeersWithoutKeys(t *testing.T) {
	for _, dials := range []bool{false, true} {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			with, without := keysConfig(t), keysConfig(t)
			without.BlockCrypt = keyless(with.BlockCrypt)
			if !dials {
				with, without = without, with
			}
			l := w.serve(without)
			client := w.dial(with)
			server := w.join(client, l)
			keysTalk(t, client, server, "hello")
			for _, s := range []*UDPSession{client, server} {
				if st := s.Stats(); st.Keys != KeysPreShared || !st.KeysSince.IsZero() {
					t.Errorf("protected by %q since %v", st.Keys, st.KeysSince)
				}
				s.mu.Lock()
				if s.keys.possible() {
					t.Error("keys are still awaited")
				}
				s.mu.Unlock()
			}
		})
	}
}

// keysCounter counts the ephemeral keys that are made.
type keysCounter struct{ made atomic.Int32 }

func (k *keysCounter) Read(p []byte) (int, error) {
	k.made.Add(1)
	return rand.Read(p)
}

func keysCount(t *testing.T) *keysCounter {
	k := new(keysCounter)
	kexRandom = k
	t.Cleanup(func() { kexRandom = rand.Reader })
	return k
}

// A flood of recorded openings makes a listener compute no handshake, and a listener that does not
// know them computes few.
func TestReplayedOpeningsMakeNoHandshake(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		c := keysConfig(t)
		c.MaxPending = 160
		count := keysCount(t)
		var tap keysTap
		w.setDrop(tap.drop)
		client, server, l := keysPair(t, w, c)
		if n := count.made.Load(); n != 2 {
			t.Errorf("%d ephemeral keys for one session, want one of each side", n)
		}
		var openings [][]byte
		openings = append(openings, tap.from(client.LocalAddr())[0])
		for range 100 {
			s := w.dial(c)
			connWrite(t, s, "hello")
			w.accept(l)
		}
		time.Sleep(time.Second)
		w.setDrop(nil)
		tap.mu.Lock()
		for from, packets := range tap.seen {
			if from != l.Addr().String() {
				openings = append(openings, packets[0])
			}
		}
		tap.mu.Unlock()
		made := count.made.Load()
		other := w.serveAt("10.0.0.8:1000", c)
		for i := range 2000 {
			from := &net.UDPAddr{IP: net.IPv4(10, 9, byte(i>>8), byte(i)), Port: 9}
			p := openings[i%len(openings)]
			l.demux.eps[0].conn.(*simEndpoint).put(bytes.Clone(p), from)
			time.Sleep(time.Millisecond)
		}
		if n := count.made.Load() - made; n != 0 {
			t.Errorf("%d handshakes for replayed openings", n)
		}
		for i, p := range openings {
			from := &net.UDPAddr{IP: net.IPv4(10, 8, 0, byte(i)), Port: 9}
			other.demux.eps[0].conn.(*simEndpoint).put(bytes.Clone(p), from)
			time.Sleep(time.Millisecond)
		}
		if n := count.made.Load() - made; n > 10 {
			t.Errorf("%d handshakes for openings of another listener, want 160/16 at most", n)
		}
		keysTalk(t, client, server, "still there")
	})
}

// An idle session keeps nothing of its keys but the ring, and what finds it.
func TestIdleKeysAreSmall(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := keysPair(t, w, keysConfig(t))
		sendAcross(t, client, server, pattern(100_000, 1))
		time.Sleep(time.Minute)
		for _, s := range []*UDPSession{client, server} {
			s.mu.Lock()
			busy, at := s.keys.ring.work != nil, s.dueLocked(s.core.nextEvent(s.now()))
			s.mu.Unlock()
			if busy || at != never {
				t.Errorf("an idle session keeps what busy ones need: %v, next event %v", busy, at)
			}
		}
		keysTalk(t, client, server, "awake")
		keysWant(t, client, server)
	})
	const sessions = 20_000
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var table keyTable
	s := new(UDPSession)
	before := heap()
	for id := range uint32(sessions) {
		k := new(keyring)
		if k.id = (id + 1) * 0x9e3779b1; !table.add(k, s) {
			t.Fatal("an id is taken")
		}
	}
	bytes := (heap() - before) / sessions
	runtime.KeepAlive(&table)
	t.Logf("%d bytes a session", bytes)
	if bytes > 128 {
		t.Errorf("the keys of an idle session take %d bytes, at most 128", bytes)
	}
}

// The table finds all keys, whatever is added and removed.
func TestKeyTable(t *testing.T) {
	var table keyTable
	s := new(UDPSession)
	model := make(map[uint32]*keyring)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	var ids []uint32
	for now := range millis(30_000) {
		switch {
		case r.IntN(1000) < 550 || len(ids) == 0:
			k := &keyring{}
			k.id = r.Uint32() % 5000
			if got, want := table.add(k, s), k.id != 0 && model[k.id] == nil; got != want {
				t.Fatalf("add %d gave %v", k.id, got)
			} else if want {
				model[k.id] = k
				ids = append(ids, k.id)
			}
		default:
			i := r.IntN(len(ids))
			id := ids[i]
			ids[i] = ids[len(ids)-1]
			ids = ids[:len(ids)-1]
			delete(model, id)
			if r.IntN(2) == 0 {
				table.remove(id)
			} else {
				table.end([3]uint32{0, id}, now, now)
			}
		}
		if id := r.Uint32() % 5000; table.slot(id) != nil {
			if k, owner := table.find(id); k != model[id] || owner != s {
				t.Fatalf("found %v for %d, want %v", k, id, model[id])
			}
		} else if model[id] != nil {
			t.Fatalf("%d is not found", id)
		}
	}
	k := &keyring{}
	k.id = 1 << 30
	table.add(k, s)
	table.end([3]uint32{k.id}, 50_000, 40_000)
	if got, owner := table.find(k.id); got != k || owner != nil {
		t.Error("the keys of an ended session are not kept")
	}
	table.sweep(50_000)
	if got, _ := table.find(k.id); got != nil || table.ended.Len() != 0 {
		t.Error("the keys of an ended session are kept for ever")
	}
}

// Streams end as usual under keys, also if what acknowledges their end is lost: the record of a
// session answers under its keys.
func TestKeyedSessionsEndOnALossyPath(t *testing.T) {
	for seed := range uint64(12) {
		link := closeLink
		link.Loss, link.Jitter = 0.3, 5*time.Millisecond
		connRunSeed(t, seed, link, func(t *testing.T, w *connWorld) {
			c := keysConfig(t)
			c.DeadTimeout = -1
			client, server, _ := w.pair(c)
			keysTalk(t, client, server, "hello")
			time.Sleep(10 * time.Second)
			keysWant(t, client, server)
			connWrite(t, client, "good-bye")
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			connWantRead(t, server, "good-bye")
			closeWantEOF(t, server)
			connWrite(t, server, "and to you")
			server.Close()
			connWantRead(t, client, "and to you")
			closeWantEOF(t, client)
			client.Close()
		})
	}
}

// Of two sides that have dialled each other, one answers.
func TestSidesThatBothDialMakeKeys(t *testing.T) {
	for name, begin := range bothDialOrders {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				upper, lower := bothDial(w, keysConfig(t))
				for _, s := range []*UDPSession{upper, lower} {
					s.mu.Lock()
					s.keys.ask() // its incarnation has been changed
					s.mu.Unlock()
					s.makeKeys()
				}
				begin(t, upper, lower)
				time.Sleep(3 * time.Second)
				keysTalk(t, upper, lower, "hello")
				keysTalk(t, lower, upper, "hello")
				keysWant(t, upper, lower)
			})
		})
	}
}
