// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
		msg.hdr.Namelen = encodeAddr((*unix.RawSockaddrInet6)(unsafe.Pointer(msg.hdr.Name)),
			netip.MustParseAddrPort(r.from), unix.AF_INET)
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
		{"run of one",
			batchTestReceived{data: "abcdef", segment: 6, from: "127.0.0.1:7"}, "6 by 6"},
		{"segment beyond the data",
			batchTestReceived{data: "abcdef", segment: 7, from: "127.0.0.1:7"}, "6 by 6"},
		{"negative segment",
			batchTestReceived{data: "abcdef", segment: -4, from: "127.0.0.1:7"}, "6 by 6"},
		{"empty", batchTestReceived{from: "127.0.0.1:7"}, "0 by 0"},
		{"no source", batchTestReceived{data: "abcdef"}, ""},
		{"cut short",
			batchTestReceived{data: "abcdef", flags: unix.MSG_TRUNC, from: "127.0.0.1:7"}, ""},
		{"run cut short", batchTestReceived{data: "abcdef", segment: 4, flags: unix.MSG_TRUNC,
			from: "127.0.0.1:7"}, "4 by 4"},
		{"control cut short",
			batchTestReceived{data: "abcdef", flags: unix.MSG_CTRUNC, from: "127.0.0.1:7"}, ""},
		{"control cut short behind the segment", batchTestReceived{data: "abcdef", segment: 2,
			flags: unix.MSG_CTRUNC, from: "127.0.0.1:7"}, "6 by 2"},
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
			n, err := c.readBatch(&p)
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
	for _, errno := range []syscall.Errno{
		unix.ECONNREFUSED, unix.ENETUNREACH, unix.EMSGSIZE, unix.ENOBUFS, unix.ENOMEM,
	} {
		interrupted := false
		k := &batchKernel{receive: func([]mmsghdr) (int, syscall.Errno) {
			if interrupted = !interrupted; interrupted {
				return -1, unix.EINTR
			}
			return -1, errno
		}}
		c := batchKernelConn(t, k)
		n, err := c.readBatch(newHeldBuffers(c))
		if n != 0 || !errors.Is(err, errno) || errors.Is(err, net.ErrClosed) {
			t.Errorf("readBatch = %d, %v, want 0, %v", n, err, errno)
		}
	}
}

func TestDecodeControlTakesNothingBeyondItsBytes(t *testing.T) {
	var w writeControl
	var h unix.Msghdr
	w.encode(&h, 1200, netip.MustParseAddr("10.0.0.1"), unix.AF_INET)
	whole := bytes.Clone(unsafe.Slice(h.Control, int(h.Controllen)))
	aligned := make([]uint64, 64)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&aligned[0])), 512)
	for length := range len(whole) + 1 {
		for _, claim := range []int{
			0, 1, controlDataOffset - 1, controlDataOffset, len(whole), 1 << 20, -1,
		} {
			copy(b, whole)
			(*unix.Cmsghdr)(unsafe.Pointer(&b[0])).SetLen(claim)
			decodeControl(b[:length:length])
		}
	}
	copy(b, whole)
	(*unix.Cmsghdr)(unsafe.Pointer(&b[0])).Type = unix.UDP_GRO
	if segment, local := decodeControl(b[:len(whole)]); segment != 0 ||
		local != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("got %d, %v, want 0 (two bytes are no segment size), 10.0.0.1", segment, local)
	}
	for _, addr := range []string{"0.0.0.0", "224.0.0.1"} {
		w.encode(&h, 0, netip.MustParseAddr(addr), unix.AF_INET)
		copy(b, unsafe.Slice(h.Control, int(h.Controllen)))
		if _, local := decodeControl(b[:h.Controllen]); local.IsValid() {
			t.Errorf("%v taken for a local address", local)
		}
	}
}

// Where messages arrive one at a time, as with an echo, a call asks for one, which costs less.
// Where several arrive, it takes them all.
func TestLoneMessagesAreAskedForOneByOne(t *testing.T) {
	rc, sc := batchSocket(t, "127.0.0.1:0"), batchSocket(t, "127.0.0.1:0")
	var (
		asked  []int
		burst  int // datagrams that arrive once the socket has been found empty
		number int
	)
	recv := func(fd uintptr, msgs []mmsghdr) (int, syscall.Errno) {
		n, errno := kernelCalls.recv(fd, msgs)
		asked = append(asked, len(msgs))
		if errno == unix.EAGAIN {
			for ; burst > 0; burst-- {
				_, err := sc.WriteTo(fmt.Append(nil, "datagram ", number), rc.LocalAddr())
				if err != nil {
					t.Error(err)
				}
				number++
			}
		}
		return n, errno
	}
	c := newLinuxConn(rc, mmsgCalls{send: kernelCalls.send, recv: recv})
	p, got := batchBuffers(c), 0
	for _, step := range []struct {
		burst int
		asked []int
	}{
		{1, []int{8, 8}},
		{1, []int{8, 8}},
		{1, []int{8, 8}},
		{1, []int{8, 8}},
		{1, []int{1, 1}},
		{1, []int{1, 1}},
		{12, []int{1, 1, 1, 8, 8}}, // the last of them returns the rest
		{1, []int{8, 8}},
		{3, []int{8, 8}},
	} {
		asked, burst = nil, step.burst
		for want := got + step.burst; got < want; {
			n, err := c.readBatch(&p)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range p[:n] {
				if data := string(m.buf[:m.n]); data != fmt.Sprint("datagram ", got) ||
					m.from != peerAddrPort(sc.LocalAddr().(*net.UDPAddr)) {
					t.Errorf("datagram %d is %q from %v", got, data, m.from)
				}
				got++
			}
		}
		if !slices.Equal(asked, step.asked) {
			t.Errorf("a burst of %d: asked for %d messages, want %d", step.burst, asked, step.asked)
		}
	}
}
