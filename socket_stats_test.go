// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// socketHook records the calls of a Config.OnSocketError.
type socketHook struct {
	mu    sync.Mutex
	calls []string
	block chan struct{} // a call waits for it, unless nil
}

func (h *socketHook) call(op string, err error) {
	h.mu.Lock()
	h.calls = append(h.calls, op+": "+err.Error())
	block := h.block
	h.mu.Unlock()
	if block != nil {
		<-block
	}
}

func (h *socketHook) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	calls := h.calls
	h.calls = nil
	return calls
}

// faultWorld serves and dials over connections that can be made to fail.
func faultWorld(t *testing.T, c Config,
	f func(t *testing.T, w *connWorld, client, server *faultConn)) {
	t.Helper()
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		server := &faultConn{PacketConn: w.endpoint(connServerAddr)}
		client := &faultConn{PacketConn: w.endpoint("10.0.0.2:0")}
		f(t, w, client, server)
	})
}

func TestReadErrorsEndNoListenerAndCostNoTime(t *testing.T) {
	var hook socketHook
	c := Config{OnSocketError: hook.call}
	faultWorld(t, c, func(t *testing.T, w *connWorld, client, server *faultConn) {
		l := w.serveOver(server, true, c)
		server.fail(always, nil)
		// wakes the reader, which then fails for a minute
		_, _ = client.PacketConn.WriteTo([]byte("x"), l.Addr())
		time.Sleep(time.Minute)
		if n := server.reads.Load(); n < 60 || n > 160 {
			t.Errorf("%d reads in a minute of failure, want about two a second", n)
		}
		st := l.Stats().Socket
		if st.ReadErrors != uint64(server.reads.Load())-1 &&
			st.ReadErrors != uint64(server.reads.Load()) || st.LastError != errFault ||
			st.LostDatagrams != 0 || time.Since(st.LastErrorTime) > readErrorPauseMax {
			t.Errorf("after %d failed reads: %+v", server.reads.Load(), st)
		}
		if n := len(hook.take()); n < 58 || n > 61 {
			t.Errorf("the hook was called %d times in a minute, want about once a second",
				n)
		}
		server.fail(nil, nil)
		time.Sleep(readErrorPauseMax)
		s := w.dialOn(client, 1, c)
		start := time.Now()
		w.join(s, l)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the first session after the failure took %v", took)
		}
	})
}

