// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func batchTestBatch() []outgoing {
	return []outgoing{
		{buf: batchTestDatagram(0, 30), to: batchTestPeer},
		batchTestRun(1, 10, 100, 100, batchTestPeer),
		{buf: batchTestDatagram(11, 30), to: batchTestPeer},
		batchTestRun(12, 4, 100, 7, batchTestPeer),
		{buf: batchTestDatagram(16, 30), to: batchTestPeer},
	}
}

func TestRefusedRunIsResentDatagramByDatagram(t *testing.T) {
	for _, tt := range []struct {
		errno syscall.Errno
		on    bool // GSO stays on for the socket
		runs  int  // that a second, unhindered batch to the same peer sends
		other int  // and one to another peer
	}{
		{unix.EIO, false, 0, 0},
		{unix.EOPNOTSUPP, false, 0, 0},
		{unix.ENOPROTOOPT, false, 0, 0},
		{unix.EINVAL, true, 0, 2},
		{unix.EMSGSIZE, true, 0, 2},
		{unix.ENOBUFS, true, 2, 2},
		{unix.EPERM, true, 2, 2},
	} {
		t.Run(unix.ErrnoName(tt.errno), func(t *testing.T) {
			k := &batchKernel{refuse: func(m batchMessage) syscall.Errno {
				if m.segment > 0 {
					return tt.errno
				}
				return 0
			}}
			c := batchKernelConn(t, k)
			p := batchTestBatch()
			want := batchTestCut(p)
			sent, lost, err := c.writeBatch(p)
			if sent != len(want) || lost != 0 || err != nil {
				t.Fatalf("writeBatch = %d, %d, %v, want %d, 0, nil", sent, lost, err, len(want))
			}
			batchTestEqual(t, k.datagrams, want)
			if gso, _ := c.features(); gso != tt.on {
				t.Errorf("gso = %v afterwards, want %v", gso, tt.on)
			}
			wantSegments := 1
			if tt.on {
				wantSegments = maxRunSegments
			}
			if _, segments := c.maxRun(); segments != wantSegments {
				t.Errorf("maxRun = %d segments, want %d", segments, wantSegments)
			}
			k.refuse = nil
			_, _, _ = c.writeBatch(p)
			if k.runs != tt.runs {
				t.Errorf("%d runs to the same peer, want %d", k.runs, tt.runs)
			}
			k.runs = 0
			for i := range p {
				p[i].to = netip.MustParseAddrPort("127.0.0.2:1000")
			}
			_, _, _ = c.writeBatch(p)
			if k.runs != tt.other {
				t.Errorf("%d runs to another peer, want %d", k.runs, tt.other)
			}
		})
	}
}

func TestErrorThatIsNotTheRunsDoingKeepsGSO(t *testing.T) {
	for _, errno := range []syscall.Errno{
		unix.EIO, unix.EINVAL, unix.ENETUNREACH, unix.EPERM, unix.ENOBUFS,
	} {
		k := &batchKernel{refuse: func(m batchMessage) syscall.Errno {
			if m.port == 2000 {
				return errno
			}
			return 0
		}}
		c := batchKernelConn(t, k)
		p := batchTestBatch()
		p[1].to = netip.MustParseAddrPort("127.0.0.1:2000")
		sent, lost, err := c.writeBatch(p)
		if sent != 7 || lost != 10 || err != errno {
			t.Errorf("%v: writeBatch = %d, %d, %v, want 7, 10", errno, sent, lost, err)
		}
		batchTestEqual(t, k.datagrams, batchTestCut(slices.Delete(p, 1, 2)))
		if k.runs != 1 || k.calls > 4 {
			t.Errorf("%v: %d runs in %d calls, want 1 in at most 4", errno, k.runs, k.calls)
		}
		if gso, _ := c.features(); !gso {
			t.Errorf("%v: GSO is off, want on", errno)
		}
	}
}

func TestRefusedDatagramOfAResentRunIsTheOnlyOneLost(t *testing.T) {
	k := &batchKernel{refuse: func(m batchMessage) syscall.Errno {
		if m.segment > 0 || bytes.HasPrefix(m.data, []byte("000004")) {
			return unix.EMSGSIZE
		}
		return 0
	}}
	p := batchTestBatch()
	want := batchTestCut(p)
	sent, lost, err := batchKernelConn(t, k).writeBatch(p)
	if sent != len(want)-1 || lost != 1 || err != unix.EMSGSIZE {
		t.Fatalf("writeBatch = %d, %d, %v, want %d, 1, EMSGSIZE", sent, lost, err, len(want)-1)
	}
	batchTestEqual(t, k.datagrams, slices.Delete(want, 4, 5))
}

