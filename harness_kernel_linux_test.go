// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"sync"
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

// kernelSocket is a socket whose system calls end in a kernelNet, with injected faults. A real
// socket below it supplies the address and the options.
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
	d := newDemux([]net.PacketConn{k}, connOwn, o, newIngress)
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

// recvmmsg waits here and not in the runtime's poller, which would stop virtual time.
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
		name := (*unix.RawSockaddrInet6)(unsafe.Pointer(h.Name))
		h.Namelen = encodeAddr(name, p.from, unix.AF_INET)
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

// kernelWorld is a listener and some sessions to it over a kernelNet.
type kernelWorld struct {
	listener         *Listener
	clients, servers []*UDPSession
	sockets          []*kernelSocket // the listener's first
}

// kernelRun runs f in virtual time. prepare is called with each socket before it is used.
func kernelRun(t *testing.T, sessions int, prepare func(k *kernelSocket),
	f func(t *testing.T, w *kernelWorld)) {
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
			s, err := d.dial(d.eps[0], net.UDPAddrFromAddrPort(w.sockets[0].addr), uint32(i),
				o, dialConn)
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

// batchKernel is a kernel that records what it is given to send, and refuses what its function
// selects.
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
	return batchKernelConnOn(t, k, batchSocket(t, "127.0.0.1:0"))
}

func batchKernelConnOn(t *testing.T, k *batchKernel, conn *net.UDPConn) *linuxConn {
	t.Helper()
	c := newLinuxConn(conn, k.mmsgCalls())
	if c == nil {
		t.Fatal("no Linux batchConn")
	}
	if !c.gso.enabled() {
		t.Skip("no UDP GSO in this kernel")
	}
	return c
}

var batchTestPeer = netip.MustParseAddrPort("127.0.0.1:1000")
