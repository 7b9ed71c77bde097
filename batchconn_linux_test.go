// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchKernel is a kernel that keeps what it is given to send, and refuses what it is told to.
type batchKernel struct {
	datagrams [][]byte
	runs      int                                // messages that held more than one datagram
	calls     int                                // sendmmsg calls
	atMost    int                                // messages taken per call, 0 for all
	refuse    func(m batchMessage) syscall.Errno // nil takes all
	receive   func(msgs []mmsghdr) (int, syscall.Errno)
}

// batchMessage is one message of a sendmmsg call.
type batchMessage struct {
	data    []byte
	segment int // 0 for a single datagram
	port    uint16
}

func (k *batchKernel) mmsgCalls() mmsgCalls {
	return mmsgCalls{recv: k.recv, send: k.send}
}

func (k *batchKernel) recv(_ uintptr, msgs []mmsghdr) (int, syscall.Errno) {
	if len(msgs) == 0 {
		return 0, 0
	}
	return k.receive(msgs)
}

func (k *batchKernel) send(_ uintptr, msgs []mmsghdr) (int, syscall.Errno) {
	if len(msgs) > 0 {
		k.calls++
	}
	for i := range msgs {
		if k.atMost > 0 && i == k.atMost {
			return i, 0
		}
		m := batchTestMessage(&msgs[i])
		if k.refuse != nil {
			if errno := k.refuse(m); errno != 0 && i > 0 {
				return i, 0
			} else if errno != 0 {
				return -1, errno
			}
		}
		if m.segment > 0 {
			k.runs++
		}
		for _, d := range batchTestCut([]outgoing{{buf: m.data, segment: m.segment}}) {
			k.datagrams = append(k.datagrams, bytes.Clone(d))
		}
	}
	return len(msgs), 0
}

func batchTestMessage(msg *mmsghdr) (m batchMessage) {
	m.data = unsafe.Slice(msg.hdr.Iov.Base, int(msg.hdr.Iov.Len))
	if msg.hdr.Name != nil {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(msg.hdr.Name))
		m.port = decodeAddr((*unix.RawSockaddrInet6)(unsafe.Pointer(sa)), msg.hdr.Namelen).Port()
	}
	if msg.hdr.Controllen > 0 {
		m.segment = int(*(*uint16)(unsafe.Add(unsafe.Pointer(msg.hdr.Control), controlDataOffset)))
	}
	return m
}

func batchKernelConn(t *testing.T, k *batchKernel) *linuxConn {
	t.Helper()
	c := newLinuxConn(batchSocket(t, "127.0.0.1:0"), k.mmsgCalls())
	if c == nil {
		t.Fatal("no Linux batchConn")
	}
	if !c.gso.enabled() {
		t.Skip("no UDP GSO in this kernel")
	}
	return c
}