func TestManyPeersRefusedInARowTurnGSOOff(t *testing.T) {
	k := &batchKernel{refuse: func(m batchMessage) syscall.Errno {
		if m.segment > 0 && m.port == 1 {
			return unix.EINVAL
		}
		return 0
	}}
	c := batchKernelConn(t, k)
	host := byte(0)
	send := func(port uint16) {
		host++
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, host}), port)
		if sent, lost, err := c.writeBatch([]outgoing{batchTestRun(0, 3, 20, 20, to)}); sent != 3 {
			t.Fatalf("writeBatch = %d, %d, %v, want 3, 0, nil", sent, lost, err)
		}
	}
	for range gsoRefusals - 1 {
		send(1)
	}
	send(2)
	for range gsoRefusals - 1 {
		send(1)
	}
	if !c.gso.enabled() {
		t.Fatal("GSO is off though a run was accepted in between")
	}
	send(1)
	if c.gso.enabled() {
		t.Fatalf("GSO is on after %d refusals in a row", gsoRefusals)
	}
}

func TestRefusedPeerIsTriedAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gsoState
		g.init(true)
		peer := netip.MustParseAddr("2001:db8::1")
		if got := g.segments(peer); got != maxRunSegments {
			t.Fatalf("segments = %d at first, want %d", got, maxRunSegments)
		}
		g.refused(peer, unix.EMSGSIZE)
		time.Sleep(gsoRetry - time.Second)
		if got := g.segments(peer); got != 1 {
			t.Fatalf("segments = %d shortly before the retry, want 1", got)
		}
		time.Sleep(time.Second)
		if got := g.segments(peer); got != maxRunSegments {
			t.Fatalf("segments = %d after %v, want %d", got, gsoRetry, maxRunSegments)
		}
		g.refused(peer, unix.EMSGSIZE)
		if got := g.segments(peer); got != 1 {
			t.Fatalf("segments = %d after a second refusal, want 1", got)
		}
	})
}

func TestPartialSendsAreContinued(t *testing.T) {
	for atMost := 1; atMost <= 3; atMost++ {
		interrupted := false
		k := &batchKernel{atMost: atMost}
		k.refuse = func(batchMessage) syscall.Errno {
			if interrupted = !interrupted; interrupted {
				return unix.EINTR
			}
			return 0
		}
		p := batchTestBatch()
		want := batchTestCut(p)
		sent, lost, err := batchKernelConn(t, k).writeBatch(p)
		if sent != len(want) || lost != 0 || err != nil {
			t.Fatalf("writeBatch = %d, %d, %v, want %d, 0, nil", sent, lost, err, len(want))
		}
		batchTestEqual(t, k.datagrams, want)
	}
}

func TestFullSocketBufferIsWaitedForButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := time.Now().Add(30 * time.Millisecond)
		k := &batchKernel{refuse: func(batchMessage) syscall.Errno {
			if time.Now().Before(room) {
				return unix.EAGAIN
			}
			return 0
		}}
		c := batchKernelConn(t, k)
		p := batchTestBatch()
		want := batchTestCut(p)
		start := time.Now()
		sent, lost, err := c.writeBatch(p)
		if sent != len(want) || lost != 0 || err != nil {
			t.Fatalf("writeBatch = %d, %d, %v, want %d, 0, nil", sent, lost, err, len(want))
		}
		if waited := time.Since(start); waited > 30*time.Millisecond+writePause {
			t.Errorf("waited %v for room that was there after 30ms", waited)
		}
		room, start = time.Now().Add(time.Hour), time.Now()
		sent, lost, err = c.writeBatch(p)
		if sent != 0 || lost != len(want) || err != unix.EAGAIN {
			t.Fatalf("writeBatch = %d, %d, %v, want 0, %d, EAGAIN", sent, lost, err, len(want))
		}
		if waited := time.Since(start); waited < writeWait || waited > writeWait+writePause {
			t.Errorf("waited %v for a buffer that stays full, want %v", waited, writeWait)
		}
	})
}

func TestAnyMixOfErrorsKeepsOrderAndCount(t *testing.T) {
	errnos := []syscall.Errno{
		unix.ENOBUFS, unix.EPERM, unix.EMSGSIZE, unix.EINVAL, unix.EIO, unix.ENETUNREACH,
		unix.ECONNREFUSED, unix.EINTR, unix.EAGAIN,
	}
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			percent := 1 + random.IntN(40)
			k := &batchKernel{atMost: random.IntN(5)}
			k.refuse = func(batchMessage) syscall.Errno {
				if random.IntN(100) < percent {
					return errnos[random.IntN(len(errnos))]
				}
				return 0
			}
			c := batchKernelConn(t, k)
			for range 5 {
				var p []outgoing
				for n := 0; len(p) < 1+random.IntN(100); n += 40 {
					addr := netip.AddrFrom4([4]byte{127, 0, 0, byte(random.IntN(3))})
					to := netip.AddrPortFrom(addr, 9)
					if random.IntN(50) == 0 {
						to = netip.MustParseAddrPort("[2001:db8::1]:9") // never on an IPv4 socket
					}
					p = append(p, batchTestRun(n, 1+random.IntN(40), 20, 6+random.IntN(15), to))
				}
				k.datagrams = nil
				sent, lost, err := c.writeBatch(p)
				want := batchTestCut(p)
				if sent != len(k.datagrams) || sent+lost != len(want) ||
					(lost > 0) != (err != nil) {
					t.Fatalf("seed %d: %d sent, %d lost, %v, want %d sent of %d",
						seed, sent, lost, err, len(k.datagrams), len(want))
				}
				for _, d := range k.datagrams {
					i := slices.IndexFunc(want, func(w []byte) bool { return bytes.Equal(w, d) })
					if i < 0 {
						t.Fatalf("seed %d: datagram %.6q twice or out of order", seed, d)
					}
					want = want[i+1:]
				}
			}
		})
	}
}

