// SPDX-License-Identifier: MIT

//go:build unix

package kcp

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func setTrafficClass(fd uintptr, class int) error {
	sa, err := unix.Getsockname(int(fd))
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	switch sa.(type) {
	case *unix.SockaddrInet4:
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, class)
	case *unix.SockaddrInet6:
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class)
		// This is for IPv4 peers of a dual-stack socket. Only Linux has it.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, class)
	default:
		return errors.ErrUnsupported
	}
	return os.NewSyscallError("setsockopt", err)
}

func bufferSizes(fd uintptr) (rcv, snd int, err error) {
	rcv, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err == nil {
		snd, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	}
	return rcv, snd, os.NewSyscallError("getsockopt", err)
}