var batchTestPeer = netip.MustParseAddrPort("127.0.0.1:1000")

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
	for _, errno := range []syscall.Errno{unix.EIO, unix.EINVAL, unix.ENETUNREACH, unix.EPERM, unix.ENOBUFS} {
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

func TestManyPeersRefusedTurnGSOOff(t *testing.T) {
	var g gsoState
	g.init(true)
	peer := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }
	for i := range gsoRefusals - 1 {
		g.refused(peer(i), unix.EINVAL)
	}
	g.accepted()
	for i := range gsoRefusals - 1 {
		g.refused(peer(i), unix.EINVAL)
	}
	if !g.enabled() {
		t.Fatal("GSO is off though a run was accepted in between")
	}
	g.refused(peer(gsoRefusals), unix.EINVAL)
	if g.enabled() || g.segments(peer(200)) != 1 {
		t.Fatal("GSO is on after so many refusals in a row")
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
	errnos := []syscall.Errno{unix.ENOBUFS, unix.EPERM, unix.EMSGSIZE, unix.EINVAL, unix.EIO, unix.ENETUNREACH,
		unix.ECONNREFUSED, unix.EINTR, unix.EAGAIN}
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
					to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(random.IntN(3))}), 9)
					if random.IntN(50) == 0 {
						to = netip.MustParseAddrPort("[2001:db8::1]:9") // never on an IPv4 socket
					}
					p = append(p, batchTestRun(n, 1+random.IntN(40), 20, 6+random.IntN(15), to))
				}
				k.datagrams = nil
				sent, lost, err := c.writeBatch(p)
				want := batchTestCut(p)
				if sent != len(k.datagrams) || sent+lost != len(want) || (lost > 0) != (err != nil) {
					t.Fatalf("seed %d: %d sent, %d lost, %v, want %d sent of %d", seed, sent, lost, err, len(k.datagrams), len(want))
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
		c := newLinuxConn(conn, k.mmsgCalls())
		p := batchTestBatch()[1:2]
		p[0].to = batchAddr(server)
		if sent, lost, err := c.writeBatch(p); sent != 10 || lost != 0 || err != nil {
			t.Errorf("%v: writeBatch = %d, %d, %v, want 10, 0, nil", errno, sent, lost, err)
		}
		if k.runs != 1 {
			t.Errorf("%v: %d runs, want 1", errno, k.runs)
		}
		k.refuse = func(batchMessage) syscall.Errno { return errno }
		if sent, lost, err := c.writeBatch(p); sent != 0 || lost != 10 || err != errno {
			t.Errorf("%v for ever: writeBatch = %d, %d, %v, want 0, 10", errno, sent, lost, err)
		}
	}
	_ = server.Close()
	c := newBatchConn(conn)
	for range 4 { // each datagram meets a closed port and leaves an error for the next
		if sent, lost, err := c.writeBatch([]outgoing{{buf: []byte("x")}}); sent != 1 || lost != 0 || err != nil {
			t.Fatalf("writeBatch = %d, %d, %v, want 1, 0, nil", sent, lost, err)
		}
	}
	if n, err := c.readBatch(batchBuffers(c)); n != 0 || !errors.Is(err, unix.ECONNREFUSED) {
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

	c = newLinuxConn(conn, k.mmsgCalls()) // the sending of nothing is still allowed, receiving is not
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

// batchTestReceived is what a kernel puts into message i.
type batchTestReceived struct {
	data    string
	segment int
	flags   int
	from    string // empty for no source
}

func (r batchTestReceived) fill(msg *mmsghdr) {
	msg.size = uint32(copy(unsafe.Slice(msg.hdr.Iov.Base, int(msg.hdr.Iov.Len)), r.data))
	msg.hdr.Flags = int32(r.flags)
	msg.hdr.Namelen = 0
	if r.from != "" {
		msg.hdr.Namelen = encodeAddr((*unix.RawSockaddrInet6)(unsafe.Pointer(msg.hdr.Name)), netip.MustParseAddrPort(r.from), false)
	}
	msg.hdr.SetControllen(0)
	if r.segment != 0 {
		h := (*unix.Cmsghdr)(unsafe.Pointer(msg.hdr.Control))
		h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_GRO
		h.SetLen(unix.CmsgLen(4))
		*(*int32)(unsafe.Add(unsafe.Pointer(h), controlDataOffset)) = int32(r.segment)
		msg.hdr.SetControllen(unix.CmsgSpace(4))
	}
}

func TestReadBatchLeavesOutWhatItCannotUse(t *testing.T) {
	good := batchTestReceived{data: "whole", from: "127.0.0.1:7"}
	for _, tt := range []struct {
		name string
		got  batchTestReceived
		want string // "size by segment", empty if it is left out
	}{
		{"single", batchTestReceived{data: "abcdef", from: "127.0.0.1:7"}, "6 by 6"},
		{"run", batchTestReceived{data: "abcdef", segment: 4, from: "127.0.0.1:7"}, "6 by 4"},
		{"run of one", batchTestReceived{data: "abcdef", segment: 6, from: "127.0.0.1:7"}, "6 by 6"},
		{"segment beyond the data", batchTestReceived{data: "abcdef", segment: 7, from: "127.0.0.1:7"}, "6 by 6"},
		{"negative segment", batchTestReceived{data: "abcdef", segment: -4, from: "127.0.0.1:7"}, "6 by 6"},
		{"empty", batchTestReceived{from: "127.0.0.1:7"}, "0 by 0"},
		{"no source", batchTestReceived{data: "abcdef"}, ""},
		{"cut short", batchTestReceived{data: "abcdef", flags: unix.MSG_TRUNC, from: "127.0.0.1:7"}, ""},
		{"run cut short", batchTestReceived{data: "abcdef", segment: 4, flags: unix.MSG_TRUNC, from: "127.0.0.1:7"}, "4 by 4"},
		{"control cut short", batchTestReceived{data: "abcdef", flags: unix.MSG_CTRUNC, from: "127.0.0.1:7"}, ""},
		{"control cut short behind the segment", batchTestReceived{data: "abcdef", segment: 2, flags: unix.MSG_CTRUNC, from: "127.0.0.1:7"}, "6 by 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &batchKernel{receive: func(msgs []mmsghdr) (int, syscall.Errno) {
				tt.got.fill(&msgs[0])
				good.fill(&msgs[1])
				return 2, 0
			}}
			c := batchKernelConn(t, k)
			if !c.gro.Load() {
				t.Skip("no UDP GRO in this kernel")
			}
			p := batchBuffers(c)
			n, err := c.readBatch(p)
			if err != nil || n == 0 || string(p[n-1].buf[:p[n-1].n]) != "whole" {
				t.Fatalf("readBatch = %d, %v, want the whole datagram as the last", n, err)
			}
			got := ""
			if n == 2 {
				got = fmt.Sprintf("%d by %d", p[0].n, p[0].segment)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReadBatchReportsTransientErrors(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.ECONNREFUSED, unix.ENETUNREACH, unix.EMSGSIZE, unix.ENOBUFS, unix.ENOMEM} {
		interrupted := false
		k := &batchKernel{receive: func([]mmsghdr) (int, syscall.Errno) {
			if interrupted = !interrupted; interrupted {
				return -1, unix.EINTR
			}
			return -1, errno
		}}
		c := batchKernelConn(t, k)
		n, err := c.readBatch(batchBuffers(c))
		if n != 0 || !errors.Is(err, errno) || errors.Is(err, net.ErrClosed) {
			t.Errorf("readBatch = %d, %v, want 0, %v", n, err, errno)
		}
	}
}

func TestADeadlineOfTheSocketsOwnerStarvesNobody(t *testing.T) {
	conn, peer := batchSocket(t, "127.0.0.1:0"), batchSocket(t, "127.0.0.1:0")
	c := newBatchConn(conn)
	if err := conn.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	p := []outgoing{batchTestRun(0, 3, 20, 5, batchAddr(peer))}
	if sent, lost, err := c.writeBatch(p); sent != 3 || lost != 0 || err != nil {
		t.Errorf("writeBatch past the deadline = %d, %d, %v, want 3, 0, nil", sent, lost, err)
	}
	if _, err := peer.WriteToUDPAddrPort([]byte("hello"), batchAddr(conn)); err != nil {
		t.Fatal(err)
	}
	got, _ := batchTestRead(t, c, 1)
	batchTestEqual(t, got, [][]byte{[]byte("hello")})
	if n, err := c.readBatch(batchBuffers(c)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("readBatch past the deadline with nothing there = %d, %v, want 0 and a timeout", n, err)
	}
}

func TestSwitchesInTheEnvironment(t *testing.T) {
	for _, tt := range []struct {
		value string
		off   bool
	}{{"", false}, {"0", false}, {"false", false}, {"1", true}, {"true", true}, {"yes", true}} {
		t.Setenv(envDisableGSO, tt.value)
		t.Setenv(envDisableGRO, "0")
		gso, gro := newBatchConn(batchSocket(t, "127.0.0.1:0")).features()
		if !gro {
			t.Skip("no UDP GRO in this kernel")
		}
		if gso == tt.off {
			t.Errorf("%s=%q: gso %v", envDisableGSO, tt.value, gso)
		}
		t.Setenv(envDisableGSO, "")
		t.Setenv(envDisableGRO, tt.value)
		gso, gro = newBatchConn(batchSocket(t, "127.0.0.1:0")).features()
		if !gso || gro == tt.off {
			t.Errorf("%s=%q: gso %v, gro %v", envDisableGRO, tt.value, gso, gro)
		}
	}
}

func TestRunsLeaveAndArriveInOnePiece(t *testing.T) {
	rc := batchSocket(t, "127.0.0.1:0")
	reader, writer := newBatchConn(rc), newBatchConn(batchSocket(t, "127.0.0.1:0"))
	if gso, _ := writer.features(); !gso {
		t.Skip("no UDP GSO in this kernel")
	}
	if _, gro := reader.features(); !gro {
		t.Skip("no UDP GRO in this kernel")
	}
	run := batchTestRun(0, 46, 1400, 9, batchAddr(rc))
	if sent, _, err := writer.writeBatch([]outgoing{run}); sent != 46 {
		t.Fatal(err)
	}
	p := batchBuffers(reader)
	n, err := reader.readBatch(p)
	if n != 1 || p[0].n != len(run.buf) || p[0].segment != 1400 || !bytes.Equal(p[0].buf[:p[0].n], run.buf) {
		t.Fatalf("readBatch = %d, %v: %d by %d, want one of %d by 1400", n, err, p[0].n, p[0].segment, len(run.buf))
	}
}

func TestReleaseGivesTheSocketBackAsItWas(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", "127.0.0.1:0"} {
		if address[0] == '[' && !batchTestHasIPv6() {
			continue
		}
		conn := batchSocket(t, address)
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		options := func() (values [3]int) {
			_ = raw.Control(func(fd uintptr) {
				values[0], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO)
				values[1], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO)
				values[2], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO)
			})
			return values
		}
		before := options()
		c := newBatchConn(conn)
		if _, gro := c.features(); gro && options() == before {
			t.Errorf("%s: options %v, want others than before", address, before)
		}
		c.release()
		if got := options(); got != before {
			t.Errorf("%s: options %v after release, want %v", address, got, before)
		}
	}
}

