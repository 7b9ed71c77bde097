// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// readMessages is small. With runs in one piece, a message has up to 64 KiB. Without runs, the
	// throughput of bulk data and of many peers was the same for 4 to 64 messages a call.
	readMessages = 8
	// readBufferSize holds any datagram and any run.
	readBufferSize = maxDatagram + 1
	// readControlSize has room for control messages that a program may have asked the socket for
	// (time stamps, TOS, TTL, marks) besides the library's. Messages that do not fit would displace
	// the library's.
	readControlSize = 256
)

// linuxReader holds the headers of recvmmsg. It belongs to one read at a time.
type linuxReader struct {
	conn     *linuxConn
	buffers  receiveBuffers
	lent     []received // of buffers, or the caller's
	msgs     [readMessages]mmsghdr
	iovs     [readMessages]unix.Iovec
	names    [readMessages]unix.RawSockaddrInet6
	controls [readMessages][readControlSize / 8]uint64 // words, for the alignment of struct cmsghdr
	want     int                                       // messages to ask for
	waits    int                                       // of the read at hand
	n        int
	errno    syscall.Errno
	// receive and receiveNow are method values made once. One made for each call would be
	// allocated.
	receive    func(fd uintptr) bool
	receiveNow func(fd uintptr)
}

// linuxReaders is shared by all sockets: most of them are idle at any time.
var linuxReaders = sync.Pool{New: func() any { return newLinuxReader() }}

func newLinuxReader() *linuxReader {
	r := new(linuxReader)
	for i := range r.msgs {
		h := &r.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&r.controls[i]))
	}
	r.receive = r.receiveOrWait
	r.receiveNow = r.call
	return r
}

// receiveOrWait receives into buffers that are lent for it. It returns false, and gives them back,
// if nothing has arrived.
func (r *linuxReader) receiveOrWait(fd uintptr) bool {
	r.prepare(r.buffers.borrow())
	r.call(fd)
	if r.errno != unix.EAGAIN {
		return true
	}
	r.waits++
	r.restore()
	return false
}

// restore gives the buffers back.
func (r *linuxReader) restore() {
	r.forget()
	r.buffers.restore()
}

// forget keeps no buffer alive.
func (r *linuxReader) forget() {
	for i := range r.want {
		r.iovs[i].Base = nil
	}
	r.lent = nil
}

// release ends the use by one read.
func (r *linuxReader) release() {
	r.forget()
	r.conn, r.buffers, r.waits = nil, nil, 0
	linuxReaders.Put(r)
}

// read waits in the runtime's poller until datagrams are there.
func (r *linuxReader) read() (int, error) {
	for {
		err := r.conn.raw.Read(r.receive)
		r.conn.noteRead(r.waits, r.n)
		r.waits = 0
		if errors.Is(err, os.ErrDeadlineExceeded) && !r.conn.stopped.Load() {
			// The deadline is the socket owner's. What has arrived is read all the same.
			r.prepare(r.buffers.borrow())
			if err = r.readNow(err); err != nil {
				r.restore()
			}
		}
		if err == nil && r.errno != 0 {
			err = r.errno
		}
		if err != nil {
			return 0, err
		}
		if n := r.deliver(r.lent); n > 0 {
			return n, nil
		}
	}
}

// loneProof is how many reads in a row must have waited for a single message until a read asks for
// only one. That is the case for an echo or a slow stream. A message that arrives without waiting
// ends it.
const loneProof = 4

// noteRead records how the messages of a read arrived, after how many waits.
func (c *linuxConn) noteRead(waits, messages int) {
	if waits > 0 && messages <= 1 {
		c.lone = min(c.lone+1, loneProof)
	} else {
		c.lone = 0
	}
}

// readNow reads without waiting. It returns empty if nothing has arrived.
func (r *linuxReader) readNow(empty error) error {
	if err := r.conn.raw.Control(r.receiveNow); err != nil {
		return err
	}
	if r.errno == unix.EAGAIN {
		r.n, r.errno = 0, 0
		return empty
	}
	return nil
}

func (r *linuxReader) prepare(p []received) {
	r.lent = p
	r.want = min(len(p), len(r.msgs))
	if r.conn.lone == loneProof {
		r.want = min(r.want, 1)
	}
	for i := range r.want {
		h := &r.msgs[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(readControlSize)
		h.Flags = 0
		r.iovs[i].Base = unsafe.SliceData(p[i].buf)
		r.iovs[i].SetLen(len(p[i].buf))
	}
}

func (r *linuxReader) call(fd uintptr) {
	for {
		r.n, r.errno = r.conn.calls.recv(fd, r.msgs[:r.want])
		if r.errno != unix.EINTR {
			return
		}
	}
}

// deliver describes what arrived in p[:n]. It leaves out what is not usable.
func (r *linuxReader) deliver(p []received) (n int) {
	for i := range min(r.n, r.want) {
		if !r.describe(i, &p[i]) {
			continue
		}
		if i != n {
			p[i], p[n] = p[n], p[i]
		}
		n++
	}
	return n
}

// describe fills m from message i. It returns false if the message has no source, or was truncated
// and holds no whole datagram.
func (r *linuxReader) describe(i int, m *received) bool {
	h := &r.msgs[i].hdr
	m.from, m.fromAddr = decodeAddr(&r.names[i], h.Namelen), nil
	if !m.from.IsValid() {
		return false
	}
	size := min(int(r.msgs[i].size), len(m.buf))
	control := unsafe.Slice((*byte)(unsafe.Pointer(&r.controls[i])), readControlSize)
	segment, local := decodeControl(control[:min(int(h.Controllen), readControlSize)])
	if segment <= 0 || segment >= size {
		if h.Flags&unix.MSG_CTRUNC != 0 && segment == 0 && r.conn.gro.Load() {
			return false // the segment size may be what was cut off
		}
		segment = size
	}
	if h.Flags&unix.MSG_TRUNC != 0 {
		if segment == size {
			return false
		}
		size -= size % segment
	}
	m.n, m.segment, m.local = size, segment, local
	return true
}

// decodeAddr returns the source address in sa, or an invalid one.
func decodeAddr(sa *unix.RawSockaddrInet6, length uint32) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	number := uint16(port[0])<<8 | uint16(port[1])
	switch {
	case length >= unix.SizeofSockaddrInet4 && sa.Family == unix.AF_INET:
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), number)
	case length >= unix.SizeofSockaddrInet6 && sa.Family == unix.AF_INET6:
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 && addr.Is6() {
			addr = addr.WithZone(zoneName(sa.Scope_id))
		}
		return netip.AddrPortFrom(addr, number)
	}
	return netip.AddrPort{}
}
