// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// transport makes a Transport of the world over conn. The test closes it.
func (w *connWorld) transport(conn net.PacketConn, c Config) *Transport {
	w.t.Helper()
	c.Scheduler = w.sched
	t, err := c.NewTransport(conn)
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

// dialTo makes a session of t to addr.
func (w *connWorld) dialTo(t *Transport, addr string) *UDPSession {
	w.t.Helper()
	raddr, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := t.Dial(context.Background(), raddr, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sessions = append(w.sessions, s)
	return s
}

func TestTransportCarriesSessionsToManyPeersAndAListener(t *testing.T) {
	for name, c := range settings(t) {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				tr := w.transport(w.endpoint("10.0.0.9:9"), c)
				defer tr.Close()
				own, err := tr.Listen(nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Log("# three sessions are dialled to each of three peers")
				var here, there []*UDPSession
				for i := range 9 {
					addr := fmt.Sprintf("10.0.1.%d:1", i/3) // three sessions to each of three peers
					if i%3 == 0 {
						w.serveAt(addr, c)
					}
					s := w.dialTo(tr, addr)
					here, there = append(here, s), append(there, w.join(s, w.listeners[i/3]))
				}
				t.Log("# one session goes to another listener, one to the Transport's")
				w.serveAt(connServerAddr, c)
				incoming := w.dialOn(w.endpoint("10.0.0.7:0"), 7, c)
				incoming.Close() // it goes to the listener at connServerAddr, not to the Transport
				visitor := w.dialOver(w.endpoint("10.0.0.8:0"), true, tr.LocalAddr(), 8, c)
				w.sessions = append(w.sessions, visitor)
				here, there = append(here, visitor), append(there, w.join(visitor, own))
				t.Log("# every session carries its own data")
				for i := range here {
					text := fmt.Sprint("to ", i)
					connWrite(t, here[i], text)
					connWantRead(t, there[i], text)
				}
				if n := len(slices.Collect(tr.Sessions())); n != len(here) {
					t.Errorf("the Transport has %d sessions, want %d", n, len(here))
				}
				if n := len(slices.Collect(own.Sessions())); n != 1 {
					t.Errorf("its listener has %d sessions, want 1", n)
				}
			})
		})
	}
}

// settings returns the kinds of packets: plain, with FEC, with a cipher.
func settings(t *testing.T) map[string]Config {
	gcm, err := NewAESGCMCrypt(make([]byte, 16))
	cfb, err2 := NewAESBlockCrypt(make([]byte, 16))
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return map[string]Config{
		"plain": {}, "AEAD": {BlockCrypt: gcm}, "CFB": {BlockCrypt: cfb}, "FEC": {DataShards: 3,
			ParityShards: 2},
	}
}