func TestAnswerLeavesFromTheAddressThatWasAsked(t *testing.T) {
	for _, tt := range []struct{ server, asked string }{
		{"0.0.0.0:0", "127.0.0.3"},
		{"[::]:0", "127.0.0.3"},
		{"[::]:0", "::1"},
		{"127.0.0.3:0", "127.0.0.3"}, // bound to one address: nothing to choose, nothing told
	} {
		t.Run(tt.server+" asked at "+tt.asked, func(t *testing.T) {
			if tt.server[0] == '[' && !batchTestHasIPv6() {
				t.Skip("no IPv6 on this machine")
			}
			sc := batchSocket(t, tt.server)
			server := newBatchConn(sc)
			asked := netip.AddrPortFrom(netip.MustParseAddr(tt.asked), batchAddr(sc).Port())
			client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(asked)) // takes answers from there alone
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := client.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			p := batchBuffers(server)
			n, err := server.readBatch(p)
			if n != 1 {
				t.Fatal(err)
			}
			if want := batchAddr(sc).Addr().IsUnspecified(); p[0].local.IsValid() != want || want && p[0].local != asked.Addr() {
				t.Fatalf("local address %v, want %v (told: %v)", p[0].local, asked.Addr(), want)
			}
			answers := []outgoing{batchTestRun(0, 3, 20, 20, p[0].from), {buf: []byte("bye"), to: p[0].from}}
			for i := range answers {
				answers[i].local = p[0].local
			}
			if sent, lost, err := server.writeBatch(answers); sent != 4 {
				t.Fatalf("writeBatch = %d, %d, %v, want 4, 0, nil", sent, lost, err)
			}
			got, from := batchTestRead(t, newPortableConn(client), 4)
			batchTestEqual(t, got, batchTestCut(answers))
			if from != asked {
				t.Errorf("answer from %v, want %v", from, asked)
			}
		})
	}
}

