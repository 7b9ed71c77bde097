// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sharedWorld is a world whose sessions are dialled with Config.SharedSocket.
type sharedWorld struct {
	*connWorld
	registry sharedRegistry
	opened   int
	openErr  error // of further sockets
}

func sharedRun(t *testing.T, f func(t *testing.T, w *sharedWorld)) {
	t.Helper()
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		sw := &sharedWorld{connWorld: w}
		f(t, sw)
		for _, s := range w.sessions {
			s.SetLinger(0)
			s.Close()
		}
		time.Sleep(time.Minute)
		if n := sw.registry.open(w.sched); n != 0 {
			t.Errorf("%d sets of sockets are left without sessions", n)
		}
	})
}

// open returns how many sets of sockets with that scheduler are open.
func (r *sharedRegistry) open(sched *TimedSched) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.sets {
		if key.sched == sched {
			n++
		}
	}
	return n
}

// open opens a socket, as many as are wanted.
func (w *sharedWorld) open() (net.PacketConn, error) {
	if w.openErr != nil {
		return nil, w.openErr
	}
	w.opened++
	return w.endpoint("10.0.0.2:0"), nil
}

// tryDial dials over a shared socket. It returns nil if the peer needs a socket of its own.
func (w *sharedWorld) tryDial(to string, c Config) (*UDPSession, error) {
	w.t.Helper()
	if c.Scheduler == nil {
		c.Scheduler = w.sched
	}
	o, err := c.options()
	if err != nil {
		w.t.Fatal(err)
	}
	raddr, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := w.registry.dial(w.t.Context(), raddr, o, newIngress, w.open)
	if s != nil {
		w.sessions = append(w.sessions, s)
	}
	return s, err
}

func (w *sharedWorld) dial(to string, c Config) *UDPSession {
	w.t.Helper()
	s, err := w.tryDial(to, c)
	if s == nil || err != nil {
		w.t.Fatalf("dialling %s over a shared socket: %v, %v", to, s, err)
	}
	return s
}

// regularSockets is how many sockets sessions are spread over.
func regularSockets() int { return min(runtime.GOMAXPROCS(0), sharedRegular) }

// drawingCrypt is a BlockCrypt that makes something else of a packet each time.
type drawingCrypt struct{ salt *byte }

func (drawingCrypt) Encrypt(dst, src []byte) {
	copy(dst, src)
	binary.LittleEndian.PutUint64(dst, randomUint64())
}

func (drawingCrypt) Decrypt(dst, src []byte) { copy(dst, src) }

// listCrypt is a BlockCrypt that cannot be compared.
type listCrypt []byte

func (c listCrypt) Encrypt(dst, src []byte) { copy(dst, src); dst[20] ^= c[0] }

func (c listCrypt) Decrypt(dst, src []byte) { copy(dst, src); dst[20] ^= c[0] }

// incomparableDrawingCrypt is both.
type incomparableDrawingCrypt struct {
	drawingCrypt
	_ []byte
}