// A dialled session has no goroutine of its own, and one that has echoed and is idle has no timer
// either.
func TestTenThousandSessionsOverOneSocket(t *testing.T) {
	n := 10000
	if testing.Short() || raceDetector {
		n = 1000
	}
	connRun(t, simProfile{Delay: time.Millisecond}, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{AcceptBacklog: n})
		tr := w.transport(w.endpoint("10.0.0.9:9"), Config{})
		defer tr.Close()
		go func() {
			buf := make([]byte, 100)
			for {
				s, err := l.AcceptKCP()
				if err != nil {
					return
				}
				if m, err := s.Read(buf); err == nil {
					_, _ = s.Write(buf[:m])
				}
			}
		}()
		t.Log("# one session starts the worker of the scheduler")
		warm := w.dialTo(tr, connServerAddr)
		connWrite(t, warm, "the scheduler's worker begins")
		connWantRead(t, warm, "the scheduler's worker begins")
		before := bubbleGoroutinesButTimers()
		t.Log("# many sessions send, and have no goroutines")
		var sessions []*UDPSession
		for i := range n {
			s := w.dialTo(tr, connServerAddr)
			sessions = append(sessions, s)
			connWrite(t, s, fmt.Sprint(i))
		}
		if after := bubbleGoroutinesButTimers(); after > before {
			t.Errorf("%d goroutines with %d sessions, %d before", after, n, before)
		}
		t.Log("# each reads its echo, and is idle afterwards")
		for i, s := range sessions {
			connWantRead(t, s, fmt.Sprint(i))
			_ = s.SetReadDeadline(time.Time{})
		}
		time.Sleep(time.Minute)
		if after := bubbleGoroutinesButTimers(); after > before {
			t.Errorf("%d goroutines with %d idle sessions, %d before", after, n, before)
		}
		for _, of := range []*demux{tr.demux, l.demux} {
			for s := range of.sessions.all {
				if s.timer.pending.Load() != 0 {
					t.Fatal("an idle session has a timer")
				}
			}
		}
		t.Log("# all are closed")
		for s := range tr.Sessions() {
			s.Close()
		}
		for s := range l.Sessions() {
			s.Close()
		}
		time.Sleep(time.Minute)
		left := append(slices.Collect(tr.Sessions()), slices.Collect(l.Sessions())...)
		if len(left) != 0 {
			t.Errorf("%d sessions are left", len(left))
		}
	})
}

// Several sessions from one address announce that, and none supersedes another. Each session
// detects a restart of the socket's owner by itself.
func TestTransportSessionsDoNotReplaceEachOther(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		tr := w.transport(w.endpoint("10.0.0.9:9"), Config{})
		defer tr.Close()
		a := w.dialTo(tr, connServerAddr)
		sa := w.join(a, l)
		b := w.dialTo(tr, connServerAddr)
		sb := w.join(b, l)
		if a.core.ctl.flags&helloShared == 0 || !sa.sharesAddress.Load() ||
			!sb.sharesAddress.Load() {
			t.Error("the peer was not notified that the address is shared")
		}
		a.Close()
		sa.Close()
		time.Sleep(time.Second)
		connWrite(t, b, "still here")
		connWantRead(t, sb, "still here")
	})
}

func TestTransportHandsOverWhatIsNotKCP(t *testing.T) {
	foreign := map[string][]byte{
		"STUN": append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42},
			make([]byte, 12)...),
		"QUIC": append([]byte{0xC3, 0, 0, 0, 1, 8}, pattern(1194, 3)...),
		"DTLS": append([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100},
			pattern(100, 4)...),
		"one byte": {7},
		"false length": appendSegment(nil,
			&segment{conv: 1, cmd: cmdPush, data: []byte("x")})[:24],
		"unknown command":   appendSegment(nil, &segment{conv: 1, cmd: 85, data: []byte("x")}),
		"FEC without size":  {0, 0, 0, 0, fecTypeData, 0, 200, 0, 1, 2, 3, 4},
		"FEC of no segment": append([]byte{0, 0, 0, 0, fecTypeData, 0, 30, 0}, make([]byte, 28)...),
	}
	for name, c := range settings(t) {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(c)
				tr := w.transport(w.endpoint("10.0.0.9:9"), c)
				defer tr.Close()
				stranger := w.endpoint("10.0.0.5:5")
				defer stranger.Close()
				client := w.dialTo(tr, connServerAddr)
				server := w.join(client, l)
				_, _ = stranger.WriteTo(foreign["STUN"], tr.LocalAddr()) // not requested yet
				time.Sleep(time.Second)
				if _, err := tr.WriteTo([]byte("ping"), stranger.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 2000)
				if n, from, err := stranger.ReadFrom(buf); err != nil ||
					string(buf[:n]) != "ping" || from.String() != tr.LocalAddr().String() {
					t.Fatalf("WriteTo sent %q from %v, %v", buf[:n], from, err)
				}
				for what, data := range foreign {
					connWrite(t, server, "between")
					_, _ = stranger.WriteTo(data, tr.LocalAddr())
					connWantRead(t, client, "between")
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					n, from, err := tr.ReadNonKCP(ctx, buf)
					cancel()
					if err != nil || !slices.Equal(buf[:n], data) ||
						from.String() != stranger.LocalAddr().String() {
						t.Errorf("%s: ReadNonKCP: %x from %v, %v; want %x",
							what, buf[:n], from, err, data)
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if _, _, err := tr.ReadNonKCP(ctx, buf); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ReadNonKCP with nothing there: %v", err)
				}
			})
		})
	}
}

