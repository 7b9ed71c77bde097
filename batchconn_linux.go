// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// envDisableGSO and envDisableGRO disable the two features if they are set to anything but "0"
	// or "false".
	envDisableGSO = "KCP_DISABLE_GSO"
	envDisableGRO = "KCP_DISABLE_GRO"

	// maxRunSegments is UDP_MAX_SEGMENTS of kernels before 6.9. Later ones take 128, which runs of
	// MTU-sized datagrams cannot reach within maxRunBytes.
	maxRunSegments = 64
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr  unix.Msghdr
	size uint32
}

// mmsgCalls are the system calls of the data path. Tests replace them.
type mmsgCalls struct {
	recv func(fd uintptr, msgs []mmsghdr) (n int, errno syscall.Errno)
	send func(fd uintptr, msgs []mmsghdr) (n int, errno syscall.Errno)
}

var kernelCalls = mmsgCalls{recv: receiveMessages, send: sendMessages}

// rawLeast is the size of a message whose copy takes so long, about a microsecond, that the runtime
// must know of it to use the processor otherwise. Shorter calls cost a tenth less without that.
const rawLeast = 16 << 10

// receiveMessages receives a single message by a call that costs a third less.
func receiveMessages(fd uintptr, msgs []mmsghdr) (int, syscall.Errno) {
	if len(msgs) != 1 {
		return mmsgCall(unix.SYS_RECVMMSG, fd, msgs)
	}
	m := &msgs[0]
	size, _, errno := unix.RawSyscall6(unix.SYS_RECVMSG, fd,
		uintptr(unsafe.Pointer(&m.hdr)), unix.MSG_DONTWAIT, 0, 0, 0)
	if errno != 0 {
		return singleFailed(unix.SYS_RECVMMSG, fd, msgs, errno)
	}
	m.size = uint32(size)
	return 1, 0
}

// sendMessages sends a single datagram without control messages by a call that costs a tenth less.
func sendMessages(fd uintptr, msgs []mmsghdr) (int, syscall.Errno) {
	if len(msgs) != 1 {
		return mmsgCall(unix.SYS_SENDMMSG, fd, msgs)
	}
	h := &msgs[0].hdr
	if h.Control != nil || h.Iov.Len > rawLeast {
		return mmsgCall(unix.SYS_SENDMMSG, fd, msgs)
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd,
		uintptr(unsafe.Pointer(h.Iov.Base)), uintptr(h.Iov.Len),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(h.Name)), uintptr(h.Namelen))
	if errno != 0 {
		return singleFailed(unix.SYS_SENDMMSG, fd, msgs, errno)
	}
	return 1, 0
}

// singleFailed ends a failed call for a single message. Some architectures got those calls later
// than the others (386 and s390x with Linux 4.3).
func singleFailed(call, fd uintptr, msgs []mmsghdr, errno syscall.Errno) (int, syscall.Errno) {
	if errno == unix.ENOSYS {
		return mmsgCall(call, fd, msgs)
	}
	return 0, errno
}

