// SPDX-License-Identifier: MIT

package soak

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
)

var (
	soakFor  = flag.Duration("soak", 3*time.Second, "how long TestSoak runs")
	soakSeed = flag.Uint64("seed", 1, "the seed of TestSoak; a run does not repeat exactly")
)

const (
	deadTimeout = 3 * time.Second
	clients     = 8
)

// soak is one run: a listener for each cipher, clients that come and go, and an attacker.
type soak struct {
	t        *testing.T
	stop     chan struct{}
	wg       sync.WaitGroup // clients, attackers
	sessions sync.WaitGroup // accepted sessions
	tape     tape           // of the listener with an AEAD

	done, ended, lost atomic.Int64 // sessions that moved all, were ended on purpose, met a dead path
	bytes, attacks    atomic.Int64
}

// TestSoak also shows that what it uses is given back: it compares goroutines, descriptors and heap
// at its end with those of its beginning, and the heap halfway with that of the end.
func TestSoak(t *testing.T) {
	warmUp(t)
	before := usageNow()
	s := &soak{t: t, stop: make(chan struct{})}
	key := make([]byte, 32)
	aead, err := kcp.NewAESGCMCrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	cfb, err := kcp.NewAESBlockCrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	var listeners []*kcp.Listener
	for i, crypt := range []kcp.BlockCrypt{aead, cfb} {
		l := s.listen(crypt)
		listeners = append(listeners, l)
		for c := range clients / 2 {
			seed := *soakSeed<<16 | uint64(i<<8|c)
			s.wg.Go(func() { s.client(l.Addr().(*net.UDPAddr), crypt, crypt == aead, seed) })
		}
	}
	s.wg.Go(func() { s.attack(listeners[0].Addr().(*net.UDPAddr), true) })
	s.wg.Go(func() { s.attack(listeners[1].Addr().(*net.UDPAddr), false) })
	time.Sleep(*soakFor / 2)
	half := usageNow()
	time.Sleep(*soakFor / 2)
	late := usageNow()
	close(s.stop)
	s.wg.Wait()
	for _, l := range listeners {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	s.sessions.Wait()
	t.Logf("%v: %d sessions moved %d MB, %d were cut off, %d met a dead path; %d datagrams of attackers",
		*soakFor, s.done.Load(), s.bytes.Load()/1e6, s.ended.Load(), s.lost.Load(), s.attacks.Load())
	t.Logf("before %v; halfway %v; late %v; after %v", before, half, late, settle(before))
	s.check(before, half, late)
}

func (s *soak) check(before, half, late usage) {
	t := s.t
	if s.done.Load() == 0 || s.ended.Load()+s.lost.Load() == 0 || s.attacks.Load() == 0 {
		t.Error("something did not happen at all")
	}
	after := settle(before)
	if after.goroutines > before.goroutines {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before\n%s", after.goroutines, before.goroutines, buf[:runtime.Stack(buf, true)])
	}
	if after.descriptors > before.descriptors {
		t.Errorf("%d descriptors, %d before", after.descriptors, before.descriptors)
	}
	if n := kcp.DefaultSnmp.Copy().CurrEstab; n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	// What the sessions hold at one moment differs by some MB.
	if late.heap > half.heap+half.heap/2+32<<20 {
		t.Errorf("the heap grew from %v to %v", half, late)
	}
	if after.heap > before.heap+16<<20 {
		t.Errorf("the heap is %v at the end, %v at the beginning", after, before)
	}
}

func (s *soak) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

func (s *soak) listen(crypt kcp.BlockCrypt) *kcp.Listener {
	c := kcp.Config{BlockCrypt: crypt, DeadTimeout: deadTimeout, IdleTimeout: 4 * deadTimeout, StreamMode: true, NoDelay: true}
	l, err := c.Listen(s.t.Context(), "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.sessions.Go(func() {
		for {
			conn, err := l.AcceptKCP()
			if err != nil {
				return
			}
			s.sessions.Go(func() { s.answer(conn) })
		}
	})
	return l
}

// client dials, moves data and ends, again and again, each time through a relay of its own.
func (s *soak) client(server *net.UDPAddr, crypt kcp.BlockCrypt, replays bool, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	for !s.stopped() {
		var tape *tape
		if replays {
			tape = &s.tape
		}
		r, err := newRelay(server, true, tape, rng.Uint64())
		if err != nil {
			s.t.Error(err)
			return
		}
		s.session(r, drawConfig(rng, crypt), rng)
		r.close()
	}
}

func drawConfig(rng *rand.Rand, crypt kcp.BlockCrypt) kcp.Config {
	c := kcp.Config{
		BlockCrypt: crypt, DeadTimeout: deadTimeout, KeepAlive: time.Second, StreamMode: true, NoDelay: true,
		MTU: 600 + rng.IntN(900), FastResend: rng.IntN(3), ACKNoDelay: rng.IntN(2) == 0, WriteDelay: rng.IntN(4) == 0,
		SharedSocket:      rng.IntN(2) == 0,
		CongestionControl: []kcp.CongestionControl{"", kcp.CongestionRateAggressive, kcp.CongestionCubic, kcp.CongestionClassic}[rng.IntN(4)],
	}
	switch rng.IntN(3) {
	case 0:
		c.DataShards, c.ParityShards = 1+rng.IntN(10), 1+rng.IntN(3)
	case 1:
		c.FEC = kcp.FECAuto
	}
	return c
}

// attack sends garbage, and to a listener with an AEAD also what it has recorded, whole or changed,
// from addresses of its own.
func (s *soak) attack(server *net.UDPAddr, replays bool) {
	rng := rand.New(rand.NewPCG(*soakSeed, 99))
	var conn *net.UDPConn
	for n := 0; !s.stopped(); n++ {
		if n%200 == 0 {
			if conn != nil {
				_ = conn.Close()
			}
			var err error
			if conn, err = net.DialUDP("udp", nil, server); err != nil {
				s.t.Error(err)
				return
			}
		}
		b := make([]byte, rng.IntN(1500))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if old := s.tape.any(rng); replays && len(old) > 0 && rng.IntN(4) > 0 {
			b = old
			if rng.IntN(3) == 0 {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
			if rng.IntN(8) == 0 {
				b = b[:rng.IntN(len(b))]
			}
		}
		_, _ = conn.Write(b)
		s.attacks.Add(1)
		if n%20 == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	_ = conn.Close()
}

// usage is what the process uses.
type usage struct {
	goroutines, descriptors int
	heap                    uint64
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MB", u.goroutines, u.descriptors, float64(u.heap)/1e6)
}

func usageNow() usage {
	runtime.GC()
	runtime.GC() // empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), descriptors(), m.HeapAlloc}
}

// descriptors counts the open ones, where the system has a folder of them.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// settle waits until no more is used than before, or for 20 s: sessions linger, and the last
// goroutines end behind what has been waited for.
func settle(before usage) usage {
	end := time.Now().Add(20 * time.Second)
	for {
		u := usageNow()
		if time.Now().After(end) || u.goroutines <= before.goroutines && u.descriptors <= before.descriptors && kcp.DefaultSnmp.Copy().CurrEstab == 0 {
			return u
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// warmUp starts what stays for the life of the process: the workers and readers of the library.
func warmUp(t *testing.T) {
	c := kcp.Config{}
	l, err := c.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c.SharedSocket = range []bool{false, true} {
		conn, err := c.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		accepted, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = accepted.Close(), conn.Close()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); kcp.DefaultSnmp.Copy().CurrEstab > 0 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