// A KCP datagram is not passed to ReadNonKCP even if it is unroutable.
func TestTransportKeepsStrayKCPToItself(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		tr := w.transport(w.endpoint("10.0.0.9:9"), Config{})
		defer tr.Close()
		q := tr.demux.nonKCP()
		stranger := w.endpoint("10.0.0.5:5")
		defer stranger.Close()
		parity := []byte{1, 0, 0, 0, fecTypeParity, 0, 2, 0, 9, 9}
		for _, data := range [][]byte{
			appendSegment(nil, &segment{conv: 1, cmd: cmdPush, data: []byte("x")}),
			appendSegment(nil, &segment{conv: 1, cmd: cmdAck}),
			appendSegment(nil, &segment{conv: 1, cmd: cmdWins, data: []byte("control")}),
			parity,
		} {
			_, _ = stranger.WriteTo(data, tr.LocalAddr())
			time.Sleep(time.Second)
			if _, ok := q.pop(); ok {
				t.Errorf("%x was handed over", data)
			}
		}
	})
}

func TestReadNonKCPKeepsABoundedNumber(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		tr := w.transport(w.endpoint("10.0.0.9:9"), Config{})
		tr.demux.nonKCP()
		stranger := w.endpoint("10.0.0.5:5")
		defer stranger.Close()
		for i := range 3 * strayQueueMax {
			_, _ = stranger.WriteTo([]byte{byte(i)}, tr.LocalAddr())
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(context.Background())
		got := make(chan int)
		for range 2 {
			go func() {
				n := 0
				for {
					if _, _, err := tr.ReadNonKCP(ctx, make([]byte, 1)); err != nil {
						got <- n
						return
					}
					n++
				}
			}()
		}
		synctest.Wait()
		cancel()
		if n := <-got + <-got; n != strayQueueMax {
			t.Errorf("two readers got %d datagrams, want %d", n, strayQueueMax)
		}
		for range 10 {
			_, _ = stranger.WriteTo([]byte("left behind"), tr.LocalAddr())
		}
		time.Sleep(time.Second)
		tr.Close()
		if _, _, err := tr.ReadNonKCP(context.Background(), nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadNonKCP after Close: %v, want net.ErrClosed", err)
		}
	})
}