func TestReadErrorsNowAndThenHoldNobodyUp(t *testing.T) {
	faultWorld(t, Config{}, func(t *testing.T, w *connWorld, client, server *faultConn) {
		c := Config{ACKNoDelay: true}
		l := w.serveOver(server, true, c)
		s := w.dialOn(client, 1, c)
		peer := w.join(s, l)
		// Each datagram that is read is followed by as many errors as the ICMP messages of a few
		// peers can cause.
		var failed atomic.Int64
		server.fail(func() error {
			if failed.Add(1)%readErrorsFree != 0 {
				return errFault
			}
			return nil
		}, nil)
		for range 20 {
			start := time.Now()
			connWrite(t, s, "x")
			connWantRead(t, peer, "x")
			if took := time.Since(start); took > 6*time.Millisecond {
				t.Fatalf("a datagram took %v, want the link's 5ms", took)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if n := failed.Load(); n < 300 {
			t.Errorf("%d errors, want some for each datagram", n)
		}
	})
}

func TestWriteErrorsAreLossesAndNoBusyLoop(t *testing.T) {
	var hook socketHook
	c := Config{OnSocketError: hook.call}
	faultWorld(t, c, func(t *testing.T, w *connWorld, client, server *faultConn) {
		l := w.serveOver(server, true, c)
		s := w.dialOn(client, 1, c)
		peer := w.join(s, l)
		client.fail(nil, always)
		client.writes.Store(0)
		connWrite(t, s, "held up")
		time.Sleep(15 * time.Second)
		n := client.writes.Load()
		if n < 4 || n > 12 {
			t.Errorf("%d datagrams in 15s of failure, want a few at growing intervals",
				n)
		}
		st := s.Stats().Socket
		if st.LostDatagrams != uint64(n) || st.LastError != errFault || st.ReadErrors != 0 {
			t.Errorf("after %d failed writes: %+v", n, st)
		}
		calls := hook.take()
		if len(calls) < 3 || len(calls) > int(n) || calls[0] != "write: "+errFault.Error() {
			t.Errorf("the hook was called with %q", calls)
		}
		client.fail(nil, nil)
		connWantRead(t, peer, "held up")
	})
}

func TestErrorHookIsCalledOutsideLocksAndNotTwiceAtOnce(t *testing.T) {
	hook := socketHook{}
	c := Config{OnSocketError: hook.call}
	faultWorld(t, c, func(t *testing.T, w *connWorld, client, server *faultConn) {
		t.Log("# while the hook does not return it is not called again")
		hook.block = make(chan struct{})
		l := w.serveOver(server, true, c)
		client.fail(nil, always)
		s := w.dialOn(client, 1, c)
		connWrite(t, s, "x") // the hook hangs from here on
		time.Sleep(10 * time.Second)
		if calls := hook.take(); len(calls) != 1 {
			t.Errorf("the hook was called %d times while it did not return, want once", len(calls))
		}
		client.fail(nil, nil)
		t.Log("# the session is not affected, and the hook returns")
		peer := w.accept(l)
		connWantRead(t, peer, "x")
		hook.mu.Lock()
		close(hook.block)
		hook.block = nil
		hook.mu.Unlock()
		time.Sleep(time.Second)

		client.fail(nil, always)
		t.Log("# later errors call it again")
		connWrite(t, s, "y")
		time.Sleep(20 * time.Second)
		if calls := hook.take(); len(calls) < 2 {
			t.Errorf("the hook was called %d times once it had returned", len(calls))
		}
		client.fail(nil, nil)
		connWantRead(t, peer, "y")
	})
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) { // and may call whatever it likes
		var s *UDPSession
		done := make(chan struct{})
		near, _ := w.pipe()
		conn := &faultConn{PacketConn: near}
		conn.fail(nil, always)
		s = w.dialOver(conn, false, memAddr("b"), 1, Config{OnSocketError: func(string, error) {
			if s.Stats().Socket.LostDatagrams == 0 {
				t.Error("the hook was called before the loss was counted")
			}
			s.SetLinger(0)
			_ = s.Close()
			close(done)
		}})
		mustWrite(t, s, []byte("x"))
		<-done
		time.Sleep(time.Second)
	})
}

func TestPacketsWithoutANonceCountAsLost(t *testing.T) {
	block, err := NewAESBlockCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		s := w.dial(Config{BlockCrypt: block, NoCongestionControl: true})
		connWrite(t, s, "x")
		SetEntropy(faultReader{})
		defer SetEntropy(NewEntropyAES())
		connWrite(t, s, "y")
		if err := s.SendOOB([]byte("z")); !errors.Is(err, errFault) {
			t.Errorf("SendOOB without a nonce: %v", err)
		}
		if st := s.Stats().Socket; st.LostDatagrams != 2 || !errors.Is(st.LastError, errFault) {
			t.Errorf("2 packets without a nonce: %+v", st)
		}
	})
}

type faultReader struct{}

func (faultReader) Read([]byte) (int, error) { return 0, errFault }

func TestSocketBuffersCanBeRead(t *testing.T) {
	l := listenLoopback(t, nil)
	s := dialLoopback(t, l, nil)
	for name, tt := range map[string]struct {
		stats func() SocketStats
		set   interface {
			SetReadBuffer(int) error
			SetWriteBuffer(int) error
		}
	}{
		"listener": {func() SocketStats { return l.Stats().Socket }, l},
		"session":  {func() SocketStats { return s.Stats().Socket }, s},
	} {
		before := tt.stats()
		if before.ReadBuffer < leastSocketBuffer || before.WriteBuffer < leastSocketBuffer {
			t.Errorf("%s: buffers of %d and %d bytes were granted, want at least a default",
				name, before.ReadBuffer, before.WriteBuffer)
		}
		err := errors.Join(tt.set.SetReadBuffer(20_000), tt.set.SetWriteBuffer(30_000))
		if err != nil {
			t.Fatal(err)
		}
		after := tt.stats()
		if after.ReadBuffer < 20_000 || after.ReadBuffer > 40_000 || after.WriteBuffer < 30_000 ||
			after.WriteBuffer > 60_000 {
			t.Errorf("%s: asked for 20000 and 30000 bytes, reported %d and %d",
				name, after.ReadBuffer, after.WriteBuffer)
		}
	}
}
