// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// connPair is a world with a dialled and an accepted session that have exchanged a message each.
type connPair struct {
	*connWorld
	listener       *Listener
	client, server *UDPSession
}

// pairRun runs f in a world of its own with a session whose ends have the same settings.
func pairRun(t *testing.T, seed uint64, p simProfile, c Config, f func(t *testing.T, n *connPair)) {
	t.Helper()
	unlikePairRun(t, seed, p, c, c, f)
}

// unlikePairRun is pairRun with separate settings for each side.
func unlikePairRun(t *testing.T, seed uint64, p simProfile, client, server Config,
	f func(t *testing.T, n *connPair)) {
	t.Helper()
	connRunSeed(t, seed, p, func(t *testing.T, w *connWorld) {
		n := &connPair{connWorld: w, listener: w.serve(server), client: w.dial(client)}
		n.server = w.join(n.client, n.listener)
		f(t, n)
	})
}

// inSession runs f in virtual time with a dialled and an accepted session over a link without loss.
func inSession(t *testing.T, c Config, f func(t *testing.T, client, server *UDPSession)) {
	t.Helper()
	pairRun(t, 1, shortLink, c,
		func(t *testing.T, n *connPair) { f(t, n.client, n.server) })
}

// move sends data from the client to the server, which reads it to the end of the stream. It
// returns how long that took.
func (n *connPair) move(t testing.TB, data []byte) time.Duration {
	t.Helper()
	start := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := n.client.Write(data)
		if err == nil {
			err = n.client.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(n.server)
	took := time.Since(start)
	if err != nil {
		t.Fatalf("after %d of %d bytes and %v: %v", len(got), len(data), took, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("%d bytes arrived changed, want %d", len(got), len(data))
	}
	return took
}

// bothDial makes two dialled sessions of one conversation, as two peers do after hole punching. The
// first has the greater incarnation.
func bothDial(w *connWorld, c Config) (upper, lower *UDPSession) {
	w.t.Helper()
	upper = w.dialFrom(restartAddr, 77, c)
	conn := w.endpoint(connServerAddr)
	lower = w.dialOver(conn, true, upper.LocalAddr(), 77, c)
	for i, s := range []*UDPSession{lower, upper} {
		s.mu.Lock()
		s.core.ctl.incarnation = uint64(1000 + i)
		s.mu.Unlock()
	}
	return upper, lower
}

// sendAcross writes data on one side and reads it on the other.
func sendAcross(t *testing.T, from, to *UDPSession, data []byte) {
	t.Helper()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = from.Write(data)
	}()
	_ = to.SetReadDeadline(time.Now().Add(time.Minute))
	connWantRead(t, to, string(data))
	<-sent
}

// exchange sends size bytes in each direction at once, after one byte that the client has sent.
func exchange(t *testing.T, client, server *UDPSession, size int) {
	t.Helper()
	_ = client.SetDeadline(time.Now().Add(30 * time.Second))
	_ = server.SetDeadline(time.Now().Add(30 * time.Second))
	mustRead(t, server, 1)
	up, down := pattern(size, 1), pattern(size, 2)
	var wg sync.WaitGroup
	for _, half := range []struct {
		from, to *UDPSession
		data     []byte
	}{{client, server, up}, {server, client, down}} {
		wg.Go(func() {
			if _, err := half.from.Write(half.data); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			got := make([]byte, size)
			if n, err := io.ReadFull(half.to, got); err != nil || string(got) != string(half.data) {
				t.Errorf("%d bytes of %d arrived, or changed: %v", n, size, err)
			}
		})
	}
	wg.Wait()
}

// mustWrite writes all of p.
func mustWrite(t testing.TB, s io.Writer, p []byte) {
	t.Helper()
	if n, err := s.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write of %d bytes = %d, %v", len(p), n, err)
	}
}

// mustRead reads once into a buffer of size bytes.
func mustRead(t testing.TB, s io.Reader, size int) []byte {
	t.Helper()
	buf := make([]byte, size)
	n, err := s.Read(buf)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return buf[:n]
}

// mustReadNothing checks that nothing can be read for a minute of virtual time.
func mustReadNothing(t testing.TB, s net.Conn) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	var buf [1]byte
	if n, err := s.Read(buf[:]); n != 0 || err != errTimeout {
		t.Fatalf("Read = %d, %v, want nothing for a minute", n, err)
	}
	_ = s.SetReadDeadline(time.Time{})
}