func TestTransportCloseEndsDiallingAndAcceptingAlone(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		conn := &restartReads{PacketConn: w.endpoint("10.0.0.9:9")}
		defer conn.Close()
		far := w.serve(Config{})
		tr := w.transport(conn, Config{})
		l, err := tr.Listen(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Listen(nil); err == nil {
			t.Error("a second listener")
		}
		t.Log("# one session is dialled and one is accepted")
		client := w.dialTo(tr, connServerAddr)
		server := w.join(client, far)
		visitor := w.dialOver(w.endpoint("10.0.0.8:0"), true, tr.LocalAddr(), 8, Config{})
		w.sessions = append(w.sessions, visitor)
		accepted := w.join(visitor, l)
		t.Log("# the listener is closed and replaced")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if l, err = tr.Listen(nil); err != nil {
			t.Errorf("another listener after the first was closed: %v", err)
		}
		t.Log("# Close ends blocked calls")
		waiting := make(chan error, 2)
		go func() { _, err := l.AcceptKCP(); waiting <- err }()
		go func() { _, _, err := tr.ReadNonKCP(context.Background(), nil); waiting <- err }()
		synctest.Wait()
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-waiting; !errors.Is(err, net.ErrClosed) {
				t.Errorf("a blocked call returned %v, want net.ErrClosed", err)
			}
		}
		t.Log("# nothing new begins after Close")
		_, dialErr := tr.Dial(context.Background(), server.LocalAddr(), nil)
		_, listenErr := tr.Listen(nil)
		for _, err := range []error{dialErr, listenErr, tr.Close()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v, want net.ErrClosed", err)
			}
		}
		t.Log("# the sessions continue")
		connWrite(t, client, "we live on")
		connWantRead(t, server, "we live on")
		connWrite(t, accepted, "we too")
		connWantRead(t, visitor, "we too")
		t.Log("# the socket is released with the last session")
		for _, s := range []*UDPSession{visitor, accepted, server, client} {
			s.Close()
		}
		time.Sleep(time.Minute)
		conn.stopped.Store(true)
		if n := conn.inside.Load(); n > 0 {
			t.Errorf("%d are reading after the last session", n)
		}
	})
}

func TestTransportsSocketClosedUnderIt(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		conn := w.endpoint("10.0.0.9:9")
		tr := w.transport(conn, Config{})
		client := w.dialTo(tr, connServerAddr)
		waiting := make(chan error, 2)
		go func() { _, err := client.Read(make([]byte, 1)); waiting <- err }()
		go func() { _, _, err := tr.ReadNonKCP(context.Background(), nil); waiting <- err }()
		synctest.Wait()
		conn.Close()
		for range 2 {
			if err := <-waiting; !errors.Is(err, net.ErrClosed) {
				t.Errorf("a blocked call returned %v, want net.ErrClosed", err)
			}
		}
		_, err := tr.Dial(context.Background(), client.RemoteAddr(), nil)
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Dial: %v, want net.ErrClosed", err)
		}
	})
}

func TestTransportSettings(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		gcm := settings(t)["AEAD"].BlockCrypt
		other := settings(t)["AEAD"].BlockCrypt
		tr := w.transport(w.endpoint("10.0.0.9:9"), Config{BlockCrypt: gcm, SendWindow: 77})
		defer tr.Close()
		peer := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1000}
		ctx := context.Background()
		for name, tt := range map[string]struct {
			c      *Config
			window int // 0: refused
		}{
			"the Transport's":   {nil, 77},
			"of its own":        {&Config{SendWindow: 99}, 99},
			"the same cipher":   {&Config{BlockCrypt: gcm, SendWindow: 55}, 55},
			"another cipher":    {&Config{BlockCrypt: other}, 0},
			"beyond comparison": {&Config{BlockCrypt: oddCipher{}}, 0},
			"out of range":      {&Config{MTU: -1}, 0},
		} {
			s, err := tr.Dial(ctx, peer, tt.c)
			if err == nil {
				w.sessions = append(w.sessions, s)
				if got := s.Stats().SendWindow; got != tt.window {
					t.Errorf("%s: window %d, want %d", name, got, tt.window)
				}
				if endpointOf(s).sealer.aead == nil {
					t.Errorf("%s: not encrypted", name)
				}
				if s.SetDSCP(1) == nil ||
					s.Control(func(net.PacketConn) error { return nil }) == nil ||
					s.SetReadBuffer(1<<20) == nil {
					t.Errorf("%s: the session sets options of the Transport's socket", name)
				}
			} else if tt.window != 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		late, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := tr.Dial(late, peer, &Config{WaitPeer: true})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial of an absent peer: %v", err)
		}
		for _, addr := range []net.Addr{nil, (*net.UDPAddr)(nil)} {
			if _, err := tr.Dial(ctx, addr, nil); err == nil {
				t.Error("dialled no address")
			}
		}
		if _, err := new(Config).NewTransport(nil); err == nil {
			t.Error("a Transport over nothing")
		}
	})
}

