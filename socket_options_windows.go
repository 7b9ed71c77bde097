// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"os"
	"syscall"
)

// ipv6TrafficClass is IPV6_TCLASS of ws2ipdef.h.
const ipv6TrafficClass = 39

func setTrafficClass(fd uintptr, class int) error {
	sa, err := syscall.Getsockname(syscall.Handle(fd))
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	switch sa.(type) {
	case *syscall.SockaddrInet4:
		err = syscall.SetsockoptInt(syscall.Handle(fd), syscall.IPPROTO_IP, syscall.IP_TOS, class)
	case *syscall.SockaddrInet6:
		err = syscall.SetsockoptInt(syscall.Handle(fd), syscall.IPPROTO_IPV6,
			ipv6TrafficClass, class)
	default:
		return errors.ErrUnsupported
	}
	return os.NewSyscallError("setsockopt", err)
}

func bufferSizes(fd uintptr) (rcv, snd int, err error) {
	rcv, err = syscall.GetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	if err == nil {
		snd, err = syscall.GetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
	}
	return rcv, snd, os.NewSyscallError("getsockopt", err)
}
