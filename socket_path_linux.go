// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// routeMTU returns the MTU of the route of a connected socket, which includes what ICMP messages
// have told of the path.
func routeMTU(conn *net.UDPConn, to netip.Addr) (mtu int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	level, option := unix.IPPROTO_IPV6, unix.IPV6_MTU
	if to.Unmap().Is4() {
		level, option = unix.IPPROTO_IP, unix.IP_MTU
	}
	if err := raw.Control(func(fd uintptr) {
		mtu, err = unix.GetsockoptInt(int(fd), level, option)
	}); err != nil {
		return 0
	}
	return mtu
}

// forbidFragments (S4.62) makes a socket send each datagram in one packet that no router fragments,
// and that the host does not compare with what it knows of the path. It returns what undoes that.
// An error of a system call leaves the socket as it was: then a probe may pass in fragments.
func forbidFragments(fd, family int) (undo func()) {
	type option struct{ level, name, probe int }
	options := []option{{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE}}
	if family == unix.AF_INET6 {
		options = append(options,
			option{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE})
	}
	var before []int
	for _, o := range options {
		value, err := unix.GetsockoptInt(fd, o.level, o.name)
		if err != nil || unix.SetsockoptInt(fd, o.level, o.name, o.probe) != nil {
			break
		}
		before = append(before, value)
	}
	return func() {
		for i, value := range before {
			_ = unix.SetsockoptInt(fd, options[i].level, options[i].name, value)
		}
	}
}