// oddCipher cannot be compared.
type oddCipher struct{ _ []byte }

func (oddCipher) Encrypt([]byte, []byte) {}
func (oddCipher) Decrypt([]byte, []byte) {}

// An iteration may close the sessions that it visits.
func TestSessionsMayEndDuringTheirIteration(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		for range 20 {
			w.join(w.dial(Config{}), l)
		}
		seen := 0
		for s := range l.Sessions() {
			s.SetLinger(0)
			s.Close()
			if seen++; s.Stats().BytesReceived != 5 {
				t.Errorf("Stats: %d bytes received, want 5", s.Stats().BytesReceived)
			}
		}
		if seen != 20 {
			t.Errorf("%d sessions, want 20", seen)
		}
		for range l.Sessions() {
			t.Error("a session that has ended")
		}
		if err := l.SetDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

// Of many sessions over one address that a listener challenges, each opens, whatever is lost. None
// supersedes another.
func TestChallengedSessionsOfOneAddressAllOpen(t *testing.T) {
	for _, loss := range []float64{0, 0.2} {
		for _, delay := range []time.Duration{time.Millisecond, 75 * time.Millisecond} {
			for name, c := range settings(t) {
				t.Run(fmt.Sprintf("%s, %v, %v lost", name, 2*delay, loss), func(t *testing.T) {
					connRun(t, simProfile{Delay: delay, Loss: loss},
						func(t *testing.T, w *connWorld) { openChallenged(t, w, c) })
				})
			}
		}
	}
}

func openChallenged(t *testing.T, w *connWorld, c Config) {
	server := c
	server.MaxPending = 1
	l := w.serve(server)
	echo(l)
	tr := w.transport(w.endpoint("10.0.0.9:9"), c)
	defer tr.Close()
	var sessions []*UDPSession
	for i := range 50 {
		s := w.dialTo(tr, connServerAddr)
		connWrite(t, s, fmt.Sprint(i))
		sessions = append(sessions, s)
	}
	failed := 0
	end := time.Now().Add(20 * time.Second)
	for i, s := range sessions {
		_ = s.SetReadDeadline(end)
		var buf [10]byte
		if n, err := s.Read(buf[:]); err != nil || string(buf[:n]) != fmt.Sprint(i) {
			failed++
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d sessions were not opened", failed, len(sessions))
	}
	if n := l.Stats().Challenged; n < 40 {
		t.Errorf("only %d sessions were challenged", n)
	}
}

// What may open a session of a shared address begins with its first data and has a HELLO, however
// often it is sent, also once a challenge has arrived.
func TestFirstDataOnASharedAddressAlwaysHasItsHello(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		raw := w.endpoint("10.0.0.7:7")
		tr := w.transport(w.endpoint("10.0.0.9:9"), Config{})
		defer tr.Close()
		s := w.dialTo(tr, raw.LocalAddr().String())
		connWrite(t, s, "hello")
		first, from := hear(t, raw, 100*time.Millisecond)
		challenge := segment{conv: s.conv, cmd: cmdPush, wnd: 32, sn: 1 << 31, ts: 77}
		_, _ = raw.WriteTo(forge(t, Config{}, challenge), from)
		all, _ := hear(t, raw, 20*time.Second)
		sent := 0
		for _, d := range append(first, all...) {
			if d.has(cmdAck, challenge.sn, challenge.ts) {
				continue
			}
			sent++
			if d.segments[0].cmd != cmdPush || d.segments[0].sn != 0 || !d.control.sharesAddress() {
				t.Errorf("datagram %d begins with command %d, sn %d; it shares the address: %v",
					sent, d.segments[0].cmd, d.segments[0].sn, d.control.sharesAddress())
			}
		}
		if sent < helloLimit+2 {
			t.Errorf("the first data was sent %d times", sent)
		}
	})
}
