// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelNet is a network between kernelSockets, in the virtual time of a bubble.
type kernelNet struct {
	mu      sync.Mutex // guards what follows
	sockets map[uint16]*kernelSocket
}

// kernelSocket is a socket whose system calls end in a kernelNet, with faults in between. The real socket below it
// lends its address and its options.
type kernelSocket struct {
	*net.UDPConn
	net     *kernelNet
	addr    netip.AddrPort
	send    func(m batchMessage) syscall.Errno
	receive func() syscall.Errno
	partial func(messages int) int // how many of a call's messages are taken, if there are any

	mu      sync.Mutex // guards what follows
	arrived sync.Cond
	coming  []kernelPacket // under way
	queue   []kernelPacket // to be received
	closed  bool
	runs    int // messages of several datagrams that were sent
}

type kernelPacket struct {
	data []byte
	from netip.AddrPort
}

const kernelDelay = 5 * time.Millisecond

func (n *kernelNet) socket(t *testing.T) *kernelSocket {
	t.Helper()
	conn := batchSocket(t, "127.0.0.1:0")
	_ = conn.SetReadDeadline(time.Time{})
	k := &kernelSocket{
		UDPConn: conn, net: n, addr: batchAddr(conn),
		send:    func(batchMessage) syscall.Errno { return 0 },
		receive: func() syscall.Errno { return 0 },
		partial: func(messages int) int { return messages },
	}
	k.arrived.L = &k.mu
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sockets[k.addr.Port()] = k
	return k
}

// demux puts the Linux data path on the socket.
func (k *kernelSocket) demux(t *testing.T, o *options) *demux {
	t.Helper()
	d := newDemux([]net.PacketConn{k}, true, o)
	e := d.eps[0]
	c := newLinuxConn(k.UDPConn, mmsgCalls{recv: k.recvmmsg, send: k.sendmmsg})
	if c == nil {
		t.Fatal("no Linux batchConn")
	}
	e.io = c
	e.maxRunBytes, e.maxRunSegments = c.maxRun()
	return d
}

func (k *kernelSocket) Close() error {
	k.mu.Lock()
	k.closed = true
	k.arrived.Broadcast()
	k.mu.Unlock()
	return k.UDPConn.Close()
}

// recvmmsg waits here, not in the runtime's poller, which would hold up virtual time.
func (k *kernelSocket) recvmmsg(_ uintptr, msgs []mmsghdr) (int, syscall.Errno) {
	if len(msgs) == 0 {
		return 0, 0
	}
	if errno := k.receive(); errno != 0 {
		return -1, errno
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.queue) == 0 {
		if k.closed {
			return -1, unix.EAGAIN
		}
		k.arrived.Wait()
	}
	n := min(len(msgs), len(k.queue))
	for i, p := range k.queue[:n] {
		h := &msgs[i].hdr
		msgs[i].size = uint32(copy(unsafe.Slice(h.Iov.Base, int(h.Iov.Len)), p.data))
		h.Namelen = encodeAddr((*unix.RawSockaddrInet6)(unsafe.Pointer(h.Name)), p.from, false)
		h.SetControllen(0)
	}
	k.queue = slices.Delete(k.queue, 0, n)
	return n, 0
}

func (k *kernelSocket) sendmmsg(_ uintptr, msgs []mmsghdr) (int, syscall.Errno) {
	take := k.partial(len(msgs))
	for i := range msgs {
		if i == take {
			return i, 0
		}
		m := batchTestMessage(&msgs[i])
		if errno := k.send(m); errno != 0 && i > 0 {
			return i, 0
		} else if errno != 0 {
			return -1, errno
		}
		if m.segment > 0 {
			k.mu.Lock()
			k.runs++
			k.mu.Unlock()
		}
		for _, d := range batchTestCut([]outgoing{{buf: m.data, segment: m.segment}}) {
			k.net.carry(kernelPacket{bytes.Clone(d), k.addr}, m.port)
		}
	}
	return len(msgs), 0
}

// carry delivers p after kernelDelay, in order.
func (n *kernelNet) carry(p kernelPacket, port uint16) {
	n.mu.Lock()
	k := n.sockets[port]
	n.mu.Unlock()
	if k == nil {
		return
	}
	k.mu.Lock()
	k.coming = append(k.coming, p)
	k.mu.Unlock()
	time.AfterFunc(kernelDelay, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.queue, k.coming = append(k.queue, k.coming[0]), k.coming[1:]
		k.arrived.Signal()
	})
}

// kernelWorld is one listener and some sessions to it over a kernelNet.
type kernelWorld struct {
	listener         *Listener
	clients, servers []*UDPSession
	sockets          []*kernelSocket // the listener's first
}