func TestLocalAddressOfTheOtherFamilyIsIgnored(t *testing.T) {
	rc := batchSocket(t, "127.0.0.1:0")
	writer := newBatchConn(batchSocket(t, "0.0.0.0:0"))
	p := []outgoing{{buf: []byte("x"), to: batchAddr(rc), local: netip.MustParseAddr("::1")}}
	if sent, lost, err := writer.writeBatch(p); sent != 1 || lost != 0 || err != nil {
		t.Fatalf("writeBatch = %d, %d, %v, want 1, 0, nil", sent, lost, err)
	}
}

func TestLinkLocalPeersKeepTheirZone(t *testing.T) {
	var local netip.Addr
	interfaces, _ := net.Interfaces()
	for _, ifi := range interfaces {
		addrs, _ := ifi.Addrs()
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && prefix.Addr().Is6() && prefix.Addr().IsLinkLocalUnicast() && ifi.Flags&net.FlagUp != 0 {
				local = prefix.Addr().WithZone(ifi.Name)
			}
		}
	}
	if !local.IsValid() {
		t.Skip("no IPv6 link-local address on this machine")
	}
	sc := batchSocket(t, "[::]:0")
	cc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = cc.Close() }()
	_ = cc.SetReadDeadline(time.Now().Add(10 * time.Second))
	server, client := newBatchConn(sc), newBatchConn(cc)
	to := netip.AddrPortFrom(local, batchAddr(sc).Port())
	p, in := []outgoing{{buf: []byte("hello"), to: to}}, batchBuffers(server)
	ask := func() {
		if sent, _, err := client.writeBatch(p); sent != 1 {
			t.Fatal(err)
		}
		if n, err := server.readBatch(in); n != 1 {
			t.Fatal(err)
		}
	}
	ask()
	if in[0].from != batchAddr(cc) {
		t.Fatalf("source %v, want %v", in[0].from, batchAddr(cc))
	}
	if sent, _, err := server.writeBatch([]outgoing{{buf: []byte("bye"), to: in[0].from, local: in[0].local}}); sent != 1 {
		t.Fatal(err)
	}
	_, from := batchTestRead(t, client, 1)
	if from != to {
		t.Errorf("answer from %v, want %v", from, to)
	}
	if allocs := testing.AllocsPerRun(100, ask); allocs != 0 && !batchTestRace() {
		t.Errorf("%v allocations a datagram, want 0", allocs)
	}
}