// Sessions share sockets if nothing that belongs to the socket differs.
func TestSharedSocketsHaveOneKindOfSession(t *testing.T) {
	block := func(key byte, make func([]byte) (BlockCrypt, error)) BlockCrypt {
		b, err := make(append([]byte("fifteen bytes, "), key))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	other := NewTimedSched(1)
	defer other.Close()
	drawing := drawingCrypt{new(byte)}
	const v4, v6 = "10.0.1.%d:1", "[fd00::%d]:1"
	tests := []struct {
		name     string
		a, b     Config
		toA, toB string
		share    bool
	}{
		{"nothing", Config{}, Config{}, v4, v4, true},
		{"settings of sessions", Config{}, Config{MTU: 500, DataShards: 3, ParityShards: 1,
			SendWindow: 9, ReceiveWindow: 9, NoDelay: true, KeepAlive: time.Minute,
			StreamMode: true, WaitPeer: false, IdleTimeout: time.Hour, DeadTimeout: time.Hour,
			CongestionControl: CongestionCubic}, v4, v4, true},
		{"settings of listeners", Config{}, Config{AcceptBacklog: 1, MaxSessions: 1, MaxPending: 1,
			MaxPerPrefix: 1, AmplificationLimit: 1, Sockets: 3}, v4, v4, true},
		{"a hook", Config{}, Config{OnSocketError: func(string, error) {}}, v4, v4, true},
		{"the family", Config{}, Config{}, v4, v6, false},
		{"the memory", Config{}, Config{MaxMemory: 1 << 20}, v4, v4, false},
		{"the scheduler", Config{}, Config{Scheduler: other}, v4, v4, false},
		{"a cipher", Config{}, Config{BlockCrypt: block(1, NewAESBlockCrypt)}, v4, v4, false},
		{"the key", Config{BlockCrypt: block(1, NewAESGCMCrypt)},
			Config{BlockCrypt: block(2, NewAESGCMCrypt)}, v4, v4, false},
		{"the algorithm", Config{BlockCrypt: block(1, NewAESBlockCrypt)},
			Config{BlockCrypt: block(1, NewSM4BlockCrypt)}, v4, v4, false},
		{"one key, two ciphers", Config{BlockCrypt: block(1, NewAESGCMCrypt)},
			Config{BlockCrypt: block(1, NewAESGCMCrypt)}, v4, v4, true},
		{"one key, two block ciphers", Config{BlockCrypt: block(1, NewAESBlockCrypt)},
			Config{BlockCrypt: block(1, NewAESBlockCrypt)}, v4, v4, true},
		{"a cipher that draws", Config{BlockCrypt: drawing}, Config{BlockCrypt: drawing},
			v4, v4, true},
		{"two ciphers that draw", Config{BlockCrypt: drawing},
			Config{BlockCrypt: drawingCrypt{new(byte)}}, v4, v4, false},
		{"a cipher that cannot be compared", Config{BlockCrypt: listCrypt{1}},
			Config{BlockCrypt: listCrypt{1}}, v4, v4, true},
		{"ciphers that cannot be compared", Config{BlockCrypt: listCrypt{1}},
			Config{BlockCrypt: listCrypt{2}}, v4, v4, false},
		{"ciphers that draw and cannot be compared", Config{BlockCrypt: incomparableDrawingCrypt{}},
			Config{BlockCrypt: incomparableDrawingCrypt{}}, v4, v4, false},
	}
	sharedRun(t, func(t *testing.T, w *sharedWorld) {
		for _, tt := range tests {
			var of [2]map[*demux]bool
			for i, c := range []Config{tt.a, tt.b} {
				of[i] = make(map[*demux]bool)
				to := []string{tt.toA, tt.toB}[i]
				for k := range 2 * sharedMost {
					s := w.dial(fmt.Sprintf(to, 10*i+k), c)
					of[i][endpointOf(s).demux] = true
				}
			}
			common := 0
			for d := range of[0] {
				if of[1][d] {
					common++
				}
			}
			want := 0
			if tt.share {
				want = regularSockets()
			}
			if common != want || len(of[0]) != regularSockets() && want > 0 {
				t.Errorf("%s differs: %d and %d sockets, %d of both; want %d of both",
					tt.name, len(of[0]), len(of[1]), common, want)
			}
			for _, s := range w.sessions {
				s.Close()
			}
			time.Sleep(time.Minute)
			w.sessions = w.sessions[:0]
		}
	})
}

// connOf returns the socket of a session.
func connOf(s *UDPSession) net.PacketConn { return s.env.conn }

// meet exchanges a message with a server that echoes.
func meet(t *testing.T, s *UDPSession, text string) {
	t.Helper()
	connWrite(t, s, text)
	connWantRead(t, s, text)
}

// echo echoes what the sessions of l send.
func echo(l *Listener) {
	go func() {
		for {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			go func() {
				buf := make([]byte, 2000)
				for {
					n, err := s.Read(buf)
					if err != nil {
						s.Close()
						return
					}
					_, _ = s.Write(buf[:n])
				}
			}()
		}
	}()
}

// Many sessions dialled before the first answer share a few sockets. The peer accepts them all.
func TestSharedSocketsCarryABurstToOnePeer(t *testing.T) {
	for name, c := range settings(t) {
		t.Run(name, func(t *testing.T) {
			sharedRun(t, func(t *testing.T, w *sharedWorld) {
				echo(w.serve(c))
				for range 100 {
					w.dial(connServerAddr, c)
				}
				if w.opened > sharedMost {
					t.Errorf("%d sockets, want at most %d", w.opened, sharedMost)
				}
				for i, s := range w.sessions {
					meet(t, s, fmt.Sprint(i))
				}
				t.Log("# the peer is known: the regular sockets suffice")
				used := make(map[net.PacketConn]bool)
				for i := range 100 {
					s := w.dial(connServerAddr, c)
					used[connOf(s)] = true
					meet(t, s, fmt.Sprint("again ", i))
				}
				if len(used) != regularSockets() {
					t.Errorf("%d sockets for a known peer, want %d", len(used), regularSockets())
				}
				if w.opened > sharedMost {
					t.Errorf("%d sockets in all, want at most %d", w.opened, sharedMost)
				}
				t.Log("# the sockets close with the last session on them")
				for _, s := range w.sessions {
					s.Close()
				}
				time.Sleep(time.Minute)
				for i, s := range w.sessions {
					if !connOf(s).(*simEndpoint).isClosed() {
						t.Fatalf("the socket of session %d is still open", i)
					}
				}
			})
		})
	}
}

// A legacy peer has one session at a time for each address. Sessions that are dialled after its
// answer get addresses of their own, as do the first few that are dialled at once.
func TestSharedSocketsGiveALegacyPeerOneSessionAnAddress(t *testing.T) {
	sharedRun(t, func(t *testing.T, w *sharedWorld) {
		l := w.legacyServer(connServerAddr)
		defer l.close()
		own := 0
		dial := func() *UDPSession {
			s, err := w.tryDial(connServerAddr, Config{})
			if err != nil {
				t.Fatal(err)
			}
			if s == nil {
				own++
				s = w.connWorld.dial(Config{})
			}
			return s
		}
		t.Log("# a burst before the first answer")
		var sessions []*UDPSession
		for range sharedMost {
			sessions = append(sessions, dial())
		}
		for i, s := range sessions {
			meet(t, s, fmt.Sprint("first ", i))
		}
		if own != 0 || w.opened != sharedMost {
			t.Errorf("%d sockets and %d sessions with their own, want %d and 0",
				w.opened, own, sharedMost)
		}
		t.Log("# the peer is known to be a legacy peer")
		for range 5 {
			sessions = append(sessions, dial())
		}
		if own != 5 {
			t.Errorf("%d of 5 further sessions have a socket of their own", own)
		}
		for i, s := range sessions {
			meet(t, s, fmt.Sprint("second ", i))
		}
		t.Log("# another peer shares all sockets")
		for i := range sharedMost {
			w.dial(fmt.Sprintf("10.0.5.%d:1", i), Config{})
		}
		if w.opened != sharedMost {
			t.Errorf("%d sockets, want still %d", w.opened, sharedMost)
		}
		t.Log("# the peer is remembered after its last session")
		for _, s := range w.sessions {
			s.SetLinger(0)
			s.Close()
		}
		time.Sleep(time.Minute)
		own, sessions = 0, nil
		for range sharedMost + 3 {
			sessions = append(sessions, dial())
		}
		for i, s := range sessions {
			meet(t, s, fmt.Sprint("third ", i))
		}
		if own != 3 {
			t.Errorf("%d sessions have a socket of their own, want 3", own)
		}
		if opened, replaced := l.counts(); replaced != 0 {
			t.Errorf("%d of %d sessions replaced another at the peer", replaced, opened)
		}
	})
}

// An address at which a legacy peer was is not taken for one for ever.
func TestSharedSocketsForgetLegacyPeers(t *testing.T) {
	sharedRun(t, func(t *testing.T, w *sharedWorld) {
		l := w.legacyServer(connServerAddr)
		s := w.dial(connServerAddr, Config{})
		meet(t, s, "hello")
		s.Close()
		time.Sleep(time.Minute)
		l.close()
		burst := func() (own int) {
			for range sharedMost + 5 {
				s, err := w.tryDial(connServerAddr, Config{})
				if err != nil {
					t.Fatal(err)
				}
				if s == nil {
					own++
				}
			}
			return own
		}
		if own := burst(); own != 5 {
			t.Errorf("%d sessions to a remembered legacy peer need their own socket, want 5", own)
		}
		t.Log("# a peer with the extension is at the address now")
		echo(w.serve(Config{}))
		meet(t, w.sessions[1], "hello")
		if own := burst(); own != 0 {
			t.Errorf("%d sessions need a socket of their own, want 0", own)
		}
		for _, s := range w.sessions {
			s.Close()
		}
		time.Sleep(time.Minute)
		if own := burst(); own != 0 {
			t.Errorf("afterwards %d sessions need a socket of their own, want 0", own)
		}
	})
}

func TestLegacyPeersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l legacyPeers
		at := func(i int) *peerAddr { return &tableSession(i).peer }
		for i := range 3 * legacyMost {
			l.note(at(i), peerLegacy, time.Now())
			if n := len(l.until); n > legacyMost {
				t.Fatalf("%d addresses, want at most %d", n, legacyMost)
			}
			if !l.has(at(i), time.Now()) {
				t.Fatal("the newest address is not remembered")
			}
		}
		last := 3*legacyMost - 1
		time.Sleep(legacyRemembered)
		if l.has(at(last), time.Now()) {
			t.Error("an address is remembered for longer than it should be")
		}
		time.Sleep(time.Nanosecond)
		l.note(at(last+1), peerLegacy, time.Now())
		if n := len(l.until); n != 1 {
			t.Errorf("%d addresses are kept, want 1", n)
		}
		l.note(at(last+1), peerShares, time.Now())
		if l.has(at(last+1), time.Now()) {
			t.Error("an address of a peer with the extension is taken for a legacy peer's")
		}
	})
}

