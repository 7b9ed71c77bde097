// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

const (
	// defaultSocketBuffer is the size that is requested for each direction. On Linux a receive
	// buffer of this size holds 3,640 datagrams of 1400 bytes, or 5,888 that arrive in runs. The
	// 208 KiB that it has by default hold 92, far less than a window of 1024.
	defaultSocketBuffer = 4 << 20
	// leastSocketBuffer is not worth a request: every system has as much by default.
	leastSocketBuffer = 128 << 10
)

// setDSCP sets the differentiated services code point (RFC 2474), 0 to 63, of what conn sends: the
// upper six bits of the IPv4 TOS field and of the IPv6 traffic class. On a dual-stack socket it
// sets both if the system can. Windows accepts the call but marks nothing unless its policy allows
// it.
func setDSCP(conn net.PacketConn, dscp int) error {
	if dscp < 0 || dscp > 63 {
		return badArgument("DSCP", dscp, "0 to 63")
	}
	return controlSocket(conn, func(fd uintptr) error { return setTrafficClass(fd, dscp<<2) })
}

// socketBuffers returns the sizes of conn's receive and send buffers in bytes, as the kernel counts
// them. Linux reports twice the requested size, because it counts its bookkeeping too.
func socketBuffers(conn net.PacketConn) (rcv, snd int, err error) {
	err = controlSocket(conn, func(fd uintptr) error {
		rcv, snd, err = bufferSizes(fd)
		return err
	})
	return rcv, snd, err
}

// setDefaultBuffers requests socket buffers that hold a window of bulk data, for a socket that the
// library opened. It never makes a buffer smaller. The system may grant less: net.core.rmem_max and
// wmem_max limit it on Linux.
func setDefaultBuffers(conn net.PacketConn) {
	rcv, snd, _ := socketBuffers(conn)
	if c, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
		growBuffer(c.SetReadBuffer, rcv)
	}
	if c, ok := conn.(interface{ SetWriteBuffer(int) error }); ok {
		growBuffer(c.SetWriteBuffer, snd)
	}
}

// growBuffer requests less until the system agrees. The BSDs refuse a size that Linux would reduce
// to its limit.
func growBuffer(set func(bytes int) error, current int) {
	for size := defaultSocketBuffer; size > max(current, leastSocketBuffer); size /= 2 {
		if set(size) == nil {
			return
		}
	}
}

// controlSocket runs f on the socket of conn. conn may be a wrapper that has SyscallConn.
func controlSocket(conn net.PacketConn, f func(fd uintptr) error) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("kcp: %T gives no access to a socket: %w", conn, errors.ErrUnsupported)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(fd) }); err != nil {
		return err
	}
	return failed
}

func setReadBuffer(conn net.PacketConn, bytes int) error {
	if c, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
		return c.SetReadBuffer(bytes)
	}
	return errNoOption
}

func setWriteBuffer(conn net.PacketConn, bytes int) error {
	if c, ok := conn.(interface{ SetWriteBuffer(int) error }); ok {
		return c.SetWriteBuffer(bytes)
	}
	return errNoOption
}