// shortLink is a link with a round trip of 10 ms.
var shortLink = simProfile{Delay: 5 * time.Millisecond}

// closeLink is the link of most tests: a round trip takes 40 ms.
var closeLink = simProfile{Delay: 20 * time.Millisecond}

// closeWantEOF checks that the stream has ended, and stays ended.
func closeWantEOF(t *testing.T, s net.Conn) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	for range 3 {
		if n, err := s.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Fatalf("Read at the end gave %d, %v; want 0 and io.EOF itself", n, err)
		}
	}
	_ = s.SetReadDeadline(time.Time{})
}

// closeWantClosed checks that the calls of s fail as after a Close on this side.
func closeWantClosed(t *testing.T, s net.Conn) {
	t.Helper()
	_, readErr := s.Read(make([]byte, 1))
	_, writeErr := s.Write([]byte{1})
	for name, err := range map[string]error{
		"Read": readErr, "Write": writeErr, "Close": s.Close(),
		"SetDeadline": s.SetDeadline(time.Now()),
	} {
		if !errors.Is(err, net.ErrClosed) || !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s after Close: %v; want one that matches net.ErrClosed and io.ErrClosedPipe",
				name, err)
		}
	}
}

// liveEnd reads until the session fails, and returns the time that took and the error.
func liveEnd(s *UDPSession) (after time.Duration, err error) {
	began := time.Now()
	for err == nil {
		_, err = s.Read(make([]byte, 100))
	}
	return time.Since(began), err
}

const restartAddr = "10.0.0.2:2000"

// restartCrash closes a session's socket as the end of its process does. The peer is not notified.
func restartCrash(s *UDPSession) {
	endpointOf(s).conn.Close()
	time.Sleep(time.Second)
}

// keyless returns a cipher that is the same on the wire, but from which no session keys are made.
func keyless(b BlockCrypt) BlockCrypt { return NewAEADCrypt(b.(*aeadCrypt).aead) }

// restartConfigs returns configurations in which a RESET is authenticated, and some in which it is
// not.
func restartConfigs(t *testing.T) map[string]Config {
	t.Helper()
	gcm, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Config{
		"plain": {StreamMode: true}, "messages": {}, "aes-gcm": {StreamMode: true, BlockCrypt: gcm},
		"aead":    {StreamMode: true, BlockCrypt: keyless(gcm)},
		"fec":     {StreamMode: true, DataShards: 3, ParityShards: 1},
		"fast":    {StreamMode: true, NoDelay: true, NoCongestionControl: true},
		"delayed": {StreamMode: true, NoDelay: true, NoCongestionControl: true, WriteDelay: true},
	}
}

// restartWantEnd reads all of want and then the error that ends the session.
func restartWantEnd(t *testing.T, s *UDPSession, want string, end error) {
	t.Helper()
	connWantRead(t, s, want)
	_ = s.SetReadDeadline(time.Now().Add(3 * time.Minute))
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, end) {
		t.Errorf("Read behind %q gave %v, want %v", want, err, end)
	}
	if _, err := s.Write([]byte{1}); !errors.Is(err, end) {
		t.Errorf("Write gave %v, want %v", err, end)
	}
}

func replayConfigs(t *testing.T) map[string]Config {
	gcm, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	x, err := chacha20poly1305.NewX(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Config{
		"AES-GCM":           {BlockCrypt: keyless(gcm)},
		"AES-GCM FEC":       {BlockCrypt: keyless(gcm), DataShards: 2, ParityShards: 1},
		"session keys":      {BlockCrypt: gcm},
		"session keys FEC":  {BlockCrypt: gcm, DataShards: 2, ParityShards: 1},
		"XChaCha20 streams": {BlockCrypt: NewAEADCrypt(x), StreamMode: true},
	}
}

// marksOff makes s a legacy peer with respect to nonces: neither side reads a mark in the other's.
func marksOff(s *UDPSession) {
	s.mu.Lock()
	s.core.ctl.flags &^= helloMarks
	s.mu.Unlock()
}

// retransmits returns how many segments a session has sent again.
func retransmits(st Stats) uint64 {
	return st.TimeoutRetransmits + st.FastRetransmits + st.EarlyRetransmits
}
