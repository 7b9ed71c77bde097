// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// pollAvailable reports whether dialled sessions share goroutines on this system.
func pollAvailable() bool {
	set, err := newPollSet()
	if err != nil {
		return false
	}
	set.close()
	return true
}

// pollWorkers returns how many goroutines read the sockets of dialled sessions, and how many
// sockets they read.
func pollWorkers() (workers, sockets int) {
	readWorkers.Lock()
	defer readWorkers.Unlock()
	for _, w := range readWorkers.all {
		sockets += w.sockets
	}
	return len(readWorkers.all), sockets
}

// pollDial dials n sessions, each of which has a message echoed.
func pollDial(t *testing.T, l *Listener, n int) (sessions []*UDPSession) {
	t.Helper()
	for range n {
		s := dialLoopback(t, l, nil)
		_ = s.SetDeadline(time.Now().Add(20 * time.Second))
		sessions = append(sessions, s)
		pollEcho(t, s)
	}
	return sessions
}

// pollDialOver dials l over a socket of the library whose batchConn replace has replaced.
func pollDialOver(t *testing.T, l *Listener, replace func(c batchConn) batchConn) *UDPSession {
	t.Helper()
	o, err := new(Config).options()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := newDemux([]net.PacketConn{conn}, connOwn, o, newDialledIngress)
	d.eps[0].io = replace(d.eps[0].io)
	s, err := d.dialFirst(l.Addr(), randomConv(), o, dialSocket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.SetLinger(0)
		_ = s.Close()
	})
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	return s
}

func pollEcho(t *testing.T, s *UDPSession) {
	t.Helper()
	msg := []byte("is anybody there?")
	mustWrite(t, s, msg)
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, msg) {
		t.Fatalf("%q came back, error %v", got, err)
	}
}

// pollHeap returns the bytes on the heap.
func pollHeap() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC() // pools keep what they hold for a cycle
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestDialledSessionsShareTheirReaders(t *testing.T) {
	if !pollAvailable() {
		t.Skip("each socket has a goroutine on this system")
	}
	l := echoListener(t, listenLoopback(t, nil))
	before, _ := pollWorkers()
	goroutines := runtime.NumGoroutine()
	const n = 100
	sessions := pollDial(t, l, n)
	workers, _ := pollWorkers()
	if workers > max(before, runtime.GOMAXPROCS(0)) {
		t.Errorf("%d goroutines read the sockets, want at most %d", workers, runtime.GOMAXPROCS(0))
	}
	// The echo of each session is a goroutine of the test.
	most := goroutines + n + runtime.GOMAXPROCS(0) + len(SystemTimedSched.workers)
	if got := runtime.NumGoroutine(); got > most {
		t.Errorf("%d goroutines with %d sessions, %d without", got, n, goroutines)
	}
	for _, s := range sessions {
		s.SetLinger(0)
		s.Close()
	}
	roleWait(t, "without sockets", func() bool {
		_, sockets := pollWorkers()
		return sockets == 0
	})
	if workers, _ := pollWorkers(); workers != 0 {
		t.Errorf("%d goroutines are left without a socket", workers)
	}
}

// A socket that nothing arrives at holds no buffers to receive into, on either side.
func TestIdleSocketsHoldNoBuffers(t *testing.T) {
	if !pollAvailable() || bufferDebug {
		t.Skip("each socket has a goroutine and a buffer on this system")
	}
	begin := pollHeap()
	l := echoListener(t, listenLoopback(t, nil))
	if held := pollHeap() - begin; held > 64<<10 {
		t.Errorf("a listener holds %d bytes before the first datagram, want less than 64 KiB", held)
	}
	pollDial(t, l, 1)[0].Close()
	roleWait(t, "without a session", func() bool { return l.Stats().Sessions == 0 })
	if held := pollHeap() - begin; held > 64<<10 {
		t.Errorf("a listener holds %d bytes when it is idle, want less than 64 KiB", held)
	}
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	const n = 200
	before := pollHeap()
	for range n {
		s, err := Dial(peer.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	each := (pollHeap() - before) / n
	t.Logf("%d bytes of heap a dialled session", each)
	if each > 4<<10 {
		t.Errorf("%d bytes of heap a dialled session, want at most 4 KiB", each)
	}
}

// Sockets come and go while others are busy: none is served in another's place, and none is lost.
func TestSocketsComeAndGoUnderLoad(t *testing.T) {
	l := echoListener(t, listenLoopback(t, nil))
	steady := pollDial(t, l, 4)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 25 {
				s := dialLoopback(t, l, nil)
				_ = s.SetDeadline(time.Now().Add(20 * time.Second))
				pollEcho(t, s)
				s.SetLinger(0)
				s.Close()
			}
		})
	}
	for _, s := range steady {
		group.Go(func() {
			for range 200 {
				pollEcho(t, s)
			}
		})
	}
	group.Wait()
}