// A socket that is lost ends its sessions. The next dial opens another.
func TestSharedSocketIsReplacedWhenLost(t *testing.T) {
	sharedRun(t, func(t *testing.T, w *sharedWorld) {
		echo(w.serve(Config{}))
		a := w.dial(connServerAddr, Config{})
		meet(t, a, "hello")
		for i := range 3 {
			lost := a
			restartCrash(lost)
			if _, err := lost.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read on a lost socket: %v", err)
			}
			for range regularSockets() {
				if a = w.dial(connServerAddr, Config{}); connOf(a) == connOf(lost) {
					t.Fatal("a lost socket is used")
				}
				meet(t, a, fmt.Sprint("round ", i))
			}
		}
	})
}

// Where no further socket can be opened, those that are open serve.
func TestSharedSocketsDoWithThoseThatAreOpen(t *testing.T) {
	sharedRun(t, func(t *testing.T, w *sharedWorld) {
		w.openErr = os.ErrPermission
		if s, err := w.tryDial(connServerAddr, Config{}); s != nil || err != w.openErr {
			t.Errorf("without a socket: %v, %v; want the error of opening one", s, err)
		}
		if n := w.registry.open(w.sched); n != 0 {
			t.Errorf("%d sets of sockets are left", n)
		}
		w.openErr = nil
		first := w.dial(connServerAddr, Config{})
		w.openErr = os.ErrPermission
		for range 20 {
			if s := w.dial(connServerAddr, Config{}); connOf(s) != connOf(first) {
				t.Error("another socket")
			}
		}
	})
}