func TestDecodeControlTakesNothingBeyondItsBytes(t *testing.T) {
	var w writeControl
	var h unix.Msghdr
	w.encode(&h, 1200, netip.MustParseAddr("10.0.0.1"), false)
	whole := bytes.Clone(unsafe.Slice(h.Control, int(h.Controllen)))
	aligned := make([]uint64, 64)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&aligned[0])), 512)
	for length := range len(whole) + 1 {
		for _, claim := range []int{0, 1, controlDataOffset - 1, controlDataOffset, len(whole), 1 << 20, -1} {
			copy(b, whole)
			(*unix.Cmsghdr)(unsafe.Pointer(&b[0])).SetLen(claim)
			decodeControl(b[:length:length])
		}
	}
	copy(b, whole)
	(*unix.Cmsghdr)(unsafe.Pointer(&b[0])).Type = unix.UDP_GRO
	if segment, local := decodeControl(b[:len(whole)]); segment != 0 || local != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("got %d, %v, want 0 (two bytes are no segment size), 10.0.0.1", segment, local)
	}
	for _, addr := range []string{"0.0.0.0", "224.0.0.1"} {
		w.encode(&h, 0, netip.MustParseAddr(addr), false)
		copy(b, unsafe.Slice(h.Control, int(h.Controllen)))
		if _, local := decodeControl(b[:h.Controllen]); local.IsValid() {
			t.Errorf("%v taken for a local address", local)
		}
	}
}

func TestDSCPMarksBothFamilies(t *testing.T) {
	for _, tt := range []struct {
		address         string
		level, option   int
		hasIPv4, usesV6 bool
	}{
		{"127.0.0.1:0", unix.IPPROTO_IP, unix.IP_TOS, true, false},
		{"[::]:0", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, true, true},
	} {
		if tt.usesV6 && !batchTestHasIPv6() {
			continue
		}
		conn := batchSocket(t, tt.address)
		if err := setDSCP(conn, 46); err != nil {
			t.Fatal(err)
		}
		raw, _ := conn.SyscallConn()
		_ = raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), tt.level, tt.option); got != 46<<2 || err != nil {
				t.Errorf("%s: traffic class %d, %v, want %d", tt.address, got, err, 46<<2)
			}
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS); got != 46<<2 || err != nil {
				t.Errorf("%s: TOS %d, %v, want %d", tt.address, got, err, 46<<2)
			}
		})
	}
}