// mmsgCall never blocks. The caller waits, so that no thread is held.
func mmsgCall(call, fd uintptr, msgs []mmsghdr) (int, syscall.Errno) {
	n, _, errno := unix.Syscall6(call, fd,
		uintptr(unsafe.Pointer(unsafe.SliceData(msgs))), uintptr(len(msgs)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// linuxConn is the batchConn of a *net.UDPConn. It uses recvmmsg and sendmmsg, with UDP GSO and GRO
// if the kernel has them.
type linuxConn struct {
	udp     *net.UDPConn
	raw     syscall.RawConn
	calls   mmsgCalls
	family  int            // unix.AF_INET, or unix.AF_INET6 for a dual-stack socket too
	peer    netip.AddrPort // where the socket is connected to, else invalid
	gso     gsoState
	gro     atomic.Bool
	options socketOptions // as they were before
	// basic replaces the rest for good when it is set, because the kernel or a sandbox forbids the
	// calls.
	basic   atomic.Pointer[portableConn]
	stopped atomic.Bool // see stopReading
	lone    int8        // reads in a row that waited for a single message; the reader's
}

// newPlatformConn returns the batchConn for conn, or nil if the system has nothing better than the
// portable one.
func newPlatformConn(conn *net.UDPConn) batchConn {
	if c := newLinuxConn(conn, kernelCalls); c != nil {
		return c
	}
	return nil
}

func newLinuxConn(conn *net.UDPConn, calls mmsgCalls) *linuxConn {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	c := &linuxConn{udp: conn, raw: raw, calls: calls, peer: connectedPeer(conn)}
	usable := false
	if err := raw.Control(func(fd uintptr) { usable = c.probe(int(fd)) }); err != nil || !usable {
		return nil
	}
	return c
}

// probe finds out what the socket can do and sets its options. It returns false if the calls
// themselves are refused.
func (c *linuxConn) probe(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || (domain != unix.AF_INET && domain != unix.AF_INET6) {
		return false
	}
	c.family = domain
	// A call for no message does nothing, but a sandbox that forbids it returns an error.
	if _, errno := c.calls.send(uintptr(fd), nil); errno != 0 {
		return false
	}
	if _, errno := c.calls.recv(uintptr(fd), nil); errno == unix.ENOSYS || errno == unix.EPERM {
		return false
	}
	_, err = unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	c.gso.init(err == nil && !envSwitch(envDisableGSO))
	gro := !envSwitch(envDisableGRO)
	// Control messages are read in any case, because the socket's owner may have asked for some.
	c.gro.Store(c.options.set(uintptr(fd), unix.IPPROTO_UDP, unix.UDP_GRO, boolInt(gro)) && gro)
	if sa, err := unix.Getsockname(fd); err == nil && unspecified(sa) && !c.peer.IsValid() {
		// If it fails, the kernel chooses the source address of answers.
		askDestination(uintptr(fd), &c.options)
	}
	return true
}

// unspecified reports whether a socket is bound to all addresses, so that the address a peer has
// sent to matters.
func unspecified(sa unix.Sockaddr) bool {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr).IsUnspecified()
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).Unmap().IsUnspecified()
	}
	return false
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// envSwitch reports whether the environment variable is set and not to a false value.
func envSwitch(name string) bool {
	value := os.Getenv(name)
	on, err := strconv.ParseBool(value)
	return value != "" && (on || err != nil)
}

func (c *linuxConn) readBatch(b receiveBuffers) (int, error) {
	if basic := c.basic.Load(); basic != nil {
		return basic.readBatch(b)
	}
	r := linuxReaders.Get().(*linuxReader)
	r.conn, r.buffers = c, b
	n, err := r.read()
	r.release()
	if err == unix.ENOSYS || err == unix.EPERM {
		return c.block().readBatch(b)
	}
	return n, err
}

func (c *linuxConn) readReady(p []received) (int, error) {
	if basic := c.basic.Load(); basic != nil {
		return basic.readReady(p)
	}
	r := linuxReaders.Get().(*linuxReader)
	defer r.release()
	r.conn = c
	for {
		r.prepare(p)
		err := r.readNow(nil)
		c.noteRead(1, r.n)
		switch {
		case err != nil:
			return 0, err
		case r.errno == unix.ENOSYS || r.errno == unix.EPERM:
			return c.block().readReady(p)
		case r.errno != 0:
			return 0, r.errno
		}
		if n := r.deliver(p); n > 0 || r.n == 0 {
			return n, nil
		}
	}
}

func (c *linuxConn) writeBatch(p []outgoing) (sent, lost int, err error) {
	if basic := c.basic.Load(); basic != nil {
		return basic.writeBatch(p)
	}
	_, sent, lost, err = c.write(p, writeWait)
	return sent, lost, err
}

// writeReady implements readyWriter.
func (c *linuxConn) writeReady(p []outgoing) (rest []outgoing, sent, lost int, err error) {
	if basic := c.basic.Load(); basic != nil {
		sent, lost, err = basic.writeBatch(p)
		return nil, sent, lost, err
	}
	return c.write(p, 0)
}

// write sends p, and waits for at most that long if the socket's buffer is full. rest is what is
// left if it may not wait at all.
func (c *linuxConn) write(
	p []outgoing, wait time.Duration,
) (rest []outgoing, sent, lost int, err error) {
	w := linuxWriters.Get().(*linuxWriter)
	w.conn, w.most = c, wait
	rest, sent, lost, err = w.write(p)
	w.conn = nil
	linuxWriters.Put(w)
	return rest, sent, lost, err
}

// block leaves the socket to the portable path from now on, and returns it. That path cannot split
// received runs.
func (c *linuxConn) block() *portableConn {
	c.gso.disable()
	c.resetOptions()
	basic := newPortableConn(c.udp)
	if !c.basic.CompareAndSwap(nil, basic) {
		return c.basic.Load()
	}
	basic.chooseSources()
	return basic
}

func (c *linuxConn) readBatchSize() (messages, bufferSize int) {
	return readMessages, readBufferSize
}

func (c *linuxConn) maxRun() (bytes, segments int) {
	if c.gso.enabled() {
		return maxRunBytes, maxRunSegments
	}
	return maxRunBytes, 1
}

func (c *linuxConn) features() (gso, gro bool) { return c.gso.enabled(), c.gro.Load() }

func (c *linuxConn) stopReading() { c.stopped.Store(true) }

func (c *linuxConn) release() {
	if basic := c.basic.Load(); basic != nil {
		basic.release()
	}
	c.resetOptions()
}

func (c *linuxConn) resetOptions() {
	// It only fails on a closed socket, which has nothing to reset.
	_ = c.raw.Control(c.options.reset)
	c.gro.Store(false)
}
