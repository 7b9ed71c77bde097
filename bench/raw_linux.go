// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var rawKinds = []rawKind{
	rawPlain,
	{name: "raw UDP sendmmsg", batch: rawBatch, sender: sendmmsg, receiver: recvmmsg},
	{name: "raw UDP GSO/GRO", batch: rawBatch, sender: sendSegmented, receiver: receiveMerged},
}

// bufferPerDatagram is what the kernel counts against SO_RCVBUF for a datagram
// of 1400 bytes: 2 KiB of data and some 256 bytes of sk_buff.
const bufferPerDatagram = 2304

// receiveRoom returns how many full datagrams surely fit a socket's receive
// buffer, of which a quarter stays free: the kernel gives memory back late.
func receiveRoom(c *net.UDPConn) int {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	size := 0
	raw.Control(func(fd uintptr) { size, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) })
	return size / 4 * 3 / bufferPerDatagram
}

// message is struct mmsghdr, recvmmsg(2).
type message struct {
	header unix.Msghdr
	length uint32
}

// messagesOver returns a message for each piece of the given size of buf.
func messagesOver(buf []byte, size int) []message {
	messages := make([]message, len(buf)/size)
	for i := range messages {
		v := &unix.Iovec{Base: &buf[i*size]}
		v.SetLen(size)
		messages[i].header.Iov = v
		messages[i].header.SetIovlen(1)
	}
	return messages
}

// batchCall returns a function that makes the system call trap with messages,
// waiting until the socket is ready, and returns how many it took.
func batchCall(c *net.UDPConn, trap uintptr, wait func(syscall.RawConn, func(uintptr) bool) error) (func([]message) (int, error), error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var messages []message
	var n int
	var errno syscall.Errno
	call := func(fd uintptr) bool {
		r, _, e := unix.Syscall6(trap, fd, uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
		n, errno = int(r), e
		return e != unix.EAGAIN && e != unix.EINTR
	}
	return func(m []message) (int, error) {
		messages = m
		if err := wait(raw, call); err != nil {
			return 0, err
		}
		if errno != 0 {
			return 0, errno
		}
		return n, nil
	}, nil
}

func sendmmsg(c *net.UDPConn) (func([]byte) error, error) {
	call, err := batchCall(c, unix.SYS_SENDMMSG, syscall.RawConn.Write)
	if err != nil {
		return nil, err
	}
	arena := make([]byte, rawBatch*datagramSize)
	messages := messagesOver(arena, datagramSize)
	return func(b []byte) error {
		left := messages[:copy(arena, b)/datagramSize]
		for len(left) > 0 {
			n, err := call(left)
			if err != nil {
				return err
			}
			left = left[n:]
		}
		return nil
	}, nil
}

func recvmmsg(c *net.UDPConn) (func(func([]byte)) error, error) {
	call, err := batchCall(c, unix.SYS_RECVMMSG, syscall.RawConn.Read)
	if err != nil {
		return nil, err
	}
	const room = 2048
	buf := make([]byte, rawBatch*room)
	messages := messagesOver(buf, room)
	return func(got func([]byte)) error {
		n, err := call(messages)
		for i := range n {
			got(buf[i*room:][:messages[i].length])
		}
		return err
	}, nil
}

// sendSegmented has the kernel cut one write into datagrams, udp(7) UDP_SEGMENT.
func sendSegmented(c *net.UDPConn) (func([]byte) error, error) {
	oob := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], datagramSize)
	return func(b []byte) error {
		_, _, err := c.WriteMsgUDPAddrPort(b, oob, netip.AddrPort{})
		return err
	}, nil
}

// receiveMerged takes runs of datagrams in one read, udp(7) UDP_GRO. All have the same size here,
// so the control message with the size is not needed.
func receiveMerged(c *net.UDPConn) (func(func([]byte)) error, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}); err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	buf, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4))
	return func(got func([]byte)) error {
		n, _, _, _, err := c.ReadMsgUDPAddrPort(buf, oob)
		if err == nil {
			got(buf[:n])
		}
		return err
	}, nil
}