// A late report of a socket whose place another one has taken is not the other's.
func TestLateReportsAreDropped(t *testing.T) {
	w := new(readWorker)
	first, second := new(handoff), new(handoff)
	key := w.take(first)
	w.slots[uint32(key)].q = nil
	w.free = append(w.free, uint32(key))
	next := w.take(second)
	found := w.find([]uint64{key, next}, nil)
	if len(found) != 1 || found[0] != second {
		t.Errorf("found %v for a late report and a new one, want the new one", found)
	}
}

// A session that nothing is written to learns that its socket was closed, at the latest when
// Control returns.
func TestSocketClosedByControlEndsTheSession(t *testing.T) {
	s := roleAlone(t)
	done := make(chan error, 1)
	go func() {
		_, err := s.Read(make([]byte, 10))
		done <- err
	}()
	if err := s.Control(func(conn net.PacketConn) error { return conn.Close() }); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read gave %v, want that the socket is closed", err)
		}
	case <-time.After(roleTimeout):
		t.Fatal("Read is still blocked")
	}
}

// scriptedReads is a socket whose reads fail as a test says.
type scriptedReads struct {
	batchConn
	mu     sync.Mutex
	errors int // to come
	reads  int
}

func (c *scriptedReads) readReady(p []received) (int, error) {
	c.mu.Lock()
	fail := c.errors > 0
	if c.reads++; fail {
		c.errors--
	}
	c.mu.Unlock()
	if fail {
		return 0, errors.New("no buffer space")
	}
	return c.batchConn.readReady(p)
}

// A socket that fails again and again is left alone for a while. It does not delay the others of
// its worker, and is read once the fault is over.
func TestFailingSocketDelaysNoOther(t *testing.T) {
	if !pollAvailable() {
		t.Skip("each socket has a goroutine on this system")
	}
	l := echoListener(t, listenLoopback(t, nil))
	const failures = readErrorsFree + 4
	bad := &scriptedReads{errors: failures}
	failing := pollDialOver(t, l, func(c batchConn) batchConn {
		bad.batchConn = c
		return bad
	})
	mustWrite(t, failing, []byte("echo"))
	for _, s := range pollDial(t, l, 2*runtime.GOMAXPROCS(0)) {
		pollEcho(t, s)
	}
	if _, err := io.ReadFull(failing, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	bad.mu.Lock()
	defer bad.mu.Unlock()
	if bad.errors > 0 || bad.reads > 10*failures {
		t.Errorf("%d reads, %d of %d failures are to come", bad.reads, bad.errors, failures)
	}
	if st := failing.Stats(); st.Socket.ReadErrors != failures {
		t.Errorf("%d read errors are counted, want %d", st.Socket.ReadErrors, failures)
	}
}

// A pass on a socket without a key knows nothing of the keyed packets that the same buffers have
// held before. It does not answer data for a session that it does not know.
func TestNonceOfAnotherSocketIsForgotten(t *testing.T) {
	block, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	keyed := dialLoopback(t, echoListener(t, listenLoopback(t, block)), block)
	_ = keyed.SetDeadline(time.Now().Add(20 * time.Second))
	plain := listenLoopback(t, nil)
	peer := batchSocket(t, "127.0.0.1:0")
	unknown := appendSegment(nil, &segment{cmd: cmdPush, conv: 7, sn: 1000, data: []byte("x")})
	probe := appendSegment(nil, &segment{cmd: cmdWask, conv: 7, sn: 1}) // is answered
	buf := make([]byte, 100)
	for range 50 {
		pollEcho(t, keyed)
		for _, datagram := range [][]byte{unknown, probe} {
			if _, err := peer.WriteTo(datagram, plain.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		n, err := peer.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		var first segment
		if _, status := parseSegment(buf[:n], &first); status != parseOK || first.una != 0 {
			t.Fatalf("answered with command %d and una %d, want the answer to the probe alone",
				first.cmd, first.una)
		}
	}
}