// What is set on the socket concerns other sessions.
func TestSharedSocketIsNotTheSessions(t *testing.T) {
	sharedRun(t, func(t *testing.T, w *sharedWorld) {
		s := w.dial(connServerAddr, Config{})
		for name, err := range map[string]error{
			"SetDSCP": s.SetDSCP(1), "SetReadBuffer": s.SetReadBuffer(1 << 16),
			"SetWriteBuffer": s.SetWriteBuffer(1 << 16),
			"Control": s.Control(func(net.PacketConn) error {
				t.Error("Control has called its function")
				return nil
			}),
		} {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: %v, want one that matches errors.ErrUnsupported", name, err)
			}
		}
		if got := s.RemoteAddr().String(); got != connServerAddr {
			t.Errorf("RemoteAddr is %s, want %s", got, connServerAddr)
		}
	})
}

// The errors of a shared socket go to the newest hook.
func TestSharedSocketHasTheNewestHook(t *testing.T) {
	sharedRun(t, func(t *testing.T, w *sharedWorld) {
		called := make(chan string, 10)
		hook := func(name string) func(string, error) {
			return func(string, error) { called <- name }
		}
		var last *UDPSession
		for k, c := range []Config{
			{OnSocketError: hook("a")}, {OnSocketError: hook("b")}, {},
		} {
			for i := range regularSockets() {
				last = w.dial(fmt.Sprintf("10.0.%d.%d:1", k, i), c)
			}
		}
		endpointOf(last).errors.note(socketRead, errFault)
		time.Sleep(time.Second)
		if got := <-called; got != "b" || len(called) != 0 {
			t.Errorf("hook %s and %d others were called, want the newest alone", got, len(called))
		}
	})
}