// kernelRun runs f in virtual time. prepare sees each socket before it is used.
func kernelRun(t *testing.T, sessions int, prepare func(k *kernelSocket), f func(t *testing.T, w *kernelWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &kernelNet{sockets: make(map[uint16]*kernelSocket)}
		sched := NewTimedSched(1)
		config := faultConfig(sched)
		o, err := config.options()
		if err != nil {
			t.Fatal(err)
		}
		w := new(kernelWorld)
		open := func() *demux {
			k := n.socket(t)
			prepare(k)
			w.sockets = append(w.sockets, k)
			return k.demux(t, o)
		}
		w.listener = serveOn(open(), o)
		for i := range sessions {
			d := open()
			s, err := d.dial(d.eps[0], net.UDPAddrFromAddrPort(w.sockets[0].addr), uint32(i), o, false)
			if err != nil {
				t.Fatal(err)
			}
			d.start()
			mustWrite(t, s, []byte("hello"))
			peer, err := w.listener.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
			connWantRead(t, peer, "hello")
			w.clients, w.servers = append(w.clients, s), append(w.servers, peer)
		}
		f(t, w)
		for _, s := range append(w.clients, w.servers...) {
			s.SetLinger(0)
			_ = s.Close()
		}
		_ = w.listener.Close()
		time.Sleep(time.Minute)
		sched.Close()
		synctest.Wait()
	})
}

func TestTransientErrorsOfTheSystemCallsLoseNothing(t *testing.T) {
	t.Run("runs", loseNothing)
	t.Run("single datagrams", func(t *testing.T) {
		t.Setenv(envDisableGSO, "1")
		loseNothing(t)
	})
}

func loseNothing(t *testing.T) {
	send := &faultEvery{errnos: transientErrors}
	// EPERM on receiving comes from a sandbox alone and moves the socket to the portable path.
	receive := &faultEvery{errnos: []syscall.Errno{unix.ENOBUFS, unix.EINTR, unix.EMSGSIZE, unix.ENETUNREACH, unix.ECONNREFUSED}}
	var calls atomic.Int64 // that could be cut short
	prepare := func(k *kernelSocket) {
		k.send = func(batchMessage) syscall.Errno { return send.errno() }
		k.receive = receive.errno
		k.partial = func(messages int) int {
			if messages < 2 {
				return messages
			}
			if n := calls.Add(1); n%10 == 0 {
				return 1 + int(n/10)%(messages-1)
			}
			return messages
		}
	}
	kernelRun(t, 2, prepare, func(t *testing.T, w *kernelWorld) {
		faultTraffic(t, w.clients, w.servers)
		send.wantAll(t)
		receive.wantAll(t)
		if n := calls.Load(); n < 100 {
			t.Errorf("%d calls that could be cut short, want more", n)
		}
		st := w.listener.Stats().Socket
		for _, s := range w.clients {
			st.LostDatagrams += s.Stats().Socket.LostDatagrams
		}
		if st.LostDatagrams == 0 || st.ReadErrors == 0 || st.LastError == nil {
			t.Errorf("figures after ten seconds of errors: %+v", st)
		}
	})
}

func TestRunsRefusedAtRunTimeCostASessionNothing(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.EIO, unix.EINVAL, unix.EOPNOTSUPP, unix.ENOPROTOOPT, unix.EMSGSIZE} {
		t.Run(errno.Error(), func(t *testing.T) {
			var mu sync.Mutex
			refuse, refused := false, 0
			prepare := func(k *kernelSocket) {
				k.send = func(m batchMessage) syscall.Errno {
					mu.Lock()
					defer mu.Unlock()
					if m.segment == 0 || !refuse {
						return 0
					}
					refused++
					return errno
				}
			}
			kernelRun(t, 1, prepare, func(t *testing.T, w *kernelWorld) {
				client, server := w.clients[0], w.servers[0]
				if !client.Stats().Socket.GSO {
					t.Skip("no UDP GSO in this kernel")
				}
				for round := range 2 {
					data := pattern(500_000, 1)
					go func() { _, _ = client.Write(data) }()
					connWantRead(t, server, string(data))
					w.sockets[1].mu.Lock()
					runs := w.sockets[1].runs
					w.sockets[1].runs = 0
					w.sockets[1].mu.Unlock()
					switch mu.Lock(); {
					case round == 0 && (runs == 0 || refused > 0):
						t.Errorf("%d runs were taken and %d refused before any shall be", runs, refused)
					case round == 1 && (runs > 0 || refused == 0 || refused > gsoRefusals):
						t.Errorf("%d runs were taken and %d refused, want that it is not tried again and again", runs, refused)
					}
					refuse = true
					mu.Unlock()
				}
				st := client.Stats()
				if st.Socket.LostDatagrams != 0 || st.TimeoutRetransmits+st.FastRetransmits != 0 {
					t.Errorf("%d datagrams lost, %d and %d segments sent again, want none", st.Socket.LostDatagrams,
						st.TimeoutRetransmits, st.FastRetransmits)
				}
			})
		})
	}
}

func TestSlowReaderOverTheSystemCalls(t *testing.T) {
	kernelRun(t, 1, func(*kernelSocket) {}, func(t *testing.T, w *kernelWorld) {
		slowReader(t, w.clients[0], w.servers[0])
	})
}