func TestErrorLeftByAnEarlierDatagramCostsNone(t *testing.T) {
	server := batchSocket(t, "127.0.0.1:0")
	conn, err := net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, errno := range []syscall.Errno{unix.ECONNREFUSED, unix.ENOPROTOOPT, unix.EMSGSIZE} {
		pending := errno
		k := &batchKernel{refuse: func(batchMessage) syscall.Errno {
			e := pending
			pending = 0
			return e
		}}
		c := batchKernelConnOn(t, k, conn)
		p := batchTestBatch()[1:2]
		p[0].to = batchAddr(server)
		if sent, lost, err := c.writeBatch(p); sent != 10 || lost != 0 || err != nil {
			t.Errorf("%v: writeBatch = %d, %d, %v, want 10, 0, nil", errno, sent, lost, err)
		}
		if k.runs != 1 {
			t.Errorf("%v: %d runs, want 1", errno, k.runs)
		}
		left := false // each message finds an error left by the one before
		k.refuse = func(batchMessage) syscall.Errno {
			if left = !left; left {
				return errno
			}
			return 0
		}
		k.atMost = 1
		many := []outgoing{{buf: []byte("a")}, {buf: []byte("b")}, {buf: []byte("c")}}
		if sent, lost, err := c.writeBatch(many); sent != 3 || lost != 0 || err != nil {
			t.Errorf("%v each time: writeBatch = %d, %d, %v, want 3, 0, nil",
				errno, sent, lost, err)
		}
		k.refuse = func(batchMessage) syscall.Errno { return errno }
		if sent, lost, err := c.writeBatch(p); sent != 0 || lost != 10 || err != errno {
			t.Errorf("%v for ever: writeBatch = %d, %d, %v, want 0, 10", errno, sent, lost, err)
		}
	}
	_ = server.Close()
	c := newBatchConn(conn)
	for range 4 { // each datagram meets a closed port and leaves an error for the next
		if sent, lost, err := c.writeBatch([]outgoing{{buf: []byte("x")}}); sent != 1 ||
			lost != 0 || err != nil {
			t.Fatalf("writeBatch = %d, %d, %v, want 1, 0, nil", sent, lost, err)
		}
	}
	if n, err := c.readBatch(newHeldBuffers(c)); n != 0 || !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatalf("readBatch = %d, %v, want 0, ECONNREFUSED", n, err)
	}
}

func TestBlockedSystemCallsLeaveThePortablePath(t *testing.T) {
	blocked := false
	k := &batchKernel{
		refuse: func(m batchMessage) syscall.Errno {
			if blocked && bytes.HasPrefix(m.data, []byte("000005")) {
				return unix.ENOSYS
			} else if blocked && m.segment > 0 {
				return unix.ENOBUFS
			}
			return 0
		},
		receive: func([]mmsghdr) (int, syscall.Errno) { return -1, unix.EPERM },
	}
	server := batchSocket(t, "127.0.0.1:0")
	conn := batchSocket(t, "127.0.0.1:0")
	c := newLinuxConn(conn, k.mmsgCalls())
	blocked = true
	p := batchTestBatch()
	for i := range p {
		p[i].to = batchAddr(server)
	}
	want := batchTestCut(p)
	sent, lost, err := c.writeBatch(p)
	if sent != len(want) || lost != 0 || err != nil {
		t.Fatalf("writeBatch = %d, %d, %v, want %d, 0, nil", sent, lost, err, len(want))
	}
	got, _ := batchTestRead(t, newPortableConn(server), len(want)-len(k.datagrams))
	batchTestEqual(t, append(k.datagrams, got...), want)
	if gso, gro := c.features(); gso || gro {
		t.Errorf("features = %v, %v, want none any more", gso, gro)
	}

	// the sending of nothing is still allowed, receiving is not
	c = newLinuxConn(conn, k.mmsgCalls())
	if _, err := server.WriteToUDPAddrPort([]byte("hello"), batchAddr(conn)); err != nil {
		t.Fatal(err)
	}
	got, _ = batchTestRead(t, c, 1)
	batchTestEqual(t, got, [][]byte{[]byte("hello")})

	k = &batchKernel{}
	calls := k.mmsgCalls()
	calls.send = func(uintptr, []mmsghdr) (int, syscall.Errno) { return -1, unix.ENOSYS }
	if newLinuxConn(conn, calls) != nil {
		t.Error("a Linux batchConn without sendmmsg, want none")
	}
	calls = k.mmsgCalls()
	calls.recv = func(uintptr, []mmsghdr) (int, syscall.Errno) { return -1, unix.EPERM }
	if newLinuxConn(conn, calls) != nil {
		t.Error("a Linux batchConn without recvmmsg, want none")
	}
}