// The sessions of all sockets of a set have one account of memory.
func TestSharedSocketsHaveOneMemory(t *testing.T) {
	sharedRun(t, func(t *testing.T, w *sharedWorld) {
		c := Config{MaxMemory: 1 << 20}
		for i := range 2 * sharedMost {
			s := w.dial(fmt.Sprintf("10.0.3.%d:1", i), c)
			if m := s.env.memory; m != w.sessions[0].env.memory || m.most != c.MaxMemory {
				t.Fatalf("session %d has an account of its own, or another limit %d", i, m.most)
			}
		}
	})
}

// Sockets open and close while others dial.
func TestSharedSocketsUnderRacingDialsAndCloses(t *testing.T) {
	connCheckLeaks(t)
	l := echoListener(t, listenLoopback(t, nil))
	c := &Config{SharedSocket: true, Scheduler: NewTimedSched(1)}
	defer c.Scheduler.Close()
	var dialling sync.WaitGroup
	for i := range 8 {
		dialling.Go(func() {
			for k := range 25 {
				s, err := c.Dial(t.Context(), l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				if (i+k)%3 == 0 {
					_ = s.SetDeadline(time.Now().Add(20 * time.Second))
					mustWrite(t, s, []byte("x"))
					if got := string(mustRead(t, s, 10)); got != "x" {
						t.Errorf("got %q back", got)
					}
				}
				s.SetLinger(0)
				_ = s.Close()
			}
		})
	}
	dialling.Wait()
	awaitNoSharedSockets(t, c)
}

// awaitNoSharedSockets waits until no socket with the scheduler of c is open.
func awaitNoSharedSockets(t *testing.T, c *Config) {
	t.Helper()
	for end := time.Now().Add(leakTimeout); sharedSockets.open(c.Scheduler) > 0; {
		if time.Now().After(end) {
			t.Fatal("shared sockets are left")
		}
		runtime.Gosched()
	}
}
